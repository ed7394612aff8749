//! A lane: what is known of a partition, what is on its way, and who waits for it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;

use super::marker::History;
use super::tell::{Listener, Teller};
use super::{Outcome, Shared, Task, commit, load};
use crate::error::{Stop, StoreError};
use crate::fetch::VERSION_GUESSED;
use crate::limits::{self, COMMIT_BYTES_MAX, COMMIT_ROWS_MAX};
use crate::loaded::{Loaded, LoadedSource};
use crate::options::StoreOptions;
use crate::port::{PartitionId, Position, Version, Wanted};
use crate::rows::{Change, Changes, Kept, Overlay, Rows};
use crate::store::{Ran, Sequenced, judge};

/// A partition in use.
pub(super) struct Lane {
    /// Which.
    pub partition: PartitionId,
    /// When it was looked up last, counted in look-ups.
    pub used: AtomicU64,
    /// Everything else. Held for one run of a function at most, never across a wait.
    pub state: Mutex<LaneState>,
}

/// What a lane knows and does. Without a base nothing is pending or in flight.
#[derive(Default)]
pub(super) struct LaneState {
    /// What was read, and moved on by this lane's own commits.
    pub base: Option<Base>,
    /// What is being committed over the base.
    pub in_flight: Option<Arc<Changes>>,
    /// What will be committed next.
    pub pending: Option<Batch>,
    /// What the last function kept: of the state with all that is in flight and pending.
    /// Whoever changes that otherwise than by adding to the pending batch drops it.
    pub kept: Option<Kept>,
    /// What will be fetched next.
    pub wanted: Option<Load>,
    /// Whether a task commits, and whether one fetches.
    pub committing: bool,
    pub loading: bool,
    /// Callers that are in the lane.
    pub users: usize,
    /// Counts arrivals.
    pub arrivals: u64,
    /// Tells those who wait for a batch to leave or to be settled, if anyone does.
    moved: Option<Teller<()>>,
}

/// What is known of the partition as it is without what is on its way.
pub(super) struct Base {
    /// Rows, absences and ranges, of one version.
    pub loaded: Loaded,
    /// All changes since this version are in `loaded`: what was read at it or
    /// later can be taken in.
    pub since: Version,
    /// The commits that made the last versions.
    pub history: History,
    /// Covers all of this.
    pub position: Position,
    /// The engine was read, and stood at this version, after so many arrivals.
    pub confirmed: u64,
    /// The same, or a glance was taken that showed nothing else.
    pub glanced: u64,
    /// The greatest stamp that somebody had before such a look began.
    pub stamp: Option<u64>,
}

/// What a look at the engine tells of the base.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub sight: Sight,
    /// Arrivals before it began.
    pub arrivals: u64,
    /// The greatest stamp that any of those had.
    pub stamp: Option<u64>,
}

/// Operations that go out as one commit.
pub(super) struct Batch {
    pub changes: Changes,
    bytes: usize,
    pub operations: u64,
    pub outcome: Teller<Outcome>,
}

/// Rows that are fetched in one read.
pub(super) struct Load {
    pub wanted: WantedSet,
    /// What serves all that is asked for.
    pub sight: Sight,
    /// The greatest stamp that any of those has who ask.
    pub stamp: Option<u64>,
    pub done: Teller<Result<(), StoreError>>,
}

/// How surely a state of the engine is seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sight {
    /// As [`crate::Engine::glance`] shows it. Whoever commits over it is told if it was not so.
    #[default]
    Glance,
    /// As [`crate::Engine::read`] does.
    Read,
}

/// One call of `update`.
pub(super) struct Operation {
    /// Its place among the arrivals.
    pub arrived: u64,
    /// What was seen under this stamp, or a later one, it need not see again.
    pub stamp: Option<u64>,
    /// All that it ever asked for: fetched at once when it must begin anew.
    pub asked: WantedSet,
}

/// Rows and ranges, each once, in the order in which they were first asked for.
#[derive(Default)]
pub(super) struct WantedSet {
    pub list: Vec<Wanted>,
    noted: HashSet<Wanted>,
}

impl WantedSet {
    /// False if it is there already.
    pub fn insert(&mut self, wanted: Wanted) -> bool {
        let new = self.noted.insert(wanted.clone());
        if new {
            self.list.push(wanted);
        }
        new
    }
}

impl Default for Load {
    fn default() -> Self {
        Self {
            wanted: WantedSet::default(),
            sight: Sight::default(),
            stamp: None,
            done: Teller::new(),
        }
    }
}

/// Where one run of a function leads.
pub(super) enum Step<T, E> {
    /// There is nothing to wait for.
    Answered(Result<Sequenced<Result<T, E>>, StoreError>),
    /// Its changes are in the batch: this is the answer if that is in.
    Joined(Result<T, E>, Listener<Outcome>),
    /// Rows are missing: run again when they are there.
    Load(Listener<Result<(), StoreError>>),
    /// The batch cannot take it: run again when that has left.
    Full(Listener<()>),
}

impl Lane {
    /// A lane that knows nothing yet.
    pub fn new(partition: PartitionId, used: u64) -> Self {
        Self {
            partition,
            used: AtomicU64::new(used),
            state: Mutex::default(),
        }
    }

    /// The arrival's number.
    pub fn arrive(&self) -> u64 {
        let mut state = self.state.lock();
        state.arrivals += 1;
        state.arrivals
    }

    /// It was tried too often.
    pub fn contended(&self, attempts: u32) -> StoreError {
        StoreError::Contended {
            attempts,
            partition: self.partition.key.escape_ascii().to_string(),
        }
    }

    /// Runs the rule once over all that is known and on its way.
    pub fn step<T, E, F>(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        operation: &mut Operation,
        rule: &mut F,
    ) -> Step<T, E>
    where
        F: FnMut(&mut Rows<'_>) -> Result<T, Stop<E>>,
    {
        // A task is spawned outside the lock: a runtime that stops drops it at
        // once, and its end takes the lock.
        let (step, task) = self.step_locked(shared, operation, rule);
        if let Some(task) = task {
            shared.options.spawner.spawn(task);
        }
        step
    }

    fn step_locked<T, E, F>(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        operation: &mut Operation,
        rule: &mut F,
    ) -> (Step<T, E>, Option<Task>)
    where
        F: FnMut(&mut Rows<'_>) -> Result<T, Stop<E>>,
    {
        let mut state = self.state.lock();
        if let Some(pending) = &state.pending
            && pending.operations >= shared.options.operations_per_commit_max
        {
            return (Step::Full(state.next_move()), None);
        }
        let run = state.run(rule);
        if !run.missing.is_empty() || state.base.is_none() {
            // It runs again, and finds what it was given, unless it was about to change that.
            let unchanged = run.changes.is_empty() && state.base.is_some();
            state.kept = run.kept.filter(|_| unchanged);
            let wanted = operation.ask(run.missing, state.base.is_none());
            let sight = (Sight::Glance, None);
            let (done, task) = load::request(shared, self, &mut state, wanted, sight);
            return (Step::Load(done), task);
        }
        let value = match run.ran {
            Ok(value) => value,
            Err(error) => return (Step::Answered(Err(error)), None),
        };
        if run.changes.is_empty()
            && let Some(position) = state.settled_since(operation.arrived)
        {
            state.kept = run.kept;
            shared.counters.rows_absent.add(run.absent);
            return (Step::Answered(Ok(Sequenced { value, position })), None);
        }
        let pending = state.pending.get_or_insert_with(Batch::new);
        let bytes_max = shared.engine.combined_bytes_max().min(COMMIT_BYTES_MAX);
        if !pending.takes(&run.changes, bytes_max) {
            return (Step::Full(state.next_move()), None);
        }
        shared.counters.rows_absent.add(run.absent);
        pending.add(run.changes);
        state.kept = run.kept;
        let pending = state.pending.get_or_insert_with(Batch::new);
        let outcome = pending.outcome.listen();
        let task = commit::request(shared, self, &mut state);
        (Step::Joined(value, outcome), task)
    }
}

impl Operation {
    /// What to fetch: what is missing; or, where what was fetched before is gone
    /// again, all that was ever asked for.
    pub fn ask(&mut self, missing: Vec<Wanted>, anew: bool) -> Vec<Wanted> {
        let mut gone = false;
        for wanted in &missing {
            if !self.asked.insert(wanted.clone()) {
                gone = true;
            }
        }
        if anew || gone {
            self.asked.list.clone()
        } else {
            missing
        }
    }
}

/// What one run of a function came to.
struct Run<T, E> {
    ran: Ran<T, E>,
    changes: Changes,
    kept: Option<Kept>,
    missing: Vec<Wanted>,
    absent: u64,
}

impl LaneState {
    fn run<T, E, F>(&mut self, rule: &mut F) -> Run<T, E>
    where
        F: FnMut(&mut Rows<'_>) -> Result<T, Stop<E>>,
    {
        let kept = self.kept.take().filter(|_| self.base.is_some());
        let guess = Loaded::new(VERSION_GUESSED);
        let none = Changes::default();
        let base = LoadedSource::new(self.base.as_ref().map_or(&guess, |base| &base.loaded));
        let in_flight = Overlay::new(&base, self.in_flight.as_deref().unwrap_or(&none));
        let pending = self.pending.as_ref().map_or(&none, |batch| &batch.changes);
        let pending = Overlay::new(&in_flight, pending);
        let mut rows = Rows::with_kept(&pending, kept);
        let result = rule(&mut rows);
        let absent = rows.absent();
        let (ran, changes) = judge(result, &mut rows);
        Run {
            ran,
            kept: rows.into_kept(changes.is_some()),
            changes: changes.unwrap_or_default(),
            missing: base.missing(),
            absent,
        }
    }

    /// What was kept, if it is of the base and nothing else. Whoever takes it gives it back.
    pub fn take_kept_of_base(&mut self) -> Option<Kept> {
        let settled = self.pending.is_none() && self.in_flight.is_none() && self.base.is_some();
        if settled { self.kept.take() } else { None }
    }

    /// What an answer from the base alone rests on, if nothing is on its way and
    /// the engine was seen to stand there after the operation's arrival.
    fn settled_since(&self, arrived: u64) -> Option<Position> {
        let base = self.base.as_ref()?;
        let settled =
            self.pending.is_none() && self.in_flight.is_none() && arrived <= base.confirmed;
        settled.then_some(base.position)
    }

    /// Wakes at the next departure or settlement of a batch.
    pub fn next_move(&mut self) -> Listener<()> {
        self.moved.get_or_insert_with(Teller::new).listen()
    }

    /// A batch has left or was settled.
    pub fn move_on(&mut self) {
        if let Some(moved) = self.moved.take() {
            moved.tell(());
        }
    }

    /// Lets go of rows where there are too many.
    pub fn trim(&mut self, options: &StoreOptions) {
        let busy = self.users > 0 || self.committing || self.loading;
        let max = if busy {
            options.lane_busy_bytes_max
        } else {
            options.lane_idle_bytes_max
        };
        let Some(base) = &mut self.base else {
            return;
        };
        if base.loaded.bytes() > max {
            // What was only written is rarely asked for again.
            base.loaded.keep_fetched();
            base.since = base.loaded.version;
        }
        if base.loaded.bytes() > max {
            // What a function kept is still of this state, and spares most of what is fetched.
            base.loaded = Loaded::new(base.loaded.version);
        }
    }
}

impl Base {
    /// The engine was seen to stand here.
    pub fn saw(&mut self, seen: Seen) {
        self.glanced = self.glanced.max(seen.arrivals);
        if seen.sight == Sight::Read {
            self.confirmed = self.confirmed.max(seen.arrivals);
        }
        self.stamp = self.stamp.max(seen.stamp);
    }

    /// Whether it was seen so surely since the operation came, or under its stamp.
    pub fn is_seen(&self, sight: Sight, operation: &Operation) -> bool {
        match sight {
            Sight::Read => operation.arrived <= self.confirmed,
            Sight::Glance => {
                operation.arrived <= self.glanced
                    || (operation.stamp.is_some() && operation.stamp <= self.stamp)
            }
        }
    }
}

impl Batch {
    fn new() -> Self {
        Self {
            changes: Changes::default(),
            bytes: 0,
            operations: 0,
            outcome: Teller::new(),
        }
    }

    /// Whether one commit can carry these changes too.
    fn takes(&self, changes: &Changes, bytes_max: usize) -> bool {
        let mut bytes = self.bytes;
        for (key, change) in &changes.rows {
            // An event is announced by the commit that writes it: nothing may
            // replace or remove it before that.
            if let Some(Change::Event(_)) = self.changes.rows.get(key) {
                return false;
            }
            bytes += limits::change_bytes(key, change);
        }
        let rows = self.changes.rows.len() + changes.rows.len();
        self.operations == 0 || (bytes <= bytes_max && rows <= COMMIT_ROWS_MAX)
    }

    fn add(&mut self, changes: Changes) {
        for (key, change) in changes.rows {
            self.bytes += limits::change_bytes(&key, &change);
            let bytes = key.len();
            if let Some(hidden) = self.changes.rows.insert(key, change) {
                self.bytes -= bytes + hidden.value().map_or(0, bytes::Bytes::len);
            }
        }
        self.operations += 1;
    }
}
