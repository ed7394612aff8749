//! Rows of one partition in memory, by key. Their bytes stay where the log's
//! records were put together; a row is a place in one of those.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;

use super::key::SmallKey;
use super::record::ROW_HEADER_BYTES;
use super::segment::Place;
use super::sorted::{Range, Sorted};

/// Memory that a row takes beside its bytes in the log: its part of the tree.
const ROW_OVERHEAD_BYTES: usize = 88;
/// Memory that a record takes beside its bytes.
const RECORD_OVERHEAD_BYTES: usize = 48;

/// Segments of which a table counts dead bytes.
const DEAD_SEGMENTS: usize = 2;
/// New rows that gather before they are put in order. To put them there one by one
/// would wait for memory each time; nobody asks for most of them.
const FRESH_MAX: usize = 256;
/// The same, where somebody asks: who does looks through all of them.
const FRESH_ASKED_MAX: usize = 32;
/// Rows that there is room for when the first new one comes.
const FRESH_MIN: usize = 16;
/// Rows that were replaced lately and will be again: found without a search.
const HOT_MAX: usize = 4;

/// Rows that were written since the last checkpoint.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Sorted<Cell>,
    /// Rows that are replaced all the time. They hide those in `rows`, if there are any.
    hot: Vec<(SmallKey, Cell)>,
    /// New rows, in the order in which they came. They hide all others.
    fresh: Vec<(SmallKey, Cell)>,
    /// Somebody looked through more of them than is good.
    asked: AtomicBool,
    /// The records that the rows are pieces of.
    records: Vec<Bytes>,
    /// Segments with rows of this table that were replaced in it, and how many bytes.
    dead: [(u32, u32); DEAD_SEGMENTS],
    /// Of some rows nobody knows what they were before.
    has_unknown: bool,
    /// Some rows replaced others.
    has_replaced: bool,
    /// Some rows are gone.
    has_deleted: bool,
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

    /// Puts a row, of the record that was added last, that is not in the table and was
    /// not in the index before. The memory that it takes.
    pub(super) fn put_new(&mut self, key: &[u8], at: u32, place: Place) -> usize {
        let cell = Cell {
            record: (self.records.len() as u32).wrapping_sub(1),
            at,
            place,
            deleted: false,
            before: Before::Nothing,
        };
        if self.fresh.is_empty() {
            self.fresh.reserve(FRESH_MIN);
        }
        self.fresh.push((SmallKey::new(key), cell));
        let most = if *self.asked.get_mut() {
            FRESH_ASKED_MAX
        } else {
            FRESH_MAX
        };
        if self.fresh.len() >= most {
            self.settle();
        }
        ROW_OVERHEAD_BYTES
    }

    /// Puts new rows in order.
    fn settle(&mut self) {
        let mut fresh = std::mem::take(&mut self.fresh);
        fresh.sort_by(|(a, _), (b, _)| a.cmp(b));
        if self.rows.is_empty() && self.hot.is_empty() {
            self.rows = Sorted::from_sorted(&mut fresh);
        }
        for (key, cell) in fresh.drain(..) {
            // Who said that a row was new may have been wrong; the last one counts.
            if let Some(hot) = self.hot.iter_mut().find(|(hot, _)| *hot == key) {
                hot.1 = cell;
            } else {
                self.rows.insert(key, cell);
            }
        }
        // A little of its memory is used again; there may be many tables.
        fresh.shrink_to(FRESH_MIN);
        self.fresh = fresh;
    }

    /// The table as a checkpoint takes it: all rows in order.
    pub(super) fn freeze(&mut self) -> Self {
        self.settle();
        for (key, cell) in std::mem::take(&mut self.hot) {
            self.rows.insert(key, cell);
        }
        // Empty now; what comes next needs its memory.
        let fresh = std::mem::take(&mut self.fresh);
        let asked = std::mem::take(&mut self.asked);
        std::mem::replace(
            self,
            Self {
                fresh,
                asked,
                ..Self::default()
            },
        )
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
        self.has_deleted |= deleted;
        // A table is frozen long before it has so many records.
        let record = (self.records.len() as u32).wrapping_sub(1);
        let cell = |before| Cell {
            record,
            at,
            place,
            deleted,
            before,
        };
        if self.fresh.iter().any(|(fresh, _)| fresh.as_slice() == key) {
            self.settle();
        }
        let has_replaced = &mut self.has_replaced;
        let mut replaced = |found: &mut Cell| {
            *has_replaced = true;
            let before = match found.before {
                Before::Unknown => Before::Unknown,
                Before::Nothing | Before::Something => Before::Something,
            };
            std::mem::replace(found, cell(before))
        };
        let hot = self.hot.iter_mut().find(|(hot, _)| hot.as_slice() == key);
        if let Some((_, found)) = hot {
            let place = replaced(found).place;
            self.add_dead(place);
            return 0;
        }
        let Some(found) = self.rows.get_mut(key) else {
            let before = before();
            self.has_unknown |= before == Before::Unknown;
            *has_replaced |= before == Before::Something;
            self.rows.insert(SmallKey::new(key), cell(before));
            return ROW_OVERHEAD_BYTES;
        };
        let place = replaced(found).place;
        if self.hot.len() < HOT_MAX {
            let cell = *found;
            self.hot.push((SmallKey::new(key), cell));
        }
        self.add_dead(place);
        0
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

    /// Whether some rows replaced others, for certain.
    pub(super) fn has_replaced(&self) -> bool {
        self.has_replaced
    }

    /// Whether of some rows nobody knows what they were before.
    pub(super) fn has_unknown(&self) -> bool {
        self.has_unknown
    }

    /// What is known of a row.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Cell> {
        if self.fresh.len() > FRESH_ASKED_MAX {
            self.asked.store(true, Relaxed);
        }
        let mut newest_first = self.fresh.iter().rev().chain(&self.hot);
        match newest_first.find(|(newer, _)| newer.as_slice() == key) {
            Some((_, cell)) => Some(cell),
            None => self.rows.get(key),
        }
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

    /// All rows of a frozen table, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &Cell)> {
        debug_assert!(
            self.fresh.is_empty() && self.hot.is_empty(),
            "the table was not frozen"
        );
        self.rows.iter().map(|(key, cell)| (key.as_slice(), cell))
    }

    /// The rows between two keys, from either end. The range must not be empty by its bounds.
    pub(super) fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        descending: bool,
    ) -> Between<'_> {
        let above = |key: &[u8]| match from {
            Bound::Included(from) => key >= from,
            Bound::Excluded(from) => key > from,
            Bound::Unbounded => true,
        };
        let below = |key: &[u8]| match to {
            Bound::Included(to) => key <= to,
            Bound::Excluded(to) => key < to,
            Bound::Unbounded => true,
        };
        let newer = self.hot.iter().chain(&self.fresh).filter(|(key, _)| {
            let key = key.as_slice();
            above(key) && below(key)
        });
        // The last one of those with the same key.
        let newer: BTreeMap<&SmallKey, &Cell> = newer.map(|(key, cell)| (key, cell)).collect();
        let mut between = Between {
            newer,
            rows: self.rows.range(from, to),
            row: None,
            descending,
        };
        between.advance();
        between
    }

    /// The greatest key that begins with this byte.
    pub(super) fn greatest(&self, first: u8) -> Option<&[u8]> {
        let to = first
            .checked_add(1)
            .map_or(Bound::Unbounded, |next| Bound::Excluded([next]));
        let to = to.as_ref().map(|next| next.as_slice());
        let mut rows = self.range(Bound::Included(&[first]), to, true);
        rows.next().map(|(key, _)| key.as_slice())
    }

    /// Whether a row is gone that begins with this byte.
    pub(super) fn has_deleted(&self, first: u8) -> bool {
        let gone = |(key, cell): (&[u8], &Cell)| cell.deleted && key.first() == Some(&first);
        let newer = self.hot.iter().chain(&self.fresh);
        self.has_deleted
            && (newer.map(|(key, cell)| (key.as_slice(), cell)).any(gone)
                || self
                    .rows
                    .iter()
                    .any(|(key, cell)| gone((key.as_slice(), cell))))
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.fresh.is_empty()
    }
}

/// Rows between two keys, from one end.
pub(super) struct Between<'a> {
    newer: BTreeMap<&'a SmallKey, &'a Cell>,
    rows: Range<'a, Cell>,
    /// The next of `rows`.
    row: Option<(&'a SmallKey, &'a Cell)>,
    descending: bool,
}

impl Between<'_> {
    fn advance(&mut self) {
        self.row = if self.descending {
            self.rows.next_back()
        } else {
            self.rows.next()
        };
    }
}

impl<'a> Iterator for Between<'a> {
    type Item = (&'a SmallKey, &'a Cell);

    fn next(&mut self) -> Option<Self::Item> {
        let newer = if self.descending {
            self.newer.last_key_value()
        } else {
            self.newer.first_key_value()
        };
        let next = match (self.row, newer.map(|(key, cell)| (*key, *cell))) {
            (row, None) => row,
            (None, newer) => newer,
            (Some(row), Some((key, cell))) => {
                let newer_first = match key.cmp(row.0) {
                    Ordering::Equal => {
                        // The newer one hides it.
                        self.advance();
                        true
                    }
                    order => (order == Ordering::Less) != self.descending,
                };
                Some(if newer_first { (key, cell) } else { row })
            }
        }?;
        if self.newer.remove(next.0).is_none() {
            self.advance();
        }
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn place(number: u32) -> Place {
        Place {
            segment: 1,
            offset: number,
            len: 1,
        }
    }

    fn bounds() -> impl Strategy<Value = (u8, u8)> {
        (any::<u8>(), any::<u8>()).prop_filter("not empty", |(from, to)| from < to)
    }

    proptest! {
        #[test]
        fn the_last_row_under_a_key_counts_wherever_it_waits(
            puts in vec((any::<u8>(), any::<bool>(), any::<bool>()), 0..200),
            ranges in vec(bounds(), 4),
        ) {
            let (mut table, mut model) = (Table::default(), BTreeMap::new());
            table.add_record(Bytes::from_static(b"record"));
            for (number, (key, is_new, deleted)) in puts.into_iter().enumerate() {
                let number = u32::try_from(number).unwrap();
                // Also where the caller errs, and the row is not new.
                if is_new {
                    table.put_new(&[key], 0, place(number));
                } else {
                    table.put(&[key], 0, place(number), deleted, || Before::Nothing);
                }
                model.insert(key, (number, deleted && !is_new));
                let found = table.get(&[key]).map(|cell| (cell.place.offset, cell.deleted));
                prop_assert_eq!(found, model.get(&key).copied());
            }
            prop_assert_eq!(table.is_empty(), model.is_empty());
            for (from, to) in ranges {
                for descending in [false, true] {
                    let found: Vec<_> = table
                        .range(Bound::Included(&[from]), Bound::Excluded(&[to]), descending)
                        .map(|(key, cell)| (key.as_slice()[0], cell.place.offset))
                        .collect();
                    let mut expected: Vec<_> = model
                        .range(from..to)
                        .map(|(key, (number, _))| (*key, *number))
                        .collect();
                    if descending {
                        expected.reverse();
                    }
                    prop_assert_eq!(found, expected);
                }
                let greatest = table.greatest(from).map(<[u8]>::to_vec);
                prop_assert_eq!(greatest, model.contains_key(&from).then(|| vec![from]));
            }
            let frozen = table.freeze();
            prop_assert!(table.is_empty());
            let all: Vec<_> = frozen.iter().map(|(key, cell)| (key[0], cell.place.offset)).collect();
            let expected: Vec<_> = model.iter().map(|(key, (number, _))| (*key, *number)).collect();
            prop_assert_eq!(all, expected);
        }
    }
}
