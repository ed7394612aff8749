//! Nodes that join a real cluster, with and without their data.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is wrong"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lombard_engines::cassandra::{AddOptions, Cluster, Options};
use lombard_engines::testing;
use lombard_store::{Keyspace, Rows, Spawner, Stop, Store, StoreError, StoreOptions, TokioSpawner};
use lombard_store_cassandra::Cassandra;

use support::{at_last, connect, counts, nodes_of, once, once_at_last, options};

/// Partitions that there are before anybody joins.
const PARTITIONS: u64 = 200;

fn name(partition: u64) -> Vec<u8> {
    format!("partition {partition}").into_bytes()
}

/// What was answered.
#[derive(Debug, Default)]
struct Answers {
    right: u64,
    /// Because a node is not believed.
    refused: u64,
    /// Such a refusal's words.
    why: String,
    /// Because nodes were too slow, on a machine where others start: no fault of the ring.
    late: u64,
    wrong: Vec<String>,
}

/// What a refusal says that is for a node without its data.
const NOT_BELIEVED: &str = "without their data";
/// What it says once the node could be asked.
const WITHOUT: &str = "auto_bootstrap is false";

/// Reads what is there, and begins what is there already, until told to stop.
async fn ask(keyspace: &Keyspace, stop: &AtomicBool) -> Answers {
    let (mut answers, mut refused) = (Answers::default(), 0);
    while !stop.load(Ordering::Relaxed) {
        for partition in 0..PARTITIONS {
            let read =
                |rows: &Rows<'_>| -> Result<bool, Stop<()>> { Ok(rows.get(b"count")?.is_some()) };
            if answers.refused > refused {
                // Refusals come at once.
                refused = answers.refused;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let found = match keyspace.read(&name(partition), read).await {
                Ok(read) => Ok(read.value.unwrap()),
                Err(error) => Err(error),
            };
            answers.take(format!("read of {partition}"), found);
            // The operation that began it: it was done, and so its first answer is given.
            let again = once(keyspace, &name(partition), 1).await;
            answers.take(
                format!("beginning of {partition} again"),
                again.map(|count| count == 1),
            );
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    answers
}

impl Answers {
    fn take(&mut self, what: String, answer: Result<bool, StoreError>) {
        match answer {
            Ok(true) => self.right += 1,
            Ok(false) => self.wrong.push(what),
            Err(StoreError::Unavailable(why)) if why.contains(NOT_BELIEVED) => {
                self.refused += 1;
                if !self.why.contains(WITHOUT) {
                    self.why = why;
                }
            }
            Err(StoreError::Unavailable(_) | StoreError::Ambiguous(_)) => self.late += 1,
            Err(error) => self.wrong.push(format!("{what}: {error}")),
        }
    }
}

async fn opened(cluster: &Cluster, prefix: &str) -> (Arc<Cassandra>, Keyspace) {
    let mut options = options(&nodes_of(cluster));
    options.keyspace_prefix = prefix.to_owned();
    let engine = Arc::new(at_last(async || connect(&options).await).await);
    let spawner: Arc<dyn Spawner> = Arc::new(TokioSpawner);
    engine.watch(&spawner);
    let store = Store::new(engine.clone(), StoreOptions::new(1));
    let keyspace = at_last(async || store.keyspace("check").await).await;
    (engine, keyspace)
}

fn strangers(engine: &Cassandra) -> usize {
    let clusters = engine.strangers();
    clusters.iter().map(|(_, strangers)| strangers.len()).sum()
}

/// Waits for what takes longer on a busy machine.
fn wait_until(is_so: impl Fn() -> bool) {
    for _ in 0..1_800 {
        if is_so() {
            return;
        }
        #[expect(clippy::disallowed_methods, reason = "a real cluster is waited for")]
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("waited for three minutes");
}

/// Asks while `change` happens, and until it shows.
fn while_asked<T>(
    runtime: &tokio::runtime::Runtime,
    keyspace: &Keyspace,
    change: impl FnOnce() -> T,
    shows: impl Fn() -> bool,
) -> (T, Answers) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| runtime.block_on(ask(keyspace, &stop)));
        let changed = change();
        wait_until(shows);
        // A while with the cluster as it is now.
        runtime.block_on(async { tokio::time::sleep(Duration::from_secs(3)).await });
        stop.store(true, Ordering::Relaxed);
        (changed, asking.join().unwrap())
    })
}

#[test]
fn a_node_without_its_data_is_not_believed_and_one_with_it_is() {
    let test = "a_node_without_its_data_is_not_believed_and_one_with_it_is";
    let Some(cluster) = testing::started(test, Cluster::start(&Options::default())) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (engine, keyspace) = runtime.block_on(opened(&cluster, "ring"));
    runtime.block_on(async {
        for partition in 0..PARTITIONS {
            assert_eq!(once_at_last(&keyspace, &name(partition), 1).await, 1);
        }
    });

    // Without its data.
    let join = || {
        cluster
            .add(AddOptions {
                auto_bootstrap: false,
            })
            .unwrap()
    };
    // Before the driver has found it, it cannot be asked.
    let told = || {
        engine.strangers().iter().any(|(_, strangers)| {
            strangers
                .iter()
                .any(|stranger| stranger.why.contains(WITHOUT))
        })
    };
    let (bad, answers) = while_asked(&runtime, &keyspace, join, told);
    assert_eq!(answers.wrong, Vec::<String>::new());
    assert!(answers.right > 0 && answers.refused > 0, "{answers:?}");
    assert!(answers.why.contains(WITHOUT), "{}", answers.why);
    assert_eq!(strangers(&engine), 1);
    let info = lombard_store::Engine::info(engine.as_ref());
    let alert = info.figures.iter().find(|(what, _)| what == "main: alert");
    assert!(
        alert.is_some_and(|(_, alert)| alert.contains("% of the ring")),
        "{info:?}"
    );
    // A process that is started now waits.
    let mut late = options(&nodes_of(&cluster));
    late.keyspace_prefix = "ring".to_owned();
    let refused = runtime.block_on(connect(&late)).unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");

    // It goes, and all is there again.
    cluster.nodetool(bad, &["decommission"]).unwrap();
    cluster.kill9(bad).unwrap();
    runtime.block_on(async {
        for partition in 0..PARTITIONS {
            once_at_last(&keyspace, &name(partition), 2).await;
            assert_eq!(counts(&keyspace, &name(partition)).await, (2, vec![1, 2]));
        }
    });
    wait_until(|| strangers(&engine) == 0);

    // With its data.
    let join = || cluster.add(AddOptions::default()).unwrap();
    let (_, answers) = while_asked(&runtime, &keyspace, join, || true);
    assert_eq!(answers.wrong, Vec::<String>::new());
    assert!(answers.right > 0, "{answers:?}");
    assert_eq!(answers.refused, 0, "{}", answers.why);
    assert_eq!(strangers(&engine), 0);
    // It is on record for whoever comes next, too.
    let next = runtime.block_on(at_last(async || connect(&late).await));
    assert_eq!(strangers(&next), 0);
}
