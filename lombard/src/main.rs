//! The one binary: the whole bank in a process, parts of it, and the tools that
//! people and programs use on it.
//!
//! One file a command. What they share: [`bank`] finds a bank or starts one,
//! [`output`] writes results, [`failure`] says why not.

mod allocator;
mod assembly;
mod backup;
mod bank;
mod bench;
mod call;
mod cassandra;
mod check;
mod completions;
mod contracts;
mod control;
mod demo;
mod drill;
mod engine;
mod failure;
mod import;
mod log;
mod output;
mod report;
mod running;
mod suggest;
mod up;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;

/// The numbers of signals, as shells add them to 128.
const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;
/// An entry is some dozens of small short-lived allocations on many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DATA_DEFAULT: &str = "./lombard-data";

/// The backend of a digital bank, as one binary.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    propagate_version = true,
    arg_required_else_help = true
)]
#[command(after_help = "\
Start here:
  lombard up --demo                          a bank with customers and money that moves
  lombard call --list                        what can be asked of it
  lombard call ledger GetBalances '{\"account\":\"demo-account-001\"}'
  lombard report trial-balance               every balance; they add up to zero
  lombard check                              recomputes every balance from its postings

Results go to stdout, everything else to stderr. Exit code 0: done. 1: the
answer is no, or the work failed. 2: wrong usage.")]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// The folder that the bank's state is in [default: ./lombard-data]
    #[arg(long, global = true, value_name = "DIR", env = "LOMBARD_DATA")]
    data: Option<PathBuf>,
    /// Configuration [default: lombard.toml, where there is one]
    #[arg(long, global = true, value_name = "FILE", env = "LOMBARD_CONFIG")]
    config: Option<PathBuf>,
    /// Set one value of the configuration, e.g. `server.max_concurrent_calls=1000`
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Results as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Where the service listens [default: the bank that runs on the data folder]
    #[arg(long, global = true, value_name = "HOST:PORT", env = "LOMBARD_ADDRESS")]
    address: Option<String>,
}

impl Global {
    /// The folder that the bank's state is in.
    fn data(&self) -> &Path {
        self.data.as_deref().unwrap_or(Path::new(DATA_DEFAULT))
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole bank in one process; Ctrl-C drains it
    Up(up::Up),
    /// Some services in this process
    Run(up::Run),
    /// One call, for a person
    Call(call::Options),
    /// Bring transactions in: resumable, and the same file twice changes nothing
    Import(import::Options),
    /// What accountants ask for
    #[command(subcommand)]
    Report(report::Report),
    /// The auditor: recomputes everything; exit code 1 and the first culprits if not right
    Check(check::Options),
    /// Load, with its figures
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Look into the log that is the embedded engine's truth
    #[command(subcommand)]
    Log(log::Log),
    /// Backups and archives: make, follow, verify, restore to a moment
    #[command(subcommand)]
    Backup(backup::Backup),
    /// A Cassandra cluster: its nodes, and which step is safe
    #[command(subcommand)]
    Cassandra(cassandra::Cassandra),
    /// Drills on real engines: what operators must have seen before it happens
    #[command(subcommand)]
    Drill(drill::Drill),
    /// Print what a shell needs to complete commands
    Completions(completions::Options),
}

fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    if matches!(
        command,
        Command::Up(_) | Command::Run(_) | Command::Bench(_)
    ) {
        allocator::keep_freed_memory();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::failed(format!("cannot start threads: {error}"));
            failure.tell();
            return failure.exit_code();
        }
    };
    let done = runtime.block_on(until_interrupted(&global, command));
    if let Err(Failure::Interrupted(_)) = done {
        // Work on an engine may take minutes; it ends with this process.
        runtime.shutdown_background();
    }
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell();
            failure.exit_code()
        }
    }
}

/// `up` and `run` drain when they are interrupted. All else ends at once: what was
/// acknowledged is safe, and everything can be started again.
async fn until_interrupted(global: &Global, command: Command) -> Result<(), Failure> {
    if matches!(command, Command::Up(_) | Command::Run(_)) {
        return run(global, command).await;
    }
    // A bank in this process takes the signals over: they must be heard here too.
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    tokio::select! {
        done = run(global, command) => done,
        _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted(SIGINT)),
        _ = terminated.recv() => Err(Failure::Interrupted(SIGTERM)),
    }
}

async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    match command {
        Command::Up(options) => up::up(global, options).await,
        Command::Run(options) => up::run(global, options).await,
        Command::Call(options) => call::run(global, options).await,
        Command::Import(options) => import::run(global, options).await,
        Command::Report(report) => report::run(global, report).await,
        Command::Check(options) => check::run(global, options).await,
        Command::Bench(bench) => bench::run(global, bench).await,
        Command::Log(log) => log::run(global, log).await,
        Command::Backup(backup) => backup::run(global, backup).await,
        Command::Cassandra(command) => cassandra::run(global, command).await,
        Command::Drill(drill) => drill::run(global, drill).await,
        Command::Completions(options) => completions::run(&options),
    }
}
