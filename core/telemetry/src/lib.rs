//! Logs, metrics and traces.
//!
//! What happens is a typed [`Event`]: the same value writes the log line and
//! moves the counter, so that neither is forgotten and nobody greps for a
//! metric's name. The log line carries the trace of the call that it happened
//! in ([`trace::current`]), which is what ties it to spans elsewhere.
//!
//! # Who may log at which level
//!
//! | level | means | example |
//! | --- | --- | --- |
//! | `ERROR` | Lombard broke a promise, or cannot go on; someone must look. Always with what was affected. | a panic, a damaged record, a broken invariant |
//! | `WARN` | Lombard still keeps its promises, at a price, and it will not go away by itself. | retry budget spent, disk nearly full, shedding load |
//! | `INFO` | A change in the life of the process, a few lines an hour. | started, draining, engine opened |
//! | `DEBUG` | What one operation did; off in production. | a retried call, a conflict |
//! | `TRACE` | Steps within an operation. | |
//!
//! # Errors
//!
//! - A caller's mistake (`invalid_argument`, `not_found`, `failed_precondition` …)
//!   is answered and counted, never logged above `DEBUG`: outsiders must not be
//!   able to fill the log.
//! - An error is logged once, where it is turned into an answer or given up on,
//!   not where it is passed on.
//! - What may repeat for every call (overload, a neighbour that is gone) goes
//!   through a [`RateLimit`], which says how many lines it held back.
//! - Card numbers, names and keys are never logged: identifiers are.

mod event;
mod histogram;
mod log;
mod registry;
pub mod trace;

pub use event::{Event, RateLimit};
pub use histogram::Latency;
pub use log::{InitError, LogFormat, init, panic_message};
pub use registry::{CONTENT_TYPE, Registry, encode};

/// The metric types that a [`Registry`] takes. Label sets derive `EncodeLabelSet` of
/// `prometheus_client`, whose macro wants that crate among the dependencies.
pub use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
