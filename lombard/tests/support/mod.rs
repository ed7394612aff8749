//! The real binary, run on folders of its own.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use serde_json::Value;

/// A small journal that was made up for this.
pub fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/berka-sample.asc")
}

/// The start of the public data set, where it is beside the checkout.
pub fn public_journal() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/berka/trans.asc");
    path.is_file().then_some(path)
}

/// The command on this folder.
pub fn lombard(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lombard"));
    command.args(arguments).arg("--data").arg(data);
    // What the tester's own shell has set is not part of the test.
    for (name, _) in std::env::vars() {
        if name.starts_with("LOMBARD_") {
            command.env_remove(name);
        }
    }
    command.current_dir(data.parent().unwrap());
    command
}

/// Runs the command to its end.
pub fn run(data: &Path, arguments: &[&str]) -> Output {
    lombard(data, arguments).output().unwrap()
}

/// Runs it, expects exit code 0, and reads its JSON.
pub fn json(data: &Path, arguments: &[&str]) -> Value {
    let output = run(data, &[arguments, &["--json"]].concat());
    assert!(
        output.status.success(),
        "{arguments:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "{arguments:?}: {error}\n{}",
            String::from_utf8_lossy(&output.stdout)
        )
    })
}

/// Runs it, and expects this exit code; gives what it said on stderr.
pub fn refused(data: &Path, arguments: &[&str], code: i32) -> String {
    let output = run(data, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    said
}

/// The sum of all balances of a trial balance, by currency.
pub fn sums(trial_balance: &Value) -> std::collections::BTreeMap<String, i64> {
    let mut sums = std::collections::BTreeMap::new();
    for line in trial_balance.as_array().unwrap() {
        *sums
            .entry(line["currency"].as_str().unwrap().to_owned())
            .or_default() += line["balance_minor"].as_i64().unwrap();
    }
    sums
}

/// A bank in a process of its own.
pub struct Up {
    child: Child,
    /// What it said when it was ready.
    pub ready: Value,
}

impl Up {
    /// Starts it on free ports and waits until it is ready.
    pub fn start(data: &Path, arguments: &[&str]) -> Self {
        let mut child = lombard(
            data,
            &[&["up", "--json", "--port-base", "0"], arguments].concat(),
        )
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let Ok(ready) = serde_json::from_str(&line) else {
            let mut said = String::new();
            child
                .stderr
                .as_mut()
                .unwrap()
                .read_to_string(&mut said)
                .unwrap();
            panic!("not ready: {line:?}\n{said}");
        };
        // Read on, or the bank would stop at a full pipe.
        let mut said = child.stderr.take().unwrap();
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { child, ready }
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end.
    pub fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Asks it to stop, and expects that it does so cleanly.
    pub fn stop(self) {
        self.signal("TERM");
        let status = self.wait();
        assert!(status.success(), "{status}");
    }

    /// Pulls the plug.
    pub fn kill(self) {
        self.signal("KILL");
        self.wait();
    }
}
