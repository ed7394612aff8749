//! When frames of the log end, so that a state can be restored to a moment.
//!
//! A mark costs nothing more for it: its header has the room. The clock is asked
//! once a flush, never for a commit.

use std::fmt;
use std::sync::Arc;

/// The host's wall clock: microseconds since 1970. It may stand or go back: moments do not.
pub type WallClock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What fits in a mark.
const LATEST_US: u64 = (1 << 56) - 1;

/// Gives marks their moments.
#[derive(Clone, Default)]
pub(super) struct Moments {
    clock: Option<WallClock>,
    newest_us: u64,
}

impl Moments {
    /// That go on behind `newest_us`, the newest one in the log. Without a clock
    /// marks say that nobody knows.
    pub(super) fn new(clock: Option<WallClock>, newest_us: u64) -> Self {
        Self { clock, newest_us }
    }

    /// The moment of the mark that ends now: always behind the one that it gave last,
    /// whatever the clock does, so that a moment is one place of the log. 0: nobody knows.
    pub(super) fn next(&mut self) -> u64 {
        let Some(clock) = &self.clock else {
            return 0;
        };
        let now_us = u64::try_from(clock()).unwrap_or(0);
        // A clock that shows what does not fit is as good as one that stands.
        let now_us = if now_us > LATEST_US { 0 } else { now_us };
        let next_us = now_us.max(self.newest_us + 1);
        if next_us > LATEST_US {
            return 0;
        }
        self.newest_us = next_us;
        next_us
    }

    /// The newest that it gave, or went on behind.
    pub(super) fn newest_us(&self) -> u64 {
        self.newest_us
    }

    /// How far the newest moment is ahead of the clock.
    pub(super) fn ahead_us(&self) -> u64 {
        let now_us = self.clock.as_ref().map(|clock| clock());
        now_us.map_or(0, |now_us| {
            self.newest_us
                .saturating_sub(u64::try_from(now_us).unwrap_or(0))
        })
    }
}

impl fmt::Debug for Moments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Moments({})", self.newest_us)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    #[test]
    fn moments_rise_always_also_while_the_clock_stands_or_goes_back() {
        let time = Arc::new(AtomicI64::new(50));
        let clock = time.clone();
        let mut moments = Moments::new(Some(Arc::new(move || clock.load(Ordering::Relaxed))), 40);
        let mut next_at = |now| {
            time.store(now, Ordering::Relaxed);
            moments.next()
        };
        assert_eq!(
            [50, 50, 30, -7, 52, 60, i64::MAX, 70].map(&mut next_at),
            [50, 51, 52, 53, 54, 60, 61, 70]
        );
        assert_eq!(moments.newest_us(), 70);
        time.store(7, Ordering::Relaxed);
        assert_eq!(moments.ahead_us(), 63);
    }

    #[test]
    fn nobody_knows_a_moment_without_a_clock_or_behind_the_latest_that_fits() {
        let mut without = Moments::new(None, 40);
        assert_eq!((without.next(), without.newest_us()), (0, 40));
        let mut last = Moments::new(Some(Arc::new(|| 7)), LATEST_US - 1);
        assert_eq!([last.next(), last.next()], [LATEST_US, 0]);
    }
}
