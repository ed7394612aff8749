//! The port: what an engine does for the store.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::StoreError;
use crate::rows::{Changes, Row, RowRange, Rows};

/// A keyspace of the engine: one for each service. Given by [`Engine::keyspace`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyspaceId(pub u16);

/// Which partition.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId {
    /// The service's keyspace.
    pub keyspace: KeyspaceId,
    /// 1 to 255 bytes.
    pub key: Bytes,
}

/// Which partition, by a key that is borrowed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PartitionRef<'a> {
    /// The service's keyspace.
    pub keyspace: KeyspaceId,
    /// 1 to 255 bytes.
    pub key: &'a [u8],
}

impl PartitionId {
    /// The same partition.
    pub fn borrowed(&self) -> PartitionRef<'_> {
        PartitionRef {
            keyspace: self.keyspace,
            key: &self.key,
        }
    }
}

impl PartitionRef<'_> {
    /// The same partition, with a copy of the key.
    pub fn to_id(self) -> PartitionId {
        PartitionId {
            keyspace: self.keyspace,
            key: Bytes::copy_from_slice(self.key),
        }
    }
}

impl fmt::Debug for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.keyspace.0, self.key.escape_ascii())
    }
}

/// How many commits the partition has seen: 0 before the first, then 1, 2, 3 …
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// The version behind the next commit.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A place in the engine's order of commits. What lies at or before a durable
/// position is durable. Zero is before everything. Engines without one log
/// return positions that are durable already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// Rows that a read asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// One row.
    Row(Bytes),
    /// A range of rows.
    Range(RowRange),
}

/// One consistent read of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The version that all of `found` belongs to.
    pub version: Version,
    /// For each wanted, in order: its rows (none, one, or a range's).
    pub found: Vec<Vec<Row>>,
    /// Wait for this before you tell anyone what you read.
    pub position: Position,
}

/// What a function made of a partition that it was shown under its lock.
#[derive(Debug)]
pub enum Verdict {
    /// Commit this (nothing, if it is empty).
    Commit(Changes),
    /// Leave everything as it is.
    Leave,
}

/// An event as a follower sees it.
#[derive(Debug, Clone)]
pub struct EventRow {
    /// The partition that it happened in.
    pub partition: PartitionId,
    /// The row's key.
    pub key: Bytes,
    /// The row's value.
    pub value: Bytes,
    /// Of the commit that it is part of; several events can share it.
    pub position: Position,
}

/// Events in commit order.
#[derive(Debug, Clone, Default)]
pub struct EventPage {
    /// In commit order; whole commits only.
    pub events: Vec<EventRow>,
    /// Ask again behind this. It moves on even where commits had no events.
    pub next: Position,
    /// Whether durable commits lie behind `next`.
    pub more: bool,
}

/// Permission to send one read or commit, and the requests that find out what became of it.
/// It ends when this is dropped.
#[must_use = "the permission ends when this is dropped"]
pub struct Admitted {
    held: Option<Box<dyn Send>>,
}

impl Admitted {
    /// There is nothing to wait for.
    pub fn free() -> Self {
        Self { held: None }
    }

    /// It lasts as long as this is not dropped.
    pub fn holding(held: impl Send + 'static) -> Self {
        Self {
            held: Some(Box::new(held)),
        }
    }
}

impl fmt::Debug for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admitted")
            .field("holds", &self.held.is_some())
            .finish()
    }
}

/// What runs below, in words for people and reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// "embedded", "simulated", …
    pub name: String,
    /// What "durable" means there: "fdatasync before acknowledgement".
    pub durability: String,
    /// Live figures, by name: what an operator asks first.
    pub figures: Vec<(String, String)>,
}

/// A live figure of an engine, for metrics. Those of one name stand together, and have the
/// same help, kind and names of labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// "nodes_up": with its unit, without the ending that tells counters.
    pub name: &'static str,
    /// What it is, and what a reader should do when it moves.
    pub help: &'static str,
    /// Whether it only ever grows.
    pub is_counter: bool,
    /// What it is of, by label.
    pub labels: Vec<(&'static str, String)>,
    /// The figure.
    pub value: u64,
}

/// An engine: partitions that can be read and committed to.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// Name, durability, figures.
    fn info(&self) -> EngineInfo;

    /// Live figures for metrics, in an order that stays.
    fn readings(&self) -> Vec<Reading> {
        Vec::new()
    }

    /// Waits until the engine can be worked with: one that is elsewhere is asked for.
    ///
    /// # Errors
    /// It cannot be reached, or what was found there needs a person.
    async fn reached(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// What the engine waits for before it can be worked with, in words; nothing if it can.
    fn waiting_for(&self) -> Option<String> {
        None
    }

    /// Opens a keyspace, making it where it does not exist. Names are 1 to 32 of a–z 0–9 _.
    ///
    /// # Errors
    /// A bad name, or the engine's failure.
    async fn keyspace(&self, name: &str) -> Result<KeyspaceId, StoreError>;

    /// Waits until the engine can take one more read or commit in this keyspace, where it does
    /// only so many at once. Wait here before you decide what to send: while you wait, more
    /// may come that can go along.
    async fn admit(&self, _: KeyspaceId) -> Admitted {
        Admitted::free()
    }

    /// One consistent read. What it returns may not be durable yet: see [`Snapshot::position`].
    ///
    /// # Errors
    /// The engine's failure; [`StoreError::Damaged`] names a row that cannot be read.
    async fn read(
        &self,
        partition: &PartitionId,
        wanted: &[Wanted],
    ) -> Result<Snapshot, StoreError>;

    /// As [`Self::read`], for what is looked at before it is changed, or before something else
    /// is: an engine on the network may have something cheaper. It shows what was committed,
    /// and all that was acknowledged before the call; but of a commit that is on its way one
    /// glance may show it and a later one not.
    ///
    /// # Errors
    /// As [`Self::read`].
    async fn glance(
        &self,
        partition: &PartitionId,
        wanted: &[Wanted],
    ) -> Result<Snapshot, StoreError> {
        self.read(partition, wanted).await
    }

    /// Commits if the partition's version is still `expected`; then it is `expected + 1`.
    /// `Ok(None)` is a conflict: nothing was changed. Where the engine has one log, the
    /// commit is sequenced on return and durable with its position.
    ///
    /// # Errors
    /// [`StoreError::Ambiguous`] if nobody knows whether it is in.
    async fn commit(
        &self,
        partition: &PartitionId,
        expected: Version,
        changes: Changes,
    ) -> Result<Option<Position>, StoreError>;

    /// Waits until everything at or before the position is durable.
    ///
    /// # Errors
    /// The position will never be durable (disk full, closed): what waited for it is not in,
    /// or nobody knows ([`StoreError::Ambiguous`]).
    async fn durable(&self, position: Position) -> Result<(), StoreError>;

    /// Keys of partitions behind `after`, in an order that stays, at most `limit`.
    ///
    /// # Errors
    /// The engine's failure.
    async fn partitions(
        &self,
        keyspace: KeyspaceId,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Bytes>, StoreError>;

    /// Durable events of a keyspace behind a position, in commit order.
    ///
    /// # Errors
    /// The engine's failure.
    async fn events(
        &self,
        keyspace: KeyspaceId,
        after: Position,
        limit: usize,
    ) -> Result<EventPage, StoreError>;

    /// The position of the last sequenced commit.
    fn position(&self) -> Position;

    /// How many bytes of keys and values a commit should carry where operations are
    /// combined: a single operation may need more, and is taken
    /// ([`crate::limits::COMMIT_BYTES_MAX`]).
    fn combined_bytes_max(&self) -> usize {
        crate::limits::COMMIT_BYTES_MAX
    }

    /// The engine's fast path, where it lives in this process with one log.
    fn local(&self) -> Option<&dyn LocalEngine> {
        None
    }
}

/// The fast path of an engine that holds its partitions in this process behind
/// one log: no conflict, no waiting but for durability at the end.
pub trait LocalEngine: Send + Sync {
    /// Shows the partition to `run` under its lock and sequences what it decides.
    /// The returned position covers that commit *and* everything `run` saw, so
    /// that whoever waits for it answers from durable state only, even for a "no".
    ///
    /// # Errors
    /// Nothing was changed.
    fn update(
        &self,
        partition: PartitionRef<'_>,
        run: &mut dyn FnMut(&mut Rows<'_>) -> Verdict,
    ) -> Result<Position, StoreError>;

    /// Shows the partition to `run` in one consistent state.
    ///
    /// # Errors
    /// The engine's failure.
    fn read(
        &self,
        partition: PartitionRef<'_>,
        run: &mut dyn FnMut(&Rows<'_>),
    ) -> Result<Position, StoreError>;
}
