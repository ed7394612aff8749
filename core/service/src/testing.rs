//! For tests of services: an application on free ports with its own folder.
//!
//! ```no_run
//! # use lombard_service::{Running, testing::Harness};
//! # async fn test() {
//! let harness = Harness::new("ledger");
//! let running = harness
//!     .application(harness.store())
//!     .service("ledger", |_context| async { Ok(Running::new(connectrpc::Router::new())) })
//!     .start()
//!     .await
//!     .unwrap();
//! let channel = harness.channel(&running, "ledger");
//! // … LedgerServiceClient::new(channel.clone(), channel.config()) …
//! assert!(running.shutdown().await.is_clean());
//! # }
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lombard_rpc::client::{Channel, ChannelOptions};
use lombard_store::Store;
use lombard_store::simulated::{Kind, Simulated, SimulatedOptions};

use crate::{Application, Config, Host, RunningApplication, SimulatedClock};

/// A host, a configuration and a fresh folder, which is removed with it.
#[derive(Debug)]
pub struct Harness {
    host: Host,
    folder: PathBuf,
    settings: Vec<(String, String)>,
}

impl Harness {
    /// On the system's clock and randomness. `name` stands in the folder's name.
    pub fn new(name: &str) -> Self {
        Self::on(Host::system(), name)
    }

    /// On a clock that the test moves and randomness from a seed.
    pub fn simulated(name: &str, seed: u64, now_us: i64) -> (Self, SimulatedClock) {
        let (host, clock) = Host::simulated(seed, now_us);
        (Self::on(host, name), clock)
    }

    #[expect(clippy::expect_used, reason = "a test that has no folder cannot go on")]
    fn on(host: Host, name: &str) -> Self {
        // Not from the host: seeded hosts of tests that run side by side make the same ids.
        let unique = Host::system().id();
        let folder = std::env::temp_dir().join(format!("lombard-{name}-{unique}"));
        std::fs::create_dir_all(&folder)
            .expect("the system's folder for temporary files takes one more");
        Self {
            host,
            folder,
            settings: Vec::new(),
        }
    }

    /// Sets a value of the configuration, by dotted key: `ledger.entries_per_batch_max`.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl ToString) -> Self {
        self.settings.push((key.to_owned(), value.to_string()));
        self
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The configuration: only what [`Harness::set`] set, nothing of the machine.
    #[expect(
        clippy::expect_used,
        reason = "a test's own settings are wrong: it cannot go on"
    )]
    pub fn config(&self) -> Config {
        // A file that is there and empty, so that a `lombard.toml` beside the test is not read.
        let file = self.folder.join("lombard.toml");
        std::fs::write(&file, "").expect("the test's folder takes a file");
        Config::load(Some(&file), [], self.settings.iter().cloned())
            .expect("the test's settings are well formed")
    }

    /// A store in memory, of the simulated engine without faults.
    pub fn store(&self) -> Store {
        let seed = self.host.random().next_u64();
        let engine = Simulated::new(SimulatedOptions::new(Kind::OneLog, seed));
        Store::new(Arc::new(engine), self.host.store_options())
    }

    /// An application without services yet, on free ports.
    pub fn application(&self, store: Store) -> Application {
        Application::new(self.host.clone(), self.config(), store)
    }

    /// A channel to a service of a running application.
    #[expect(
        clippy::expect_used,
        reason = "a test that names a service that does not run cannot go on"
    )]
    pub fn channel(&self, running: &RunningApplication, service: &str) -> Channel {
        self.host
            .channel(
                "test",
                running.book().find(service),
                ChannelOptions::default(),
            )
            .expect("the service runs")
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        // What is left over is for the system to clean up.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
