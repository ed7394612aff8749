//! What a pure function sees of a partition: its rows, and what it changes.

use std::any::Any;
use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::error::Fault;
use crate::port::{Version, Wanted};

/// A row: its key within the partition, and its value.
pub type Row = (Bytes, Bytes);

/// What happens to one row in a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The row now has this value.
    Put(Bytes),
    /// The row now has this value, and the function knows that it was not there before.
    /// To every reader as [`Change::Put`]; an engine is spared the look at what it replaces.
    New(Bytes),
    /// The row is written for the first and only time, and is announced as an event.
    Event(Bytes),
    /// The row is gone.
    Delete,
}

impl Change {
    /// The value that a reader finds after this change.
    pub fn value(&self) -> Option<&Bytes> {
        match self {
            Self::Put(value) | Self::New(value) | Self::Event(value) => Some(value),
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

    /// Whether no key can lie between the bounds (they are crossed, or the limit is zero).
    /// `BTreeMap::range` must not be asked then: it panics on crossed bounds.
    pub fn is_void(&self) -> bool {
        let crossed = match (&self.from, &self.to) {
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to))
            | (Bound::Excluded(from), Bound::Included(to)) => from >= to,
        };
        crossed || self.limit == 0
    }

    /// The bounds, borrowed, as `BTreeMap::range` takes them.
    pub fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (
            self.from.as_ref().map(AsRef::as_ref),
            self.to.as_ref().map(AsRef::as_ref),
        )
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
    /// Says ahead what will be asked for, so that it can be fetched in one go.
    ///
    /// # Errors
    /// [`Fault::NotLoaded`] where the engine must fetch some of it first.
    fn prefetch(&self, _wanted: &[Wanted]) -> Result<(), Fault> {
        Ok(())
    }
}

/// The rows of `range` where `changes` lie over `below`.
///
/// Costs what it returns, not what was changed: `below` is asked for as many
/// rows as are wanted, and for more only if changes hide some of those.
fn overlaid(
    changes: &BTreeMap<Bytes, Change>,
    below: &dyn RowSource,
    range: &RowRange,
) -> Result<Vec<Row>, Fault> {
    if range.is_void() {
        return Ok(Vec::new());
    }
    let own = changes.range::<[u8], _>(range.bounds());
    if own.clone().next().is_none() {
        return below.range(range);
    }
    let mut ask = range.clone();
    loop {
        let found = below.range(&ask)?;
        let whole = found.len() < ask.limit;
        let merged = match range.direction {
            Direction::Ascending => merged(own.clone(), found, whole, range),
            Direction::Descending => merged(own.clone().rev(), found, whole, range),
        };
        if let Some(rows) = merged {
            return Ok(rows);
        }
        ask.limit = ask.limit.saturating_mul(2);
    }
}

/// Merges what was changed with what was found, both in the range's direction.
/// None if `found` is not `whole` and ends before the limit is reached.
fn merged<'c>(
    own: impl Iterator<Item = (&'c Bytes, &'c Change)>,
    found: Vec<Row>,
    whole: bool,
    range: &RowRange,
) -> Option<Vec<Row>> {
    let mut own = own.peekable();
    let mut found = found.into_iter().peekable();
    let mut rows = Vec::new();
    while rows.len() < range.limit {
        let order = match (own.peek(), found.peek()) {
            (_, None) if !whole => return None,
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((changed, _)), Some((key, _))) => match range.direction {
                Direction::Ascending => changed.as_ref().cmp(key.as_ref()),
                Direction::Descending => key.as_ref().cmp(changed.as_ref()),
            },
        };
        if order == Ordering::Equal {
            // The change hides the row that was found.
            found.next();
        }
        if order == Ordering::Greater {
            rows.extend(found.next());
        } else if let Some((key, change)) = own.next()
            && let Some(value) = change.value()
        {
            rows.push((key.clone(), value.clone()));
        }
    }
    Some(rows)
}

/// Changes that are on their way, over what lies below them.
pub(crate) struct Overlay<'a> {
    below: &'a dyn RowSource,
    changes: &'a Changes,
    commits: u64,
}

impl<'a> Overlay<'a> {
    /// Changes, which one commit will carry if there are any, over what lies below.
    pub fn new(below: &'a dyn RowSource, changes: &'a Changes) -> Self {
        Self {
            below,
            changes,
            commits: u64::from(!changes.is_empty()),
        }
    }
}

impl RowSource for Overlay<'_> {
    fn version(&self) -> Version {
        Version(self.below.version().0 + self.commits)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        match self.changes.rows.get(key) {
            Some(change) => Ok(change.value().cloned()),
            None => self.below.get(key),
        }
    }

    fn range(&self, range: &RowRange) -> Result<Vec<Row>, Fault> {
        overlaid(&self.changes.rows, self.below, range)
    }

    fn prefetch(&self, wanted: &[Wanted]) -> Result<(), Fault> {
        // Fetching what changes hide is a waste, but never wrong.
        self.below.prefetch(wanted)
    }
}

/// A partition as a pure function sees it: reads go through its own changes.
///
/// The function may be run several times (a row had to be fetched, another
/// commit came first), each time on fresh `Rows`.
pub struct Rows<'a> {
    source: &'a dyn RowSource,
    changes: Changes,
    /// What each change since the first savepoint replaced.
    undo: Option<Vec<(Bytes, Option<Change>)>>,
    absent: Cell<u64>,
    kept: Option<Kept>,
    /// Whether anyone holds on to what is kept.
    keeps: bool,
    changed: bool,
}

/// A place in a function's changes, to come back to ([`Rows::roll_back`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Savepoint(Option<usize>);

/// What a function kept of a partition for the next one.
pub type Kept = Box<dyn Any + Send>;

impl<'a> Rows<'a> {
    /// Nothing changed yet over `source`.
    pub fn new(source: &'a dyn RowSource) -> Self {
        Self {
            source,
            changes: Changes::default(),
            undo: None,
            absent: Cell::new(0),
            kept: None,
            keeps: false,
            changed: false,
        }
    }

    /// As [`Rows::new`], for an engine that holds on to what is kept: it gives here what
    /// was kept of this very version of the partition, and takes it back by
    /// [`Rows::into_kept`].
    pub fn with_kept(source: &'a dyn RowSource, kept: Option<Kept>) -> Self {
        Self {
            kept,
            keeps: true,
            ..Self::new(source)
        }
    }

    /// What the last function kept, if it is at hand: what this one would find in the rows.
    pub fn kept<T: 'static>(&self) -> Option<&T> {
        self.kept.as_deref().and_then(|kept| kept.downcast_ref())
    }

    /// As [`Rows::kept`], taken out, to be changed along with the rows and kept again.
    pub fn take_kept<T: 'static>(&mut self) -> Option<Box<T>> {
        match self.kept.take()?.downcast() {
            Ok(kept) => Some(kept),
            Err(other) => {
                self.kept = Some(other);
                None
            }
        }
    }

    /// Keeps a form of the rows, as they are with all changes so far, that is quicker to use
    /// than the rows: for the next function on this partition, if no commit of another's
    /// comes between. To be called last, for any later change voids it.
    ///
    /// It must follow from the rows alone. Engines may drop it at any time, and some always do:
    /// who does not find it reads the rows.
    pub fn keep<T: Send + 'static>(&mut self, kept: Box<T>) {
        if self.keeps {
            self.kept = Some(kept);
        }
    }

    /// For an engine: what is kept for the version that `committed` changes made, or else for
    /// the version that was given.
    pub fn into_kept(self, committed: bool) -> Option<Kept> {
        self.kept.filter(|_| committed || !self.changed)
    }

    fn change(&mut self, key: Bytes, change: Change) {
        self.kept = None;
        self.changed = true;
        match &mut self.undo {
            None => drop(self.changes.rows.insert(key, change)),
            Some(undo) => {
                let replaced = self.changes.rows.insert(key.clone(), change);
                undo.push((key, replaced));
            }
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
        if let Some(change) = self.changes.rows.get(key) {
            return Ok(change.value().cloned());
        }
        let value = self.source.get(key)?;
        if value.is_none() {
            self.absent.set(self.absent.get() + 1);
        }
        Ok(value)
    }

    /// The rows of a range, in its direction, at most its limit.
    ///
    /// # Errors
    /// A [`Fault`] is passed on with `?`; the store deals with it.
    pub fn range(&self, range: &RowRange) -> Result<Vec<Row>, Fault> {
        overlaid(&self.changes.rows, self.source, range)
    }

    /// Says ahead which rows and ranges the function is about to ask for.
    ///
    /// On engines that must fetch rows the function is run again for each row that
    /// is missing; after this, for all of these at once. Elsewhere it does nothing.
    ///
    /// # Errors
    /// A [`Fault`] is passed on with `?`; the store deals with it.
    pub fn prefetch(&self, wanted: &[Wanted]) -> Result<(), Fault> {
        self.source.prefetch(wanted)
    }

    /// Gives the row this value.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.change(key.into(), Change::Put(value.into()));
    }

    /// Gives the row its first value: the caller knows that it is not there.
    pub fn put_new(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.change(key.into(), Change::New(value.into()));
    }

    /// Writes the row for the first and only time, and announces it as an event.
    pub fn append(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.change(key.into(), Change::Event(value.into()));
    }

    /// Removes the row.
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        self.change(key.into(), Change::Delete);
    }

    /// The changes so far, to come back to.
    pub fn savepoint(&mut self) -> Savepoint {
        if self.changes.is_empty() {
            return Savepoint(None);
        }
        Savepoint(Some(self.undo.get_or_insert_default().len()))
    }

    /// Forgets what was changed since the savepoint, and the savepoints since.
    pub fn roll_back(&mut self, savepoint: Savepoint) {
        self.kept = None;
        self.changed = true;
        let Some(length) = savepoint.0 else {
            self.changes = Changes::default();
            self.undo = None;
            return;
        };
        let Some(undo) = &mut self.undo else { return };
        while undo.len() > length
            && let Some((key, replaced)) = undo.pop()
        {
            match replaced {
                Some(change) => self.changes.rows.insert(key, change),
                None => self.changes.rows.remove(&key),
            };
        }
    }

    /// What the function changed.
    pub fn into_changes(self) -> Changes {
        self.changes
    }

    /// What the function changed, taken out: nothing is changed now.
    pub fn take_changes(&mut self) -> Changes {
        self.undo = None;
        std::mem::take(&mut self.changes)
    }

    /// How many [`Rows::get`] found no row.
    pub fn absent(&self) -> u64 {
        self.absent.get()
    }
}
