//! What services hold: a store, its keyspaces, and `update` and `read` over partitions.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::combine::{Combiner, Sight};
use crate::counters::{Counters, StoreCounters};
use crate::error::{Fault, Stop, StoreError};
use crate::limits::{self, PAGE_MAX};
use crate::options::StoreOptions;
use crate::port::{
    Engine, EngineInfo, EventPage, KeyspaceId, LocalEngine, PartitionRef, Position, Verdict,
};
use crate::rows::{Changes, Rows};

/// An engine, and what the store adds to it: limits, combining, counters.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Arc<dyn Engine>,
    counters: Arc<Counters>,
    combiner: Combiner,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    /// A store over this engine.
    pub fn new(engine: Arc<dyn Engine>, options: StoreOptions) -> Self {
        let counters = Arc::new(Counters::default());
        let combiner = Combiner::new(engine.clone(), counters.clone(), options);
        Self {
            inner: Arc::new(Inner {
                engine,
                counters,
                combiner,
            }),
        }
    }

    /// Opens a keyspace, making it where it does not exist. Names are 1 to 32 of a–z 0–9 _.
    ///
    /// # Errors
    /// A bad name ([`StoreError::LimitExceeded`]), or the engine's failure.
    pub async fn keyspace(&self, name: &str) -> Result<Keyspace, StoreError> {
        limits::check_keyspace(name)?;
        let id = self.inner.engine.keyspace(name).await?;
        Ok(Keyspace {
            store: self.clone(),
            id,
            name: Arc::from(name),
        })
    }

    /// Name, durability and figures of the engine, and the store's own figures.
    pub fn info(&self) -> EngineInfo {
        let mut info = self.inner.engine.info();
        info.figures.extend(self.counters().figures());
        info
    }

    /// What the store counted since it was made.
    pub fn counters(&self) -> StoreCounters {
        self.inner.counters.snapshot()
    }

    /// What runs below.
    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.inner.engine
    }
}

/// The partitions of one service.
#[derive(Clone)]
pub struct Keyspace {
    store: Store,
    id: KeyspaceId,
    name: Arc<str>,
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyspace({}: {})", self.id.0, self.name)
    }
}

/// An answer, and the position that it rests on.
///
/// The value must not be told to anyone before the position is durable: it may
/// have come from a commit, of this caller or of another, that a crash would
/// still take away. That holds for a "no" as for a "yes".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the answer counts once its position is durable: call `durable`"]
pub struct Sequenced<T> {
    /// The answer.
    pub value: T,
    /// What must be durable before the answer is told.
    pub position: Position,
}

impl<T> Sequenced<T> {
    /// Waits until the answer rests on durable state only, and gives it.
    ///
    /// # Errors
    /// As [`Keyspace::durable`].
    pub async fn durable(self, keyspace: &Keyspace) -> Result<T, StoreError> {
        keyspace.durable(self.position).await?;
        Ok(self.value)
    }

    /// The same position under another answer.
    pub fn map<U>(self, to: impl FnOnce(T) -> U) -> Sequenced<U> {
        Sequenced {
            value: to(self.value),
            position: self.position,
        }
    }
}

/// What one run of a function came to: its answer, or the store's failure.
pub(crate) type Ran<T, E> = Result<Result<T, E>, StoreError>;

impl Keyspace {
    /// Runs `rule` over the partition's rows and sequences what it changed.
    ///
    /// The rule is a pure function; it may be run several times, and what it
    /// says last counts. Its own refusal changes nothing.
    ///
    /// # Errors
    /// The store's failure. Nothing was changed then, except with
    /// [`StoreError::Ambiguous`], where nobody knows.
    pub async fn update<T, E, F>(
        &self,
        partition: &[u8],
        mut rule: F,
    ) -> Result<Sequenced<Result<T, E>>, StoreError>
    where
        F: FnMut(&mut Rows<'_>) -> Result<T, Stop<E>> + Send,
        T: Send,
        E: Send,
    {
        let partition = self.partition(partition)?;
        let inner = &self.store.inner;
        inner.counters.updates.add(1);
        match inner.engine.local() {
            Some(local) => update_local(local, &inner.counters, partition, &mut rule),
            None => inner.combiner.update(partition.to_id(), rule).await,
        }
    }

    /// Runs a pure function over one consistent state of the partition.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn read<T, E, F>(
        &self,
        partition: &[u8],
        mut look: F,
    ) -> Result<Sequenced<Result<T, E>>, StoreError>
    where
        F: FnMut(&Rows<'_>) -> Result<T, Stop<E>> + Send,
        T: Send,
        E: Send,
    {
        let partition = self.partition(partition)?;
        let inner = &self.store.inner;
        inner.counters.reads.add(1);
        match inner.engine.local() {
            Some(local) => read_local(local, &inner.counters, partition, &mut look),
            None => {
                let engine = inner.engine.as_ref();
                crate::fetch::read(engine, &inner.counters, &partition.to_id(), look).await
            }
        }
    }

    /// As [`Self::read`], of a partition that will probably be changed soon: what was fetched
    /// stays at hand for that, and those who read it at the same time share one fetch.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn read_ahead<T, E, F>(
        &self,
        partition: &[u8],
        mut look: F,
    ) -> Result<Sequenced<Result<T, E>>, StoreError>
    where
        F: FnMut(&Rows<'_>) -> Result<T, Stop<E>> + Send,
        T: Send,
        E: Send,
    {
        self.looked(partition, (Sight::Read, None), &mut look).await
    }

    async fn looked<T, E, F>(
        &self,
        partition: &[u8],
        sight: (Sight, Option<u64>),
        look: &mut F,
    ) -> Result<Sequenced<Result<T, E>>, StoreError>
    where
        F: FnMut(&Rows<'_>) -> Result<T, Stop<E>> + Send,
        T: Send,
        E: Send,
    {
        let partition = self.partition(partition)?;
        let inner = &self.store.inner;
        inner.counters.reads.add(1);
        match inner.engine.local() {
            Some(local) => read_local(local, &inner.counters, partition, look),
            None => inner.combiner.look(partition.to_id(), sight, look).await,
        }
    }

    /// As [`Self::read_ahead`], for what is checked before something is committed elsewhere:
    /// all that was acknowledged before this call is seen. Of a commit that is on its way a
    /// later glance may show less, so only a refusal may be told as if it had been read; the
    /// answer itself may not.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn glance<T, E, F>(
        &self,
        partition: &[u8],
        look: F,
    ) -> Result<Sequenced<Result<T, E>>, StoreError>
    where
        F: FnMut(&Rows<'_>) -> Result<T, Stop<E>> + Send,
        T: Send,
        E: Send,
    {
        self.glance_under(partition, None, look).await
    }

    /// As [`Self::glance`]; where this process has seen the partition under this stamp or a later
    /// one, what is at hand is enough.
    ///
    /// A stamp is the caller's: a number that rises whenever something may have changed that
    /// matters to `look`, and that the caller has read before this call. What else was changed
    /// since, `look` may be shown or not.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn glance_under<T, E, F>(
        &self,
        partition: &[u8],
        stamp: Option<u64>,
        mut look: F,
    ) -> Result<Sequenced<Result<T, E>>, StoreError>
    where
        F: FnMut(&Rows<'_>) -> Result<T, Stop<E>> + Send,
        T: Send,
        E: Send,
    {
        self.looked(partition, (Sight::Glance, stamp), &mut look)
            .await
    }

    /// Whether each commit takes a round trip of its own: it pays then to have many
    /// under way at once, and to put much into one.
    pub fn is_remote(&self) -> bool {
        self.store.inner.engine.local().is_none()
    }

    /// How many bytes of keys and values one commit should carry.
    pub fn combined_bytes_max(&self) -> usize {
        self.store.inner.engine.combined_bytes_max()
    }

    /// Waits until everything at or before the position is durable.
    ///
    /// # Errors
    /// The position will never be durable: what waited for it is not in, or
    /// nobody knows ([`StoreError::Ambiguous`]).
    pub async fn durable(&self, position: Position) -> Result<(), StoreError> {
        self.store.inner.engine.durable(position).await
    }

    /// Keys of partitions behind `after`, in an order that stays, at most
    /// `limit` and never more than [`PAGE_MAX`].
    ///
    /// # Errors
    /// The engine's failure.
    pub async fn partitions(
        &self,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        let engine = &self.store.inner.engine;
        engine.partitions(self.id, after, limit.min(PAGE_MAX)).await
    }

    /// Durable events behind a position, in commit order, about `limit` of them
    /// (a commit's events are never parted) and never many more than [`PAGE_MAX`].
    ///
    /// # Errors
    /// The engine's failure.
    pub async fn events(&self, after: Position, limit: usize) -> Result<EventPage, StoreError> {
        let engine = &self.store.inner.engine;
        engine.events(self.id, after, limit.min(PAGE_MAX)).await
    }

    /// The position of the engine's last sequenced commit.
    pub fn position(&self) -> Position {
        self.store.inner.engine.position()
    }

    /// The keyspace's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The store that it is part of.
    pub fn store(&self) -> &Store {
        &self.store
    }

    fn partition<'a>(&self, key: &'a [u8]) -> Result<PartitionRef<'a>, StoreError> {
        limits::check_partition(key)?;
        Ok(PartitionRef {
            keyspace: self.id,
            key,
        })
    }
}

/// What a rule's result means for the commit: its answer, and its changes if
/// it accepted and they are within the limits.
pub(crate) fn judge<T, E>(
    result: Result<T, Stop<E>>,
    rows: &mut Rows<'_>,
) -> (Ran<T, E>, Option<Changes>) {
    match result {
        Ok(answer) => {
            let changes = rows.take_changes();
            match limits::check_changes(&changes) {
                Ok(()) => (Ok(Ok(answer)), Some(changes)),
                Err(error) => (Err(error), None),
            }
        }
        Err(Stop::Refused(refusal)) => (Ok(Err(refusal)), None),
        Err(Stop::Fault(fault)) => (Err(failed(fault)), None),
    }
}

/// The answer of a function that only looked.
pub(crate) fn looked<T, E>(result: Result<T, Stop<E>>) -> Ran<T, E> {
    match result {
        Ok(answer) => Ok(Ok(answer)),
        Err(Stop::Refused(refusal)) => Ok(Err(refusal)),
        Err(Stop::Fault(fault)) => Err(failed(fault)),
    }
}

fn failed(fault: Fault) -> StoreError {
    match fault {
        Fault::Store(error) => error,
        // Loading has been dealt with before; this one was made up by the function.
        Fault::NotLoaded => not_run(),
    }
}

fn not_run() -> StoreError {
    StoreError::Closed("a row was said to be not loaded where all rows are at hand".into())
}

fn update_local<T, E>(
    local: &dyn LocalEngine,
    counters: &Counters,
    partition: PartitionRef<'_>,
    rule: &mut dyn FnMut(&mut Rows<'_>) -> Result<T, Stop<E>>,
) -> Result<Sequenced<Result<T, E>>, StoreError> {
    let mut ran = None;
    let mut absent = 0;
    let position = local.update(partition, &mut |rows| {
        let result = rule(rows);
        absent = rows.absent();
        let (answer, changes) = judge(result, rows);
        ran = Some(answer);
        changes.map_or(Verdict::Leave, Verdict::Commit)
    })?;
    counters.rows_absent.add(absent);
    let value = ran.unwrap_or_else(|| Err(not_run()))?;
    Ok(Sequenced { value, position })
}

fn read_local<T, E>(
    local: &dyn LocalEngine,
    counters: &Counters,
    partition: PartitionRef<'_>,
    look: &mut dyn FnMut(&Rows<'_>) -> Result<T, Stop<E>>,
) -> Result<Sequenced<Result<T, E>>, StoreError> {
    let mut ran = None;
    let mut absent = 0;
    let position = local.read(partition, &mut |rows| {
        ran = Some(looked(look(rows)));
        absent = rows.absent();
    })?;
    counters.rows_absent.add(absent);
    let value = ran.unwrap_or_else(|| Err(not_run()))?;
    Ok(Sequenced { value, position })
}
