//! The double-entry ledger.
//!
//! An account is a partition; an entry commits in one `update` at its *home*
//! and is carried to its other accounts by steps that may run twice.

pub mod admin;
pub mod apply;
pub mod audit;
pub mod book;
pub mod coordinator;
pub mod decide;
mod doubt;
pub mod flow;
pub mod hold;
pub mod in_flight;
pub mod journal;
pub mod limits;
pub mod options;
pub mod parse;
pub mod reads;
pub mod recent;
pub mod refusal;
pub mod reserve;
pub mod reversal;
pub mod rows;
pub mod service;
pub mod stamps;
pub mod state;
pub mod sweeper;
pub mod terms;
pub mod types;
pub mod value_axis;

pub use options::Options;
pub use service::{Ledger, NAME, start};
