//! Measures the embedded engine: commits of three rows of about 100 bytes, as
//! a ledger makes them, durable in batches.
//!
//! `cargo run --release -p lombard-store --example store_bench -- commits=2000000 partitions=100000 batch=8192`
//!
//! A commit reads the partition's state, looks for a marker that is not there,
//! and writes state (overwritten each time), event and marker. Arguments and
//! their defaults are in `Arguments`.
#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark measures time and starts threads"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark stops at the first failure"
)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::executor::block_on;
use lombard_store::embedded::{Embedded, EmbeddedOptions};
use lombard_store::{Engine, KeyspaceId, LocalEngine, PartitionId, Position, Rows, Verdict};

/// As the binary has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Clone)]
struct Arguments {
    /// Where the store is made; it must not exist, and stays with `keep=true`.
    folder: PathBuf,
    keep: bool,
    commits: u64,
    partitions: u64,
    threads: u64,
    /// Commits that wait for the disk together. 1: each by itself.
    batch: u64,
    value_bytes: usize,
    /// Report the rate of each so many commits.
    step: u64,
    /// After the load: look-ups of absent rows.
    lookups: u64,
    options: EmbeddedOptions,
}

impl Arguments {
    fn parse() -> Self {
        let mut arguments = Self {
            folder: PathBuf::from("target/store_bench"),
            keep: false,
            commits: 2_000_000,
            partitions: 100_000,
            threads: 1,
            batch: 8_192,
            value_bytes: 100,
            step: 1_000_000,
            lookups: 200_000,
            options: EmbeddedOptions::default(),
        };
        for argument in std::env::args().skip(1) {
            let (name, value) = argument.split_once('=').expect("arguments are name=value");
            let number = || value.parse::<u64>().expect("a number");
            match name {
                "folder" => arguments.folder = value.into(),
                "keep" => arguments.keep = value == "true",
                "commits" => arguments.commits = number(),
                "partitions" => arguments.partitions = number(),
                "threads" => arguments.threads = number(),
                "batch" => arguments.batch = number(),
                "value_bytes" => arguments.value_bytes = number() as usize,
                "step" => arguments.step = number(),
                "lookups" => arguments.lookups = number(),
                "segment_mib" => arguments.options.segment_bytes = (number() as u32) << 20,
                "checkpoint_mib" => arguments.options.checkpoint_bytes = (number() as usize) << 20,
                "memtable_mib" => arguments.options.memtable_bytes_max = (number() as usize) << 20,
                "inline_bytes" => arguments.options.inline_bytes_max = number() as usize,
                "cache_mib" => arguments.options.cache_bytes = number() << 20,
                "rewrite_live_percent" => arguments.options.rewrite_live_percent = number() as u8,
                _ => panic!("unknown argument {name}"),
            }
        }
        arguments
    }
}

/// A cheap generator: the same sequence each time.
fn mix(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn main() {
    let arguments = Arguments::parse();
    assert!(
        !arguments.folder.exists(),
        "{} exists",
        arguments.folder.display()
    );
    println!("{arguments:?}");
    let (engine, report) = Embedded::open(&arguments.folder, arguments.options.clone()).unwrap();
    println!("{report}");
    let keyspace = block_on(engine.keyspace("bench")).unwrap();

    let next = AtomicU64::new(0);
    let longest_us = AtomicU64::new(0);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads {
            scope.spawn(|| load(&engine, keyspace, &arguments, &next, &longest_us, started));
        }
    });
    let took = started.elapsed();
    println!(
        "{} commits in {:.2} s: {:.0}/s, {:.2} us each; longest batch {:.1} ms",
        arguments.commits,
        took.as_secs_f64(),
        arguments.commits as f64 / took.as_secs_f64(),
        took.as_secs_f64() * 1e6 / arguments.commits as f64,
        longest_us.load(Ordering::Relaxed) as f64 / 1000.0,
    );
    let cpu = cpu_seconds();
    println!(
        "cpu {cpu:.1} s, {:.2} us a commit; RSS {} MiB",
        cpu * 1e6 / arguments.commits as f64,
        rss_mib()
    );
    look_up_absent(&engine, keyspace, &arguments);
    std::thread::sleep(Duration::from_secs(3));
    look_up_absent(&engine, keyspace, &arguments);
    figures(&engine, &arguments);
    drop(engine);

    let started = Instant::now();
    let (engine, report) = Embedded::open(&arguments.folder, arguments.options.clone()).unwrap();
    println!(
        "reopened: {report}; {:.0} ms; RSS {} MiB",
        started.elapsed().as_secs_f64() * 1e3,
        rss_mib()
    );
    let keyspace = block_on(engine.keyspace("bench")).unwrap();
    look_up_absent(&engine, keyspace, &arguments);
    drop(engine);
    if !arguments.keep {
        std::fs::remove_dir_all(&arguments.folder).unwrap();
    }
}

fn load(
    engine: &Embedded,
    keyspace: KeyspaceId,
    arguments: &Arguments,
    next: &AtomicU64,
    longest_us: &AtomicU64,
    started: Instant,
) {
    let value = vec![b'v'; arguments.value_bytes];
    let mut step_started = started;
    loop {
        let first = next.fetch_add(arguments.batch, Ordering::Relaxed);
        if first >= arguments.commits {
            return;
        }
        let batch_started = Instant::now();
        let mut last = Position(0);
        for number in first..(first + arguments.batch).min(arguments.commits) {
            let position = one(engine, keyspace, arguments, number, &value);
            last = last.max(position);
        }
        block_on(engine.durable(last)).unwrap();
        let took = u64::try_from(batch_started.elapsed().as_micros()).unwrap();
        longest_us.fetch_max(took, Ordering::Relaxed);
        if first / arguments.step != (first + arguments.batch) / arguments.step && first > 0 {
            println!(
                "  {:>9} commits, {:.0}/s, RSS {} MiB, longest batch so far {:.1} ms",
                first + arguments.batch,
                arguments.step as f64 / step_started.elapsed().as_secs_f64(),
                rss_mib(),
                longest_us.load(Ordering::Relaxed) as f64 / 1000.0,
            );
            step_started = Instant::now();
        }
    }
}

fn partition(keyspace: KeyspaceId, number: u64) -> PartitionId {
    PartitionId {
        keyspace,
        key: Bytes::from(format!("account-{number:08}")),
    }
}

fn marker(number: u64) -> Vec<u8> {
    // As an entry's id: time first, then chance.
    let mut key = Vec::with_capacity(17);
    key.push(b'n');
    key.extend_from_slice(&number.to_be_bytes());
    key.extend_from_slice(&mix(number).to_be_bytes());
    key
}

fn one(
    engine: &Embedded,
    keyspace: KeyspaceId,
    arguments: &Arguments,
    number: u64,
    value: &[u8],
) -> Position {
    let id = partition(keyspace, mix(number) % arguments.partitions);
    engine
        .update(id.borrowed(), &mut |rows| {
            let marker = marker(number);
            let state = rows.get(b"s").unwrap();
            assert!(rows.get(&marker).unwrap().is_none(), "a commit came twice");
            let count = state.map_or(0, |state| {
                u64::from_be_bytes(state[..8].try_into().unwrap())
            }) + 1;
            let mut state = value.to_vec();
            state[..8].copy_from_slice(&count.to_be_bytes());
            rows.put(&b"s"[..], state);
            let mut event = vec![b'j'];
            event.extend_from_slice(&count.to_be_bytes());
            rows.append(event, value.to_vec());
            rows.put(marker, value.to_vec());
            Verdict::Commit(std::mem::replace(rows, Rows::new(&Empty)).into_changes())
        })
        .unwrap()
}

struct Empty;

impl lombard_store::RowSource for Empty {
    fn version(&self) -> lombard_store::Version {
        lombard_store::Version(0)
    }
    fn get(&self, _: &[u8]) -> Result<Option<Bytes>, lombard_store::Fault> {
        Ok(None)
    }
    fn range(
        &self,
        _: &lombard_store::RowRange,
    ) -> Result<Vec<lombard_store::Row>, lombard_store::Fault> {
        Ok(Vec::new())
    }
}

fn look_up_absent(engine: &Embedded, keyspace: KeyspaceId, arguments: &Arguments) {
    let mut times: Vec<f64> = Vec::with_capacity(arguments.lookups as usize);
    for number in 0..arguments.lookups {
        let id = partition(keyspace, mix(number) % arguments.partitions);
        let marker = marker(number + (1 << 50));
        let started = Instant::now();
        LocalEngine::read(engine, id.borrowed(), &mut |rows| {
            assert!(rows.get(&marker).unwrap().is_none());
        })
        .unwrap();
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "look-up of an absent row: mean {:.2} us, p50 {:.2}, p99 {:.2}, max {:.0}",
        times.iter().sum::<f64>() / times.len() as f64,
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

fn figures(engine: &Embedded, arguments: &Arguments) {
    let figures = engine.info().figures;
    for (name, value) in &figures {
        print!("{name}={value} ");
    }
    println!();
    let figure = |name: &str| -> f64 {
        figures
            .iter()
            .find(|(found, _)| found == name)
            .map_or(0.0, |(_, value)| value.parse().unwrap())
    };
    println!(
        "disk: {:.0} bytes of log and {:.0} of index a commit; {:.0} in all a row that is kept (2 a commit)",
        figure("log_bytes") / arguments.commits as f64,
        figure("index_bytes") / arguments.commits as f64,
        (figure("log_bytes") + figure("index_bytes")) / (2.0 * arguments.commits as f64),
    );
}

fn rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap_or("");
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<u64>().ok())
        .unwrap_or(0)
        >> 10
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or("");
    let fields: Vec<&str> = after.split_whitespace().collect();
    // User and system time, in hundredths of a second.
    let ticks = |at: usize| {
        fields
            .get(at)
            .and_then(|field| field.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    (ticks(11) + ticks(12)) / 100.0
}
