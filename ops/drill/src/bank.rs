//! The bank's process, as a drill sees it.

use std::path::Path;

use async_trait::async_trait;
use serde::Serialize;

use crate::DrillError;

/// Starts banks.
#[async_trait]
pub trait Banks: Send + Sync {
    /// Starts a bank of this configuration in a folder of its own, and waits until it
    /// answers.
    ///
    /// # Errors
    /// It does not start, or does not answer in time.
    async fn start(&self, config: &str, folder: &Path) -> Result<Box<dyn Bank>, DrillError>;
}

/// A bank that runs.
#[async_trait]
pub trait Bank: Send + Sync {
    /// Where its ledger listens, `HOST:PORT`.
    fn ledger(&self) -> &str;

    /// The alerts that it has logged since it began, oldest first.
    fn alerts(&self) -> Vec<Alert>;

    /// The last lines of its log.
    fn log_end(&self) -> String;

    /// Asks its auditor.
    ///
    /// # Errors
    /// It could not be asked.
    async fn audit(&self) -> Result<Audit, DrillError>;

    /// Stops it cleanly.
    ///
    /// # Errors
    /// It does not stop in time, or says that it was not clean.
    async fn stop(self: Box<Self>) -> Result<(), DrillError>;
}

/// A line of the log that is an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// When it was read, by the host's monotonic clock.
    pub at_us: u64,
    /// What it says.
    pub text: String,
}

/// What the auditor says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Whether it found nothing.
    pub clean: bool,
    /// Accounts that it looked at.
    pub accounts: u64,
    /// Entries.
    pub entries: u64,
    /// What it found, the first of it.
    pub findings: Vec<String>,
}
