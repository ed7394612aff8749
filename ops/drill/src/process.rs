//! The real bank, as a process of its own: `lombard run ledger`.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lombard_engines::Process;
use lombard_service::Host;
use parking_lot::Mutex;
use rustix::process::Signal;
use tokio::sync::oneshot;

use crate::DrillError;
use crate::bank::{Alert, Audit, Bank, Banks};
use crate::log::alert_of;

/// Runs a bank, and ends it when whoever started this is gone, however that ended: its
/// standard input ends then. What the bank says is heard until the bank ends, not this.
const SUPERVISOR: &str = r#"
"$@" </dev/null &
bank=$!
exec >/dev/null 2>&1
read -r word
kill -s KILL "$bank"
wait "$bank"
"#;
/// How long it may take until everything answers: on a new cluster, tables are made.
const READY_PATIENCE: Duration = Duration::from_secs(180);
/// How long a clean stop may take.
const STOP_PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// Lines of the log that are kept at hand.
const LINES_KEPT_MAX: usize = 40;
/// Findings of the auditor that are kept.
const FINDINGS_MAX: usize = 20;
/// Variables of ours that a person may have set are not part of a drill.
const VARIABLES: &str = "LOMBARD_";

/// Starts the real binary.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    host: Host,
}

impl Program {
    /// The binary at this path.
    pub fn new(path: impl Into<PathBuf>, host: &Host) -> Self {
        Self {
            path: path.into(),
            host: host.clone(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command.args(arguments);
        without_ours(&mut command);
        command
    }
}

fn without_ours(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with(VARIABLES) {
            command.env_remove(name);
        }
    }
}

/// What its log has told.
#[derive(Debug, Default)]
struct Heard {
    alerts: Vec<Alert>,
    last: VecDeque<String>,
}

/// A process of the real binary. It ends when this is dropped.
struct Running {
    program: Program,
    config: PathBuf,
    data: PathBuf,
    ledger: String,
    process: Process,
    heard: Arc<Mutex<Heard>>,
    supervisor: Supervisor,
}

/// Ends the bank when it is dropped.
struct Supervisor {
    shell: Child,
    /// While it is open, the bank runs.
    open: Option<ChildStdin>,
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(self.open.take());
        // Nobody is there to be told of an error.
        let _ended = self.shell.wait();
    }
}

#[async_trait]
impl Banks for Program {
    async fn start(&self, config: &str, folder: &Path) -> Result<Box<dyn Bank>, DrillError> {
        let (configured, data) = (folder.join("lombard.toml"), folder.join("data"));
        let system = |error: std::io::Error| DrillError::System {
            doing: format!("starting the bank in {}", folder.display()),
            why: error.to_string(),
        };
        std::fs::create_dir_all(folder).map_err(system)?;
        std::fs::write(&configured, config).map_err(system)?;
        let log = File::create(folder.join("bank.log")).map_err(system)?;

        let mut command = Command::new("sh");
        command.args(["-c", SUPERVISOR, "lombard-drill-supervisor"]);
        // What the drills call. A keyspace more is as much more for a node to hand over.
        command.arg(&self.path).args(["run", "ledger", "--json"]);
        command.args(["--port-base", "0", "--log-format", "json"]);
        command.arg("--config").arg(&configured);
        command.arg("--data").arg(&data);
        without_ours(&mut command);
        let mut shell = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C is meant for us, who end it then.
            .process_group(0)
            .spawn()
            .map_err(system)?;
        let (open, stdout, stderr) = (shell.stdin.take(), shell.stdout.take(), shell.stderr.take());
        let supervisor = Supervisor { shell, open };
        let heard: Arc<Mutex<Heard>> = Arc::default();
        if let Some(stderr) = stderr {
            listen(self.host.clone(), stderr, log, Arc::clone(&heard));
        }
        let (says, said) = oneshot::channel();
        if let Some(stdout) = stdout {
            first_line(stdout, says);
        }
        let bank_error = |what: String| DrillError::Bank {
            what,
            log: end_of(&heard),
        };
        let ready = tokio::select! {
            said = said => said.map_err(|_| bank_error("ended before it answered".to_owned()))?,
            () = self.host.sleep(READY_PATIENCE) => {
                let seconds = READY_PATIENCE.as_secs();
                return Err(bank_error(format!("did not answer within {seconds} s")));
            }
        };
        let (process, ledger) = parsed(&ready)
            .ok_or_else(|| bank_error(format!("said what no bank says: {ready:?}")))?;
        Ok(Box::new(Running {
            program: self.clone(),
            config: configured,
            data,
            ledger,
            process,
            heard,
            supervisor,
        }))
    }
}

/// The process, and where its ledger listens, of the line that says that it is ready.
fn parsed(ready: &str) -> Option<(Process, String)> {
    let ready: serde_json::Value = serde_json::from_str(ready).ok()?;
    let pid = u32::try_from(ready.get("pid")?.as_u64()?).ok()?;
    let ledger = ready.get("addresses")?.get("ledger")?.as_str()?;
    Some((Process::now(pid)?, ledger.to_owned()))
}

fn end_of(heard: &Mutex<Heard>) -> String {
    let heard = heard.lock();
    let lines: Vec<&str> = heard.last.iter().map(String::as_str).collect();
    lines.join("\n")
}

/// Reads the log line by line until it ends.
#[expect(
    clippy::disallowed_methods,
    reason = "a pipe of a process is read by a thread of its own; it ends with the process"
)]
fn listen(host: Host, log: impl Read + Send + 'static, mut file: File, heard: Arc<Mutex<Heard>>) {
    std::thread::spawn(move || {
        let mut lines = BufReader::new(log);
        let mut bytes = Vec::new();
        while lines
            .read_until(b'\n', &mut bytes)
            .is_ok_and(|read| read > 0)
        {
            let at_us = host.monotonic_us();
            // The log is for whoever looks into it later; the drill goes on without it.
            let _written = file.write_all(&bytes);
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            let mut heard = heard.lock();
            if let Some(text) = alert_of(&line) {
                heard.alerts.push(Alert { at_us, text });
            }
            if heard.last.len() == LINES_KEPT_MAX {
                heard.last.pop_front();
            }
            heard.last.push_back(line);
        }
    });
}

/// Passes the first line on, and reads the others, or the bank would stop at a full pipe.
#[expect(
    clippy::disallowed_methods,
    reason = "a pipe of a process is read by a thread of its own; it ends with the process"
)]
fn first_line(output: impl Read + Send + 'static, says: oneshot::Sender<String>) {
    std::thread::spawn(move || {
        let mut lines = BufReader::new(output);
        let mut line = String::new();
        if lines.read_line(&mut line).is_ok_and(|read| read > 0) {
            // Nobody may wait for it any more.
            let _told = says.send(line);
            let _rest = std::io::copy(&mut lines, &mut std::io::sink());
        }
    });
}

#[async_trait]
impl Bank for Running {
    fn ledger(&self) -> &str {
        &self.ledger
    }

    fn alerts(&self) -> Vec<Alert> {
        self.heard.lock().alerts.clone()
    }

    fn log_end(&self) -> String {
        end_of(&self.heard)
    }

    async fn audit(&self) -> Result<Audit, DrillError> {
        let mut command = self.program.command(&["check", "--json"]);
        command.arg("--config").arg(&self.config);
        command.arg("--data").arg(&self.data);
        let failed = |why: String| DrillError::System {
            doing: "asking the auditor, `lombard check`".to_owned(),
            why,
        };
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output
            .map_err(|error| failed(error.to_string()))?
            .map_err(|error| failed(error.to_string()))?;
        audited(&output.stdout).ok_or_else(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            failed(format!("{}: {}", output.status, said.trim_end()))
        })
    }

    async fn stop(self: Box<Self>) -> Result<(), DrillError> {
        let bank_error = |what: String| DrillError::Bank {
            what,
            log: end_of(&self.heard),
        };
        self.process.signal(Signal::TERM);
        let host = &self.program.host;
        let patience_us = u64::try_from(STOP_PATIENCE.as_micros()).unwrap_or(u64::MAX);
        let until_us = host.monotonic_us().saturating_add(patience_us);
        while self.process.runs() {
            if host.monotonic_us() >= until_us {
                let seconds = STOP_PATIENCE.as_secs();
                return Err(bank_error(format!("did not stop within {seconds} s")));
            }
            host.sleep(PAUSE).await;
        }
        let Self {
            mut supervisor,
            heard,
            ..
        } = *self;
        drop(supervisor.open.take());
        let status = supervisor.shell.wait();
        let status = status.map_err(|error| DrillError::System {
            doing: "waiting for the bank's end".to_owned(),
            why: error.to_string(),
        })?;
        if status.success() {
            return Ok(());
        }
        Err(DrillError::Bank {
            what: format!("did not stop cleanly ({status})"),
            log: end_of(&heard),
        })
    }
}

/// What `lombard check --json` says.
fn audited(output: &[u8]) -> Option<Audit> {
    let checked: serde_json::Value = serde_json::from_slice(output).ok()?;
    let number = |name: &str| checked.get(name)?.as_u64();
    let findings = checked.get("findings")?.as_array()?;
    Some(Audit {
        clean: checked.get("ok")?.as_bool()?,
        accounts: number("accounts")?,
        entries: number("entries")?,
        findings: findings
            .iter()
            .take(FINDINGS_MAX)
            .map(ToString::to_string)
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_auditors_word_is_read() {
        let clean = br#"{"ok":true,"accounts":3,"entries":2,"findings":[],"seconds":0.1}"#;
        let audit = audited(clean).unwrap();
        assert!(audit.clean);
        assert_eq!((audit.accounts, audit.entries), (3, 2));
        let bad = br#"{"ok":false,"accounts":3,"entries":2,"findings":[{"what":"x"}]}"#;
        let audit = audited(bad).unwrap();
        assert_eq!(audit.findings, [r#"{"what":"x"}"#]);
        assert_eq!(audited(b""), None);
        assert_eq!(audited(br#"{"ok":true}"#), None);
    }

    #[test]
    fn only_a_line_that_names_a_process_and_a_ledger_is_a_readiness() {
        let pid = std::process::id();
        let line = format!(r#"{{"event":"ready","pid":{pid},"addresses":{{"ledger":"h:1"}}}}"#);
        let (process, ledger) = parsed(&line).unwrap();
        assert_eq!((process.pid, ledger.as_str()), (pid, "h:1"));
        assert_eq!(parsed("ready in 5 ms"), None);
        assert_eq!(parsed(r#"{"pid":1}"#), None);
    }

    #[tokio::test]
    async fn a_bank_that_ends_before_it_answers_is_said_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("bank");
        std::fs::write(
            &script,
            "#!/bin/sh\necho 'cannot start: no such engine' >&2\nexit 2\n",
        )
        .unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&script, executable).unwrap();
        let program = Program::new(&script, &Host::system());
        let started = program.start("", &folder.path().join("b")).await;
        let Err(DrillError::Bank { what, .. }) = started.map(|_| ()) else {
            panic!("it is an error of the bank")
        };
        assert_eq!(what, "ended before it answered");
    }
}
