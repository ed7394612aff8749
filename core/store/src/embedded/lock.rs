//! A folder that one process has for itself.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::Path;

use crate::error::StoreError;

/// The file that a store's folder is locked by, and that says who has it.
pub(super) const LOCK_FILE: &str = "LOCK";

/// Locks the folder by a file of this name against other processes, and says in it who has
/// it. The system takes the lock back with the process. `advice`: what whoever is refused is told to do.
///
/// # Errors
/// [`StoreError::Unavailable`] names the process that has it.
pub(super) fn lock(folder: &Path, name: &str, advice: &str) -> Result<File, StoreError> {
    let path = folder.join(name);
    let cannot = |error: io::Error| {
        StoreError::Unavailable(format!("cannot lock {}: {error}", path.display()))
    };
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            return Err(StoreError::Unavailable(format!(
                "{} is in use by another process{}: {advice}",
                folder.display(),
                if holder.trim().is_empty() {
                    String::new()
                } else {
                    format!(" ({})", holder.trim())
                },
            )));
        }
        Err(TryLockError::Error(error)) => return Err(cannot(error)),
    }
    file.set_len(0).map_err(cannot)?;
    writeln!(file, "process {}", std::process::id()).map_err(cannot)?;
    Ok(file)
}
