//! Randomness and ids: the system's, or repeatable from a seed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use uuid::Uuid;

use super::Clock;

/// A source of randomness. Cheap to clone; clones draw from the same source.
#[derive(Clone)]
pub struct Random(Source);

#[derive(Clone)]
enum Source {
    /// Each thread's own generator, seeded by the system.
    System,
    Seeded(Arc<Mutex<SmallRng>>),
}

impl Random {
    /// The system's: not to be foreseen, not to be repeated.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// The same numbers for the same seed, as long as they are drawn in the same order.
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded(Arc::new(Mutex::new(
            SmallRng::seed_from_u64(seed),
        ))))
    }

    /// 64 random bits.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the source that all others come to"
    )]
    pub fn next_u64(&self) -> u64 {
        match &self.0 {
            Source::System => rand::rng().next_u64(),
            Source::Seeded(generator) => generator.lock().next_u64(),
        }
    }

    /// A number from 0 to `bound` - 1, every one as likely; 0 if `bound` is 0.
    pub fn below(&self, bound: u64) -> u64 {
        // Lemire, "Fast Random Integer Generation in an Interval" (2019): the high half
        // of a product, drawn again in the few cases that would favour some numbers.
        let mut product = u128::from(self.next_u64()) * u128::from(bound);
        if (product as u64) < bound {
            let unfair = bound.wrapping_neg() % bound;
            while (product as u64) < unfair {
                product = u128::from(self.next_u64()) * u128::from(bound);
            }
        }
        (product >> 64) as u64
    }

    /// A generator of its own for whoever draws much, seeded from here.
    pub fn fork(&self) -> SmallRng {
        SmallRng::seed_from_u64(self.next_u64())
    }

    /// In the form that `lombard_rpc` takes.
    pub fn for_rpc(&self) -> lombard_rpc::Random {
        let random = self.clone();
        Arc::new(move || random.next_u64())
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System => "Random(system)",
            Source::Seeded(_) => "Random(seeded)",
        })
    }
}

/// Makes UUIDs of version 7 (RFC 9562): sorted by time, and strictly so within a process.
pub(super) struct Ids {
    /// The last id's milliseconds and the 12 bits that follow them ("rand_a"), which
    /// count within a millisecond (RFC 9562, section 6.2, method 1).
    last: AtomicU64,
}

/// A millisecond begins to count somewhere in the lower half, so that thousands fit.
const FIRST_COUNT_BITS: u64 = 0x7ff;

impl Ids {
    pub(super) fn new() -> Self {
        Self {
            last: AtomicU64::new(0),
        }
    }

    pub(super) fn next(&self, clock: &dyn Clock, random: &Random) -> Uuid {
        let ms = u64::try_from(clock.now_us() / 1_000).unwrap_or(0);
        let first = ms << 12 | random.next_u64() & FIRST_COUNT_BITS;
        let step = |last: u64| Some(first.max(last + 1));
        let last = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step)
            .unwrap_or_else(|last| last);
        let place = first.max(last + 1);
        let (ms, count) = (place >> 12, place & 0xfff);
        let high = ms << 16 | 0x7000 | count;
        let low = random.next_u64() >> 2 | 1 << 63;
        Uuid::from_u64_pair(high, low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SimulatedClock;

    #[test]
    fn ids_are_version_7_and_sorted_even_when_the_clock_goes_back() {
        let clock = SimulatedClock::new(1_700_000_000_123_456);
        let random = Random::seeded(1);
        let ids = Ids::new();
        let mut last = Uuid::nil();
        for step in 0..10_000u32 {
            if step == 5_000 {
                clock.set_now_us(1_600_000_000_000_000);
            }
            let id = ids.next(&clock, &random);
            assert!(id > last, "{id} after {last}");
            assert_eq!(id.get_version_num(), 7);
            assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
            last = id;
        }
        let first = Ids::new().next(&SimulatedClock::new(1_700_000_000_123_456), &random);
        assert_eq!(first.as_u128() >> 80, 1_700_000_000_123);
    }

    #[test]
    fn a_seed_repeats_a_run() {
        let draw = |seed| {
            let random = Random::seeded(seed);
            (0..8).map(|_| random.next_u64()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn numbers_below_a_bound_are_below_it_and_even() {
        let random = Random::seeded(3);
        let mut seen = [0u32; 3];
        for _ in 0..3_000 {
            seen[random.below(3) as usize] += 1;
        }
        assert!(
            seen.iter().all(|&count| (900..1_100).contains(&count)),
            "{seen:?}"
        );
        assert_eq!(random.below(0), 0);
        assert_eq!(random.below(1), 0);
    }
}
