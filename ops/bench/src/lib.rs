//! Load on a running bank, and what it answered: the rate, the latencies, the
//! longest pause.
//!
//! The generator shares its machine with the bank that it measures, so it must
//! be cheap: entries are written straight as protobuf (`wire`), calls are made with
//! as little around them as the protocol allows (`connection`), and of the answers
//! to a batch only what was refused is decoded.
//!
//! - [`Shape`]: what is asked for, and whether it makes sense.
//! - [`Work`]: the stream of entries of one client, repeatable from a seed.
//! - [`ledger`]: opens accounts, runs the load.
//! - [`balances`]: reads of balances on an account with a history.
//! - [`Figures`]: what came of it, for people and for programs.

#![allow(
    clippy::disallowed_methods,
    reason = "a load generator measures the real clock and stands outside the bank's host"
)]

pub mod balances;
mod connection;
mod figures;
pub mod ledger;
mod open_loop;
mod setup;
mod shape;
mod wire;
mod work;

pub use balances::{AsOf, BalancesFigures, BalancesShape};
pub use figures::{Figures, Live, Phase};
pub use shape::{Extent, HttpVersion, Shape, ShapeError};
pub use work::{Request, Work};

/// Why a load could not be run, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// What was asked for makes no sense.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// Nobody answers, or no longer.
    #[error("the ledger at {address} does not answer: {reason}")]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// What the connection said.
        reason: String,
    },
    /// The accounts that the load runs over could not be opened.
    #[error("could not open account {account}: {reason}")]
    Account {
        /// Which one.
        account: String,
        /// The ledger's answer.
        reason: String,
    },
    /// The ledger answered something that is not in its contract.
    #[error("the ledger's answer to {method} cannot be read: {reason}")]
    Answer {
        /// The call.
        method: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}
