//! What a pure function sees of a partition: its rows, and what it changes.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::error::Fault;
use crate::port::Version;

/// A row: its key within the partition, and its value.
pub type Row = (Bytes, Bytes);

/// What happens to one row in a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The row now has this value.
    Put(Bytes),
    /// The row is written for the first and only time, and is announced as an event.
    Event(Bytes),
    /// The row is gone.
    Delete,
}

impl Change {
    /// The value that a reader finds after this change.
    pub fn value(&self) -> Option<&Bytes> {
        match self {
            Self::Put(value) | Self::Event(value) => Some(value),
            Self::Delete => None,
        }
    }
}

/// What one commit does to its partition, by row key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Sorted by key: each row changes once.
    pub rows: BTreeMap<Bytes, Change>,
}

impl Changes {
    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Lets `later` win where both change a row. An event stays an event.
    pub fn merge(&mut self, later: Self) {
        for (key, change) in later.rows {
            self.rows.insert(key, change);
        }
    }
}

/// Which end a range is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Smallest key first.
    Ascending,
    /// Greatest key first.
    Descending,
}

/// Rows between two keys, at most `limit` of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RowRange {
    /// The lower bound.
    pub from: Bound<Bytes>,
    /// The upper bound.
    pub to: Bound<Bytes>,
    /// Which end to begin with.
    pub direction: Direction,
    /// At most so many rows.
    pub limit: usize,
}

impl RowRange {
    /// All rows whose key begins with `prefix`.
    pub fn prefix(prefix: &[u8], direction: Direction, limit: usize) -> Self {
        let to = match next_prefix(prefix) {
            Some(end) => Bound::Excluded(Bytes::from(end)),
            None => Bound::Unbounded,
        };
        Self {
            from: Bound::Included(Bytes::copy_from_slice(prefix)),
            to,
            direction,
            limit,
        }
    }

    /// Whether `key` lies between the bounds.
    pub fn contains(&self, key: &[u8]) -> bool {
        let above = match &self.from {
            Bound::Included(from) => key >= from.as_ref(),
            Bound::Excluded(from) => key > from.as_ref(),
            Bound::Unbounded => true,
        };
        let below = match &self.to {
            Bound::Included(to) => key <= to.as_ref(),
            Bound::Excluded(to) => key < to.as_ref(),
            Bound::Unbounded => true,
        };
        above && below
    }
}

/// The smallest key behind all keys that begin with `prefix`, if there is one.
fn next_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            return Some(end);
        }
        end.pop();
    }
    None
}

/// The committed (or sequenced) rows under a function's own changes.
pub trait RowSource {
    /// The version that the partition has here; zero: it was never written.
    fn version(&self) -> Version;
    /// The row's value, or none.
    ///
    /// # Errors
    /// [`Fault::NotLoaded`] where the engine must fetch it first.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault>;
    /// The rows of a range, in its direction, at most its limit.
    ///
    /// # Errors
    /// [`Fault::NotLoaded`] where the engine must fetch them first.
    fn range(&self, range: &RowRange) -> Result<Vec<Row>, Fault>;
}

/// A partition as a pure function sees it: reads go through its own changes.
///
/// The function may be run several times (a row had to be fetched, another
/// commit came first), each time on fresh `Rows`.
pub struct Rows<'a> {
    source: &'a dyn RowSource,
    changes: Changes,
}

impl<'a> Rows<'a> {
    /// Nothing changed yet over `source`.
    pub fn new(source: &'a dyn RowSource) -> Self {
        Self {
            source,
            changes: Changes::default(),
        }
    }

    /// The version of what lies under this function's changes; zero: the partition does not exist.
    pub fn version(&self) -> Version {
        self.source.version()
    }

    /// The row's value, or none.
    ///
    /// # Errors
    /// A [`Fault`] is passed on with `?`; the store deals with it.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        match self.changes.rows.get(key) {
            Some(change) => Ok(change.value().cloned()),
            None => self.source.get(key),
        }
    }

    /// The rows of a range, in its direction, at most its limit.
    ///
    /// # Errors
    /// A [`Fault`] is passed on with `?`; the store deals with it.
    pub fn range(&self, range: &RowRange) -> Result<Vec<Row>, Fault> {
        let own: Vec<(&Bytes, &Change)> = self
            .changes
            .rows
            .iter()
            .filter(|(key, _)| range.contains(key))
            .collect();
        if own.is_empty() {
            return self.source.range(range);
        }
        // Each own change can hide one row of the source, never more.
        let mut wider = range.clone();
        wider.limit = range.limit.saturating_add(own.len());
        let mut merged: BTreeMap<Bytes, Bytes> = self.source.range(&wider)?.into_iter().collect();
        for (key, change) in own {
            match change.value() {
                Some(value) => merged.insert(key.clone(), value.clone()),
                None => merged.remove(key),
            };
        }
        let rows = merged.into_iter();
        Ok(match range.direction {
            Direction::Ascending => rows.take(range.limit).collect(),
            Direction::Descending => rows.rev().take(range.limit).collect(),
        })
    }

    /// Gives the row this value.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.changes
            .rows
            .insert(key.into(), Change::Put(value.into()));
    }

    /// Writes the row for the first and only time, and announces it as an event.
    pub fn append(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.changes
            .rows
            .insert(key.into(), Change::Event(value.into()));
    }

    /// Removes the row.
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        self.changes.rows.insert(key.into(), Change::Delete);
    }

    /// The changes so far, to come back to.
    pub fn savepoint(&self) -> Changes {
        self.changes.clone()
    }

    /// Forgets what was changed since the savepoint.
    pub fn roll_back(&mut self, savepoint: Changes) {
        self.changes = savepoint;
    }

    /// What the function changed.
    pub fn into_changes(self) -> Changes {
        self.changes
    }
}
