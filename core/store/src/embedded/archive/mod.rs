//! The archive: a base, and the log that follows it, kept outside of the store, so that
//! its state at any moment since can be restored. As PostgreSQL's base backup and
//! archived log.
//!
//! - [`pass`] copies what is new: what the log has beyond the archive's end.
//! - [`contents`] says what of the folder counts.
//! - [`ranges`] says which moments can be restored, and finds one; [`restore`] does it.
//!
//! Rewriting removes from the log what was superseded. The store leaves segments alone that
//! its archive does not have yet; where it rewrote them all the same (nobody archived for
//! too long, or the store was started anew), the log cannot follow the archive's end, and
//! the next pass takes a new base. The old one and what followed it stay.

mod alike;
mod contents;
mod error;
mod pass;
mod prune;
mod ranges;
mod restore;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::StoreError;

use super::disk::{Disk, RealDisk};
use super::lock::lock;
use contents::{CONTENTS, Contents};

pub use error::{ArchiveError, Point};
pub use pass::{ArchivePass, ArchiveProgress, NewBase};
pub use prune::Pruned;
pub use ranges::{ArchiveRange, Until};
pub use restore::Restored;

/// Held while something is written there.
const LOCK: &str = "LOCK";
/// Held by who sees to it that passes are made.
const FOLLOWER: &str = "FOLLOWER";

/// An archive, to look into and to restore from.
pub struct Archive {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    contents: Contents,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Archive({})", self.folder.display())
    }
}

impl Archive {
    /// Opens an archive. It may be made longer meanwhile; what is seen of it is what
    /// counted at this moment.
    ///
    /// # Errors
    /// [`ArchiveError::NotAnArchive`]; it is damaged.
    pub fn open(folder: &Path) -> Result<Self, ArchiveError> {
        Self::open_on(Arc::new(super::readonly::ReadOnly), folder)
    }

    /// As [`Archive::open`], on this disk.
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub fn open_on(disk: Arc<dyn Disk>, folder: &Path) -> Result<Self, ArchiveError> {
        let Some(contents) = Contents::read(&*disk, folder)? else {
            return Err(ArchiveError::NotAnArchive(folder.to_path_buf()));
        };
        Ok(Self {
            disk,
            folder: folder.to_path_buf(),
            contents,
        })
    }

    /// Whether the folder is one.
    pub fn is_there(folder: &Path) -> bool {
        folder.join(CONTENTS).is_file()
    }

    /// The number of the store that it is of.
    pub fn store(&self) -> u64 {
        self.contents.store
    }

    /// Bytes that count.
    pub fn bytes(&self) -> u64 {
        self.contents.bytes()
    }

    /// Keyspaces, by name.
    pub fn keyspaces(&self) -> Vec<String> {
        let names = self.contents.keyspaces.iter();
        names.map(|(_, name)| name.clone()).collect()
    }
}

/// Who follows a store with an archive: one at a time. Dropped, it lets another one.
#[derive(Debug)]
pub struct Follower {
    _lock: File,
}

impl Follower {
    /// Becomes the one. Makes the folder where there is none.
    ///
    /// # Errors
    /// [`ArchiveError::InUse`] names the process that is; [`ArchiveError::NotAnArchive`]: there
    /// is something else in the folder.
    pub fn of(folder: &Path) -> Result<Self, ArchiveError> {
        prepare(folder)?;
        let _lock = take(folder, FOLLOWER)?;
        Ok(Self { _lock })
    }
}

/// Makes the folder, or sees that what is there is an archive, or what is left of the
/// attempt to make one.
fn prepare(folder: &Path) -> Result<(), ArchiveError> {
    let cannot = |error: io::Error| {
        StoreError::Unavailable(format!("cannot make {}: {error}", folder.display()))
    };
    let segments = contents::segments_folder(folder);
    let ours = [CONTENTS, LOCK, FOLLOWER, contents::SEGMENTS_FOLDER];
    if folder.exists() {
        for name in RealDisk.list(folder).map_err(cannot)? {
            if !ours.contains(&name.trim_end_matches(".new")) {
                return Err(ArchiveError::NotAnArchive(folder.to_path_buf()));
            }
        }
    }
    fs::create_dir_all(&segments).map_err(cannot)?;
    Ok(())
}

fn take(folder: &Path, name: &str) -> Result<File, ArchiveError> {
    let advice = "one at a time makes an archive longer";
    lock(folder, name, advice).map_err(|error| match error {
        StoreError::Unavailable(why) if why.contains(advice) => ArchiveError::InUse(why),
        other => ArchiveError::Store(other),
    })
}
