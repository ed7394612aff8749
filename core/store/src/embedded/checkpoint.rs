//! The checkpoint: writes what was committed since the last one into the
//! index, sorted, while commits go on.
//!
//! 1. Note the log's position P. Every commit up to P marked its partition
//!    dirty before it had its position, so the dirty lists have them all.
//! 2. Freeze partition by partition, each in no time: its rows, with its
//!    version. Commits behind P may be among them; that is no harm.
//! 3. Wait until all of it is durable: the index must never know more than the log.
//! 4. Write into the manifest how far the index may go from now on.
//! 5. Ingest into the index: all of a keyspace or nothing, durably.
//! 6. Write P into the manifest. Let go of the memory.
//!
//! After a crash the log is replayed from P of the last finished step 6. What
//! a partition's version in the index covers already is left out, so it does
//! not matter in which step it crashed; only up to what step 4 wrote must the
//! index be asked for that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use crate::error::StoreError;
use crate::port::{KeyspaceId, PartitionId};

use super::clock;
use super::core::{Core, Tables};
use super::memtable::FrozenSlot;
use super::rewrite;
use super::table::Before;
use super::tiers::Pace;
use super::writer::Watch;

/// Pause before a failed checkpoint is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Without a checkpoint for so long, there is not much to commit.
const QUIET: Duration = Duration::from_secs(5);

/// Added to the niceness of merging: where the processor is short it has a tenth of it.
const MERGE_NICE: i32 = 10;

/// What is frozen and must reach the index.
pub(super) struct Frozen {
    slots: Vec<FrozenSlot>,
    /// All of it up to here is among it.
    position: u64,
}

/// Freezes what was committed. `position` was the log's before this was called.
pub(super) fn freeze(tables: &Tables, position: u64) -> Frozen {
    let mut slots = tables.memtable.freeze();
    slots.sort_unstable_by(|a, b| (a.keyspace, &a.key).cmp(&(b.keyspace, &b.key)));
    Frozen { slots, position }
}

/// Writes it to the index. All of it must be durable in the log, and lie before `until`;
/// no mark before its position says a later moment than `newest_us`.
pub(super) fn write(
    tables: &Tables,
    frozen: &Frozen,
    until: u64,
    newest_us: u64,
) -> Result<(), StoreError> {
    let started = clock::now();
    let mut rows = 0;
    tables.catalog.index_goes_to(until)?;
    count_superseded(tables, &frozen.slots)?;
    for slots in frozen.slots.chunk_by(|a, b| a.keyspace == b.keyspace) {
        let keyspace = slots.first().map_or(KeyspaceId(0), |slot| slot.keyspace);
        rows += tables
            .stored
            .index
            .ingest(keyspace, slots, tables.options.inline_bytes_max)?;
    }
    tables
        .catalog
        .checkpoint(frozen.position, newest_us, &tables.stored.segments)?;
    let figures = &tables.figures;
    figures.checkpoints.add(1);
    figures.checkpoint_rows.add(rows);
    let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    figures.longest_checkpoint_ms.saw(took_ms);
    Ok(())
}

/// Lets go of the memory.
pub(super) fn thaw(tables: &Tables, frozen: Frozen) {
    tables.memtable.thaw(frozen.slots);
}

/// Counts what the frozen rows superseded; where nobody knows, the index is asked.
fn count_superseded(tables: &Tables, slots: &[FrozenSlot]) -> Result<(), StoreError> {
    let mut dead: BTreeMap<u32, u64> = BTreeMap::new();
    for slot in slots {
        for (segment, bytes) in slot.frozen.rows.dead() {
            *dead.entry(segment).or_default() += u64::from(bytes);
        }
        if !slot.frozen.rows.has_unknown() {
            continue;
        }
        let id = PartitionId {
            keyspace: slot.keyspace,
            key: Bytes::copy_from_slice(slot.key.as_slice()),
        };
        for (key, cell) in slot.frozen.rows.iter() {
            if cell.before == Before::Unknown
                && let Some(entry) = tables.stored.index.get(&id, key)?
            {
                *dead.entry(entry.place.segment).or_default() += u64::from(entry.place.len);
            }
        }
    }
    for (segment, bytes) in dead {
        if let Some(segment) = tables.stored.segments.get(segment) {
            segment.dead.fetch_add(bytes, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Makes checkpoints until the log closes.
pub(super) fn run(core: &Arc<Core>) {
    let _watch = Watch(&core.log, "the checkpoint");
    let interval = match core.tables.options.checkpoint_interval_ms {
        0 => Duration::MAX,
        ms => Duration::from_millis(ms),
    };
    let mut seen = 0;
    let mut read_ahead_to = core.tables.catalog.manifest().checkpoint;
    loop {
        core.checkpoint_wanted.wait(seen, interval);
        seen = core.checkpoint_wanted.count();
        if core.log.is_closing() {
            return;
        }
        core.checkpoint_asked.store(false, Ordering::Relaxed);
        if core.tables.memtable.active_bytes() == 0 {
            continue;
        }
        let position = core.log.position();
        let frozen = freeze(&core.tables, position);
        // Everything that was frozen was sequenced before now.
        let newest = core.log.position();
        if futures::executor::block_on(core.log.durable(newest)).is_err() {
            // The log has ended. What is frozen is replayed at the next start.
            return;
        }
        let newest_us = core.log.newest_us();
        while let Err(error) =
            room(core).and_then(|()| write(&core.tables, &frozen, newest, newest_us))
        {
            core.tables.figures.checkpoints_failed.add(1);
            tracing::warn!(%error, "a checkpoint failed and will be tried again");
            core.checkpoint_wanted
                .wait(core.checkpoint_wanted.count(), RETRY_PAUSE);
            if core.log.is_closing() {
                return;
            }
        }
        let position = frozen.position;
        thaw(&core.tables, frozen);
        read_ahead(core, read_ahead_to, position);
        read_ahead_to = position;
        core.memory_freed.raise();
        core.merge_wanted.raise();
        rewrite_one(core);
    }
}

/// What is no longer in memory is read from the log, which was written past the page
/// cache: without this, whoever reads some of it first waits for the disk.
fn read_ahead(core: &Core, from: u64, to: u64) {
    for segment in core.tables.stored.segments.in_order() {
        let (begin, end) = (from.max(segment.base), to.min(segment.end()));
        if begin < end && !segment.is_rewritten() {
            segment.file.will_read(begin - segment.base, end - begin);
        }
    }
}

/// Rewrites segments that are worth it, the first ones; the next checkpoint goes on from there.
fn rewrite_one(core: &Core) {
    // A backup needs the segments as they are; there is a next time.
    let Some(_held) = core.rewriting.try_lock() else {
        return;
    };
    let log = &core.log;
    let done = if core.tables.catalog.manifest().rewriting.is_some() {
        // The last attempt did not get to its end.
        rewrite::resume(&*log.disk, &log.folder, &core.tables)
    } else if let Some(group) = rewrite::choose(&core.tables, core.rewritable_until()) {
        rewrite::rewrite(&*log.disk, &log.folder, &core.tables, &group)
    } else {
        Ok(())
    };
    if let Err(error) = done {
        core.tables.figures.rewrites_failed.add(1);
        tracing::warn!(%error, "segments could not be rewritten");
    }
}

/// Whether the disk has room for what the index writes. What a failed attempt leaves
/// behind is removed at the next start only, so there must not be many.
fn room(core: &Core) -> Result<(), StoreError> {
    let needed = core.tables.options.disk_reserve_bytes / 4;
    let free = core.log.disk.free_bytes(&core.log.folder).unwrap_or(0);
    if free < needed {
        return Err(StoreError::Unavailable(format!(
            "the disk has {} MiB free, the index needs {} MiB",
            free >> 20,
            needed >> 20
        )));
    }
    Ok(())
}

/// Merges what checkpoints wrote, until the log closes.
pub(super) fn merge(core: &Arc<Core>) {
    // Whoever waits for an answer goes first. (On Linux this is the thread's own.)
    if let Err(error) = rustix::process::nice(MERGE_NICE) {
        tracing::debug!(%error, "merging runs at the same priority as all else");
    }
    let mut seen = 0;
    let mut pace = Pace::Quiet;
    loop {
        let done = room(core).and_then(|()| core.tables.stored.index.compact(pace));
        let figures = &core.tables.figures;
        match done {
            Ok(count) => figures.merges.add(count),
            Err(error) => {
                tracing::warn!(%error, "merging in the index failed and will be tried again");
                figures.merges_failed.add(1)
            }
        };
        if core.log.is_closing() {
            return;
        }
        pace = if core.merge_wanted.wait(seen, QUIET) {
            Pace::Busy
        } else {
            Pace::Quiet
        };
        seen = core.merge_wanted.count();
        if core.log.is_closing() {
            return;
        }
    }
}
