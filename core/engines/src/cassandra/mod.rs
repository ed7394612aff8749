//! Apache Cassandra: the Maven artifact `cassandra-all`, on Java 17.

mod agreement;
mod archive;
mod broadcast;
mod cluster;
mod configuration;
mod cql;
mod engine;
mod install;
mod java;
mod node;
mod options;
mod restore;

pub use broadcast::{Broadcast, Passage};
pub use cluster::Cluster;
pub use cql::Row;
pub use install::{Cassandra, Installation};
pub use options::{AddOptions, CommitlogSync, Compiler, Credentials, Options, SmallDisk, Tls};
pub use restore::{Restored, Snapshot};

/// What it is called.
pub const NAME: &str = "cassandra";

/// The port of each node on which clients speak CQL.
pub const CQL_PORT: u16 = 9042;

/// The port of each node on which nodes speak with each other.
const STORAGE_PORT: u16 = 7000;
