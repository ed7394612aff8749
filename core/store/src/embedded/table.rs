//! Rows of one partition in memory, by key. Their bytes stay where the log's
//! records were put together; a row is a place in one of those.

use std::collections::BTreeMap;
use std::collections::btree_map::{Entry, Range};
use std::ops::Bound;

use bytes::Bytes;

use super::key::SmallKey;
use super::record::ROW_HEADER_BYTES;
use super::segment::Place;

/// Memory that a row takes beside its bytes in the log: its part of the tree.
const ROW_OVERHEAD_BYTES: usize = 88;
/// Memory that a record takes beside its bytes.
const RECORD_OVERHEAD_BYTES: usize = 48;

/// Segments of which a table counts dead bytes.
const DEAD_SEGMENTS: usize = 2;

/// Rows that were written since the last checkpoint.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: BTreeMap<SmallKey, Cell>,
    /// The records that the rows are pieces of.
    records: Vec<Bytes>,
    /// Segments with rows of this table that were replaced in it, and how many bytes.
    dead: [(u32, u32); DEAD_SEGMENTS],
    /// Of some rows nobody knows what they were before.
    has_unknown: bool,
}

/// A row that was written since the last checkpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    /// Which of the table's records it is a piece of.
    record: u32,
    /// Where in the record it begins.
    at: u32,
    pub(super) place: Place,
    pub(super) deleted: bool,
    pub(super) before: Before,
}

/// What a row was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// Nobody looked.
    Unknown,
    /// It was not there.
    Nothing,
    /// It was there, and was counted as dead.
    Something,
}

impl Table {
    /// Takes a record whose rows are put next.
    pub(super) fn add_record(&mut self, record: Bytes) -> usize {
        let bytes = record.len() + RECORD_OVERHEAD_BYTES;
        self.records.push(record);
        bytes
    }

    /// Puts a row of the record that was added last; if it is not in the table yet,
    /// `before` says what it was. The memory that it takes.
    pub(super) fn put(
        &mut self,
        key: &[u8],
        at: u32,
        place: Place,
        deleted: bool,
        before: impl FnOnce() -> Before,
    ) -> usize {
        // A table is frozen long before it has so many records.
        let record = (self.records.len() as u32).wrapping_sub(1);
        let cell = |before| Cell {
            record,
            at,
            place,
            deleted,
            before,
        };
        match self.rows.entry(SmallKey::new(key)) {
            Entry::Occupied(mut entry) => {
                let replaced = *entry.get();
                entry.insert(cell(match replaced.before {
                    Before::Unknown => Before::Unknown,
                    Before::Nothing | Before::Something => Before::Something,
                }));
                self.add_dead(replaced.place);
                0
            }
            Entry::Vacant(entry) => {
                let before = before();
                self.has_unknown |= before == Before::Unknown;
                entry.insert(cell(before));
                ROW_OVERHEAD_BYTES
            }
        }
    }

    /// A guess for rewriting: where there is no room to count, less is counted.
    fn add_dead(&mut self, place: Place) {
        let counted = self
            .dead
            .iter_mut()
            .find(|(segment, bytes)| *bytes == 0 || *segment == place.segment);
        if let Some(counted) = counted {
            *counted = (place.segment, counted.1.saturating_add(place.len));
        }
    }

    /// Segments with rows of this table that were replaced in it, and how many bytes.
    pub(super) fn dead(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.dead.iter().copied().filter(|(_, bytes)| *bytes > 0)
    }

    /// Whether of some rows nobody knows what they were before.
    pub(super) fn has_unknown(&self) -> bool {
        self.has_unknown
    }

    /// What is known of a row.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Cell> {
        self.rows.get(key)
    }

    /// The row's value; none if it was deleted.
    pub(super) fn value(&self, key: &[u8], cell: &Cell) -> Option<Bytes> {
        if cell.deleted {
            return None;
        }
        let from = cell.at as usize + ROW_HEADER_BYTES + key.len();
        let to = cell.at as usize + cell.place.len as usize;
        self.records
            .get(cell.record as usize)
            .map(|record| record.slice(from..to))
    }

    /// As [`Table::value`], without a handle of its own.
    pub(super) fn bytes(&self, key: &[u8], cell: &Cell) -> Option<&[u8]> {
        if cell.deleted {
            return None;
        }
        let from = cell.at as usize + ROW_HEADER_BYTES + key.len();
        let to = cell.at as usize + cell.place.len as usize;
        self.records.get(cell.record as usize)?.get(from..to)
    }

    /// Bytes of the row's value.
    pub(super) fn value_len(&self, key: &[u8], cell: &Cell) -> usize {
        (cell.place.len as usize).saturating_sub(ROW_HEADER_BYTES + key.len())
    }

    /// All rows, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &Cell)> {
        self.rows.iter().map(|(key, cell)| (key.as_slice(), cell))
    }

    /// The rows between two keys. The range must not be empty by its bounds.
    pub(super) fn range(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Range<'_, SmallKey, Cell> {
        self.rows.range::<[u8], _>((from, to))
    }

    /// The greatest key that begins with this byte.
    pub(super) fn greatest(&self, first: u8) -> Option<&[u8]> {
        let to = first
            .checked_add(1)
            .map_or(Bound::Unbounded, |next| Bound::Excluded([next]));
        let to = to.as_ref().map(|next| next.as_slice());
        let mut rows = self.range(Bound::Included(&[first]), to);
        rows.next_back().map(|(key, _)| key.as_slice())
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}
