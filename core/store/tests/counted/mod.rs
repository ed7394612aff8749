//! An engine that counts what the store asks of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use lombard_store::simulated::{Faults, Kind, Simulated, SimulatedOptions};
use lombard_store::{
    Admitted, Changes, Engine, EngineInfo, EventPage, KeyspaceId, PartitionId, Position, Snapshot,
    StoreError, Version, Wanted,
};
use tokio::sync::Semaphore;

/// How many reads and commits it takes at once.
pub const PERMITS: usize = 1_000;

/// The simulated engine, counted.
pub struct Counted {
    /// What is counted.
    pub inner: Simulated,
    reads: AtomicUsize,
    commits: AtomicUsize,
    /// How many rows the largest commit changed.
    pub rows_in_largest_commit: AtomicUsize,
    /// So many of the next reads fail as unavailable.
    pub fail_reads: AtomicUsize,
    /// Of [`PERMITS`].
    pub permits: Arc<Semaphore>,
}

impl Counted {
    /// On the network, with these faults.
    pub fn new(faults: Faults) -> Arc<Self> {
        let mut options = SimulatedOptions::new(Kind::Replicated, 7);
        options.faults = faults;
        Arc::new(Self {
            inner: Simulated::new(options),
            reads: AtomicUsize::new(0),
            commits: AtomicUsize::new(0),
            rows_in_largest_commit: AtomicUsize::new(0),
            fail_reads: AtomicUsize::new(0),
            permits: Arc::new(Semaphore::new(PERMITS)),
        })
    }

    /// Reads so far.
    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    /// Commits so far, in or not.
    pub fn commits(&self) -> usize {
        self.commits.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Engine for Counted {
    fn info(&self) -> EngineInfo {
        self.inner.info()
    }
    async fn keyspace(&self, name: &str) -> Result<KeyspaceId, StoreError> {
        self.inner.keyspace(name).await
    }
    async fn admit(&self, _: KeyspaceId) -> Admitted {
        Admitted::holding(self.permits.clone().acquire_owned().await.unwrap())
    }
    async fn read(
        &self,
        partition: &PartitionId,
        wanted: &[Wanted],
    ) -> Result<Snapshot, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let fail = self.fail_reads.load(Ordering::Relaxed);
        if fail > 0 {
            self.fail_reads.store(fail - 1, Ordering::Relaxed);
            return Err(StoreError::Unavailable("not now".into()));
        }
        self.inner.read(partition, wanted).await
    }
    async fn commit(
        &self,
        partition: &PartitionId,
        expected: Version,
        changes: Changes,
    ) -> Result<Option<Position>, StoreError> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.rows_in_largest_commit
            .fetch_max(changes.rows.len(), Ordering::Relaxed);
        self.inner.commit(partition, expected, changes).await
    }
    async fn durable(&self, position: Position) -> Result<(), StoreError> {
        self.inner.durable(position).await
    }
    async fn partitions(
        &self,
        keyspace: KeyspaceId,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        self.inner.partitions(keyspace, after, limit).await
    }
    async fn events(
        &self,
        keyspace: KeyspaceId,
        after: Position,
        limit: usize,
    ) -> Result<EventPage, StoreError> {
        self.inner.events(keyspace, after, limit).await
    }
    fn position(&self) -> Position {
        self.inner.position()
    }
}
