//! The moments of an archive: shown, named in errors, and let go of.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use lombard_store::StoreError;
use lombard_store::embedded::{Archive, ArchiveError, ArchiveRange, Point};
use serde::Serialize;

use super::megabytes;
use crate::Global;
use crate::failure::Failure;
use crate::output::{self, Align, Table, count, grouped};
use crate::report::time;

/// Lets go of what is old.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lombard backup archive /backups/archive --once --new-base
  lombard backup prune /backups/archive --before 2026-11-01

Every moment from this one on can still be restored. A base is needed that is as old
as the moment, and an archive gets a new one only when it is told to (--new-base), or
where it has a gap.")]
pub struct Prune {
    /// The archive
    pub folder: PathBuf,
    /// The oldest moment that is still needed, e.g. 2026-11-01 or 2026-11-01T06:00:00Z
    #[arg(long, value_name = "MOMENT", value_parser = moment_us)]
    pub before: u64,
}

/// Reads a moment: microseconds since 1970.
///
/// # Errors
/// Says how to write it.
pub fn moment_us(text: &str) -> Result<u64, String> {
    let us = time::booked(text)?;
    u64::try_from(us).map_err(|_| "that is before 1970".to_owned())
}

/// A point's moment as RFC 3339, UTC, with microseconds.
pub fn date(point: Point) -> Option<String> {
    let us = i64::try_from(point.moment_us?).ok()?;
    let time = Timestamp::from_microsecond(us).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
}

/// A point as a person reads it.
pub fn text_of(point: Point) -> String {
    match (date(point), point.position) {
        (Some(date), Some(position)) if position > 0 => format!("{date} (position {position})"),
        (Some(date), _) => date,
        (None, Some(position)) => format!("position {position}"),
        (None, None) => "an unknown moment".to_owned(),
    }
}

/// From when to when. Its JSON is what programs rely on.
#[derive(Debug, Serialize)]
struct Range {
    from: Option<String>,
    from_position: u64,
    until: Option<String>,
    until_position: u64,
    base: Option<String>,
    base_position: u64,
    segments: u64,
    bytes: u64,
}

impl Range {
    fn of(range: &ArchiveRange) -> Self {
        Self {
            from: date(range.from),
            from_position: range.from.position.unwrap_or_default(),
            until: date(range.until),
            until_position: range.until.position.unwrap_or_default(),
            base: date(range.base),
            base_position: range.base.position.unwrap_or_default(),
            segments: range.segments as u64,
            bytes: range.bytes,
        }
    }
}

/// Shows the moments that an archive can be restored to.
///
/// # Errors
/// It is no archive, or damaged.
pub fn list(global: &Global, folder: &Path) -> Result<(), Failure> {
    let archive = Archive::open(folder).map_err(|error| wrong(folder, &error))?;
    let ranges: Vec<Range> = archive.ranges().iter().map(Range::of).collect();
    if global.json {
        return output::json(&ranges);
    }
    let mut table = Table::new(&[
        ("from", Align::Left),
        ("until", Align::Left),
        ("base taken", Align::Left),
        ("from position", Align::Right),
        ("until position", Align::Right),
        ("segments", Align::Right),
        ("size", Align::Right),
    ]);
    let known = |moment: &Option<String>| moment.clone().unwrap_or_else(|| "-".to_owned());
    for range in &ranges {
        table.row([
            known(&range.from),
            known(&range.until),
            known(&range.base),
            range.from_position.to_string(),
            range.until_position.to_string(),
            grouped(range.segments),
            megabytes(range.bytes),
        ]);
    }
    table.print()?;
    output::note(format!(
        "{} in all, of store {:016x} with {}: any moment from the first to the second column can be restored",
        megabytes(archive.bytes()),
        archive.store(),
        archive.keyspaces().join(", ")
    ));
    Ok(())
}

/// What was let go of. Its JSON is what programs rely on.
#[derive(Debug, Serialize)]
struct Gone {
    bases: u64,
    segments: u64,
    bytes: u64,
    oldest: Option<String>,
    oldest_position: u64,
}

/// Removes what only moments before this one need.
///
/// # Errors
/// No base is as old; a pass is being made.
pub fn prune(global: &Global, options: &Prune) -> Result<(), Failure> {
    let pruned = Archive::prune(&options.folder, options.before)
        .map_err(|error| wrong(&options.folder, &error))?;
    if global.json {
        return output::json(&Gone {
            bases: pruned.bases as u64,
            segments: pruned.files as u64,
            bytes: pruned.bytes,
            oldest: date(pruned.oldest),
            oldest_position: pruned.oldest.position.unwrap_or_default(),
        });
    }
    output::line(format!(
        "removed: {} with {} of {}; the oldest moment is {} now",
        count(pruned.bases as u64, "base", "bases"),
        count(pruned.files as u64, "segment", "segments"),
        megabytes(pruned.bytes),
        text_of(pruned.oldest)
    ))
}

/// Why not, for a person.
pub fn wrong(folder: &Path, error: &ArchiveError) -> Failure {
    let folder = folder.display();
    let failed = |what: String, advice: String| Failure::failed(what).advise(advice);
    match error {
        ArchiveError::TooEarly { asked, oldest } => failed(
            format!(
                "{} is before the oldest that {folder} can restore, {}",
                text_of(*asked),
                text_of(*oldest)
            ),
            format!("`lombard backup list {folder}` shows the moments that it has"),
        ),
        ArchiveError::TooLate { asked, newest } => failed(
            format!(
                "{} is after the newest that {folder} can restore, {}",
                text_of(*asked),
                text_of(*newest)
            ),
            "add --latest to take the newest; or let one more pass of `lombard backup archive` come first".to_owned(),
        ),
        ArchiveError::InGap {
            asked,
            before,
            after,
        } => failed(
            format!(
                "{} is in a gap of {folder}: it has {} and before, and {} and after",
                text_of(*asked),
                text_of(*before),
                text_of(*after)
            ),
            "take one of these; the runbook says how gaps come about".to_owned(),
        ),
        ArchiveError::OtherStore { .. } | ArchiveError::PutBack { .. } => failed(
            error.to_string(),
            "begin an archive in another folder; this one stays as it is".to_owned(),
        ),
        ArchiveError::NotAnArchive(_) => failed(
            error.to_string(),
            "name an archive, or a folder that is empty or not there yet".to_owned(),
        ),
        ArchiveError::NoMoments => failed(
            error.to_string(),
            "restore to a position: `lombard backup list` shows which there are".to_owned(),
        ),
        ArchiveError::Store(StoreError::Damaged(_)) => failed(
            error.to_string(),
            format!("do not rely on {folder}: begin another archive, and keep this one for what is whole of it"),
        ),
        _ => Failure::failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_told_by_moment_and_position() {
        let table = [
            (
                Some(70),
                Some(1_500_000),
                "1970-01-01T00:00:01.500000Z (position 70)",
            ),
            (Some(0), Some(0), "1970-01-01T00:00:00.000000Z"),
            (Some(70), None, "position 70"),
        ];
        for (position, moment_us, text) in table {
            let point = Point {
                position,
                moment_us,
            };
            assert_eq!(text_of(point), text);
        }
    }
}
