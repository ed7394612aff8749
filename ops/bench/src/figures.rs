//! What came of a load.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;
use serde::Serialize;

/// What can be seen while a load runs; clones see the same.
#[derive(Debug, Clone, Default)]
pub struct Live(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    to_open: AtomicU64,
    opened: AtomicU64,
    acknowledged: AtomicU64,
    errors: AtomicU64,
    warming_up: AtomicU64,
}

/// What a load is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// So many accounts of so many are open.
    Opening {
        /// Open.
        opened: u64,
        /// All.
        of: u64,
    },
    /// The load runs, and is not counted yet.
    WarmingUp,
    /// The load runs.
    Measuring,
}

impl Live {
    pub(crate) fn opening(&self, accounts: u64) {
        self.0.to_open.store(accounts, Ordering::Relaxed);
    }

    pub(crate) fn opened(&self) {
        self.0.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn phase_begins(&self, warming_up: bool) {
        self.0.opened.store(0, Ordering::Relaxed);
        self.0.to_open.store(0, Ordering::Relaxed);
        self.0.acknowledged.store(0, Ordering::Relaxed);
        self.0.errors.store(0, Ordering::Relaxed);
        self.0
            .warming_up
            .store(u64::from(warming_up), Ordering::Relaxed);
    }

    pub(crate) fn answered(&self, acknowledged: u64, errors: u64) {
        self.0
            .acknowledged
            .fetch_add(acknowledged, Ordering::Relaxed);
        if errors > 0 {
            self.0.errors.fetch_add(errors, Ordering::Relaxed);
        }
    }

    /// What the load is at.
    pub fn phase(&self) -> Phase {
        match (
            self.0.to_open.load(Ordering::Relaxed),
            self.0.warming_up.load(Ordering::Relaxed),
        ) {
            (0, 0) => Phase::Measuring,
            (0, _) => Phase::WarmingUp,
            (of, _) => Phase::Opening {
                opened: self.0.opened.load(Ordering::Relaxed),
                of,
            },
        }
    }

    /// Entries that were acknowledged in this phase.
    pub fn acknowledged(&self) -> u64 {
        self.0.acknowledged.load(Ordering::Relaxed)
    }

    /// Entries that were not, in this phase.
    pub fn errors(&self) -> u64 {
        self.0.errors.load(Ordering::Relaxed)
    }
}

/// What one client, or all, measured.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Microseconds a request.
    pub latency_us: Histogram<u64>,
    pub acknowledged: u64,
    pub requests: u64,
    /// By reason.
    pub errors: BTreeMap<String, u64>,
}

impl Default for Measured {
    fn default() -> Self {
        Self {
            latency_us: histogram(),
            acknowledged: 0,
            requests: 0,
            errors: BTreeMap::new(),
        }
    }
}

/// From 1 µs to 10 minutes, to 0.1 %.
fn histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "the bounds are constants, and in order")]
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("bounds of a histogram")
}

impl Measured {
    pub fn answered(&mut self, latency_us: u64, acknowledged: u64) {
        self.latency_us.saturating_record(latency_us.max(1));
        self.requests += 1;
        self.acknowledged += acknowledged;
    }

    pub fn failed(&mut self, reason: String, entries: u64) {
        *self.errors.entry(reason).or_default() += entries;
    }

    pub fn add(&mut self, other: Self) {
        // Both have the same bounds: adding them cannot fail.
        let _same_bounds = self.latency_us.add(&other.latency_us);
        self.acknowledged += other.acknowledged;
        self.requests += other.requests;
        for (reason, entries) in other.errors {
            self.failed(reason, entries);
        }
    }
}

/// The result of a load. Its JSON is what programs rely on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Requests in flight at any time.
    pub clients: u32,
    /// What they spoke: "1.1" or "2".
    pub http: String,
    /// Connections that they had, or shared.
    pub connections: u32,
    /// Entries in a request.
    pub batch: u32,
    /// Accounts that the load was spread over.
    pub accounts: u32,
    /// The share of entries that touched one account.
    pub hot: f64,
    /// The share of operations that placed a hold.
    pub holds: f64,
    /// Whether the accounts had floors.
    pub floors: bool,
    /// Of the generator.
    pub seed: u64,
    /// "closed" (asks again when answered) or "open" (asks at fixed times).
    pub r#loop: &'static str,
    /// Entries a second that the open loop asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_rate_per_s: Option<f64>,
    /// How long was measured.
    pub seconds: f64,
    /// Requests that were answered.
    pub requests: u64,
    /// Entries that were acknowledged.
    pub acknowledged: u64,
    /// Entries acknowledged a second.
    pub rate_per_s: f64,
    /// Latency of a request: half were faster.
    pub p50_ms: f64,
    /// 90 % were faster.
    pub p90_ms: f64,
    /// 99 % were faster.
    pub p99_ms: f64,
    /// 99.9 % were faster.
    pub p999_ms: f64,
    /// The slowest.
    pub max_ms: f64,
    /// The longest time in which nothing was acknowledged.
    pub longest_pause_ms: f64,
    /// Entries that were refused or got no answer.
    pub errors: u64,
    /// The same by reason.
    pub error_reasons: BTreeMap<String, u64>,
    /// The engine that the ledger ran on.
    pub engine: String,
    /// What "acknowledged" meant there.
    pub durability: String,
}

/// Microseconds as milliseconds.
pub(crate) fn ms(us: u64) -> f64 {
    us as f64 / 1_000.0
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} entries acknowledged in {:.2} s: {} a second",
            grouped(self.acknowledged),
            self.seconds,
            grouped(self.rate_per_s as u64)
        )?;
        writeln!(
            f,
            "  shape       {} clients on {} connections (HTTP/{}), {} a request, {} accounts, {} loop",
            self.clients,
            self.connections,
            self.http,
            grouped(u64::from(self.batch)),
            grouped(u64::from(self.accounts)),
            self.r#loop
        )?;
        if self.hot > 0.0 || self.holds > 0.0 || self.floors {
            writeln!(
                f,
                "              {:.0} % on one account, {:.0} % holds, {}",
                self.hot * 100.0,
                self.holds * 100.0,
                if self.floors {
                    "floors of zero"
                } else {
                    "no floors"
                }
            )?;
        }
        writeln!(f, "  engine      {}, {}", self.engine, self.durability)?;
        writeln!(
            f,
            "  latency     p50 {:.2} ms   p90 {:.2} ms   p99 {:.2} ms   p99.9 {:.2} ms   max {:.2} ms",
            self.p50_ms, self.p90_ms, self.p99_ms, self.p999_ms, self.max_ms
        )?;
        writeln!(
            f,
            "  pause       {:.1} ms at most without an acknowledgement",
            self.longest_pause_ms
        )?;
        write!(f, "  errors      {}", grouped(self.errors))?;
        for (reason, entries) in &self.error_reasons {
            write!(f, "\n              {} × {reason}", grouped(*entries))?;
        }
        Ok(())
    }
}

/// 1234567 as 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_add_up() {
        let mut all = Measured::default();
        for latency_us in [100, 200] {
            let mut one = Measured::default();
            one.answered(latency_us, 10);
            one.failed("FLOOR_BROKEN".to_owned(), 2);
            all.add(one);
        }
        assert_eq!((all.requests, all.acknowledged), (2, 20));
        assert_eq!(all.errors.get("FLOOR_BROKEN"), Some(&4));
        assert_eq!(all.latency_us.max(), 200);
    }

    #[test]
    fn numbers_are_grouped() {
        let table = [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ];
        for (number, text) in table {
            assert_eq!(grouped(number), text);
        }
    }
}
