//! As whom an engine runs. PostgreSQL refuses to be run by root, so root runs it as
//! the user `nobody`.

use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::error::{Doing, Error, Missing};
use crate::programs;

/// `nobody` and `nogroup`, on Debian as on Fedora and Alpine.
const NOBODY: u32 = 65_534;

/// As whom an engine runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// As whoever runs us.
    Ours,
    /// As `nobody`, by this `setpriv`, because we are root.
    Nobody(PathBuf),
}

impl Identity {
    /// For an engine that refuses root.
    ///
    /// # Errors
    /// We are root and there is no `setpriv`.
    pub fn unprivileged(engine: &'static str) -> Result<Self, Error> {
        if !is_root() {
            return Ok(Self::Ours);
        }
        let setpriv = programs::find("setpriv").ok_or_else(|| Missing {
            engine,
            needs: "setpriv, because it refuses to be run by root",
            found: "there is none on PATH".to_owned(),
            debian: "util-linux",
            elsewhere: "elsewhere: util-linux too, or run this as another user",
        })?;
        Ok(Self::Nobody(setpriv))
    }

    /// What stands before a command so that it runs as this one.
    pub fn prefix(&self) -> Vec<OsString> {
        match self {
            Self::Ours => Vec::new(),
            Self::Nobody(setpriv) => vec![
                setpriv.clone().into_os_string(),
                format!("--reuid={NOBODY}").into(),
                format!("--regid={NOBODY}").into(),
                "--clear-groups".into(),
                "--".into(),
            ],
        }
    }

    /// Gives it a folder and all that is in it.
    ///
    /// # Errors
    /// The system refuses.
    pub fn give(&self, path: &Path) -> Result<(), Error> {
        if *self == Self::Ours {
            return Ok(());
        }
        let about = || format!("giving {} to the user {NOBODY}", path.display());
        chown(path, Some(NOBODY), Some(NOBODY)).doing(about)?;
        if path.symlink_metadata().doing(about)?.is_dir() {
            for entry in std::fs::read_dir(path).doing(about)? {
                let entry = entry.doing(about)?;
                if !entry.file_type().doing(about)?.is_symlink() {
                    self.give(&entry.path())?;
                }
            }
        }
        Ok(())
    }

    /// Makes sure that it can reach a folder: all folders above it must be open to others.
    ///
    /// # Errors
    /// One is not; it is named.
    pub fn can_reach(&self, engine: &'static str, folder: &Path) -> Result<(), Error> {
        match self {
            Self::Ours => Ok(()),
            Self::Nobody(_) => match closed_to_others(folder) {
                None => Ok(()),
                Some(closed) => Err(Error::State {
                    engine: engine.to_owned(),
                    what: format!(
                        "it refuses to be run by root, and the user {NOBODY} that runs it instead cannot reach {}: {} is closed to others. Choose another cache folder by {}",
                        folder.display(),
                        closed.display(),
                        crate::cache::VARIABLE
                    ),
                }),
            },
        }
    }
}

/// Whether we are root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The first folder on the way, from the root, that others may not pass. Those that
/// are not there yet will be made open.
pub fn closed_to_others(folder: &Path) -> Option<PathBuf> {
    let mut way: Vec<&Path> = folder.ancestors().collect();
    way.reverse();
    way.into_iter()
        .find(|step| {
            step.metadata()
                .is_ok_and(|found| found.uid() != NOBODY && found.permissions().mode() & 0o001 == 0)
        })
        .map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_folder_on_the_way_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let inner = folder.path().join("a");
        std::fs::create_dir(&inner).unwrap();
        std::fs::set_permissions(&inner, PermissionsExt::from_mode(0o700)).unwrap();
        assert_eq!(closed_to_others(&inner.join("b")), Some(inner));
        assert_eq!(closed_to_others(Path::new("/nonexistent/b")), None);
    }

    #[test]
    fn nobody_is_reached_through_setpriv() {
        assert!(Identity::Ours.prefix().is_empty());
        let nobody = Identity::Nobody("/usr/bin/setpriv".into());
        assert_eq!(
            nobody.prefix(),
            [
                "/usr/bin/setpriv",
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "--"
            ]
        );
    }
}
