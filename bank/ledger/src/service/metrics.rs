//! What the ledger counts and logs.

use lombard_store::StoreError;
use lombard_telemetry::{Counter, Event, Gauge, Registry};

use crate::coordinator::Pass;
use crate::flow::Posted;
use crate::refusal::Refusal;

/// The ledger's counters.
#[derive(Debug, Clone)]
pub struct Metrics {
    accepted: Counter,
    replayed: Counter,
    refused: Counter,
    resumed: Counter,
    settled: Counter,
    taken_over: Counter,
    failed_passes: Counter,
    in_flight: Gauge,
    orphaned: Gauge,
    waiting: Gauge,
}

impl Metrics {
    /// In the service's registry.
    pub fn new(registry: &Registry) -> Self {
        Self {
            accepted: registry.counter("entries_accepted", "Entries committed"),
            replayed: registry.counter(
                "entries_replayed",
                "Entries answered again from their marker",
            ),
            refused: registry.counter("entries_refused", "Entries refused by the rules"),
            resumed: registry.counter(
                "entries_resumed",
                "Entries that the coordinator carried again",
            ),
            settled: registry.counter(
                "reservations_settled",
                "Reservations that home had not decided in time",
            ),
            taken_over: registry.counter(
                "processes_taken_over",
                "Processes of the ledger that were gone without having ended: look why they died",
            ),
            failed_passes: registry.counter(
                "background_failures",
                "Passes beside the calls that the store failed",
            ),
            in_flight: registry.gauge(
                "requests_in_flight",
                "Requests between their first commit and their last",
            ),
            orphaned: registry.gauge("requests_orphaned", "Requests left to the coordinator"),
            waiting: registry.gauge(
                "reservations_waiting",
                "Reservations whose home may still decide",
            ),
        }
    }

    pub(super) fn at(&self, in_flight: usize, orphaned: usize) {
        self.in_flight
            .set(i64::try_from(in_flight).unwrap_or(i64::MAX));
        self.orphaned
            .set(i64::try_from(orphaned).unwrap_or(i64::MAX));
    }

    pub(super) fn answered(&self, answers: Answered) {
        self.replayed.inc_by(answers.replayed);
        self.accepted.inc_by(answers.accepted);
        self.refused.inc_by(answers.refused);
    }
}

/// How many entries were answered how: a batch's are counted before they are told.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Answered {
    accepted: u64,
    replayed: u64,
    refused: u64,
}

impl Answered {
    pub(super) fn add(&mut self, answer: Result<&Posted, &Refusal>) {
        match answer {
            Ok(posted) if posted.replayed => self.replayed += 1,
            Ok(_) => self.accepted += 1,
            Err(_) => self.refused += 1,
        }
    }

    /// One answer.
    pub(super) fn one(answer: Result<&Posted, &Refusal>) -> Self {
        let mut answered = Self::default();
        answered.add(answer);
        answered
    }
}

/// The coordinator looked for what was left half done.
pub(super) struct Resumed<'a> {
    pub pass: &'a Pass,
}

impl Event for Resumed<'_> {
    type Metrics = Metrics;

    fn count(&self, metrics: &Metrics) {
        metrics.resumed.inc_by(self.pass.resumed);
        metrics.settled.inc_by(self.pass.settled);
        metrics.taken_over.inc_by(self.pass.taken_over);
        metrics
            .waiting
            .set(i64::try_from(self.pass.waiting).unwrap_or(i64::MAX));
    }

    fn log(&self, _: &Metrics) {
        if self.pass.taken_over > 0 {
            tracing::warn!(
                processes = self.pass.taken_over,
                "another process of the ledger is gone without having ended; what it left is \
                 finished here"
            );
        }
        if self.pass.resumed + self.pass.settled > 0 {
            tracing::info!(
                events = self.pass.events,
                resumed = self.pass.resumed,
                settled = self.pass.settled,
                "looked for entries that were left half carried"
            );
        }
    }
}

/// The store failed something beside the calls; it is tried again.
pub(super) struct LeftUndone<'a> {
    pub what: &'static str,
    pub error: &'a StoreError,
}

impl Event for LeftUndone<'_> {
    type Metrics = Metrics;

    fn count(&self, metrics: &Metrics) {
        metrics.failed_passes.inc();
    }

    fn log(&self, metrics: &Metrics) {
        tracing::warn!(
            error = %self.error,
            failures = metrics.failed_passes.get(),
            "{} failed and is tried again",
            self.what
        );
    }
}
