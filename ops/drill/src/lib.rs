//! Drills: what operators must have seen before it happens, on real engines.
//!
//! A drill starts a real engine on this machine and the real bank over it, lets clients
//! work, does to the engine what an operator would (or should not) do, and says whether
//! clients were told the truth all the while. At the end everything that was acknowledged
//! is compared with balances and events, and the bank's own auditor is asked.
//!
//! ```text
//!  clients ──calls──▶ bank (a process) ──▶ engine     script: add, decommission,
//!     │                    │                  ▲               restart
//!     ▼                    ▼                  └──────────────────┘
//!  Observed              alerts
//!     └──────────┬─────────┘
//!             Report: steps, phases, verdicts
//! ```
//!
//! - [`scale_up`]: nodes that join a Cassandra cluster without their data, and the way back.
//! - [`grow`]: nodes that join it as they should.
//! - [`rolling_restart`]: every node, one by one.
//! - [`postgres_restore`], [`cassandra_restore`]: a table that somebody emptied, and the way
//!   back to a moment.
//! - [`load`] is the clients and what they were told; [`judge`] says of an answer whether
//!   it is right; [`observed`] counts; [`compare`] is the end.
//! - [`bank`] is the bank's process as a drill sees it; [`process`] starts the real one.
//!
//! The rules are here, what a person sees is not: that is who calls.

pub mod bank;
mod cassandra;
pub mod cassandra_restore;
pub mod compare;
mod conclusion;
pub mod grow;
pub mod judge;
pub mod load;
pub mod log;
pub mod observed;
mod postgres;
pub mod postgres_restore;
pub mod process;
pub mod report;
mod restoring;
pub mod rolling_restart;
pub mod scale_up;
mod timeline;
pub mod tokens;
mod waiting;

use lombard_service::Host;

pub use bank::{Bank, Banks};
pub use report::Report;
pub use timeline::Progress;

/// What a drill is given to work with.
pub struct Context<'c> {
    /// Time, ids, randomness.
    pub host: &'c Host,
    /// Starts the bank.
    pub banks: &'c dyn Banks,
    /// Who is told how far it is.
    pub tell: &'c (dyn Fn(&Progress) + Sync),
}

/// What every drill is told of its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clients {
    /// Accounts that they work on.
    pub accounts: u32,
    /// Amounts and choices are drawn from it.
    pub seed: u64,
    /// Whether the folders of the engine and the bank are kept.
    pub keep: bool,
}

/// Why a drill came to no answer. It says nothing of the bank.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// An engine is not installed, did not start or did not do what it was asked for.
    #[error(transparent)]
    Engine(#[from] lombard_engines::Error),
    /// The bank did not start, or ended.
    #[error("the bank {what}; the end of its log:\n{log}")]
    Bank {
        /// What it did, or did not.
        what: String,
        /// The last lines of its log.
        log: String,
    },
    /// The ledger could not be set up or read.
    #[error("{doing}: {why}")]
    Ledger {
        /// What was asked of it.
        doing: String,
        /// What it said.
        why: String,
    },
    /// The system refused something.
    #[error("{doing}: {why}")]
    System {
        /// What was being done, and where.
        doing: String,
        /// The reason.
        why: String,
    },
}

/// Blocking work on an engine.
///
/// # Errors
/// The engine's.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, lombard_engines::Error> + Send + 'static,
) -> Result<T, DrillError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(error) => Err(DrillError::System {
            doing: "working on an engine".to_owned(),
            why: error.to_string(),
        }),
    }
}
