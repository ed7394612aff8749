//! What a service is given, and what it gives back.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use connectrpc::Router;
use futures::FutureExt;
use futures::future::BoxFuture;
use lombard_rpc::client::{Channel, ChannelOptions};
use lombard_rpc::server::Readiness;
use lombard_store::Store;
use lombard_telemetry::Registry;
use serde::de::DeserializeOwned;

use crate::{Config, ConfigError, Host};

/// Why a service could not start, in its own words.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Where services listen: those of this process and, from the `[addresses]` section,
/// those elsewhere. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressBook(Arc<BTreeMap<String, Vec<String>>>);

impl AddressBook {
    pub(super) fn new(addresses: BTreeMap<String, Vec<String>>) -> Self {
        Self(Arc::new(addresses))
    }

    /// A service's addresses, as `host:port`.
    pub fn find(&self, service: &str) -> &[String] {
        self.0.get(service).map_or(&[], Vec::as_slice)
    }

    /// All services, by name.
    pub fn services(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0
            .iter()
            .map(|(name, addresses)| (name.as_str(), addresses.as_slice()))
    }
}

/// What a service starts with.
#[derive(Clone)]
pub struct ServiceContext {
    /// Its name, e.g. "ledger": of its section, its keyspace, its metrics.
    pub name: &'static str,
    /// Time, randomness, ids, tasks.
    pub host: Host,
    /// Partitions. A service opens the keyspace of its name.
    pub store: Store,
    /// Its own metrics; they carry its name.
    pub registry: Registry,
    /// Where the others are.
    pub book: AddressBook,
    pub(super) config: Config,
    pub(super) client: ChannelOptions,
}

impl ServiceContext {
    /// The service's section of the configuration as its options.
    ///
    /// # Errors
    /// An unknown key, or a value that does not fit.
    pub fn options<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        self.config.section(self.name)
    }

    /// A channel to another service by its name, in this process or elsewhere. It need
    /// not have started yet: the first call waits for it.
    ///
    /// # Errors
    /// No one knows where that service is.
    pub fn channel_to(&self, service: &str) -> Result<Channel, lombard_rpc::Error> {
        let addresses = self.book.find(service);
        if addresses.is_empty() {
            return Err(lombard_rpc::Error::failed_precondition(
                "NO_ADDRESS",
                format!(
                    "{} needs {service}, which does not run in this process; \
                     say where it is: [addresses] {service} = [\"host:port\"]",
                    self.name
                ),
            ));
        }
        self.host.channel(self.name, addresses, self.client.clone())
    }
}

impl fmt::Debug for ServiceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceContext")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

type Hook = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// A started service.
pub struct Running {
    pub(super) router: Router,
    pub(super) ready: Readiness,
    pub(super) drain: Option<Hook>,
    pub(super) stop: Option<Hook>,
}

impl Running {
    /// A service that answers these calls, and is ready from the start.
    pub fn new(router: Router) -> Self {
        Self {
            router,
            ready: Arc::new(|| Ok(())),
            drain: None,
            stop: None,
        }
    }

    /// Says whether it can work now; if not, what it waits for. Asked often: it must
    /// be cheap.
    #[must_use]
    pub fn ready(mut self, ready: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.ready = Arc::new(ready);
        self
    }

    /// Run when its last call has been answered, before any service that started
    /// earlier begins to drain: what it calls is still there.
    #[must_use]
    pub fn on_drain<F>(mut self, hook: impl FnOnce() -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.drain = Some(Box::new(|| hook().boxed()));
        self
    }

    /// Run at the very end, when tasks have ended; the store is still open.
    #[must_use]
    pub fn on_stop<F>(mut self, hook: impl FnOnce() -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.stop = Some(Box::new(|| hook().boxed()));
        self
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}
