//! What is refused where a cluster or a keyspace is opened, and what is found to be damaged.

use bytes::Bytes;
use futures::future::join_all;
use lombard_store::{Engine, PartitionId, StoreError, Wanted};
use lombard_store_cassandra::{Cassandra, CassandraOptions};

use crate::support::{clock, clock_apart, connect, once, options, run, session};

/// Opens the keyspace `check` of these options by an engine of its own.
async fn open(options: &CassandraOptions) -> Result<(), StoreError> {
    let engine = connect(options).await.unwrap();
    engine.keyspace("check").await.map(|_| ())
}

fn reason(result: Result<(), StoreError>) -> String {
    match result {
        Err(StoreError::Misconfigured(why)) => why,
        other => panic!("not refused as misconfigured: {other:?}"),
    }
}

#[tokio::test]
async fn a_store_that_is_not_there_is_unavailable_by_its_address() {
    // Nothing listens on port 1, which only a system's own services may use.
    let options = CassandraOptions::of_nodes(["127.0.0.1:1"]);
    match Cassandra::connect(options, clock()).await {
        Err(StoreError::Unavailable(why)) => assert!(why.contains("127.0.0.1:1"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn clocks_that_are_far_apart_are_refused() {
    let Some(nodes) = crate::nodes("clocks_that_are_far_apart_are_refused") else {
        return;
    };
    for apart_us in [5_000_000, -5_000_000] {
        let connected = Cassandra::connect(options(&nodes), clock_apart(apart_us)).await;
        let why = reason(connected.map(|_| ()));
        assert!(why.contains("the clock of node"), "{why}");
    }
}

#[tokio::test]
async fn a_datacenter_that_is_not_there_is_refused() {
    let Some(nodes) = crate::nodes("a_datacenter_that_is_not_there_is_refused") else {
        return;
    };
    let mut options = options(&nodes);
    for cluster in options.clusters.values_mut() {
        cluster.datacenter = Some("atlantis".into());
    }
    let why = reason(connect(&options).await.map(|_| ()));
    assert!(
        why.contains("atlantis") && why.contains("datacenter1"),
        "{why}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_datacenter_decides_alone_where_it_is_named() {
    let Some(nodes) = crate::nodes("one_datacenter_decides_alone_where_it_is_named") else {
        return;
    };
    let mut options = options(&nodes);
    for cluster in options.clusters.values_mut() {
        cluster.datacenter = Some("datacenter1".into());
        cluster.replication.datacenters = [("datacenter1".to_owned(), 3)].into();
    }
    let engine = connect(&options).await.unwrap();
    let store = lombard_store::Store::new(
        std::sync::Arc::new(engine),
        lombard_store::StoreOptions::new(1),
    );
    let keyspace = store.keyspace("check").await.unwrap();
    assert_eq!(once(&keyspace, b"p", 1).await.unwrap(), 1);
    assert_eq!(once(&keyspace, b"p", 1).await.unwrap(), 1);
    let durability = store.info().durability;
    assert!(durability.contains("3 in datacenter1"), "{durability}");
}

#[tokio::test]
async fn a_replication_too_small_is_refused_unless_it_is_said_to_be_meant() {
    let Some(nodes) = crate::nodes("a_replication_too_small_is_refused") else {
        return;
    };
    let mut options = options(&nodes);
    let create = format!(
        "CREATE KEYSPACE {}_check WITH replication = \
         {{'class': 'NetworkTopologyStrategy', 'datacenter1': 2}}",
        options.keyspace_prefix
    );
    run(&session(&nodes).await, &create).await;
    let why = reason(open(&options).await);
    assert!(why.contains("2 replicas in datacenter1"), "{why}");
    options.allow_unsafe_replication = true;
    open(&options).await.unwrap();
}

#[tokio::test]
async fn a_table_that_somebody_changed_is_refused_by_the_difference() {
    let Some(nodes) = crate::nodes("a_table_that_somebody_changed_is_refused") else {
        return;
    };
    let options = options(&nodes);
    open(&options).await.unwrap();
    open(&options).await.unwrap();
    let session = session(&nodes).await;
    let table = format!("{}_check.rows", options.keyspace_prefix);
    run(&session, &format!("ALTER TABLE {table} ADD colour text")).await;
    let why = reason(open(&options).await);
    assert!(why.contains("found and not expected: rows.colour"), "{why}");
    run(&session, &format!("ALTER TABLE {table} DROP colour")).await;
    run(
        &session,
        &format!("ALTER TABLE {table} WITH read_repair = 'BLOCKING'"),
    )
    .await;
    let why = reason(open(&options).await);
    assert!(why.contains("read_repair"), "{why}");
    run(
        &session,
        &format!("ALTER TABLE {table} WITH read_repair = 'NONE'"),
    )
    .await;
    open(&options).await.unwrap();
    run(
        &session,
        &format!("DROP TABLE {}_check.event_index", options.keyspace_prefix),
    )
    .await;
    let why = reason(open(&options).await);
    assert!(
        why.contains("expected and not found: event_index."),
        "{why}"
    );
}

#[tokio::test]
async fn a_schema_of_a_newer_program_is_refused() {
    let Some(nodes) = crate::nodes("a_schema_of_a_newer_program_is_refused") else {
        return;
    };
    let options = options(&nodes);
    open(&options).await.unwrap();
    let insert = format!(
        "INSERT INTO {0}_check.schema_migrations (keyspace_name, id, name) \
         VALUES ('{0}_check', 99, 'from the future')",
        options.keyspace_prefix
    );
    run(&session(&nodes).await, &insert).await;
    let why = reason(open(&options).await);
    assert!(why.contains("schema version 99"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_open_a_new_keyspace_at_once() {
    let Some(nodes) = crate::nodes("many_may_open_a_new_keyspace_at_once") else {
        return;
    };
    let options = options(&nodes);
    let opened = join_all((0..4).map(|_| open(&options))).await;
    for result in opened {
        result.unwrap();
    }
    open(&options).await.unwrap();
}

#[tokio::test]
async fn a_damaged_row_is_an_error_with_its_name() {
    let Some(nodes) = crate::nodes("a_damaged_row_is_an_error_with_its_name") else {
        return;
    };
    let options = options(&nodes);
    let engine = connect(&options).await.unwrap();
    let keyspace = engine.keyspace("check").await.unwrap();
    let p = PartitionId {
        keyspace,
        key: Bytes::from_static(b"p"),
    };
    let put = |key: &'static [u8]| {
        let put = lombard_store::Change::Put(Bytes::from_static(b"value"));
        (Bytes::from_static(key), put)
    };
    let changes = lombard_store::Changes {
        rows: [put(b"bad"), put(b"good")].into(),
    };
    let committed = engine.commit(&p, lombard_store::Version(0), changes).await;
    committed.unwrap().unwrap();
    // 'p' and 'bad', in hexadecimal.
    let update = format!(
        "UPDATE {}_check.rows SET value = 0x0176616c756500000000 \
         WHERE partition = 0x70 AND key = 0x626164",
        options.keyspace_prefix
    );
    run(&session(&nodes).await, &update).await;
    let row = |key: &'static [u8]| Wanted::Row(Bytes::from_static(key));
    let all = lombard_store::RowRange::prefix(b"", lombard_store::Direction::Ascending, 9);
    for wanted in [row(b"bad"), Wanted::Range(all)] {
        match engine.read(&p, &[wanted]).await {
            Err(StoreError::Damaged(why)) => {
                assert!(why.contains("row bad of partition p"), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }
    let good = engine.read(&p, &[row(b"good")]).await.unwrap();
    assert_eq!(good.found[0][0].1, &b"value"[..]);
}

#[tokio::test]
async fn what_is_not_found_is_counted_by_keyspace_and_slice() {
    let Some(nodes) = crate::nodes("what_is_not_found_is_counted") else {
        return;
    };
    let engine = connect(&options(&nodes)).await.unwrap();
    let keyspace = engine.keyspace("check").await.unwrap();
    for number in 0..40_u8 {
        let p = PartitionId {
            keyspace,
            key: Bytes::from(vec![number]),
        };
        let wanted = [b"a", b"b"].map(|key| Wanted::Row(Bytes::from_static(key)));
        engine.read(&p, &wanted).await.unwrap();
    }
    let absent = engine.absent();
    assert_eq!(absent[0].0, "check");
    let counts = &absent[0].1;
    assert_eq!(counts.reads.iter().sum::<u64>(), 40);
    assert_eq!(counts.rows.iter().sum::<u64>(), 80);
    assert_eq!(counts.partitions.iter().sum::<u64>(), 40);
    assert!(counts.reads.iter().filter(|count| **count > 0).count() > 10);
    let readings = engine.readings();
    let of = |name: &str| -> Vec<u64> {
        let named = readings.iter().filter(|reading| reading.name == name);
        named.map(|reading| reading.value).collect()
    };
    assert_eq!(of("nodes_up"), [3]);
    assert_eq!(of("nodes_without_data"), [0]);
    assert_eq!(of("rows_not_found"), counts.rows);
    assert_eq!(of("partitions_not_found"), counts.partitions);
    let first = readings.iter().find(|one| one.name == "rows_not_found");
    let labels = [
        ("cluster", "main".to_owned()),
        ("keyspace", "check".to_owned()),
        ("tokens_after", i64::MIN.to_string()),
    ];
    assert_eq!(first.unwrap().labels, labels);
    let nodes = engine.nodes();
    assert_eq!(nodes[0].0, "main");
    assert!(
        nodes[0]
            .1
            .iter()
            .all(|node| node.connected && node.tokens.len() == 16)
    );
}
