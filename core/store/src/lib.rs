//! Partitions: the only way anything in Lombard changes.
//!
//! A *partition* is a small set of ordered rows under one key, with one
//! version. A *commit* replaces rows and appends events in one partition,
//! atomically and durably, if the version is still the one that was read.
//! `Keyspace::update` is how services do it: it runs a pure function over
//! the rows and commits what the function changed.
//!
//! An event is a row too: written once under a key of its writer's choice,
//! never replaced, and announced to whoever follows the store
//! (`Keyspace::events`). So an event needs no second copy of what it tells,
//! and can never disagree with the state that it was committed with.
//!
//! This crate knows no service. Engines stand behind [`Engine`]; all of them
//! pass the same conformance suite.

mod combine;
pub mod conformance;
mod count;
mod counters;
pub mod embedded;
mod error;
mod fetch;
pub mod limits;
mod loaded;
mod options;
mod port;
mod reach;
mod rows;
pub mod simulated;
mod store;

pub use counters::StoreCounters;
pub use error::{Fault, Stop, StoreError};
pub use options::{Spawner, StoreOptions, TokioSpawner};
pub use port::{
    Admitted, Engine, EngineInfo, EventPage, EventRow, KeyspaceId, LocalEngine, PartitionId,
    PartitionRef, Position, Reading, Snapshot, Verdict, Version, Wanted,
};
pub use reach::{Attempt, Patience, Reach};
pub use rows::{Change, Changes, Direction, Kept, Row, RowRange, RowSource, Rows, Savepoint};
pub use store::{Keyspace, Sequenced, Store};
