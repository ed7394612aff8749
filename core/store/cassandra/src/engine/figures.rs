//! What the engine tells of itself.

use std::sync::atomic::{AtomicU64, Ordering};

use lombard_store::Reading;

use super::{Cassandra, Opened};
use crate::counts::{AbsentCounts, TOKEN_SLICES};
use crate::nodes;
use crate::ring;

/// One of the counts, by slice.
type OfSlices = fn(&AbsentCounts) -> &[u64; TOKEN_SLICES];

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

    /// The same for metrics: what an alert is made of.
    pub(super) fn metrics(&self) -> Vec<Reading> {
        let mut readings = Vec::new();
        let gauge = |name, help, labels, value| Reading {
            name,
            help,
            is_counter: false,
            labels,
            value,
        };
        let of_cluster = |name: &String| vec![("cluster", name.clone())];
        let clusters = || self.clusters.iter();
        let nodes_up = clusters().map(|(name, connected)| {
            let nodes = nodes::facts(&connected.cluster);
            let up = nodes.iter().filter(|node| node.connected).count();
            let help = "Nodes that this process is connected to";
            gauge("nodes_up", help, of_cluster(name), up as u64)
        });
        readings.extend(nodes_up);
        readings.extend(clusters().map(|(name, connected)| {
            let help = "Nodes that own ranges and are not on record as having their data; \
                        above 0 is an alert: see the runbook of nodes that forgot their data";
            let strangers = connected.guard.strangers().len() as u64;
            gauge("nodes_without_data", help, of_cluster(name), strangers)
        }));
        let states = self.watched.states();
        readings.extend(states.into_iter().map(|(service, cluster, alerting)| {
            let help = "1 while far more partitions than usual are not found: an alert";
            let labels = vec![("cluster", cluster), ("keyspace", service)];
            gauge("not_found_alert", help, labels, u64::from(alerting))
        }));
        let mut absent = self.absent_by_cluster();
        absent.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
        let slices = ring::slices(TOKEN_SLICES);
        let kinds: [(_, _, OfSlices); 2] = [
            (
                "rows_not_found",
                "Rows that were asked for by key and are not there, by the range of tokens that \
                 begins behind that token",
                |counts| &counts.rows,
            ),
            (
                "partitions_not_found",
                "Reads of partitions that were never written, by the range of tokens that begins \
                 behind that token; a jump is how a cluster looks that has lost data",
                |counts| &counts.partitions,
            ),
        ];
        for (name, help, of) in kinds {
            for (cluster, service, counts) in &absent {
                for (value, range) in of(counts).iter().zip(&slices) {
                    readings.push(Reading {
                        name,
                        help,
                        is_counter: true,
                        labels: vec![
                            ("cluster", cluster.clone()),
                            ("keyspace", service.clone()),
                            ("tokens_after", range.after.to_string()),
                        ],
                        value: *value,
                    });
                }
            }
        }
        readings
    }
}
