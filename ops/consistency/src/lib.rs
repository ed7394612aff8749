//! A history of ledger operations under faults, and whether it can be true.
//!
//! Clients call a ledger while a nemesis breaks what it runs on. Everything that they
//! did and saw is a [`History`]; what the ledger holds when all is quiet again is the
//! [`End`]. [`check()`](check::check) finds what of it cannot be true, and a [`Report`] shows the
//! first of that as a timeline. (The method is that of Jepsen, <https://jepsen.io>.)
//!
//! ```text
//!  clients ──calls──▶ ledger ──▶ engine          nemesis: kill, pause, restart,
//!     │                 │           ▲                     cut off, slow
//!     ▼                 ▼           │                          │
//!  History             End          └──────────────────────────┘
//!     └───────┬─────────┘
//!           check ──▶ Report, Timeline
//! ```
//!
//! - [`run()`] does all of it, for a [`System`] and a [`Nemesis`].
//! - [`history`] and [`end`] are what is kept; a history is a file of JSON lines.
//! - [`check`] is pure, and says why it is sound and what it claims.
//! - [`nemesis`] has the faults and their schedule; [`proxy`] breaks the network.
//! - `examples/against.rs` runs it against a ledger that is there already.
//! - [`wire`] and [`collect`] are how it calls and reads a ledger; drills do it in the same way.
//! - [`broken`] has engines with defects: what the checker must catch, and does, in tests.

pub mod broken;
pub mod check;
pub mod collect;
pub mod end;
pub mod history;
pub mod nemesis;
mod operations;
pub mod proxy;
mod recorder;
pub mod report;
mod run;
mod system;
pub mod timeline;
pub mod violation;
pub mod wire;
mod words;
mod workload;

pub use end::End;
pub use history::History;
pub use nemesis::Nemesis;
pub use operations::{Attempt, Completed, Fate, Operation, Operations};
pub use report::Report;
pub use run::{Options, Phase, Progress, Run, RunError, run};
pub use system::System;

/// Where an account's money is.
pub(crate) const MAIN: &str = "customer/main";
/// Where its held money waits.
pub(crate) const HELD: &str = "customer/held";
