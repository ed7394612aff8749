//! Engines that are broken on purpose: what the checker has to catch.
//!
//! [`Broken`] wraps a sound engine, simulated or real, and a [`Defect`] breaks one
//! promise of the store's port. It has no fast path ([`Engine::local`]): the store reads
//! and commits through the port, as with a database on the network.

mod forgetful;
mod hasty;
mod stale;
mod unconditional;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lombard_store::{
    Admitted, Changes, Engine, EngineInfo, EventPage, KeyspaceId, PartitionId, Position, Snapshot,
    StoreError, Version, Wanted,
};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

pub use forgetful::Forgetful;
pub use hasty::Hasty;
pub use stale::Stale;
pub use unconditional::Unconditional;

/// What is wrong with an engine. Each call is as the engine's own unless it is broken.
#[async_trait]
pub trait Defect: Send + Sync + 'static {
    /// In a few words.
    fn name(&self) -> &'static str;

    /// As [`Engine::read`].
    ///
    /// # Errors
    /// The engine's.
    async fn read(
        &self,
        engine: &dyn Engine,
        partition: &PartitionId,
        wanted: &[Wanted],
    ) -> Result<Snapshot, StoreError> {
        engine.read(partition, wanted).await
    }

    /// As [`Engine::glance`].
    ///
    /// # Errors
    /// The engine's.
    async fn glance(
        &self,
        engine: &dyn Engine,
        partition: &PartitionId,
        wanted: &[Wanted],
    ) -> Result<Snapshot, StoreError> {
        engine.glance(partition, wanted).await
    }

    /// As [`Engine::commit`].
    ///
    /// # Errors
    /// The engine's.
    async fn commit(
        &self,
        engine: &dyn Engine,
        partition: &PartitionId,
        expected: Version,
        changes: Changes,
    ) -> Result<Option<Position>, StoreError> {
        engine.commit(partition, expected, changes).await
    }

    /// As [`Engine::durable`].
    ///
    /// # Errors
    /// The engine's.
    async fn durable(&self, engine: &dyn Engine, position: Position) -> Result<(), StoreError> {
        engine.durable(position).await
    }
}

/// An engine with a defect.
pub struct Broken<D> {
    engine: Arc<dyn Engine>,
    defect: D,
}

impl<D: Defect> Broken<D> {
    /// This engine, with this defect.
    pub fn new(engine: Arc<dyn Engine>, defect: D) -> Self {
        Self { engine, defect }
    }
}

#[async_trait]
impl<D: Defect> Engine for Broken<D> {
    fn info(&self) -> EngineInfo {
        let info = self.engine.info();
        EngineInfo {
            name: format!("{} ({})", info.name, self.defect.name()),
            ..info
        }
    }

    async fn keyspace(&self, name: &str) -> Result<KeyspaceId, StoreError> {
        self.engine.keyspace(name).await
    }

    async fn read(
        &self,
        partition: &PartitionId,
        wanted: &[Wanted],
    ) -> Result<Snapshot, StoreError> {
        let engine = self.engine.as_ref();
        self.defect.read(engine, partition, wanted).await
    }

    async fn glance(
        &self,
        partition: &PartitionId,
        wanted: &[Wanted],
    ) -> Result<Snapshot, StoreError> {
        let engine = self.engine.as_ref();
        self.defect.glance(engine, partition, wanted).await
    }

    async fn commit(
        &self,
        partition: &PartitionId,
        expected: Version,
        changes: Changes,
    ) -> Result<Option<Position>, StoreError> {
        let engine = self.engine.as_ref();
        self.defect
            .commit(engine, partition, expected, changes)
            .await
    }

    async fn durable(&self, position: Position) -> Result<(), StoreError> {
        self.defect.durable(self.engine.as_ref(), position).await
    }

    async fn partitions(
        &self,
        keyspace: KeyspaceId,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        self.engine.partitions(keyspace, after, limit).await
    }

    async fn events(
        &self,
        keyspace: KeyspaceId,
        after: Position,
        limit: usize,
    ) -> Result<EventPage, StoreError> {
        self.engine.events(keyspace, after, limit).await
    }

    async fn admit(&self, keyspace: KeyspaceId) -> Admitted {
        self.engine.admit(keyspace).await
    }

    fn position(&self) -> Position {
        self.engine.position()
    }

    fn combined_bytes_max(&self) -> usize {
        self.engine.combined_bytes_max()
    }
}

/// How often it is broken, as a seed says.
struct Dice {
    share: f64,
    generator: Mutex<SmallRng>,
}

impl Dice {
    fn new(share: f64, seed: u64) -> Self {
        Self {
            share: share.clamp(0.0, 1.0),
            generator: Mutex::new(SmallRng::seed_from_u64(seed)),
        }
    }

    fn now(&self) -> bool {
        self.generator.lock().random_bool(self.share)
    }

    fn below(&self, bound: usize) -> usize {
        match bound {
            0 => 0,
            bound => self.generator.lock().random_range(0..bound),
        }
    }
}
