//! Opening: finds the log's segments, reads what lies behind the checkpoint
//! into memory, and finds out where the log ends.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::StoreError;

use super::checkpoint;
use super::core::Tables;
use super::disk::{Disk, write_all_at};
use super::known::Known;
use super::log::Head;
use super::manifest::Manifest;
use super::moment::{Moments, WallClock};
use super::options::TornTail;
use super::reader::{Reader, Step, remains};
use super::record::{Kind, Record, RowIn, RowKind};
use super::segment::{
    HEADER_PAGE_BYTES, Opened, Place, REWRITTEN_FROM, Segment, file_name, number_of,
};
use super::table::Before;
use super::tail::{Noted, Tail};

/// Finds the segments that the manifest lists and those that came after it was
/// written, and removes what was being made when the process died.
///
/// # Errors
/// [`StoreError::Damaged`] names a segment that is missing or not of this store.
pub(super) fn find_segments(
    disk: &dyn Disk,
    folder: &Path,
    manifest: &Manifest,
) -> Result<Vec<Arc<Segment>>, StoreError> {
    let names = disk
        .list(folder)
        .map_err(|error| StoreError::Unavailable(format!("{}: {error}", folder.display())))?;
    let there: BTreeSet<u32> = names.iter().filter_map(|name| number_of(name)).collect();
    let listed: BTreeMap<u32, u64> = manifest
        .segments
        .iter()
        .map(|segment| (segment.number, segment.dead))
        .collect();
    for number in listed.keys() {
        if !there.contains(number) {
            return Err(StoreError::Damaged(format!(
                "segment {} is missing in {}",
                file_name(*number),
                folder.display()
            )));
        }
    }
    let last_listed = listed
        .range(..REWRITTEN_FROM)
        .next_back()
        .map_or(0, |(number, _)| *number);
    let mut segments = Vec::new();
    for number in there {
        let is_new = number > last_listed && number < REWRITTEN_FROM;
        if !listed.contains_key(&number) && !is_new {
            // Rewritten away, or the copy of a rewriting that did not get far.
            remove(disk, &folder.join(file_name(number)))?;
            continue;
        }
        match Segment::open(disk, folder, number)? {
            Opened::Segment(header, _) if header.store != manifest.store => {
                return Err(StoreError::Damaged(format!(
                    "segment {} belongs to another store",
                    file_name(number)
                )));
            }
            Opened::Segment(_, segment) => {
                segment
                    .dead
                    .store(listed.get(&number).copied().unwrap_or(0), Ordering::Relaxed);
                segments.push(Arc::new(segment));
            }
            Opened::Unfinished(path) if is_new => remove(disk, &path)?,
            Opened::Unfinished(path) => {
                return Err(StoreError::Damaged(format!(
                    "segment {} at offset 0: the header is gone",
                    path.display()
                )));
            }
        }
    }
    segments.sort_by_key(|segment| segment.base);
    let replaced: &[u32] = manifest
        .rewriting
        .as_ref()
        .map_or(&[], |rewriting| &rewriting.old);
    let log: Vec<_> = segments
        .iter()
        .filter(|segment| !replaced.contains(&segment.number))
        .collect();
    for pair in log.windows(2) {
        if let [before, after] = pair
            && before.end() != after.base
        {
            return Err(StoreError::Damaged(format!(
                "a segment is missing between {} and {} in {}",
                before.name(),
                after.name(),
                folder.display()
            )));
        }
    }
    Ok(segments)
}

fn remove(disk: &dyn Disk, path: &Path) -> Result<(), StoreError> {
    disk.remove(path).map_err(|error| {
        StoreError::Unavailable(format!("cannot remove {}: {error}", path.display()))
    })
}

/// What replaying found.
pub(super) struct Replayed {
    pub(super) head: Head,
    pub(super) records: u64,
    pub(super) torn: Option<TornTail>,
}

/// Reads the log behind the checkpoint into memory, cuts a torn tail, and finds the head.
///
/// # Errors
/// [`StoreError::Damaged`] names segment and offset.
pub(super) fn replay(
    disk: &dyn Disk,
    tables: &Tables,
    clock: Option<WallClock>,
) -> Result<Replayed, StoreError> {
    let segments = tables.stored.segments.in_order();
    let manifest = tables.catalog.manifest();
    let checkpoint = manifest.checkpoint;
    // Between the records that rewriting kept, versions are missing.
    let gapless = !segments
        .iter()
        .any(|segment| segment.is_rewritten() && segment.end() > checkpoint);
    let mut replay = Replay {
        tables,
        gapless,
        index_until: manifest.checkpoint_until,
        records: 0,
        last_commit: checkpoint,
        newest_us: manifest.newest_us,
    };
    for (at, segment) in segments.iter().enumerate() {
        if segment.end() <= checkpoint {
            continue;
        }
        // In a rewritten one (there is one here if a keyspace alone was restored) positions do
        // not tell where a record stands; what the index has of it is left out below.
        let start = if segment.is_rewritten() {
            0
        } else {
            checkpoint.saturating_sub(segment.base) as u32
        };
        let later = segments.get(at + 1..).unwrap_or_default();
        match replay.segment(segment, start)? {
            End::Sealed if later.is_empty() => {
                return Err(StoreError::Damaged(format!(
                    "segment {} is missing: the one before says that the log goes on in it",
                    file_name(segment.number + 1)
                )));
            }
            End::Sealed => keep(segment)?,
            End::At(offset, why) => {
                let torn = cut(segment, offset, why, later)?;
                keep(segment)?;
                let spare = keep_spare(disk, tables, later)?;
                return Ok(Replayed {
                    head: Head {
                        segment: segment.clone(),
                        offset,
                        spare,
                        last_commit: replay.last_commit,
                        moments: Moments::new(clock, replay.newest_us),
                    },
                    records: replay.records,
                    torn,
                });
            }
        }
    }
    Err(StoreError::Damaged(
        "the log has no segment to go on in".into(),
    ))
}

/// The empty segment after the head becomes the spare; it is in the list again when it is used.
fn keep_spare(
    disk: &dyn Disk,
    tables: &Tables,
    later: &[Arc<Segment>],
) -> Result<Option<Arc<Segment>>, StoreError> {
    let fits = |segment: &&Arc<Segment>| segment.span == u64::from(tables.options.segment_bytes);
    let spare = later.first().filter(fits).cloned();
    let gone: Vec<u32> = later.iter().map(|segment| segment.number).collect();
    tables.stored.segments.replace(&gone, &[]);
    // A checkpoint lists every segment there is. First the manifest, then the files:
    // it never lists what is not there.
    let manifest = tables.catalog.manifest();
    if (manifest.segments.iter()).any(|listed| gone.contains(&listed.number)) {
        tables.catalog.update(|manifest| {
            manifest
                .segments
                .retain(|listed| !gone.contains(&listed.number));
        })?;
    }
    // The last one first, one by one: whatever a crash leaves of it, none is missing between
    // two that are there.
    for segment in later.iter().skip(usize::from(spare.is_some())).rev() {
        remove(disk, &segment.path)?;
        let folder = segment.path.parent().unwrap_or(Path::new("."));
        disk.sync_folder(folder).map_err(|error| {
            StoreError::Unavailable(format!("cannot write {}: {error}", folder.display()))
        })?;
    }
    Ok(spare)
}

enum End {
    /// The log goes on in the next segment.
    Sealed,
    /// The records end here; why, if what stands there is not zeros.
    At(u32, Option<&'static str>),
}

struct Replay<'a> {
    tables: &'a Tables,
    gapless: bool,
    /// Nothing behind this position was in the index when this began.
    index_until: u64,
    records: u64,
    last_commit: u64,
    /// The newest moment that a mark says, as far as was read.
    newest_us: u64,
}

impl Replay<'_> {
    fn segment(&mut self, segment: &Arc<Segment>, start: u32) -> Result<End, StoreError> {
        let until = segment.until();
        let mut reader = Reader::new(segment.clone(), start, until);
        loop {
            let offset = reader.offset();
            match reader.next()? {
                Step::Record(record) => {
                    let moment_us = record.header.moment_us();
                    self.newest_us = self.newest_us.max(moment_us.unwrap_or(0));
                    match record.header.kind {
                        Kind::Commit => self.record(segment, &record)?,
                        Kind::Mark => {}
                        Kind::Seal => return Ok(End::Sealed),
                    }
                }
                Step::End if segment.is_rewritten() => {
                    if offset == until {
                        return Ok(End::Sealed);
                    }
                    return Err(segment.damaged(u64::from(offset), "zeros within the log"));
                }
                Step::Bad(why) if segment.is_rewritten() => {
                    return Err(segment.damaged(u64::from(offset), why));
                }
                Step::End => return Ok(End::At(offset, None)),
                Step::Bad(why) => return Ok(End::At(offset, Some(why))),
            }
        }
    }

    fn record(&mut self, segment: &Segment, record: &Record) -> Result<(), StoreError> {
        let tables = self.tables;
        self.last_commit = record.header.position;
        let damaged = |why: String| segment.damaged(u64::from(record.offset), &why);
        let id = record.partition();
        let slot = tables.memtable.slot(id.borrowed());
        let mut state = slot.state.lock();
        let version = match state.version {
            Some(version) => version,
            // The index may have it already.
            None if record.header.position <= self.index_until => tables
                .stored
                .index
                .version(&id)
                .map_err(|error| damaged(format!("partition {id:?}: {error}")))?
                .unwrap_or_default(),
            None => record.header.version.saturating_sub(1),
        };
        if state.version.is_none() && version == 0 {
            state.known = Known::nothing_there();
        }
        state.version = Some(version);
        let next = record.header.version;
        if next <= version {
            // The checkpoint that was running already had it.
            return Ok(());
        }
        if self.gapless && next != version + 1 {
            return Err(damaged(format!(
                "partition {id:?} goes from version {version} to {next}"
            )));
        }
        tables.memtable.mark_dirty(&slot, &mut state);
        let mut bytes = state.active.add_record(record.bytes.clone());
        let rows: Vec<RowIn> = record
            .rows()
            .collect::<Option<_>>()
            .ok_or_else(|| damaged("a row within the record does not parse".into()))?;
        if next == 1 {
            state.tail = Tail::first(rows.iter().map(noted));
        }
        for row in &rows {
            if next > 1 {
                state.tail.note(&noted(row));
            }
            let place = Place {
                segment: segment.number,
                offset: row.offset,
                len: row.len,
            };
            let at = row.offset - record.offset;
            let deleted = row.kind == RowKind::Delete;
            if row.kind == RowKind::Event {
                bytes += state.active.put_new(&row.key, at, place);
                state.known.note_new(&row.key);
                continue;
            }
            bytes += state
                .active
                .put(&row.key, at, place, deleted, || Before::Unknown);
            state.known.note(&row.key);
        }
        tables.memtable.add_bytes(bytes);
        state.version = Some(next);
        state.position = record.header.position;
        drop(state);
        self.records += 1;
        if tables.memtable.active_bytes() > tables.options.checkpoint_bytes {
            // All of it was in the log before this process began. The index must not know more
            // than will be found there after a crash.
            keep(segment)?;
            let frozen = checkpoint::freeze(tables, record.header.position);
            checkpoint::write(tables, &frozen, record.header.position, self.newest_us)?;
            checkpoint::thaw(tables, frozen);
        }
        Ok(())
    }
}

/// Makes durable what was read of a segment: what a process that was killed had written last
/// is found, and may not have reached the disk.
pub(super) fn keep(segment: &Segment) -> Result<(), StoreError> {
    segment.file.sync_data().map_err(|error| {
        StoreError::Unavailable(format!("cannot write segment {}: {error}", segment.name()))
    })
}

fn noted(row: &RowIn) -> Noted<'_> {
    Noted {
        key: &row.key,
        is_event: row.kind == RowKind::Event,
        deleted: row.kind == RowKind::Delete,
    }
}

/// Decides whether the log ends here, in a torn tail, or is damaged; a torn tail is overwritten with zeros.
fn cut(
    segment: &Segment,
    offset: u32,
    why: Option<&str>,
    later: &[Arc<Segment>],
) -> Result<Option<TornTail>, StoreError> {
    let why = why.unwrap_or("zeros within the log");
    let left = remains(segment, offset)?;
    if left.was_durable {
        return Err(segment.damaged(
            u64::from(offset),
            &format!("{why}; records behind it show that it was written and made durable"),
        ));
    }
    for next in later {
        if remains(next, HEADER_PAGE_BYTES)?.bytes > 0 {
            return Err(segment.damaged(
                u64::from(offset),
                &format!("{why}; but the log goes on in segment {}", next.name()),
            ));
        }
    }
    if left.bytes == 0 {
        return Ok(None);
    }
    let zeros = vec![0u8; left.bytes as usize];
    write_all_at(&*segment.file, &zeros, u64::from(offset)).map_err(|error| {
        StoreError::Unavailable(format!(
            "cannot cut the torn tail of {}: {error}",
            segment.name()
        ))
    })?;
    Ok(Some(TornTail {
        segment: segment.name(),
        offset: u64::from(offset),
        bytes: left.bytes,
    }))
}
