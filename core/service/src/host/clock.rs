//! Time: the system's, or one that a test moves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Where a process gets its time from.
pub trait Clock: Send + Sync + 'static {
    /// Wall time: microseconds since 1970-01-01 00:00 UTC. May jump, also backwards.
    fn now_us(&self) -> i64;

    /// Microseconds since some moment; never goes backwards. For durations.
    fn monotonic_us(&self) -> u64;

    /// Ends when this much time has passed on this clock.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;
}

/// The system's clock.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Its monotonic time begins now.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that all others come to"
    )]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that all others come to"
    )]
    fn now_us(&self) -> i64 {
        // Before 1970 there was no bank of ours; an hour before it is as good as it.
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    fn monotonic_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(time).boxed()
    }
}

/// A clock that stands still until it is moved. Clones are the same clock.
#[derive(Clone)]
pub struct SimulatedClock(Arc<Mutex<Simulated>>);

struct Simulated {
    now_us: i64,
    monotonic_us: u64,
    /// By the moment at which they wake, then in the order in which they fell asleep.
    sleepers: BTreeMap<(u64, u64), oneshot::Sender<()>>,
    slept: u64,
}

impl SimulatedClock {
    /// A clock that shows this time.
    pub fn new(now_us: i64) -> Self {
        Self(Arc::new(Mutex::new(Simulated {
            now_us,
            monotonic_us: 0,
            sleepers: BTreeMap::new(),
            slept: 0,
        })))
    }

    /// Moves the clock and wakes who has slept long enough, earliest first.
    pub fn advance(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let mut clock = self.0.lock();
        clock.monotonic_us = clock.monotonic_us.saturating_add(us);
        clock.now_us = clock
            .now_us
            .saturating_add(i64::try_from(us).unwrap_or(i64::MAX));
        let after_now = (clock.monotonic_us.saturating_add(1), 0);
        let later = clock.sleepers.split_off(&after_now);
        for (_, sleeper) in std::mem::replace(&mut clock.sleepers, later) {
            // A sleeper that is gone need not be woken.
            let _ = sleeper.send(());
        }
    }

    /// Moves the clock to the moment at which the next sleeper wakes. False if nobody sleeps.
    pub fn advance_to_next(&self) -> bool {
        let wait_us = {
            let clock = self.0.lock();
            let Some(&(due_us, _)) = clock.sleepers.keys().next() else {
                return false;
            };
            due_us.saturating_sub(clock.monotonic_us)
        };
        self.advance(Duration::from_micros(wait_us));
        true
    }

    /// Sets wall time, as an operator or NTP may: forwards or backwards. Wakes nobody.
    pub fn set_now_us(&self, now_us: i64) {
        self.0.lock().now_us = now_us;
    }
}

impl Clock for SimulatedClock {
    fn now_us(&self) -> i64 {
        self.0.lock().now_us
    }

    fn monotonic_us(&self) -> u64 {
        self.0.lock().monotonic_us
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (wake, woken) = oneshot::channel();
        let mut clock = self.0.lock();
        if us == 0 {
            return std::future::ready(()).boxed();
        }
        let key = (clock.monotonic_us.saturating_add(us), clock.slept);
        clock.slept += 1;
        clock.sleepers.insert(key, wake);
        drop(clock);
        async move {
            // An error means that the clock is gone: then nothing waits for time any more.
            let _ = woken.await;
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleepers_wake_when_their_time_has_come() {
        let clock = SimulatedClock::new(1_000);
        let mut short = clock.sleep(Duration::from_micros(5));
        let mut long = clock.sleep(Duration::from_micros(10));
        assert!((&mut short).now_or_never().is_none());
        clock.advance(Duration::from_micros(4));
        assert!((&mut short).now_or_never().is_none());
        clock.advance(Duration::from_micros(1));
        assert!((&mut short).now_or_never().is_some());
        assert!((&mut long).now_or_never().is_none());
        assert!(clock.advance_to_next());
        assert!((&mut long).now_or_never().is_some());
        assert!(!clock.advance_to_next());
        assert_eq!((clock.now_us(), clock.monotonic_us()), (1_010, 10));
    }

    #[test]
    fn the_system_clock_is_in_this_century() {
        let clock = SystemClock::new();
        assert!(clock.now_us() > 1_700_000_000_000_000);
        assert!(clock.monotonic_us() <= clock.monotonic_us());
    }
}
