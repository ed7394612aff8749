//! Putting a store into a new folder: from a backup, or from what an archive has.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::StoreError;

use super::backup::{BackupReport, read_store};
use super::disk::{Disk, RealDisk, read_up_to, write_all_at};
use super::manifest::Manifest;
use super::open::{LOG_FOLDER, store_number};
use super::segment::{HEADER_PAGE_BYTES, Segment, SegmentHeader, file_name};
use super::verify::verify_backup;

const COPY_BYTES: usize = 1 << 20;

/// Copies a verified backup into a folder that does not exist yet; opening that
/// makes its index anew. It is a store of its own then, with a new number: what happens
/// in it does not happen in the one that it is a copy of.
///
/// # Errors
/// As [`verify_backup`]; [`StoreError::Unavailable`] if `to` exists or cannot be written.
pub fn restore(from: &Path, to: &Path) -> Result<BackupReport, StoreError> {
    let report = verify_backup(from)?;
    let (mut manifest, segments) = read_store(from)?;
    let restoring = Restoring::begin(to)?;
    for segment in &segments {
        restoring.copy(segment, segment.size, segment.size)?;
    }
    manifest.store = restoring.store;
    manifest.checkpoint = 0;
    manifest.checkpoint_until = 0;
    manifest.archived = 0;
    manifest.rewriting = None;
    // Only what is there counts, and what is dead of it is counted again.
    manifest.segments.retain_mut(|listed| {
        listed.dead = 0;
        segments
            .iter()
            .any(|segment| segment.number == listed.number)
    });
    restoring.finish(&manifest)?;
    Ok(report)
}

/// A folder that becomes a store. Dropped before it has its manifest, nothing is left of it.
pub(super) struct Restoring {
    folder: PathBuf,
    log_folder: PathBuf,
    /// The new store's number.
    store: u64,
    finished: bool,
}

impl Restoring {
    /// Makes the folder.
    ///
    /// # Errors
    /// It exists, or cannot be made.
    pub(super) fn begin(folder: &Path) -> Result<Self, StoreError> {
        let log_folder = begin(folder)?;
        Ok(Self {
            folder: folder.to_path_buf(),
            log_folder,
            store: store_number(),
            finished: false,
        })
    }

    /// The new store's number.
    pub(super) fn store(&self) -> u64 {
        self.store
    }

    /// Copies a segment up to an offset, with zeros behind it up to its size.
    pub(super) fn copy(&self, segment: &Segment, until: u64, size: u64) -> Result<(), StoreError> {
        let header = SegmentHeader {
            number: segment.number,
            base: segment.base,
            span: segment.span,
            store: self.store,
        };
        copy_segment(segment, &self.log_folder, until, size, Some(header))
    }

    /// Writes a segment of these records; the bytes of its file.
    pub(super) fn write(
        &self,
        header: SegmentHeader,
        records: &mut (dyn Iterator<Item = Result<bytes::Bytes, StoreError>> + '_),
    ) -> Result<u64, StoreError> {
        let path = self.log_folder.join(file_name(header.number));
        let cannot = |error| cannot_write(&path, &error);
        let file = RealDisk.create(&path).map_err(cannot)?;
        let mut out = page(header);
        let mut at = 0;
        for record in records {
            out.extend_from_slice(&record?);
            if out.len() >= COPY_BYTES {
                write_all_at(&*file, &out, at).map_err(cannot)?;
                at += out.len() as u64;
                out.clear();
            }
        }
        write_all_at(&*file, &out, at).map_err(cannot)?;
        file.sync_data().map_err(cannot)?;
        Ok(at + out.len() as u64)
    }

    /// Makes a segment with nothing in it.
    pub(super) fn empty(&self, header: SegmentHeader) -> Result<(), StoreError> {
        Segment::create(&RealDisk, &self.log_folder, header)
            .map(|_| ())
            .map_err(|error| cannot_write(&self.log_folder.join(file_name(header.number)), &error))
    }

    /// The manifest last: a folder without one is no store.
    pub(super) fn finish(mut self, manifest: &Manifest) -> Result<(), StoreError> {
        finish(&self.folder, &self.log_folder, manifest)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Restoring {
    fn drop(&mut self) {
        if !self.finished {
            // Without a manifest it is no store; where it cannot be removed, a person does it.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("cannot write {}: {error}", path.display()))
}

fn page(header: SegmentHeader) -> Vec<u8> {
    let mut page = vec![0; HEADER_PAGE_BYTES as usize];
    for (to, from) in page.iter_mut().zip(header.encode()) {
        *to = from;
    }
    page
}

/// Makes a store's folder, which must not exist; the folder of its log.
pub(super) fn begin(to: &Path) -> Result<PathBuf, StoreError> {
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

/// Copies a segment up to an offset, with zeros behind it up to a size; with another
/// header, if there is one.
pub(super) fn copy_segment(
    segment: &Segment,
    log_folder: &Path,
    until: u64,
    size: u64,
    header: Option<SegmentHeader>,
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
    if let Some(header) = header {
        write_all_at(&*file, &page(header), 0).map_err(cannot)?;
    }
    file.sync_data().map_err(cannot)
}

/// The manifest last: a folder without one is no store.
pub(super) fn finish(to: &Path, log_folder: &Path, manifest: &Manifest) -> Result<(), StoreError> {
    RealDisk
        .sync_folder(log_folder)
        .and_then(|()| manifest.write(&RealDisk, to))
        .and_then(|()| {
            to.parent()
                .map_or(Ok(()), |parent| RealDisk.sync_folder(parent))
        })
        .map_err(|error| cannot_write(to, &error))
}
