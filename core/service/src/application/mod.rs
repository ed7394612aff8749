//! Services in one process, from start to stop: see [`Application`].

mod begin;
mod context;
mod running;
mod signals;
mod stand_in;

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use lombard_rpc::client::ChannelOptions;
use lombard_rpc::server::{Readiness, Server, ServerOptions};
use lombard_store::{Store, StoreError};
use lombard_telemetry::Registry;
use serde::Deserialize;
use tokio::net::TcpListener;

use self::begin::begin;
use self::stand_in::StandIns;
use crate::metrics::process_registry;
use crate::{Config, ConfigError, Host};

pub use self::context::{AddressBook, Failure, Running, ServiceContext};
pub use self::running::{RunningApplication, StopReason, Stopped};

/// The `[host]` section: how the process starts and stops.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostOptions {
    /// The address that services listen on.
    pub listen: IpAddr,
    /// How long services may take to become ready.
    pub start_timeout_ms: u64,
    /// How long tasks may take to end, once calls are drained.
    pub task_timeout_ms: u64,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            start_timeout_ms: 60_000,
            task_timeout_ms: 10_000,
        }
    }
}

/// Why an application did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A port is taken, mostly.
    #[error("{service} cannot listen on {address}: {cause}")]
    Listen {
        /// The service.
        service: &'static str,
        /// Where it should have listened.
        address: SocketAddr,
        /// What the system says.
        cause: std::io::Error,
    },
    /// A service's constructor failed.
    #[error("{service} did not start: {cause}")]
    Service {
        /// The service.
        service: &'static str,
        /// In its own words.
        cause: Failure,
    },
    /// A service did not become ready in time.
    #[error("{service} was not ready after {timeout_ms} ms: {waiting_for}")]
    NotReady {
        /// The service.
        service: &'static str,
        /// What it waits for.
        waiting_for: String,
        /// How long it had.
        timeout_ms: u64,
    },
    /// The store cannot be worked with.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The process was told to stop while it started.
    #[error("stopped by a signal while starting")]
    Interrupted,
}

type Constructor =
    Box<dyn Fn(ServiceContext) -> BoxFuture<'static, Result<Running, Failure>> + Send + Sync>;

struct Definition {
    name: &'static str,
    start: Constructor,
}

/// Services to be run in one process, each with its own listener.
///
/// They are started in the order in which they are added and stopped in reverse. A
/// service calls another through RPC also when both are in this process.
///
/// ```no_run
/// # use lombard_service::*;
/// # async fn run(store: lombard_store::Store) -> Result<(), StartError> {
/// let host = Host::system();
/// let config = Config::load(None, std::env::vars(), [])?;
/// let running = Application::new(host, config, store)
///     .service("ledger", |context| async move {
///         let router = connectrpc::Router::new();
///         Ok(Running::new(router))
///     })
///     .port_base(7000)
///     .start()
///     .await?;
/// let stopped = running.wait().await;
/// # Ok(())
/// # }
/// ```
pub struct Application {
    host: Host,
    config: Config,
    store: Store,
    port_base: u16,
    services: Vec<Definition>,
}

impl Application {
    /// An application without services yet, on free ports.
    pub fn new(host: Host, config: Config, store: Store) -> Self {
        Self {
            host,
            config,
            store,
            port_base: 0,
            services: Vec::new(),
        }
    }

    /// Listeners are on this port and those behind it, in start order; 0 means free ports.
    #[must_use]
    pub fn port_base(mut self, port_base: u16) -> Self {
        self.port_base = port_base;
        self
    }

    /// Adds a service. It may call those added before it. Where `start` fails because the
    /// store is unavailable ([`StoreError::Unavailable`]), it is called again, a second
    /// later: until then it may not have spawned anything.
    #[must_use]
    pub fn service<F>(
        mut self,
        name: &'static str,
        start: impl Fn(ServiceContext) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Running, Failure>> + Send + 'static,
    {
        self.services.push(Definition {
            name,
            start: Box::new(move |context| start(context).boxed()),
        });
        self
    }

    /// Starts everything and returns when all are ready. What was started is stopped
    /// again if something fails.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(self) -> Result<RunningApplication, StartError> {
        let Self {
            host,
            config,
            store,
            port_base,
            services,
        } = self;
        let host_options: HostOptions = config.section("host")?;
        let server_options: ServerOptions = config.section("server")?;
        let client_options: ChannelOptions = config.section("client")?;
        let mut addresses: BTreeMap<String, Vec<String>> = config.section("addresses")?;
        let process = process_registry(host.clock().clone(), store.clone());

        // All ports are known before the first service starts, so that each can be told
        // where all others are, also those that start later.
        let names = services.iter().map(|service| service.name);
        let listeners = bind(names, host_options.listen, port_base).await?;
        let mut here = BTreeMap::new();
        for (name, listener) in &listeners {
            let address = listener.local_addr().map_err(|cause| StartError::Listen {
                service: name,
                address: SocketAddr::new(host_options.listen, 0),
                cause,
            })?;
            here.insert((*name).to_owned(), address);
            addresses.insert((*name).to_owned(), vec![address.to_string()]);
        }
        let book = AddressBook::new(addresses);
        let mut running = RunningApplication::new(host.clone(), &host_options, here, book.clone());
        if store.engine().waiting_for().is_some() {
            let waiting = store.clone();
            let waits: Readiness =
                Arc::new(move || waiting.engine().waiting_for().map_or(Ok(()), Err));
            let stand_ins = StandIns::serve(&listeners, &host, &server_options, &waits)?;
            let reached = tokio::select! {
                reached = store.engine().reached() => reached.map_err(StartError::from),
                _ = running.stop_signal() => Err(StartError::Interrupted),
            };
            stand_ins.leave().await;
            reached?;
        }
        let mut listeners = VecDeque::from(listeners);
        for definition in services {
            let name = definition.name;
            let context = ServiceContext {
                name,
                host: host.clone(),
                store: store.clone(),
                registry: Registry::new(&[]),
                book: book.clone(),
                config: config.clone(),
                client: client_options.clone(),
            };
            let started = tokio::select! {
                started = begin(&definition, &context, &listeners, &server_options) => started,
                _ = running.stop_signal() => {
                    running.shutdown().await;
                    return Err(StartError::Interrupted);
                }
            };
            // There is one for each service.
            let listener = listeners.pop_front();
            let outcome = started.and_then(|(mut service, registry)| {
                let (_, listener) = listener.ok_or("it has no listener")?;
                let router = std::mem::take(&mut service.router);
                let random = host.random().for_rpc();
                let serving = Server::new(name, router, server_options.clone(), registry, random)
                    .readiness(service.ready.clone())
                    .also_show(host.registry().clone())
                    .also_show(process.clone())
                    .serve(listener)?;
                running.push(name, serving, service);
                Ok(())
            });
            let outcome = outcome.map_err(|cause| StartError::Service {
                service: name,
                cause,
            });
            if let Err(error) = outcome {
                running.shutdown().await;
                return Err(error);
            }
        }
        let ready = match config.finish() {
            Ok(()) => {
                let timeout = Duration::from_millis(host_options.start_timeout_ms);
                running.wait_until_ready(timeout).await
            }
            Err(error) => Err(error.into()),
        };
        match ready {
            Ok(()) => Ok(running),
            Err(error) => {
                running.shutdown().await;
                Err(error)
            }
        }
    }
}

impl std::fmt::Debug for Application {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.services.iter().map(|service| service.name))
            .finish()
    }
}

async fn bind(
    names: impl Iterator<Item = &'static str>,
    ip: IpAddr,
    port_base: u16,
) -> Result<Vec<(&'static str, TcpListener)>, StartError> {
    let mut listeners = Vec::new();
    for (index, name) in names.enumerate() {
        let offset = u16::try_from(index).unwrap_or(u16::MAX);
        let port = match port_base {
            0 => 0,
            base => base.saturating_add(offset),
        };
        let address = SocketAddr::new(ip, port);
        let listener = TcpListener::bind(address)
            .await
            .map_err(|cause| StartError::Listen {
                service: name,
                address,
                cause,
            })?;
        listeners.push((name, listener));
    }
    Ok(listeners)
}
