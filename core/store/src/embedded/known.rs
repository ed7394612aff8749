//! What is known of a partition's rows without asking the index.
//!
//! Two kinds of look-ups are worth it: of a small row that commits read and
//! replace, and of a row that is not there, under an id newer than all
//! before. The first kind is kept as a copy; the second is answered by a
//! *fence*: the greatest key of the partition, in the index or in memory, that
//! begins with the same byte. Where rows are added by who knows that they are new,
//! nobody asks, and no fence is kept.

use bytes::Bytes;

use super::key::SmallKey;
use super::segment::Place;

/// Rows kept of one partition.
const ROWS_MAX: usize = 8;
/// Larger values are not kept.
const VALUE_BYTES_MAX: usize = 512;
/// Memory that a kept row takes beside its bytes.
const ROW_OVERHEAD_BYTES: usize = 128;
/// First bytes with a fence of their own.
const FENCES_MAX: usize = 16;
/// Look-ups that found nothing before a fence is worth a look at the index.
const MISSES: u8 = 2;

/// A copy of a row as the index has it.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) key: SmallKey,
    pub(super) value: Bytes,
    pub(super) place: Place,
}

impl Kept {
    fn bytes(&self) -> usize {
        self.key.as_slice().len() + self.value.len() + ROW_OVERHEAD_BYTES
    }
}

/// The bit of a key's first byte.
fn first_bit(key: &[u8]) -> u64 {
    1 << (key.first().copied().unwrap_or(0) % 64)
}

/// What is known of one partition's rows in the index.
#[derive(Debug, Default)]
pub(super) struct Known {
    kept: Vec<Kept>,
    /// First bytes of the keys that are kept, a bit each (of several the same one): most
    /// keys are ruled out by it, without a look at `kept`, which stands elsewhere.
    kept_firsts: u64,
    fences: Vec<Fence>,
    /// Where there is no fence, there is no row either.
    complete: bool,
    misses: u8,
    /// First bytes, a bit each, that have no fence and will have none.
    open: [u64; 4],
}

#[derive(Debug)]
struct Fence {
    first: u8,
    /// No key of the partition that begins with `first` is greater. Empty: there is none.
    greatest: SmallKey,
}

impl Known {
    /// Of a partition that the index does not have.
    pub(super) fn nothing_there() -> Self {
        Self {
            complete: true,
            ..Self::default()
        }
    }

    /// The copy of a row.
    pub(super) fn kept(&self, key: &[u8]) -> Option<&Kept> {
        if self.kept_firsts & first_bit(key) == 0 {
            return None;
        }
        self.kept.iter().find(|kept| kept.key.as_slice() == key)
    }

    /// Forgets the copy of a row, because the row changes: where the row stands, and the
    /// bytes that the copy took.
    pub(super) fn forget(&mut self, key: &[u8]) -> Option<(Place, usize)> {
        if self.kept_firsts & first_bit(key) == 0 {
            return None;
        }
        let at = self
            .kept
            .iter()
            .position(|kept| kept.key.as_slice() == key)?;
        let kept = self.kept.swap_remove(at);
        let firsts = self.kept.iter().map(|kept| first_bit(kept.key.as_slice()));
        self.kept_firsts = firsts.fold(0, |all, bit| all | bit);
        Some((kept.place, kept.bytes()))
    }

    /// Keeps a copy, if it is small and there is room. The bytes that it takes.
    pub(super) fn keep(&mut self, key: &[u8], value: &[u8], place: Place) -> usize {
        if value.len() > VALUE_BYTES_MAX || self.kept.len() >= ROWS_MAX || self.kept(key).is_some()
        {
            return 0;
        }
        let kept = Kept {
            key: SmallKey::new(key),
            // A copy of its own: this one may be a piece of something large.
            value: Bytes::copy_from_slice(value),
            place,
        };
        let bytes = kept.bytes();
        self.kept_firsts |= first_bit(key);
        self.kept.push(kept);
        bytes
    }

    /// Forgets all copies: the bytes that they took.
    pub(super) fn forget_all(&mut self) -> usize {
        let all = std::mem::take(&mut self.kept);
        self.kept_firsts = 0;
        all.iter().map(Kept::bytes).sum()
    }

    /// Whether there is no row with this key, nor any greater one with the same first byte.
    pub(super) fn rules_out(&self, key: &[u8]) -> bool {
        let Some(first) = key.first() else {
            return false;
        };
        if self.is_open(*first) {
            return false;
        }
        match self.fences.iter().find(|fence| fence.first == *first) {
            Some(fence) => key > fence.greatest.as_slice(),
            None => self.complete,
        }
    }

    /// There is this row now.
    pub(super) fn note(&mut self, key: &[u8]) {
        let Some(first) = key.first() else {
            return;
        };
        if self.is_open(*first) {
            return;
        }
        match self.fences.iter_mut().find(|fence| fence.first == *first) {
            Some(fence) if key > fence.greatest.as_slice() => fence.greatest = SmallKey::new(key),
            Some(_) => {}
            None if self.complete => self.add_fence(*first, &SmallKey::new(key)),
            // Nothing is known about these.
            None => {}
        }
    }

    /// There is this row now, and who added it knew that it was new.
    pub(super) fn note_new(&mut self, key: &[u8]) {
        let Some(&first) = key.first() else {
            return;
        };
        if !self.is_open(first) {
            self.open[usize::from(first / 64)] |= 1 << (first % 64);
            self.fences.retain(|fence| fence.first != first);
        }
    }

    fn is_open(&self, first: u8) -> bool {
        self.open[usize::from(first / 64)] & 1 << (first % 64) != 0
    }

    /// The index was asked for a row that is not there: whether its fence should be looked up.
    pub(super) fn missed(&mut self, first: u8) -> bool {
        self.misses = self.misses.saturating_add(1);
        self.misses > MISSES
            && self.fences.len() < FENCES_MAX
            && !self.complete
            && !self.is_open(first)
            && self.fences.iter().all(|fence| fence.first != first)
    }

    /// The greatest key with this first byte.
    pub(super) fn add_fence(&mut self, first: u8, greatest: &SmallKey) {
        if self.fences.len() >= FENCES_MAX {
            self.complete = false;
            return;
        }
        self.fences.push(Fence {
            first,
            greatest: greatest.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_rule_out_what_is_behind_them_and_nothing_else() {
        let mut known = Known::nothing_there();
        assert!(known.rules_out(b"a1"));
        known.note(b"a5");
        known.note(b"a3");
        assert!(!known.rules_out(b"a1"));
        assert!(!known.rules_out(b"a5"));
        assert!(known.rules_out(b"a50"));
        assert!(known.rules_out(b"b"));
        assert!(!known.rules_out(b""));
    }

    #[test]
    fn without_knowing_all_only_a_fence_rules_out() {
        let mut known = Known::default();
        known.note(b"a5");
        assert!(!known.rules_out(b"b"));
        assert!(!known.rules_out(b"a6"));
        assert!(!known.missed(b'a') && !known.missed(b'a') && known.missed(b'a'));
        known.add_fence(b'a', &SmallKey::new(b""));
        assert!(known.rules_out(b"a"));
        known.note(b"a7");
        assert!(!known.rules_out(b"a7") && known.rules_out(b"a8"));
    }

    #[test]
    fn more_first_bytes_than_fences_rule_nothing_out_that_may_be_there() {
        let mut known = Known::nothing_there();
        for first in 0..=u8::MAX {
            known.note(&[first, 1]);
        }
        for first in 0..=u8::MAX {
            assert!(!known.rules_out(&[first, 1]));
        }
    }

    #[test]
    fn rows_that_are_known_to_be_new_open_their_fence_and_no_other() {
        let mut known = Known::nothing_there();
        known.note(b"a5");
        known.note(b"b5");
        known.note_new(b"a6");
        known.note_new(b"c1");
        assert!(!known.rules_out(b"a7") && !known.rules_out(b"c2"));
        assert!(known.rules_out(b"b6") && known.rules_out(b"d"));
        known.note(b"a8");
        assert!(!known.rules_out(b"a9"));
        for _ in 0..9 {
            assert!(!known.missed(b'a'));
        }
    }

    #[test]
    fn copies_are_few_and_small() {
        let mut known = Known::default();
        let place = Place {
            segment: 1,
            offset: 1,
            len: 1,
        };
        known.keep(b"big", &[0; 513], place);
        assert!(known.kept(b"big").is_none());
        for number in 0..20u8 {
            known.keep(&[number], b"v", place);
        }
        assert_eq!(known.kept.len(), ROWS_MAX);
        assert!(known.forget(&[0]).is_some() && known.kept(&[0]).is_none());
    }
}
