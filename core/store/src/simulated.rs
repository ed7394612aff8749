//! The engine `simulated`: in memory, seeded, with faults on demand.
//!
//! Tests and the simulator use it. The same seed under the same calls gives the
//! same faults, so a run that failed can be repeated. It comes in two kinds:
//!
//! - [`Kind::OneLog`], like the embedded engine: commits are sequenced at once and
//!   durable when somebody waited for them; a crash takes away what nobody waited for.
//! - [`Kind::Replicated`], like a database on the network: a commit takes a while, is
//!   durable when it is in, and may time out before or after that.

mod faults;
mod state;

use std::fmt;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;

pub use faults::{FaultCounts, Faults};
use state::{Record, State, View};

use crate::error::StoreError;
use crate::limits;
use crate::options::{Spawner, TokioSpawner};
use crate::port::{
    Engine, EngineInfo, EventPage, EventRow, KeyspaceId, LocalEngine, PartitionId, PartitionRef,
    Position, Snapshot, Verdict, Version, Wanted,
};
use crate::rows::{Change, Changes, RowSource, Rows};

/// What the simulated engine is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One log in this process, with the fast path.
    OneLog,
    /// One log, but without the fast path: the store combines over it.
    OneLogShared,
    /// A database on the network.
    Replicated,
}

/// How a simulated engine starts.
#[derive(Debug, Clone)]
pub struct SimulatedOptions {
    /// Decides all that chance decides.
    pub seed: u64,
    /// What it is like.
    pub kind: Kind,
    /// What goes wrong, and how often.
    pub faults: Faults,
}

impl SimulatedOptions {
    /// This kind from this seed, with no faults.
    pub fn new(kind: Kind, seed: u64) -> Self {
        Self {
            seed,
            kind,
            faults: Faults::default(),
        }
    }
}

/// The engine.
pub struct Simulated {
    kind: Kind,
    seed: u64,
    state: Mutex<State>,
}

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulated")
            .field("kind", &self.kind)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

impl Simulated {
    /// An empty engine.
    pub fn new(options: SimulatedOptions) -> Self {
        Self {
            kind: options.kind,
            seed: options.seed,
            state: Mutex::new(State::new(options.seed, options.faults)),
        }
    }

    /// Pulls the plug. This engine answers nothing more; the returned one is what
    /// is found when it is opened again: all that was durable, and of what was
    /// sequenced behind it nothing or, with [`Faults::torn_tail`], the first part.
    #[must_use]
    pub fn crash(&self) -> Self {
        let state = self.state.lock().crash();
        Self {
            kind: self.kind,
            seed: self.seed,
            state: Mutex::new(state),
        }
    }

    /// From now on this goes wrong.
    pub fn set_faults(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    /// What went wrong so far, by kind of fault.
    pub fn fault_counts(&self) -> FaultCounts {
        self.state.lock().counts
    }

    /// Makes a row unreadable: whoever reads it gets [`StoreError::Damaged`].
    pub fn damage(&self, partition: &PartitionId, row: &[u8]) {
        let mut state = self.state.lock();
        let row = Bytes::copy_from_slice(row);
        state.damaged.insert((partition.clone(), row));
    }

    /// A number that sums up all commits so far: equal runs have equal ones.
    pub fn fingerprint(&self) -> u64 {
        self.state.lock().fingerprint()
    }

    /// Takes a while, as the seed says.
    async fn delay(&self) {
        let yields = self.state.lock().delay();
        yield_times(yields).await;
    }

    fn is_durable_when_in(&self) -> bool {
        self.kind == Kind::Replicated
    }
}

#[async_trait]
impl Engine for Simulated {
    fn info(&self) -> EngineInfo {
        let state = self.state.lock();
        let mut figures = vec![
            ("seed".to_owned(), self.seed.to_string()),
            ("commits".to_owned(), state.log.len().to_string()),
            ("durable commits".to_owned(), state.flushed.to_string()),
        ];
        figures.extend(state.counts.figures());
        EngineInfo {
            name: "simulated".into(),
            durability: "none: in memory, for tests".into(),
            figures,
        }
    }

    async fn keyspace(&self, name: &str) -> Result<KeyspaceId, StoreError> {
        limits::check_keyspace(name)?;
        self.delay().await;
        self.state.lock().keyspace(name)
    }

    async fn read(
        &self,
        partition: &PartitionId,
        wanted: &[Wanted],
    ) -> Result<Snapshot, StoreError> {
        self.delay().await;
        let snapshot = {
            let mut state = self.state.lock();
            state.open_for_reading()?;
            state.settle(partition);
            View::of(&state, partition).snapshot(wanted)?
        };
        self.delay().await;
        Ok(snapshot)
    }

    async fn glance(
        &self,
        partition: &PartitionId,
        wanted: &[Wanted],
    ) -> Result<Snapshot, StoreError> {
        self.delay().await;
        let snapshot = {
            let mut state = self.state.lock();
            state.open_for_reading()?;
            match state.glance_of_old(partition) {
                Some(old) => View::over(&state, partition, &old).snapshot(wanted)?,
                None => View::of(&state, partition).snapshot(wanted)?,
            }
        };
        self.delay().await;
        Ok(snapshot)
    }

    async fn commit(
        &self,
        partition: &PartitionId,
        expected: Version,
        changes: Changes,
    ) -> Result<Option<Position>, StoreError> {
        self.delay().await;
        let durable = self.is_durable_when_in();
        let record = Record {
            partition: partition.clone(),
            version: expected.next(),
            changes,
        };
        let committed = self.state.lock().commit(record, durable);
        self.delay().await;
        if let Ok(Some(_)) = committed {
            self.state.lock().told(partition, expected.next());
        }
        committed
    }

    async fn durable(&self, position: Position) -> Result<(), StoreError> {
        if self.state.lock().is_durable(position)? {
            return Ok(());
        }
        self.delay().await;
        // One flush for all that was sequenced so far, whoever waits for it.
        let flushed = self.state.lock().flush(position);
        self.delay().await;
        flushed
    }

    async fn partitions(
        &self,
        keyspace: KeyspaceId,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        self.delay().await;
        let mut state = self.state.lock();
        state.open_for_reading()?;
        Ok(state.partitions(keyspace, after, limit))
    }

    async fn events(
        &self,
        keyspace: KeyspaceId,
        after: Position,
        limit: usize,
    ) -> Result<EventPage, StoreError> {
        self.delay().await;
        let mut state = self.state.lock();
        state.open_for_reading()?;
        Ok(state.events(keyspace, after, limit))
    }

    fn position(&self) -> Position {
        self.state.lock().position()
    }

    fn local(&self) -> Option<&dyn LocalEngine> {
        (self.kind == Kind::OneLog).then_some(self as &dyn LocalEngine)
    }
}

impl LocalEngine for Simulated {
    fn update(
        &self,
        partition: PartitionRef<'_>,
        run: &mut dyn FnMut(&mut Rows<'_>) -> Verdict,
    ) -> Result<Position, StoreError> {
        let partition = partition.to_id();
        let mut state = self.state.lock();
        state.open_for_writing()?;
        let (verdict, version, seen) = {
            let view = View::of(&state, &partition);
            let verdict = run(&mut Rows::new(&view));
            (verdict, view.version(), view.position())
        };
        match verdict {
            Verdict::Commit(changes) if !changes.is_empty() => Ok(state.append(Record {
                partition,
                version: version.next(),
                changes,
            })),
            Verdict::Commit(_) | Verdict::Leave => Ok(seen),
        }
    }

    fn read(
        &self,
        partition: PartitionRef<'_>,
        run: &mut dyn FnMut(&Rows<'_>),
    ) -> Result<Position, StoreError> {
        let partition = partition.to_id();
        let mut state = self.state.lock();
        state.open_for_reading()?;
        let view = View::of(&state, &partition);
        run(&Rows::new(&view));
        Ok(view.position())
    }
}

/// A spawner whose pauses take no time, only turns: runs over the simulated
/// engine then repeat exactly on a runtime of one thread.
#[derive(Debug, Clone, Copy, Default)]
pub struct TurnSpawner;

impl Spawner for TurnSpawner {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        TokioSpawner.spawn(task);
    }

    fn pause(&self, time: Duration) -> BoxFuture<'static, ()> {
        // A turn for each millisecond: a longer pause still lasts longer.
        let turns = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        Box::pin(yield_times(turns.saturating_add(1)))
    }
}

/// Lets others go first, so often.
async fn yield_times(times: u32) {
    for _ in 0..times {
        let mut yielded = false;
        poll_fn(|context| {
            if yielded {
                return Poll::Ready(());
            }
            yielded = true;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}
