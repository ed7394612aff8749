//! Where installed engines are kept: fetched once by the ordinary package managers,
//! checked against a digest in this code, and compared by name and size at each use.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::{Doing, Error};
use crate::identity;
use crate::manifest::Manifest;
use crate::progress::{Tell, Tells};

/// The variable of the environment that names the cache's folder.
pub const VARIABLE: &str = "LOMBARD_ENGINES_CACHE";

const CONTENT: &str = "content";
const MANIFEST: &str = "manifest.json";

/// A folder of installed engines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The user's: `$LOMBARD_ENGINES_CACHE`, else `lombard/engines` under
    /// `$XDG_CACHE_HOME`, else under `~/.cache` (XDG Base Directory Specification).
    ///
    /// For root, the latter two only if other users can reach them, else
    /// `/var/cache/lombard/engines`: PostgreSQL refuses to be run by root, so root runs
    /// it as another user, and root's home is mostly closed to others.
    ///
    /// # Errors
    /// The environment names no folder.
    pub fn of_user() -> Result<Self, Error> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self::choose(
            variable(VARIABLE).map(PathBuf::from),
            variable("XDG_CACHE_HOME").map(PathBuf::from),
            variable("HOME").map(PathBuf::from),
            identity::is_root(),
        )
    }

    fn choose(
        own: Option<PathBuf>,
        xdg: Option<PathBuf>,
        home: Option<PathBuf>,
        root: bool,
    ) -> Result<Self, Error> {
        if let Some(folder) = own {
            let folder = std::path::absolute(&folder).doing(|| format!("finding {VARIABLE}"))?;
            return Ok(Self { folder });
        }
        let base = xdg
            .filter(|folder| folder.is_absolute())
            .or_else(|| Some(home?.join(".cache")));
        let folder = match base {
            Some(base) if !root || identity::closed_to_others(&base).is_none() => base,
            _ if root => PathBuf::from("/var/cache"),
            _ => {
                return Err(Error::State {
                    engine: "engines".to_owned(),
                    what: format!(
                        "no folder to keep them in: none of {VARIABLE}, XDG_CACHE_HOME and HOME is set"
                    ),
                });
            }
        };
        Ok(Self {
            folder: folder.join("lombard/engines"),
        })
    }

    /// This folder.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where what `cargo xtask engines start` has started keeps its data.
    pub fn running(&self, engine: &str) -> PathBuf {
        self.folder.join("running").join(engine)
    }
}

/// What is installed of one engine: its version and its digest, from this code.
#[derive(Debug, Clone, Copy)]
pub struct Package {
    /// The engine.
    pub engine: &'static str,
    /// Its version.
    pub version: &'static str,
    /// SHA-256 over names and contents, as [`Manifest::of`] makes it.
    pub sha256: &'static str,
}

/// How a package's place in the cache looks.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// It is there, in this folder.
    Whole(PathBuf),
    /// It is there and damaged; what is wrong with it.
    Damaged(String),
    /// It is not there.
    Nothing,
}

impl Package {
    fn place(&self, cache: &Cache) -> PathBuf {
        cache
            .folder
            .join(format!("{}-{}", self.engine, self.version))
    }

    /// Looks whether it is there, comparing names and sizes; with `all`, contents too.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn look(&self, cache: &Cache, all: bool) -> Result<Found, Error> {
        let place = self.place(cache);
        let content = place.join(CONTENT);
        let about = || format!("reading {}", place.display());
        let written = match std::fs::read(place.join(MANIFEST)) {
            Ok(written) => written,
            Err(_) if !place.exists() => return Ok(Found::Nothing),
            Err(_) => return Ok(Found::Damaged(format!("it has no {MANIFEST}"))),
        };
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&written) else {
            return Ok(Found::Damaged(format!("its {MANIFEST} cannot be read")));
        };
        if manifest.sha256 != self.sha256 {
            let found = &manifest.sha256;
            return Ok(Found::Damaged(format!(
                "its digest is {found}, not {}",
                self.sha256
            )));
        }
        if !content.is_dir() {
            return Ok(Found::Damaged(format!("its folder {CONTENT} is missing")));
        }
        if let Some(difference) = manifest.difference(&content).doing(about)? {
            return Ok(Found::Damaged(difference));
        }
        if all && Manifest::of(&content).doing(about)?.sha256 != self.sha256 {
            return Ok(Found::Damaged(
                "the content of a file was changed".to_owned(),
            ));
        }
        Ok(Found::Whole(content))
    }

    /// Makes sure that it is there: looks, and if need be has it fetched into a
    /// temporary folder, checks that, and moves it into its place. Of several processes
    /// that do so at once, one fetches and the others wait for it.
    ///
    /// # Errors
    /// It cannot be fetched, or is not what was pinned.
    pub fn ensure(
        &self,
        cache: &Cache,
        tell: Tell<'_>,
        fetch: impl FnOnce(&Path) -> Result<(), Error>,
    ) -> Result<PathBuf, Error> {
        if let Found::Whole(content) = self.look(cache, false)? {
            return Ok(content);
        }
        let _lock = self.lock(cache, tell)?;
        // Somebody else may have brought it meanwhile.
        match self.look(cache, false)? {
            Found::Whole(content) => return Ok(content),
            Found::Damaged(what) => {
                let place = self.place(cache);
                let at = place.display();
                tell.tell(self.engine, format!("{at} is damaged ({what}): again"));
                std::fs::remove_dir_all(&place).doing(|| format!("removing {at}"))?;
            }
            Found::Nothing => {}
        }
        self.fetch(cache, tell, fetch)
    }

    /// Removes it, if its contents are not what they were.
    ///
    /// # Errors
    /// It cannot be read or removed.
    pub fn remove_if_changed(&self, cache: &Cache, tell: Tell<'_>) -> Result<(), Error> {
        let _lock = self.lock(cache, tell)?;
        if let Found::Damaged(what) = self.look(cache, true)? {
            let place = self.place(cache);
            let at = place.display();
            tell.tell(self.engine, format!("{at} is damaged ({what}): again"));
            std::fs::remove_dir_all(&place).doing(|| format!("removing {at}"))?;
        }
        Ok(())
    }

    fn fetch(
        &self,
        cache: &Cache,
        tell: Tell<'_>,
        fetch: impl FnOnce(&Path) -> Result<(), Error>,
    ) -> Result<PathBuf, Error> {
        let about = || format!("writing to {}", cache.folder.display());
        // In the same file system, so that it can be moved into its place at once.
        let temporary = tempfile::Builder::new()
            .prefix(".fetching-")
            .tempdir_in(&cache.folder)
            .doing(about)?;
        let content = temporary.path().join(CONTENT);
        fetch(&content)?;
        tell.tell(self.engine, "checking what was fetched".to_owned());
        let manifest = Manifest::of(&content).doing(about)?;
        if manifest.sha256 != self.sha256 {
            return Err(Error::Damaged {
                engine: self.engine,
                folder: content,
                what: format!(
                    "what was fetched as version {} has the digest {}, and {} is expected: not installed",
                    self.version, manifest.sha256, self.sha256
                ),
            });
        }
        let written = serde_json::to_vec_pretty(&manifest).doing(about)?;
        std::fs::write(temporary.path().join(MANIFEST), written).doing(about)?;
        // Whatever the umask: another user may run it.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(temporary.path(), open).doing(about)?;
        let place = self.place(cache);
        std::fs::rename(temporary.path(), &place).doing(about)?;
        // Nothing is left there to be removed.
        let _moved = temporary.keep();
        Ok(place.join(CONTENT))
    }

    /// Held as long as the file is open.
    pub(crate) fn lock(&self, cache: &Cache, tell: Tell<'_>) -> Result<File, Error> {
        let path = cache.folder.join(format!(".{}.lock", self.engine));
        let about = || format!("locking {}", path.display());
        std::fs::create_dir_all(&cache.folder).doing(about)?;
        let file = File::create(&path).doing(about)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            tell.tell(
                self.engine,
                "waiting for another process that installs it".to_owned(),
            );
            flock(&file, FlockOperation::LockExclusive).doing(about)?;
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::progress::Progress;

    /// `printf '%s  jar\n' $(printf one | sha256sum | cut -c-64) | sha256sum`
    const ONE: Package = Package {
        engine: "one",
        version: "1",
        sha256: "6b3ebf7b3ae58e340de154973c4d6660d520962ad05090fa05b66a9f25013075",
    };

    fn fetch(content: &Path) -> Result<(), Error> {
        std::fs::create_dir(content).unwrap();
        std::fs::write(content.join("jar"), "one").unwrap();
        Ok(())
    }

    fn package() -> (tempfile::TempDir, Cache, Package) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("engines"));
        (folder, cache, ONE)
    }

    #[test]
    fn it_is_fetched_once_and_found_again() {
        let (_folder, cache, package) = package();
        assert_eq!(package.look(&cache, true).unwrap(), Found::Nothing);
        let content = package.ensure(&cache, &Progress::ignore, fetch).unwrap();
        let again = package
            .ensure(&cache, &Progress::ignore, |_| panic!("fetched twice"))
            .unwrap();
        assert_eq!(content, again);
        assert_eq!(package.look(&cache, true).unwrap(), Found::Whole(content));
        let left: Vec<_> = std::fs::read_dir(cache.folder()).unwrap().collect();
        assert_eq!(left.len(), 2, "the package and its lock: {left:?}");
    }

    #[test]
    fn a_damaged_cache_is_named_and_fetched_again() {
        let (_folder, cache, package) = package();
        let content = package.ensure(&cache, &Progress::ignore, fetch).unwrap();
        std::fs::write(content.join("jar"), "one and more").unwrap();
        let told = RefCell::new(Vec::new());
        let tell = |progress: &Progress| told.borrow_mut().push(progress.to_string());
        package.ensure(&cache, &tell, fetch).unwrap();
        let told = told.into_inner();
        assert!(
            told[0].contains("is damaged (jar is Bytes(12), not Bytes(3))"),
            "{told:?}"
        );
        assert_eq!(
            package.look(&cache, true).unwrap(),
            Found::Whole(content.clone())
        );

        // The same size: only reading all of it shows that.
        std::fs::write(content.join("jar"), "two").unwrap();
        assert!(matches!(
            package.look(&cache, false).unwrap(),
            Found::Whole(_)
        ));
        package
            .remove_if_changed(&cache, &Progress::ignore)
            .unwrap();
        assert_eq!(package.look(&cache, false).unwrap(), Found::Nothing);
    }

    #[test]
    fn what_is_not_what_was_pinned_is_not_installed() {
        let (_folder, cache, package) = package();
        let error = package
            .ensure(&cache, &Progress::ignore, |content| {
                fetch(content)?;
                std::fs::write(content.join("jar"), "two").doing(String::new)
            })
            .unwrap_err();
        assert!(error.to_string().contains("not installed"), "{error}");
        assert_eq!(package.look(&cache, true).unwrap(), Found::Nothing);
    }

    #[test]
    fn of_many_at_once_one_fetches() {
        let (_folder, cache, package) = package();
        let fetched = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    package
                        .ensure(&cache, &Progress::ignore, |content| {
                            fetched.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                            fetch(content)
                        })
                        .unwrap();
                });
            }
        });
        assert_eq!(fetched.into_inner(), 1);
    }

    #[test]
    fn the_folder_is_the_users() {
        let open = PathBuf::from("/usr");
        let choose = |own: Option<&str>, xdg: Option<&str>, home: Option<&PathBuf>, root| {
            Cache::choose(
                own.map(Into::into),
                xdg.map(Into::into),
                home.cloned(),
                root,
            )
            .map(|cache| cache.folder.display().to_string())
        };
        let is = |chosen: Result<String, Error>, folder: &str| assert_eq!(chosen.unwrap(), folder);
        is(
            choose(Some("/own"), Some("/xdg"), Some(&open), true),
            "/own",
        );
        is(
            choose(None, Some("/xdg"), Some(&open), false),
            "/xdg/lombard/engines",
        );
        // The specification: a relative path is to be ignored.
        is(
            choose(None, Some("xdg"), Some(&open), false),
            "/usr/.cache/lombard/engines",
        );
        is(
            choose(None, None, Some(&open), true),
            "/usr/.cache/lombard/engines",
        );
        is(choose(None, None, None, true), "/var/cache/lombard/engines");
        let error = choose(None, None, None, false).unwrap_err().to_string();
        assert!(error.contains("XDG_CACHE_HOME"), "{error}");

        let closed = tempfile::tempdir().unwrap();
        std::fs::set_permissions(closed.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let home = closed.path().to_owned();
        is(
            choose(None, None, Some(&home), true),
            "/var/cache/lombard/engines",
        );
    }
}
