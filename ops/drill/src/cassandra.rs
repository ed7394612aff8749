//! Clusters as drills start and ask them.

use std::sync::Arc;

use jiff::Timestamp;
use lombard_engines::cassandra::{Cluster, Options};

use crate::timeline::Timeline;
use crate::{DrillError, blocking};

/// Java's heap of each node, in MiB: six of them are to fit beside the bank.
const HEAP_MIB: u32 = 384;

/// Starts a cluster of three small nodes.
///
/// # Errors
/// Cassandra is not installed and cannot be, or does not start.
pub async fn three_nodes(timeline: &Timeline<'_>, keep: bool) -> Result<Arc<Cluster>, DrillError> {
    start(timeline, Options::default(), keep).await
}

/// The same, whose nodes archive their commit log.
///
/// # Errors
/// As [`three_nodes`].
pub async fn three_archiving_nodes(
    timeline: &Timeline<'_>,
    keep: bool,
) -> Result<Arc<Cluster>, DrillError> {
    let options = Options {
        archived: true,
        ..Options::default()
    };
    start(timeline, options, keep).await
}

async fn start(
    timeline: &Timeline<'_>,
    options: Options,
    keep: bool,
) -> Result<Arc<Cluster>, DrillError> {
    let starting = blocking(move || {
        let options = Options {
            heap_mib: HEAP_MIB,
            ..options
        };
        let mut cluster = Cluster::start(&options)?;
        if keep {
            cluster.keep_folder();
        }
        Ok(Arc::new(cluster))
    });
    timeline
        .step(
            "start a Cassandra cluster of three nodes",
            starting,
            |cluster| {
                format!(
                    "{} nodes of version {}",
                    cluster.nodes().len(),
                    cluster.version()
                )
            },
        )
        .await
}

/// The configuration of a bank on this cluster.
pub fn configuration(cluster: &Cluster) -> String {
    format!(
        "[store]\nengine = \"cassandra\"\n\n[cassandra.clusters.main]\ncontact_points = {:?}\n",
        contact_points(cluster)
    )
}

/// Where its nodes are reached, `HOST:PORT`.
pub fn contact_points(cluster: &Cluster) -> Vec<String> {
    let nodes = cluster.contact_points();
    nodes.iter().map(ToString::to_string).collect()
}

/// A moment (microseconds since 1970) as `commitlog_archiving.properties` has it.
pub fn moment(at_us: i64) -> String {
    let moment = Timestamp::from_microsecond(at_us).unwrap_or_default();
    moment.strftime("%Y:%m:%d %H:%M:%S%.6f").to_string()
}

/// How many nodes own ranges, as the first of them sees it.
///
/// # Errors
/// It does not answer.
pub async fn owners(cluster: &Arc<Cluster>) -> Result<usize, DrillError> {
    let cluster = Arc::clone(cluster);
    blocking(move || {
        let peers = cluster.query(1, "SELECT peer, tokens FROM system.peers")?;
        let own = |row: &&Vec<Option<Vec<u8>>>| matches!(row.as_slice(), [_, Some(_)]);
        Ok(peers.iter().filter(own).count() + 1)
    })
    .await
}

/// Takes a node out of the cluster as it is meant to be done: it hands over what it has to
/// those that own it then, and only then ends.
///
/// # Errors
/// Cassandra refuses, or the node does not end.
pub async fn decommission(cluster: &Arc<Cluster>, node: u8) -> Result<(), DrillError> {
    let cluster = Arc::clone(cluster);
    blocking(move || {
        cluster.nodetool(node, &["decommission"])?;
        cluster.stop(node)
    })
    .await
}

/// Waits until every node sees all that run, and they have one schema.
///
/// # Errors
/// It takes too long.
pub async fn agree(cluster: &Arc<Cluster>) -> Result<(), DrillError> {
    let cluster = Arc::clone(cluster);
    blocking(move || cluster.agree()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_microseconds() {
        assert_eq!(moment(1_763_800_000_000_007), "2025:11:22 08:26:40.000007");
    }
}
