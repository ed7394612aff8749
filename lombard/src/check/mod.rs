//! `lombard check`: the auditor.
//!
//! What is right is said by [`lombard_ledger::audit`]; here are its eyes ([`calls`])
//! and its mouth.

mod calls;

use std::collections::BTreeMap;

use indicatif::ProgressBar;
use lombard_ledger::audit::{self, Finding, Progress, Report};
use lombard_money::Currency;
use serde::Serialize;

use self::calls::Calls;
use crate::Global;
use crate::bank::Bank;
use crate::failure::Failure;
use crate::output::{self, amount, count, grouped};

/// Findings that a person is shown; programs get all that were kept.
const FINDINGS_SHOWN_MAX: usize = 20;

/// The auditor: recomputes everything.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lombard check                     the bank that runs, or the folder of one that does not
  lombard check --json
  lombard check --address 10.0.0.7:7400

Recomputed from postings: every balance and running balance; for every legal
entity and currency the sum, which is zero; numbers of events without a gap;
the hash chain of each account; holds and what they hold; what value dating
moved; and for every entry that each of its legs is in its account, once.
On a running bank, entries decided after the check began are left for the next.
Exit code 1 and the first culprits if anything is not right.")]
pub struct Options {}

/// Runs the command.
///
/// # Errors
/// Something is not right, or the bank cannot be read.
pub async fn run(global: &Global, _options: Options) -> Result<(), Failure> {
    let bank = Bank::reach(global, &["ledger"]).await?;
    let started_us = bank.host().monotonic_us();
    let checked = check(&bank).await;
    let seconds = bank.host().monotonic_us().saturating_sub(started_us) as f64 / 1e6;
    bank.leave().await;
    let report = checked?;
    if global.json {
        output::json(&Summary::of(&report, seconds))?;
    } else {
        print(&report, seconds)?;
    }
    if report.findings.is_empty() {
        Ok(())
    } else {
        Err(Failure::No)
    }
}

/// Checks the whole ledger.
///
/// # Errors
/// It cannot be read.
pub async fn check(bank: &Bank) -> Result<Report, Failure> {
    let ledger = bank.ledger()?;
    // In a bank of our own nothing moves but what the coordinator finishes.
    let cutoff_us = bank.host().now_us();
    let bar = output::progress(0, "{spinner} {msg} {elapsed}");
    let source = Calls::new(ledger, bank.host().clone());
    let report = audit::check(&source, cutoff_us, |progress| show(&bar, progress)).await;
    bar.finish_and_clear();
    report
}

fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_message(format!(
        "{}{} accounts, {} rows, {} postings",
        if progress.second {
            "looking at suspects: "
        } else {
            ""
        },
        grouped(progress.accounts),
        grouped(progress.rows),
        grouped(progress.postings)
    ));
}

/// What programs get.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    ok: bool,
    accounts: u64,
    entries: u64,
    postings: u64,
    events: u64,
    rows: u64,
    in_flight: u64,
    reserved: u64,
    /// By legal entity, then currency; text, because it can be wider than JSON's numbers.
    sums_minor: BTreeMap<&'a str, BTreeMap<&'a str, String>>,
    findings_count: u64,
    findings: &'a [Finding],
    seconds: f64,
}

impl<'a> Summary<'a> {
    fn of(report: &'a Report, seconds: f64) -> Self {
        let mut sums_minor: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
        for ((entity, currency), sum) in &report.sums {
            sums_minor
                .entry(entity)
                .or_default()
                .insert(currency, sum.to_string());
        }
        Self {
            ok: report.findings.is_empty(),
            accounts: report.accounts,
            entries: report.entries,
            postings: report.postings,
            events: report.events,
            rows: report.rows,
            in_flight: report.in_flight,
            reserved: report.reserved,
            sums_minor,
            findings_count: report.findings.count,
            findings: &report.findings.first,
            seconds,
        }
    }
}

fn print(report: &Report, seconds: f64) -> Result<(), Failure> {
    output::line(format!(
        "{}, {}, {}, {} checked in {seconds:.2} s",
        count(report.accounts, "account", "accounts"),
        count(report.entries, "entry", "entries"),
        count(report.postings, "posting", "postings"),
        count(report.events, "event", "events"),
    ))?;
    for ((entity, currency), sum) in &report.sums {
        let decimals =
            Currency::parse(currency).map_or(0, |currency| u32::from(currency.minor_units()));
        let text = match i64::try_from(*sum) {
            Ok(sum) => amount(sum, decimals),
            Err(_) => format!("{sum} minor units"),
        };
        output::line(format!(
            "  {entity}  {currency}  sum of all postings {text}"
        ))?;
    }
    if report.in_flight > 0 || report.reserved > 0 {
        output::line(format!(
            "  on their way: {}, {}",
            count(report.in_flight, "entry", "entries"),
            count(report.reserved, "reservation", "reservations")
        ))?;
    }
    if report.findings.is_empty() {
        let good = anstyle::AnsiColor::Green.on_default().bold();
        return output::line(format!(
            "{good}right{good:#}: every balance follows from its postings, and all add up"
        ));
    }
    let bad = anstyle::AnsiColor::Red.on_default().bold();
    output::line(format!(
        "{bad}wrong{bad:#}: {}",
        count(report.findings.count, "contradiction", "contradictions")
    ))?;
    for finding in report.findings.first.iter().take(FINDINGS_SHOWN_MAX) {
        output::line(format!("  {finding}"))?;
    }
    let shown = report.findings.first.len().min(FINDINGS_SHOWN_MAX) as u64;
    if report.findings.count > shown {
        output::line(format!(
            "  … and {} more (--json has the first hundred)",
            grouped(report.findings.count - shown)
        ))?;
    }
    Ok(())
}
