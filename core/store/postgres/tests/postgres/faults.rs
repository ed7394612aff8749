//! A server that is killed, stopped in its tracks, cut off from its standby, promoted:
//! what was acknowledged is there once, and what is damaged is named.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use lombard_engines::postgres::{Options, ReplicaOptions, Server};
use lombard_engines::testing;
use lombard_store::{
    Direction, Engine, Keyspace, RowRange, Rows, Stop, Store, StoreError, StoreOptions,
};
use lombard_store_postgres::PostgresOptions;

use super::{connect, options, server};

const PARTITIONS: u64 = 8;

/// Operations that each leave a row of their own, and move a counter.
struct Load {
    keyspace: Keyspace,
    next: AtomicU64,
    stop: AtomicBool,
    /// By partition: the operations that were told to be in.
    acknowledged: parking_lot::Mutex<BTreeMap<u64, Vec<u64>>>,
    unknown: AtomicU64,
}

impl Load {
    async fn over(options: &PostgresOptions, instance: u64) -> Arc<Self> {
        let engine = connect(options).await.unwrap();
        let store = Store::new(Arc::new(engine), StoreOptions::new(instance));
        Arc::new(Self {
            keyspace: store.keyspace("check").await.unwrap(),
            next: AtomicU64::new(instance << 32),
            stop: AtomicBool::new(false),
            acknowledged: parking_lot::Mutex::default(),
            unknown: AtomicU64::new(0),
        })
    }

    async fn client(self: Arc<Self>) {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let partition = number % PARTITIONS;
            let rule = |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
                let count = number_of(rows.get(b"count")?);
                let key = [b"op/", &number.to_be_bytes()[..]].concat();
                if rows.get(&key)?.is_none() {
                    rows.append(key, Bytes::from_static(b"x"));
                    rows.put(
                        &b"count"[..],
                        Bytes::copy_from_slice(&(count + 1).to_be_bytes()),
                    );
                }
                Ok(())
            };
            match self.keyspace.update(&partition.to_be_bytes(), rule).await {
                Ok(_) => self
                    .acknowledged
                    .lock()
                    .entry(partition)
                    .or_default()
                    .push(number),
                Err(StoreError::Ambiguous(_)) => {
                    self.unknown.fetch_add(1, Ordering::Relaxed);
                }
                Err(StoreError::Unavailable(_)) => {
                    tokio::time::sleep(Duration::from_millis(20)).await
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Starts this many clients; they end when `stop` is set.
    fn clients(self: &Arc<Self>, count: usize) -> Vec<tokio::task::JoinHandle<()>> {
        let client = |_| {
            #[expect(clippy::disallowed_methods, reason = "a test is its own host")]
            tokio::spawn(self.clone().client())
        };
        (0..count).map(client).collect()
    }

    fn acknowledged(&self) -> u64 {
        let acknowledged = self.acknowledged.lock();
        acknowledged.values().map(|all| all.len() as u64).sum()
    }

    /// Until so many more are acknowledged.
    async fn moves_on(&self, by: u64) {
        let until = self.acknowledged() + by;
        while self.acknowledged() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Each acknowledged operation is there, the counter counts what is there, and its
    /// events are those rows.
    async fn check(&self) {
        let mut rows_there = 0;
        for partition in 0..PARTITIONS {
            let look = |rows: &Rows<'_>| -> Result<_, Stop<()>> {
                let all = RowRange::prefix(b"op/", Direction::Ascending, 1_000_000);
                Ok((number_of(rows.get(b"count")?), rows.range(&all)?))
            };
            let found = self
                .keyspace
                .read(&partition.to_be_bytes(), look)
                .await
                .unwrap();
            let (count, rows) = found.value.unwrap();
            assert_eq!(count, rows.len() as u64, "each was counted once");
            rows_there += count;
            let there: Vec<u64> = rows
                .iter()
                .map(|(key, _)| u64::from_be_bytes(key[3..].try_into().unwrap()))
                .collect();
            for number in self
                .acknowledged
                .lock()
                .get(&partition)
                .into_iter()
                .flatten()
            {
                assert!(
                    there.contains(number),
                    "{number:x} was acknowledged and is not there"
                );
            }
        }
        let mut after = lombard_store::Position(0);
        let mut events = 0;
        loop {
            let page = self.keyspace.events(after, 1_000).await.unwrap();
            events += page.events.len() as u64;
            after = page.next;
            if !page.more {
                break;
            }
        }
        assert_eq!(events, rows_there, "an event for each, and no other");
    }
}

fn number_of(value: Option<Bytes>) -> u64 {
    value.map_or(0, |value| {
        u64::from_be_bytes(value.as_ref().try_into().unwrap())
    })
}

async fn ended(load: &Load, clients: Vec<tokio::task::JoinHandle<()>>) {
    load.stop.store(true, Ordering::Relaxed);
    for client in join_all(clients).await {
        client.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_keeps_what_was_acknowledged() {
    let Some(server) = testing::started(
        "a_server_that_is_killed",
        Server::start(&Options::default()),
    ) else {
        return;
    };
    let mut options = options(&server);
    options.answer_timeout_ms = 3_000;
    let load = Load::over(&options, 1).await;
    let clients = load.clients(16);
    for _ in 0..3 {
        load.moves_on(200).await;
        server.kill9().unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.restart().unwrap();
    }
    load.moves_on(200).await;
    ended(&load, clients).await;
    load.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_given_up_and_found_again() {
    let Some(server) = testing::started("a_server_that_hangs", Server::start(&Options::default()))
    else {
        return;
    };
    let mut options = options(&server);
    options.answer_timeout_ms = 400;
    options.connect_timeout_ms = 400;
    let load = Load::over(&options, 1).await;
    let clients = load.clients(16);
    for _ in 0..2 {
        load.moves_on(100).await;
        server.pause();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        server.resume();
    }
    load.moves_on(100).await;
    ended(&load, clients).await;
    load.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_partitions() {
    let Some(server) = server("two_processes_share_partitions") else {
        return;
    };
    let options = options(server);
    let one = Load::over(&options, 1).await;
    let other = Load::over(&options, 2).await;
    let (clients, others) = (one.clients(8), other.clients(8));
    one.moves_on(300).await;
    other.moves_on(300).await;
    ended(&one, clients).await;
    ended(&other, others).await;
    one.check().await;
    other.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_synchronous_standby_has_what_was_acknowledged() {
    let set_up = Options::default();
    let Some(primary) = testing::started("a_promoted_synchronous_standby", Server::start(&set_up))
    else {
        return;
    };
    let standby = primary
        .replica(&ReplicaOptions {
            synchronous: true,
            ..ReplicaOptions::default()
        })
        .unwrap();
    let mut options = options(&primary);
    let of = |server: &Server| server.address().port();
    options.url = format!(
        "host=127.0.0.1,127.0.0.1 port={},{} user=lombard dbname=lombard",
        of(&primary),
        of(&standby)
    );
    options.answer_timeout_ms = 3_000;
    let load = Load::over(&options, 1).await;
    let durability = load.keyspace.store().info().durability;
    assert!(durability.contains("synchronous standbys"), "{durability}");
    let clients = load.clients(16);
    load.moves_on(300).await;
    primary.kill9().unwrap();
    standby.promote().unwrap();
    load.moves_on(200).await;
    ended(&load, clients).await;
    load.check().await;
}

#[tokio::test]
async fn a_damaged_row_is_an_error_with_its_key_and_never_a_missing_row() {
    let Some(server) = server("a_damaged_row") else {
        return;
    };
    let options = options(server);
    let engine = connect(&options).await.unwrap();
    let keyspace = engine.keyspace("check").await.unwrap();
    let partition = lombard_store::PartitionId {
        keyspace,
        key: "p".into(),
    };
    let mut changes = lombard_store::Changes::default();
    for key in ["good", "bad"] {
        let change = lombard_store::Change::Event("value".into());
        changes.rows.insert(key.into(), change);
    }
    engine
        .commit(&partition, lombard_store::Version(0), changes)
        .await
        .unwrap();
    let schema = format!("{}_check", options.schema_prefix);
    server
        .query(&format!(
            "UPDATE {schema}.rows SET value = set_byte(value, 0, 0) WHERE key = 'bad'"
        ))
        .unwrap();
    let wanted = |key: &'static str| [lombard_store::Wanted::Row(key.into())];
    let good = engine.read(&partition, &wanted("good")).await.unwrap();
    assert_eq!(good.found[0][0].1, "value");
    let everything = [lombard_store::Wanted::Range(RowRange::prefix(
        b"",
        Direction::Ascending,
        10,
    ))];
    for wanted in [&wanted("bad")[..], &everything[..]] {
        match engine.read(&partition, wanted).await {
            Err(StoreError::Damaged(why)) => assert!(why.contains("bad"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    let events = engine
        .events(keyspace, lombard_store::Position(0), 10)
        .await;
    assert!(matches!(events, Err(StoreError::Damaged(_))), "{events:?}");
}
