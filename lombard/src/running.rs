//! `DATA/running.json`: where the bank that runs on this folder listens.
//!
//! `up` and `run` write it when everything answers and remove it when they
//! stop; other commands read it. After a crash it is left over, so it counts
//! only while its process is alive.

use std::collections::BTreeMap;
use std::io;
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
pub struct Announced(PathBuf);

impl Running {
    /// Writes the file: whole, or not at all.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn announce(&self, data: &Path) -> io::Result<Announced> {
        let path = data.join(FILE);
        let draft = data.join(format!("{FILE}.draft"));
        std::fs::write(&draft, serde_json::to_vec(self)?)?;
        std::fs::rename(&draft, &path)?;
        Ok(Announced(path))
    }

    /// The bank that runs on this folder, if one does.
    pub fn find(data: &Path) -> Option<Self> {
        let text = std::fs::read(data.join(FILE)).ok()?;
        let running: Self = serde_json::from_slice(&text).ok()?;
        alive(running.pid).then_some(running)
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        // Left over it does no harm: its process is gone.
        let _gone = std::fs::remove_file(&self.0);
    }
}

/// Whether the process is there. Where this cannot be told, the connection will.
fn alive(pid: u32) -> bool {
    let proc = Path::new("/proc");
    !proc.join("self").exists() || proc.join(pid.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(pid: u32) -> Running {
        Running {
            pid,
            addresses: BTreeMap::from([("ledger".to_owned(), "127.0.0.1:7400".to_owned())]),
        }
    }

    #[test]
    fn a_running_bank_is_found_until_it_stops() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Running::find(folder.path()), None);
        let own = running(std::process::id());
        let announced = own.announce(folder.path()).unwrap();
        assert_eq!(Running::find(folder.path()), Some(own));
        drop(announced);
        assert_eq!(Running::find(folder.path()), None);
    }

    #[test]
    fn what_a_crash_left_over_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        // Above the greatest process number that Linux gives.
        let left_over = running(1 << 30).announce(folder.path()).unwrap();
        assert_eq!(Running::find(folder.path()), None);
        drop(left_over);
    }
}
