//! A partition as a function sees it: memory over the index over the log.

use std::cell::RefCell;
use std::cmp::Ordering as Order;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Fault, StoreError};
use crate::port::{PartitionId, Version};
use crate::rows::{Direction, Row, RowRange, RowSource};

use super::figures::Figures;
use super::index::{Entry, Index};
use super::key::SmallKey;
use super::memtable::{Slot, SlotState};
use super::record::open_row;
use super::segment::Place;
use super::segments::Segments;
use super::table::{Between, Cell, Table};

/// Where rows are read from, behind memory.
pub(super) struct Stored {
    pub(super) index: Index,
    pub(super) segments: Arc<Segments>,
    pub(super) figures: Arc<Figures>,
}

impl Stored {
    /// The value that an index entry stands for.
    fn value(
        &self,
        id: &PartitionId,
        crc: u32,
        key: &[u8],
        entry: Entry,
    ) -> Result<Option<Bytes>, StoreError> {
        if let Some(value) = entry.inline {
            return Ok(Some(value));
        }
        self.figures.log_row_reads.add(1);
        if self.segments.get(entry.place.segment).is_some() {
            return self.read_place(id, crc, key, entry.place).map(Some);
        }
        // Rewriting moved the row after the index was asked: ask again.
        match self.index.get(id, key)? {
            Some(Entry {
                inline: Some(value),
                ..
            }) => Ok(Some(value)),
            Some(entry) => self.read_place(id, crc, key, entry.place).map(Some),
            None => Ok(None),
        }
    }

    fn read_place(
        &self,
        id: &PartitionId,
        crc: u32,
        key: &[u8],
        place: Place,
    ) -> Result<Bytes, StoreError> {
        let Some(segment) = self.segments.get(place.segment) else {
            return Err(StoreError::Damaged(format!(
                "segment {} is missing; row {} of partition {id:?} stands there at offset {}",
                super::segment::file_name(place.segment),
                key.escape_ascii(),
                place.offset
            )));
        };
        let bytes = segment.read(place.offset, place.len)?;
        open_row(&bytes, crc, key).map_err(|why| {
            segment.damaged(
                u64::from(place.offset),
                &format!("{why} (row {} of partition {id:?})", key.escape_ascii()),
            )
        })
    }
}

/// The rows of a slot, under its lock.
pub(super) struct View<'a> {
    stored: &'a Stored,
    slot: &'a Slot,
    state: &'a SlotState,
    /// What the index said.
    seen: RefCell<Seen>,
}

impl<'a> View<'a> {
    /// Shows `state`, which is `slot`'s.
    pub(super) fn new(stored: &'a Stored, slot: &'a Slot, state: &'a SlotState) -> Self {
        Self {
            stored,
            slot,
            state,
            seen: RefCell::default(),
        }
    }

    /// What the index said of the rows that were asked for.
    pub(super) fn into_seen(self) -> Seen {
        let mut seen = self.seen.into_inner();
        seen.places.sort_unstable_by_key(|(crc, _)| *crc);
        seen
    }

    fn find(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        // The greatest keys are known, of memory and of the index.
        if self.state.known.rules_out(key) {
            return Ok(None);
        }
        if let Some(cell) = self.state.active.get(key) {
            return Ok(self.state.active.value(key, cell));
        }
        if let Some(frozen) = &self.state.frozen
            && let Some(cell) = frozen.rows.get(key)
        {
            return Ok(frozen.rows.value(key, cell));
        }
        if let Some(kept) = self.state.known.kept(key) {
            return Ok(Some(kept.value.clone()));
        }
        self.stored.figures.index_reads.add(1);
        let entry = self.stored.index.get(&self.slot.id, key)?;
        let place = entry.as_ref().map(|entry| entry.place);
        let value = match entry {
            Some(entry) => self
                .stored
                .value(&self.slot.id, self.slot.crc, key, entry)?,
            None => None,
        };
        let mut seen = self.seen.borrow_mut();
        seen.places.push((crc32c::crc32c(key), place));
        match (&value, place, key.first()) {
            (Some(value), Some(place), _) if seen.found.len() < FOUND_MAX => {
                seen.found.push((SmallKey::new(key), value.clone(), place));
            }
            (None, _, Some(first)) if !seen.missed.contains(first) => seen.missed.push(*first),
            _ => {}
        }
        Ok(value)
    }

    fn find_range(&self, range: &RowRange) -> Result<Vec<Row>, StoreError> {
        let mut found = Vec::new();
        if is_empty(range) || range.limit == 0 {
            return Ok(found);
        }
        if let Some(key) = self.state.tail.answers(range)
            && let Some(value) = self.find(key)?
        {
            found.push((Bytes::copy_from_slice(key), value));
            return Ok(found);
        }
        let descending = range.direction == Direction::Descending;
        let no_rows = Table::default();
        let frozen = self
            .state
            .frozen
            .as_ref()
            .map_or(&no_rows, |frozen| &frozen.rows);
        let mut active = InMemory::new(&self.state.active, range);
        let mut frozen = InMemory::new(frozen, range);
        if one_first_byte(range).is_some()
            && lower_key(range).is_some_and(|key| self.state.known.rules_out(key))
        {
            return Ok(found);
        }
        self.stored.figures.index_ranges.add(1);
        let mut stored = self.stored.index.range(&self.slot.id, range)?.peekable();
        while found.len() < range.limit {
            if let Some(Err(error)) = stored.next_if(Result::is_err) {
                return Err(error);
            }
            let index = stored
                .peek()
                .and_then(|row| row.as_ref().ok())
                .map(|(key, _)| key.as_ref());
            let next = [active.peek(), frozen.peek(), index]
                .into_iter()
                .flatten()
                .min_by(|a, b| in_order(a, b, descending));
            let Some(key) = next.map(Bytes::copy_from_slice) else {
                break;
            };
            // All that have this row move on; the newest counts.
            let newest = active.next_if(&key);
            let newer = frozen.next_if(&key);
            let oldest = stored.next_if(|row| row.as_ref().is_ok_and(|(found, _)| *found == key));
            let value = match (newest.or(newer), oldest) {
                (Some(value), _) => value,
                (None, Some(Ok((_, entry)))) => {
                    self.stored
                        .value(&self.slot.id, self.slot.crc, &key, entry)?
                }
                (None, _) => None,
            };
            if let Some(value) = value {
                found.push((key, value));
            }
        }
        Ok(found)
    }
}

impl RowSource for View<'_> {
    fn version(&self) -> Version {
        Version(self.state.version.unwrap_or_default())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        let found = self.find(key)?;
        let figures = &self.stored.figures;
        figures.row_reads.add(1);
        if found.is_none() {
            figures.row_reads_absent.add(1);
        }
        Ok(found)
    }

    fn range(&self, range: &RowRange) -> Result<Vec<Row>, Fault> {
        Ok(self.find_range(range)?)
    }
}

/// Rows of which a view remembers the value.
const FOUND_MAX: usize = 4;

/// What the index said while a view was in use.
#[derive(Default)]
pub(super) struct Seen {
    /// By checksum of the key: where the row stands. Two keys with one checksum
    /// cost a wrong guess about dead bytes, nothing else.
    places: Vec<(u32, Option<Place>)>,
    /// Some of the rows that it had.
    pub(super) found: Vec<(SmallKey, Bytes, Place)>,
    /// First bytes of keys that it did not have.
    pub(super) missed: Vec<u8>,
}

impl Seen {
    /// Where the row stands. Outer none: nobody asked.
    pub(super) fn place(&self, key: &[u8]) -> Option<Option<Place>> {
        if self.places.is_empty() {
            return None;
        }
        let crc = crc32c::crc32c(key);
        let at = self
            .places
            .binary_search_by_key(&crc, |(crc, _)| *crc)
            .ok()?;
        self.places.get(at).map(|(_, place)| *place)
    }
}

/// The rows of a range that are in memory, in its direction.
struct InMemory<'a> {
    table: &'a Table,
    rows: Between<'a>,
    next: Option<(&'a SmallKey, &'a Cell)>,
}

impl<'a> InMemory<'a> {
    fn new(table: &'a Table, range: &'a RowRange) -> Self {
        let from = range.from.as_ref().map(|key| key.as_ref());
        let to = range.to.as_ref().map(|key| key.as_ref());
        let mut rows = Self {
            table,
            rows: table.range(from, to, range.direction == Direction::Descending),
            next: None,
        };
        rows.advance();
        rows
    }

    fn advance(&mut self) {
        self.next = self.rows.next();
    }

    fn peek(&self) -> Option<&'a [u8]> {
        self.next.map(|(key, _)| key.as_slice())
    }

    /// Moves on if the next row is this one; its value, if it was not deleted.
    fn next_if(&mut self, key: &[u8]) -> Option<Option<Bytes>> {
        let (_, cell) = self.next.filter(|(found, _)| found.as_slice() == key)?;
        self.advance();
        Some(self.table.value(key, cell))
    }
}

fn in_order(a: &[u8], b: &[u8], descending: bool) -> Order {
    if descending { b.cmp(a) } else { a.cmp(b) }
}

fn lower_key(range: &RowRange) -> Option<&Bytes> {
    match &range.from {
        Bound::Included(key) | Bound::Excluded(key) => Some(key),
        Bound::Unbounded => None,
    }
}

/// The byte that all keys of the range begin with, if it is one.
fn one_first_byte(range: &RowRange) -> Option<u8> {
    let first = *lower_key(range)?.first()?;
    let same = match &range.to {
        Bound::Included(to) => to.first() == Some(&first),
        Bound::Excluded(to) => {
            to.first() == Some(&first)
                || Some(to.as_ref()) == first.checked_add(1).as_ref().map(std::slice::from_ref)
        }
        Bound::Unbounded => first == u8::MAX,
    };
    same.then_some(first)
}

/// Whether no key can lie between the bounds. Trees panic when asked for such a range.
pub(super) fn is_empty(range: &RowRange) -> bool {
    let (from, to) = (&range.from, &range.to);
    match (from, to) {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (
            Bound::Included(from) | Bound::Excluded(from),
            Bound::Included(to) | Bound::Excluded(to),
        ) => from >= to,
        (Bound::Unbounded, Bound::Excluded(to)) => to.is_empty(),
        _ => false,
    }
}
