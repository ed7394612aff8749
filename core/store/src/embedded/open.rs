//! The engine as its host holds it.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rand::RngCore;

use crate::error::StoreError;
use crate::limits;
use crate::port::{
    Engine, EngineInfo, EventPage, KeyspaceId, LocalEngine, PartitionId, PartitionRef, Position,
    Snapshot, Verdict, Version, Wanted,
};
use crate::rows::{Changes, Rows};

use super::catalog::{Catalog, list};
use super::checkpoint;
use super::clock;
use super::core::{Core, Signal, Tables};
use super::disk::{Disk, RealDisk};
use super::figures::Figures;
use super::index::Index;
use super::lock::{LOCK_FILE, lock};
use super::log::Log;
use super::manifest::Manifest;
use super::memtable::Memtable;
use super::moment::WallClock;
use super::options::{EmbeddedOptions, OpenReport};
use super::recover;
use super::rewrite;
use super::segment::{Segment, SegmentHeader};
use super::segments::Segments;
use super::view::Stored;
use super::writer;

/// The folder of the log's segments, within the store's folder.
pub(super) const LOG_FOLDER: &str = "log";
const INDEX_FOLDER: &str = "index";
/// The first segment is small: a new store is ready at once.
const FIRST_SEGMENT_BYTES: u32 = 4 << 20;

/// A clock that is further behind the log's newest moment is worth a warning.
const CLOCK_BEHIND_US: u64 = 1_000_000;

/// An engine that keeps everything in one folder of this machine.
pub struct Embedded {
    core: Arc<Core>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Merges in the index: what it is in the middle of may take some seconds.
    merging: Mutex<Option<JoinHandle<()>>>,
    folder: PathBuf,
    /// Held as long as the engine is.
    _lock: File,
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Embedded({})", self.folder.display())
    }
}

impl Embedded {
    /// Opens the store in `folder`, making an empty one where there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if another process has it open or the disk refuses;
    /// [`StoreError::Damaged`] names what cannot be read and where.
    pub fn open(folder: &Path, options: EmbeddedOptions) -> Result<(Self, OpenReport), StoreError> {
        Self::open_on(Arc::new(RealDisk), folder, options)
    }

    /// As [`Embedded::open`], and the log says of each flush when it was: what is archived
    /// of it can be restored to a moment.
    ///
    /// # Errors
    /// As [`Embedded::open`].
    pub fn open_with_clock(
        folder: &Path,
        options: EmbeddedOptions,
        clock: WallClock,
    ) -> Result<(Self, OpenReport), StoreError> {
        Self::open_with(Arc::new(RealDisk), folder, options, Some(clock))
    }

    /// As [`Embedded::open`], with log and manifest on this disk. (The index is on the
    /// machine's own: it can be made anew.)
    ///
    /// # Errors
    /// As [`Embedded::open`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        folder: &Path,
        options: EmbeddedOptions,
    ) -> Result<(Self, OpenReport), StoreError> {
        Self::open_with(disk, folder, options, None)
    }

    /// As [`Embedded::open_on`] and, if there is a clock, [`Embedded::open_with_clock`].
    ///
    /// # Errors
    /// As [`Embedded::open`].
    pub fn open_with(
        disk: Arc<dyn Disk>,
        folder: &Path,
        options: EmbeddedOptions,
        clock: Option<WallClock>,
    ) -> Result<(Self, OpenReport), StoreError> {
        let started = clock::now();
        options.check()?;
        let log_folder = folder.join(LOG_FOLDER);
        fs::create_dir_all(&log_folder).map_err(|error| {
            StoreError::Unavailable(format!("cannot make {}: {error}", log_folder.display()))
        })?;
        let lock = lock(folder, LOCK_FILE, "stop it first, or use its address")?;
        // A process that was killed may have left names that are not durable yet, and what
        // they stand for is relied on and removed from here on.
        disk.sync_folder(&log_folder)
            .and_then(|()| disk.sync_folder(folder))
            .map_err(cannot_write(folder))?;

        let segments = Arc::new(Segments::default());
        let mut manifest = match Manifest::read(&*disk, folder)? {
            Some(manifest) => {
                for segment in recover::find_segments(&*disk, &log_folder, &manifest)? {
                    if !manifest.lists(segment.number) {
                        // It was being made, perhaps: whole before a manifest lists it.
                        recover::keep(&segment)?;
                    }
                    segments.insert(segment);
                }
                if manifest.is_of_older_format() {
                    // At once, so that a program that would say no moments refuses it from now on.
                    manifest
                        .write(&*disk, folder)
                        .map_err(cannot_write(folder))?;
                    tracing::info!(folder = %folder.display(), "the store has the newest format now: versions of this program from before do not open it any more");
                }
                manifest
            }
            None => begin(&*disk, folder, &log_folder, &options, &segments)?,
        };
        let index_folder = folder.join(INDEX_FOLDER);
        let index_rebuilt = !Index::is_there(&index_folder) && manifest.checkpoint > 0;
        if index_rebuilt {
            // First this, so that a crash while it is made anew does not leave half of it in use.
            manifest.checkpoint = 0;
            manifest.checkpoint_until = 0;
            manifest
                .write(&*disk, folder)
                .map_err(cannot_write(folder))?;
        }
        let index = Index::open(&index_folder, &options)?;
        for (id, _) in &manifest.keyspaces {
            index.add_keyspace(KeyspaceId(*id))?;
        }

        let figures = Arc::new(Figures::default());
        let store = manifest.store;
        let archived = AtomicU64::new(manifest.archived);
        let tables = Tables {
            memtable: Memtable::new(options.partitions_idle_max, options.rows_kept_bytes_max),
            stored: Stored {
                index,
                segments: segments.clone(),
                figures: figures.clone(),
            },
            catalog: Catalog::new(disk.clone(), folder.to_path_buf(), manifest),
            figures: figures.clone(),
            options: options.clone(),
        };
        rewrite::resume(&*disk, &log_folder, &tables)?;
        let replayed = recover::replay(&*disk, &tables, clock)?;
        let ahead_us = replayed.head.moments.ahead_us();
        if ahead_us > CLOCK_BEHIND_US {
            tracing::warn!(
                ahead_s = ahead_us / 1_000_000,
                "the clock is behind the newest moment of the log: until it is there again, moments to restore to rise by a microsecond with each flush"
            );
        }
        let report = OpenReport {
            segments: segments.in_order().len(),
            replayed_records: replayed.records,
            index_rebuilt,
            torn_tail: replayed.torn,
            took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        let log = Log::new(
            disk,
            log_folder,
            store,
            options,
            figures,
            segments,
            replayed.head,
        );
        let core = Arc::new(Core {
            tables,
            log: Arc::new(log),
            checkpoint_wanted: Signal::default(),
            checkpoint_asked: AtomicBool::new(false),
            memory_freed: Signal::default(),
            merge_wanted: Signal::default(),
            rewriting: Mutex::new(()),
            archived,
            followed: Mutex::default(),
        });
        let engine = Self {
            core: core.clone(),
            threads: Mutex::default(),
            merging: Mutex::default(),
            folder: folder.to_path_buf(),
            _lock: lock,
        };
        // Where the second or third cannot be started, dropping the engine ends the others.
        let log = core.log.clone();
        engine.start("lombard-log", move || writer::write_frames(&log))?;
        let log = core.log.clone();
        engine.start("lombard-space", move || writer::make_segments(&log))?;
        let compacting = core.clone();
        let merging = writer::thread("lombard-merge", move || checkpoint::merge(&compacting))?;
        *engine.merging.lock() = Some(merging);
        engine.start("lombard-index", move || checkpoint::run(&core))?;
        Ok((engine, report))
    }

    fn start(&self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        let handle = writer::thread(name, run)?;
        self.threads.lock().push(handle);
        Ok(())
    }

    /// Makes everything that was sequenced durable and stops. What is asked for
    /// afterwards is refused as closed. Dropping the engine does the same, and also
    /// waits for what is being merged in the index, some seconds at most, which
    /// a process that ends need not wait for.
    pub fn close(&self) {
        self.core.log.close();
        self.core.checkpoint_wanted.raise();
        self.core.memory_freed.raise();
        self.core.merge_wanted.raise();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            // A thread that panicked has said so on its way out.
            let _ = thread.join();
        }
    }

    /// What its threads and callers share.
    pub(super) fn core(&self) -> &Core {
        &self.core
    }

    /// The folder that it is in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.close();
        if let Some(merging) = self.merging.lock().take() {
            // One that panicked has said so on its way out.
            let _ = merging.join();
        }
    }
}

fn cannot_write(folder: &Path) -> impl Fn(std::io::Error) -> StoreError + Copy + '_ {
    move |error| StoreError::Unavailable(format!("cannot write in {}: {error}", folder.display()))
}

/// Makes the first segment and the first manifest, in this order: a manifest never lists what is not there.
fn begin(
    disk: &dyn Disk,
    folder: &Path,
    log_folder: &Path,
    options: &EmbeddedOptions,
    segments: &Segments,
) -> Result<Manifest, StoreError> {
    let cannot = cannot_write(folder);
    for name in disk.list(log_folder).map_err(cannot)? {
        // Only the first segment, and nothing in it, can be there without a manifest.
        let is_first = name == super::segment::file_name(1);
        if super::segment::number_of(&name).is_some() && (!is_first || !is_empty(disk, log_folder)?)
        {
            return Err(StoreError::Damaged(format!(
                "{} has a log and no MANIFEST: restore it from a backup",
                folder.display()
            )));
        }
    }
    let header = SegmentHeader {
        number: 1,
        base: 0,
        span: u64::from(options.segment_bytes.min(FIRST_SEGMENT_BYTES)),
        store: store_number(),
    };
    let segment = Segment::create(disk, log_folder, header).map_err(cannot)?;
    segments.insert(Arc::new(segment));
    let manifest = Manifest {
        store: header.store,
        segments: list(segments),
        ..Manifest::default()
    };
    manifest.write(disk, folder).map_err(cannot)?;
    disk.sync_folder(folder).map_err(cannot)?;
    Ok(manifest)
}

fn is_empty(disk: &dyn Disk, log_folder: &Path) -> Result<bool, StoreError> {
    match Segment::open(disk, log_folder, 1)? {
        super::segment::Opened::Unfinished(_) => Ok(true),
        super::segment::Opened::Segment(_, segment) => {
            Ok(super::reader::remains(&segment, super::segment::HEADER_PAGE_BYTES)?.bytes == 0)
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "tells this store's files from those of any other; no run depends on it"
)]
pub(super) fn store_number() -> u64 {
    rand::rng().next_u64()
}

#[async_trait]
impl Engine for Embedded {
    fn info(&self) -> EngineInfo {
        let core = &self.core;
        let mut figures: Vec<(String, String)> = core
            .tables
            .figures
            .all()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_string()))
            .collect();
        let segments = core.tables.stored.segments.in_order();
        let log_bytes: u64 = segments
            .iter()
            .map(|segment| segment.file.size().unwrap_or(0))
            .sum();
        let mut more = |name: &str, value: u64| figures.push((name.to_owned(), value.to_string()));
        more("log_segments", segments.len() as u64);
        more("log_bytes", log_bytes);
        more("index_bytes", core.tables.stored.index.disk_bytes());
        more("index_runs", core.tables.stored.index.runs() as u64);
        more("memtable_bytes", core.tables.memtable.bytes() as u64);
        more("rows_kept_bytes", core.tables.memtable.kept_bytes() as u64);
        more(
            "partitions_in_memory",
            core.tables.memtable.partitions() as u64,
        );
        more("durable_position", core.log.durability.position());
        more("sequenced_position", core.log.position());
        more(
            "checkpoint_position",
            core.tables.catalog.manifest().checkpoint,
        );
        if let Some(error) = core.log.refusing() {
            figures.push(("refusing_writes".to_owned(), error.to_string()));
        }
        EngineInfo {
            name: "embedded".to_owned(),
            durability: "fdatasync before acknowledgement".to_owned(),
            figures,
        }
    }

    async fn keyspace(&self, name: &str) -> Result<KeyspaceId, StoreError> {
        limits::check_keyspace(name)?;
        self.core
            .tables
            .catalog
            .keyspace(name, &self.core.tables.stored.index)
    }

    async fn read(
        &self,
        partition: &PartitionId,
        wanted: &[Wanted],
    ) -> Result<Snapshot, StoreError> {
        limits::check_partition(&partition.key)?;
        let mut found = Ok(Vec::new());
        let mut version = Version(0);
        let position = self.core.read(partition.borrowed(), &mut |rows| {
            version = rows.version();
            found = wanted
                .iter()
                .map(|wanted| match wanted {
                    Wanted::Row(key) => Ok(rows
                        .get(key)?
                        .map(|value| (key.clone(), value))
                        .into_iter()
                        .collect()),
                    Wanted::Range(range) => rows.range(range),
                })
                .collect::<Result<Vec<_>, _>>();
        })?;
        match found {
            Ok(found) => Ok(Snapshot {
                version,
                found,
                position,
            }),
            Err(crate::Fault::Store(error)) => Err(error),
            // Here every row is at hand.
            Err(crate::Fault::NotLoaded) => {
                Err(StoreError::Unavailable("a row was not loaded".into()))
            }
        }
    }

    async fn commit(
        &self,
        partition: &PartitionId,
        expected: Version,
        changes: Changes,
    ) -> Result<Option<Position>, StoreError> {
        limits::check_partition(&partition.key)?;
        self.core.commit(partition.borrowed(), expected, &changes)
    }

    async fn durable(&self, position: Position) -> Result<(), StoreError> {
        self.core.log.durable(position.0).await
    }

    async fn partitions(
        &self,
        keyspace: KeyspaceId,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        let mut keys = self.core.tables.memtable.keys(keyspace, after);
        // After memory: what a checkpoint moves meanwhile is found in both, never in neither.
        keys.extend(
            self.core
                .tables
                .stored
                .index
                .partitions(keyspace, after, limit)?,
        );
        keys.sort_unstable();
        keys.dedup();
        keys.truncate(limit);
        Ok(keys)
    }

    async fn events(
        &self,
        keyspace: KeyspaceId,
        after: Position,
        limit: usize,
    ) -> Result<EventPage, StoreError> {
        self.core.events(keyspace, after, limit)
    }

    fn position(&self) -> Position {
        Position(self.core.log.position())
    }

    fn local(&self) -> Option<&dyn LocalEngine> {
        Some(self)
    }
}

impl LocalEngine for Embedded {
    fn update(
        &self,
        partition: PartitionRef<'_>,
        run: &mut dyn FnMut(&mut Rows<'_>) -> Verdict,
    ) -> Result<Position, StoreError> {
        limits::check_partition(partition.key)?;
        self.core.update(partition, run)
    }

    fn read(
        &self,
        partition: PartitionRef<'_>,
        run: &mut dyn FnMut(&Rows<'_>),
    ) -> Result<Position, StoreError> {
        limits::check_partition(partition.key)?;
        self.core.read(partition, run)
    }
}
