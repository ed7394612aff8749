//! What was done when, and telling it meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::bank::Alert;
use crate::observed::{Now, Observed};
use crate::report::{AlertSeen, Step};
use crate::{Bank, Context, DrillError};

/// Between two tells of how it stands.
const LIVE_PAUSE: Duration = Duration::from_millis(250);

/// How far a drill is.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// A step begins.
    Begun {
        /// What is being done.
        what: String,
    },
    /// A step is done.
    Done(Step),
    /// What clients are being answered.
    Live(Now),
    /// The bank raised an alert.
    Alert(AlertSeen),
}

/// The steps of a drill.
pub struct Timeline<'c> {
    context: &'c Context<'c>,
    began_us: u64,
    steps: Mutex<Vec<Step>>,
}

impl<'c> Timeline<'c> {
    /// It begins now.
    pub fn new(context: &'c Context<'c>) -> Self {
        Self {
            context,
            began_us: context.host.monotonic_us(),
            steps: Mutex::default(),
        }
    }

    /// Seconds since it began.
    pub fn seconds(&self) -> f64 {
        self.since(self.context.host.monotonic_us())
    }

    /// Seconds from when it began to this moment.
    pub fn since(&self, at_us: u64) -> f64 {
        at_us.saturating_sub(self.began_us) as f64 / 1e6
    }

    /// Does something, tells that it begins and is done, and puts down when it was and what
    /// was seen.
    ///
    /// # Errors
    /// The work's.
    pub async fn step<T>(
        &self,
        what: impl Into<String>,
        work: impl Future<Output = Result<T, DrillError>>,
        seen: impl FnOnce(&T) -> String,
    ) -> Result<T, DrillError> {
        let (what, at_s) = (what.into(), self.seconds());
        (self.context.tell)(&Progress::Begun { what: what.clone() });
        let done = work.await?;
        let step = Step {
            at_s,
            took_s: self.seconds() - at_s,
            what,
            seen: seen(&done),
        };
        (self.context.tell)(&Progress::Done(step.clone()));
        self.steps.lock().push(step);
        Ok(done)
    }

    /// Tells how it stands, and each alert, until it is over.
    pub async fn live(&self, observed: &Observed, bank: &dyn Bank, over: &AtomicBool) {
        let mut told = 0;
        while !over.load(Ordering::Relaxed) {
            (self.context.tell)(&Progress::Live(observed.now()));
            for alert in self.alerts(&bank.alerts()).into_iter().skip(told) {
                told += 1;
                (self.context.tell)(&Progress::Alert(alert));
            }
            self.context.host.sleep(LIVE_PAUSE).await;
        }
    }

    /// Alerts, as they are reported.
    pub fn alerts(&self, alerts: &[Alert]) -> Vec<AlertSeen> {
        let seen = alerts.iter().map(|alert| AlertSeen {
            at_s: self.since(alert.at_us),
            text: alert.text.clone(),
        });
        seen.collect()
    }

    /// What was done.
    pub fn into_steps(self) -> Vec<Step> {
        self.steps.into_inner()
    }
}
