//! Which entry ids an account has seen lately: so that a new one is known to be
//! new without a look at the rows, also where ids arrive a little out of order.

use std::collections::BTreeSet;

use crate::types::EntryId;

/// Ids that are remembered of any account, the greatest ones.
const IDS_FEW: usize = 32;
/// Ids that are remembered of an account that sees many at once: a batch's ids have the
/// same few milliseconds in front, and are in no order behind them.
const IDS_MAX: usize = 4_096;
/// How far apart in time ids are that are seen at once.
const AT_ONCE_MS: i64 = 2_000;

/// The ids above a mark that an account has seen, all of them.
#[derive(Debug, Clone)]
pub struct Recent {
    /// Of ids up to here nothing is known. None: everything is known.
    mark: Option<EntryId>,
    ids: BTreeSet<EntryId>,
}

impl Recent {
    /// Where nothing is known but the greatest id so far; empty: there is none.
    pub fn after(newest: &[u8]) -> Self {
        Self {
            mark: EntryId::from_slice(newest),
            ids: BTreeSet::new(),
        }
    }

    /// Whether the id was not seen, for certain.
    pub fn surely_new(&self, id: EntryId) -> bool {
        match self.ids.last() {
            Some(greatest) if id > *greatest => true,
            _ => self.mark.is_none_or(|mark| id > mark) && !self.ids.contains(&id),
        }
    }

    /// Remembers the id.
    pub fn saw(&mut self, id: EntryId) {
        if self.mark.is_some_and(|mark| id <= mark) {
            return;
        }
        self.ids.insert(id);
        // Two for one, so that what a burst left behind is gone soon after it.
        for _ in 0..2 {
            let (Some(least), Some(greatest)) = (self.ids.first(), self.ids.last()) else {
                return;
            };
            let at_once = greatest.time_ms() - least.time_ms() <= AT_ONCE_MS;
            let max = if at_once { IDS_MAX } else { IDS_FEW };
            if self.ids.len() <= max {
                return;
            }
            self.mark = self.ids.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u8) -> EntryId {
        EntryId([number; 16])
    }

    /// Of a moment.
    fn at(ms: u64, number: u64) -> EntryId {
        let mut id = [0; 16];
        id[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
        id[8..].copy_from_slice(&number.to_be_bytes());
        EntryId(id)
    }

    #[test]
    fn many_are_remembered_of_a_burst_and_few_of_what_is_spread() {
        let mut recent = Recent::after(&[]);
        for number in 0..10_000 {
            recent.saw(at(1_000_000, number));
        }
        assert_eq!(recent.ids.len(), IDS_MAX);
        for step in 0..10_000 {
            recent.saw(at(2_000_000 + step * 1_000, step));
        }
        assert!(recent.ids.len() <= IDS_FEW);
        // Newer than what was forgotten, and not among the rest.
        assert!(recent.surely_new(at(11_999_500, 0)));
    }

    #[test]
    fn an_id_is_new_if_it_is_above_the_mark_and_was_not_seen() {
        let mut recent = Recent::after(&id(10).0);
        assert!(!recent.surely_new(id(9)) && !recent.surely_new(id(10)));
        recent.saw(id(20));
        assert!(recent.surely_new(id(15)) && recent.surely_new(id(21)));
        assert!(!recent.surely_new(id(20)));
    }

    proptest! {
        #[test]
        fn nothing_that_was_seen_is_ever_called_new(numbers in prop::collection::vec(any::<u8>(), 0..300), newest in any::<u8>()) {
            let mut recent = Recent::after(&id(newest).0);
            let mut seen: BTreeSet<u8> = (0..=newest).collect();
            for number in numbers {
                prop_assert!(!(recent.surely_new(id(number)) && seen.contains(&number)));
                recent.saw(id(number));
                seen.insert(number);
                prop_assert!(!recent.surely_new(id(number)));
            }
        }
    }
}
