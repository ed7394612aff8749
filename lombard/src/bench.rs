//! `lombard bench`: load, with its figures.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use indicatif::ProgressBar;
use lombard_bench::{AsOf, BalancesShape, BenchError, Extent, HttpVersion, Live, Phase, Shape};
use serde::Serialize;

use crate::Global;
use crate::bank::Bank;
use crate::failure::Failure;
use crate::output::{self, grouped};

/// Load on a part of the bank.
#[derive(Debug, clap::Subcommand)]
pub enum Bench {
    /// Entries on the ledger
    Ledger(Ledger),
    /// Balances of one account that has a history, now or as of any moment
    Balances(Balances),
}

/// Balances of one account that has a history, now or as of any moment.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lombard bench balances --postings 100000                   as of moments of booking
  lombard bench balances --postings 100000 --as-of value     as of value dates
  lombard bench balances --postings 1000000 --clients 8

The account's postings are made first, where they are not there yet.
Without --address, a running bank or --data, it starts a bank of its own in a
fresh folder beside the data folder, and removes it at the end.")]
pub struct Balances {
    /// Postings of the account
    #[arg(long, default_value_t = 100_000)]
    pub postings: u64,
    /// What is asked for: now, booked (a random moment) or value (a random value date)
    #[arg(long, default_value = "booked", value_parser = ["now", "booked", "value"], value_name = "AXIS")]
    pub as_of: String,
    /// Requests in flight at any time
    #[arg(long, default_value_t = 1)]
    pub clients: u32,
    /// Run for so long
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// The same seed asks for the same moments
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Entries on the ledger.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lombard bench ledger --clients 64 --batch 1                     single entries
  lombard bench ledger --clients 4 --batch 8192 --count 10000000  batches
  lombard bench ledger --batch 8192 --clients 4 --hot 1           one hot account
  lombard bench ledger --holds 0.3 --seconds 30                   with holds
  lombard bench ledger --rate 5000                                at fixed times (open loop)

Without --address, a running bank or --data, it starts a bank of its own in a
fresh folder beside the data folder, and removes it at the end. Generator and
bank then share this machine. Acknowledged means durable; the longest pause is
the longest time in which nothing was acknowledged.")]
pub struct Ledger {
    /// Requests in flight at any time
    #[arg(long, default_value_t = 64)]
    pub clients: u32,
    /// What they speak: 1.1 (a connection for each client) or 2
    #[arg(long, default_value = "1.1", value_parser = ["1.1", "2"], value_name = "VERSION")]
    pub http: String,
    /// HTTP/2 connections that they share; 0: one for each 16 clients, at most 8
    #[arg(long, default_value_t = 0)]
    pub connections: u32,
    /// Entries in a request; 1 calls CreateEntry
    #[arg(long, default_value_t = 1)]
    pub batch: u32,
    /// Run until so many entries were asked for
    #[arg(long, conflicts_with = "seconds")]
    pub count: Option<u64>,
    /// Run for so long (default: 10)
    #[arg(long)]
    pub seconds: Option<f64>,
    /// Run for so long before measuring
    #[arg(long, default_value_t = 0.0, value_name = "SECONDS")]
    pub warmup: f64,
    /// Accounts that the load is spread over
    #[arg(long, default_value_t = 10_000)]
    pub accounts: u32,
    /// Share of the entries, 0 to 1, that touch one and the same account
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub hot: f64,
    /// Share of the operations, 0 to 1, that place a hold, and then capture or release it
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub holds: f64,
    /// Give every account a floor of zero, and money to begin with
    #[arg(long)]
    pub floors: bool,
    /// Ask for so many entries a second at fixed times, whatever the answers do;
    /// latency counts from the intended time
    #[arg(long, value_name = "PER_SECOND")]
    pub rate: Option<f64>,
    /// The same seed makes the same accounts and amounts
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Runs the command.
///
/// # Errors
/// The shape makes no sense, or the ledger cannot be reached.
pub async fn run(global: &Global, bench: Bench) -> Result<(), Failure> {
    match bench {
        Bench::Ledger(options) => ledger(global, &options).await,
        Bench::Balances(options) => balances(global, &options).await,
    }
}

async fn ledger(global: &Global, options: &Ledger) -> Result<(), Failure> {
    let shape = shape(options)?;
    shape
        .check()
        .map_err(|error| Failure::usage(error.to_string()))?;
    let bar = match shape.extent {
        Extent::Count(count) => output::progress(
            count,
            "{spinner} {msg} {human_pos} of {human_len} {bar:40} {elapsed}",
        ),
        Extent::Time(_) => output::progress(0, "{spinner} {msg} {human_pos} entries, {elapsed}"),
    };
    let live = Live::default();
    let figures = on_a_bank(global, async |address| {
        watched(
            &bar,
            &live,
            lombard_bench::ledger::run(address, &shape, &live),
        )
        .await
    })
    .await?;
    show_figures(global, &figures)?;
    if figures.acknowledged == 0 {
        return Err(Failure::failed("nothing was acknowledged"));
    }
    Ok(())
}

async fn balances(global: &Global, options: &Balances) -> Result<(), Failure> {
    if options.clients == 0 || options.postings == 0 {
        return Err(Failure::usage(
            "--clients and --postings are at least 1".to_owned(),
        ));
    }
    let shape = BalancesShape {
        postings: options.postings,
        as_of: match options.as_of.as_str() {
            "now" => AsOf::Now,
            "value" => AsOf::Value,
            _ => AsOf::Booked,
        },
        clients: options.clients,
        time: seconds("--seconds", options.seconds)?,
        seed: options.seed,
    };
    let bar = output::progress(0, "{spinner} {msg} {human_pos} reads, {elapsed}");
    let live = Live::default();
    let figures = on_a_bank(global, async |address| {
        watched(
            &bar,
            &live,
            lombard_bench::balances::run(address, &shape, &live),
        )
        .await
    })
    .await?;
    show_figures(global, &figures)?;
    if figures.requests == 0 {
        return Err(Failure::failed("nothing was answered"));
    }
    Ok(())
}

fn show_figures<F: Serialize + Display>(global: &Global, figures: &F) -> Result<(), Failure> {
    if global.json {
        output::json(figures)
    } else {
        output::line(figures)
    }
}

/// Runs a load on the bank that was named or runs, or on one of its own.
async fn on_a_bank<T>(
    global: &Global,
    load: impl AsyncFnOnce(&str) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (bank, folder) = if global.address.is_none()
        && global.data.is_none()
        && crate::running::Running::find(global.data()).is_none()
    {
        let folder = fresh_folder(global.data())?;
        output::note(format!("a bank of its own in {}", folder.path().display()));
        (
            Bank::start(global, folder.path(), &["ledger"]).await?,
            Some(folder),
        )
    } else {
        (Bank::reach_or_make(global, &["ledger"]).await?, None)
    };
    let measured = match bank.address("ledger") {
        Ok(address) => load(address).await,
        Err(failure) => Err(failure),
    };
    bank.leave().await;
    // Removed with the bank stopped, or its writes would come after.
    drop(folder);
    measured
}

/// On the disk of the data folder: the system's folder for temporary files may be memory.
fn fresh_folder(data: &Path) -> Result<tempfile::TempDir, Failure> {
    let beside = match data.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    tempfile::Builder::new()
        .prefix("lombard-bench-")
        .tempdir_in(beside)
        .map_err(|error| {
            Failure::failed(format!(
                "cannot make a folder in {}: {error}",
                beside.display()
            ))
            .advise("name a folder with --data")
        })
}

fn shape(options: &Ledger) -> Result<Shape, Failure> {
    Ok(Shape {
        clients: options.clients,
        http: if options.http == "2" {
            HttpVersion::Http2
        } else {
            HttpVersion::Http1
        },
        connections: options.connections,
        batch: options.batch,
        extent: match options.count {
            Some(count) => Extent::Count(count),
            None => Extent::Time(seconds("--seconds", options.seconds.unwrap_or(10.0))?),
        },
        warmup: seconds("--warmup", options.warmup)?,
        accounts: options.accounts,
        hot: options.hot,
        holds: options.holds,
        floors: options.floors,
        rate: options.rate,
        seed: options.seed,
    })
}

fn seconds(option: &str, seconds: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| Failure::usage(format!("{option}: {seconds} is not a number of seconds")))
}

/// Runs a load, with a bar on a terminal.
async fn watched<T>(
    bar: &ProgressBar,
    live: &Live,
    run: impl Future<Output = Result<T, BenchError>>,
) -> Result<T, Failure> {
    tokio::pin!(run);
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    let mut last = 0;
    let done = loop {
        tokio::select! {
            done = &mut run => break done,
            _ = tick.tick() => show(bar, live, &mut last),
        }
    };
    bar.finish_and_clear();
    done.map_err(|error| match &error {
        BenchError::Shape(_) => Failure::usage(error.to_string()),
        BenchError::Unreachable { .. } => {
            Failure::failed(error.to_string()).advise("is the bank up? `lombard up` starts it")
        }
        BenchError::Account { .. } | BenchError::Answer { .. } => {
            Failure::failed(error.to_string())
        }
    })
}

fn show(bar: &ProgressBar, live: &Live, last: &mut u64) {
    match live.phase() {
        Phase::Opening { opened, of } => {
            bar.set_message(format!("preparing: {} of {}", grouped(opened), grouped(of)));
        }
        phase @ (Phase::WarmingUp | Phase::Measuring) => {
            let acknowledged = live.acknowledged();
            // Five ticks a second.
            let rate = acknowledged.saturating_sub(*last) * 5;
            *last = acknowledged;
            let errors = match live.errors() {
                0 => String::new(),
                errors => format!(", {} errors", grouped(errors)),
            };
            let warming_up = if phase == Phase::WarmingUp {
                "warming up: "
            } else {
                ""
            };
            bar.set_message(format!("{warming_up}{} a second{errors};", grouped(rate)));
            bar.set_position(acknowledged);
        }
    }
}
