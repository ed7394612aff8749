//! What the nodes of a cluster say about themselves, and whether that will do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lombard_store::StoreError;
use lombard_store::limits::COMMIT_BYTES_MAX;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::cluster::Node;
use scylla::errors::{DbError, ExecutionError};
use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::statement::{Consistency, Statement};

use crate::cluster::Cluster;
use crate::fault;
use crate::options::CassandraOptions;

/// How long a node that is asked alone has for its answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// What a commit's mutation has beside keys and values: for each row some dozen bytes.
const MUTATION_OVERHEAD_BYTES: u64 = 2 << 20;

/// A node, as a guard over the cluster wants to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its identity, which it keeps when its address changes.
    pub host_id: String,
    /// Where it takes requests.
    pub address: SocketAddr,
    /// Its datacenter and rack, where known.
    pub datacenter: Option<String>,
    /// See `datacenter`.
    pub rack: Option<String>,
    /// Whether this process has a connection to it.
    pub connected: bool,
    /// The tokens at which the ranges end that it owns, in order.
    pub tokens: Vec<i64>,
}

/// What was read of one node's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodeSettings {
    pub address: String,
    /// `periodic`, `group` or `batch`; none where it could not be read.
    pub commitlog_sync: Option<String>,
    /// `v2` and so on; see `paxos_is_linearizable`.
    pub paxos_variant: Option<String>,
    /// The largest mutation that it takes, in bytes.
    pub mutation_bytes_max: Option<u64>,
    /// How far its clock is from ours, in microseconds, beyond what the question took.
    pub clock_apart_us: u64,
    /// Class name.
    pub partitioner: String,
}

/// All nodes that the driver knows of.
pub(crate) fn facts(cluster: &Cluster) -> Vec<NodeFacts> {
    let state = cluster.session.get_cluster_state();
    let ring = state.replica_locator().ring();
    let nodes = state.get_nodes_info().iter().map(|node| {
        let tokens = ring
            .iter()
            .filter(|(_, owner)| owner.host_id == node.host_id)
            .map(|(token, _)| token.value());
        NodeFacts {
            host_id: node.host_id.to_string(),
            address: SocketAddr::new(node.address.ip(), node.address.port()),
            datacenter: node.datacenter.clone(),
            rack: node.rack.clone(),
            connected: node.is_connected(),
            tokens: tokens.collect(),
        }
    });
    nodes.collect()
}

/// Asks every node that is connected, and refuses what cannot be worked with.
///
/// # Errors
/// [`StoreError::Misconfigured`] says which node has what, and what it should have;
/// [`StoreError::Unavailable`] if no node answers.
pub(crate) async fn examine(
    cluster: &Cluster,
    options: &CassandraOptions,
    now_us: &(dyn Fn() -> u64 + Send + Sync),
) -> Result<Vec<NodeSettings>, StoreError> {
    let state = cluster.session.get_cluster_state();
    let nodes = state.get_nodes_info();
    if let Some(datacenter) = &cluster.options.datacenter {
        let known = state.replica_locator().datacenter_names();
        if !known.contains(datacenter) {
            return refuse(
                cluster,
                format!(
                    "there is no datacenter {datacenter:?}; there are [{}]",
                    known.join(", ")
                ),
            );
        }
    }
    let mut all = Vec::new();
    let mut failure = None;
    for node in nodes.iter().filter(|node| node.is_connected()) {
        let asked = async {
            let settings = settings(cluster, node, now_us).await?;
            may_ask_what_was_fetched(cluster, node).await?;
            Ok(settings)
        };
        match asked.await {
            Ok(settings) => all.push(settings),
            // We may not ask it.
            Err(error @ StoreError::Misconfigured(_)) => return Err(error),
            // It may have died just now: the others say what there is to say.
            Err(error) => failure = Some(error),
        }
    }
    if let (true, Some(error)) = (all.is_empty(), failure) {
        return Err(error);
    }
    for node in &all {
        check(cluster, options, node)?;
    }
    Ok(all)
}

fn check(
    cluster: &Cluster,
    options: &CassandraOptions,
    node: &NodeSettings,
) -> Result<(), StoreError> {
    let address = &node.address;
    if !node.partitioner.ends_with("Murmur3Partitioner") {
        return refuse(
            cluster,
            format!(
                "node {address} has the partitioner {}, expected is Murmur3Partitioner",
                node.partitioner
            ),
        );
    }
    if let Some(variant) = &node.paxos_variant
        && variant != "v2"
    {
        return refuse(
            cluster,
            format!(
                "node {address} has paxos_variant {variant}: set paxos_variant: v2, whose reads \
                 are linearizable in one round trip"
            ),
        );
    }
    let needed = COMMIT_BYTES_MAX as u64 + MUTATION_OVERHEAD_BYTES;
    if let Some(max) = node.mutation_bytes_max
        && max < needed
    {
        return refuse(
            cluster,
            format!(
                "node {address} takes mutations of at most {max} bytes, and a commit can have \
                 {needed}: set commitlog_segment_size to 32MiB (twice the largest mutation), or \
                 max_mutation_size"
            ),
        );
    }
    let allowed_us = options.clock_skew_max_ms.saturating_mul(1_000);
    if node.clock_apart_us > allowed_us {
        return refuse(
            cluster,
            format!(
                "the clock of node {address} is {} ms from ours, allowed are {} \
                 (clock_skew_max_ms): have both follow one time server",
                node.clock_apart_us / 1_000,
                options.clock_skew_max_ms
            ),
        );
    }
    Ok(())
}

fn refuse<T>(cluster: &Cluster, why: String) -> Result<T, StoreError> {
    Err(StoreError::Misconfigured(format!(
        "cassandra: cluster {}: {why}",
        cluster.name
    )))
}

/// How far a node's clock is from ours, in microseconds, beyond what the question took.
///
/// # Errors
/// It does not answer.
pub(crate) async fn clock_apart_us(
    cluster: &Cluster,
    node: &Arc<Node>,
    now_us: &(dyn Fn() -> u64 + Send + Sync),
) -> Result<u64, StoreError> {
    Ok(settings(cluster, node, now_us).await?.clock_apart_us)
}

async fn settings(
    cluster: &Cluster,
    node: &Arc<Node>,
    now_us: &(dyn Fn() -> u64 + Send + Sync),
) -> Result<NodeSettings, StoreError> {
    let mut settings = NodeSettings {
        address: node.address.to_string(),
        ..NodeSettings::default()
    };
    let what = "asking a node about itself";
    let local = "SELECT partitioner, toUnixTimestamp(now()) FROM system.local WHERE key = 'local'";
    let before = now_us();
    let found = ask(cluster, node, local).await;
    let after = now_us();
    let found = found.map_err(|error| fault::of_read(what, &error))?;
    let rows = found
        .into_rows_result()
        .map_err(|error| fault::of_answer(what, &error))?;
    let (partitioner, time) = rows
        .first_row::<(String, i64)>()
        .map_err(|error| fault::of_answer(what, &error))?;
    settings.partitioner = partitioner;
    // It looked at its clock between `before` and `after`, and says it in milliseconds.
    let theirs = u64::try_from(time).unwrap_or(0).saturating_mul(1_000);
    let early = before.saturating_sub(theirs.saturating_add(1_000));
    let late = theirs.saturating_sub(after);
    settings.clock_apart_us = early.max(late);

    // Older versions do not have them: then they are unknown.
    let values = "SELECT name, value FROM system_views.settings WHERE name IN \
                  ('commitlog_sync', 'paxos_variant', 'max_mutation_size', 'commitlog_segment_size')";
    let found = match ask(cluster, node, values).await {
        Ok(found) => found,
        Err(error) if is_unauthorized(&error) => return Err(fault::of_read(what, &error)),
        Err(_) => return Ok(settings),
    };
    let rows = found
        .into_rows_result()
        .map_err(|error| fault::of_answer(what, &error))?;
    let rows = rows
        .rows::<(String, Option<String>)>()
        .map_err(|error| fault::of_answer(what, &error))?;
    let mut segment = None;
    for row in rows {
        let (name, value) = row.map_err(|error| fault::of_answer(what, &error))?;
        let Some(value) = value else { continue };
        match name.as_str() {
            "commitlog_sync" => settings.commitlog_sync = Some(value),
            "paxos_variant" => settings.paxos_variant = Some(value),
            "max_mutation_size" => settings.mutation_bytes_max = bytes(&value),
            "commitlog_segment_size" => segment = bytes(&value),
            _ => {}
        }
    }
    settings.mutation_bytes_max = settings
        .mutation_bytes_max
        .or(segment.map(|segment| segment / 2));
    Ok(settings)
}

/// What is asked of a node that joins, which is no time to learn that it is not allowed.
///
/// # Errors
/// [`StoreError::Misconfigured`]: it is not.
async fn may_ask_what_was_fetched(cluster: &Cluster, node: &Arc<Node>) -> Result<(), StoreError> {
    let fetched = "SELECT keyspace_name FROM system.available_ranges_v2 LIMIT 1";
    match ask(cluster, node, fetched).await {
        Err(error) if is_unauthorized(&error) => {
            Err(fault::of_read("asking a node what it has fetched", &error))
        }
        // Older versions do not have it.
        _ => Ok(()),
    }
}

fn is_unauthorized(error: &ExecutionError) -> bool {
    matches!(fault::database_error(error), Some(DbError::Unauthorized))
}

/// One question to one node, which answers it alone.
///
/// # Errors
/// The driver's.
pub(crate) async fn ask(
    cluster: &Cluster,
    node: &Arc<Node>,
    text: &str,
) -> Result<scylla::response::query_result::QueryResult, ExecutionError> {
    let target = NodeIdentifier::Node(node.clone());
    let profile = ExecutionProfile::builder()
        .consistency(Consistency::One)
        .load_balancing_policy(SingleTargetLoadBalancingPolicy::new(target, None))
        .request_timeout(Some(ASK_TIMEOUT))
        .build();
    let mut statement = Statement::new(text);
    statement.set_execution_profile_handle(Some(profile.into_handle()));
    cluster.session.query_unpaged(statement, ()).await
}

/// A size as Cassandra writes it ("32MiB", "16384KiB"), in bytes.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let number: u64 = number.parse().ok()?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_are_read_as_cassandra_writes_them() {
        assert_eq!(bytes("32MiB"), Some(32 << 20));
        assert_eq!(bytes("16384KiB"), Some(16 << 20));
        assert_eq!(bytes("100"), Some(100));
        assert_eq!(bytes("1GiB"), Some(1 << 30));
        assert_eq!(bytes("null"), None);
        assert_eq!(bytes("5 parsecs"), None);
    }
}
