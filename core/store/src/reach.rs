//! An engine elsewhere: asked for until it answers.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::error::StoreError;
use crate::options::Spawner;
use crate::port::{
    Admitted, Engine, EngineInfo, EventPage, KeyspaceId, LocalEngine, PartitionId, Position,
    Reading, Snapshot, Version, Wanted,
};
use crate::rows::Changes;

/// One attempt to reach an engine.
pub type Attempt =
    Box<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn Engine>, StoreError>> + Send + Sync>;

/// The pause after the first attempt; it doubles, up to the other.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long an engine is waited for that does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Until it does: a service that runs.
    Forever,
    /// Not at all: a person who waits.
    Once,
}

/// An engine that is reached when it is first waited for ([`Engine::reached`]).
///
/// An engine that does not answer ([`StoreError::Unavailable`]) is asked again and
/// again, with pauses that grow; one that a person has to mend is not.
pub struct Reach {
    name: &'static str,
    attempt: Attempt,
    patience: Patience,
    spawner: Arc<dyn Spawner>,
    engine: OnceLock<Arc<dyn Engine>>,
    /// One at a time.
    attempts: futures::lock::Mutex<()>,
    waiting_for: Mutex<String>,
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reach")
            .field("name", &self.name)
            .field("reached", &self.engine.get().is_some())
            .finish_non_exhaustive()
    }
}

impl Reach {
    /// Nothing is attempted yet.
    pub fn new(
        name: &'static str,
        patience: Patience,
        spawner: Arc<dyn Spawner>,
        attempt: Attempt,
    ) -> Self {
        Self {
            name,
            attempt,
            patience,
            spawner,
            engine: OnceLock::new(),
            attempts: futures::lock::Mutex::new(()),
            waiting_for: Mutex::new(format!("{name} was not asked yet")),
        }
    }

    fn engine(&self) -> Result<&Arc<dyn Engine>, StoreError> {
        self.engine
            .get()
            .ok_or_else(|| StoreError::Unavailable(self.waiting_for.lock().clone()))
    }

    async fn reach(&self) -> Result<Arc<dyn Engine>, StoreError> {
        let mut pause = PAUSE;
        loop {
            let why = match (self.attempt)().await {
                Ok(engine) => return Ok(engine),
                Err(StoreError::Unavailable(why)) if self.patience == Patience::Forever => why,
                Err(error) => return Err(error),
            };
            tracing::warn!(
                store = self.name,
                why,
                again_in_ms = pause.as_millis(),
                "the store does not answer; waiting for it"
            );
            *self.waiting_for.lock() = why;
            self.spawner.pause(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

#[async_trait]
impl Engine for Reach {
    fn info(&self) -> EngineInfo {
        match self.engine.get() {
            Some(engine) => engine.info(),
            None => EngineInfo {
                name: self.name.to_owned(),
                durability: "not known: it was not reached yet".into(),
                figures: vec![("waiting for".to_owned(), self.waiting_for.lock().clone())],
            },
        }
    }

    fn readings(&self) -> Vec<Reading> {
        let reached = self.engine.get();
        reached.map_or_else(Vec::new, |engine| engine.readings())
    }

    async fn reached(&self) -> Result<(), StoreError> {
        let _one = self.attempts.lock().await;
        if self.engine.get().is_none() {
            let engine = self.reach().await?;
            // Nobody else sets it: this is the one attempt.
            let _ = self.engine.set(engine);
        }
        Ok(())
    }

    fn waiting_for(&self) -> Option<String> {
        match self.engine.get() {
            Some(engine) => engine.waiting_for(),
            None => Some(self.waiting_for.lock().clone()),
        }
    }

    async fn keyspace(&self, name: &str) -> Result<KeyspaceId, StoreError> {
        self.reached().await?;
        self.engine()?.keyspace(name).await
    }

    async fn admit(&self, keyspace: KeyspaceId) -> Admitted {
        match self.engine.get() {
            Some(engine) => engine.admit(keyspace).await,
            None => Admitted::free(),
        }
    }

    async fn read(
        &self,
        partition: &PartitionId,
        wanted: &[Wanted],
    ) -> Result<Snapshot, StoreError> {
        self.engine()?.read(partition, wanted).await
    }

    async fn glance(
        &self,
        partition: &PartitionId,
        wanted: &[Wanted],
    ) -> Result<Snapshot, StoreError> {
        self.engine()?.glance(partition, wanted).await
    }

    async fn commit(
        &self,
        partition: &PartitionId,
        expected: Version,
        changes: Changes,
    ) -> Result<Option<Position>, StoreError> {
        self.engine()?.commit(partition, expected, changes).await
    }

    async fn durable(&self, position: Position) -> Result<(), StoreError> {
        self.engine()?.durable(position).await
    }

    async fn partitions(
        &self,
        keyspace: KeyspaceId,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        self.engine()?.partitions(keyspace, after, limit).await
    }

    async fn events(
        &self,
        keyspace: KeyspaceId,
        after: Position,
        limit: usize,
    ) -> Result<EventPage, StoreError> {
        self.engine()?.events(keyspace, after, limit).await
    }

    fn position(&self) -> Position {
        self.engine
            .get()
            .map_or(Position(0), |engine| engine.position())
    }

    fn combined_bytes_max(&self) -> usize {
        self.engine
            .get()
            .map_or(crate::limits::COMMIT_BYTES_MAX, |engine| {
                engine.combined_bytes_max()
            })
    }

    fn local(&self) -> Option<&dyn LocalEngine> {
        self.engine.get()?.local()
    }
}
