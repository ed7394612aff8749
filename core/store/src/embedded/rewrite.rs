//! Rewriting: segments of which most is superseded are copied, without what is
//! superseded, into one new segment that stands at their place in the log.
//!
//! 1. Write the new segment; it is durable, and not part of the log yet.
//! 2. The manifest says: rewriting, old and new.
//! 3. Ingest the new places of the copied rows into the index.
//! 4. The manifest lists the new one only. Remove the old ones.
//!
//! After a crash before 2 opening removes the copy, after 2 it does 3 and 4
//! again, after 4 it removes what is left of the old ones. Commits go on all the
//! time: only segments before the checkpoint are rewritten, and the thread that
//! writes checkpoints does it, so the index does not change meanwhile.
//!
//! What is copied keeps its position and version, so whoever follows events
//! notices nothing, and the index can be made anew from the log:
//! - a row, if the index says that it stands here;
//! - a deletion, unless the row is there again, or nothing older is left in the log;
//! - an empty record, where it was its partition's last, for its version.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};

use crate::error::StoreError;
use crate::port::{KeyspaceId, PartitionId};

use super::catalog::list;
use super::core::Tables;
use super::disk::{Disk, write_all_at};
use super::index::Placed;
use super::index_key::row_key;
use super::manifest::Rewriting;
use super::reader::{Reader, Step};
use super::record::{Draft, HEADER_BYTES, Kind, Record, RowIn, RowKind, RowOut, partition_crc};
use super::segment::{HEADER_PAGE_BYTES, Place, REWRITTEN_FROM, Segment, SegmentHeader, file_name};

/// Most segments that are rewritten into one.
const GROUP_MAX: usize = 8;
/// The copy is written in pieces of this size.
const WRITE_BYTES: usize = 1 << 20;

/// Neighbouring segments that are worth rewriting, the first ones that lie before `until`;
/// none if there are none.
pub(super) fn choose(tables: &Tables, until: u64) -> Option<Vec<Arc<Segment>>> {
    let percent = u64::from(tables.options.rewrite_live_percent);
    let until = tables.catalog.manifest().checkpoint.min(until);
    let room = u64::from(tables.options.segment_bytes / 4) * 3;
    let segments = tables.stored.segments.in_order();
    let mut group: Vec<Arc<Segment>> = Vec::new();
    let mut live_bytes = 0;
    let mut worth_it = false;
    for segment in segments {
        if segment.end() > until {
            break;
        }
        let live = segment
            .size
            .saturating_sub(segment.dead.load(Ordering::Relaxed));
        let mostly_dead = live * 100 < percent * segment.size;
        // Small ones go along with their neighbours, and together if there are some.
        let small = live < room / 8;
        let eligible = (mostly_dead || small) && !segment.damaged.load(Ordering::Relaxed);
        let fits = live_bytes + live <= room && group.len() < GROUP_MAX;
        if !(eligible && fits) {
            if worth_it {
                break;
            }
            group.clear();
            live_bytes = 0;
        }
        if eligible {
            live_bytes += live;
            group.push(segment);
            worth_it |= mostly_dead || group.len() >= GROUP_MAX / 2;
        }
    }
    (worth_it && percent > 0).then_some(group)
}

/// Rewrites these neighbours into one segment.
pub(super) fn rewrite(
    disk: &dyn Disk,
    folder: &Path,
    tables: &Tables,
    group: &[Arc<Segment>],
) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (group.first(), group.last()) else {
        return Ok(());
    };
    let all = tables.stored.segments.in_order();
    let newest = all.iter().map(|segment| segment.number).max().unwrap_or(0);
    let manifest = tables.catalog.manifest();
    let header = SegmentHeader {
        number: newest.max(REWRITTEN_FROM - 1) + 1,
        base: first.base,
        span: last.end() - first.base,
        store: manifest.store,
    };
    let nothing_before = all
        .first()
        .is_some_and(|oldest| oldest.number == first.number);
    let before: u64 = group.iter().map(|segment| segment.size).sum();

    let path = folder.join(file_name(header.number));
    let copied = copy(disk, tables, group, &path, header, nothing_before);
    let (segment, rows) = match copied {
        Ok(copied) => copied,
        Err(error) => {
            // It is no part of the log; where it cannot be removed now, opening does it.
            let _ = disk.remove(&path);
            return Err(error);
        }
    };
    let size = segment.size;
    let segment = Arc::new(segment);
    let rewriting = Rewriting {
        old: group.iter().map(|segment| segment.number).collect(),
        new: segment.number,
    };
    // From here on a row may stand in either.
    tables.stored.segments.insert(segment.clone());
    let begun = tables.catalog.update(|manifest| {
        manifest.segments = list(&tables.stored.segments);
        manifest.rewriting = Some(rewriting.clone());
    });
    if let Err(error) = begun {
        tables.stored.segments.replace(&[segment.number], &[]);
        let _ = disk.remove(&path);
        return Err(error);
    }
    place(tables, rows)?;
    finish(disk, folder, tables, &rewriting)?;
    let figures = &tables.figures;
    figures.segments_rewritten.add(group.len() as u64);
    figures
        .rewritten_bytes_freed
        .add(before.saturating_sub(size));
    Ok(())
}

/// Does again what a crash may have left undone.
pub(super) fn resume(disk: &dyn Disk, folder: &Path, tables: &Tables) -> Result<(), StoreError> {
    let Some(rewriting) = tables.catalog.manifest().rewriting else {
        return Ok(());
    };
    let Some(segment) = tables.stored.segments.get(rewriting.new) else {
        return Err(StoreError::Damaged(format!(
            "segment {} is missing",
            file_name(rewriting.new)
        )));
    };
    let mut rows = BTreeMap::new();
    each_commit(&segment, |record| {
        let id = record.partition();
        for row in record.rows() {
            let row = row.ok_or_else(|| unreadable(&segment, record))?;
            let entry = match row.kind {
                RowKind::Delete => None,
                _ => tables.stored.index.get(&id, &row.key)?,
            };
            if entry.is_some_and(|entry| rewriting.old.contains(&entry.place.segment)) {
                let at = Place {
                    segment: segment.number,
                    offset: row.offset,
                    len: row.len,
                };
                remember(&mut rows, tables, &id, &row, at);
            }
        }
        Ok(())
    })?;
    place(tables, rows)?;
    finish(disk, folder, tables, &rewriting)
}

/// New places of rows, sorted, by keyspace.
type Moved = BTreeMap<KeyspaceId, Vec<Placed>>;

fn remember(rows: &mut Moved, tables: &Tables, id: &PartitionId, row: &RowIn, place: Place) {
    let inline = row.value.len() <= tables.options.inline_bytes_max;
    rows.entry(id.keyspace).or_default().push(Placed {
        key: row_key(&id.key, &row.key),
        partition_bytes: row_key(&id.key, b"").len(),
        place,
        inline: inline.then(|| Bytes::copy_from_slice(&row.value)),
    });
}

fn place(tables: &Tables, rows: Moved) -> Result<(), StoreError> {
    for (keyspace, mut rows) in rows {
        rows.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        tables.stored.index.ingest_places(keyspace, &rows)?;
    }
    Ok(())
}

/// Takes the old ones out of the log.
fn finish(
    disk: &dyn Disk,
    folder: &Path,
    tables: &Tables,
    rewriting: &Rewriting,
) -> Result<(), StoreError> {
    tables.catalog.update(|manifest| {
        manifest.segments = list(&tables.stored.segments);
        manifest
            .segments
            .retain(|segment| !rewriting.old.contains(&segment.number));
        manifest.rewriting = None;
    })?;
    tables.stored.segments.replace(&rewriting.old, &[]);
    for old in &rewriting.old {
        // What cannot be removed now is removed when the store is opened.
        if let Err(error) = disk.remove(&folder.join(file_name(*old))) {
            tracing::warn!(%error, segment = file_name(*old), "a rewritten segment could not be removed");
        }
    }
    Ok(())
}

fn copy(
    disk: &dyn Disk,
    tables: &Tables,
    group: &[Arc<Segment>],
    path: &Path,
    header: SegmentHeader,
    nothing_before: bool,
) -> Result<(Segment, Moved), StoreError> {
    let cannot = |error: std::io::Error| {
        StoreError::Unavailable(format!("cannot write {}: {error}", path.display()))
    };
    let file = disk.create(path).map_err(cannot)?;
    let mut rows = Moved::new();
    let mut out = Vec::with_capacity(WRITE_BYTES + (WRITE_BYTES >> 2));
    let mut written = HEADER_PAGE_BYTES;
    let mut buffer = BytesMut::new();
    for segment in group {
        each_commit(segment, |record| {
            let id = record.partition();
            let live = live_rows(tables, segment, record, &id, nothing_before)?;
            let is_last = tables.stored.index.version(&id)? == Some(record.header.version);
            if live.is_empty() && !is_last {
                return Ok(());
            }
            let crc = partition_crc(id.borrowed());
            let rows_out = live.iter().map(|row| RowOut {
                key: &row.key,
                kind: row.kind,
                value: &row.value,
            });
            let draft = Draft::from_rows(
                &mut buffer,
                id.borrowed(),
                crc,
                record.header.version,
                rows_out,
            );
            let bytes = draft.finish(record.header.position);
            let mut offset = written + (out.len() + HEADER_BYTES + id.key.len()) as u32;
            for row in &live {
                let place = Place {
                    segment: header.number,
                    offset,
                    len: row.len,
                };
                offset += row.len;
                if row.kind != RowKind::Delete {
                    remember(&mut rows, tables, &id, row, place);
                }
            }
            out.extend_from_slice(&bytes);
            if out.len() >= WRITE_BYTES {
                write_all_at(&*file, &out, u64::from(written)).map_err(cannot)?;
                written += out.len() as u32;
                out.clear();
            }
            Ok(())
        })?;
    }
    write_all_at(&*file, &out, u64::from(written)).map_err(cannot)?;
    written += out.len() as u32;
    file.sync_data().map_err(cannot)?;
    let mut page = vec![0; HEADER_PAGE_BYTES as usize];
    let header_bytes = header.encode();
    page[..header_bytes.len()].copy_from_slice(&header_bytes);
    write_all_at(&*file, &page, 0).map_err(cannot)?;
    file.sync_data().map_err(cannot)?;
    if let Some(folder) = path.parent() {
        disk.sync_folder(folder).map_err(cannot)?;
    }
    let segment = Segment {
        number: header.number,
        base: header.base,
        span: header.span,
        path: path.to_path_buf(),
        file,
        dead: AtomicU64::new(0),
        size: u64::from(written),
        damaged: AtomicBool::new(false),
    };
    Ok((segment, rows))
}

fn live_rows(
    tables: &Tables,
    segment: &Segment,
    record: &Record,
    id: &PartitionId,
    nothing_before: bool,
) -> Result<Vec<RowIn>, StoreError> {
    let mut live = Vec::new();
    for row in record.rows() {
        let row = row.ok_or_else(|| unreadable(segment, record))?;
        let here = Place {
            segment: segment.number,
            offset: row.offset,
            len: row.len,
        };
        let found = tables.stored.index.get(id, &row.key)?;
        let is_live = match row.kind {
            RowKind::Delete => found.is_none() && !nothing_before,
            RowKind::Put | RowKind::Event => found.is_some_and(|entry| entry.place == here),
        };
        if is_live {
            live.push(row);
        }
    }
    Ok(live)
}

fn unreadable(segment: &Segment, record: &Record) -> StoreError {
    segment.damaged(
        u64::from(record.offset),
        "a row within the record does not parse",
    )
}

/// Runs `take` over all commits of a segment that is complete.
pub(super) fn each_commit(
    segment: &Arc<Segment>,
    mut take: impl FnMut(&Record) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let until = segment.until();
    let mut reader = Reader::new(segment.clone(), 0, until);
    loop {
        let offset = reader.offset();
        let damaged = |why: &str| {
            segment.damaged.store(true, Ordering::Relaxed);
            segment.damaged(u64::from(offset), why)
        };
        match reader.next()? {
            Step::Record(record) => match record.header.kind {
                Kind::Commit => take(&record)?,
                Kind::Mark => {}
                Kind::Seal => return Ok(()),
            },
            Step::End if segment.is_rewritten() && offset == until => return Ok(()),
            Step::End => return Err(damaged("zeros within the log")),
            Step::Bad(why) => return Err(damaged(why)),
        }
    }
}
