//! `lombard up` and `lombard run`: the bank, or parts of it, in this process.

use std::collections::BTreeMap;
use std::sync::Arc;

use lombard_service::{RunningApplication, StopReason, Stopped};
use lombard_store::Patience;
use lombard_store::embedded::Embedded;
use lombard_telemetry::LogFormat;
use serde::Serialize;

use crate::Global;
use crate::assembly::{self, Assembled, SERVICES};
use crate::bank::Bank;
use crate::control;
use crate::demo;
use crate::failure::Failure;
use crate::output;
use crate::running::{Announced, Running};

/// Where the services listen if nothing else is said: this port and those behind it.
const PORT_BASE: u16 = 7_400;
/// The driver tells at `info` of each connection.
const LOG_FILTER: &str = "info,scylla=warn";

/// The whole bank in one process.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lombard up                                  ledger, customer and account service
  lombard up --demo                           with customers and money that moves
  lombard up --demo --rate 200 --customers 100
  lombard up --port-base 0 --json             on free ports; says which as JSON
  curl 127.0.0.1:7400/bank.ledger.v1.LedgerService/GetStatus \\
       -H content-type:application/json -d '{}'

One line on stdout says when everything answers. Ctrl-C or SIGTERM drains:
calls that were accepted are answered, then the process ends with code 0.")]
pub struct Up {
    /// Open customers with accounts and keep money moving between them
    #[arg(long)]
    pub demo: bool,
    /// What happens in a second of the demonstration, about
    #[arg(
        long,
        requires = "demo",
        default_value_t = 20.0,
        value_name = "PER_SECOND"
    )]
    pub rate: f64,
    /// Customers of the demonstration, 2 to 340
    #[arg(long, requires = "demo", default_value_t = 36, value_parser = clap::value_parser!(u32).range(2..=340))]
    pub customers: u32,
    #[command(flatten)]
    pub listen: Listen,
}

/// Some services in this process.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lombard run ledger
  lombard run account --port-base 7500 --set 'addresses.ledger=[\"10.0.0.7:7400\"]'

A service that another one here calls must run here too, or its place be said
under [addresses] in lombard.toml.")]
pub struct Run {
    /// ledger, customer, account
    #[arg(required = true)]
    pub services: Vec<String>,
    #[command(flatten)]
    pub listen: Listen,
}

/// Where and how loud.
#[derive(Debug, clap::Args)]
pub struct Listen {
    /// The listeners are on this port and those behind it; 0: on free ports
    #[arg(long, default_value_t = PORT_BASE, env = "LOMBARD_PORT_BASE")]
    pub port_base: u16,
    /// What is logged to stderr, e.g. `debug` or `lombard_store=debug`
    #[arg(long, default_value = LOG_FILTER, env = "LOMBARD_LOG", value_name = "FILTER")]
    pub log: String,
    /// How it is logged: `text` for people, `json` for programs
    #[arg(long, default_value = "text", env = "LOMBARD_LOG_FORMAT", value_parser = ["text", "json"])]
    pub log_format: String,
}

/// Runs `lombard up`.
///
/// # Errors
/// The bank cannot start: the folder is in use, a port is taken, the configuration is wrong.
pub async fn up(global: &Global, options: Up) -> Result<(), Failure> {
    if !(options.rate.is_finite() && options.rate > 0.0) {
        return Err(Failure::usage(format!(
            "--rate: {} is not a rate above 0",
            options.rate
        )));
    }
    let process = start(global, &SERVICES, &options.listen).await?;
    if !options.demo {
        return process.run().await;
    }
    let bank = Bank::of_running(&process.running);
    let plan = demo::Options {
        rate: options.rate,
        customers: options.customers,
        quiet: global.json,
    };
    let demo = async {
        if let Err(failure) = demo::run(&bank, &plan).await {
            failure.tell();
            output::note("the bank goes on without the demonstration");
            std::future::pending::<()>().await;
        }
    };
    process.run_with(demo).await
}

/// Runs `lombard run`.
///
/// # Errors
/// As for `up`.
pub async fn run(global: &Global, options: Run) -> Result<(), Failure> {
    let services: Vec<&str> = options.services.iter().map(String::as_str).collect();
    start(global, &services, &options.listen).await?.run().await
}

async fn start(global: &Global, services: &[&str], listen: &Listen) -> Result<Process, Failure> {
    let format = if listen.log_format == "json" {
        LogFormat::Json
    } else {
        LogFormat::Text
    };
    lombard_telemetry::init(format, &listen.log).map_err(|error| {
        Failure::usage(format!("--log {}: {error}", listen.log))
            .advise("for example `info` or `lombard_store=debug`")
    })?;
    if let Some(other) = Running::find(global.data()) {
        return Err(Failure::failed(format!(
            "a bank runs on {} already, as process {}",
            global.data().display(),
            other.pid
        ))
        .advise("stop it, or name another folder with --data"));
    }
    let Assembled {
        application,
        data,
        embedded,
    } = assembly::assemble(
        global,
        global.data(),
        services,
        listen.port_base,
        Patience::Forever,
    )?;
    let running = application.start().await.map_err(assembly::not_started)?;
    let addresses = assembly::addresses(&running);
    let announced = Running {
        pid: std::process::id(),
        addresses: addresses.clone(),
    }
    .announce(&data)
    .map_err(|error| Failure::failed(format!("cannot write to {}: {error}", data.display())))?;
    if let Some(embedded) = &embedded
        && let Err(error) = control::serve(running.host(), &data, embedded.clone())
    {
        tracing::warn!(%error, "no control socket: `lombard backup make` works on the stopped bank only");
    }
    ready(global, &running, addresses)?;
    Ok(Process {
        running,
        announced,
        embedded,
    })
}

/// What `--json` prints when everything answers.
#[derive(Debug, Serialize)]
struct Ready {
    event: &'static str,
    ready_ms: u64,
    addresses: BTreeMap<String, String>,
    pid: u32,
}

fn ready(
    global: &Global,
    running: &RunningApplication,
    addresses: BTreeMap<String, String>,
) -> Result<(), Failure> {
    let ready_ms = running.ready_ms();
    if global.json {
        return output::json_line(&Ready {
            event: "ready",
            ready_ms,
            addresses,
            pid: std::process::id(),
        });
    }
    let (bold, dim) = (output::HEADING, output::DIM);
    let list: Vec<String> = addresses
        .iter()
        .map(|(name, address)| format!("{name} http://{address}"))
        .collect();
    output::line(format!("ready in {ready_ms} ms: {}", list.join(", ")))?;
    for (name, address) in &addresses {
        output::note(format!(
            "  {bold}{name:<10}{bold:#} http://{address}  {dim}/metrics /health /ready{dim:#}"
        ));
    }
    output::note(format!(
        "  {dim}state in {}; Ctrl-C drains and stops{dim:#}",
        global.data().display()
    ));
    if let Some(address) = addresses.get("ledger") {
        output::note(format!(
            "  {dim}try: curl {address}/bank.ledger.v1.LedgerService/GetStatus -H content-type:application/json -d '{{}}'{dim:#}"
        ));
    }
    Ok(())
}

/// What runs until it is told to stop.
struct Process {
    running: RunningApplication,
    announced: Announced,
    embedded: Option<Arc<Embedded>>,
}

impl Process {
    async fn run(self) -> Result<(), Failure> {
        self.run_with(std::future::pending()).await
    }

    /// With something beside it that ends when it does.
    async fn run_with(self, beside: impl Future<Output = ()>) -> Result<(), Failure> {
        let stopped = self.running.wait_or(beside).await;
        // Nobody answers any more: nobody is to be sent here.
        drop(self.announced);
        if let Some(embedded) = self.embedded {
            embedded.close();
        }
        ended(stopped)
    }
}

fn ended(stopped: Stopped) -> Result<(), Failure> {
    if let StopReason::Signal(signal) = stopped.reason {
        output::note(format!("{signal}: drained and stopped"));
    }
    if stopped.is_clean() {
        return Ok(());
    }
    let mut what = Vec::new();
    if stopped.cut_off > 0 {
        what.push(output::count(
            stopped.cut_off as u64,
            "connection was cut off",
            "connections were cut off",
        ));
    }
    if !stopped.tasks_left.is_empty() {
        what.push(format!(
            "tasks did not end: {}",
            stopped.tasks_left.join(", ")
        ));
    }
    if stopped.forced {
        what.push("a second signal ended the drain".to_owned());
    }
    Err(
        Failure::failed(format!("stopped, but not cleanly: {}", what.join("; ")))
            .advise("what was acknowledged is safe; callers send the rest again"),
    )
}
