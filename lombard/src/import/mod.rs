//! `lombard import`: brings transactions of another bank into the ledger.
//!
//! Whatever is brought in carries ids made from the foreign keys, so the same
//! file twice changes nothing, and an import that was cut off goes on where it
//! was by being started again.
//!
//! - [`berka`]: one form of file, pure.
//! - [`order`]: the order of a day's bookings, and the distance to recorded balances, pure.
//! - [`entries`]: ledger entries from transactions, pure.
//! - [`send`]: accounts and entries to the ledger, in batches, several in flight.
//! - [`summary`]: what came of it.

pub mod berka;
pub mod entries;
mod file;
pub mod order;
mod send;
mod summary;

use std::path::PathBuf;

use clap::ValueEnum;
use indicatif::ProgressBar;

use self::berka::Broken;
use self::file::Day;
use self::order::Journal;
use self::send::Sender;
use self::summary::Summary;
use crate::Global;
use crate::bank::Bank;
use crate::failure::Failure;
use crate::output;

/// Broken lines are shown up to this many; all are counted.
const BROKEN_SHOWN_MAX: usize = 20;

/// Bring transactions in: resumable, and the same file twice changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lombard import examples/berka-sample.asc --format berka
  lombard import trans.asc --format berka --on-error skip --json

Every customer account becomes a ledger account berka-<account_id>; cash, other
banks, interest and fees become accounts of the bank (bank-cash, bank-interest,
bank-interbank:<bank> …). Each transaction becomes one entry with its own date
as value date. The summary says how far the exact sums are from the balances
that the other bank recorded.")]
pub struct Options {
    /// The file
    pub file: PathBuf,
    /// Its form
    #[arg(long, value_enum)]
    pub format: Format,
    /// What to do at a line that is broken or an entry that is refused
    #[arg(long, value_enum, default_value_t = OnError::Stop)]
    pub on_error: OnError,
    /// Entries in one call, 1 to 8192
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=8_192))]
    pub batch: u32,
}

/// Forms of file that can be brought in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The journal of a Czech bank (PKDD'99 Discovery Challenge, `trans.asc`)
    Berka,
}

/// What to do at a line that is broken or an entry that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnError {
    /// Bring nothing in if any line is broken; stop at the first refused entry
    Stop,
    /// Leave it out, say so, and go on
    Skip,
}

/// Runs the command.
///
/// # Errors
/// The file cannot be read, a line is broken (with `--on-error stop`), the
/// ledger cannot be reached or refuses.
pub async fn run(global: &Global, options: Options) -> Result<(), Failure> {
    let Format::Berka = options.format;
    let checked = file::check(&options.file)?;
    tell_broken(&checked.broken, checked.broken_count);
    if checked.broken_count > 0 && options.on_error == OnError::Stop {
        return Err(Failure::failed(format!(
            "{} of {}: nothing was brought in",
            output::count(checked.broken_count, "line is broken", "lines are broken"),
            options.file.display()
        ))
        .advise("correct the file, or leave broken lines out with `--on-error skip`"));
    }
    let bank = Bank::reach_or_make(global, &["ledger"]).await?;
    let done = bring_in(&options, &checked, &bank).await;
    bank.leave().await;
    let summary = done?;
    if global.json {
        output::json(&summary)?;
    } else {
        summary.print()?;
    }
    if summary.entries_refused > 0 && options.on_error == OnError::Stop {
        return Err(Failure::failed("stopped at a refused entry")
            .advise("what came before it is in the ledger; the same command goes on from there"));
    }
    Ok(())
}

async fn bring_in(
    options: &Options,
    checked: &file::Checked,
    bank: &Bank,
) -> Result<Summary, Failure> {
    let started_us = bank.host().monotonic_us();
    let bar = bar(checked.lines);
    let mut journal = Journal::default();
    let mut summary = Summary::begin(&options.file, checked);
    let mut sender = Sender::start(bank, options.batch as usize, options.on_error, bar.clone())?;
    let mut days = file::days(&options.file)?;
    while let Some(Day { transactions }) = days.next_day()? {
        for transaction in journal.day(transactions) {
            summary.transaction(&transaction);
            if !sender.add(&transaction).await? {
                // Somebody refused, and we are to stop at that.
                break;
            }
        }
        if sender.stopped() {
            break;
        }
    }
    let sent = sender.finish().await?;
    bar.finish_and_clear();
    for refused in &sent.refused {
        output::note(format!("line {}: {}", refused.line, refused.reason));
    }
    summary.sent(&sent);
    summary.balances(&journal, &send::balances(bank, &journal).await?);
    summary.seconds = (bank.host().monotonic_us() - started_us) as f64 / 1e6;
    Ok(summary)
}

fn bar(lines: u64) -> ProgressBar {
    output::progress(
        lines,
        "{spinner} {human_pos} of {human_len} transactions {bar:40} {per_sec}, {eta} left",
    )
}

fn tell_broken(broken: &[Broken], count: u64) {
    for line in broken.iter().take(BROKEN_SHOWN_MAX) {
        output::note(format!("line {}: {}", line.line, line.reason));
    }
    if count > BROKEN_SHOWN_MAX as u64 {
        output::note(format!(
            "… and {}",
            output::count(count - BROKEN_SHOWN_MAX as u64, "other", "others")
        ));
    }
}
