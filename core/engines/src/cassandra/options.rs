//! How a cluster is set up.

use std::path::PathBuf;
use std::time::Duration;

use super::broadcast::Broadcast;
use crate::disk::Disk;
use crate::password::Password;

/// How a cluster is set up. `Options::default()` is three small, durable nodes that
/// start quickly.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many nodes it begins with.
    pub nodes: u8,
    /// Java's heap of each node, in MiB. A node takes about 200 MiB more than that.
    pub heap_mib: u32,
    /// Which of Java's compilers.
    pub compiler: Compiler,
    /// When a write is on disk.
    pub commitlog_sync: CommitlogSync,
    /// Whether clients must log in, and as whom.
    pub authentication: Option<Credentials>,
    /// Connections over TLS.
    pub tls: Option<Tls>,
    /// Addresses that the nodes give for themselves, if not their own.
    pub broadcast: Option<Broadcast>,
    /// One of the first nodes has its data on a disk that can be filled.
    pub small_disk: Option<SmallDisk>,
    /// Whether each node archives its commit log, so that a keyspace can be restored to any
    /// moment since a [snapshot](super::Snapshot).
    pub archived: bool,
    /// Further lines of `cassandra.yaml`; a key that is ours is replaced.
    pub yaml: Vec<String>,
    /// How long a start, an agreement or a stop may take.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 3,
            heap_mib: 512,
            compiler: Compiler::Quick,
            commitlog_sync: CommitlogSync::default(),
            authentication: None,
            tls: None,
            broadcast: None,
            small_disk: None,
            archived: false,
            yaml: Vec::new(),
            patience: Duration::from_secs(180),
        }
    }
}

/// Which of Java's compilers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compiler {
    /// The quick one alone: a node starts with a third of the work, and then serves
    /// fewer requests. For tests.
    #[default]
    Quick,
    /// Both. For measurements.
    Full,
}

/// When a write is on disk (`commitlog_sync`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitlogSync {
    /// Before it is acknowledged; writes of so many milliseconds share one flush.
    Group {
        /// `commitlog_sync_group_window`.
        window_ms: u32,
    },
    /// Before it is acknowledged, as soon as the flush before it is done.
    Batch,
    /// After it was acknowledged, within so many milliseconds: what was acknowledged
    /// since is lost when power fails.
    Periodic {
        /// `commitlog_sync_period`.
        period_ms: u32,
    },
}

impl Default for CommitlogSync {
    fn default() -> Self {
        Self::Group { window_ms: 5 }
    }
}

/// A disk of its own for a node's data, and so small that it can be filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmallDisk {
    /// The node.
    pub node: u8,
    /// Its size. It is memory.
    pub mib: u32,
}

impl SmallDisk {
    /// Whether this system lets us have one: it takes a mount namespace of our own.
    pub fn is_allowed() -> bool {
        Disk::allowed()
    }
}

/// A role of the cluster.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Its name. It is made as a superuser, in place of `cassandra`, which is therefore
    /// not a name to choose.
    pub user: String,
    /// Its password.
    pub password: Password,
}

/// Connections over TLS, on the same port.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The certificate of all nodes, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM, PKCS #8.
    pub key: PathBuf,
    /// Whether connections without TLS are refused.
    pub required: bool,
}

/// How a node joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddOptions {
    /// Whether it first fetches the data that it will own. Without, it owns ranges
    /// whose data it does not have, and answers "not found" for them.
    pub auto_bootstrap: bool,
}

impl Default for AddOptions {
    fn default() -> Self {
        Self {
            auto_bootstrap: true,
        }
    }
}
