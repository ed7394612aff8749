//! `lombard drill`: what operators must have seen before it happens.
//!
//! What is done and judged is in [`lombard_drill`]; here is what a person says and sees.

use indicatif::ProgressBar;
use lombard_drill::observed::Worth;
use lombard_drill::process::Program;
use lombard_drill::report::{AnswerCount, Phase, Report, Step};
use lombard_drill::{
    Context, DrillError, Progress, cassandra_restore, grow, postgres_restore, rolling_restart,
    scale_up,
};
use lombard_service::Host;

use crate::Global;
use crate::failure::Failure;
use crate::output::{self, Align, Table, grouped};

/// Wrong answers that a person is shown; programs get all that were kept.
const WRONG_SHOWN_MAX: usize = 10;
/// What an answer told, as much of it as a person is shown.
const EXAMPLE_CHARS_MAX: usize = 160;

/// Drills on real engines, which are started for it on this machine.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  lombard drill cassandra-scale-up                    the July 2019 incident, and the way back
  lombard drill cassandra-grow                        how nodes are to be added
  lombard drill rolling-restart --engine cassandra    node by node, under load
  lombard drill rolling-restart --engine postgres
  lombard drill postgres-restore                      back to the moment before a mistake
  lombard drill cassandra-restore

A drill starts a real engine in a temporary folder and a bank of its own on it, on
free loopback addresses, and ends both; no other bank is touched. Clients work all
the while. They know what each answer must be, and everything that they were told
is compared with balances and events at the end.

Cassandra takes Java 17 and Maven, and installs itself into your cache: say
`cargo xtask engines install cassandra` to have that done before. What is missing
is named, with its package. Each node takes about 600 MB of memory.

Exit code 0: everything was as it must be. 1: something was not. 2: wrong usage.")]
pub enum Drill {
    /// Three nodes join a cluster without the data that they own; and the way back
    CassandraScaleUp(ScaleUp),
    /// A cluster grows as it should: no failed and no wrong answer
    CassandraGrow(Grow),
    /// Every node of a store is restarted, one by one, under load
    RollingRestart(RollingRestart),
    /// Somebody empties a table of the ledger's; it is put back to a moment before
    PostgresRestore(PostgresRestore),
    /// The same on Cassandra: fresh nodes replay the archived commit log up to the moment
    CassandraRestore(CassandraRestore),
}

/// What every drill understands.
#[derive(Debug, clap::Args)]
pub struct Clients {
    /// Accounts that clients work on
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(i64::from(lombard_drill::load::ACCOUNTS_MIN)..=100_000))]
    pub accounts: u32,
    /// The same seed makes the same amounts and choices
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Keep the folders of engine and bank, with their logs, and say where they are
    #[arg(long)]
    pub keep: bool,
}

impl From<&Clients> for lombard_drill::Clients {
    fn from(clients: &Clients) -> Self {
        Self {
            accounts: clients.accounts,
            seed: clients.seed,
            keep: clients.keep,
        }
    }
}

/// Three nodes join a cluster without the data that they own; and the way back.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lombard drill cassandra-scale-up
  lombard drill cassandra-scale-up --accounts 1000 --seed 7 --keep
  lombard drill cassandra-scale-up --json | jq '.verdicts[] | select(.ok | not)'

In July 2019 a bank added six nodes at once to a cluster whose auto_bootstrap was
false. They owned ranges and had nothing in them; quorums of them answered \"not
found\" to what was there, and no request failed. Here three join three. The bank
must raise its alert, and refuse what the new nodes might hold; it must tell nobody
a wrong balance, and open no account a second time.

The way back is to decommission the new nodes, one by one. It is the only one:
`rebuild` and `repair` do not bring back rows whose replicas are all new, and
`cleanup` on the old nodes destroys the only copy of them.
Takes three to four minutes on two cores, and 4 GB of memory.")]
pub struct ScaleUp {
    #[command(flatten)]
    pub clients: Clients,
    /// How the cluster is brought back: `decommission`; others are refused, and why
    #[arg(long, default_value = "decommission", value_name = "COMMAND")]
    pub way_back: String,
}

/// A cluster grows as it should: no failed and no wrong answer.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lombard drill cassandra-grow            from three nodes to six
  lombard drill cassandra-grow --to 4

Each new node fetches its data before it owns anything (auto_bootstrap: true, the
default of Cassandra), and the next one joins only when all see it. No call may fail,
and no answer be wrong. `lombard cassandra plan-scale-up` says whether a cluster is
fit for it.")]
pub struct Grow {
    #[command(flatten)]
    pub clients: Clients,
    /// How many nodes it grows to
    #[arg(long, default_value_t = grow::NODES_MAX, value_parser = clap::value_parser!(u8).range(i64::from(grow::NODES) + 1..=i64::from(grow::NODES_MAX)))]
    pub to: u8,
}

/// Every node of a store is restarted, one by one, under load.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lombard drill rolling-restart --engine cassandra
  lombard drill rolling-restart --engine postgres --json

Cassandra: each node is drained, stopped and started, and the others must see it
before the next one. Two of three replicas decide, so clients are served all the
while. PostgreSQL: one server; the bank waits for it, and how long clients are
refused is shown as the longest pause.")]
pub struct RollingRestart {
    /// What is restarted
    #[arg(long, value_parser = ["cassandra", "postgres"])]
    pub engine: String,
    #[command(flatten)]
    pub clients: Clients,
}

/// Somebody empties a table of the ledger's; it is put back to a moment before.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lombard drill postgres-restore
  lombard drill postgres-restore --json | jq .restored

A base backup is made while clients work; the log behind it is archived. Then a table of
the ledger's is emptied. A second server replays the archive up to a moment that was noted
before; the ledger's schema is taken from there into the bank's database. All that was
acknowledged by that moment must be there, and nothing of later; all is sent again with
its ids, and gets in once. docs/runbooks/postgres.md has the steps.

By pg_basebackup, pg_dump and pg_restore where the system's PostgreSQL has them; else by
the low-level interface for backups and COPY.")]
pub struct PostgresRestore {
    #[command(flatten)]
    pub clients: Clients,
}

/// Somebody empties a table of the ledger's; fresh nodes are put back to a moment before.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lombard drill cassandra-restore
  lombard drill cassandra-restore --json | jq .restored

Each node's snapshot is taken while clients work, and its commit log is archived. Then a
table of the ledger's is emptied. Three fresh nodes with the same tokens get snapshot and
log, and replay them up to a moment that was noted before; the ledger is then on them by
the bank's configuration, and the old cluster stays as it is. All that was acknowledged by
that moment must be there, and nothing of later; all is sent again with its ids, and gets
in once. docs/runbooks/cassandra.md has the steps.

Takes two to three minutes on two cores, and 4 GB of memory.")]
pub struct CassandraRestore {
    #[command(flatten)]
    pub clients: Clients,
}

/// Runs the command.
///
/// # Errors
/// Something was not as it must be, or the drill came to no answer.
pub async fn run(global: &Global, drill: Drill) -> Result<(), Failure> {
    if let Drill::CassandraScaleUp(options) = &drill {
        way_back(&options.way_back)?;
    }
    let host = Host::system();
    let path = std::env::current_exe()
        .map_err(|error| Failure::failed(format!("cannot find this program: {error}")))?;
    let program = Program::new(path, &host);
    let bar = output::progress(0, "{spinner} {elapsed} {msg}");
    let context = Context {
        host: &host,
        banks: &program,
        tell: &|progress| tell(&bar, progress),
    };
    let done = match &drill {
        Drill::CassandraScaleUp(ScaleUp { clients, .. }) => {
            scale_up::run(&context, clients.into()).await
        }
        Drill::CassandraGrow(Grow { clients, to }) => {
            let options = grow::Options {
                clients: clients.into(),
                to: *to,
            };
            grow::run(&context, &options).await
        }
        Drill::RollingRestart(RollingRestart { engine, clients }) => {
            let options = rolling_restart::Options {
                engine: if engine == "postgres" {
                    rolling_restart::Engine::Postgres
                } else {
                    rolling_restart::Engine::Cassandra
                },
                clients: clients.into(),
            };
            rolling_restart::run(&context, &options).await
        }
        Drill::PostgresRestore(PostgresRestore { clients }) => {
            postgres_restore::run(&context, clients.into()).await
        }
        Drill::CassandraRestore(CassandraRestore { clients }) => {
            cassandra_restore::run(&context, clients.into()).await
        }
    };
    bar.finish_and_clear();
    let report = done.map_err(|error| no_answer(&error))?;
    if global.json {
        output::json(&report)?;
    } else {
        print(&report)?;
    }
    if report.ok { Ok(()) } else { Err(Failure::No) }
}

/// There is one way back; who asks for another is told what it would do.
fn way_back(command: &str) -> Result<(), Failure> {
    let why = match command {
        "decommission" => return Ok(()),
        "cleanup" => {
            "it destroys, on the old nodes, what they no longer own: the only copy of rows whose \
             replicas are all new"
        }
        "rebuild" => {
            "it fetches from nodes that may be as empty; rows whose replicas are all new do not \
             come back by it"
        }
        "repair" => "it makes replicas alike; where all of them are new they are alike, and empty",
        _ => "it is not known here",
    };
    Err(
        Failure::usage(format!("--way-back {command} is refused: {why}")).advise(
            "decommission the new nodes, one by one: docs/runbooks/cassandra.md has the steps",
        ),
    )
}

fn no_answer(error: &DrillError) -> Failure {
    let failure = Failure::failed(error.to_string());
    match error {
        DrillError::Bank { .. } | DrillError::Ledger { .. } => {
            failure.advise("--keep keeps the folders of engine and bank, with their logs")
        }
        DrillError::Engine(_) | DrillError::System { .. } => failure,
    }
}

/// On a terminal a bar says what is being done; else there is a line for each step.
fn tell(bar: &ProgressBar, progress: &Progress) {
    let line = |text: String| {
        if bar.is_hidden() {
            output::note(text);
        } else {
            bar.println(text);
        }
    };
    match progress {
        Progress::Begun { what } => {
            bar.set_prefix(what.clone());
            bar.set_message(what.clone());
            if bar.is_hidden() {
                line(format!("… {what}"));
            }
        }
        Progress::Done(Step {
            at_s,
            took_s,
            what,
            seen,
        }) => line(format!("{at_s:>6.1} s  {what}: {took_s:.1} s; {seen}")),
        Progress::Live(now) => bar.set_message(format!(
            "{}: {} answers right, {} refused, {} none; {} wrong",
            bar.prefix(),
            grouped(now.right),
            grouped(now.refused),
            grouped(now.unanswered),
            grouped(now.wrong)
        )),
        Progress::Alert(alert) => line(format!("{:>6.1} s  ALERT {}", alert.at_s, alert.text)),
    }
}

fn print(report: &Report) -> Result<(), Failure> {
    use Align::{Left, Right};
    output::line(format!(
        "{}: {}, {} accounts, seed {}, {:.0} s",
        report.drill,
        report.engine,
        grouped(u64::from(report.accounts)),
        report.seed,
        report.seconds
    ))?;
    let mut steps = Table::new(&[
        ("AT", Right),
        ("TOOK", Right),
        ("STEP", Left),
        ("SEEN", Left),
    ]);
    for step in &report.steps {
        steps.row([
            format!("{:.1} s", step.at_s),
            format!("{:.1} s", step.took_s),
            step.what.clone(),
            shortened(&step.seen),
        ]);
    }
    output::line("")?;
    steps.print()?;
    output::line("")?;
    phases(&report.phases)?;
    failed_answers(&report.phases)?;
    for alert in &report.alerts {
        output::line(format!("alert at {:.1} s: {}", alert.at_s, alert.text))?;
    }
    if let Some(entries) = report.acknowledged_while_wrong {
        output::line(format!(
            "acknowledged while ownership was or became wrong, and compared at the end: {}",
            output::count(entries, "entry", "entries")
        ))?;
    }
    let shown = report.wrong.iter().take(WRONG_SHOWN_MAX);
    for wrong in shown {
        output::line(format!("wrong: {}", wrong.what))?;
    }
    for finding in report.compared.findings.iter().take(WRONG_SHOWN_MAX) {
        output::line(format!("at the end: {finding}"))?;
    }
    for folder in &report.folders {
        output::line(format!("kept: {}", folder.display()))?;
    }
    output::line("")?;
    for verdict in &report.verdicts {
        let (style, word) = if verdict.ok {
            (anstyle::AnsiColor::Green.on_default().bold(), "yes")
        } else {
            (anstyle::AnsiColor::Red.on_default().bold(), "NO ")
        };
        output::line(format!(
            "{style}{word}{style:#}  {}: {}",
            verdict.must, verdict.seen
        ))?;
    }
    Ok(())
}

fn phases(phases: &[Phase]) -> Result<(), Failure> {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("PHASE", Left),
        ("SECONDS", Right),
        ("CALLS", Right),
        ("REFUSED", Right),
        ("NO ANSWER", Right),
        ("WRONG", Right),
        ("ERRORS", Right),
        ("P50 MS", Right),
        ("P99 MS", Right),
        ("MAX MS", Right),
        ("LONGEST PAUSE", Right),
    ]);
    for phase in phases {
        table.row([
            phase.name.clone(),
            format!("{:.1}", phase.seconds),
            grouped(phase.calls),
            grouped(phase.refused),
            grouped(phase.unanswered),
            grouped(phase.wrong),
            format!("{:.2} %", phase.error_rate * 100.0),
            format!("{:.1}", phase.p50_ms),
            format!("{:.1}", phase.p99_ms),
            format!("{:.1}", phase.max_ms),
            format!("{:.0} ms", phase.longest_pause_ms),
        ]);
    }
    table.print()
}

/// What was answered and is not right, by phase.
fn failed_answers(phases: &[Phase]) -> Result<(), Failure> {
    for phase in phases {
        let failed = |answer: &&AnswerCount| answer.worth != Worth::Right;
        for answer in phase.answers.iter().filter(failed) {
            output::line(format!(
                "  {}: {} × {}: {} {} {}",
                phase.name,
                grouped(answer.count),
                answer.operation.words(),
                answer.code,
                answer.reason,
                shortened(&answer.example)
            ))?;
        }
    }
    Ok(())
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= EXAMPLE_CHARS_MAX {
        return text.to_owned();
    }
    let kept: String = text.chars().take(EXAMPLE_CHARS_MAX).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_back_that_lose_or_leave_rows_are_refused_with_the_reason() {
        assert!(way_back("decommission").is_ok());
        for (command, because) in [
            ("cleanup", "destroys"),
            ("rebuild", "empty"),
            ("repair", "empty"),
            ("prayer", "not known"),
        ] {
            let failure = way_back(command).unwrap_err();
            assert!(matches!(failure, Failure::Usage(_)), "{failure}");
            assert!(failure.to_string().contains(because), "{failure}");
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        let long = "é".repeat(EXAMPLE_CHARS_MAX + 1);
        assert_eq!(shortened(&long).chars().count(), EXAMPLE_CHARS_MAX + 1);
        assert!(shortened(&long).ends_with('…'));
    }
}
