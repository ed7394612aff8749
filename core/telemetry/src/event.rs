//! One typed value for what happened: its log line and its counter.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Something that happened. One struct for each kind, with what a reader needs
/// as fields.
///
/// ```
/// use lombard_telemetry::{Counter, Event, Registry};
///
/// struct Metrics { panics: Counter }
/// struct HandlerPanicked<'a> { id: &'a str }
///
/// impl Event for HandlerPanicked<'_> {
///     type Metrics = Metrics;
///     fn count(&self, metrics: &Metrics) { metrics.panics.inc(); }
///     fn log(&self, _metrics: &Metrics) { tracing::error!(id = self.id, "a handler panicked"); }
/// }
///
/// let registry = Registry::new(&[]);
/// let metrics = Metrics { panics: registry.counter("panics", "Handlers that panicked") };
/// HandlerPanicked { id: "7f3a" }.emit(&metrics);
/// assert!(registry.encode().contains("panics_total 1"));
/// ```
pub trait Event: Sized {
    /// The counters of the part that this event belongs to.
    type Metrics;

    /// Moves the counters.
    fn count(&self, metrics: &Self::Metrics);

    /// Writes the log line, at the level that the crate's policy gives it. A line that
    /// may repeat with every call asks a [`RateLimit`] kept in the metrics first.
    fn log(&self, metrics: &Self::Metrics);

    /// Counts and logs. This is what callers use.
    fn emit(self, metrics: &Self::Metrics) {
        self.count(metrics);
        self.log(metrics);
    }
}

/// Lets one log line through each period, for events that may repeat with every
/// call, and counts those it held back.
#[derive(Debug)]
pub struct RateLimit {
    period_us: u64,
    /// Monotonic microseconds from which the next line is let through.
    open_from_us: AtomicU64,
    held_back: AtomicU64,
}

impl RateLimit {
    /// At most one line each period.
    pub const fn new(period: Duration) -> Self {
        Self {
            period_us: period.as_micros() as u64,
            open_from_us: AtomicU64::new(0),
            held_back: AtomicU64::new(0),
        }
    }

    /// Whether to log now; if so, with the number of lines held back since the
    /// last one. `now_us` is monotonic time in microseconds.
    pub fn admit(&self, now_us: u64) -> Option<u64> {
        let open_from = self.open_from_us.load(Ordering::Relaxed);
        let admitted = now_us >= open_from
            && self
                .open_from_us
                .compare_exchange(
                    open_from,
                    now_us.saturating_add(self.period_us).max(1),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        if admitted {
            Some(self.held_back.swap(0, Ordering::Relaxed))
        } else {
            self.held_back.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_period_and_the_rest_counted() {
        let limit = RateLimit::new(Duration::from_secs(1));
        assert_eq!(limit.admit(10), Some(0));
        assert_eq!(limit.admit(11), None);
        assert_eq!(limit.admit(1_000_000), None);
        assert_eq!(limit.admit(1_000_010), Some(2));
        assert_eq!(limit.admit(5_000_000), Some(0));
    }
}
