//! The Java that runs Cassandra.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::NAME;
use crate::error::{Error, Missing};
use crate::programs;

/// The only one that Cassandra 5.0 supports besides 11, whose options differ.
/// <https://cassandra.apache.org/doc/5.0/cassandra/installing/installing.html>
const MAJOR: &str = "17";

/// A Java.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Java {
    /// The program.
    pub program: PathBuf,
    /// Its version, e.g. "17.0.15".
    pub version: String,
}

/// Finds Java 17: in `JAVA_HOME`, on `PATH`, or where Linux systems keep them.
///
/// # Errors
/// There is none.
pub fn find() -> Result<Java, Error> {
    let home = std::env::var_os("JAVA_HOME").map(PathBuf::from);
    let on_path = programs::find("java");
    let kept = std::fs::read_dir("/usr/lib/jvm").into_iter().flatten();
    let candidates = home
        .map(|home| home.join("bin/java"))
        .into_iter()
        .chain(on_path)
        .chain(kept.flatten().map(|entry| entry.path().join("bin/java")));
    choose(candidates).map_err(|found| missing(&found).into())
}

fn missing(found: &str) -> Missing {
    Missing {
        engine: NAME,
        needs: "Java 17",
        found: found.to_owned(),
        debian: "openjdk-17-jre-headless",
        elsewhere: "elsewhere: java-17-openjdk-headless, or any JDK 17 in JAVA_HOME",
    }
}

/// The first that is a Java 17; else what was found.
fn choose(candidates: impl Iterator<Item = PathBuf>) -> Result<Java, String> {
    let mut others = Vec::new();
    for program in candidates.filter(|program| programs::is_program(program)) {
        let program = program.canonicalize().unwrap_or(program);
        match version(&program) {
            Some(version) if version.split('.').next() == Some(MAJOR) => {
                return Ok(Java { program, version });
            }
            version => {
                let version = version.unwrap_or_else(|| "of no version".to_owned());
                others.push(format!("{version} in {}", program.display()));
            }
        }
    }
    Err(if others.is_empty() {
        "there is no java in JAVA_HOME, on PATH, or in /usr/lib/jvm".to_owned()
    } else {
        others.dedup();
        format!("there is only {}", others.join(", "))
    })
}

/// From the file `release` that each has beside its `bin`, which is quicker than
/// asking it; else from what it says.
fn version(program: &Path) -> Option<String> {
    let home = program.parent()?.parent()?;
    let quoted = |text: &str, before: &str| {
        let (_, after) = text.split_once(before)?;
        Some(after.split_once('"')?.0.to_owned())
    };
    std::fs::read_to_string(home.join("release"))
        .ok()
        .and_then(|text| quoted(&text, "JAVA_VERSION=\""))
        .or_else(|| {
            let output = programs::run(Command::new(program).arg("-version")).ok()?;
            quoted(&programs::printed(&output, 10), "version \"")
        })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn java(home: &Path, release: Option<&str>, says: &str) -> PathBuf {
        std::fs::create_dir_all(home.join("bin")).unwrap();
        let program = home.join("bin/java");
        std::fs::write(&program, format!("#!/bin/sh\necho '{says}' >&2\n")).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        if let Some(version) = release {
            let text = format!("IMPLEMENTOR=\"x\"\nJAVA_VERSION=\"{version}\"\n");
            std::fs::write(home.join("release"), text).unwrap();
        }
        program
    }

    #[test]
    fn the_first_of_the_right_version_is_chosen() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let newer = java(&at("newer"), Some("25.0.1"), "");
        let old = java(&at("old"), None, "openjdk version \"1.8.0_402\"");
        let right = java(&at("right"), None, "openjdk version \"17.0.9\" 2023");
        let nothing = at("none/bin/java");

        let candidates = [nothing.clone(), newer.clone(), right.clone()];
        let chosen = choose(candidates.into_iter()).unwrap();
        assert_eq!(chosen.version, "17.0.9");
        assert_eq!(chosen.program, right.canonicalize().unwrap());

        let found = choose([newer, old].into_iter()).unwrap_err();
        assert!(found.starts_with("there is only 25.0.1 in /"), "{found}");
        assert!(found.contains("1.8.0_402 in /"), "{found}");
        let found = choose([nothing].into_iter()).unwrap_err();
        let message = missing(&found).to_string();
        assert_eq!(
            message,
            "cassandra needs Java 17: there is no java in JAVA_HOME, on PATH, or in /usr/lib/jvm. Debian, Ubuntu: apt-get install openjdk-17-jre-headless; elsewhere: java-17-openjdk-headless, or any JDK 17 in JAVA_HOME"
        );
    }
}
