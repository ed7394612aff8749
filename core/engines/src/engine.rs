//! What every engine can do for a person: be installed, started, stopped.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::cache::Cache;
use crate::error::Error;
use crate::processes::Process;
use crate::progress::Tell;

/// An engine. A further one implements this in a folder of its own, and stands in
/// [`ENGINES`](crate::ENGINES).
pub trait Engine: fmt::Debug + Sync {
    /// What it is called, in one word: the command line and the cache use it.
    fn name(&self) -> &'static str;

    /// Looks for what is installed; quick.
    ///
    /// # Errors
    /// It is damaged, or this machine lacks what runs it.
    fn installed(&self, cache: &Cache) -> Result<Option<Installed>, Error>;

    /// Makes sure that it is there. With `verify`, contents too are compared with what
    /// was pinned, and what differs is fetched again.
    ///
    /// # Errors
    /// [`Error::Missing`] says what this machine lacks.
    fn install(&self, cache: &Cache, verify: bool, tell: Tell<'_>) -> Result<Installed, Error>;

    /// The well-known addresses on which [`start`](Self::start) makes it listen.
    fn addresses(&self) -> Vec<SocketAddr>;

    /// Starts it in this folder, with the data that is there, so that it goes on when
    /// this process ends; waits until it answers.
    ///
    /// # Errors
    /// It is not installed and cannot be, or does not answer in time.
    fn start(&self, cache: &Cache, folder: &Path, tell: Tell<'_>) -> Result<Vec<Member>, Error>;

    /// The signal upon which one of its processes stops cleanly.
    fn stop_signal(&self) -> Signal;

    /// How a person reaches it, once it runs.
    fn reach(&self) -> String;
}

/// What is installed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Installed {
    /// Its version.
    pub version: String,
    /// Where.
    pub folder: PathBuf,
    /// What else there is to say: what runs it, or that it is the system's.
    pub note: Option<String>,
}

/// One server of an engine that runs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Member {
    /// Its process; others may belong to it.
    pub process: Process,
    /// Where it serves.
    pub address: SocketAddr,
    /// What it has to say.
    pub log: PathBuf,
}
