//! A keyspace moves from one cluster to another while it serves: two real clusters of one node.

mod configured;
mod conformance;
mod copying;
mod handing_over;
mod hanging;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use lombard_engines::cassandra::{Cluster, Options};
use lombard_engines::testing;
use lombard_store::{
    Change, Changes, Engine, EventRow, KeyspaceId, PartitionId, Position, Store, StoreError,
    StoreOptions, Version, Wanted,
};
use lombard_store_cassandra::moving::{Progress, Swept};
use lombard_store_cassandra::{Cassandra, CassandraOptions, ClusterOptions, MoveOptions};
use scylla::client::session::Session;

use crate::support::{connect, marker, nodes_of, options};

/// The nodes of the clusters `a` and `b`, or `None` if this machine lacks what it takes.
fn clusters(test: &str) -> Option<[Vec<String>; 2]> {
    static CLUSTERS: OnceLock<Option<[Cluster; 2]>> = OnceLock::new();
    let clusters = CLUSTERS.get_or_init(|| {
        let one = Options {
            nodes: 1,
            // Many tests, each with keyspaces of its own.
            heap_mib: 1_024,
            ..Options::default()
        };
        let a = testing::started(test, Cluster::start(&one))?;
        let b = testing::started(test, Cluster::start(&one))?;
        Some([a, b])
    });
    let [a, b] = clusters.as_ref()?;
    Some([nodes_of(a), nodes_of(b)])
}

/// Options for a keyspace of its own on `a`, without a move.
fn alone([a, b]: &[Vec<String>; 2]) -> CassandraOptions {
    let cluster = |nodes: &Vec<String>| {
        let mut cluster = ClusterOptions {
            contact_points: nodes.clone(),
            ..ClusterOptions::default()
        };
        cluster.replication.factor = 1;
        cluster
    };
    CassandraOptions {
        clusters: [("a".to_owned(), cluster(a)), ("b".to_owned(), cluster(b))].into(),
        default_cluster: "a".into(),
        allow_unsafe_replication: true,
        ..options(a)
    }
}

/// The same keyspace, which moves from one to the other.
fn moving(alone: &CassandraOptions, from: &str, to: &str) -> CassandraOptions {
    let to = MoveOptions { to: to.into() };
    CassandraOptions {
        services: [("check".to_owned(), from.to_owned())].into(),
        moves: [("check".to_owned(), to)].into(),
        ..alone.clone()
    }
}

/// The same keyspace, on one cluster.
fn only(alone: &CassandraOptions, cluster: &str) -> CassandraOptions {
    CassandraOptions {
        services: [("check".to_owned(), cluster.to_owned())].into(),
        ..alone.clone()
    }
}

fn nothing(_: Progress) {}

async fn opened(options: &CassandraOptions) -> (Arc<Cassandra>, KeyspaceId) {
    let engine = Arc::new(connect(options).await.unwrap());
    let id = engine.keyspace("check").await.unwrap();
    (engine, id)
}

async fn stored(engine: &Arc<Cassandra>, instance: u64) -> lombard_store::Keyspace {
    let store = Store::new(engine.clone(), StoreOptions::new(instance));
    store.keyspace("check").await.unwrap()
}

fn of(keyspace: KeyspaceId, key: &[u8]) -> PartitionId {
    PartitionId {
        keyspace,
        key: Bytes::copy_from_slice(key),
    }
}

fn put(key: &[u8], value: &[u8]) -> Changes {
    let change = Change::Put(Bytes::copy_from_slice(value));
    Changes {
        rows: [(Bytes::copy_from_slice(key), change)].into(),
    }
}

fn event(key: &[u8]) -> Changes {
    let change = Change::Event(Bytes::from_static(b"happened"));
    Changes {
        rows: [(Bytes::copy_from_slice(key), change)].into(),
    }
}

async fn row(engine: &Cassandra, partition: &PartitionId, key: &[u8]) -> (Version, Option<Bytes>) {
    let wanted = [Wanted::Row(Bytes::copy_from_slice(key))];
    let seen = engine.read(partition, &wanted).await.unwrap();
    let found = seen.found[0].first().map(|(_, value)| value.clone());
    (seen.version, found)
}

/// All that a cluster has of the table of rows, past the engine.
type Table = BTreeMap<(Vec<u8>, Vec<u8>), (Vec<u8>, i64)>;

async fn table(session: &Session, options: &CassandraOptions) -> Table {
    let text = format!(
        "SELECT partition, key, value, version FROM {}_check.rows",
        options.keyspace_prefix
    );
    let answer = session.query_unpaged(text, ()).await.unwrap();
    let rows = answer.into_rows_result().unwrap();
    let rows = rows.rows::<(Vec<u8>, Vec<u8>, Vec<u8>, i64)>().unwrap();
    rows.map(|row| {
        let (partition, key, value, version) = row.unwrap();
        ((partition, key), (value, version))
    })
    .collect()
}

/// Rows that are there by a partition's version on `a`, and the same on `b` as its copy.
fn assert_equal(owner: &Table, copy: &Table) {
    let negated: Table = (copy.iter())
        .map(|(key, (value, version))| (key.clone(), (value.clone(), -version)))
        .collect();
    assert_eq!(owner.len(), negated.len());
    assert!(owner.values().all(|(_, version)| *version > 0));
    assert!(*owner == negated, "the copies are not equal");
}

/// Everything that there is, page by page; it waits until so many are there.
async fn follow(engine: &Cassandra, id: KeyspaceId, count: usize, limit: usize) -> Vec<EventRow> {
    let (mut after, mut events) = (Position(0), Vec::new());
    for _ in 0..400 {
        let page = engine.events(id, after, limit).await.unwrap();
        assert!(page.next >= after);
        after = page.next;
        events.extend(page.events);
        if events.len() >= count && !page.more {
            break;
        }
        if !page.more {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    events
}

/// Each operation's event once, in the order of positions.
fn assert_events(events: &[EventRow], partition: &[u8], operations: u64) {
    assert!(events.iter().map(|event| event.position).is_sorted());
    let own = events
        .iter()
        .filter(|event| event.partition.key == partition);
    let mut keys: Vec<_> = own.map(|event| event.key.to_vec()).collect();
    keys.sort_unstable();
    let count = keys.len() as u64;
    assert!(
        keys.into_iter().eq((0..operations).map(marker)),
        "{count} events of {operations} operations"
    );
}

async fn compare_clean(engine: &Cassandra) -> Swept {
    let moved = engine.moving("check").await.unwrap();
    let compared = moved.compare(&mut nothing).await.unwrap();
    assert_eq!(compared.different, 0, "{:?}", compared.named);
    assert_eq!(compared.behind, 0);
    compared
}

fn misconfigured<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Misconfigured(why)) => why,
        other => panic!("not refused as misconfigured: {other:?}"),
    }
}
