//! What every engine must do, as checks that take an engine.
//!
//! ```text
//! lombard_store::conformance!(MySubject::new());
//! ```
//!
//! makes one test of each check. A check is given a [`Subject`] of its own,
//! which begins empty.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a check that fails panics, as every test does"
)]

mod commits;
mod events;
mod limits;
mod ranges;
mod updates;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use commits::{
    atomicity, glances, isolation_of_keyspaces, keys_of_any_bytes, many_partitions, ordering,
    reopening, versions,
};
pub use events::{events_are_durable, events_in_order, events_of_one_keyspace};
pub use limits::{big_values, limits_are_refused};
pub use ranges::{last_rows, ranges, ranges_over_own_changes};
pub use updates::{
    concurrent_partitions, concurrent_updates, consistent_reads, idempotence_by_marker,
    kept_forms_follow_from_the_rows, reads_own_writes, refusals_change_nothing,
    two_stores_on_one_engine,
};

use crate::options::StoreOptions;
use crate::port::{Engine, KeyspaceId, PartitionId, Position, Version, Wanted};
use crate::rows::{Change, Changes, Direction, Row, RowRange};
use crate::store::{Keyspace, Store};

/// An engine under test: where it stores, and how it is opened.
#[async_trait]
pub trait Subject: Send + Sync {
    /// Opens the engine: empty the first time, and after [`Subject::close`] with
    /// what was durable then.
    async fn open(&self) -> Arc<dyn Engine>;

    /// Closes the engine; this is the last handle to it.
    async fn close(&self, engine: Arc<dyn Engine>) {
        drop(engine);
    }

    /// How many partitions [`many_partitions`] makes, one after the other: fewer will do
    /// where each takes some round trips. More than two pages of 777.
    fn partitions_many(&self) -> u32 {
        10_000
    }
}

/// Makes one test of each check. `$subject` is an expression that gives a new [`Subject`].
#[macro_export]
macro_rules! conformance {
    ($subject:expr) => {
        $crate::conformance!($subject;
            atomicity versions glances ordering isolation_of_keyspaces keys_of_any_bytes
            many_partitions reopening ranges ranges_over_own_changes last_rows big_values
            limits_are_refused events_in_order events_of_one_keyspace events_are_durable
            reads_own_writes refusals_change_nothing idempotence_by_marker
            concurrent_updates concurrent_partitions consistent_reads
            two_stores_on_one_engine kept_forms_follow_from_the_rows
        );
    };
    ($subject:expr; $($check:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                let subject = $subject;
                $crate::conformance::$check(&subject).await;
            }
        )*
    };
}

/// A store over the engine, with an instance number of its own.
fn store(engine: &Arc<dyn Engine>, instance: u64) -> Store {
    Store::new(engine.clone(), StoreOptions::new(instance))
}

async fn keyspace(engine: &Arc<dyn Engine>) -> Keyspace {
    store(engine, 1).keyspace("check").await.unwrap()
}

fn partition(keyspace: KeyspaceId, key: &[u8]) -> PartitionId {
    PartitionId {
        keyspace,
        key: Bytes::copy_from_slice(key),
    }
}

/// Changes, written as in `[("a", Some("1")), ("b", None)]`.
fn changes<const N: usize>(rows: [(&str, Option<&str>); N]) -> Changes {
    let change = |value: Option<&str>| match value {
        Some(value) => Change::Put(Bytes::copy_from_slice(value.as_bytes())),
        None => Change::Delete,
    };
    let rows = rows.map(|(key, value)| (Bytes::copy_from_slice(key.as_bytes()), change(value)));
    Changes {
        rows: rows.into_iter().collect(),
    }
}

fn row(key: &str) -> Wanted {
    Wanted::Row(Bytes::copy_from_slice(key.as_bytes()))
}

fn everything(limit: usize) -> Wanted {
    Wanted::Range(RowRange::prefix(b"", Direction::Ascending, limit))
}

fn rows<const N: usize>(rows: [(&str, &str); N]) -> Vec<Row> {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    rows.map(|(key, value)| (bytes(key), bytes(value))).to_vec()
}

/// Commits as the partition's `expected + 1`th version, and waits until it is durable.
async fn commit(
    engine: &Arc<dyn Engine>,
    partition: &PartitionId,
    expected: u64,
    changes: Changes,
) -> Option<Position> {
    let committed = engine.commit(partition, Version(expected), changes).await;
    let position = committed.unwrap();
    if let Some(position) = position {
        engine.durable(position).await.unwrap();
    }
    position
}

/// The version and all rows (up to 10,000).
async fn contents(engine: &Arc<dyn Engine>, partition: &PartitionId) -> (u64, Vec<Row>) {
    let snapshot = engine.read(partition, &[everything(10_000)]).await.unwrap();
    let rows = snapshot.found.into_iter().next().unwrap();
    // What a store keeps for itself is not the check's business.
    let own = |(key, _): &Row| !key.starts_with(crate::limits::RESERVED_KEYS);
    (snapshot.version.0, rows.into_iter().filter(own).collect())
}

fn number(value: Option<Bytes>) -> u64 {
    value.map_or(0, |value| {
        u64::from_be_bytes(value.as_ref().try_into().unwrap())
    })
}

fn bytes_of(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}
