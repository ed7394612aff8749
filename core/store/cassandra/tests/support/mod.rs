//! What the tests share: clocks, options, sessions past the engine, operations told apart by
//! their markers.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::future::join_all;
use lombard_engines::cassandra::Cluster;
use lombard_store::{Direction, Keyspace, RowRange, Rows, Stop, StoreError};
use lombard_store_cassandra::{Cassandra, CassandraOptions, PhysicalClock};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;

/// The time of day, as a host gives it, so many microseconds from the real one.
#[expect(clippy::disallowed_methods, reason = "a test is its own host")]
pub fn clock_apart(apart_us: i64) -> PhysicalClock {
    Arc::new(move || {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = u64::try_from(since.unwrap().as_micros()).unwrap();
        now.checked_add_signed(apart_us).unwrap()
    })
}

/// The right time of day.
pub fn clock() -> PhysicalClock {
    clock_apart(0)
}

/// The addresses of a cluster's nodes.
pub fn nodes_of(cluster: &Cluster) -> Vec<String> {
    let points = cluster.contact_points();
    points.iter().map(ToString::to_string).collect()
}

/// Options for keyspaces that nobody else uses.
pub fn options(nodes: &[String]) -> CassandraOptions {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    CassandraOptions {
        keyspace_prefix: format!("t{:x}_{number}", std::process::id()),
        // A busy machine with three nodes on it answers late at times.
        event_index_deadline_ms: 1_000,
        request_timeout_ms: 5_000,
        fence_after_ms: 8_000,
        ..CassandraOptions::of_nodes(nodes)
    }
}

pub async fn connect(options: &CassandraOptions) -> Result<Cassandra, StoreError> {
    Cassandra::connect(options.clone(), clock()).await
}

/// A session past the engine.
pub async fn session(nodes: &[String]) -> Session {
    let builder = SessionBuilder::new().known_nodes(nodes);
    builder.build().await.unwrap()
}

/// Runs a statement past the engine.
pub async fn run(session: &Session, text: &str) {
    session.query_unpaged(text, ()).await.unwrap();
    session.await_schema_agreement().await.unwrap();
}

/// What is asked for again while the store is unavailable: nodes that have just started on a
/// busy machine need their time.
pub async fn at_last<T>(mut ask: impl AsyncFnMut() -> Result<T, StoreError>) -> T {
    let mut failures = 0;
    loop {
        match ask().await {
            Ok(value) => return value,
            Err(StoreError::Unavailable(why)) => {
                failures += 1;
                assert!(failures < 50, "{why}");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Does an operation once, however often it is called with this id: it counts one up, and
/// leaves a marker, which is an event. Gives the count that it made.
pub async fn once(keyspace: &Keyspace, partition: &[u8], id: u64) -> Result<u64, StoreError> {
    let rule = |rows: &mut Rows<'_>| -> Result<u64, Stop<()>> {
        let marker = marker(id);
        if let Some(first) = rows.get(&marker)? {
            return Ok(number(&first));
        }
        let count = rows.get(b"count")?.map_or(0, |count| number(&count)) + 1;
        rows.put(&b"count"[..], count.to_be_bytes().to_vec());
        rows.append(marker, count.to_be_bytes().to_vec());
        Ok(count)
    };
    let done = keyspace.update(partition, rule).await?;
    Ok(done.durable(keyspace).await?.unwrap())
}

/// As [`once`], again and again until there is an answer.
pub async fn once_at_last(keyspace: &Keyspace, partition: &[u8], id: u64) -> u64 {
    let mut failures = 0;
    loop {
        match once(keyspace, partition, id).await {
            Ok(count) => return count,
            Err(
                error @ (StoreError::Ambiguous(_)
                | StoreError::Unavailable(_)
                | StoreError::Contended { .. }),
            ) => {
                failures += 1;
                assert!(failures < 200, "operation {id}: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => panic!("operation {id}: {error}"),
        }
    }
}

/// The count of a partition, and the counts in its markers, in the order of their ids.
pub async fn counts(keyspace: &Keyspace, partition: &[u8]) -> (u64, Vec<u64>) {
    let look = |rows: &Rows<'_>| -> Result<_, Stop<()>> {
        let count = rows.get(b"count")?.map_or(0, |count| number(&count));
        let markers = rows.range(&RowRange::prefix(b"marker", Direction::Ascending, 100_000))?;
        let markers = markers.iter().map(|(_, value)| number(value)).collect();
        Ok((count, markers))
    };
    let read = at_last(async || keyspace.read(partition, look).await).await;
    read.value.unwrap()
}

/// Each operation was done once: the counts are 1, 2, 3 … in some order.
pub async fn assert_once_each(keyspace: &Keyspace, partition: &[u8], operations: u64) {
    let (count, mut markers) = counts(keyspace, partition).await;
    markers.sort_unstable();
    assert_eq!(count, operations, "operations were lost, or done twice");
    assert!(markers.into_iter().eq(1..=operations), "each has one count");
}

/// Does operations `ids` on a partition, so many at once.
pub async fn do_all(keyspace: &Keyspace, partition: &[u8], ids: std::ops::Range<u64>, tasks: u64) {
    let task = |task: u64| {
        let ids = ids.clone().filter(move |id| id % tasks == task);
        async move {
            for id in ids {
                once_at_last(keyspace, partition, id).await;
            }
        }
    };
    join_all((0..tasks).map(task)).await;
}

pub fn marker(id: u64) -> Vec<u8> {
    [b"marker", &id.to_be_bytes()[..]].concat()
}

pub fn number(value: &Bytes) -> u64 {
    u64::from_be_bytes(value.as_ref().try_into().unwrap())
}
