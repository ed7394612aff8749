//! What a store is given by its host.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

/// Tasks and pauses, from the host: a simulated run gives its own.
pub trait Spawner: Send + Sync + 'static {
    /// Runs a task beside everything else, until it ends.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Ends after about this time.
    fn pause(&self, time: Duration) -> BoxFuture<'static, ()>;
}

/// Tasks on the tokio runtime that the call is made in.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioSpawner;

impl Spawner for TokioSpawner {
    #[expect(
        clippy::disallowed_methods,
        reason = "the default of the port that the host replaces"
    )]
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn pause(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}

/// How a [`crate::Store`] works. The limits matter on engines without the fast
/// path of [`crate::LocalEngine`] only.
#[derive(Clone)]
pub struct StoreOptions {
    /// Runs the store's own tasks.
    pub spawner: Arc<dyn Spawner>,
    /// Tells this store's commits from those of every other process and of
    /// every other life of this one: a random number from the host.
    pub instance: u64,
    /// Most operations that one commit carries.
    pub operations_per_commit_max: u64,
    /// Most operations that wait in this store at once; one more is refused as unavailable.
    pub operations_waiting_max: usize,
    /// How often an operation is run again after conflicts before it gives up.
    pub conflicts_per_operation_max: u32,
    /// How often an operation's function is run again because rows had to be fetched.
    pub loads_per_operation_max: u32,
    /// Most rows and ranges that one read fetches.
    pub wanted_per_read_max: usize,
    /// How often the store tries to find out about one ambiguous commit.
    pub resolutions_per_commit_max: u32,
    /// The first pause before trying again after a failure; it doubles each time.
    pub retry_pause: Duration,
    /// Partitions whose rows are kept at hand while nobody uses them.
    pub lanes_idle_max: usize,
    /// Most bytes kept at hand of a partition that nobody uses.
    pub lane_idle_bytes_max: usize,
    /// Most bytes kept at hand of a partition that is in use.
    pub lane_busy_bytes_max: usize,
}

impl StoreOptions {
    /// The defaults, for this instance number.
    pub fn new(instance: u64) -> Self {
        Self {
            spawner: Arc::new(TokioSpawner),
            instance,
            operations_per_commit_max: 1_024,
            operations_waiting_max: 65_536,
            conflicts_per_operation_max: 64,
            loads_per_operation_max: 1_024,
            wanted_per_read_max: 256,
            resolutions_per_commit_max: 8,
            retry_pause: Duration::from_millis(2),
            lanes_idle_max: 16_384,
            lane_idle_bytes_max: 16 << 10,
            lane_busy_bytes_max: 8 << 20,
        }
    }
}

impl Default for StoreOptions {
    /// With an instance number from the system's own randomness.
    #[expect(
        clippy::disallowed_methods,
        reason = "the default where no host gives the number"
    )]
    fn default() -> Self {
        Self::new(SmallRng::from_os_rng().next_u64())
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("instance", &self.instance)
            .field("operations_per_commit_max", &self.operations_per_commit_max)
            .finish_non_exhaustive()
    }
}
