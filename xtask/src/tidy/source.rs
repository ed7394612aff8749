//! The files that are looked at, and which of their lines are code that ships.

use std::fs;
use std::path::Path;

use crate::chore::Failure;

/// Folders that hold nothing of the project's.
const FOLDERS_LEFT_OUT: [&str; 6] = [
    ".git",
    "target",
    "lombard-data",
    "corpus",
    "artifacts",
    "node_modules",
];
/// What is text of ours, by its ending; and files without one.
const ENDINGS: [&str; 9] = [
    "rs", "toml", "md", "proto", "sh", "yaml", "yml", "json", "txt",
];
const NAMES: [&str; 2] = ["run", "Dockerfile"];

/// A text file of the project.
#[derive(Debug)]
pub struct Source {
    /// From the workspace's folder, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// All text files of the project.
///
/// # Errors
/// A folder or file cannot be read.
pub fn all(root: &Path) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    walk(root, "", &mut sources)?;
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn walk(folder: &Path, prefix: &str, sources: &mut Vec<Source>) -> Result<(), Failure> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            if !FOLDERS_LEFT_OUT.contains(&name.as_str()) {
                walk(&entry.path(), &format!("{path}/"), sources)?;
            }
        } else if kind.is_file() && is_text(&name) {
            let text = fs::read(entry.path()).map_err(|error| format!("{path}: {error}"))?;
            sources.push(Source {
                path,
                text: String::from_utf8_lossy(&text).into_owned(),
            });
        }
    }
    Ok(())
}

fn is_text(name: &str) -> bool {
    match name.rsplit_once('.') {
        Some((_, ending)) => ENDINGS.contains(&ending),
        None => NAMES.contains(&name),
    }
}

impl Source {
    /// Whether this is Rust.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the whole file is tests.
    pub fn is_test(&self) -> bool {
        let folder = |name: &str| {
            self.path.starts_with(&format!("{name}/")) || self.path.contains(&format!("/{name}/"))
        };
        folder("tests")
            || folder("benches")
            || self.path.ends_with("/tests.rs")
            || self.path.ends_with("_tests.rs")
    }

    /// Lines of Rust that ship, with their numbers from 1: not comments, not tests.
    /// A module under `#[cfg(test)]` with a body is taken to go on to the file's
    /// end, as it does everywhere here.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut test_next = false;
        let mut in_tests = self.is_test();
        (1..).zip(self.text.lines()).filter(move |(_, line)| {
            let line = line.trim();
            if line.starts_with("//") {
                return false;
            }
            if line == "#[cfg(test)]" {
                test_next = true;
                return false;
            }
            if test_next && !line.starts_with("#[") {
                test_next = false;
                in_tests |= line.starts_with("mod ") && line.ends_with('{');
                return false;
            }
            !in_tests
        })
    }
}

#[cfg(test)]
impl Source {
    /// A file for tests.
    pub fn of(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_tests_are_not_code_that_ships() {
        let text = "\
//! about
use a; // kept
/// doc
#[cfg(test)]
use b;
fn c() {}
#[cfg(test)]
mod tests {
    fn d() {}
}
";
        let source = Source::of("core/x/src/lib.rs", text);
        let code: Vec<_> = source.code().collect();
        assert_eq!(code, [(2, "use a; // kept"), (6, "fn c() {}")]);
        assert!(Source::of("core/x/tests/a.rs", "").is_test());
        assert!(Source::of("core/x/src/combine/tests.rs", "").is_test());
        assert!(!Source::of("core/latests/src/a.rs", "").is_test());
    }
}
