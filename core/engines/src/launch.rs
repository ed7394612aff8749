//! Starting an engine's process: as whom, where, with which environment, and where
//! what it prints goes.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::error::{Doing, Error};
use crate::identity::Identity;
use crate::patience::Deadline;
use crate::processes::Process;

/// How long an engine's process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// It ends with us.
    Guarded,
    /// It goes on without us, in a session of its own.
    Detached,
}

/// What is to be started.
#[derive(Debug)]
pub struct Launch<'a> {
    /// As whom.
    pub identity: &'a Identity,
    /// The program and its arguments.
    pub words: Vec<OsString>,
    /// Its working directory.
    pub folder: &'a Path,
    /// Where both of its streams go, after what is there.
    pub log: &'a Path,
    /// How long it lives.
    pub lifetime: Lifetime,
}

/// An engine's process.
#[derive(Debug)]
pub struct Running {
    child: Child,
    process: Process,
}

impl Launch<'_> {
    /// Starts it.
    ///
    /// # Errors
    /// The program is not there, or the log cannot be written.
    pub fn start(self) -> Result<Running, Error> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log)
            .doing(|| format!("writing {}", self.log.display()))?;
        let mut words = Vec::new();
        if self.lifetime == Lifetime::Detached {
            words.push(OsString::from("setsid"));
        }
        words.extend(self.identity.prefix());
        words.extend(self.words);
        let mut command = command(&words, self.folder)?;
        if self.lifetime == Lifetime::Guarded {
            // A Ctrl-C is meant for us. Detached, setsid sees to it, which would fork
            // if it led a group already.
            command.process_group(0);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().doing(|| "sharing its log".to_owned())?)
            .stderr(log)
            .spawn()
            .doing(|| format!("starting {}", words.join(&OsString::from(" ")).display()))?;
        let process = Process::now(child.id()).ok_or_else(|| Error::State {
            engine: "engines".to_owned(),
            what: format!("/proc/{}/stat cannot be read", child.id()),
        })?;
        Ok(Running { child, process })
    }
}

/// A command with almost nothing of our environment: an engine that is tested must not
/// depend on what the person who tests has set.
///
/// # Errors
/// There are no words.
pub fn command(words: &[OsString], folder: &Path) -> Result<Command, Error> {
    let [program, arguments @ ..] = words else {
        return Err(Error::State {
            engine: "engines".to_owned(),
            what: "there is no command to start".to_owned(),
        });
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("LC_ALL", "C");
    for name in ["PATH", "HOME", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    Ok(command)
}

impl Running {
    /// The process.
    pub fn process(&self) -> Process {
        self.process
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end.
    pub fn end(&mut self, patience: Duration) -> Option<ExitStatus> {
        Deadline::after(patience).until(Duration::from_millis(5), || self.ended())
    }
}
