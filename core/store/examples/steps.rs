//! What each step of the embedded engine costs: transfers of two commits and six
//! rows, as a ledger makes them, one thread, durable in batches of 8,192.
//!
//! `cargo run --release -p lombard-store --example steps -- TRANSFERS PARTITIONS`

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a measurement: it stops at the first thing that is wrong, and its clock is the machine's"
)]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::executor::block_on;
use lombard_store::embedded::{Disk, DiskFile, Embedded, EmbeddedOptions, RealDisk};
use lombard_store::{Engine, KeyspaceId, LocalEngine, PartitionId, Rows, Verdict};
use lsm_tree::{AbstractTree, AnyTree, Config, SequenceNumberCounter};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: u64 = 8_192;
/// Rows of the tree that is filled by insertion, before they are written as a table.
const TREE_MEMORY_BYTES: u64 = 64 << 20;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |usual: u64| -> u64 {
        arguments
            .next()
            .map_or(usual, |text| text.parse().expect("a number"))
    };
    let (transfers, partitions) = (number(2_000_000), number(10_000));
    println!("{transfers} transfers over {partitions} partitions, durable in batches of {BATCH}");
    let log_only = EmbeddedOptions {
        checkpoint_bytes: 64 << 30,
        memtable_bytes_max: 64 << 30,
        checkpoint_interval_ms: 0,
        ..EmbeddedOptions::default()
    };
    let real: Arc<dyn Disk> = Arc::new(RealDisk);
    let cached: Arc<dyn Disk> = Arc::new(ThroughPageCache);
    let load = |disk, options| Load::new(disk, options, partitions);
    load(cached, log_only.clone()).run("the log alone, through the page cache", transfers);
    load(real.clone(), log_only.clone()).run("the log alone, past the page cache", transfers);
    let mut inserting = load(real.clone(), log_only);
    inserting.tree = Some(Tree::new());
    inserting.run("… and the rows inserted in an LSM tree", transfers);
    load(real, EmbeddedOptions::default()).run(
        "… and the rows ingested in order by checkpoints: the engine",
        transfers,
    );
}

struct Load {
    engine: Embedded,
    keyspace: KeyspaceId,
    partitions: u64,
    tree: Option<Tree>,
    _folder: tempfile::TempDir,
}

impl Load {
    fn new(disk: Arc<dyn Disk>, options: EmbeddedOptions, partitions: u64) -> Self {
        let folder = tempfile::tempdir_in(".").expect("a folder");
        let (engine, _) = Embedded::open_on(disk, folder.path(), options).expect("a store");
        let keyspace = block_on(engine.keyspace("steps")).expect("a keyspace");
        Self {
            engine,
            keyspace,
            partitions,
            tree: None,
            _folder: folder,
        }
    }

    fn run(mut self, what: &str, transfers: u64) {
        let (started, mut longest) = (Instant::now(), Duration::ZERO);
        let mut last = Instant::now();
        for transfer in 0..transfers {
            // Spread over the partitions, and the same every time.
            let from = transfer.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            self.commit(from % self.partitions, b'n', transfer, 150);
            self.commit(
                (from + 1 + transfer % 7) % self.partitions,
                b'm',
                transfer,
                40,
            );
            if (transfer + 1) % BATCH == 0 {
                block_on(self.engine.durable(self.engine.position())).expect("durable");
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
        }
        block_on(self.engine.durable(self.engine.position())).expect("durable");
        let rate = transfers as f64 / started.elapsed().as_secs_f64();
        println!(
            "{what:<64} {rate:>9.0}/s, longest batch {:>5} ms",
            longest.as_millis()
        );
    }

    /// A posting, a row by id, and where the account stands.
    fn commit(&mut self, partition: u64, kind: u8, transfer: u64, bytes: usize) {
        let id = PartitionId {
            keyspace: self.keyspace,
            key: Bytes::from(format!("account-{partition:06}")),
        };
        let mut posting = [b'j'; 9];
        posting[1..].copy_from_slice(&transfer.to_be_bytes());
        let mut by_id = [kind; 17];
        by_id[1..9].copy_from_slice(&transfer.to_be_bytes());
        LocalEngine::update(&self.engine, id.borrowed(), &mut |rows: &mut Rows<'_>| {
            rows.append(posting.to_vec(), vec![1; 170]);
            rows.put_new(by_id.to_vec(), vec![2; bytes]);
            rows.put(&b"s"[..], vec![3; 80]);
            Verdict::Commit(rows.take_changes())
        })
        .expect("sequenced");
        if let Some(tree) = &mut self.tree {
            for row in [&posting[..], &by_id[..], b"s"] {
                tree.insert(&id.key, row);
            }
        }
    }
}

/// An index that is filled row by row.
struct Tree {
    tree: AnyTree,
    seqno: u64,
    bytes: u64,
    _folder: tempfile::TempDir,
}

impl Tree {
    fn new() -> Self {
        let folder = tempfile::tempdir_in(".").expect("a folder");
        let counter = SequenceNumberCounter::default;
        let tree = Config::new(folder.path(), counter(), counter())
            .open()
            .expect("a tree");
        Self {
            tree,
            seqno: 1,
            bytes: 0,
            _folder: folder,
        }
    }

    fn insert(&mut self, partition: &[u8], row: &[u8]) {
        let place = [7_u8; 12];
        let (bytes, _) = self
            .tree
            .insert([partition, row].concat(), place, self.seqno);
        self.seqno += 1;
        self.bytes = self.bytes.max(bytes);
        if bytes > TREE_MEMORY_BYTES {
            self.tree.flush_active_memtable(0).expect("a table");
            let strategy = Arc::new(lsm_tree::compaction::Leveled::default());
            self.tree.compact(strategy, self.seqno).expect("merged");
        }
    }
}

/// The machine's disk, written as files usually are.
struct ThroughPageCache;

struct CachedFile(Arc<dyn DiskFile>);

impl Disk for ThroughPageCache {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(CachedFile(RealDisk.create(path)?)))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(CachedFile(RealDisk.open(path)?)))
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(folder)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        RealDisk.sync_folder(folder)
    }
    fn fill_zeros(&self, path: &Path, from: u64, to: u64) -> io::Result<()> {
        RealDisk.fill_zeros(path, from, to)
    }
    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(folder)
    }
}

impl DiskFile for CachedFile {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(into, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
