//! What an operator does with a keyspace that moves.

use std::sync::Arc;

use lombard_store::{KeyspaceId, StoreError};

use super::decide::Which;
use super::pair::Pair;
use super::record;
use super::sweep::{Progress, Sweep, Swept, Watcher, Work};
use crate::engine::Cassandra;

/// A service's keyspace that moves from one cluster to another. Every sweep may be stopped at
/// any time, and goes on from the record; several may run at once.
///
/// The steps of a move, each done when the one before is:
/// 1. every process is configured with `cassandra.moves.<service>.to`, and started again;
/// 2. [`Self::backfill`], until [`Self::compare`] finds few behind and none different;
/// 3. [`Self::switch`] to the other cluster, and back, as often as one likes;
/// 4. with all switched: the two clusters are exchanged in the configuration of every process,
///    so that new partitions begin where the others are;
/// 5. [`Self::finish`]; every process is configured with the new cluster and no move.
#[derive(Debug)]
pub struct Move<'a> {
    engine: &'a Cassandra,
    id: KeyspaceId,
    pair: Arc<Pair>,
}

/// Where a move stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Each cluster, and how many partitions it owns.
    pub owned: Vec<(String, u64)>,
    /// Partitions whose copy is not at their version.
    pub behind: u64,
}

impl Cassandra {
    /// The keyspace of a service that moves.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`]: it does not, or not as it is on record.
    pub async fn moving(&self, service: &str) -> Result<Move<'_>, StoreError> {
        let (id, pair) = self.pair_of(service).await?;
        Ok(Move {
            engine: self,
            id,
            pair,
        })
    }
}

impl Move<'_> {
    fn sweep(&self) -> Sweep<'_> {
        Sweep {
            tools: self.engine.tools(),
            lanes: self.engine.lanes(),
            pair: &self.pair,
            id: self.id,
        }
    }

    /// Brings each partition's copy to its version, and the event indexes to what they have
    /// together. `watch` is told how far it has come.
    ///
    /// # Errors
    /// One of the clusters does not answer; called again, it goes on.
    pub async fn backfill(&self, watch: Watcher<'_>) -> Result<Swept, StoreError> {
        for to in Which::BOTH {
            let (tools, following) = (self.engine.tools(), self.engine.following());
            self.pair.copy_index(tools, following, to).await?;
        }
        self.sweep().over_all(Work::Backfill, watch).await
    }

    /// Compares each partition with its copy, row by row and value by value.
    ///
    /// # Errors
    /// As [`Self::backfill`].
    pub async fn compare(&self, watch: Watcher<'_>) -> Result<Swept, StoreError> {
        self.sweep().over_all(Work::Compare, watch).await
    }

    /// Hands every partition over to this cluster.
    ///
    /// # Errors
    /// As [`Self::backfill`]; [`StoreError::Misconfigured`]: it is none of the two.
    pub async fn switch(&self, cluster: &str, watch: Watcher<'_>) -> Result<Swept, StoreError> {
        let to = self.pair.which(cluster)?;
        self.sweep().over_all(Work::Switch(to), watch).await
    }

    /// Who owns how many partitions, and how many copies are behind.
    ///
    /// # Errors
    /// One of the clusters does not answer.
    pub async fn status(&self, watch: Watcher<'_>) -> Result<Standing, StoreError> {
        let swept = self.sweep().over_all(Work::Count, watch).await?;
        let names = self.pair.keyspaces().map(|side| side.cluster.name.clone());
        Ok(Standing {
            owned: names.into_iter().zip(swept.owned).collect(),
            behind: swept.behind,
        })
    }

    /// Puts on record that all is on the cluster that the service is configured for, where the
    /// other one owns nothing any more: it can be left then.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] says what is still to be done.
    pub async fn finish(&self) -> Result<(), StoreError> {
        let [at, left] = self.pair.keyspaces();
        let standing = self.status(&mut |_: Progress| {}).await?;
        let owned = standing.owned.get(1).map_or(0, |(_, owned)| *owned);
        if owned > 0 {
            return Err(StoreError::Misconfigured(format!(
                "cassandra: {owned} partitions of {service} are on cluster {:?}, which would be \
                 left: switch them to {:?} first; or, if that is the one to leave, exchange \
                 the two in every process's cassandra.services.{service} and \
                 cassandra.moves.{service}.to",
                left.cluster.name,
                at.cluster.name,
                service = at.service
            )));
        }
        // What was entered there before the last partition left shows up to the horizon only.
        let following = self.engine.following();
        let until = self.engine.tools().clock.now_us();
        loop {
            let (tools, to) = (self.engine.tools(), Which::From);
            let (done, _) = self.pair.copy_index(tools, following, to).await?;
            if done.0 > until {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        record::settle(at, left).await
    }
}
