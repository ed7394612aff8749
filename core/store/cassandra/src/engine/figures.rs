//! What the engine tells of itself.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Cassandra, Opened};
use crate::nodes;

impl Cassandra {
    /// What "durable" means on each cluster.
    pub(super) fn durability(&self) -> String {
        let described = self.clusters.iter().map(|(name, connected)| {
            let replication = &connected.cluster.options.replication;
            let mut syncs: Vec<&str> = (connected.nodes.iter())
                .map(|node| node.commitlog_sync.as_deref().unwrap_or("unknown"))
                .collect();
            syncs.sort_unstable();
            syncs.dedup();
            let meaning = if syncs.iter().all(|sync| matches!(*sync, "group" | "batch")) {
                "each syncs its log before it acknowledges"
            } else {
                "acknowledged in memory, synced later: safe against the loss of machines one \
                 by one, not against all losing power at once"
            };
            let factors: Vec<String> = if replication.datacenters.is_empty() {
                vec![replication.factor.to_string()]
            } else {
                let named = replication.datacenters.iter();
                named
                    .map(|(dc, factor)| format!("{factor} in {dc}"))
                    .collect()
            };
            format!(
                "{name}: quorum of {} replicas, commitlog_sync {} ({meaning})",
                factors.join(" and "),
                syncs.join(" and ")
            )
        });
        described.collect::<Vec<_>>().join("; ")
    }

    /// Live figures, by name.
    pub(super) fn figures(&self) -> Vec<(String, String)> {
        let mut figures = Vec::new();
        for (name, connected) in &self.clusters {
            let nodes = nodes::facts(&connected.cluster);
            let up = nodes.iter().filter(|node| node.connected).count();
            let counts = &connected.cluster.counts;
            let count = |count: &AtomicU64| count.load(Ordering::Relaxed).to_string();
            let mut add = |what: &str, figure| figures.push((format!("{name}: {what}"), figure));
            add("nodes up", up.to_string());
            add("nodes down", (nodes.len() - up).to_string());
            let admitted = connected.cluster.admitted_max();
            add("reads and commits at once", admitted.to_string());
            add("requests", count(&counts.requests));
            add("requests failed", count(&counts.failures));
            add("requests timed out", count(&counts.timeouts));
            add("commits ambiguous", count(&counts.ambiguous));
            let strangers = connected.guard.strangers();
            add("nodes without their data", strangers.len().to_string());
            if !strangers.is_empty() {
                add(
                    "alert",
                    connected.guard.alert(&connected.cluster, &strangers),
                );
            }
        }
        for (service, absent) in self.absent() {
            let sum = |counts: &[u64]| counts.iter().sum::<u64>().to_string();
            let mut add = |what: &str, figure| figures.push((format!("{service}: {what}"), figure));
            add("reads of the engine", sum(&absent.reads));
            add("rows not found", sum(&absent.rows));
            add("partitions not found", sum(&absent.partitions));
        }
        for opened in self.keyspaces.read().iter() {
            if let Opened::Moving(pair) = opened {
                figures.extend(pair.figures());
            }
        }
        for service in self.watched.alerting() {
            let what = "far more partitions than usual are not found".to_owned();
            figures.push((format!("{service}: alert"), what));
        }
        figures
    }
}
