//! The host: what every Lombard process does around its services.
//!
//! - [`Host`]: time, randomness, ids, tasks; of the system, or simulated.
//! - [`Config`]: `lombard.toml`, variables, flags; an unknown key is an error.
//! - [`Application`]: starts services in order, answers when all are ready, drains
//!   them in reverse.
//! - [`testing`]: an application on free ports with its own folder.
//!
//! Direct calls of the system's clock, randomness and task spawning stand here and
//! nowhere else (`clippy.toml` bans them).

mod application;
mod config;
mod failure;
mod host;
mod metrics;
mod nearest;
pub mod testing;

pub use application::{
    AddressBook, Application, Failure, HostOptions, Running, RunningApplication, ServiceContext,
    StartError, StopReason, Stopped,
};
pub use config::{COMMAND_LINE_VARIABLES, Config, ConfigError, Source};
pub use failure::store_error;
pub use host::{Clock, Host, Random, Shutdown, SimulatedClock, SystemClock, Tasks};
