//! Partitions on PostgreSQL, 15 or later.
//!
//! A keyspace is a schema of the database (`lombard_ledger`), made and kept by
//! [migrations](schema). In it a partition is a line of `partitions` with its version,
//! and its rows are lines of `rows`.
//!
//! # Commits
//! Commits that arrive while others are on their way gather, over all partitions, and
//! go out as **one statement**: it checks every version under the partition's row lock,
//! writes the rows of those that still stand, and says which they were. One statement
//! is one transaction and one round trip; a conflict costs its own commit and no other.
//! Callers are answered when the server has committed, at the level that
//! `synchronous_commit` states ([`PostgresOptions::synchronous_commit`]); a server that
//! runs with `fsync` off is refused.
//!
//! # Positions
//! A commit's position is the id of its transaction (64 bits, never used again). For
//! each partition they grow with the versions: whoever commits version 8 has read
//! version 7, which it could do only after that was committed, so its own transaction
//! began later. Over partitions, ids of transactions that run at the same time are in
//! no order of commits; so events are listed up to the oldest transaction that is still
//! running (`pg_snapshot_xmin`) and no further: below it nothing can appear any more.
//! A transaction that somebody leaves open for hours, anywhere in the same server and
//! with an id of its own, holds that back; it loses nothing.
//!
//! A logical restore into a fresh server would begin again with small ids. Each
//! keyspace therefore has an offset, raised when it is opened and its newest position
//! lies ahead of the server's.
//!
//! # Damage
//! Each value carries a CRC-32C over its partition, its key and itself. A row that does
//! not match is an error with its key, never a missing row.

mod checksum;
mod commit;
mod connect;
mod engine;
mod events;
mod failure;
mod gather;
mod options;
mod read;
pub mod schema;
mod tls;

pub use engine::Postgres;
pub use options::{PostgresOptions, SynchronousCommit, Tls};
