//! A disk of its own for an engine's data, so small that it can be filled: memory, mounted in
//! a mount namespace of its own, which lives as long as a process that does nothing else.

use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::{Doing, Error};
use crate::identity::Identity;
use crate::launch::{Launch, Lifetime, Running};
use crate::patience::Deadline;
use crate::programs;

/// What takes the space.
const BALLAST: &str = "ballast";
const BALLAST_CHUNK_BYTES: usize = 1 << 20;
/// How long a mount may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A small disk. It is gone, with all that is on it, when this is dropped.
#[derive(Debug)]
pub struct Disk {
    place: PathBuf,
    holder: Running,
}

impl Disk {
    /// Whether this system lets us have one (`unshare -Urm` and `mount`).
    pub fn allowed() -> bool {
        let mut mount = Command::new("unshare");
        mount.args(["-Urm", "mount", "-t", "tmpfs", "none", "/mnt"]);
        programs::run(&mut mount).is_ok_and(|output| output.status.success())
    }

    /// Mounts one on a folder, for those who [enter](Self::enter). What `log` is told is why
    /// it cannot be.
    ///
    /// # Errors
    /// The system does not allow it.
    pub fn mount(place: &Path, mib: u32, log: &Path) -> Result<Self, Error> {
        let script = format!("mount -t tmpfs -o size={mib}m none \"$0\" && exec sleep infinity");
        let words = ["unshare", "-Urm", "sh", "-c", &script].map(OsString::from);
        let mut words = Vec::from(words);
        words.push(place.into());
        // It works beside the disk, so that it ends with whatever works there.
        let folder = place.parent().unwrap_or(place);
        let holder = Launch {
            identity: &Identity::Ours,
            words,
            folder,
            log,
            lifetime: Lifetime::Guarded,
        };
        let mut disk = Self {
            place: place.to_owned(),
            holder: holder.start()?,
        };
        let outside = device(place);
        let mounted = Deadline::after(PATIENCE).until(Duration::from_millis(5), || {
            if disk.holder.ended().is_some() {
                return Some(false);
            }
            let inside = device(&disk.inside());
            (inside.is_some() && inside != outside).then_some(true)
        });
        if mounted == Some(true) {
            return Ok(disk);
        }
        Err(Error::State {
            engine: "engines".to_owned(),
            what: format!(
                "no small disk could be mounted on {}:\n{}",
                place.display(),
                programs::tail(log, 3)
            ),
        })
    }

    /// What stands before the command of a process that is to see it, by its whole path: its
    /// working directory is this one, where the disk is not.
    pub fn enter(&self, folder: &Path) -> Vec<OsString> {
        let pid = self.holder.process().pid;
        vec![
            "nsenter".into(),
            format!("--target={pid}").into(),
            "--user".into(),
            "--mount".into(),
            "--preserve-credentials".into(),
            format!("--wd={}", folder.display()).into(),
        ]
    }

    /// Takes all the space that is left.
    ///
    /// # Errors
    /// It cannot be written to, for another reason than that it is full.
    pub fn fill(&self) -> Result<(), Error> {
        let path = self.inside().join(BALLAST);
        let about = || format!("writing {}", path.display());
        let mut ballast = File::create(&path).doing(about)?;
        let mut chunk = vec![0; BALLAST_CHUNK_BYTES];
        while !chunk.is_empty() {
            match ballast.write_all(&chunk) {
                Ok(()) => {}
                // The last bytes, too.
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    chunk.truncate(chunk.len() / 2);
                }
                Err(error) => return Err(error).doing(about),
            }
        }
        Ok(())
    }

    /// Gives the space back.
    ///
    /// # Errors
    /// The system's.
    pub fn empty(&self) -> Result<(), Error> {
        let path = self.inside().join(BALLAST);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed.doing(|| format!("removing {}", path.display())),
        }
    }

    /// The disk, as a process outside sees it.
    fn inside(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.process().pid));
        root.join(self.place.strip_prefix("/").unwrap_or(&self.place))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.holder.process().kill_tree();
        self.holder.end(PATIENCE);
    }
}

/// The number of the device that a folder is on.
fn device(folder: &Path) -> Option<u64> {
    Some(folder.metadata().ok()?.dev())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_disk_is_full_and_then_it_is_not() {
        if !Disk::allowed() {
            // If nobody reads it, nobody counts it.
            let _written = writeln!(
                std::io::stderr(),
                "\nSKIPPED a_small_disk: environment: no mount namespace of our own (unshare \
                 -Urm) is allowed here"
            );
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("data");
        std::fs::create_dir(&place).unwrap();
        let disk = Disk::mount(&place, 4, &folder.path().join("log")).unwrap();
        let write = |name: &str| {
            let mut words = disk.enter(folder.path());
            words.extend(["sh", "-c", "echo x > \"$0\""].map(OsString::from));
            words.push(place.join(name).into());
            programs::run(Command::new(&words[0]).args(&words[1..])).unwrap()
        };
        assert!(write("a").status.success());
        disk.fill().unwrap();
        assert!(!write("b").status.success());
        disk.empty().unwrap();
        assert!(write("b").status.success());
        // Whoever does not enter it does not see it.
        assert!(!place.join("a").exists());
    }
}
