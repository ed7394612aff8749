//! Backup: one copy of the store, as it is now.
//!
//! A backup is the log up to a durable position, and a manifest. It has no
//! index: opening what was restored makes that anew. It is taken while the store
//! runs: segments before the head do not change, and of the head only what is
//! durable is copied.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::StoreError;

use super::core::Core;
use super::manifest::{ListedSegment, Manifest};
use super::open::{Embedded, LOG_FOLDER};
use super::recover::find_segments;
use super::restore::{begin, copy_segment, finish};
use super::segment::{HEADER_PAGE_BYTES, Segment};

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
    let mut segments = core.tables.stored.segments.in_order();
    manifest.checkpoint = 0;
    manifest.checkpoint_until = 0;
    manifest.archived = 0;
    if let Some(unfinished) = manifest.rewriting.take() {
        // The old ones have everything, and there must not be two of anything.
        segments.retain(|segment| segment.number != unfinished.new);
    }
    manifest.segments.clear();
    // With the next one: where the last record is a seal, the log goes on in it.
    let needed = segments.partition_point(|segment| segment.base < durable) + 1;
    for segment in segments.iter().take(needed) {
        let size = segment.size;
        let until = if segment.is_rewritten() {
            size
        } else {
            let durable = durable.saturating_sub(segment.base);
            size.min(durable.max(u64::from(HEADER_PAGE_BYTES)))
        };
        copy_segment(segment, &log_folder, until, size, None)?;
        manifest.segments.push(ListedSegment {
            number: segment.number,
            dead: segment.dead.load(Ordering::Relaxed),
        });
        report.segments += 1;
        report.bytes += size;
    }
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
