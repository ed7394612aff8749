//! Three real nodes of which one is missing, hangs, or comes back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is wrong"
)]

mod support;

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use lombard_engines::cassandra::{Cluster, Options};
use lombard_engines::testing;
use lombard_store::conformance::Subject;
use lombard_store::{Engine, EventRow, Keyspace, Position, Store, StoreOptions};
use lombard_store_cassandra::CassandraOptions;

use support::{assert_once_each, connect, marker, nodes_of, once_at_last, options};

const PARTITIONS: u64 = 4;

/// Operations on four partitions by two processes, until told to stop. Each operation is
/// called again with its id until it is answered. Gives how many were done of each partition.
async fn work(keyspaces: &[Keyspace], stop: &AtomicBool) -> Vec<u64> {
    let ids: Vec<AtomicU64> = (0..PARTITIONS).map(|_| AtomicU64::new(0)).collect();
    let client = |process: usize, partition: usize| {
        let (keyspace, ids) = (&keyspaces[process], &ids);
        async move {
            while !stop.load(Ordering::Relaxed) {
                let id = ids[partition].fetch_add(1, Ordering::Relaxed);
                once_at_last(keyspace, &[partition as u8], id).await;
            }
        }
    };
    let clients = (0..PARTITIONS as usize).flat_map(|partition| {
        // Of most partitions there is one writer; the first has two.
        let processes = if partition == 0 {
            0..2
        } else {
            partition % 2..partition % 2 + 1
        };
        processes.flat_map(move |process| [(process, partition); 2])
    });
    join_all(clients.map(|(process, partition)| client(process, partition))).await;
    ids.into_iter().map(AtomicU64::into_inner).collect()
}

/// Every operation once, and every one of them as one event, in order.
async fn assert_all_there(keyspace: &Keyspace, done: &[u64]) {
    for (partition, operations) in (0_u8..).zip(done) {
        assert_once_each(keyspace, &[partition], *operations).await;
    }
    let total: u64 = done.iter().sum();
    let (mut after, mut events) = (Position(0), Vec::<EventRow>::new());
    // What had an unknown outcome shows when the horizon has passed it.
    for _ in 0..300 {
        let page = keyspace.events(after, 100).await.unwrap();
        after = page.next;
        events.extend(page.events);
        if events.len() as u64 >= total && !page.more {
            break;
        }
        if !page.more {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    assert_eq!(events.len() as u64, total, "an event of each operation");
    assert!(events.iter().map(|event| event.position).is_sorted());
    for (partition, operations) in (0_u8..).zip(done) {
        let own = events
            .iter()
            .filter(|event| event.partition.key.as_ref() == [partition]);
        let mut keys: Vec<_> = own.map(|event| event.key.to_vec()).collect();
        keys.sort_unstable();
        assert!(keys.into_iter().eq((0..*operations).map(marker)));
    }
}

#[test]
fn nothing_is_lost_or_done_twice_while_nodes_die_hang_and_come_back() {
    let name = "nothing_is_lost_or_done_twice_while_nodes_die_hang_and_come_back";
    let Some(cluster) = testing::started(name, Cluster::start(&Options::default())) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let options = CassandraOptions {
        request_timeout_ms: 3_000,
        fence_after_ms: 5_000,
        ..options(&nodes_of(&cluster))
    };
    let keyspaces: Vec<Keyspace> = runtime.block_on(async {
        let mut keyspaces = Vec::new();
        for instance in 0..2 {
            let engine = Arc::new(connect(&options).await.unwrap());
            let store = Store::new(engine, StoreOptions::new(instance));
            keyspaces.push(store.keyspace("check").await.unwrap());
        }
        keyspaces
    });
    let stop = AtomicBool::new(false);
    let done = std::thread::scope(|scope| {
        let working = scope.spawn(|| runtime.block_on(work(&keyspaces, &stop)));
        // Stopped also if a step fails, so that the test ends.
        let steps = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait(3);
            cluster.kill9(2).unwrap();
            wait(5);
            cluster.start_node(2).unwrap();
            cluster.agree().unwrap();
            cluster.pause(3).unwrap();
            wait(10);
            cluster.resume(3).unwrap();
            wait(3);
            cluster.stop(1).unwrap();
            wait(3);
            cluster.start_node(1).unwrap();
            cluster.agree().unwrap();
            wait(3);
        }));
        stop.store(true, Ordering::Relaxed);
        let done = working.join().unwrap();
        steps.unwrap();
        done
    });
    runtime.block_on(async {
        for keyspace in &keyspaces {
            assert_all_there(keyspace, &done).await;
        }
    });
    let total: u64 = done.iter().sum();
    let figures = keyspaces[0].store().info().figures;
    eprintln!("{total} operations; {figures:?}");
}

#[expect(clippy::disallowed_methods, reason = "real nodes, real time")]
fn wait(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}

/// A cluster whose third node has been killed.
fn two_of_three() -> Option<Vec<String>> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    let cluster = CLUSTER.get_or_init(|| {
        let cluster = Cluster::start(&Options::default());
        let cluster = testing::started("conformance with a node killed", cluster)?;
        cluster.kill9(3).unwrap();
        Some(cluster)
    });
    cluster.as_ref().map(nodes_of)
}

struct OnTwoOfThree {
    options: CassandraOptions,
}

#[async_trait]
impl Subject for OnTwoOfThree {
    async fn open(&self) -> Arc<dyn Engine> {
        Arc::new(connect(&self.options).await.unwrap())
    }

    fn partitions_many(&self) -> u32 {
        2_000
    }
}

mod conformance_with_a_node_killed {
    use super::*;

    lombard_store::conformance!(match two_of_three() {
        Some(nodes) => OnTwoOfThree {
            options: options(&nodes)
        },
        None => return,
    });
}
