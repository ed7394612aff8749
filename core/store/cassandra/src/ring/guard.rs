//! What is known of the ring, and who may be believed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use lombard_store::StoreError;
use parking_lot::{Mutex, RwLock};
use scylla::cluster::{ClusterState, Node};
use scylla::routing::Token;

use super::evidence::{self, Evidence};
use super::known::{Known, Seen, Sight, Stranger};
use super::look::{Looks, View};
use super::members::{self, Members};
use super::ranges;
use super::standing::{Heard, Standing};
use crate::cluster::Cluster;

/// How often all nodes are asked, where the engine is watched.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(250);
/// For how long what all nodes have said may be gone by.
pub(crate) const LEASE: Duration = Duration::from_secs(2);
/// The table whose partitions are guarded.
const TABLE: &str = "rows";

/// Looks at a cluster, and changes nothing in it.
///
/// # Errors
/// [`StoreError::Unavailable`]: no node answers.
pub(crate) async fn seen(cluster: &Cluster, prefix: &str) -> Result<Sight, StoreError> {
    let recorded = members::recorded(cluster).await?;
    let guard = Guard::of(prefix, None);
    let is_recorded = recorded.is_some();
    guard.known.write().members = recorded.unwrap_or_default();
    guard.views(cluster).await?;
    if is_recorded {
        guard.weigh(cluster).await;
    }
    let known = guard.known.read();
    let nodes = known.heard().into_values().map(|heard| {
        let stranger = |stranger: &&Stranger| stranger.host_id == heard.host_id;
        let lacks = known.strangers.iter().find(stranger);
        Seen {
            member: known.members.contains(&heard.host_id),
            lacks: lacks.map(|stranger| stranger.why.clone()),
            heard,
        }
    });
    Ok(Sight {
        nodes: nodes.collect(),
        recorded: is_recorded,
    })
}

/// Puts a node, by its address or identity, on record as having its data. Gives its identity.
///
/// # Errors
/// [`StoreError::Misconfigured`]: nobody has heard of it; [`StoreError::Unavailable`].
pub(crate) async fn trust(
    cluster: &Cluster,
    prefix: &str,
    node: &str,
) -> Result<String, StoreError> {
    let sight = seen(cluster, prefix).await?;
    let is_it = |seen: &&Seen| seen.heard.host_id == node || seen.heard.address == node;
    let Some(seen) = sight.nodes.iter().find(is_it) else {
        let known = sight.nodes.iter().map(|seen| seen.heard.address.clone());
        let known: Vec<String> = known.collect();
        return Err(StoreError::Misconfigured(format!(
            "cassandra: cluster {}: nobody has heard of node {node}; there are {}",
            cluster.name,
            known.join(", ")
        )));
    };
    let host_id = seen.heard.host_id.clone();
    let more = Members::from([host_id.clone()]);
    let holder = format!("an operator, process {}", std::process::id());
    members::record(cluster, &more, &Members::new(), &holder).await?;
    Ok(host_id)
}

/// What is known of a cluster's ring.
#[derive(Debug)]
pub(crate) struct Guard {
    /// What keyspaces of ours begin with.
    prefix: String,
    /// Whose record it is, in words; none where nothing is put on record.
    holder: Option<String>,
    looks: Mutex<HashMap<String, Arc<Looks>>>,
    known: RwLock<Known>,
    /// One at a time weighs what was heard.
    weighing: tokio::sync::Mutex<()>,
    /// When all nodes were asked last, in the clock's microseconds.
    asked_all_us: AtomicU64,
    /// One at a time asks all.
    asking: tokio::sync::Mutex<()>,
}

impl Guard {
    /// Looks at a cluster for the first time. Where nothing is on record yet, those that own
    /// it now are its members.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: no node answers, or strangers own ranges.
    pub async fn new(
        cluster: &Cluster,
        prefix: &str,
        holder: &str,
        now_us: u64,
    ) -> Result<Self, StoreError> {
        let guard = Self::of(prefix, Some(holder.to_owned()));
        let recorded = members::recorded(cluster).await?;
        let is_recorded = recorded.is_some();
        guard.known.write().members = recorded.unwrap_or_default();
        if is_recorded {
            guard.ask_all(cluster, now_us).await?;
        } else {
            guard.found(cluster, holder).await?;
        }
        let strangers = guard.strangers();
        if strangers.is_empty() {
            return Ok(guard);
        }
        Err(StoreError::Unavailable(guard.alert(cluster, &strangers)))
    }

    fn of(prefix: &str, holder: Option<String>) -> Self {
        Self {
            prefix: prefix.to_owned(),
            holder,
            looks: Mutex::default(),
            known: RwLock::default(),
            weighing: tokio::sync::Mutex::default(),
            asked_all_us: AtomicU64::new(0),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// Puts the first members on record: all that own something.
    async fn found(&self, cluster: &Cluster, holder: &str) -> Result<(), StoreError> {
        let mut owners = Members::new();
        for view in self.views(cluster).await? {
            let of_view = view.iter().filter(|heard| heard.standing.owns());
            owners.extend(of_view.map(|heard| heard.host_id.clone()));
        }
        let members = members::record(cluster, &owners, &Members::new(), holder).await?;
        tracing::info!(
            cluster = cluster.name,
            nodes = members.len(),
            "nodes put on record"
        );
        self.known.write().members = members;
        Ok(())
    }

    /// What all connected nodes say. A node that does not answer coordinates nothing either.
    async fn views(&self, cluster: &Cluster) -> Result<Vec<View>, StoreError> {
        let state = cluster.session.get_cluster_state();
        let nodes = state.get_nodes_info().iter();
        let nodes: Vec<_> = nodes.filter(|node| node.is_connected()).cloned().collect();
        let asked = nodes.iter().map(|node| async {
            let looks = self.looks_at(node);
            (node.host_id.to_string(), looks.fresh(cluster, node).await)
        });
        let mut views = BTreeMap::new();
        let mut failure = None;
        for (host_id, view) in join_all(asked).await {
            match view {
                Ok(view) => {
                    views.insert(host_id, view);
                }
                Err(error) => failure = Some(error),
            }
        }
        if let (true, Some(error)) = (views.is_empty(), failure) {
            return Err(error);
        }
        let all: Vec<View> = views.values().cloned().collect();
        self.known.write().views = views;
        Ok(all)
    }

    fn looks_at(&self, node: &Node) -> Arc<Looks> {
        let mut looks = self.looks.lock();
        looks.entry(node.host_id.to_string()).or_default().clone()
    }

    /// Asks all nodes, and weighs what they say.
    ///
    /// # Errors
    /// No node answers.
    pub async fn ask_all(&self, cluster: &Cluster, now_us: u64) -> Result<(), StoreError> {
        self.views(cluster).await?;
        self.weigh(cluster).await;
        self.asked_all_us.fetch_max(now_us, Ordering::AcqRel);
        Ok(())
    }

    /// Who owns ranges without being a member.
    pub fn strangers(&self) -> Arc<Vec<Stranger>> {
        self.known.read().strangers.clone()
    }

    /// Whether nobody is a stranger.
    pub fn is_whole(&self) -> bool {
        self.known.read().strangers.is_empty()
    }

    /// Whether a partition may be worked with, as far as is known now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: a stranger is, or may be, among its replicas.
    pub fn permit(&self, cluster: &Cluster, keyspace: &str, token: i64) -> Result<(), StoreError> {
        let strangers = self.strangers();
        if strangers.is_empty() {
            return Ok(());
        }
        let state = cluster.session.get_cluster_state();
        let all_known =
            (strangers.iter()).all(|stranger| node_of(&state, &stranger.host_id).is_some());
        if all_known {
            let replicas = state.get_token_endpoints(keyspace, TABLE, Token::new(token));
            let is_strange = |node: &Node| {
                let host_id = node.host_id.to_string();
                strangers.iter().any(|stranger| stranger.host_id == host_id)
            };
            if !replicas.is_empty() && !replicas.iter().any(|(node, _)| is_strange(node)) {
                return Ok(());
            }
        }
        Err(refused(cluster, &strangers))
    }

    /// Whether the whole ring may be worked with: for what reads all of it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: there are strangers.
    pub fn permit_all(&self, cluster: &Cluster) -> Result<(), StoreError> {
        let strangers = self.strangers();
        if strangers.is_empty() {
            return Ok(());
        }
        Err(refused(cluster, &strangers))
    }

    /// Whether what these coordinators have just done can be believed: asks them, where the
    /// module's documentation says so, and where `is_new` tells that a partition was not
    /// found, or was begun.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: a stranger is among the partition's replicas, or one of
    /// those that would know does not answer.
    pub async fn vouch(
        &self,
        cluster: &Cluster,
        coordinators: &[Arc<Node>],
        is_new: bool,
        now_us: u64,
    ) -> Result<(), StoreError> {
        if is_new || self.known.read().unsettled {
            let asked = coordinators.iter().map(|node| async {
                let view = self.looks_at(node).fresh(cluster, node).await?;
                Ok((node.host_id.to_string(), view))
            });
            let mut is_news = false;
            for answer in join_all(asked).await {
                let (host_id, view): (String, View) = answer?;
                let mut known = self.known.write();
                let members = &known.members;
                is_news |= view.iter().any(|heard| {
                    heard.standing != Standing::Gone && !members.contains(&heard.host_id)
                });
                known.views.insert(host_id, view);
            }
            if is_news {
                self.weigh(cluster).await;
            }
            return Ok(());
        }
        self.renew(cluster, now_us).await
    }

    /// Asks all nodes if that was too long ago.
    async fn renew(&self, cluster: &Cluster, now_us: u64) -> Result<(), StoreError> {
        let lease_us = LEASE.as_micros();
        let is_old = || {
            let asked = self.asked_all_us.load(Ordering::Acquire);
            u128::from(now_us.saturating_sub(asked)) > lease_us
        };
        if !is_old() {
            return Ok(());
        }
        let _one = self.asking.lock().await;
        if is_old() {
            self.ask_all(cluster, now_us).await
        } else {
            Ok(())
        }
    }

    /// Draws the conclusions from what was heard.
    async fn weigh(&self, cluster: &Cluster) {
        let _one = self.weighing.lock().await;
        let (unknown, gone) = {
            let mut known = self.known.write();
            let heard = known.heard();
            let joining = (heard.values())
                .filter(|heard| heard.standing == Standing::Joining)
                .map(|heard| heard.host_id.clone());
            let joining: Vec<String> = joining.collect();
            // Whoever stopped joining without becoming an owner begins anew.
            known.seen_joining.retain(|host_id| {
                let standing = heard.get(host_id).map(|heard| heard.standing);
                standing.is_some_and(|standing| standing > Standing::Announced)
            });
            known.seen_joining.extend(joining);
            let gone: Members = (heard.values())
                .filter(|heard| heard.standing == Standing::Gone)
                .map(|heard| heard.host_id.clone())
                .collect();
            let mut heard = heard;
            heard.retain(|host_id, heard| {
                heard.standing != Standing::Gone && !known.members.contains(host_id)
            });
            known.unsettled = !heard.is_empty();
            heard.retain(|_, heard| heard.standing.owns());
            (heard, gone)
        };
        let mut adopted = Members::new();
        let mut strangers = Vec::new();
        // Another process, or an operator, may know more.
        let recorded = if unknown.is_empty() {
            None
        } else {
            members::recorded(cluster).await.ok().flatten()
        };
        let recorded = recorded.unwrap_or_default();
        for heard in unknown.into_values() {
            if recorded.contains(&heard.host_id) {
                self.known.write().members.insert(heard.host_id);
                continue;
            }
            match self.evidence(cluster, &heard).await {
                Evidence::Fetched => {
                    adopted.insert(heard.host_id);
                }
                Evidence::Awaited => {}
                Evidence::Lacks(why) => strangers.push(Stranger {
                    host_id: heard.host_id,
                    address: heard.address,
                    why,
                }),
            }
        }
        self.settle(cluster, &strangers, &adopted);
        if !adopted.is_empty() {
            self.adopt(cluster, &adopted, &gone).await;
        }
    }

    async fn evidence(&self, cluster: &Cluster, heard: &Heard) -> Evidence {
        let mut node = node_of(&cluster.session.get_cluster_state(), &heard.host_id);
        if node.is_none() && cluster.session.refresh_metadata().await.is_ok() {
            node = node_of(&cluster.session.get_cluster_state(), &heard.host_id);
        }
        let seen_joining = self.known.read().seen_joining.contains(&heard.host_id);
        let Some(node) = node.filter(|node| node.is_connected()) else {
            return if seen_joining {
                Evidence::Awaited
            } else {
                Evidence::Lacks("it cannot be asked yet what it has fetched".into())
            };
        };
        match evidence::of(cluster, &self.prefix, &node).await {
            Ok(evidence) => evidence,
            Err(_) if seen_joining => Evidence::Awaited,
            Err(error) => Evidence::Lacks(format!("what it has fetched is not known: {error}")),
        }
    }

    /// Remembers who is a stranger, and says so when that changes.
    fn settle(&self, cluster: &Cluster, strangers: &[Stranger], adopted: &Members) {
        let changed = {
            let mut known = self.known.write();
            known.members.extend(adopted.iter().cloned());
            let heard = known.heard();
            known.unsettled = heard.values().any(|heard| {
                heard.standing != Standing::Gone && !known.members.contains(&heard.host_id)
            });
            let changed = *known.strangers != strangers;
            if changed {
                known.strangers = Arc::new(strangers.to_vec());
            }
            changed
        };
        if !changed {
            return;
        }
        if strangers.is_empty() {
            tracing::info!(
                cluster = cluster.name,
                "every node that owns ranges has their data again"
            );
        } else {
            let alert = self.alert(cluster, strangers);
            tracing::error!(cluster = cluster.name, alert, "nodes without their data");
        }
    }

    async fn adopt(&self, cluster: &Cluster, adopted: &Members, gone: &Members) {
        let Some(holder) = &self.holder else {
            return;
        };
        let nodes: Vec<&str> = adopted.iter().map(String::as_str).collect();
        let nodes = nodes.join(", ");
        tracing::info!(
            cluster = cluster.name,
            nodes,
            "nodes have fetched their data"
        );
        match members::record(cluster, adopted, gone, holder).await {
            Ok(members) => self.known.write().members.extend(members),
            // This process knows; the next one that is started looks for itself.
            Err(error) => tracing::warn!(
                cluster = cluster.name,
                nodes,
                %error,
                "nodes could not be put on record"
            ),
        }
    }

    /// What an operator must know.
    pub fn alert(&self, cluster: &Cluster, strangers: &[Stranger]) -> String {
        let state = cluster.session.get_cluster_state();
        let locator = state.replica_locator();
        let keyspace = (state.keyspaces_iter().map(|(name, _)| name.to_owned()))
            .find(|name| name.starts_with(&format!("{}_", self.prefix)));
        let ring = locator.ring().iter().map(|(token, owner)| {
            let replicas = match &keyspace {
                Some(keyspace) => (state.get_token_endpoints(keyspace, TABLE, *token).iter())
                    .map(|(node, _)| node.host_id.to_string())
                    .collect(),
                None => vec![owner.host_id.to_string()],
            };
            (token.value(), replicas)
        });
        let ring: Vec<(i64, Vec<String>)> = ring.collect();
        let nodes = strangers.iter().map(|stranger| stranger.host_id.clone());
        let touched = ranges::touched(&ring, &nodes.collect());
        let ranges = if touched.is_empty() {
            "which ranges is not known yet".to_owned()
        } else {
            ranges::in_words(&touched)
        };
        format!(
            "cassandra: cluster {}: ranges are owned by {}, without their data: {ranges}. \
             What may be there is refused. Do not run cleanup or repair; decommission one node \
             after the other",
            cluster.name,
            named(strangers)
        )
    }
}

fn named(strangers: &[Stranger]) -> String {
    let nodes = strangers
        .iter()
        .map(|stranger| format!("{} ({})", stranger.address, stranger.why));
    let nodes: Vec<String> = nodes.collect();
    match nodes.len() {
        1 => format!("node {}", nodes.join("")),
        _ => format!("nodes {}", nodes.join(", ")),
    }
}

fn refused(cluster: &Cluster, strangers: &[Stranger]) -> StoreError {
    StoreError::Unavailable(format!(
        "cassandra: cluster {}: ranges are owned by {}, without their data: what may be there \
         is not read or written",
        cluster.name,
        named(strangers)
    ))
}

fn node_of(state: &ClusterState, host_id: &str) -> Option<Arc<Node>> {
    let mut nodes = state.get_nodes_info().iter();
    nodes
        .find(|node| node.host_id.to_string() == host_id)
        .cloned()
}
