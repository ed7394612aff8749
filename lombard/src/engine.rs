//! Which engine keeps the partitions: the `[store]` section, and the engine's own.

use std::path::Path;
use std::sync::Arc;

use lombard_service::{Config, Host};
use lombard_store::embedded::{Embedded, EmbeddedOptions};
use lombard_store::{Attempt, Engine, Patience, Reach, Spawner, StoreError};
use lombard_store_cassandra::{Cassandra, CassandraOptions, PhysicalClock};
use lombard_store_postgres::{Postgres, PostgresOptions};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::suggest;

const EMBEDDED: &str = "embedded";
const POSTGRES: &str = "postgres";
/// The engine, and its section.
pub const CASSANDRA: &str = "cassandra";
/// Engines that can be named in the configuration; the first is the one that is taken
/// where none is.
const ENGINES: [&str; 3] = [EMBEDDED, POSTGRES, CASSANDRA];
/// The folder of the embedded engine, within the data folder.
pub const STORE_FOLDER: &str = "store";

/// An engine, or the way to it.
pub struct Opened {
    /// What the store works with.
    pub engine: Arc<dyn Engine>,
    /// The same, where it is the embedded one: it has a folder, and must be closed.
    pub embedded: Option<Arc<Embedded>>,
}

/// The `[store]` section.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StoreSection {
    /// `embedded`: one log in the data folder. `postgres`: a PostgreSQL server.
    /// `cassandra`: Cassandra clusters.
    engine: String,
}

impl Default for StoreSection {
    fn default() -> Self {
        Self {
            engine: ENGINES[0].to_owned(),
        }
    }
}

/// The engine that the configuration names: the embedded one opened, over the state in
/// the folder; one that is elsewhere is reached when the application starts.
///
/// # Errors
/// There is no such engine, its section is wrong; the folder is in use, damaged, or
/// cannot be written to.
pub fn open(
    config: &Config,
    data: &Path,
    host: &Host,
    patience: Patience,
) -> Result<Opened, Failure> {
    let name = name(config)?;
    if name == EMBEDDED {
        let embedded = open_embedded(config, data, host)?;
        return Ok(Opened {
            engine: embedded.clone(),
            embedded: Some(embedded),
        });
    }
    let attempt = if name == POSTGRES {
        to_postgres(section(config, POSTGRES)?, host)
    } else {
        to_cassandra(section(config, CASSANDRA)?, host)
    };
    let spawner = Arc::new(host.clone());
    Ok(Opened {
        engine: Arc::new(Reach::new(name, patience, spawner, attempt)),
        embedded: None,
    })
}

fn to_postgres(options: PostgresOptions, host: &Host) -> Attempt {
    let spawner = Arc::new(host.clone());
    Box::new(move || {
        let (options, spawner) = (options.clone(), spawner.clone());
        Box::pin(async move {
            let engine = Postgres::connect(options, spawner).await?;
            Ok(Arc::new(engine) as Arc<dyn Engine>)
        })
    })
}

fn to_cassandra(options: CassandraOptions, host: &Host) -> Attempt {
    let spawner: Arc<dyn Spawner> = Arc::new(host.clone());
    let host = host.clone();
    // Before 1970 there was no bank.
    let clock: PhysicalClock = Arc::new(move || u64::try_from(host.now_us()).unwrap_or(0));
    Box::new(move || {
        let (options, clock) = (options.clone(), clock.clone());
        let spawner = spawner.clone();
        Box::pin(async move {
            let engine = Arc::new(Cassandra::connect(options, clock).await?);
            engine.watch(&spawner);
            Ok(engine as Arc<dyn Engine>)
        })
    })
}

/// Whether the configuration names the engine whose state is in the data folder.
///
/// # Errors
/// There is no such engine.
pub fn is_embedded(config: &Config) -> Result<bool, Failure> {
    Ok(name(config)? == EMBEDDED)
}

/// The embedded engine over the state in the folder.
///
/// # Errors
/// The folder is in use, damaged, or cannot be written to.
pub fn open_embedded(config: &Config, data: &Path, host: &Host) -> Result<Arc<Embedded>, Failure> {
    let options: EmbeddedOptions = section(config, EMBEDDED)?;
    let folder = data.join(STORE_FOLDER);
    let host = host.clone();
    let clock = Arc::new(move || host.now_us());
    let (engine, report) = Embedded::open_with_clock(&folder, options, clock)
        .map_err(|error| not_opened(&folder, &error))?;
    tracing::info!(folder = %folder.display(), %report, "store opened");
    Ok(Arc::new(engine))
}

fn name(config: &Config) -> Result<&'static str, Failure> {
    let section: StoreSection = section(config, "store")?;
    for engine in ENGINES {
        // The section of an engine that is not the one may stay.
        config.know(engine);
    }
    let known = ENGINES.into_iter().find(|name| *name == section.engine);
    known.ok_or_else(|| {
        let all = ENGINES.join(", ");
        Failure::usage(format!(
            "[store] engine: there is no engine `{}`",
            section.engine
        ))
        .advise(match suggest::nearest(&section.engine, ENGINES) {
            Some(near) => format!("did you mean `{near}`? There are {all}"),
            None => format!("there are {all}"),
        })
    })
}

/// A section of the configuration.
///
/// # Errors
/// Something in it is not known, or not as it should be.
pub fn section<T: DeserializeOwned>(config: &Config, name: &str) -> Result<T, Failure> {
    config
        .section(name)
        .map_err(|error| Failure::usage(error.to_string()))
}

/// Why a store did not open, and what to do.
pub fn not_opened(folder: &Path, error: &StoreError) -> Failure {
    let failure = Failure::failed(format!(
        "cannot open the store in {}: {error}",
        folder.display()
    ));
    match error {
        StoreError::Damaged(_) => {
            failure.advise("`lombard log inspect` shows where; `lombard backup restore` puts a backup in a new folder")
        }
        _ => failure,
    }
}
