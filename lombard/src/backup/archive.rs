//! `lombard backup archive`: follows the bank.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::ProgressBar;
use jiff::{SignedDuration, Timestamp};
use lombard_service::Host;
use lombard_store::embedded::{ArchivePass, ArchiveProgress, Follower, NewBase};
use serde::{Deserialize, Serialize};

use super::moments;
use super::{absolute, blocking, megabytes, open_stopped};
use crate::Global;
use crate::control::{self, NotArchived};
use crate::failure::Failure;
use crate::output::{self, count};
use crate::running::Running;

/// More than two machines' clocks may be apart.
const AHEAD: SignedDuration = SignedDuration::from_secs(5);

/// Follows the bank.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lombard backup archive /backups/archive                  every 10 s, until it is stopped
  lombard backup archive /backups/archive --every 1s --json
  lombard backup archive /backups/archive --once           also of a bank that does not run
  lombard backup archive /backups/archive --once --new-base

It goes on where it was stopped or killed, and waits while no bank runs on the data
folder. One archive is of one bank: a bank that was restored gets an archive of its
own. What happened since the last pass is lost with the disk that the bank is on, so
--every is how much that may be; put the archive on another disk.
With --json each pass is a line of its own.")]
pub struct Options {
    /// The archive's folder; made where there is none
    pub folder: PathBuf,
    /// How long to wait between two passes
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = interval)]
    pub every: Duration,
    /// One pass, and done
    #[arg(long)]
    pub once: bool,
    /// Begin with a new base, so that older ones can be pruned
    #[arg(long)]
    pub new_base: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<SignedDuration>().ok();
    parsed
        .and_then(|time| Duration::try_from(time).ok())
        .filter(|time| *time >= Duration::from_millis(100))
        .ok_or_else(|| "write it as 10s or 1m: at least 100ms".to_owned())
}

/// What a pass did. Its JSON is what programs rely on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// The position in the log that the archive goes up to.
    pub position: u64,
    /// The moment, if the log says moments.
    pub moment: Option<String>,
    /// Commits that were copied.
    pub commits: u64,
    /// Bytes that were copied.
    pub bytes: u64,
    /// Segments that they are from.
    pub segments: u64,
    /// Bytes of the whole archive.
    pub archive_bytes: u64,
    /// `first`, `asked` or `gap`, if the pass took a new base.
    pub new_base: Option<String>,
    /// The last moment before the gap, if there is one.
    pub gap_after: Option<String>,
}

impl Passed {
    /// What the store reported.
    pub fn of(pass: &ArchivePass) -> Self {
        let gap_after = match pass.new_base {
            Some(NewBase::Gap { before }) => moments::date(before),
            _ => None,
        };
        let new_base = pass.new_base.map(|why| match why {
            NewBase::First => "first",
            NewBase::Asked => "asked",
            NewBase::Gap { .. } => "gap",
        });
        Self {
            position: pass.until.position.unwrap_or_default(),
            moment: moments::date(pass.until),
            commits: pass.commits,
            bytes: pass.bytes,
            segments: pass.segments,
            archive_bytes: pass.archive_bytes,
            new_base: new_base.map(str::to_owned),
            gap_after,
        }
    }

    fn until(&self) -> String {
        match &self.moment {
            Some(moment) => format!("{moment} (position {})", self.position),
            None => format!("position {}", self.position),
        }
    }

    /// How far its moment is ahead of the clock, if that is worth a word: the bank's clock
    /// was ahead, and went back since.
    fn ahead(&self, now_us: i64) -> Option<SignedDuration> {
        let moment: Timestamp = self.moment.as_ref()?.parse().ok()?;
        let now = Timestamp::from_microsecond(now_us).ok()?;
        let ahead = moment.duration_since(now);
        (ahead > AHEAD).then_some(ahead)
    }

    fn tell(&self) -> Result<(), Failure> {
        if let Some(why) = &self.new_base {
            let why = match why.as_str() {
                "first" => "a new archive".to_owned(),
                "asked" => "a new base".to_owned(),
                _ => format!(
                    "a new base, because the bank's log was rewritten since the last pass: no moment between {} and {} can be restored",
                    self.gap_after.as_deref().unwrap_or("the last pass"),
                    self.until()
                ),
            };
            output::line(why)?;
        }
        output::line(format!(
            "archived up to {}: {} with {}; {} in all",
            self.until(),
            count(self.commits, "commit", "commits"),
            megabytes(self.bytes),
            megabytes(self.archive_bytes)
        ))
    }
}

/// Runs the command.
///
/// # Errors
/// The folder is the archive of another bank, somebody else follows, the disk is full.
pub async fn run(global: &Global, options: Options) -> Result<(), Failure> {
    let folder = absolute(&options.folder)?;
    let follower = Follower::of(&folder).map_err(|error| moments::wrong(&folder, &error))?;
    let host = Host::system();
    let bar = output::progress(0, "{spinner} {msg}");
    let mut new_base = options.new_base;
    let mut said = String::new();
    let mut said_ahead = false;
    loop {
        let passed = if Running::find(global.data()).is_some() {
            of_running(global.data(), &folder, new_base, &bar).await
        } else if options.once {
            of_stopped(global, &folder, new_base, &bar).await
        } else {
            Err(NotArchived::for_now(format!(
                "no bank runs on {}",
                global.data().display()
            )))
        };
        match passed {
            Ok(passed) => {
                new_base = false;
                let recovered = !std::mem::take(&mut said).is_empty();
                bar.set_message(format!("archived up to {}", passed.until()));
                bar.suspend(|| tell(global, &options, &passed, recovered))?;
                if let Some(ahead) = passed.ahead(host.now_us()).filter(|_| !said_ahead) {
                    said_ahead = true;
                    bar.suspend(|| output::note(format!(
                        "the log's moments are {ahead:#} ahead of the clock, which went back: until it is there again, they rise by a microsecond with each flush"
                    )));
                }
            }
            Err(problem) if options.once || !problem.may_pass => {
                bar.finish_and_clear();
                return Err(problem.failure(&folder));
            }
            Err(problem) => {
                // Once is enough: it is the same every few seconds.
                if problem.what != said {
                    said.clone_from(&problem.what);
                    bar.suspend(|| output::note(format!("{said}: waiting, and trying again")));
                }
            }
        }
        if options.once {
            break;
        }
        host.sleep(options.every).await;
    }
    bar.finish_and_clear();
    drop(follower);
    Ok(())
}

fn tell(
    global: &Global,
    options: &Options,
    passed: &Passed,
    recovered: bool,
) -> Result<(), Failure> {
    if global.json {
        return output::json_line(passed);
    }
    // A bank in which nothing happens is no news.
    if options.once || recovered || passed.commits > 0 || passed.new_base.is_some() {
        return passed.tell();
    }
    Ok(())
}

fn show(bar: &ProgressBar, progress: ArchiveProgress) {
    bar.set_message(format!(
        "{} of {}",
        megabytes(progress.bytes),
        megabytes(progress.bytes_total)
    ));
}

async fn of_running(
    data: &Path,
    folder: &Path,
    new_base: bool,
    bar: &ProgressBar,
) -> Result<Passed, NotArchived> {
    let request = control::Request::Archive {
        to: folder.to_owned(),
        new_base,
    };
    control::archive(data, &request, &mut |progress| show(bar, progress)).await
}

async fn of_stopped(
    global: &Global,
    folder: &Path,
    new_base: bool,
    bar: &ProgressBar,
) -> Result<Passed, NotArchived> {
    let engine = open_stopped(global).map_err(NotArchived::from)?;
    let (folder, bar) = (folder.to_owned(), bar.clone());
    let passed = blocking(move |stopped| {
        let mut watch = |progress| {
            show(&bar, progress);
            !stopped.load(Ordering::Relaxed)
        };
        let passed = engine.archive(&folder, new_base, &mut watch);
        engine.close();
        Ok(passed.map_err(|error| NotArchived::of(&error)))
    })
    .await;
    passed
        .map_err(NotArchived::from)?
        .map(|pass| Passed::of(&pass))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_ahead_of_the_clock_is_noticed() {
        let passed = Passed {
            position: 1,
            moment: Some("1970-01-01T00:01:00.000000Z".to_owned()),
            commits: 0,
            bytes: 0,
            segments: 0,
            archive_bytes: 0,
            new_base: None,
            gap_after: None,
        };
        assert_eq!(passed.ahead(60_000_000), None);
        assert_eq!(passed.ahead(56_000_000), None);
        assert_eq!(
            passed.ahead(50_000_000),
            Some(SignedDuration::from_secs(10))
        );
        let unknown = Passed {
            moment: None,
            ..passed
        };
        assert_eq!(unknown.ahead(0), None);
    }
}
