//! Positions: a hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014), in
//! microseconds since 1970.
//!
//! A position is the physical time where that moves on, and one more than the last seen
//! position where it does not. So a commit's position is greater than that of everything
//! that its process had seen, and is near the time at which it was made.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lombard_store::Position;

/// The time of day, in microseconds since 1970, from the host.
pub type PhysicalClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Gives positions, and keeps ahead of all that were seen.
pub(crate) struct Clock {
    physical: PhysicalClock,
    /// The greatest position that was given or seen.
    last: AtomicU64,
    /// The greatest position of something that is in.
    committed: AtomicU64,
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock")
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

impl Clock {
    pub fn new(physical: PhysicalClock) -> Self {
        Self {
            physical,
            last: AtomicU64::new(0),
            committed: AtomicU64::new(0),
        }
    }

    /// The physical time, in microseconds.
    pub fn now_us(&self) -> u64 {
        (self.physical)()
    }

    /// A position that this clock has neither given nor seen, greater than all of those.
    pub fn next(&self) -> Position {
        let now = self.now_us();
        let after = |last: u64| now.max(last.saturating_add(1));
        let last = self
            .last
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| {
                Some(after(last))
            });
        // It never fails, for the closure always gives something.
        Position(after(last.unwrap_or_else(|last| last)))
    }

    /// Something with this position is in.
    pub fn saw(&self, position: Position) {
        self.last.fetch_max(position.0, Ordering::AcqRel);
        self.committed.fetch_max(position.0, Ordering::AcqRel);
    }

    /// The greatest position of which this process knows that it is in.
    pub fn committed(&self) -> Position {
        Position(self.committed.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock_at(now: &Arc<AtomicU64>) -> Clock {
        let now = now.clone();
        Clock::new(Arc::new(move || now.load(Ordering::Relaxed)))
    }

    #[test]
    fn positions_rise_while_time_stands_or_goes_back() {
        let now = Arc::new(AtomicU64::new(1_000));
        let clock = clock_at(&now);
        assert_eq!(clock.next(), Position(1_000));
        assert_eq!(clock.next(), Position(1_001));
        now.store(500, Ordering::Relaxed);
        assert_eq!(clock.next(), Position(1_002));
        now.store(5_000, Ordering::Relaxed);
        assert_eq!(clock.next(), Position(5_000));
    }

    #[test]
    fn a_position_is_behind_everything_that_was_seen() {
        let now = Arc::new(AtomicU64::new(1_000));
        let clock = clock_at(&now);
        clock.saw(Position(9_000));
        assert_eq!(clock.committed(), Position(9_000));
        assert_eq!(clock.next(), Position(9_001));
        assert_eq!(clock.committed(), Position(9_000), "given is not committed");
    }
}
