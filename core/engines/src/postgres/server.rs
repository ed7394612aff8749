//! One PostgreSQL server: a process with its children, its data, its address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Signal;

use super::configuration::{SUPERUSER, Upstream, quoted};
use super::install::{Binaries, Postgres};
use super::options::{Authentication, DATABASE, Options, USER};
use super::wire::{Row, Session, WireError};
use super::{NAME, base_backup, restore};
use crate::address;
use crate::cache::Cache;
use crate::error::Error;
use crate::guardian::{Guardian, Home};
use crate::identity::Identity;
use crate::launch::{Lifetime, Running};
use crate::patience::Deadline;
use crate::processes::{Process, gone};
use crate::programs;
use crate::progress::Progress;

/// The server's certificate, in its data folder.
pub(super) const CERTIFICATE: &str = "server.crt";
/// Its private key, beside that.
pub(super) const KEY: &str = "server.key";

pub(super) const PAUSE: Duration = Duration::from_millis(10);
/// How often a start is tried at another port, if somebody took the one chosen.
const PORTS_TRIED: usize = 5;

/// A server in a folder of its own. It ends, and its folder is removed, when this is
/// dropped, and also when this process is killed.
///
/// All methods take `&self`: one thread may kill it while others query it.
#[derive(Debug)]
pub struct Server {
    pub(super) binaries: Binaries,
    pub(super) options: Options,
    pub(super) identity: Identity,
    pub(super) port: u16,
    pub(super) upstream: Option<Upstream>,
    pub(super) lifetime: Lifetime,
    running: Mutex<Option<Running>>,
    guardian: Option<Guardian>,
    // Last: it is removed when nothing works in it any more.
    home: Home,
}

impl Server {
    /// Starts one in a temporary folder; installs PostgreSQL first if it is not there.
    ///
    /// # Errors
    /// It is not installed and cannot be ([`Error::Missing`] says what this machine
    /// lacks), or does not answer in time.
    pub fn start(options: &Options) -> Result<Self, Error> {
        let cache = Cache::of_user()?;
        let binaries = if options.client_programs {
            Postgres.ensure_with_programs(&cache, &Progress::to_stderr)?
        } else {
            Postgres.ensure(&cache, &Progress::to_stderr)?
        };
        Self::start_in(&binaries, options, Home::temporary()?, Lifetime::Guarded)
    }

    /// Starts one in this folder, with the data that is there.
    pub(crate) fn start_in(
        binaries: &Binaries,
        options: &Options,
        home: Home,
        lifetime: Lifetime,
    ) -> Result<Self, Error> {
        let server = Self::prepare(binaries, options, home, lifetime)?;
        if !server.data().exists() {
            server.initialise()?;
        }
        let server = server.first_start()?;
        server.create_database()?;
        Ok(server)
    }

    /// A server that does not run yet.
    pub(super) fn prepare(
        binaries: &Binaries,
        options: &Options,
        home: Home,
        lifetime: Lifetime,
    ) -> Result<Self, Error> {
        let identity = Identity::unprivileged(NAME)?;
        identity.can_reach(NAME, &binaries.folder)?;
        identity.give(home.path())?;
        if let Some(parent) = home.path().parent() {
            identity.can_reach(NAME, parent)?;
        }
        let mut server = Self {
            binaries: binaries.clone(),
            options: options.clone(),
            identity,
            port: 0,
            upstream: None,
            lifetime,
            running: Mutex::new(None),
            guardian: None,
            home,
        };
        restore::make_archive(&server)?;
        if lifetime == Lifetime::Guarded {
            // QUIT is PostgreSQL's immediate shutdown, which leaves no shared memory.
            let mut guardian = Guardian::start(&server.identity, "QUIT", server.folder())?;
            guardian.guard(server.folder())?;
            guardian.guard(&server.data())?;
            guardian.guard(&server.folder().join("initdb"))?;
            server.guardian = Some(guardian);
        }
        Ok(server)
    }

    pub(super) fn follow(&mut self, upstream: Upstream) {
        self.upstream = Some(upstream);
    }

    /// Picks a port, writes the settings and starts.
    pub(super) fn first_start(mut self) -> Result<Self, Error> {
        for tried in 1.. {
            self.port = match self.options.port {
                Some(port) => port,
                None => address::free_port(Ipv4Addr::LOCALHOST)?,
            };
            self.configure()?;
            match self.launch() {
                Ok(()) => break,
                Err(Error::Start { tail, .. })
                    if self.options.port.is_none()
                        && tried < PORTS_TRIED
                        && tail.contains("could not bind") => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self)
    }

    /// 127.0.0.1 and its port.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port)
    }

    /// How clients connect, in libpq's keywords. With a password, it contains it.
    pub fn connection_string(&self) -> String {
        let port = self.port;
        let mut text = format!("host=127.0.0.1 port={port} user={USER} dbname={DATABASE}");
        if let Authentication::Password(password) = &self.options.authentication {
            let escaped = password.reveal().replace('\\', "\\\\").replace('\'', "\\'");
            text.push_str(&format!(" password='{escaped}'"));
        }
        text
    }

    /// What it says of itself, e.g. "18.4".
    pub fn version(&self) -> &str {
        &self.binaries.version
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.home.path()
    }

    /// Lets the folder stay when this is dropped, for whoever wants to look into it. Not
    /// where this process is killed.
    pub fn keep_folder(&mut self) {
        self.home.keep();
    }

    /// Its data.
    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// What it has to say.
    pub fn log(&self) -> PathBuf {
        self.folder().join("log")
    }

    /// The process that the others belong to, if it runs.
    pub fn process(&self) -> Option<Process> {
        let mut running = self.running();
        let running = running.as_mut()?;
        running.ended().is_none().then(|| running.process())
    }

    /// Runs statements as the superuser in the database [`DATABASE`], each value as text.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub fn query(&self, sql: &str) -> Result<Vec<Row>, Error> {
        let mut session = self
            .session(DATABASE)
            .map_err(|error| refused(sql, &error))?;
        session.query(sql).map_err(|error| refused(sql, &error))
    }

    /// Changes one setting, as `ALTER SYSTEM` does; an empty value takes that back.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub fn set(&self, name: &str, value: &str) -> Result<(), Error> {
        let change = if value.is_empty() {
            format!("ALTER SYSTEM RESET {name}")
        } else {
            format!("ALTER SYSTEM SET {name} = {}", quoted(value))
        };
        // Not in one query: that would be one transaction, which ALTER SYSTEM refuses.
        self.query(&change)?;
        self.query("SELECT pg_reload_conf()")?;
        Ok(())
    }

    /// Kills it and all its children at once (SIGKILL): nothing is flushed, no client
    /// gets a word, shared memory is gone. Its data stays for [`restart`](Self::restart).
    ///
    /// # Errors
    /// They do not end.
    pub fn kill9(&self) -> Result<(), Error> {
        let mut running = self.running();
        let Some(mut running) = running.take() else {
            return Ok(());
        };
        let killed = running.process().kill_tree();
        self.ended(&mut running, &killed)
    }

    /// Stops it where it stands, with all its children: connections stay open, and
    /// nothing answers.
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

    /// Stops it cleanly: clients are disconnected, everything is written.
    ///
    /// # Errors
    /// It does not end in time.
    pub fn stop(&self) -> Result<(), Error> {
        self.shut_down(Signal::INT, self.options.patience)
    }

    /// Starts it again on its address with its data; stops it first if it runs.
    ///
    /// # Errors
    /// It does not end, or not answer, in time.
    pub fn restart(&self) -> Result<(), Error> {
        self.stop()?;
        self.launch()
    }

    /// A replica of it, which follows it by streaming; this one goes on meanwhile.
    ///
    /// # Errors
    /// It does not come up, or does not follow in time.
    pub fn replica(&self, options: &super::ReplicaOptions) -> Result<Self, Error> {
        base_backup::replica(self, options)
    }

    /// Makes a replica a primary. The old one must be dead, or there are two.
    ///
    /// # Errors
    /// It is none, or does not become one in time.
    pub fn promote(&self) -> Result<(), Error> {
        // Copied from the primary, with whose replicas this one would wait for ever.
        self.set("synchronous_standby_names", "")?;
        let seconds = self.options.patience.as_secs().max(1);
        let rows = self.query(&format!("SELECT pg_promote(true, {seconds})"))?;
        if rows == [[Some("t".to_owned())]] {
            return Ok(());
        }
        Err(self.state(format!("it was not promoted within {seconds} s")))
    }

    /// Waits until this replica has replayed what the primary has written by now.
    ///
    /// # Errors
    /// One of them does not answer, or it takes too long.
    pub fn catch_up(&self, primary: &Self) -> Result<(), Error> {
        let rows = primary.query("SELECT pg_current_wal_flush_lsn()")?;
        let written = rows.into_iter().flatten().flatten().next();
        let written = quoted(&written.unwrap_or_default());
        let behind = format!("SELECT pg_last_wal_replay_lsn() >= {written}::pg_lsn");
        self.wait_for("replaying what the primary has written", || {
            Ok(self.query(&behind)? == [[Some("t".to_owned())]])
        })
    }

    pub(super) fn wait_for(
        &self,
        what: &str,
        mut reached: impl FnMut() -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let deadline = Deadline::after(self.options.patience);
        deadline
            .until(PAUSE, || match reached() {
                Ok(true) => Some(Ok(())),
                Ok(false) => None,
                Err(error) => Some(Err(error)),
            })
            .unwrap_or_else(|| {
                let patience = self.options.patience.as_secs();
                Err(self.start_error(format!("{what} took more than {patience} s")))
            })
    }

    /// Lets it run after this process ends. Its folder is kept.
    pub(crate) fn leave(self) -> Option<Process> {
        let process = self.process();
        self.running().take();
        process
    }

    pub(super) fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn session(&self, database: &str) -> Result<Session, WireError> {
        let socket = self.folder().join(format!(".s.PGSQL.{}", self.port));
        Session::open(&socket, SUPERUSER, database, self.options.patience)
    }

    fn shut_down(&self, signal: Signal, patience: Duration) -> Result<(), Error> {
        let mut guard = self.running();
        let Some(mut running) = guard.take() else {
            return Ok(());
        };
        let process = running.process();
        let tree = process.tree();
        // A paused process would take the signal only later.
        process.resume_tree();
        process.signal(signal);
        if running.end(patience).is_none() {
            *guard = Some(running);
            let seconds = patience.as_secs();
            return Err(self.state(format!("it did not stop within {seconds} s")));
        }
        self.ended(&mut running, &tree)
    }

    pub(super) fn ended(&self, running: &mut Running, processes: &[Process]) -> Result<(), Error> {
        running.end(self.options.patience);
        let left = gone(processes, self.options.patience);
        if left.is_empty() {
            return Ok(());
        }
        Err(self.state(format!("these of its processes did not end: {left:?}")))
    }

    pub(super) fn start_error(&self, why: String) -> Error {
        Error::Start {
            engine: format!("{NAME} on {}", self.address()),
            why,
            tail: programs::tail(&self.log(), 20),
            log: self.log(),
        }
    }

    pub(super) fn state(&self, what: String) -> Error {
        Error::State {
            engine: format!("{NAME} on {}", self.address()),
            what,
        }
    }
}

pub(super) fn refused(statement: &str, error: &WireError) -> Error {
    Error::Refused {
        engine: NAME,
        statement: statement.to_owned(),
        why: error.to_string(),
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The immediate shutdown leaves no shared memory behind; what does not obey is
        // killed. Nobody is there to be told of an error.
        if self
            .shut_down(Signal::QUIT, Duration::from_secs(5))
            .is_err()
        {
            let _killed = self.kill9();
        }
        if let Some(guardian) = self.guardian.take() {
            guardian.dismiss();
        }
    }
}
