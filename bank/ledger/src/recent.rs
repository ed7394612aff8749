//! Which entry ids an account has seen lately: so that a new one is known to be
//! new without a look at the rows, also where ids arrive a little out of order.
//!
//! An id is remembered as a *print*: its time, and 22 bits of the rest. Two ids may
//! share one, and then the second is looked up; so nothing that was seen is ever
//! called new. Every account remembers a few, in one piece of memory; one that would have
//! to forget ids of the last minute, or of which new ids were looked up in vain, remembers
//! more of them (batches that take seconds each bring ids of seconds ago); one that sees
//! many at once remembers a burst of them.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use crate::types::EntryId;

/// Prints that are remembered of any account, the greatest ones.
const FEW: usize = 16;
/// The same, once these were not enough.
const MORE: usize = 128;
/// Of so long ago, before the greatest, something may still arrive.
const LATE_MS: u64 = 60_000;
/// A burst is when that many ids lie no further apart in time.
const BURST_MS: u64 = 250;
/// Prints of a generation: of a burst, the last two generations are remembered.
const GENERATION_MAX: usize = 32_768;
/// How much time a generation spans at most.
const GENERATION_MS: u64 = 2_000;
/// Fewer ids in a generation than this: the burst is over.
const GENERATION_MIN: usize = 128;
/// Bits of a print behind its time.
const FOLD_BITS: u32 = 22;
/// The last moment with prints of its own: in the year 2109.
const LAST_MS: u64 = (1 << (u64::BITS - FOLD_BITS)) - 1;

/// The prints above a mark of the ids that an account has seen, all of them.
#[derive(Debug, Clone)]
pub struct Recent {
    /// Of ids with prints up to here nothing is known.
    mark: u64,
    greatest: u64,
    /// In no order; zero where there is none. None of them counts while there are more.
    few: [u64; FEW],
    more: Option<Box<[u64; MORE]>>,
    burst: Option<Box<Burst>>,
}

/// The ids of an account that sees many at once: a batch's ids have the same few
/// milliseconds in front, are in no order behind them, and batches overlap.
#[derive(Debug, Clone)]
struct Burst {
    current: Generation,
    previous: Generation,
}

#[derive(Debug, Clone, Default)]
struct Generation {
    prints: HashSet<u64, BuildHasherDefault<Pass>>,
    greatest: u64,
    since_ms: u64,
}

/// A print's low bits are a hash already, but all ids of a moment have the same high ones.
#[derive(Default)]
struct Pass(u64);

impl Hasher for Pass {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 << 8 | u64::from(*byte));
        }
    }

    fn write_u64(&mut self, print: u64) {
        self.0 = mixed(print);
    }
}

/// Spreads a number over all bits (the multiplier is 2^64 over the golden ratio).
fn mixed(number: u64) -> u64 {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    spread ^ (spread >> 32)
}

/// Prints of different moments are in the order of the moments.
fn print(id: EntryId) -> u64 {
    let [a, b, c, d, e, f, g, h, rest @ ..] = id.0;
    let time = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    let rest = u64::from_be_bytes(rest) ^ u64::from(u16::from_be_bytes([g, h])).rotate_right(16);
    // Zero is what a place has that holds none.
    (time.min(LAST_MS) << FOLD_BITS | mixed(rest) >> (u64::BITS - FOLD_BITS)).max(1)
}

fn ms(print: u64) -> u64 {
    print >> FOLD_BITS
}

impl Recent {
    /// Where nothing is known but the greatest id so far, or that there is none.
    pub fn after(newest: Option<EntryId>) -> Self {
        // All prints of its moment: which of them were seen is not known.
        let mark = newest.map_or(0, |id| print(id) | ((1 << FOLD_BITS) - 1));
        Self {
            mark,
            greatest: mark,
            few: [0; FEW],
            more: None,
            burst: None,
        }
    }

    /// Whether the id was not seen, for certain.
    pub fn surely_new(&self, id: EntryId) -> bool {
        let print = print(id);
        if print > self.greatest {
            return true;
        }
        print > self.mark
            && !self.remembered().contains(&print)
            && self.burst.as_ref().is_none_or(|burst| !burst.has(print))
    }

    /// Remembers the id.
    pub fn saw(&mut self, id: EntryId) {
        let print = print(id);
        if print <= self.mark {
            return;
        }
        self.greatest = self.greatest.max(print);
        if let Some(burst) = &mut self.burst {
            if burst.is_over(print) {
                self.mark = self.mark.max(burst.greatest());
                self.burst = None;
            } else {
                self.mark = self.mark.max(burst.add(print));
                return;
            }
        }
        self.make_room(print);
        let remembered: &mut [u64] = match &mut self.more {
            Some(more) => more.as_mut_slice(),
            None => &mut self.few,
        };
        // Where there is room, that is a zero.
        let Some(least) = remembered.iter_mut().min() else {
            return;
        };
        if *least == 0 {
            *least = print;
            return;
        }
        let forgotten = print.min(*least);
        *least = print.max(*least);
        let greatest = remembered.iter().max().copied().unwrap_or_default();
        if ms(greatest) - ms(forgotten) > BURST_MS {
            self.mark = self.mark.max(forgotten);
            return;
        }
        let mut burst = Burst::at(ms(print));
        for print in remembered.iter_mut().map(std::mem::take) {
            // They may lie far apart, and the burst forget some of them at once.
            self.mark = self.mark.max(burst.add(print));
        }
        self.mark = self.mark.max(burst.add(forgotten));
        self.burst = Some(Box::new(burst));
    }

    /// Remembers more, if one would be forgotten for this print that might come late.
    fn make_room(&mut self, print: u64) {
        // Zero: there is room.
        let least = self.few.iter().min().copied().unwrap_or_default();
        if least > 0 && ms(self.greatest) - ms(print.min(least)) <= LATE_MS {
            self.remember_more();
        }
    }

    /// An id was looked up that was new: more are remembered from now on.
    pub fn looked_in_vain(&mut self) {
        self.remember_more();
    }

    fn remember_more(&mut self) {
        if self.more.is_none() {
            let mut more = Box::new([0; MORE]);
            more[..FEW].copy_from_slice(&std::mem::take(&mut self.few));
            self.more = Some(more);
        }
    }

    fn remembered(&self) -> &[u64] {
        self.more.as_ref().map_or(&self.few[..], |more| &more[..])
    }
}

impl Burst {
    fn at(since_ms: u64) -> Self {
        Self {
            current: Generation {
                since_ms,
                ..Generation::default()
            },
            previous: Generation::default(),
        }
    }

    fn has(&self, print: u64) -> bool {
        self.current.prints.contains(&print) || self.previous.prints.contains(&print)
    }

    fn greatest(&self) -> u64 {
        self.current.greatest.max(self.previous.greatest)
    }

    fn is_over(&self, print: u64) -> bool {
        ms(print) > self.current.since_ms + GENERATION_MS
            && self.current.prints.len() < GENERATION_MIN
    }

    /// Adds a print. The greatest one of those that are forgotten for it; zero: none.
    fn add(&mut self, print: u64) -> u64 {
        let mut forgotten = 0;
        if self.current.prints.len() >= GENERATION_MAX
            || ms(print) > self.current.since_ms + GENERATION_MS
        {
            let current = Generation {
                since_ms: ms(print),
                ..Generation::default()
            };
            let previous = std::mem::replace(&mut self.current, current);
            forgotten = std::mem::replace(&mut self.previous, previous).greatest;
        }
        self.current.prints.insert(print);
        self.current.greatest = self.current.greatest.max(print);
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Of a moment.
    fn at(ms: u64, number: u64) -> EntryId {
        let mut id = [0; 16];
        id[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
        id[8..].copy_from_slice(&number.to_be_bytes());
        EntryId(id)
    }

    fn remembered(recent: &Recent) -> usize {
        let few = recent.remembered().iter().filter(|print| **print > 0);
        let few = few.count();
        let burst = recent.burst.as_ref();
        few + burst.map_or(0, |burst| {
            burst.current.prints.len() + burst.previous.prints.len()
        })
    }

    #[test]
    fn many_are_remembered_of_a_burst_and_few_of_what_is_spread() {
        let mut recent = Recent::after(None);
        for number in 0..10_000 {
            recent.saw(at(1_000_000 + number / 10, number));
        }
        assert!(remembered(&recent) > 9_000);
        // Late, between the others: new, and known to be.
        let late =
            (0..1_000).filter(|late| recent.surely_new(at(1_000_500 + late / 10, 1 << 40 | late)));
        assert!(late.count() > 950);
        for step in 0..10_000 {
            recent.saw(at(2_000_000 + step * 1_000, step));
        }
        assert!(remembered(&recent) <= MORE);
        // Newer than what was forgotten, and not among the rest.
        assert!(recent.surely_new(at(11_999_500, 0)));
    }

    #[test]
    fn an_account_that_is_rarely_used_remembers_few() {
        let mut recent = Recent::after(None);
        for step in 0..1_000 {
            recent.saw(at(1_000_000 + step * 5_000, step));
        }
        assert!(recent.more.is_none() && remembered(&recent) == FEW);
        recent.looked_in_vain();
        for step in 1_000..2_000 {
            recent.saw(at(1_000_000 + step * 5_000, step));
        }
        assert_eq!(remembered(&recent), MORE);
    }

    #[test]
    fn where_batches_overlap_that_take_seconds_their_ids_are_known_to_be_new() {
        // So many of each that those of the last four moments fit.
        for entries in [1, 4, 7] {
            let mut recent = Recent::after(None);
            let mut seen = 0;
            for round in 0..40 {
                // Four clients, each with a batch of its own age.
                for (client, age_s) in [(0, 0), (1, 6), (2, 12), (3, 18)] {
                    for number in 0..entries {
                        let moment = 1_000_000 + 6_000 * round - 1_000 * age_s;
                        let id = at(moment, 100 * client + number);
                        assert!(recent.surely_new(id), "{entries} each, after {seen}");
                        recent.saw(id);
                        seen += 1;
                    }
                }
            }
        }
    }

    #[test]
    fn an_id_is_new_if_it_is_above_the_mark_and_was_not_seen() {
        let mut recent = Recent::after(Some(at(10, 0)));
        assert!(!recent.surely_new(at(9, 0)) && !recent.surely_new(at(10, 7)));
        recent.saw(at(20, 0));
        assert!(recent.surely_new(at(15, 0)) && recent.surely_new(at(21, 0)));
        assert!(!recent.surely_new(at(20, 0)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn nothing_that_was_seen_is_ever_called_new(
            newest in 0_u64..100,
            // A few ids of few moments, as they come again; jumps; bursts beyond a generation.
            steps in prop::collection::vec((0_u64..4_000, 0_u64..50, 1_u64..3_000), 0..40),
            in_vain_at in 0_usize..80,
        ) {
            let mut recent = Recent::after(Some(at(newest, 0)));
            let mut seen = BTreeSet::from([at(newest, 0)]);
            let mut now = newest;
            for (place, (jump, number, many)) in steps.into_iter().enumerate() {
                if place == in_vain_at {
                    recent.looked_in_vain();
                }
                now += jump / 4;
                for one in 0..many {
                    let id = at(now + one / 64, number + one);
                    prop_assert!(!(recent.surely_new(id) && seen.contains(&id)));
                    recent.saw(id);
                    prop_assert!(!recent.surely_new(id));
                    seen.insert(id);
                }
                for old in seen.iter().rev().step_by(97) {
                    prop_assert!(!recent.surely_new(*old));
                }
            }
        }

        #[test]
        fn nor_where_moments_come_in_any_order(
            // Few of a moment, far apart: what makes a burst may lie around what is old.
            ids in prop::collection::vec((0_u64..12, 0_u64..60), 0..1_000),
            in_vain_at in 0_usize..2_000,
        ) {
            let mut recent = Recent::after(None);
            let mut seen = BTreeSet::new();
            for (place, (moment, number)) in ids.into_iter().enumerate() {
                if place == in_vain_at {
                    recent.looked_in_vain();
                }
                let id = at(1 + moment * 900, number);
                recent.saw(id);
                seen.insert(id);
                for old in &seen {
                    prop_assert!(!recent.surely_new(*old));
                }
            }
        }
    }
}
