//! What the nodes of a cluster say of themselves and of one another.

use std::collections::BTreeMap;

use lombard_store::StoreError;
use serde::Serialize;

use crate::clock::PhysicalClock;
use crate::cluster::Cluster;
use crate::fault;
use crate::nodes::{self, ask};
use crate::options::CassandraOptions;
use crate::ring::{self, Standing};

/// Settings that the nodes of a cluster must share, or that decide how a node joins.
const SETTINGS: &[&str] = &[
    "allocate_tokens_for_local_replication_factor",
    "auto_bootstrap",
    "cluster_name",
    "commitlog_segment_size",
    "commitlog_sync",
    "endpoint_snitch",
    "num_tokens",
    "partitioner",
    "paxos_variant",
];

/// A cluster as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Survey {
    /// Its name in the configuration.
    pub cluster: String,
    /// Everyone whom anyone has heard of, by address.
    pub nodes: Vec<SurveyedNode>,
    /// The keyspaces that begin with the configured prefix.
    pub keyspaces: Vec<String>,
    /// Whether the record of the nodes that have their data was ever made.
    pub recorded: bool,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SurveyedNode {
    /// Where the nodes speak with it.
    pub address: String,
    /// Its identity.
    pub host_id: String,
    /// How it stands to the ring.
    pub state: NodeState,
    /// Whether it is on record that it has its data.
    pub member: bool,
    /// Why it would not be taken as a member, where it is none and owns ranges.
    pub lacks: Option<String>,
    /// Whether it could be asked.
    pub answers: bool,
    /// The version of the schema that it has, where it could be asked.
    pub schema: Option<String>,
    /// How far its clock is from ours, in milliseconds, beyond what the question took.
    pub clock_apart_ms: Option<u64>,
    /// Of its settings, those that matter here.
    pub settings: BTreeMap<String, String>,
}

/// How a node stands to the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It has left.
    Gone,
    /// It is known of, and owns nothing yet.
    Announced,
    /// It fetches the data of what it will own.
    Joining,
    /// It owns ranges, and gives them to others.
    Leaving,
    /// It owns ranges.
    Normal,
}

/// Asks the nodes of a cluster of the options; the default one where none is named.
///
/// # Errors
/// [`StoreError::Misconfigured`]: there is no such cluster, or it will not have us;
/// [`StoreError::Unavailable`]: nobody answers.
pub async fn survey(
    options: &CassandraOptions,
    cluster: Option<&str>,
    clock: PhysicalClock,
) -> Result<Survey, StoreError> {
    options.check()?;
    let name = cluster.unwrap_or(&options.default_cluster);
    let cluster = Cluster::connect(name, options).await?;
    let known = ring::seen(&cluster, &options.keyspace_prefix).await?;
    let state = cluster.session.get_cluster_state();
    let mut surveyed = Vec::new();
    for seen in known.nodes {
        let node = state
            .get_nodes_info()
            .iter()
            .find(|node| node.host_id.to_string() == seen.heard.host_id && node.is_connected());
        let mut settings = BTreeMap::new();
        let (mut schema, mut clock_apart_ms) = (None, None);
        if let Some(node) = node {
            settings = self::settings(&cluster, node).await.unwrap_or_default();
            schema = self::schema(&cluster, node).await.ok();
            let apart = nodes::clock_apart_us(&cluster, node, clock.as_ref()).await;
            clock_apart_ms = apart.ok().map(|apart| apart / 1_000);
        }
        surveyed.push(SurveyedNode {
            state: match seen.heard.standing {
                Standing::Gone => NodeState::Gone,
                Standing::Announced => NodeState::Announced,
                Standing::Joining => NodeState::Joining,
                Standing::Leaving => NodeState::Leaving,
                Standing::Owner => NodeState::Normal,
            },
            address: seen.heard.address,
            host_id: seen.heard.host_id,
            member: seen.member,
            lacks: seen.lacks,
            answers: schema.is_some(),
            schema,
            clock_apart_ms,
            settings,
        });
    }
    surveyed.sort_by(|one, other| one.address.cmp(&other.address));
    let prefix = format!("{}_", options.keyspace_prefix);
    let keyspaces = state.keyspaces_iter().map(|(name, _)| name.to_owned());
    let mut keyspaces: Vec<String> = keyspaces.filter(|name| name.starts_with(&prefix)).collect();
    keyspaces.sort_unstable();
    Ok(Survey {
        cluster: name.to_owned(),
        nodes: surveyed,
        keyspaces,
        recorded: known.recorded,
    })
}

/// Puts a node, by its address or identity, on record as having its data, on an operator's
/// word. Gives its identity.
///
/// # Errors
/// [`StoreError::Misconfigured`]: there is no such cluster or node;
/// [`StoreError::Unavailable`]: nobody answers.
pub async fn trust(
    options: &CassandraOptions,
    cluster: Option<&str>,
    node: &str,
) -> Result<String, StoreError> {
    options.check()?;
    let name = cluster.unwrap_or(&options.default_cluster);
    let cluster = Cluster::connect(name, options).await?;
    ring::trust(&cluster, &options.keyspace_prefix, node).await
}

async fn settings(
    cluster: &Cluster,
    node: &std::sync::Arc<scylla::cluster::Node>,
) -> Result<BTreeMap<String, String>, StoreError> {
    let what = "asking a node for its settings";
    let names: Vec<String> = SETTINGS.iter().map(|name| format!("'{name}'")).collect();
    let select = format!(
        "SELECT name, value FROM system_views.settings WHERE name IN ({})",
        names.join(", ")
    );
    let answer = ask(cluster, node, &select).await;
    let answer = answer.map_err(|error| fault::of_read(what, &error))?;
    let rows = answer
        .into_rows_result()
        .map_err(|error| fault::of_answer(what, &error))?;
    let rows = rows
        .rows::<(String, Option<String>)>()
        .map_err(|error| fault::of_answer(what, &error))?;
    let mut settings = BTreeMap::new();
    for row in rows {
        let (name, value) = row.map_err(|error| fault::of_answer(what, &error))?;
        settings.extend(value.map(|value| (name, value)));
    }
    Ok(settings)
}

async fn schema(
    cluster: &Cluster,
    node: &std::sync::Arc<scylla::cluster::Node>,
) -> Result<String, StoreError> {
    let what = "asking a node for its schema's version";
    let select = "SELECT CAST(schema_version AS text) FROM system.local";
    let answer = ask(cluster, node, select).await;
    let answer = answer.map_err(|error| fault::of_read(what, &error))?;
    let rows = answer
        .into_rows_result()
        .map_err(|error| fault::of_answer(what, &error))?;
    let (version,) = rows
        .first_row::<(String,)>()
        .map_err(|error| fault::of_answer(what, &error))?;
    Ok(version)
}
