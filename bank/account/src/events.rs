//! What the coordinator does: each a log line and a counter.

use lombard_telemetry::{Counter, Event, Registry};

use crate::error::Error;

/// The coordinator's counters.
#[derive(Debug, Clone)]
pub struct Metrics {
    openings_finished: Counter,
    openings_unfinished: Counter,
    openings_unread: Counter,
}

impl Metrics {
    /// In the service's registry.
    pub fn new(registry: &Registry) -> Self {
        Self {
            openings_finished: registry.counter(
                "account_openings_finished",
                "Openings that the coordinator took up and finished",
            ),
            openings_unfinished: registry.counter(
                "account_openings_unfinished",
                "Openings that the coordinator took up and could not finish",
            ),
            openings_unread: registry.counter(
                "account_openings_unread",
                "Passes of the coordinator that could not read what is unfinished",
            ),
        }
    }
}

/// An opening that was left behind is finished.
#[derive(Debug)]
pub struct OpeningFinished<'a> {
    /// The account.
    pub account: &'a str,
}

impl Event for OpeningFinished<'_> {
    type Metrics = Metrics;

    fn count(&self, metrics: &Metrics) {
        metrics.openings_finished.inc();
    }

    fn log(&self, _: &Metrics) {
        tracing::info!(
            account = self.account,
            "an opening that was left behind is finished"
        );
    }
}

/// An opening that was left behind could not be finished; the next pass tries again.
#[derive(Debug)]
pub struct OpeningUnfinished<'a> {
    /// The account.
    pub account: &'a str,
    /// Why.
    pub error: &'a Error,
}

impl Event for OpeningUnfinished<'_> {
    type Metrics = Metrics;

    fn count(&self, metrics: &Metrics) {
        metrics.openings_unfinished.inc();
    }

    fn log(&self, _: &Metrics) {
        tracing::warn!(account = self.account, error = %self.error, "an opening is still unfinished");
    }
}

/// What is unfinished could not be read; the next pass tries again.
#[derive(Debug)]
pub struct OpeningsUnread<'a> {
    /// Why.
    pub error: &'a Error,
}

impl Event for OpeningsUnread<'_> {
    type Metrics = Metrics;

    fn count(&self, metrics: &Metrics) {
        metrics.openings_unread.inc();
    }

    fn log(&self, _: &Metrics) {
        tracing::warn!(error = %self.error, "unfinished openings could not be read");
    }
}
