//! `DATA/running.json`: where the bank that runs on this folder listens.
//!
//! `up` and `run` write it when everything answers and remove it when they
//! stop; other commands read it. After a crash it is left over, so it counts
//! only while its writer holds a lock on it, which the system takes back with
//! the process. The process's number alone would not tell: in a container every
//! life of a bank has the same one.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const FILE: &str = "running.json";

/// Where the bank listens, and as which process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The process.
    pub pid: u32,
    /// `HOST:PORT` by service.
    pub addresses: BTreeMap<String, String>,
}

/// Takes the file away when the bank stops.
#[derive(Debug)]
pub struct Announced {
    path: PathBuf,
    /// Holds the lock.
    _file: File,
}

impl Running {
    /// Writes the file: whole, or not at all.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn announce(&self, data: &Path) -> io::Result<Announced> {
        let path = data.join(FILE);
        let draft = data.join(format!("{FILE}.draft"));
        let mut file = File::create(&draft)?;
        file.lock()?;
        file.write_all(&serde_json::to_vec(self)?)?;
        std::fs::rename(&draft, &path)?;
        Ok(Announced { path, _file: file })
    }

    /// The bank that runs on this folder, if one does.
    pub fn find(data: &Path) -> Option<Self> {
        let mut file = File::open(data.join(FILE)).ok()?;
        // Shared, so that two who ask at the same time do not take each other for the bank.
        match file.try_lock_shared() {
            Ok(()) => return None,
            Err(TryLockError::WouldBlock) => {}
            // A disk without locks: the connection will tell.
            Err(TryLockError::Error(_)) => {}
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        // Left over it does no harm: nobody holds its lock.
        let _gone = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> Running {
        Running {
            pid: std::process::id(),
            addresses: BTreeMap::from([("ledger".to_owned(), "127.0.0.1:7400".to_owned())]),
        }
    }

    #[test]
    fn a_running_bank_is_found_until_it_stops() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Running::find(folder.path()), None);
        let announced = running().announce(folder.path()).unwrap();
        assert_eq!(Running::find(folder.path()), Some(running()));
        drop(announced);
        assert_eq!(Running::find(folder.path()), None);
    }

    #[test]
    fn what_a_crash_left_over_does_not_count_even_if_its_number_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let text = serde_json::to_vec(&running()).unwrap();
        std::fs::write(folder.path().join(FILE), text).unwrap();
        assert_eq!(Running::find(folder.path()), None);
    }
}
