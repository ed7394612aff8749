//! Combining: one commit for all operations that arrive while another is in flight.
//!
//! Each partition in use has a *lane*. A caller runs its own function, in its
//! own task, under the lane's lock, over
//!
//! ```text
//! what earlier callers changed and is not sent yet    (pending)
//! what is being committed                             (in flight)
//! what was read                                       (base)
//! ```
//!
//! adds its changes to the pending batch, and waits for that batch's outcome.
//! One task for each lane sends batch after batch, each when the engine can take it. A row that is not at hand
//! is fetched together with whatever other callers of the lane miss.
//!
//! - A commit that conflicts sends everyone who ran over it back to run again
//!   on fresh state; so does one that failed.
//! - An operation that changes nothing (a refusal, or a "done already") waits
//!   for the batch too: what it saw counts only if that is in. A batch without
//!   changes asks the engine whether the version still stands.
//! - An ambiguous outcome is not guessed: see [`commit`].
//! - A caller that goes away leaves its changes in the batch; the tasks do not
//!   depend on any caller.

mod commit;
mod lane;
mod load;
mod look;
mod marker;
mod tell;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::counters::Counters;
use crate::error::{Stop, StoreError};
use crate::options::StoreOptions;
use crate::port::{Admitted, Engine, PartitionId, Position};
use crate::rows::Rows;
use crate::store::Sequenced;
pub(crate) use lane::Sight;
use lane::{Lane, Operation, Step, WantedSet};

/// After so many conflicts an operation pauses before it is run again.
const CONFLICTS_BEFORE_PAUSE: u32 = 3;
/// Pauses grow by doubling, so many times.
const PAUSE_DOUBLINGS_MAX: u32 = 6;

/// The lanes of a store, and what their tasks need.
#[derive(Clone)]
pub(crate) struct Combiner {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Arc<dyn Engine>,
    counters: Arc<Counters>,
    options: StoreOptions,
    lanes: Mutex<Lanes>,
    waiting: AtomicUsize,
    /// Numbers this store's commits.
    commits: AtomicU64,
}

#[derive(Default)]
struct Lanes {
    by_partition: HashMap<PartitionId, Arc<Lane>>,
    /// Counts the look-ups, to know who was used last.
    used: u64,
    /// Idle lanes are looked for when there are so many.
    sweep_at: usize,
}

/// What became of a batch.
#[derive(Debug, Clone)]
enum Outcome {
    /// What its operations did and saw is in, and durable with this position.
    In(Position),
    /// What they saw is not so: they run again.
    Again,
    /// They fail.
    Failed(StoreError),
}

/// A task for the spawner.
type Task = BoxFuture<'static, ()>;

impl Combiner {
    pub fn new(engine: Arc<dyn Engine>, counters: Arc<Counters>, options: StoreOptions) -> Self {
        Self {
            shared: Arc::new(Shared {
                engine,
                counters,
                options,
                lanes: Mutex::default(),
                waiting: AtomicUsize::new(0),
                commits: AtomicU64::new(0),
            }),
        }
    }

    /// Runs the rule until what it saw and did is in, or it fails.
    pub async fn update<T, E, F>(
        &self,
        partition: PartitionId,
        mut rule: F,
    ) -> Result<Sequenced<Result<T, E>>, StoreError>
    where
        F: FnMut(&mut Rows<'_>) -> Result<T, Stop<E>> + Send,
        T: Send,
        E: Send,
    {
        let shared = &self.shared;
        let options = &shared.options;
        let _waiting = Waiting::enter(shared)?;
        let lane = shared.lane(partition);
        let _use = LaneUse::enter(shared, &lane);
        let mut operation = Operation {
            arrived: lane.arrive(),
            stamp: None,
            asked: WantedSet::default(),
        };
        let (mut loads, mut conflicts) = (0, 0);
        loop {
            match lane.step(shared, &mut operation, &mut rule) {
                Step::Answered(ran) => return ran,
                Step::Joined(value, outcome) => match outcome.await {
                    Ok(Outcome::In(position)) => return Ok(Sequenced { value, position }),
                    Ok(Outcome::Failed(error)) => return Err(error),
                    Ok(Outcome::Again) => {
                        conflicts += 1;
                        if conflicts > options.conflicts_per_operation_max {
                            return Err(lane.contended(conflicts));
                        }
                        if let Some(pause) = shared.pause(operation.arrived, conflicts) {
                            options.spawner.pause(pause).await;
                        }
                    }
                    Err(_) => {
                        return Err(StoreError::Ambiguous(
                            "the task that carried the commit has ended".into(),
                        ));
                    }
                },
                Step::Load(loaded) => {
                    loads += 1;
                    if loads > options.loads_per_operation_max {
                        return Err(lane.contended(loads));
                    }
                    match loaded.await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => return Err(error),
                        Err(_) => {
                            return Err(StoreError::Closed(
                                "the task that fetched the rows has ended".into(),
                            ));
                        }
                    }
                }
                // Whether it was told or the lane is gone: the next run shows.
                Step::Full(moved) => {
                    let _ = moved.await;
                }
            }
        }
    }
}

impl Shared {
    /// Waits until the engine can take a read or a commit of the lane.
    async fn admit(&self, lane: &Lane) -> Admitted {
        self.engine.admit(lane.partition.keyspace).await
    }

    /// The partition's lane, made where there is none.
    fn lane(&self, partition: PartitionId) -> Arc<Lane> {
        let mut lanes = self.lanes.lock();
        lanes.used += 1;
        let used = lanes.used;
        if let Some(lane) = lanes.by_partition.get(&partition) {
            lane.used.store(used, Ordering::Relaxed);
            return lane.clone();
        }
        lanes.sweep(self.options.lanes_idle_max);
        let lane = Arc::new(Lane::new(partition.clone(), used));
        lanes.by_partition.insert(partition, lane.clone());
        lane
    }

    /// How long to wait before running again, different for everyone.
    fn pause(&self, arrived: u64, conflicts: u32) -> Option<Duration> {
        let over = conflicts.checked_sub(CONFLICTS_BEFORE_PAUSE)?;
        let steps = 1_u64 << over.min(PAUSE_DOUBLINGS_MAX);
        // Any spread will do: stores differ by instance, callers by arrival.
        let mixed = (self.options.instance ^ arrived.rotate_left(17) ^ u64::from(conflicts))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            >> 32;
        let parts = u32::try_from(1 + mixed % steps).unwrap_or(1);
        Some(self.options.retry_pause.saturating_mul(parts))
    }
}

impl Lanes {
    /// Lets go of the lanes that nobody uses, longest unused first, if there are too many.
    fn sweep(&mut self, idle_max: usize) {
        if self.by_partition.len() < self.sweep_at.max(idle_max) {
            return;
        }
        // Under the map's lock nobody can begin to use a lane that only the map holds.
        let mut idle: Vec<(u64, PartitionId)> = self
            .by_partition
            .iter()
            .filter(|(_, lane)| Arc::strong_count(lane) == 1)
            .map(|(partition, lane)| (lane.used.load(Ordering::Relaxed), partition.clone()))
            .collect();
        idle.sort_unstable();
        let keep = idle_max - idle_max / 8;
        let drop = self.by_partition.len().saturating_sub(keep);
        for (_, partition) in idle.into_iter().take(drop) {
            self.by_partition.remove(&partition);
        }
        // Where most are busy, looking again at once would find the same.
        self.sweep_at = self.by_partition.len() + idle_max / 8 + 1;
    }
}

/// One operation that waits in the store.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(shared: &'a Shared) -> Result<Self, StoreError> {
        let waiting = Self(&shared.waiting);
        let before = shared.waiting.fetch_add(1, Ordering::Relaxed);
        if before >= shared.options.operations_waiting_max {
            return Err(StoreError::Unavailable(format!(
                "{before} operations wait in the store already"
            )));
        }
        Ok(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A caller's use of a lane; the last one to leave takes most of its rows along.
struct LaneUse<'a> {
    shared: &'a Shared,
    lane: &'a Lane,
}

impl<'a> LaneUse<'a> {
    fn enter(shared: &'a Shared, lane: &'a Lane) -> Self {
        lane.state.lock().users += 1;
        Self { shared, lane }
    }
}

impl Drop for LaneUse<'_> {
    fn drop(&mut self) {
        let mut state = self.lane.state.lock();
        state.users -= 1;
        state.trim(&self.shared.options);
    }
}
