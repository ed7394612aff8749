//! Looking at the clusters by the clock: who owns the ring, and what is not found.

use std::collections::BTreeMap;
use std::sync::Arc;

use lombard_store::Spawner;
use parking_lot::Mutex;

use crate::absence::{Absence, Verdict};
use crate::engine::Cassandra;
use crate::ring::{self, LOOK_EVERY};

/// What is not found is looked at once in so many looks at the ring: each second.
const LOOKS_A_SECOND: u32 = 4;

/// What is remembered from one second to the next, by service and cluster: one that moves
/// is on two.
#[derive(Debug, Default)]
pub(crate) struct Watched(Mutex<BTreeMap<(String, String), Absence>>);

impl Watched {
    /// By service and cluster: whether much more than usual is not found.
    pub fn states(&self) -> Vec<(String, String, bool)> {
        let absences = self.0.lock();
        let state = |((service, cluster), absence): (&(String, String), &Absence)| {
            (service.clone(), cluster.clone(), absence.is_alerting())
        };
        absences.iter().map(state).collect()
    }

    /// Keyspaces in which much more than usual is not found.
    pub fn alerting(&self) -> Vec<String> {
        let absences = self.0.lock();
        let alerting = absences.iter().filter(|(_, absence)| absence.is_alerting());
        alerting.map(|((service, _), _)| service.clone()).collect()
    }
}

impl Cassandra {
    /// Looks at the clusters again and again for as long as the engine is there. Without it
    /// they are looked at when something is read or committed.
    pub fn watch(self: &Arc<Self>, spawner: &Arc<dyn Spawner>) {
        let engine = Arc::downgrade(self);
        let pauses = spawner.clone();
        spawner.spawn(Box::pin(async move {
            for look in 0_u32.. {
                pauses.pause(LOOK_EVERY).await;
                let Some(engine) = engine.upgrade() else {
                    return;
                };
                engine.look_at_rings().await;
                if look % LOOKS_A_SECOND == 0 {
                    engine.look_for_absence();
                }
            }
        }));
    }

    fn look_for_absence(&self) {
        let mut watched = self.watched().0.lock();
        for (cluster, service, counts) in self.absent_by_cluster() {
            let place = (service.clone(), cluster.clone());
            let absence = watched.entry(place).or_default();
            match absence.second(&counts) {
                Verdict::Nothing => {}
                Verdict::Jumped {
                    not_found,
                    reads,
                    ranges,
                } => {
                    let ranges = ring::in_words(&ranges);
                    let alert = format!(
                        "cassandra: cluster {cluster}: {not_found} of {reads} reads of {service} \
                         in the last seconds found no partition, far more than usual, in {ranges}"
                    );
                    tracing::error!(cluster, keyspace = service, alert, "rows not found");
                }
                Verdict::Over => tracing::info!(
                    cluster,
                    keyspace = service,
                    "as much is found again as is usual"
                ),
            }
        }
    }
}
