//! Connections: how one is made, kept in a pool, and known to be of no use any more.

use std::collections::HashMap;
use std::fs;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool::managed::{self, Metrics, Object, PoolError, RecycleError, RecycleResult};
use lombard_store::{Spawner, StoreError};
use tokio_postgres::config::{Config, Host, TargetSessionAttrs};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, Socket, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::failure;
use crate::options::PostgresOptions;
use crate::tls;

/// A connection, lent from the pool.
pub type Lent = Object<Maker>;
/// The pool.
pub type Pool = managed::Pool<Maker>;

/// A connection and what was prepared on it.
pub struct Connection {
    /// The driver's own.
    pub client: Client,
    /// The server said something that makes its "done" doubtful.
    doubtful: Arc<AtomicBool>,
    prepared: HashMap<Arc<str>, Statement>,
}

impl Connection {
    /// The statement, prepared the first time that it is asked for.
    ///
    /// # Errors
    /// The server's.
    pub async fn prepare(&mut self, text: &Arc<str>) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.prepared.get(text) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(text).await?;
        self.prepared.insert(text.clone(), statement.clone());
        Ok(statement)
    }

    /// Whether a commit that was answered "done" may not be where it should be.
    ///
    /// An operator who cancels a commit that waits for a synchronous standby makes the
    /// server answer "done" with a warning: it is on the primary's disk only.
    pub fn is_doubtful(&self) -> bool {
        self.doubtful.load(Ordering::Acquire)
    }
}

/// Makes connections for the pool.
pub struct Maker {
    config: Config,
    tls: MakeRustlsConnect,
    set_up: String,
    timeout: Duration,
    spawner: Arc<dyn Spawner>,
    place: String,
}

impl Maker {
    /// What the options say, read and checked; no connection is made yet.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`].
    pub fn new(options: &PostgresOptions, spawner: Arc<dyn Spawner>) -> Result<Self, StoreError> {
        let mut config: Config = options.url.parse().map_err(|error| {
            // The address itself is not repeated: it might hold a password after all.
            StoreError::Misconfigured(format!("[postgres] url: {}", failure::sentence(&error)))
        })?;
        if config.get_password().is_some() {
            return Err(StoreError::Misconfigured(format!(
                "[postgres] url: it has a password in it; put that in a file (password_file) or in the \
                 environment variable {}",
                options.password_variable
            )));
        }
        if let Some(password) = password(options)? {
            config.password(password);
        }
        let timeout = Duration::from_millis(options.connect_timeout_ms);
        config
            .application_name("lombard")
            .connect_timeout(timeout)
            .tcp_user_timeout(Duration::from_millis(options.answer_timeout_ms))
            .keepalives_idle(Duration::from_secs(30));
        if config.get_hosts().len() > 1 {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        let tls = tls::set_up(options, &mut config)?;
        // Every statement of ours has one right plan, by index from few to many; the
        // planner, who does not know how many rows an array holds, is kept from others.
        // No timeout of the server's: one that cut off the wait for a standby would be
        // answered as a commit.
        let set_up = format!(
            "SET synchronous_commit = {}; SET statement_timeout = 0; SET lock_timeout = {}; \
             SET idle_in_transaction_session_timeout = 0; SET jit = off; \
             SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; \
             SET enable_mergejoin = off; SET client_min_messages = warning",
            options.synchronous_commit.setting(),
            options.answer_timeout_ms.div_ceil(2),
        );
        Ok(Self {
            place: place(&config),
            config,
            tls,
            set_up,
            timeout,
            spawner,
        })
    }

    /// Where the server is, for people.
    pub fn place(&self) -> &str {
        &self.place
    }

    async fn connect(&self) -> Result<Connection, StoreError> {
        let unavailable = |error| failure::unavailable(&self.place, &error);
        let (client, connection) = self
            .config
            .connect(self.tls.clone())
            .await
            .map_err(unavailable)?;
        let doubtful = Arc::new(AtomicBool::new(false));
        self.spawner.spawn(Box::pin(run::<MakeRustlsConnect>(
            connection,
            doubtful.clone(),
        )));
        client
            .batch_execute(&self.set_up)
            .await
            .map_err(unavailable)?;
        Ok(Connection {
            client,
            doubtful,
            prepared: HashMap::new(),
        })
    }
}

impl managed::Manager for Maker {
    type Type = Connection;
    type Error = StoreError;

    async fn create(&self) -> Result<Connection, StoreError> {
        tokio::time::timeout(self.timeout, self.connect())
            .await
            .unwrap_or_else(|_| {
                Err(StoreError::Unavailable(format!(
                    "PostgreSQL at {}: no connection within {} ms",
                    self.place,
                    self.timeout.as_millis()
                )))
            })
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<StoreError> {
        if connection.client.is_closed() || connection.is_doubtful() {
            return Err(RecycleError::message("closed"));
        }
        Ok(())
    }
}

/// Lends a connection.
///
/// # Errors
/// None can be made, or none came back in time.
pub async fn lend(pool: &Pool) -> Result<Lent, StoreError> {
    let manager = pool.manager();
    // As long as making one may take, and the one before it.
    let waited = tokio::time::timeout(manager.timeout * 2, pool.get()).await;
    match waited {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(PoolError::Backend(error))) => Err(error),
        Ok(Err(error)) => Err(StoreError::Unavailable(format!(
            "PostgreSQL at {}: {error}",
            manager.place
        ))),
        Err(_) => Err(StoreError::Unavailable(format!(
            "PostgreSQL at {}: all connections are in use",
            manager.place
        ))),
    }
}

/// Moves what goes over the connection, until it ends.
async fn run<T: MakeTlsConnect<Socket>>(
    connection: tokio_postgres::Connection<Socket, T::Stream>,
    doubtful: Arc<AtomicBool>,
) where
    T::Stream: Send,
{
    let mut connection = pin!(connection);
    while let Some(message) = poll_fn(|context| connection.as_mut().poll_message(context)).await {
        match message {
            Ok(AsyncMessage::Notice(notice)) => {
                if notice.message().contains("synchronous replication") {
                    doubtful.store(true, Ordering::Release);
                }
                tracing::warn!(notice = notice.message(), "PostgreSQL says");
            }
            Ok(_) => {}
            Err(error) => {
                // Whoever waits for an answer on it is told, too.
                tracing::debug!(error = failure::sentence(&error), "connection ended");
                return;
            }
        }
    }
}

fn password(options: &PostgresOptions) -> Result<Option<String>, StoreError> {
    let Some(file) = &options.password_file else {
        return match std::env::var(&options.password_variable) {
            Ok(password) => Ok(Some(password)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(error) => Err(StoreError::Misconfigured(format!(
                "environment variable {}: {error}",
                options.password_variable
            ))),
        };
    };
    let read = fs::read_to_string(file).map_err(|error| {
        StoreError::Misconfigured(format!(
            "[postgres] password_file {}: {error}",
            file.display()
        ))
    })?;
    Ok(Some(read.trim_end_matches(['\n', '\r']).to_owned()))
}

/// `HOST:PORT/DATABASE` of each host.
fn place(config: &Config) -> String {
    let ports = config.get_ports();
    let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(index, host)| match host {
            Host::Tcp(name) => format!("{name}:{}", port(index)),
            Host::Unix(folder) => format!("{} (port {})", folder.display(), port(index)),
        })
        .collect();
    let database = config.get_dbname().or(config.get_user()).unwrap_or("?");
    format!("{}/{database}", hosts.join(","))
}
