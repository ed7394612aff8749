//! `lombard backup restore`: puts a backup, or an archive up to a moment, into a new folder.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use lombard_store::embedded::{Archive, Restored, Until, restore};
use serde::Serialize;

use super::moments::{self, date, moment_us, text_of};
use super::{Copied, blocking, megabytes, reading, wrong};
use crate::Global;
use crate::engine;
use crate::failure::Failure;
use crate::output;

/// Puts back.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lombard backup restore /backups/monday --data ./restored
  lombard backup restore /backups/archive --data ./restored --until 2026-11-22T06:00:00Z
  lombard backup restore /backups/archive --data ./restored --latest
  lombard backup restore /backups/archive --data ./restored --position 1048576
  lombard backup restore /backups/archive --data ./ledger-then --until 2026-11-22T06:00:00Z --keyspace ledger

What is restored is an exact prefix of the log: all services are as they were at the
same moment, and agree with one another. It is a bank of its own, and its archive
needs another folder.

With --keyspace only that service's state is there. What other services keep of it,
and it of them, is then of another time: customers without their accounts, accounts
without their money. Use it to look things up, or to compare; not to go on from.")]
pub struct Options {
    /// The backup or archive
    pub folder: PathBuf,
    /// The last commit at or before this moment, e.g. 2026-11-22T06:00:00Z; of an archive
    #[arg(long, value_name = "MOMENT", value_parser = moment_us, conflicts_with = "position")]
    pub until: Option<u64>,
    /// The last commit that ends at or before this position of the log; of an archive
    #[arg(long, conflicts_with = "latest")]
    pub position: Option<u64>,
    /// All that the archive has; with --until, if it does not go as far
    #[arg(long)]
    pub latest: bool,
    /// This service's state only, e.g. ledger; of an archive
    #[arg(long, value_name = "NAME")]
    pub keyspace: Option<String>,
}

impl Options {
    fn until(&self) -> Option<Until> {
        match (self.until, self.position) {
            (Some(us), _) => Some(Until::Moment {
                us,
                or_latest: self.latest,
            }),
            (None, Some(position)) => Some(Until::Position(position)),
            (None, None) => self.latest.then_some(Until::Latest),
        }
    }
}

/// What was restored of an archive. Its JSON is what programs rely on.
#[derive(Debug, Serialize)]
struct Moment {
    #[serde(flatten)]
    copied: Copied,
    moment: Option<String>,
    newest_moment: Option<String>,
    newest_position: u64,
    left_out_bytes: u64,
    keyspace: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// The data folder has a state, the archive does not have the moment, something is damaged.
pub async fn run(global: &Global, options: Options) -> Result<(), Failure> {
    let store = global.data().join(engine::STORE_FOLDER);
    if store.exists() {
        return Err(
            Failure::failed(format!("{} has a state already", global.data().display()))
                .advise("name a new folder with --data; the old one stays as it is"),
        );
    }
    let until = options.until();
    if Archive::is_there(&options.folder) {
        let Some(until) = until else {
            return Err(Failure::usage(format!(
                "{} is an archive: up to when?",
                options.folder.display()
            ))
            .advise("give --until MOMENT, --position N or --latest"));
        };
        return of_archive(global, &options, until, &store).await;
    }
    if until.is_some_and(|until| until != Until::Latest) || options.keyspace.is_some() {
        return Err(Failure::usage(format!(
            "{} is no archive: a backup has one moment, and all keyspaces",
            options.folder.display()
        ))
        .advise("leave out --until, --position and --keyspace"));
    }
    let folder = options.folder;
    let report =
        blocking(move |_stopped| restore(&folder, &store).map_err(|error| wrong(&folder, &error)))
            .await?;
    let copied = Copied::of(&report);
    if global.json {
        return output::json(&copied);
    }
    copied.tell("restored", global.data())
}

async fn of_archive(
    global: &Global,
    options: &Options,
    until: Until,
    store: &Path,
) -> Result<(), Failure> {
    let folder = options.folder.clone();
    let archive = Archive::open(&folder).map_err(|error| moments::wrong(&folder, &error))?;
    // Once to verify, once to copy; what is left out is not known yet.
    let bar = reading(archive.bytes().saturating_mul(2));
    let shown = bar.clone();
    let (to, keyspace) = (store.to_owned(), options.keyspace.clone());
    let restored = blocking(move |stopped| {
        let mut watch = |bytes| {
            shown.inc(bytes);
            !stopped.load(Ordering::Relaxed)
        };
        archive
            .restore(&to, until, keyspace.as_deref(), &mut watch)
            .map_err(|error| moments::wrong(&folder, &error))
    })
    .await;
    bar.finish_and_clear();
    tell(global, options, &restored?)
}

fn tell(global: &Global, options: &Options, restored: &Restored) -> Result<(), Failure> {
    let copied = Copied::of(&restored.report);
    if global.json {
        return output::json(&Moment {
            copied,
            moment: date(restored.point),
            newest_moment: date(restored.newest),
            newest_position: restored.newest.position.unwrap_or_default(),
            left_out_bytes: restored.left_out_bytes,
            keyspace: options.keyspace.clone(),
        });
    }
    output::line(format!(
        "restored: {}, as of {}",
        global.data().display(),
        text_of(restored.point)
    ))?;
    if let Some(keyspace) = &options.keyspace {
        output::line(format!(
            "  only {keyspace}; other services have nothing there"
        ))?;
    }
    copied.tell_read()?;
    if restored.left_out_bytes == 0 {
        return output::line("  nothing lies after it in the archive");
    }
    output::line(format!(
        "  left out: {} of log after it, up to {}",
        megabytes(restored.left_out_bytes),
        text_of(restored.newest)
    ))
}
