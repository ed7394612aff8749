//! Letting go of what is older than anyone will restore to.

use std::path::Path;

use crate::error::StoreError;

use super::super::disk::{Disk, RealDisk};
use super::contents::Contents;
use super::error::{ArchiveError, Point};
use super::pass::sweep;
use super::{Archive, LOCK, take};

/// What was let go of, and what stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    /// Bases, with what only they needed.
    pub bases: usize,
    /// Files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The oldest that can be restored now.
    pub oldest: Point,
}

impl Archive {
    /// Removes the bases before the newest one from which this moment (microseconds since
    /// 1970) can be restored, and the files that only they need.
    ///
    /// # Errors
    /// [`ArchiveError::InUse`] while a pass is made; [`ArchiveError::TooEarly`]: no base is as
    /// old, so nothing can go; the disk's.
    pub fn prune(folder: &Path, before_us: u64) -> Result<Pruned, ArchiveError> {
        if !Self::is_there(folder) {
            return Err(ArchiveError::NotAnArchive(folder.to_path_buf()));
        }
        let _lock = take(folder, LOCK)?;
        let cannot = |error: std::io::Error| {
            StoreError::Unavailable(format!("cannot write in {}: {error}", folder.display()))
        };
        // As a pass does.
        RealDisk.sync_folder(folder).map_err(cannot)?;
        let Some(mut contents) = Contents::read(&RealDisk, folder)? else {
            return Err(ArchiveError::NotAnArchive(folder.to_path_buf()));
        };
        let oldest = |contents: &Contents, at: usize| {
            let chain = contents.chains.get(at);
            chain.map(|chain| chain.oldest(&contents.files).point())
        };
        let serves = |at: &usize| {
            let from = oldest(&contents, *at).and_then(|oldest| oldest.moment_us);
            from.is_some_and(|from_us| from_us <= before_us)
        };
        let Some(first) = (0..contents.chains.len()).rev().find(serves) else {
            return Err(ArchiveError::TooEarly {
                asked: Point {
                    position: None,
                    moment_us: Some(before_us),
                },
                oldest: oldest(&contents, 0).unwrap_or_default(),
            });
        };
        let bytes = contents.bytes();
        contents.chains.drain(..first);
        let files = contents.forget_unneeded().len();
        contents.write(&RealDisk, folder).map_err(cannot)?;
        sweep(&RealDisk, folder, &contents);
        Ok(Pruned {
            bases: first,
            files,
            bytes: bytes.saturating_sub(contents.bytes()),
            oldest: oldest(&contents, 0).unwrap_or_default(),
        })
    }
}
