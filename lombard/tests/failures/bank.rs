//! A bank as a process: started, killed, told to stop.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A bank that takes longer than this to start or stop hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running bank. Dropped, it is killed.
#[derive(Debug)]
pub struct Bank {
    child: Child,
    addresses: BTreeMap<String, String>,
    log: PathBuf,
}

/// A fresh folder on the disk that the project is on: the system's folder for
/// temporary files may be memory, where nothing can be lost.
pub fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// `lombard` with these arguments.
pub fn lombard(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lombard"));
    command.args(arguments);
    // What a developer has set for himself is not what is tested.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LOMBARD_") {
            command.env_remove(name);
        }
    }
    command
}

/// What `lombard up` is given on this folder.
pub fn up(data: &Path) -> Vec<String> {
    let data = data.to_str().unwrap();
    ["up", "--data", data, "--port-base", "0", "--json"]
        .map(str::to_owned)
        .to_vec()
}

impl Bank {
    /// Starts a bank on a folder and waits until everything answers.
    pub fn start(data: &Path) -> Self {
        let arguments = up(data);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Self::start_by(lombard(&arguments), data)
    }

    /// Starts a bank by a command that runs `lombard up --json`. Its log goes to a
    /// file beside the folder.
    pub fn start_by(mut command: Command, data: &Path) -> Self {
        let log = data.with_extension("log");
        let stderr = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Once the bank is ready nobody listens any more.
                let _heard = send.send(line);
            }
        });
        let mut bank = Self {
            child,
            addresses: BTreeMap::new(),
            log,
        };
        let line = receive
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("no bank came up; it said:\n{}", bank.log()));
        let ready: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["event"], "ready", "{line}");
        for (name, address) in ready["addresses"].as_object().unwrap() {
            bank.addresses
                .insert(name.clone(), address.as_str().unwrap().to_owned());
        }
        bank
    }

    /// `HOST:PORT` of a service.
    pub fn address(&self, service: &str) -> &str {
        &self.addresses[service]
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it logged, over all its lives on the folder.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM and returns at once.
    pub fn terminate(&self) {
        let told = Command::new("kill")
            .args(["-TERM", &self.pid().to_string()])
            .status()
            .unwrap();
        assert!(told.success());
    }

    /// Waits for its end.
    pub fn wait(mut self) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                since.elapsed() < PATIENCE,
                "it does not end; it said:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends SIGTERM and expects a clean end.
    pub fn stop(self) {
        self.terminate();
        let log = self.log.clone();
        let status = self.wait();
        assert!(
            status.success(),
            "{status}; it said:\n{}",
            std::fs::read_to_string(log).unwrap_or_default()
        );
    }

    /// `lombard check` against it must find nothing.
    pub fn check(&self) {
        let output = lombard(&["check", "--json", "--address", self.address("ledger")])
            .output()
            .unwrap();
        clean(&output, &self.log());
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// `lombard check` on a folder that no bank runs on must find nothing.
pub fn check_stopped(data: &Path) {
    let output = lombard(&["check", "--json", "--data", data.to_str().unwrap()])
        .output()
        .unwrap();
    clean(&output, "");
}

fn clean(output: &Output, log: &str) {
    assert!(
        output.status.success(),
        "check: {}\n{}\n{}\n{log}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Tells that a test cannot be run here, past the harness's capture. A reason that
/// starts with `environment: ` is one that the machine cannot help.
pub fn skip(test: &str, reason: &str) {
    use std::io::Write;
    // If nobody reads it, nobody counts it.
    let _written = writeln!(std::io::stderr(), "\nSKIPPED {test}: {reason}");
}
