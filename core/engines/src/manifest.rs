//! What is in an installed engine's folder, and whether it still is.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What an installed folder holds. Kept beside it, so that each use can compare
/// names and sizes without reading a hundred megabytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// SHA-256 over names and contents; see [`digest`].
    pub sha256: String,
    /// Each file and link, by its path inside the folder.
    pub entries: BTreeMap<String, Entry>,
}

/// A file or a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A file of so many bytes.
    Bytes(u64),
    /// A symbolic link that leads there.
    LinkTo(PathBuf),
}

impl Manifest {
    /// Reads a whole folder.
    ///
    /// # Errors
    /// It cannot be read, or a name in it is not UTF-8.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let entries = entries(folder)?;
        Ok(Self {
            sha256: digest(folder, &entries)?,
            entries,
        })
    }

    /// The first difference between what it says and the names and sizes in a folder.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn difference(&self, folder: &Path) -> io::Result<Option<String>> {
        let found = entries(folder)?;
        for (name, entry) in &self.entries {
            match found.get(name) {
                None => return Ok(Some(format!("{name} is missing"))),
                Some(other) if other != entry => {
                    return Ok(Some(format!("{name} is {other:?}, not {entry:?}")));
                }
                Some(_) => {}
            }
        }
        Ok(found
            .keys()
            .find(|name| !self.entries.contains_key(*name))
            .map(|name| format!("{name} does not belong there")))
    }
}

/// SHA-256 of the lines that `sha256sum` prints for the files, sorted by name as
/// bytes. By hand, in the folder:
/// `find * -type f | LC_ALL=C sort | tr '\n' '\0' | xargs -0 sha256sum | sha256sum`.
fn digest(folder: &Path, entries: &BTreeMap<String, Entry>) -> io::Result<String> {
    let mut lines = String::new();
    for (name, entry) in entries {
        if let Entry::Bytes(_) = entry {
            let hash = file_digest(&folder.join(name))?;
            lines.push_str(&hash);
            lines.push_str("  ");
            lines.push_str(name);
            lines.push('\n');
        }
    }
    Ok(hex(&Sha256::digest(lines.as_bytes())))
}

fn file_digest(path: &Path) -> io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

fn entries(folder: &Path) -> io::Result<BTreeMap<String, Entry>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next)? {
            let path = entry?.path();
            let metadata = path.symlink_metadata()?;
            if metadata.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path
                .strip_prefix(folder)
                .ok()
                .and_then(Path::to_str)
                .ok_or_else(|| io::Error::other(format!("{} is not UTF-8", path.display())))?;
            let entry = if metadata.is_symlink() {
                Entry::LinkTo(std::fs::read_link(&path)?)
            } else {
                Entry::Bytes(metadata.len())
            };
            found.insert(name.to_owned(), entry);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("b")).unwrap();
        std::fs::write(folder.path().join("b/inner"), "1").unwrap();
        std::fs::write(folder.path().join("a.jar"), "two").unwrap();
        std::os::unix::fs::symlink("a.jar", folder.path().join("link")).unwrap();
        folder
    }

    #[test]
    fn the_digest_is_that_of_sha256sum() {
        let folder = folder();
        let manifest = Manifest::of(folder.path()).unwrap();
        let by_hand = std::process::Command::new("sh")
            .args([
                "-c",
                "find * -type f | LC_ALL=C sort | tr '\\n' '\\0' | xargs -0 sha256sum | sha256sum",
            ])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let by_hand = String::from_utf8(by_hand.stdout).unwrap();
        assert_eq!(manifest.sha256, by_hand.split_whitespace().next().unwrap());
    }

    #[test]
    fn what_was_tampered_with_is_named() {
        type Tamper = fn(&Path) -> io::Result<()>;
        let cases: [(Tamper, &str); 4] = [
            (
                |at| std::fs::write(at.join("a.jar"), "twoo"),
                "a.jar is Bytes(4), not Bytes(3)",
            ),
            (
                |at| std::fs::remove_file(at.join("b/inner")),
                "b/inner is missing",
            ),
            (
                |at| std::fs::write(at.join("b/c.jar"), ""),
                "b/c.jar does not belong there",
            ),
            (
                |at| std::fs::remove_file(at.join("link")),
                "link is missing",
            ),
        ];
        for (tamper, named) in cases {
            let folder = folder();
            let manifest = Manifest::of(folder.path()).unwrap();
            assert_eq!(manifest.difference(folder.path()).unwrap(), None);
            tamper(folder.path()).unwrap();
            assert_eq!(
                manifest.difference(folder.path()).unwrap().as_deref(),
                Some(named)
            );
        }
    }

    #[test]
    fn another_content_of_the_same_size_has_another_digest() {
        let folder = folder();
        let manifest = Manifest::of(folder.path()).unwrap();
        std::fs::write(folder.path().join("a.jar"), "TWO").unwrap();
        assert_ne!(Manifest::of(folder.path()).unwrap().sha256, manifest.sha256);
    }
}
