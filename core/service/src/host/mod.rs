//! What a service gets from the process that it runs in: time, randomness, ids, tasks,
//! the word to stop. Nothing else may get these from the system, so that a run can be
//! repeated from a seed.

mod clock;
mod random;
mod shutdown;
mod tasks;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use lombard_rpc::client::{Channel, ChannelOptions};
use lombard_store::StoreOptions;
use lombard_telemetry::Registry;
use uuid::Uuid;

use self::random::Ids;

pub use self::clock::{Clock, SimulatedClock, SystemClock};
pub use self::random::Random;
pub use self::shutdown::Shutdown;
pub use self::tasks::Tasks;

/// The process, as its services see it. Cheap to clone.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    random: Random,
    ids: Ids,
    tasks: Tasks,
    shutdown: Shutdown,
    registry: Registry,
}

impl Host {
    /// On the system's clock and randomness.
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock::new()), Random::system())
    }

    /// On a clock that the caller moves, and randomness from a seed.
    pub fn simulated(seed: u64, now_us: i64) -> (Self, SimulatedClock) {
        let clock = SimulatedClock::new(now_us);
        let host = Self::new(Arc::new(clock.clone()), Random::seeded(seed));
        (host, clock)
    }

    /// On any clock and randomness.
    pub fn new(clock: Arc<dyn Clock>, random: Random) -> Self {
        let registry = Registry::new(&[]);
        let gauge = registry.gauge("tasks", "Tasks that run beside calls");
        Self(Arc::new(Inner {
            clock,
            random,
            ids: Ids::new(),
            tasks: Tasks::new(gauge),
            shutdown: Shutdown::new(),
            registry,
        }))
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// Wall time: microseconds since 1970-01-01 00:00 UTC.
    pub fn now_us(&self) -> i64 {
        self.0.clock.now_us()
    }

    /// Microseconds since the process began, about; never goes backwards.
    pub fn monotonic_us(&self) -> u64 {
        self.0.clock.monotonic_us()
    }

    /// Ends when this much time has passed.
    pub fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.0.clock.sleep(time)
    }

    /// Randomness.
    pub fn random(&self) -> &Random {
        &self.0.random
    }

    /// A new id: UUIDv7, greater than every one that this host made before.
    pub fn id(&self) -> Uuid {
        self.0.ids.next(self.0.clock.as_ref(), &self.0.random)
    }

    /// Tasks beside the calls.
    pub fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    /// The word to stop.
    pub fn shutdown(&self) -> &Shutdown {
        &self.0.shutdown
    }

    /// Metrics of the process; each service has its own set beside it.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// A channel to a service at these addresses; `caller` is the name that it sees.
    ///
    /// # Errors
    /// No address, or one that cannot be read.
    pub fn channel(
        &self,
        caller: &str,
        addresses: impl IntoIterator<Item = impl AsRef<str>>,
        options: ChannelOptions,
    ) -> Result<Channel, lombard_rpc::Error> {
        Channel::new(caller, addresses, options, self.0.random.for_rpc())
    }
}

impl Host {
    /// What a store over any engine is given by this host.
    pub fn store_options(&self) -> StoreOptions {
        StoreOptions {
            spawner: Arc::new(self.clone()),
            ..StoreOptions::new(self.0.random.next_u64())
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}

impl lombard_store::Spawner for Host {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.tasks.spawn("store", task);
    }

    fn pause(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.sleep(time)
    }
}
