//! Which entry ids an account has seen lately: so that a new one is known to be
//! new without a look at the rows, also where ids arrive a little out of order.

use crate::types::EntryId;

/// Ids that are remembered, the greatest ones.
const IDS_MAX: usize = 32;

/// The ids above a mark that an account has seen, all of them.
#[derive(Debug, Clone)]
pub struct Recent {
    /// Of ids up to here nothing is known.
    mark: Vec<u8>,
    /// Ascending.
    ids: Vec<EntryId>,
}

impl Recent {
    /// Where nothing is known but the greatest id so far; empty: there is none.
    pub fn after(newest: &[u8]) -> Self {
        Self {
            mark: newest.to_vec(),
            ids: Vec::new(),
        }
    }

    /// Whether the id was not seen, for certain.
    pub fn surely_new(&self, id: EntryId) -> bool {
        match self.ids.last() {
            Some(greatest) if id > *greatest => true,
            _ => id.0.as_slice() > self.mark.as_slice() && self.ids.binary_search(&id).is_err(),
        }
    }

    /// Remembers the id.
    pub fn saw(&mut self, id: EntryId) {
        if id.0.as_slice() <= self.mark.as_slice() {
            return;
        }
        if let Err(place) = self.ids.binary_search(&id) {
            self.ids.insert(place, id);
        }
        if self.ids.len() > IDS_MAX {
            // Half of them at once, so that it is seldom.
            let (forgotten, _) = self.ids.split_at(IDS_MAX / 2);
            if let Some(last) = forgotten.last() {
                self.mark.clear();
                self.mark.extend_from_slice(&last.0);
            }
            self.ids.drain(..IDS_MAX / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn id(number: u8) -> EntryId {
        EntryId([number; 16])
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
