//! Partitions on Cassandra.
//!
//! - A partition of the store is a partition of the table `rows` of its service's keyspace,
//!   `<prefix>_<service>`; which cluster that is on is said by configuration (module `schema`).
//! - A commit is one conditional batch, which Cassandra decides by Paxos (module `commit`).
//! - A read is serial, or confirmed by a serial one (module `read`).
//! - Commits with events are found by time through an index that is written before them
//!   (module `events`).
//! - Every value has a checksum (module `value`).
//! - A keyspace can move to another cluster while it is used (module [`moving`]).
//! - A node that owns ranges without having their data is not believed (module `ring`), and
//!   when "not found" becomes frequent it is said (module `absence`).
//!
//! **Who writes.** One writer of a partition at a time is fast, many are slow: the decision
//! is made without a leader, and rivals undo one another's promises. The store combines what
//! waits for a partition into one commit, so each process is one writer; have a partition
//! written by few processes.
//!
//! **What the cluster must have:** `paxos_variant: v2`, `commitlog_segment_size: 32MiB` (the
//! largest commit must fit into half a segment), clocks that follow one time server. These
//! are examined when the engine connects (module `nodes`). For "acknowledged" to mean "on disk"
//! on each machine as well, set `commitlog_sync: group` or `batch`; what the nodes have is
//! told by [`lombard_store::Engine::info`].

mod absence;
mod admission;
mod clock;
mod cluster;
mod commit;
mod coordinators;
mod counts;
mod engine;
mod events;
mod fault;
pub mod growth;
mod guarded;
mod keyspace;
mod lanes;
pub mod moving;
mod nodes;
mod options;
mod partitions;
mod read;
mod retry;
mod ring;
mod schema;
mod secret;
mod tls;
mod value;
mod watch;

pub use clock::PhysicalClock;
pub use counts::{AbsentCounts, TOKEN_SLICES};
pub use engine::Cassandra;
pub use nodes::NodeFacts;
pub use options::{CassandraOptions, ClusterOptions, MoveOptions, Replication, TlsOptions};
pub use ring::Stranger;
