//! One node: a Java process, its folder, its address.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Signal;

use super::configuration::{self, Place};
use super::install::Installation;
use super::options::Options;
use super::{CQL_PORT, NAME, restore};
use crate::address;
use crate::disk::Disk;
use crate::error::{Doing, Error};
use crate::identity::Identity;
use crate::launch::{Launch, Lifetime, Running, command};
use crate::patience::Deadline;
use crate::processes::{Process, gone};
use crate::programs;

const PAUSE: Duration = Duration::from_millis(50);

/// One node.
#[derive(Debug)]
pub struct Node {
    /// From 1.
    pub number: u8,
    /// Its address.
    pub ip: Ipv4Addr,
    /// The address that it gives for itself.
    pub announced: Ipv4Addr,
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: Option<Running>,
    jmx_port: u16,
    /// Where its data is, if not in its folder.
    disk: Option<Disk>,
}

/// What a node is started with, besides its files.
#[derive(Debug)]
pub struct Start<'a> {
    /// The program.
    pub installation: &'a Installation,
    /// The cluster's.
    pub options: &'a Options,
    /// How long it waits for the others to hear of a change of the ring.
    pub ring_delay_ms: u32,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// Where Java writes its archive of classes when the node stops.
    pub archive_to: Option<&'a Path>,
    /// The keyspace that alone is replayed from the commit log, if not all are.
    pub replay: Option<&'a str>,
}

impl Node {
    /// A node that does not run.
    pub fn new(number: u8, ip: Ipv4Addr, announced: Ipv4Addr, cluster: &Path) -> Self {
        Self {
            number,
            ip,
            announced,
            folder: cluster.join(format!("n{number}")),
            state: Mutex::default(),
        }
    }

    /// Where it listens for clients, who speak CQL.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.ip), CQL_PORT)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it has to say.
    pub fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Its process, if it runs.
    pub fn process(&self) -> Option<Process> {
        let mut state = self.state();
        let running = state.running.as_mut()?;
        running.ended().is_none().then(|| running.process())
    }

    /// Writes its files. `strict`: whether clients without TLS are refused.
    pub fn configure(
        &self,
        options: &Options,
        seeds: &[Ipv4Addr],
        auto_bootstrap: bool,
        tokens: Option<String>,
        strict: bool,
    ) -> Result<(), Error> {
        let about = || format!("writing the settings to {}", self.folder.display());
        let place = Place {
            ip: self.ip,
            announced: self.announced,
            folder: &self.folder,
            seeds,
            auto_bootstrap,
            strict,
            tokens,
        };
        std::fs::create_dir_all(self.folder.join("data")).doing(about)?;
        let write = |name: &str, text: &str| std::fs::write(self.folder.join(name), text);
        write("cassandra.yaml", &configuration::yaml(options, &place)).doing(about)?;
        write("logback.xml", configuration::LOGBACK).doing(about)?;
        if let Some(disk) = options.small_disk.filter(|disk| disk.node == self.number) {
            let mut state = self.state();
            if state.disk.is_none() {
                let data = self.folder.join("data");
                state.disk = Some(Disk::mount(&data, disk.mib, &self.log())?);
            }
        }
        if options.archived {
            let archive = self.folder.join(restore::ARCHIVE);
            std::fs::create_dir_all(&archive).doing(about)?;
            restore::configure(self, &restore::archiving(&archive))?;
        }
        if let Some(tls) = &options.tls {
            let mut pem = String::new();
            for source in [&tls.key, &tls.certificate] {
                pem += &std::fs::read_to_string(source)
                    .doing(|| format!("reading {}", source.display()))?;
            }
            write(configuration::CERTIFICATE, &pem).doing(about)?;
        }
        Ok(())
    }

    /// Starts its process, which then takes seconds to answer.
    pub fn launch(&self, start: &Start<'_>) -> Result<(), Error> {
        let mut state = self.state();
        let Start {
            installation,
            options,
            ..
        } = *start;
        state.jmx_port = address::free_port(Ipv4Addr::LOCALHOST)?;
        let disk = state.disk.as_ref();
        let mut words = disk.map_or_else(Vec::new, |disk| disk.enter(&self.folder));
        words.push(OsString::from(&installation.java.program));
        words.extend(
            configuration::java_options(options, &self.folder, state.jmx_port, start.ring_delay_ms)
                .into_iter()
                .map(OsString::from),
        );
        match (start.archive_to, &installation.archive) {
            (Some(archive), _) => {
                words.push(format!("-XX:ArchiveClassesAtExit={}", archive.display()).into());
            }
            (None, Some(archive)) => words.extend(use_archive(archive)),
            (None, None) => {}
        }
        if let Some(keyspace) = start.replay {
            words.push(format!("-Dcassandra.replayList={keyspace}").into());
        }
        let mut class_path = OsString::from(installation.class_path()?);
        if let Some(folder) = restore::on_class_path(self) {
            class_path.push(":");
            class_path.push(folder);
        }
        words.push("-cp".into());
        words.push(class_path);
        words.push("org.apache.cassandra.service.CassandraDaemon".into());
        state.running = Some(
            Launch {
                identity: &Identity::Ours,
                words,
                folder: &self.folder,
                log: &self.log(),
                lifetime: start.lifetime,
            }
            .start()?,
        );
        Ok(())
    }

    /// Waits until clients are served.
    pub fn answers(&self, patience: Duration) -> Result<(), Error> {
        let deadline = Deadline::after(patience);
        let connects = || TcpStream::connect_timeout(&self.address(), PAUSE * 4).is_ok();
        deadline
            .until(PAUSE, || match self.state().running.as_mut() {
                None => Some(Err("it was stopped meanwhile".to_owned())),
                Some(running) => match running.ended() {
                    Some(status) => Some(Err(format!("it ended ({status})"))),
                    None => connects().then_some(Ok(())),
                },
            })
            .unwrap_or_else(|| {
                let seconds = patience.as_secs();
                Err(format!("it did not answer within {seconds} s"))
            })
            .map_err(|why| self.start_error(why))
    }

    /// Kills it: nothing is flushed, no client gets a word.
    pub fn kill9(&self, patience: Duration) -> Result<(), Error> {
        let Some(mut running) = self.state().running.take() else {
            return Ok(());
        };
        let killed = running.process().kill_tree();
        running.end(patience);
        let left = gone(&killed, patience);
        if left.is_empty() {
            return Ok(());
        }
        Err(self.error(format!("these of its processes did not end: {left:?}")))
    }

    /// Stops it where it stands: connections stay open, and nothing answers.
    pub fn pause(&self) {
        if let Some(process) = self.process() {
            process.pause_tree();
        }
    }

    /// Lets it go on.
    pub fn resume(&self) {
        if let Some(process) = self.process() {
            process.resume_tree();
        }
    }

    /// Stops it cleanly (SIGTERM).
    pub fn stop(&self, patience: Duration) -> Result<(), Error> {
        let mut state = self.state();
        let Some(mut running) = state.running.take() else {
            return Ok(());
        };
        let process = running.process();
        process.resume_tree();
        process.signal(Signal::TERM);
        if running.end(patience).is_some() {
            return Ok(());
        }
        state.running = Some(running);
        let seconds = patience.as_secs();
        Err(self.error(format!("it did not stop within {seconds} s")))
    }

    /// Removes its data, so that it joins as a new one.
    pub fn wipe(&self) -> Result<(), Error> {
        if self.process().is_some() {
            return Err(self.error("it runs: stop it before its data is removed".to_owned()));
        }
        if self.state().disk.is_some() {
            return Err(self.error("its data is on a disk of its own".to_owned()));
        }
        let data = self.folder.join("data");
        std::fs::remove_dir_all(&data).doing(|| format!("removing {}", data.display()))
    }

    /// Does something with the small disk that it has.
    pub fn on_disk<T>(&self, work: impl FnOnce(&Disk) -> Result<T, Error>) -> Result<T, Error> {
        let state = self.state();
        let no_disk = || self.error("it has no small disk".to_owned());
        work(state.disk.as_ref().ok_or_else(no_disk)?)
    }

    /// Runs Cassandra's own tool against it. Returns what that prints.
    pub fn nodetool(
        &self,
        installation: &Installation,
        arguments: &[&str],
    ) -> Result<String, Error> {
        let jmx_port = self.state().jmx_port.to_string();
        let folder = self.folder.display();
        let mut words = vec![OsString::from(&installation.java.program)];
        words.extend(configuration::opened().map(OsString::from));
        for word in ["-Xmx96m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"] {
            words.push(word.into());
        }
        if let Some(archive) = &installation.archive {
            words.extend(use_archive(archive));
        }
        words.push(format!("-Dcassandra.storagedir={folder}").into());
        words.push(format!("-Dlogback.configurationFile={folder}/logback.xml").into());
        // Else it keeps a history in the home of whoever runs it.
        words.push(format!("-Duser.home={folder}").into());
        words.push("-cp".into());
        words.push(installation.class_path()?.into());
        for word in [
            "org.apache.cassandra.tools.NodeTool",
            "-h",
            "127.0.0.1",
            "-p",
            &jmx_port,
        ] {
            words.push(word.into());
        }
        words.extend(arguments.iter().map(OsString::from));
        let output = programs::run(&mut command(&words, &self.folder)?)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(self.error(format!(
            "nodetool {} failed ({}): {}",
            arguments.join(" "),
            output.status,
            programs::printed(&output, 10)
        )))
    }

    /// Lets it run after this process ends.
    pub fn leave(&self) -> Option<Process> {
        let process = self.process();
        self.state().running.take();
        process
    }

    /// An error of this node.
    pub fn error(&self, what: String) -> Error {
        Error::State {
            engine: format!("{NAME} node {} on {}", self.number, self.ip),
            what,
        }
    }

    fn start_error(&self, why: String) -> Error {
        Error::Start {
            engine: format!("{NAME} node {} on {}", self.number, self.ip),
            why,
            tail: programs::tail(&self.log(), 20),
            log: self.log(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Java goes on without an archive that is not its own, and would say so.
fn use_archive(archive: &Path) -> [OsString; 2] {
    [
        format!("-XX:SharedArchiveFile={}", archive.display()).into(),
        "-Xlog:cds=off".into(),
    ]
}
