//! How the bank is put together: the engine, and the services over it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lombard_service::{Application, Config, ConfigError, Host, RunningApplication, StartError};
use lombard_store::embedded::Embedded;
use lombard_store::{Patience, Store, StoreError, StoreOptions};

use crate::Global;
use crate::engine::{self, Opened};
use crate::failure::Failure;
use crate::suggest;

/// The services of the bank, in the order in which they start: each calls only those before it.
pub const SERVICES: [&str; 3] = ["ledger", "customer", "account"];

/// Partitions whose last rows are kept at hand, on engines that are elsewhere: an account
/// has some kilobytes of them.
const LANES_IDLE_MAX: usize = 16_384;

/// An application that can be started.
pub struct Assembled {
    /// It.
    pub application: Application,
    /// The folder of its state.
    pub data: PathBuf,
    /// The embedded engine, where it is the one: to be closed when the application has
    /// stopped.
    pub embedded: Option<Arc<Embedded>>,
}

/// Puts these services together over the state in a folder.
///
/// # Errors
/// The configuration is wrong, a service is not known, the folder is in use, damaged or
/// cannot be written to.
pub fn assemble(
    global: &Global,
    data: &Path,
    services: &[&str],
    port_base: u16,
    patience: Patience,
) -> Result<Assembled, Failure> {
    for name in services {
        if !SERVICES.contains(name) {
            return Err(unknown(name));
        }
    }
    let host = Host::system();
    let config = configuration(global)?;
    fs::create_dir_all(data).map_err(|error| {
        Failure::failed(format!(
            "cannot make the folder {}: {error}",
            data.display()
        ))
    })?;
    let data = data.canonicalize().map_err(|error| {
        Failure::failed(format!(
            "cannot find the folder {}: {error}",
            data.display()
        ))
    })?;
    let Opened { engine, embedded } = engine::open(&config, &data, &host, patience)?;
    let options = StoreOptions {
        spawner: Arc::new(host.clone()),
        lanes_idle_max: LANES_IDLE_MAX,
        ..StoreOptions::new(host.random().next_u64())
    };
    let store = Store::new(engine, options);
    for name in SERVICES {
        // A section may stay where its service runs elsewhere.
        config.know(name);
    }
    let mut application = Application::new(host, config, store).port_base(port_base);
    for name in SERVICES {
        if services.contains(&name) {
            application = match name {
                "ledger" => application.service(name, lombard_ledger::start),
                "customer" => application.service(name, lombard_customer::start),
                _ => application.service(name, lombard_account::start),
            };
        }
    }
    Ok(Assembled {
        application,
        data,
        embedded,
    })
}

/// These services and those that they call, in the order in which they start.
pub fn with_callees(services: &[&str]) -> Vec<&'static str> {
    // Only the account service calls others, and it calls all of them.
    let all = services.contains(&"account");
    let needed = SERVICES
        .into_iter()
        .filter(|name| all || services.contains(name));
    needed.collect()
}

fn unknown(name: &str) -> Failure {
    let all = SERVICES.join(", ");
    Failure::usage(format!("there is no service `{name}`")).advise(
        match suggest::nearest(name, SERVICES) {
            Some(near) => format!("did you mean `{near}`? There are {all}"),
            None => format!("there are {all}"),
        },
    )
}

/// `lombard.toml`, the environment, and flags.
///
/// # Errors
/// The file cannot be read, or something in it is not known.
pub fn configuration(global: &Global) -> Result<Config, Failure> {
    let mut flags = Vec::new();
    for set in &global.set {
        let Some((key, value)) = set.split_once('=') else {
            return Err(Failure::usage(format!(
                "--set {set}: write it as section.key=value"
            )));
        };
        flags.push((key.to_owned(), value.to_owned()));
    }
    Config::load(global.config.as_deref(), std::env::vars(), flags)
        .map_err(|error| Failure::usage(error.to_string()))
}

/// Where the services of a started application listen.
pub fn addresses(running: &RunningApplication) -> BTreeMap<String, String> {
    running
        .addresses()
        .iter()
        .map(|(name, address)| (name.clone(), address.to_string()))
        .collect()
}

/// Why an application did not start, and what to do.
pub fn not_started(error: StartError) -> Failure {
    let what = error.to_string();
    match error {
        StartError::Config(_) => Failure::usage(what),
        StartError::Service { cause, .. } if cause.is::<ConfigError>() => Failure::usage(what),
        StartError::Listen { .. } => Failure::failed(what)
            .advise("another process listens there: stop it, or take other ports with --port-base"),
        StartError::Store(StoreError::Misconfigured(_)) => Failure::usage(what),
        StartError::Store(_)
        | StartError::Service { .. }
        | StartError::NotReady { .. }
        | StartError::Interrupted => Failure::failed(what),
    }
}
