//! How the engine is configured: the section `[postgres]`.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

/// The section `[postgres]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PostgresOptions {
    /// Where: `postgres://USER@HOST:PORT/DATABASE`, or `host=… user=… dbname=…`; several
    /// hosts (a primary and its replicas) are tried in turn for one that takes writes.
    /// Never with a password in it.
    pub url: String,
    /// The file that holds the password, and nothing else but a line end.
    pub password_file: Option<PathBuf>,
    /// The environment variable that holds the password, where there is no file.
    pub password_variable: String,
    /// A keyspace's schema is this, `_`, and the keyspace's name.
    pub schema_prefix: String,
    /// Connections at most.
    pub connections: usize,
    /// Statements that commit, at once, for each keyspace.
    pub commits_at_once: usize,
    /// Statements that read, at once, for each keyspace.
    pub reads_at_once: usize,
    /// Commits of different partitions that one statement carries, at most.
    pub commits_per_statement: usize,
    /// Bytes of keys and values that one statement carries, about, at most.
    pub bytes_per_statement: usize,
    /// When the server answers a commit.
    pub synchronous_commit: SynchronousCommit,
    /// Milliseconds until a connection must stand.
    pub connect_timeout_ms: u64,
    /// Milliseconds until an answer must be there. A commit that takes longer is of
    /// unknown outcome, and is found out about.
    pub answer_timeout_ms: u64,
    /// Whether the connection is encrypted, and the server's certificate checked.
    pub tls: Tls,
    /// Certificates of the authorities that may have signed the server's, as PEM.
    pub tls_ca_file: Option<PathBuf>,
    /// This client's certificate and its chain, as PEM.
    pub tls_certificate_file: Option<PathBuf>,
    /// The key of this client's certificate, as PEM.
    pub tls_key_file: Option<PathBuf>,
    /// Take a server with `fsync` or `full_page_writes` off: for tests that lose nothing
    /// by losing everything.
    pub allow_unsafe_server: bool,
}

/// Whether the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// On a connection that leaves the machine, as [`Tls::Verify`]; else as [`Tls::Off`].
    Auto,
    /// Not at all.
    Off,
    /// Encrypted; the server's certificate must be signed by one of `tls_ca_file`, and
    /// be made for the host's name.
    Verify,
}

/// When the server answers a commit. `off` is not among them: nothing is acknowledged
/// before it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SynchronousCommit {
    /// On this server's disk; where it has synchronous standbys, not waiting for them.
    Local,
    /// On this server's disk, and with its synchronous standbys' operating systems.
    RemoteWrite,
    /// On this server's disk, and on its synchronous standbys'.
    On,
    /// As `on`, and to be seen on the synchronous standbys.
    RemoteApply,
}

impl SynchronousCommit {
    /// As PostgreSQL's setting is written.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::RemoteWrite => "remote_write",
            Self::On => "on",
            Self::RemoteApply => "remote_apply",
        }
    }
}

impl fmt::Display for SynchronousCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.setting())
    }
}

impl PostgresOptions {
    /// Reads and commits that are taken at once: enough that each statement is full that goes
    /// out next. What waits beyond that does so where more may still join it.
    pub(crate) fn admitted_max(&self) -> usize {
        let statements = self.commits_at_once.max(self.reads_at_once).max(1);
        let per_statement = self.commits_per_statement.max(1);
        statements
            .saturating_mul(per_statement)
            .min(tokio::sync::Semaphore::MAX_PERMITS)
    }
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            url: "postgres://lombard@127.0.0.1:5432/lombard".into(),
            password_file: None,
            password_variable: "LOMBARD_POSTGRES_PASSWORD".into(),
            schema_prefix: "lombard".into(),
            connections: 16,
            commits_at_once: 2,
            reads_at_once: 2,
            commits_per_statement: 1_024,
            bytes_per_statement: 4 << 20,
            synchronous_commit: SynchronousCommit::On,
            connect_timeout_ms: 5_000,
            answer_timeout_ms: 10_000,
            tls: Tls::Auto,
            tls_ca_file: None,
            tls_certificate_file: None,
            tls_key_file: None,
            allow_unsafe_server: false,
        }
    }
}
