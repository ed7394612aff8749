//! `lombard log inspect`: the log that is the embedded engine's truth, record by record.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use lombard_store::Position;
use lombard_store::embedded::{Inspected, InspectedCommit, Point, RowKind, inspect};
use serde_json::json;

use crate::Global;
use crate::backup::date;
use crate::engine;
use crate::failure::Failure;
use crate::output::{self, count};

/// The log of the embedded engine.
#[derive(Debug, clap::Subcommand)]
pub enum Log {
    /// Show the records of a stopped bank's log, or of a backup's
    Inspect(Inspect),
}

/// Which records.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lombard log inspect --limit 20
  lombard log inspect --partition berka-576 --rows
  lombard log inspect --folder /backups/monday --json | head

With --json each record is a line of its own. The bank must be stopped; nothing
is changed. Damage ends the command with exit code 1 and says segment and offset.")]
pub struct Inspect {
    /// A store's or backup's folder [default: the one in the data folder]
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Begin behind this position
    #[arg(long, default_value_t = 0)]
    pub after: u64,
    /// At most so many records
    #[arg(long)]
    pub limit: Option<u64>,
    /// Commits of this keyspace only, e.g. ledger
    #[arg(long)]
    pub keyspace: Option<String>,
    /// Commits of this partition only, e.g. an account's id
    #[arg(long)]
    pub partition: Option<String>,
    /// Also the rows of each commit
    #[arg(long)]
    pub rows: bool,
}

/// Runs the command.
///
/// # Errors
/// The folder is no store, is in use, or is damaged.
pub async fn run(global: &Global, log: Log) -> Result<(), Failure> {
    let Log::Inspect(options) = log;
    let folder = options
        .folder
        .clone()
        .unwrap_or_else(|| global.data().join(engine::STORE_FOLDER));
    let failed = |error: lombard_store::StoreError| Failure::failed(error.to_string());
    let records = inspect(&folder, Position(options.after)).map_err(failed)?;
    let mut out = BufWriter::new(anstream::stdout().lock());
    let (mut shown, mut commits, mut bytes) = (0, 0_u64, 0_u64);
    for record in records {
        if options.limit.is_some_and(|limit| shown >= limit) {
            break;
        }
        // What was shown stays shown where the rest cannot be read.
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                out.flush()?;
                return Err(failed(error));
            }
        };
        if !wanted(&options, &record) {
            continue;
        }
        if let Inspected::Commit(commit) = &record {
            commits += 1;
            bytes += u64::from(commit.bytes);
        }
        shown += 1;
        if global.json {
            serde_json::to_writer(&mut out, &as_json(&record, options.rows))
                .map_err(std::io::Error::from)?;
            writeln!(out)?;
        } else {
            write_text(&mut out, &record, options.rows)?;
        }
    }
    out.flush()?;
    output::note(format!(
        "{} with {bytes} bytes",
        count(commits, "commit", "commits")
    ));
    Ok(())
}

fn wanted(options: &Inspect, record: &Inspected) -> bool {
    let filtered = options.keyspace.is_some() || options.partition.is_some();
    match record {
        Inspected::Commit(commit) => {
            let keyspace = options
                .keyspace
                .as_ref()
                .is_none_or(|name| *name == commit.keyspace);
            let partition = options
                .partition
                .as_ref()
                .is_none_or(|name| name.as_bytes() == commit.partition.as_ref());
            keyspace && partition
        }
        Inspected::FrameEnd { .. } => !filtered,
        Inspected::TornTail(_) => true,
    }
}

fn write_text(out: &mut impl Write, record: &Inspected, rows: bool) -> std::io::Result<()> {
    let dim = output::DIM;
    match record {
        Inspected::Commit(commit) => {
            writeln!(
                out,
                "{} {:>9}  commit  {}/{} version {}, {}, {} bytes",
                commit.segment,
                commit.offset,
                commit.keyspace,
                commit.partition.escape_ascii(),
                commit.version,
                count(commit.rows.len() as u64, "row", "rows"),
                commit.bytes
            )?;
            for row in rows.then_some(&commit.rows).into_iter().flatten() {
                let wrong = if row.intact { "" } else { "  CHECKSUM WRONG" };
                writeln!(
                    out,
                    "  {:<6} {} {} bytes{wrong}",
                    kind(row.kind),
                    row.key.escape_ascii(),
                    row.value_bytes
                )?;
            }
            Ok(())
        }
        Inspected::FrameEnd {
            segment,
            offset,
            position,
            frame_start,
            moment_us,
            seals,
        } => writeln!(
            out,
            "{dim}{segment} {offset:>9}  {}    from {} to {}{}{dim:#}",
            if *seals { "seal" } else { "mark" },
            frame_start.0,
            position.0,
            moment(*moment_us).map_or_else(String::new, |moment| format!(", {moment}"))
        ),
        Inspected::TornTail(torn) => writeln!(
            out,
            "{} {:>9}  torn    {} unfinished bytes, never acknowledged: the next start cuts them off",
            torn.segment, torn.offset, torn.bytes
        ),
    }
}

fn as_json(record: &Inspected, rows: bool) -> serde_json::Value {
    match record {
        Inspected::Commit(commit) => commit_json(commit, rows),
        Inspected::FrameEnd {
            segment,
            offset,
            position,
            frame_start,
            moment_us,
            seals,
        } => json!({
            "record": if *seals { "seal" } else { "mark" },
            "segment": segment,
            "offset": offset,
            "position": position.0,
            "frame_start": frame_start.0,
            "moment": moment(*moment_us),
        }),
        Inspected::TornTail(torn) => json!({
            "record": "torn",
            "segment": torn.segment,
            "offset": torn.offset,
            "bytes": torn.bytes,
        }),
    }
}

fn moment(moment_us: Option<u64>) -> Option<String> {
    date(Point {
        position: None,
        moment_us,
    })
}

fn commit_json(commit: &InspectedCommit, rows: bool) -> serde_json::Value {
    let mut value = json!({
        "record": "commit",
        "segment": commit.segment,
        "offset": commit.offset,
        "bytes": commit.bytes,
        "position": commit.position.0,
        "keyspace": commit.keyspace,
        "partition": commit.partition.escape_ascii().to_string(),
        "version": commit.version,
        "row_count": commit.rows.len(),
    });
    if rows && let Some(object) = value.as_object_mut() {
        let rows: Vec<serde_json::Value> = commit
            .rows
            .iter()
            .map(|row| {
                json!({
                    "key": row.key.escape_ascii().to_string(),
                    "kind": kind(row.kind),
                    "value_bytes": row.value_bytes,
                    "intact": row.intact,
                })
            })
            .collect();
        object.insert("rows".to_owned(), rows.into());
    }
    value
}

fn kind(kind: RowKind) -> &'static str {
    match kind {
        RowKind::Put => "put",
        RowKind::Event => "event",
        RowKind::Delete => "delete",
    }
}
