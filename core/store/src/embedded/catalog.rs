//! The manifest of an open store, and its keyspaces.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use crate::error::StoreError;
use crate::port::KeyspaceId;

use super::disk::Disk;
use super::index::Index;
use super::manifest::{ListedSegment, MANIFEST, Manifest};
use super::segments::Segments;

/// Most keyspaces of a store.
const KEYSPACES_MAX: usize = 1_000;

/// Keeps the manifest and the file in step.
pub(super) struct Catalog {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    manifest: Mutex<Manifest>,
}

impl Catalog {
    /// Of a store whose manifest says this.
    pub(super) fn new(disk: Arc<dyn Disk>, folder: PathBuf, manifest: Manifest) -> Self {
        Self {
            disk,
            folder,
            manifest: Mutex::new(manifest),
        }
    }

    /// What it says now.
    pub(super) fn manifest(&self) -> Manifest {
        self.manifest.lock().clone()
    }

    /// Changes it, durably. If that fails, nothing has changed.
    pub(super) fn update(&self, change: impl FnOnce(&mut Manifest)) -> Result<(), StoreError> {
        let mut manifest = self.manifest.lock();
        let mut changed = manifest.clone();
        change(&mut changed);
        changed.write(&*self.disk, &self.folder).map_err(|error| {
            StoreError::Unavailable(format!(
                "cannot write {}: {error}",
                self.folder.join(MANIFEST).display()
            ))
        })?;
        *manifest = changed;
        Ok(())
    }

    /// Notes that the index may have commits up to `until` from now on.
    pub(super) fn index_goes_to(&self, until: u64) -> Result<(), StoreError> {
        self.update(|manifest| {
            manifest.checkpoint_until = manifest.checkpoint_until.max(until);
        })
    }

    /// Notes that everything before `checkpoint` is in the index, that no mark there says a
    /// later moment than this, and how much of each segment is dead.
    pub(super) fn checkpoint(
        &self,
        checkpoint: u64,
        newest_us: u64,
        segments: &Segments,
    ) -> Result<(), StoreError> {
        self.update(|manifest| {
            manifest.checkpoint = manifest.checkpoint.max(checkpoint);
            manifest.newest_us = manifest.newest_us.max(newest_us);
            manifest.segments = list(segments);
        })
    }

    /// Notes how far the archive goes, so that what it lacks is not rewritten after a restart.
    pub(super) fn archived(&self, until: u64) -> Result<(), StoreError> {
        self.update(|manifest| manifest.archived = until)
    }

    /// Opens a keyspace, making it where it does not exist.
    pub(super) fn keyspace(&self, name: &str, index: &Index) -> Result<KeyspaceId, StoreError> {
        let known = self.manifest();
        if let Some((id, _)) = known.keyspaces.iter().find(|(_, known)| known == name) {
            return Ok(KeyspaceId(*id));
        }
        if known.keyspaces.len() >= KEYSPACES_MAX {
            return Err(StoreError::LimitExceeded(format!(
                "keyspace {name:?}: a store has at most {KEYSPACES_MAX}"
            )));
        }
        let mut made = Ok(KeyspaceId(0));
        self.update(|manifest| {
            // Another caller may have been here first.
            let found = manifest.keyspaces.iter().find(|(_, known)| known == name);
            let id = match found {
                Some((id, _)) => *id,
                None => {
                    manifest
                        .keyspaces
                        .iter()
                        .map(|(id, _)| *id)
                        .max()
                        .unwrap_or(0)
                        + 1
                }
            };
            made = index.add_keyspace(KeyspaceId(id)).map(|()| KeyspaceId(id));
            if made.is_ok() && found.is_none() {
                manifest.keyspaces.push((id, name.into()));
            }
        })?;
        made
    }
}

/// The segments as the manifest lists them.
pub(super) fn list(segments: &Segments) -> Vec<ListedSegment> {
    segments
        .in_order()
        .iter()
        .map(|segment| ListedSegment {
            number: segment.number,
            dead: segment.dead.load(Ordering::Relaxed),
        })
        .collect()
}
