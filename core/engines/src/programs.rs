//! Programs of this machine that an engine needs.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::error::{Doing, Error};

/// The first of this name on `PATH` that can be run.
pub fn find(name: &str) -> Option<PathBuf> {
    find_in(std::env::var_os("PATH").as_deref(), name)
}

/// The same with a given `PATH`.
pub fn find_in(path: Option<&OsStr>, name: &str) -> Option<PathBuf> {
    std::env::split_paths(path?)
        .map(|folder| folder.join(name))
        .find(|program| is_program(program))
}

/// Whether it is a file that somebody may run.
pub fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Runs a program to its end, with nothing to read.
///
/// # Errors
/// It cannot be started.
pub fn run(command: &mut Command) -> Result<Output, Error> {
    command
        .stdin(Stdio::null())
        .output()
        .doing(|| format!("starting {}", shown(command)))
}

/// A command as a person would type it.
pub fn shown(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

/// What a program printed, both streams, at most its last `lines`.
pub fn printed(output: &Output, lines: usize) -> String {
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    last_lines(&text, lines)
}

/// The last lines of a text.
pub fn last_lines(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The last lines of a file: at most its last 64 KiB are looked at.
pub fn tail(path: &Path, lines: usize) -> String {
    use std::io::{Read, Seek, SeekFrom};
    const LOOKED_AT_BYTES: u64 = 64 * 1024;
    let read = || -> std::io::Result<String> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOOKED_AT_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(LOOKED_AT_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    match read() {
        Ok(text) if text.trim().is_empty() => "(it is empty)".to_owned(),
        Ok(text) => last_lines(&text, lines),
        Err(error) => format!("(it cannot be read: {error})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_on_the_path_and_nowhere_else() {
        let shell = find_in(Some(OsStr::new("/nonexistent:/bin")), "sh").unwrap();
        assert_eq!(shell, Path::new("/bin/sh"));
        assert_eq!(find_in(Some(OsStr::new("/etc")), "passwd"), None);
        assert_eq!(find_in(Some(OsStr::new("")), "sh"), None);
        assert_eq!(find_in(None, "sh"), None);
    }

    #[test]
    fn the_last_lines_are_kept() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(tail(file.path(), 2), "(it is empty)");
        std::fs::write(file.path(), "one\n".repeat(50_000) + "two\n").unwrap();
        assert_eq!(tail(file.path(), 2), "one\ntwo");
        assert!(tail(Path::new("/nonexistent/log"), 2).contains("cannot be read"));
    }
}
