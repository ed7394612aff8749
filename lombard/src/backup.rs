//! `lombard backup`: make, verify, restore.

use std::path::{Path, PathBuf};

use lombard_store::StoreError;
use lombard_store::embedded::{BackupReport, restore, verify_backup};
use serde::{Deserialize, Serialize};

use crate::Global;
use crate::assembly;
use crate::control;
use crate::failure::Failure;
use crate::output::{self, count};
use crate::running::Running;

/// Backups of the embedded store.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  lombard backup make /backups/monday          the bank may run, and goes on
  lombard backup verify /backups/monday        every record and row; exit code 1 if any is wrong
  lombard backup restore /backups/monday --data ./restored
  lombard check --data ./restored              what an auditor says of it

A backup is the log up to a durable moment: everything that was acknowledged
before it began is in it.")]
pub enum Backup {
    /// Copy the bank's state, while it runs or while it does not
    Make {
        /// A folder that does not exist yet
        folder: PathBuf,
    },
    /// Read a backup whole, and compare every checksum
    Verify {
        /// The backup
        folder: PathBuf,
    },
    /// Put a verified backup into a data folder (--data) that has no state yet
    Restore {
        /// The backup
        folder: PathBuf,
    },
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
}

/// Runs the command.
///
/// # Errors
/// The folder is there already, is no backup, or is damaged.
pub async fn run(global: &Global, backup: Backup) -> Result<(), Failure> {
    let (what, folder, copied) = match backup {
        Backup::Make { folder } => {
            let folder = std::path::absolute(&folder)
                .map_err(|error| Failure::usage(format!("{}: {error}", folder.display())))?;
            let copied = make(global, &folder).await?;
            ("made", folder, copied)
        }
        Backup::Verify { folder } => {
            let report = verify_backup(&folder).map_err(|error| wrong(&folder, &error))?;
            ("verified", folder, Copied::of(&report))
        }
        Backup::Restore { folder } => {
            let report = put_back(global, &folder)?;
            ("restored", global.data().to_owned(), Copied::of(&report))
        }
    };
    if global.json {
        return output::json(&copied);
    }
    output::line(format!(
        "{what}: {}, {} in {}, up to position {}",
        folder.display(),
        megabytes(copied.bytes),
        count(copied.segments, "segment", "segments"),
        copied.position
    ))?;
    if copied.commits > 0 {
        output::line(format!(
            "  {}, {}, {}: every checksum is right",
            count(copied.commits, "commit", "commits"),
            count(copied.rows, "row", "rows"),
            count(copied.partitions, "partition", "partitions")
        ))?;
    }
    Ok(())
}

async fn make(global: &Global, folder: &Path) -> Result<Copied, Failure> {
    let data = global.data();
    if Running::find(data).is_some() {
        let request = control::Request::Backup {
            to: folder.to_owned(),
        };
        return control::ask(data, &request).await;
    }
    if !data.join(assembly::STORE_FOLDER).is_dir() {
        return Err(
            Failure::failed(format!("there is no bank in {}", data.display()))
                .advise("name its folder with --data"),
        );
    }
    let engine = assembly::open(&assembly::configuration(global)?, data)?;
    let report = engine
        .backup(folder)
        .await
        .map_err(|error| wrong(folder, &error));
    engine.close();
    Ok(Copied::of(&report?))
}

fn put_back(global: &Global, folder: &Path) -> Result<BackupReport, Failure> {
    let store = global.data().join(assembly::STORE_FOLDER);
    if store.exists() {
        return Err(
            Failure::failed(format!("{} has a state already", global.data().display()))
                .advise("name a new folder with --data; the old one stays as it is"),
        );
    }
    restore(folder, &store).map_err(|error| wrong(folder, &error))
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
