//! `lombard call`: one call, for a person.

use std::io::Read;

use lombard_rpc::{Method, Service, dynamic, services};

use crate::bank::Bank;
use crate::contracts::Contracts;
use crate::failure::Failure;
use crate::output::{self, Align, Table};
use crate::suggest;
use crate::{Global, failure};

/// A request from stdin is read up to here.
const STDIN_BYTES_MAX: u64 = 64 << 20;

/// One call, for a person.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lombard call --list                               every service and method
  lombard call ledger --list                        those of one service
  lombard call ledger CreateEntry --describe        what goes in, what comes out
  lombard call ledger GetBalances '{\"account\":\"alice\"}'
  lombard call ledger ListAccounts                  no JSON is {}
  cat entry.json | lombard call ledger CreateEntry -")]
pub struct Options {
    /// The service: ledger, account, customer (or its full name)
    pub service: Option<String>,
    /// The method, e.g. GetBalances
    pub method: Option<String>,
    /// The request as JSON; `-` reads it from stdin; nothing is {}
    pub request: Option<String>,
    /// Show the services and methods that there are
    #[arg(long)]
    pub list: bool,
    /// Show the method's request and response with their comments
    #[arg(long, conflicts_with = "list")]
    pub describe: bool,
}

/// Runs the command.
///
/// # Errors
/// No such method, no bank, or the callee's refusal.
pub async fn run(global: &Global, options: Options) -> Result<(), Failure> {
    let contracts = Contracts::read()
        .map_err(|error| Failure::failed(format!("the contracts built in are damaged: {error}")))?;
    if options.list {
        return list(global, &contracts, options.service.as_deref());
    }
    let Some(service) = &options.service else {
        return Err(Failure::usage("which service and method?")
            .advise("`lombard call --list` shows what there is"));
    };
    let service = find_service(service)?;
    let Some(method) = &options.method else {
        return Err(
            Failure::usage(format!("which method of {}?", service.short_name())).advise(format!(
                "`lombard call {} --list` shows what there is",
                service.short_name()
            )),
        );
    };
    let method = find_method(service, method)?;
    if options.describe {
        return describe(&contracts, service, method);
    }
    let request = match options.request.as_deref() {
        None => "{}".to_owned(),
        Some("-") => {
            let mut text = String::new();
            std::io::stdin()
                .take(STDIN_BYTES_MAX)
                .read_to_string(&mut text)
                .map_err(|error| {
                    Failure::failed(format!("cannot read the request from stdin: {error}"))
                })?;
            text
        }
        Some(text) => text.to_owned(),
    };
    let bank = Bank::reach(global, &[service.short_name()]).await?;
    let answer = match bank.channel(service.short_name()) {
        Ok(channel) => dynamic::call(&channel, method, request)
            .await
            .map_err(|error| refused(service, method, &error)),
        Err(failure) => Err(failure),
    };
    bank.leave().await;
    let answer = answer?;
    let value: serde_json::Value = serde_json::from_str(&answer)
        .map_err(|error| Failure::failed(format!("the answer is not JSON: {error}")))?;
    output::json(&value)
}

/// The service of this name, or what was meant.
///
/// # Errors
/// There is none.
pub fn find_service(name: &str) -> Result<&'static Service, Failure> {
    if let Some(service) = services().iter().find(|service| {
        let last = service.name.rsplit('.').next().unwrap_or_default();
        [service.name.as_str(), service.short_name(), last]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
    }) {
        return Ok(service);
    }
    let names: Vec<&str> = services().iter().map(Service::short_name).collect();
    let advice = match suggest::nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`? There are {}", names.join(", ")),
        None => format!("there are {}", names.join(", ")),
    };
    Err(Failure::usage(format!("there is no service `{name}`")).advise(advice))
}

fn find_method(service: &'static Service, name: &str) -> Result<&'static Method, Failure> {
    if let Some(method) = service
        .methods
        .iter()
        .find(|method| method.name.eq_ignore_ascii_case(name))
    {
        return Ok(method);
    }
    let names = service.methods.iter().map(|method| method.name.as_str());
    let near = suggest::nearest(name, names);
    let show = format!("`lombard call {} --list` shows all", service.short_name());
    Err(
        Failure::usage(format!("{} has no method `{name}`", service.short_name())).advise(
            match near {
                Some(near) => format!("did you mean `{near}`? {show}"),
                None => show,
            },
        ),
    )
}

fn refused(service: &Service, method: &Method, error: &lombard_rpc::Error) -> Failure {
    let failure = Failure::failed(format!("{} ({})", error, error.code.as_str()));
    match error.reason.as_ref() {
        lombard_rpc::reason::UNKNOWN_FIELD | lombard_rpc::reason::MALFORMED_REQUEST => failure
            .advise(format!(
                "`lombard call {} {} --describe` shows the request's fields",
                service.short_name(),
                method.name
            )),
        lombard_rpc::reason::UNREACHABLE => {
            failure.advise("is the bank up? `lombard up` starts it")
        }
        _ if error.retryable => failure.advise("the same call may succeed when it is sent again"),
        _ => failure,
    }
}

fn list(
    global: &Global,
    contracts: &Contracts,
    service: Option<&str>,
) -> Result<(), failure::Failure> {
    let chosen: Vec<&Service> = match service {
        Some(name) => vec![find_service(name)?],
        None => services().iter().collect(),
    };
    if global.json {
        let methods: Vec<serde_json::Value> = chosen
            .iter()
            .flat_map(|service| service.methods.iter().map(move |method| (service, method)))
            .map(|(service, method)| {
                serde_json::json!({
                    "service": service.short_name(),
                    "method": method.name,
                    "path": method.path,
                    "summary": contracts.summary(&method.path),
                })
            })
            .collect();
        return output::json(&methods);
    }
    let mut table = Table::new(&[
        ("SERVICE", Align::Left),
        ("METHOD", Align::Left),
        ("", Align::Left),
    ]);
    for service in chosen {
        for method in &service.methods {
            table.row([
                service.short_name().to_owned(),
                method.name.clone(),
                contracts.summary(&method.path).to_owned(),
            ]);
        }
    }
    table.print()
}

fn describe(contracts: &Contracts, service: &Service, method: &Method) -> Result<(), Failure> {
    let dim = output::DIM;
    output::line(format!(
        "{dim}{}{dim:#}\n{dim}POST {}{dim:#}\n\n{} {} {{\n{}}}\n\nanswers {{\n{}}}",
        contracts.summary(&method.path),
        method.path,
        service.short_name(),
        method.name,
        contracts.describe(&method.input),
        contracts.describe(&method.output),
    ))
}
