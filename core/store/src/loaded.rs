//! What the store knows of a partition: rows, absences and whole ranges, of one version.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;

use bytes::Bytes;

use crate::error::Fault;
use crate::limits::{self, RESERVED_KEYS};
use crate::port::{Version, Wanted};
use crate::rows::{Changes, Direction, Row, RowRange, RowSource};

/// A place between keys. `At(key, false)` is before the key, `At(key, true)` behind it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Cut {
    At(Bytes, bool),
    End,
}

impl Cut {
    fn lower(bound: &Bound<Bytes>) -> Self {
        match bound {
            Bound::Included(key) => Self::At(key.clone(), false),
            Bound::Excluded(key) => Self::At(key.clone(), true),
            Bound::Unbounded => Self::At(Bytes::new(), false),
        }
    }

    fn upper(bound: &Bound<Bytes>) -> Self {
        match bound {
            Bound::Included(key) => Self::At(key.clone(), true),
            Bound::Excluded(key) => Self::At(key.clone(), false),
            Bound::Unbounded => Self::End,
        }
    }

    fn as_lower_bound(&self) -> Bound<&[u8]> {
        match self {
            Self::At(key, false) => Bound::Included(key.as_ref()),
            // Nothing lies behind the end; no caller asks for it.
            Self::At(key, true) => Bound::Excluded(key.as_ref()),
            Self::End => Bound::Excluded(RESERVED_KEYS),
        }
    }

    fn as_upper_bound(&self) -> Bound<&[u8]> {
        match self {
            Self::At(key, false) => Bound::Excluded(key.as_ref()),
            Self::At(key, true) => Bound::Included(key.as_ref()),
            Self::End => Bound::Unbounded,
        }
    }
}

/// A row, or that it is absent.
#[derive(Debug, Clone)]
struct Known {
    value: Option<Bytes>,
    /// It was asked for, not only written.
    fetched: bool,
}

/// Rows, absences and ranges of a partition, all of one version.
#[derive(Debug, Clone, Default)]
pub(crate) struct Loaded {
    /// What all of this belongs to.
    pub version: Version,
    rows: BTreeMap<Bytes, Known>,
    /// Where every key is known: disjoint stretches, from → to.
    covered: BTreeMap<Cut, Cut>,
    /// Of keys and values, about.
    bytes: usize,
}

impl Loaded {
    /// Nothing is known yet but the version. That says all of a partition
    /// that was never written: it has no rows.
    pub fn new(version: Version) -> Self {
        let mut loaded = Self {
            version,
            ..Self::default()
        };
        if version == Version(0) {
            loaded.cover(Cut::At(Bytes::new(), false), Cut::End);
        }
        loaded
    }

    /// About how many bytes are held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes in what a read found. What is known already stays: it may be newer.
    pub fn absorb(&mut self, wanted: &Wanted, found: Vec<Row>) {
        match wanted {
            Wanted::Row(key) => {
                let value = found.into_iter().next().map(|(_, value)| value);
                self.learn(key.clone(), value);
            }
            Wanted::Range(range) => {
                let (mut from, mut to) = (Cut::lower(&range.from), Cut::upper(&range.to));
                if found.len() >= range.limit {
                    // Cut off by the limit: nothing is known behind the last row.
                    match (range.direction, found.last()) {
                        (_, None) => return,
                        (Direction::Ascending, Some((key, _))) => to = Cut::At(key.clone(), true),
                        (Direction::Descending, Some((key, _))) => {
                            from = Cut::At(key.clone(), false);
                        }
                    }
                }
                for (key, value) in found {
                    self.learn(key, Some(value));
                }
                self.cover(from, to);
            }
        }
    }

    fn learn(&mut self, key: Bytes, value: Option<Bytes>) {
        let bytes = key.len() + value.as_ref().map_or(0, Bytes::len);
        if let Entry::Vacant(place) = self.rows.entry(key) {
            let fetched = true;
            place.insert(Known { value, fetched });
            self.bytes += bytes;
        }
    }

    fn cover(&mut self, mut from: Cut, mut to: Cut) {
        if from >= to {
            return;
        }
        // Grow over every stretch that overlaps or touches, and put one in their place.
        while let Some((start, end)) = self.covered.range(..=to.clone()).next_back()
            && *end >= from
        {
            from = from.min(start.clone());
            to = to.max(end.clone());
            let start = start.clone();
            self.covered.remove(&start);
        }
        self.covered.insert(from, to);
    }

    /// Moves on to the version behind a commit of these changes.
    pub fn apply(&mut self, changes: &Changes, to: Version) {
        for (key, change) in &changes.rows {
            let value = change.value().cloned();
            let is = key.len() + value.as_ref().map_or(0, Bytes::len);
            let was = match self.rows.entry(key.clone()) {
                Entry::Vacant(place) => {
                    let fetched = false;
                    place.insert(Known { value, fetched });
                    0
                }
                Entry::Occupied(mut place) => {
                    let old = std::mem::replace(&mut place.get_mut().value, value);
                    key.len() + old.map_or(0, |old| old.len())
                }
            };
            self.bytes = (self.bytes + is).saturating_sub(was);
        }
        self.version = to;
    }

    /// Forgets the rows that were written without having been asked for, what is known to be
    /// absent, and the ranges. What is left is of this version only: what was read at an
    /// earlier one does not fit it any more.
    pub fn keep_fetched(&mut self) {
        self.covered.clear();
        self.bytes = 0;
        self.rows.retain(|key, known| {
            let value = known.value.as_ref().filter(|_| known.fetched);
            self.bytes += value.map_or(0, |value| key.len() + value.len());
            value.is_some()
        });
    }

    /// The row, if it is known whether it exists.
    fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        if let Some(known) = self.rows.get(key) {
            return Some(known.value.clone());
        }
        let point = Cut::At(Bytes::copy_from_slice(key), false);
        let (_, end) = self.covered.range(..=point.clone()).next_back()?;
        (*end > point).then_some(None)
    }

    /// The rows of a range, if all of them are known.
    fn range(&self, range: &RowRange) -> Option<Vec<Row>> {
        let (from, to) = (Cut::lower(&range.from), Cut::upper(&range.to));
        if from >= to || range.limit == 0 {
            return Some(Vec::new());
        }
        let known = match range.direction {
            Direction::Ascending => {
                let (_, end) = self.covered.range(..=from.clone()).next_back()?;
                (from.clone(), end.clone().min(to.clone()))
            }
            Direction::Descending => {
                let (start, end) = self.covered.range(..to.clone()).next_back()?;
                if *end < to {
                    return None;
                }
                (start.clone().max(from.clone()), to.clone())
            }
        };
        if known.0 >= known.1 {
            return None;
        }
        let whole = known == (from, to);
        let rows = self
            .rows
            .range::<[u8], _>((known.0.as_lower_bound(), known.1.as_upper_bound()))
            .filter_map(|(key, known)| Some((key.clone(), known.value.clone()?)));
        let rows: Vec<Row> = match range.direction {
            Direction::Ascending => rows.take(range.limit).collect(),
            Direction::Descending => rows.rev().take(range.limit).collect(),
        };
        (whole || rows.len() >= range.limit).then_some(rows)
    }
}

/// [`Loaded`] as a source of rows: it notes what it was asked for and does not
/// know, and shows nothing of the store's own rows.
pub(crate) struct LoadedSource<'a> {
    loaded: &'a Loaded,
    missing: RefCell<Vec<Wanted>>,
}

impl<'a> LoadedSource<'a> {
    /// Nothing is missing yet.
    pub fn new(loaded: &'a Loaded) -> Self {
        Self {
            loaded,
            missing: RefCell::default(),
        }
    }

    /// What could not be answered. If there is something, whatever the
    /// function said is worth nothing: it must be run again.
    pub fn missing(self) -> Vec<Wanted> {
        self.missing.into_inner()
    }

    fn lacks(&self, wanted: Wanted) -> Fault {
        self.missing.borrow_mut().push(wanted);
        Fault::NotLoaded
    }
}

impl RowSource for LoadedSource<'_> {
    fn version(&self) -> Version {
        self.loaded.version
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        if key.starts_with(RESERVED_KEYS) {
            return Ok(None);
        }
        let known = self.loaded.get(key);
        known.ok_or_else(|| self.lacks(Wanted::Row(Bytes::copy_from_slice(key))))
    }

    fn range(&self, range: &RowRange) -> Result<Vec<Row>, Fault> {
        if range.is_void() {
            return Ok(Vec::new());
        }
        let range = limits::without_reserved(range);
        let known = self.loaded.range(&range);
        known.ok_or_else(|| self.lacks(Wanted::Range(range)))
    }

    fn prefetch(&self, wanted: &[Wanted]) -> Result<(), Fault> {
        let mut all = Ok(());
        for wanted in wanted {
            // Each notes what it lacks; the last fault speaks for all.
            let known = match wanted {
                Wanted::Row(key) => self.get(key).map(drop),
                Wanted::Range(range) => self.range(range).map(drop),
            };
            all = known.and(all);
        }
        all
    }
}
