//! `lombard backup`: make, archive, verify, list, restore, prune.
//!
//! A backup is one copy, made at once. An archive ([`archive`]) follows the bank, and can
//! be restored to any moment since it began ([`moments`]).

mod archive;
mod moments;
mod restore;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lombard_service::Host;
use lombard_store::StoreError;
use lombard_store::embedded::{Archive, BackupReport, verify_backup};
use serde::{Deserialize, Serialize};

use crate::Global;
use crate::assembly;
use crate::control;
use crate::engine;
use crate::failure::Failure;
use crate::output::{self, count};
use crate::running::Running;

pub use archive::Passed;
pub use moments::date;

/// Backups and archives of the embedded store.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  lombard backup make /backups/monday          one copy; the bank may run, and goes on
  lombard backup verify /backups/monday        every record and row; exit code 1 if any is wrong
  lombard backup restore /backups/monday --data ./restored
  lombard backup archive /backups/archive      follow the bank until this is stopped
  lombard backup list /backups/archive         the moments that it can restore to
  lombard backup restore /backups/archive --data ./restored --until 2026-11-22T06:00:00Z
  lombard check --data ./restored              what an auditor says of it

A backup is the log up to a durable moment: everything that was acknowledged
before it began is in it. An archive is a base and the log that followed it:
everything that was acknowledged at or before the moment that it is restored to
is there, and nothing that was asked for behind it.")]
pub enum Backup {
    /// Copy the bank's state, while it runs or while it does not
    Make {
        /// A folder that does not exist yet
        folder: PathBuf,
    },
    /// Follow the bank: copy what is new in its log, again and again
    Archive(archive::Options),
    /// Read a backup or an archive whole, and compare every checksum
    Verify {
        /// The backup or archive
        folder: PathBuf,
    },
    /// Show the moments that an archive can be restored to
    List {
        /// The archive
        folder: PathBuf,
    },
    /// Put a verified backup, or an archive up to a moment, into a data folder (--data) that
    /// has no state yet
    Restore(restore::Options),
    /// Remove from an archive what only moments before this one need
    Prune(moments::Prune),
}

/// What was copied or verified. Its JSON is what programs rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Segments of the log.
    pub segments: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Commits, where they were read.
    pub commits: u64,
    /// Rows, where they were read.
    pub rows: u64,
    /// Partitions, where they were read.
    pub partitions: u64,
    /// The position in the log that it goes up to.
    pub position: u64,
}

impl Copied {
    /// What the store reported.
    pub fn of(report: &BackupReport) -> Self {
        Self {
            segments: report.segments as u64,
            bytes: report.bytes,
            commits: report.commits,
            rows: report.rows,
            partitions: report.partitions,
            position: report.position,
        }
    }

    /// Tells a person.
    fn tell(&self, what: &str, folder: &Path) -> Result<(), Failure> {
        output::line(format!(
            "{what}: {}, {} in {}, up to position {}",
            folder.display(),
            megabytes(self.bytes),
            count(self.segments, "segment", "segments"),
            self.position
        ))?;
        self.tell_read()
    }

    /// Tells a person what was read.
    fn tell_read(&self) -> Result<(), Failure> {
        if self.commits == 0 {
            return Ok(());
        }
        output::line(format!(
            "  {}, {}, {}: every checksum is right",
            count(self.commits, "commit", "commits"),
            count(self.rows, "row", "rows"),
            count(self.partitions, "partition", "partitions")
        ))
    }
}

/// Runs the command.
///
/// # Errors
/// The folder is there already, is no backup, or is damaged.
pub async fn run(global: &Global, backup: Backup) -> Result<(), Failure> {
    let (what, folder, copied) = match backup {
        Backup::Make { folder } => {
            let folder = absolute(&folder)?;
            let copied = make(global, &folder).await?;
            ("made", folder, copied)
        }
        Backup::Verify { folder } => {
            let copied = verify(&folder).await?;
            ("verified", folder, copied)
        }
        Backup::Archive(options) => return archive::run(global, options).await,
        Backup::List { folder } => return moments::list(global, &folder),
        Backup::Restore(options) => return restore::run(global, options).await,
        Backup::Prune(options) => return moments::prune(global, &options),
    };
    if global.json {
        return output::json(&copied);
    }
    copied.tell(what, &folder)
}

fn absolute(folder: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(folder)
        .map_err(|error| Failure::usage(format!("{}: {error}", folder.display())))
}

async fn make(global: &Global, folder: &Path) -> Result<Copied, Failure> {
    let data = global.data();
    if Running::find(data).is_some() {
        let request = control::Request::Backup {
            to: folder.to_owned(),
        };
        return control::ask(data, &request).await;
    }
    let engine = open_stopped(global)?;
    let report = engine
        .backup(folder)
        .await
        .map_err(|error| wrong(folder, &error));
    engine.close();
    Ok(Copied::of(&report?))
}

/// The engine of a bank that does not run.
fn open_stopped(global: &Global) -> Result<Arc<lombard_store::embedded::Embedded>, Failure> {
    let data = global.data();
    let config = assembly::configuration(global)?;
    if !engine::is_embedded(&config)? {
        return Err(
            Failure::failed("the partitions of this bank are not in a folder of its own")
                .advise("back them up with their server's own tools: docs/runbooks says how"),
        );
    }
    if !data.join(engine::STORE_FOLDER).is_dir() {
        return Err(
            Failure::failed(format!("there is no bank in {}", data.display()))
                .advise("name its folder with --data"),
        );
    }
    engine::open_embedded(&config, data, &Host::system())
}

async fn verify(folder: &Path) -> Result<Copied, Failure> {
    let of = folder.to_owned();
    if !Archive::is_there(folder) {
        return blocking(move |_stopped| {
            let report = verify_backup(&of).map_err(|error| wrong(&of, &error))?;
            Ok(Copied::of(&report))
        })
        .await;
    }
    let archive = Archive::open(folder).map_err(|error| moments::wrong(folder, &error))?;
    let bar = reading(archive.bytes());
    let shown = bar.clone();
    let verified = blocking(move |stopped| {
        let mut watch = |bytes| {
            shown.inc(bytes);
            !stopped.load(Ordering::Relaxed)
        };
        let report = archive.verify(&mut watch);
        let report = report.map_err(|error| moments::wrong(&of, &error))?;
        Ok(Copied::of(&report))
    })
    .await;
    bar.finish_and_clear();
    verified
}

/// A bar for bytes that are read.
fn reading(bytes: u64) -> indicatif::ProgressBar {
    output::progress(
        bytes,
        "{spinner} [{bar:30}] {bytes} of {total_bytes}, {eta}",
    )
}

/// Raised when nobody waits any more.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads and writes beside the runtime, so that a signal is heard meanwhile.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&AtomicBool) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let stop = Stop(Arc::default());
    let stopped = stop.0.clone();
    let done = tokio::task::spawn_blocking(move || work(&stopped)).await;
    drop(stop);
    match done {
        Ok(done) => done,
        Err(error) => Err(Failure::failed(format!(
            "it did not get to its end: {error}"
        ))),
    }
}

fn wrong(folder: &Path, error: &StoreError) -> Failure {
    let failure = Failure::failed(error.to_string());
    match error {
        StoreError::Damaged(_) => failure.advise(format!(
            "do not rely on {}: take another backup",
            folder.display()
        )),
        _ => failure,
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
