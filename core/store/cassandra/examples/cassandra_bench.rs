//! The engine beside the driver alone, in one run on one cluster.
//!
//! ```text
//! cargo run --release -p lombard-store-cassandra --example cassandra_bench -- --seconds 10
//! ```
//!
//! It starts three nodes on this machine that sync each write before they acknowledge it
//! (`commitlog_sync: group`, 5 ms); with `--periodic` they sync later, and with
//! `--nodes host:port,…` it uses a cluster that runs. With `--driver` it measures the driver's
//! commits alone, on nodes that are warm: to be run in turns with `lombard bench`.
//!
//! It warms the cluster up first: a Java server is several times slower in its first half
//! minute. Every line says how many clients, partitions and operations a request there were.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a program for a person to run by hand: it is its own host"
)]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use lombard_engines::cassandra::{Cluster, CommitlogSync, Compiler, Options};
use lombard_store::{
    Direction, Engine, Keyspace, RowRange, Rows, Stop, Store, StoreOptions, Wanted,
};
use lombard_store_cassandra::{Cassandra, CassandraOptions};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::{Consistency, SerialConsistency};
use scylla::value::CqlValue;

const VALUE_BYTES: usize = 100;
/// Rows of a larger commit, half of them events: what eight transfers change in an account.
const ROWS: u64 = 16;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let named = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1).cloned()
    };
    let periodic = arguments.iter().any(|argument| argument == "--periodic");
    let mut cluster = None;
    let nodes = named("--nodes").unwrap_or_else(|| {
        let commitlog_sync = if periodic {
            CommitlogSync::Periodic { period_ms: 1_000 }
        } else {
            CommitlogSync::Group { window_ms: 5 }
        };
        let started = Cluster::start(&Options {
            compiler: Compiler::Full,
            commitlog_sync,
            ..Options::default()
        });
        let started = cluster.insert(started.unwrap());
        let points = started.contact_points();
        let points: Vec<String> = points.iter().map(ToString::to_string).collect();
        points.join(",")
    });
    let seconds: u64 = named("--seconds").map_or(10, |text| text.parse().unwrap());
    let options = CassandraOptions {
        keyspace_prefix: format!("bench{:x}", std::process::id()),
        ..CassandraOptions::of_nodes(nodes.split(','))
    };
    let ks = format!("{}_bench", options.keyspace_prefix);
    let clock = Arc::new(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        u64::try_from(since.unwrap().as_micros()).unwrap()
    });
    let engine = Arc::new(Cassandra::connect(options, clock).await.unwrap());
    println!("durability: {}", engine.info().durability);
    let store = Store::new(engine.clone(), StoreOptions::new(1));
    let keyspace = store.keyspace("bench").await.unwrap();
    let builder = SessionBuilder::new().known_nodes(nodes.split(','));
    let bare = Arc::new(Bare::new(builder.build().await.unwrap(), &ks).await);
    let run = Run {
        time: Duration::from_secs(seconds),
    };
    if arguments.iter().any(|argument| argument == "--driver") {
        run.measure("driver: commit, 32 partitions", 32, |client, step| {
            bare.clone().commit(format!("b{client}"), step, 1)
        })
        .await;
        run.measure("driver: commit, 1 partition", 1, |_, step| {
            bare.clone().commit("one".into(), step, 1)
        })
        .await;
        return;
    }
    println!("warming up");
    let warm = Run {
        time: Duration::from_secs(seconds.max(20)),
    };
    warm.measure("(warm-up)", 32, |client, step| {
        bare.clone().commit(format!("w{client}"), step, 1)
    })
    .await;

    run.measure("driver: commit, 32 partitions", 32, |client, step| {
        bare.clone().commit(format!("b{client}"), step, 1)
    })
    .await;
    run.measure(
        "driver: commit of 16 rows, 32 partitions",
        32,
        |client, step| bare.clone().commit(format!("l{client}"), step, ROWS),
    )
    .await;
    run.measure("store: commit, 32 partitions", 32, |client, step| {
        update(keyspace.clone(), format!("s{client}"), step)
    })
    .await;
    run.measure("driver: commit, 1 partition", 1, |_, step| {
        bare.clone().commit("one".into(), step, 1)
    })
    .await;
    run.measure("store: commit, 1 partition", 1, |_, step| {
        update(keyspace.clone(), "one".into(), step)
    })
    .await;
    let steps = Arc::new(AtomicU64::new(0));
    run.measure("store: commit, 1 partition", 64, |_, _| {
        let step = steps.fetch_add(1, Ordering::Relaxed);
        update(keyspace.clone(), "hot".into(), step)
    })
    .await;
    for (name, serially) in [("QUORUM", false), ("SERIAL", true)] {
        let name = format!("driver: read a row at {name}, 32 partitions");
        run.measure(&name, 32, |client, _| {
            bare.clone().read(format!("b{client}"), serially)
        })
        .await;
    }
    let one = || vec![row(0)];
    let both = || {
        let last = RowRange::prefix(b"row", Direction::Descending, 1);
        vec![row(0), Wanted::Range(last)]
    };
    for (what, wanted) in [
        ("a row", one as fn() -> Vec<Wanted>),
        ("a row and a range", both),
    ] {
        run.measure(&format!("engine: read {what}"), 32, |client, _| {
            read(engine.clone(), format!("s{client}"), wanted(), false)
        })
        .await;
        run.measure(&format!("engine: glance at {what}"), 32, |client, _| {
            read(engine.clone(), format!("s{client}"), wanted(), true)
        })
        .await;
    }
    run.measure(
        "store: first commit of a new partition",
        32,
        |client, step| update(keyspace.clone(), format!("n{client}-{step}"), 0),
    )
    .await;
    run.measure("store: commit with an event", 32, |client, step| {
        append(keyspace.clone(), format!("e{client}"), step)
    })
    .await;
    run.measure("store: commit of 16 rows, 8 events", 32, |client, step| {
        change(keyspace.clone(), format!("c{client}"), step)
    })
    .await;
    for (name, figure) in store.info().figures {
        println!("{name}: {figure}");
    }
}

struct Run {
    time: Duration,
}

impl Run {
    /// Lets clients do the work one after the other until the time is over, and says how
    /// many were done.
    async fn measure<F, W>(&self, name: &str, clients: u64, work: F)
    where
        F: Fn(u64, u64) -> W,
        W: Future<Output = bool> + Send + 'static,
        F: Clone + Send,
    {
        let begun = Instant::now();
        let end = begun + self.time;
        let one = |client: u64| {
            let work = work.clone();
            async move {
                let (mut taken, mut failed) = (Vec::new(), 0_u64);
                for step in 0.. {
                    let at = Instant::now();
                    if at >= end {
                        break;
                    }
                    if work(client, step).await {
                        taken.push(at.elapsed());
                    } else {
                        failed += 1;
                    }
                }
                (taken, failed)
            }
        };
        let done = futures::future::join_all((0..clients).map(one)).await;
        let took = begun.elapsed();
        let failed: u64 = done.iter().map(|(_, failed)| failed).sum();
        let mut taken: Vec<Duration> = done.into_iter().flat_map(|(taken, _)| taken).collect();
        taken.sort_unstable();
        let at = |thousandth: usize| {
            let place = taken.len().saturating_sub(1) * thousandth / 1_000;
            taken
                .get(place)
                .map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        println!(
            "{name:48} {clients:3} clients  {:9.1}/s  p50 {:7.2} ms  p99 {:8.2} ms  max {:8.2} ms  \
             failed {failed}",
            taken.len() as f64 / took.as_secs_f64(),
            at(500),
            at(990),
            at(1_000)
        );
    }
}

/// Conditional batches by the driver alone.
struct Bare {
    session: Session,
    advance: PreparedStatement,
    insert: PreparedStatement,
    select: PreparedStatement,
    serially: PreparedStatement,
}

impl Bare {
    async fn new(session: Session, ks: &str) -> Self {
        let create = format!(
            "CREATE TABLE {ks}.bare (partition blob, key blob, value blob, version bigint static, \
             PRIMARY KEY (partition, key))"
        );
        session.query_unpaged(create, ()).await.unwrap();
        session.await_schema_agreement().await.unwrap();
        let prepare = async |text: String| session.prepare(text).await.unwrap();
        let update = format!("UPDATE {ks}.bare SET version = ? WHERE partition = ? IF version = ?");
        let advance = prepare(update).await;
        let insert = format!("INSERT INTO {ks}.bare (partition, key, value) VALUES (?, ?, ?)");
        let insert = prepare(insert).await;
        let select =
            format!("SELECT value, version FROM {ks}.bare WHERE partition = ? AND key = ?");
        let mut select = prepare(select).await;
        select.set_consistency(Consistency::Quorum);
        let mut serially = select.clone();
        serially.set_consistency(Consistency::Serial);
        Self {
            session,
            advance,
            insert,
            select,
            serially,
        }
    }

    async fn commit(self: Arc<Self>, partition: String, step: u64, rows: u64) -> bool {
        let mut batch = Batch::new(BatchType::Unlogged);
        batch.set_consistency(Consistency::Quorum);
        batch.set_serial_consistency(Some(SerialConsistency::Serial));
        batch.append_statement(self.advance.clone());
        let version = i64::try_from(step).unwrap();
        let expected = (step > 0).then_some(CqlValue::BigInt(version));
        let partition = CqlValue::Blob(partition.into_bytes());
        let advance = vec![
            Some(CqlValue::BigInt(version + 1)),
            Some(partition.clone()),
            expected,
        ];
        let mut values = vec![advance];
        for row in 0..rows {
            batch.append_statement(self.insert.clone());
            let key = CqlValue::Blob(key(step * rows + row));
            let value = CqlValue::Blob(vec![7_u8; VALUE_BYTES]);
            values.push(vec![Some(partition.clone()), Some(key), Some(value)]);
        }
        let Ok(result) = self.session.batch(&batch, values).await else {
            return false;
        };
        let rows = result.into_rows_result().unwrap();
        let row: scylla::value::Row = rows.first_row().unwrap();
        matches!(row.columns.first(), Some(Some(CqlValue::Boolean(true))))
    }

    async fn read(self: Arc<Self>, partition: String, serially: bool) -> bool {
        let select = if serially {
            &self.serially
        } else {
            &self.select
        };
        let values = (partition.as_bytes(), key(0));
        let read = self.session.execute_unpaged(select, values).await;
        read.is_ok_and(|read| read.into_rows_result().unwrap().rows_num() == 1)
    }
}

fn key(step: u64) -> Vec<u8> {
    [b"row", &step.to_be_bytes()[..]].concat()
}

fn row(step: u64) -> Wanted {
    Wanted::Row(Bytes::from(key(step)))
}

async fn update(keyspace: Keyspace, partition: String, step: u64) -> bool {
    let rule = |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
        rows.put(key(step), vec![7_u8; VALUE_BYTES]);
        Ok(())
    };
    keyspace.update(partition.as_bytes(), rule).await.is_ok()
}

async fn append(keyspace: Keyspace, partition: String, step: u64) -> bool {
    let rule = |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
        rows.append(key(step), vec![7_u8; VALUE_BYTES]);
        Ok(())
    };
    keyspace.update(partition.as_bytes(), rule).await.is_ok()
}

async fn change(keyspace: Keyspace, partition: String, step: u64) -> bool {
    let rule = |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
        for row in 0..ROWS {
            let key = key(step * ROWS + row);
            if row % 2 == 0 {
                rows.append(key, vec![7_u8; VALUE_BYTES]);
            } else {
                rows.put(key, vec![7_u8; VALUE_BYTES]);
            }
        }
        Ok(())
    };
    keyspace.update(partition.as_bytes(), rule).await.is_ok()
}

async fn read(
    engine: Arc<Cassandra>,
    partition: String,
    wanted: Vec<Wanted>,
    glances: bool,
) -> bool {
    let keyspace = engine.keyspace("bench").await.unwrap();
    let id = lombard_store::PartitionId {
        keyspace,
        key: Bytes::from(partition),
    };
    let read = if glances {
        engine.glance(&id, &wanted).await
    } else {
        engine.read(&id, &wanted).await
    };
    read.is_ok_and(|read| read.found.iter().all(|rows| rows.len() == 1))
}
