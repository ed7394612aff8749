//! One shell in which the README's blocks run, in a fresh folder.

use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::blocks::Block;
use super::shown;
use crate::chore::{Failure, root};

/// Where the bank listens by default, as the README shows it.
const PORT_BASE: u16 = 7400;
/// So many listeners stand on the ports from there on.
const PORTS: u16 = 16;
/// A block that takes longer than this hangs. The first one may have to compile.
const POLLS_MAX: u32 = 20 * 60 * 10;
const POLL: Duration = Duration::from_millis(100);
/// What a block leaves running has this long to print what is shown.
const POLLS_OF_OUTPUT_MAX: u32 = 30 * 10;

/// A shell that keeps its variables and background jobs from block to block.
#[derive(Debug)]
pub struct Shell {
    bash: Child,
    folder: TempDir,
    port_base: u16,
    blocks: usize,
}

impl Shell {
    /// Starts bash in a fresh folder that has the project's `examples` and `target`.
    /// The bank's ports are moved to free ones, so that a bank of yours may go on.
    ///
    /// # Errors
    /// There is no bash, or no folder for temporary files.
    pub fn start() -> Result<Self, Failure> {
        let failed = |error: std::io::Error| format!("a shell for the README: {error}");
        let folder = TempDir::new().map_err(failed)?;
        for name in ["examples", "target"] {
            std::os::unix::fs::symlink(root().join(name), folder.path().join(name))
                .map_err(failed)?;
        }
        let cargo = folder.path().join(".bin").join("cargo");
        std::fs::create_dir(folder.path().join(".bin")).map_err(failed)?;
        std::fs::write(&cargo, cargo_from_afar()).map_err(failed)?;
        std::fs::set_permissions(&cargo, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(failed)?;
        let port_base = free_ports().map_err(failed)?;
        let bash = command(folder.path(), port_base)
            .stdin(Stdio::piped())
            .stdout(Stdio::inherit())
            .spawn()
            .map_err(failed)?;
        Ok(Self {
            bash,
            folder,
            port_base,
            blocks: 0,
        })
    }

    /// Runs a block to its end, and compares what it prints.
    ///
    /// # Errors
    /// What it did instead.
    pub fn run(&mut self, block: &Block) -> Result<(), String> {
        let (script, output) = self.write(block)?;
        let status = script.with_extension("status");
        let line = format!(
            "failed=0; trap 'failed=$?' ERR; . '{script}' >'{output}' 2>&1 </dev/null; trap - ERR; echo $failed >'{status}'\n",
            script = script.display(),
            output = output.display(),
            status = status.display(),
        );
        let stdin = self.bash.stdin.as_mut().ok_or("the shell has no input")?;
        stdin
            .write_all(line.as_bytes())
            .and_then(|()| stdin.flush())
            .map_err(|error| format!("an earlier block ended the shell ({error})"))?;
        let code = wait(POLLS_MAX, || {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            text.ends_with('\n').then(|| text.trim().to_owned())
        });
        match code.as_deref() {
            Some("0") => self.compare(block, &output),
            Some(code) => Err(format!("ended with {code}:\n{}", read(&output))),
            None => Err(format!("did not end:\n{}", read(&output))),
        }
    }

    /// Runs a block until it has printed what is shown, and interrupts it, as with
    /// Ctrl-C: it must end with 0.
    ///
    /// # Errors
    /// What it did instead.
    pub fn run_until_shown(&mut self, block: &Block) -> Result<(), String> {
        let (script, output) = self.write(block)?;
        let file = File::create(&output).map_err(|error| error.to_string())?;
        let errors = file.try_clone().map_err(|error| error.to_string())?;
        let mut child = command(self.folder.path(), self.port_base)
            .arg(&script)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .map_err(|error| error.to_string())?;
        let expected = self.moved(block.shown.as_deref().unwrap_or("…"));
        let mut ended: Option<ExitStatus> = None;
        let shown = wait(POLLS_MAX, || {
            if shown::matches(&expected, &read(&output)) {
                return Some(true);
            }
            ended = child.try_wait().ok().flatten();
            ended.map(|_| false)
        });
        let result = match shown {
            Some(true) => {
                signal("INT", child.id());
                let ended = wait(POLLS_OF_OUTPUT_MAX, || child.try_wait().ok().flatten());
                match ended {
                    Some(status) if status.success() => Ok(()),
                    Some(status) => Err(format!(
                        "interrupted, it ended with {status}:\n{}",
                        read(&output)
                    )),
                    None => Err(format!("interrupted, it did not end:\n{}", read(&output))),
                }
            }
            Some(false) => Err(format!("ended by itself:\n{}", read(&output))),
            None => Err(format!("did not print what is shown:\n{}", read(&output))),
        };
        signal("KILL", child.id());
        // Whatever it was: it is over.
        let _status = child.wait();
        result
    }

    fn write(&mut self, block: &Block) -> Result<(PathBuf, PathBuf), String> {
        self.blocks += 1;
        let script = self
            .folder
            .path()
            .join(format!(".block-{}.sh", self.blocks));
        std::fs::write(&script, self.moved(&block.commands)).map_err(|error| error.to_string())?;
        let output = script.with_extension("out");
        Ok((script, output))
    }

    /// What runs in the background may print a little later.
    fn compare(&self, block: &Block, output: &Path) -> Result<(), String> {
        let Some(expected) = block.shown.as_deref().map(|shown| self.moved(shown)) else {
            return Ok(());
        };
        wait(POLLS_OF_OUTPUT_MAX, || {
            shown::matches(&expected, &read(output)).then_some(())
        })
        .ok_or_else(|| format!("── shown:\n{expected}── printed:\n{}", read(output)))
    }

    /// The text with the default ports moved to ours.
    fn moved(&self, text: &str) -> String {
        (0..PORTS).fold(text.to_owned(), |text, offset| {
            text.replace(
                &format!("127.0.0.1:{}", PORT_BASE + offset),
                &format!("127.0.0.1:{}", self.port_base + offset),
            )
        })
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        signal("KILL", self.bash.id());
        // It cannot have survived that.
        let _status = self.bash.wait();
    }
}

/// bash in a process group of its own, with what it starts.
fn command(folder: &Path, port_base: u16) -> Command {
    let mut path = vec![folder.join(".bin")];
    path.extend(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ));
    let mut bash = Command::new("bash");
    bash.current_dir(folder)
        .env("LOMBARD_PORT_BASE", port_base.to_string())
        .env("NO_COLOR", "1")
        .process_group(0);
    // No part of the path holds a colon: it was split at them.
    if let Ok(path) = std::env::join_paths(path) {
        bash.env("PATH", path);
    }
    bash
}

/// `cargo` for a shell that does not stand in the workspace.
fn cargo_from_afar() -> String {
    let cargo = real_cargo();
    let manifest = root().join("Cargo.toml");
    format!(
        "#!/bin/sh\nsubcommand=$1; shift\nexec '{cargo}' \"$subcommand\" --manifest-path '{}' \"$@\"\n",
        manifest.display()
    )
}

/// The cargo that started this or, where none did, the first one of the path: by its
/// place, for the shell has another thing of that name.
fn real_cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .map(|folder| folder.join("cargo"))
            .find(|cargo| cargo.is_file())
            .map_or_else(|| "cargo".to_owned(), |cargo| cargo.display().to_string())
    })
}

/// To all of a process group.
fn signal(name: &str, group: u32) {
    // It may be gone already, which is as good.
    let _status = Command::new("kill")
        .args([&format!("-{name}"), "--", &format!("-{group}")])
        .stderr(Stdio::null())
        .status();
}

#[expect(
    clippy::disallowed_methods,
    reason = "a chore that waits for other processes; there is no host here to ask"
)]
fn wait<T>(polls_max: u32, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..polls_max {
        if let Some(found) = look() {
            return Some(found);
        }
        std::thread::sleep(POLL);
    }
    None
}

fn read(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let plain = anstream::adapter::strip_bytes(&bytes).into_vec();
    without_notices(&String::from_utf8_lossy(&plain))
}

/// The shell's own notice that a job was killed comes whenever the shell notices.
fn without_notices(printed: &str) -> String {
    let notice = |line: &str| line.contains("/.block-") && line.contains(" Killed ");
    let lines = printed.split_inclusive('\n');
    lines.filter(|line| !notice(line)).collect()
}

/// The first of so many free ports in a row.
fn free_ports() -> std::io::Result<u16> {
    loop {
        let first = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let Some(last) = first.checked_add(PORTS) else {
            continue;
        };
        if (first..last).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return Ok(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::blocks;
    use super::*;

    fn block(text: &str) -> Block {
        blocks::find(text).unwrap().remove(0)
    }

    #[test]
    fn blocks_share_a_shell_and_what_runs_in_the_background_is_waited_for() {
        let mut shell = Shell::start().unwrap();
        shell
            .run(&block(
                "```sh\nname=bank\n(sleep 0.5; echo late) &\n```\n```text\nlate\n```\n",
            ))
            .unwrap();
        shell
            .run(&block("```sh\necho \"$name\"\n```\n```text\nbank\n```\n"))
            .unwrap();
    }

    #[test]
    fn a_command_that_fails_in_the_middle_fails_its_block() {
        let mut shell = Shell::start().unwrap();
        let error = shell
            .run(&block("```sh\nls no-such-file\necho on\n```\n"))
            .unwrap_err();
        assert!(error.contains("no-such-file"), "{error}");
        shell.run(&block("```sh\ntrue\n```\n")).unwrap();
    }

    #[test]
    fn ports_are_moved_and_other_output_is_a_failure() {
        let mut shell = Shell::start().unwrap();
        let moved = format!("127.0.0.1:{}\n", shell.port_base + 1);
        shell
            .run(&block(
                "```sh\necho 127.0.0.1:7401\n```\n```text\n127.0.0.1:7401\n```\n",
            ))
            .unwrap();
        assert_eq!(shell.moved("127.0.0.1:7401\n"), moved);
    }

    #[test]
    fn a_block_that_runs_for_ever_is_interrupted_and_must_end_well() {
        let mut shell = Shell::start().unwrap();
        // A shell cannot trap what it was started to ignore; perl can.
        let text = |code: u8| {
            format!(
                "```sh interrupt\nexec perl -e '$| = 1; $SIG{{INT}} = sub {{ exit {code} }}; print \"ready\\n\"; sleep 1 while 1'\n```\n```text\nready\n```\n"
            )
        };
        shell.run_until_shown(&block(&text(0))).unwrap();
        let error = shell.run_until_shown(&block(&text(3))).unwrap_err();
        assert!(error.contains('3'), "{error}");
    }
}
