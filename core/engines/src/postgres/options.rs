//! How a server is set up.

use std::path::PathBuf;
use std::time::Duration;

use crate::password::Password;

/// The role that tests and banks connect as; it owns [`DATABASE`].
pub const USER: &str = "lombard";
/// The database.
pub const DATABASE: &str = "lombard";

/// How a server is set up. `Options::default()` is durable and small.
#[derive(Debug, Clone)]
pub struct Options {
    /// How clients say who they are.
    pub authentication: Authentication,
    /// Connections over TLS.
    pub tls: Option<Tls>,
    /// Whether a commit is on disk before it is answered (`fsync`, and
    /// `synchronous_commit` at its default, on). Off only where no crash is tested.
    pub durable: bool,
    /// Connections at once.
    pub max_connections: u16,
    /// The server's own cache, in MiB.
    pub shared_buffers_mib: u32,
    /// Whether every segment of its log is archived in [`Server::archive`](super::Server::archive)
    /// when it is full, so that it can be restored to any moment since a base backup.
    pub archived: bool,
    /// Whether PostgreSQL's client programs are wanted (`pg_basebackup`, `pg_dump`, …): the
    /// system's own installation is taken then if it has them, because the package has none.
    pub client_programs: bool,
    /// Further settings of `postgresql.conf`, as (name, value); they win over ours.
    pub settings: Vec<(String, String)>,
    /// The port of 127.0.0.1; by default one that is free.
    pub port: Option<u16>,
    /// How long a start or a stop may take.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            authentication: Authentication::Trust,
            tls: None,
            durable: true,
            max_connections: 100,
            shared_buffers_mib: 64,
            archived: false,
            client_programs: false,
            settings: Vec::new(),
            port: None,
            patience: Duration::from_secs(60),
        }
    }
}

/// How clients say who they are.
#[derive(Debug, Clone, Default)]
pub enum Authentication {
    /// Whoever reaches 127.0.0.1 is believed.
    #[default]
    Trust,
    /// The role [`USER`] has this password, proved by SCRAM-SHA-256 (RFC 7677).
    Password(Password),
}

/// Connections over TLS.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The server's certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Whether connections without TLS are refused.
    pub required: bool,
}

/// How a replica is set up.
#[derive(Debug, Clone, Default)]
pub struct ReplicaOptions {
    /// Whether the primary answers a commit only when this replica has it on disk too.
    pub synchronous: bool,
    /// Where it reaches the primary, if not directly: a proxy that cuts or slows.
    pub through: Option<std::net::SocketAddr>,
}
