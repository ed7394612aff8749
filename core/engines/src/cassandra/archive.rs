//! Java's archive of Cassandra's classes (application class data sharing, JEP 350): a
//! node that has it starts with half the work.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::NAME;
use super::cluster::Cluster;
use super::install::{Cassandra, Installation, VERSION};
use super::java::Java;
use super::options::Options;
use crate::cache::Cache;
use crate::error::{Doing, Error};
use crate::patience::sleep;
use crate::progress::{Tell, Tells};

/// What a node loads after it answers belongs to its start too.
const AFTER_THE_START: Duration = Duration::from_secs(2);

/// The archive that belongs to this Java, if it was made.
pub fn find(cache: &Cache, java: &Java) -> Option<PathBuf> {
    let path = path(cache, java);
    path.is_file().then_some(path)
}

/// Makes the archive, if it was not made: starts a node that writes it when it stops.
/// Without it nodes only start slower, so an error is told and is none.
pub fn ensure(cache: &Cache, installation: &Installation, tell: Tell<'_>) -> Option<PathBuf> {
    if let Some(found) = find(cache, &installation.java) {
        return Some(found);
    }
    make(cache, installation, tell)
        .inspect_err(|error| tell.tell(NAME, format!("it will start slower: {error}")))
        .ok()
}

fn make(cache: &Cache, installation: &Installation, tell: Tell<'_>) -> Result<PathBuf, Error> {
    let _lock = Cassandra.lock(cache, tell)?;
    if let Some(found) = find(cache, &installation.java) {
        return Ok(found);
    }
    tell.tell(
        NAME,
        "archiving its classes, so that it starts in half the time: 20 s, once".to_owned(),
    );
    let place = path(cache, &installation.java);
    let temporary = tempfile::Builder::new()
        .prefix(".archive-")
        .tempdir_in(cache.folder())
        .doing(|| format!("writing to {}", cache.folder().display()))?;
    let written = temporary.path().join("classes.jsa");
    let options = Options {
        nodes: 1,
        ..Options::default()
    };
    let cluster = Cluster::start_archiving(installation, &options, &written)?;
    sleep(AFTER_THE_START);
    cluster.stop(1)?;
    let log = cluster.log(1);
    std::fs::rename(&written, &place).doing(|| {
        format!(
            "no archive was written; the end of {}:\n{}",
            log.display(),
            crate::programs::tail(&log, 5)
        )
    })?;
    Ok(place)
}

/// An archive is for one Java alone; another does not use it.
fn path(cache: &Cache, java: &Java) -> PathBuf {
    let home = java.program.parent().and_then(Path::parent);
    let home = home.and_then(Path::file_name).unwrap_or_default();
    cache.folder().join(format!(
        "{NAME}-{VERSION}-{}-{}.jsa",
        home.display(),
        java.version
    ))
}
