//! Backup, its check, and restoring it.
//!
//! A backup is the log up to a durable position, and a manifest. It has no
//! index: opening what was restored makes that anew. It is taken while the store
//! runs: segments before the head do not change, and of the head only what is
//! durable is copied.

use std::collections::HashMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::StoreError;

use super::core::Core;
use super::disk::{Disk, RealDisk, read_up_to, write_all_at};
use super::manifest::Manifest;
use super::open::{Embedded, LOG_FOLDER};
use super::reader::{Reader, Step};
use super::record::{Kind, partition_crc, row_crc};
use super::recover::find_segments;
use super::segment::Segment;

const COPY_BYTES: usize = 1 << 20;

/// What a backup has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupReport {
    /// Segments of the log.
    pub segments: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// Commits, verified. Zero where they were only copied.
    pub commits: u64,
    /// Rows in them.
    pub rows: u64,
    /// Partitions.
    pub partitions: u64,
    /// The position that it goes up to.
    pub position: u64,
}

impl Embedded {
    /// Copies the store, as it is now, into a folder that does not exist yet. Commits go on.
    /// It reads and writes as much as the log has, on the thread that it is called on.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the folder exists or cannot be written;
    /// [`StoreError::Damaged`] if the store itself cannot be read.
    pub async fn backup(&self, to: &Path) -> Result<BackupReport, StoreError> {
        let core = self.core();
        core.log.durable(core.log.position()).await?;
        // No segment is rewritten, and so none removed, until this is done.
        let _still = core.rewriting.lock();
        copy_store(core, to)
    }
}

fn copy_store(core: &Core, to: &Path) -> Result<BackupReport, StoreError> {
    let durable = core.log.durability.position();
    let log_folder = begin(to)?;
    let mut report = BackupReport {
        position: durable,
        ..BackupReport::default()
    };
    let mut manifest = core.tables.catalog.manifest();
    let segments = core.tables.stored.segments.in_order();
    manifest.checkpoint = 0;
    manifest.checkpoint_until = 0;
    manifest.rewriting = None;
    manifest.segments.clear();
    for segment in segments.iter().filter(|segment| segment.base < durable) {
        let size = segment.size;
        let until = if segment.is_rewritten() {
            size
        } else {
            size.min(durable - segment.base)
        };
        copy_segment(segment, &log_folder, until, size)?;
        manifest.segments.push(super::manifest::ListedSegment {
            number: segment.number,
            dead: segment.dead.load(Ordering::Relaxed),
        });
        report.segments += 1;
        report.bytes += size;
    }
    finish(to, &log_folder, &manifest)?;
    Ok(report)
}

/// Verifies a backup, or the folder of a store that was stopped in order: every
/// record and row, that segments and versions follow each other, and that
/// nothing stands behind the end.
///
/// # Errors
/// [`StoreError::Damaged`] names segment and offset.
pub fn verify_backup(folder: &Path) -> Result<BackupReport, StoreError> {
    let (manifest, segments) = read_store(folder)?;
    let mut report = BackupReport {
        segments: segments.len(),
        ..BackupReport::default()
    };
    let gapless = !segments.iter().any(|segment| segment.is_rewritten());
    // By hash: a clash of two partitions would only hide a gap, never report one falsely.
    let hasher = RandomState::new();
    let mut versions: HashMap<u64, u64> = HashMap::new();
    for (at, segment) in segments.iter().enumerate() {
        report.bytes += segment.size;
        let mut reader = Reader::new(segment.clone(), 0, segment.until());
        let sealed = loop {
            let offset = u64::from(reader.offset());
            match reader.next()? {
                Step::Record(record) => {
                    report.position = record.header.position;
                    match record.header.kind {
                        Kind::Mark => continue,
                        Kind::Seal => break true,
                        Kind::Commit => {}
                    }
                    let id = record.partition();
                    if !manifest
                        .keyspaces
                        .iter()
                        .any(|(known, _)| *known == id.keyspace.0)
                    {
                        return Err(segment.damaged(offset, "its keyspace is not in the manifest"));
                    }
                    let crc = partition_crc(id.borrowed());
                    for row in record.rows() {
                        let row = row.ok_or_else(|| {
                            segment.damaged(offset, "a row within the record does not parse")
                        })?;
                        if row_crc(crc, &row.key, &row.value) != row.crc {
                            return Err(segment.damaged(
                                u64::from(row.offset),
                                &format!(
                                    "the checksum of row {} of {id:?} is wrong",
                                    row.key.escape_ascii()
                                ),
                            ));
                        }
                        report.rows += 1;
                    }
                    report.commits += 1;
                    let next = record.header.version;
                    let before = versions.insert(hasher.hash_one(&id), next).unwrap_or(0);
                    if next <= before || (gapless && next != before + 1) {
                        return Err(segment.damaged(
                            offset,
                            &format!("partition {id:?} goes from version {before} to {next}"),
                        ));
                    }
                }
                Step::End => {
                    let left = super::reader::remains(segment, offset as u32)?;
                    if left.bytes > 0 {
                        return Err(segment.damaged(offset, "zeros within the log"));
                    }
                    break segment.is_rewritten();
                }
                Step::Bad(why) => return Err(segment.damaged(offset, why)),
            }
        };
        let is_last = at + 1 == segments.len();
        let empty_behind = || -> Result<bool, StoreError> {
            for next in segments.get(at + 1..).unwrap_or_default() {
                if super::reader::remains(next, super::segment::HEADER_PAGE_BYTES)?.bytes > 0 {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        if sealed && is_last && !segment.is_rewritten() {
            return Err(StoreError::Damaged(format!(
                "the segment after {} is missing",
                segment.name()
            )));
        }
        if !sealed {
            if !empty_behind()? {
                return Err(segment.damaged(
                    u64::from(reader.offset()),
                    "the log ends here and goes on in the next segment",
                ));
            }
            break;
        }
    }
    report.partitions = versions.len() as u64;
    Ok(report)
}

/// Copies a verified backup into a folder that does not exist yet; opening that
/// makes its index anew.
///
/// # Errors
/// As [`verify_backup`]; [`StoreError::Unavailable`] if `to` exists or cannot be written.
pub fn restore(from: &Path, to: &Path) -> Result<BackupReport, StoreError> {
    let report = verify_backup(from)?;
    let (mut manifest, segments) = read_store(from)?;
    let log_folder = begin(to)?;
    for segment in &segments {
        let size = segment.size;
        copy_segment(segment, &log_folder, size, size)?;
    }
    manifest.checkpoint = 0;
    manifest.checkpoint_until = 0;
    finish(to, &log_folder, &manifest)?;
    Ok(report)
}

/// The manifest and the segments of a folder, read only.
pub(super) fn read_store(folder: &Path) -> Result<(Manifest, Vec<Arc<Segment>>), StoreError> {
    let disk = super::readonly::ReadOnly;
    let Some(manifest) = Manifest::read(&disk, folder)? else {
        return Err(StoreError::Damaged(format!(
            "{} has no MANIFEST: it is no store",
            folder.display()
        )));
    };
    let segments = find_segments(&disk, &folder.join(LOG_FOLDER), &manifest)?;
    let old = manifest
        .rewriting
        .as_ref()
        .map(|rewriting| rewriting.old.clone())
        .unwrap_or_default();
    let segments = segments
        .into_iter()
        .filter(|segment| !old.contains(&segment.number))
        .collect();
    Ok((manifest, segments))
}

fn begin(to: &Path) -> Result<std::path::PathBuf, StoreError> {
    let cannot = |error: io::Error| {
        StoreError::Unavailable(format!("cannot make {}: {error}", to.display()))
    };
    if to.exists() {
        return Err(cannot(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "it exists; give a folder that does not",
        )));
    }
    let log_folder = to.join(LOG_FOLDER);
    fs::create_dir_all(&log_folder).map_err(cannot)?;
    Ok(log_folder)
}

fn copy_segment(
    segment: &Segment,
    log_folder: &Path,
    until: u64,
    size: u64,
) -> Result<(), StoreError> {
    let path = log_folder.join(segment.name());
    let cannot = |error: io::Error| {
        StoreError::Unavailable(format!("cannot copy to {}: {error}", path.display()))
    };
    let file = RealDisk.create(&path).map_err(cannot)?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = 0;
    while at < until {
        let want = (until - at).min(COPY_BYTES as u64) as usize;
        let part = buffer.get_mut(..want).unwrap_or_default();
        let read = read_up_to(&*segment.file, part, at)
            .map_err(|error| segment.damaged(at, &format!("cannot be read: {error}")))?;
        if read == 0 {
            return Err(segment.damaged(at, "the file ends before the log does"));
        }
        write_all_at(&*file, part.get(..read).unwrap_or_default(), at).map_err(cannot)?;
        at += read as u64;
    }
    if until < size {
        // The rest of the head, so that the log can go on in it.
        buffer.fill(0);
        while at < size {
            let want = (size - at).min(COPY_BYTES as u64) as usize;
            write_all_at(&*file, buffer.get(..want).unwrap_or_default(), at).map_err(cannot)?;
            at += want as u64;
        }
    }
    file.sync_data().map_err(cannot)
}

/// The manifest last: a folder without one is no store.
fn finish(to: &Path, log_folder: &Path, manifest: &Manifest) -> Result<(), StoreError> {
    RealDisk
        .sync_folder(log_folder)
        .and_then(|()| manifest.write(&RealDisk, to))
        .and_then(|()| {
            to.parent()
                .map_or(Ok(()), |parent| RealDisk.sync_folder(parent))
        })
        .map_err(|error| StoreError::Unavailable(format!("cannot write {}: {error}", to.display())))
}
