//! Ledgers in this process over a simulated engine, called through fault proxies.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lombard_consistency::end::Audit;
use lombard_consistency::nemesis::{
    Both, FaultKind, NemesisError, NodeFaults, Nodes, Proxies, Timing,
};
use lombard_consistency::proxy::FaultProxy;
use lombard_consistency::timeline::Styles;
use lombard_consistency::{Options, Report, Run, System, run};
use lombard_service::{Application, Clock, Config, Host, Random, RunningApplication};
use lombard_store::simulated::{Faults, Kind, Simulated, SimulatedOptions};
use lombard_store::{Engine, Store, StoreOptions};
use parking_lot::Mutex;

use crate::fast::Fast;

/// How a ledger's engine is made from a sound one.
pub type Wrap = Arc<dyn Fn(Arc<Simulated>) -> Arc<dyn Engine> + Send + Sync>;

/// A ledger process: it is ended by being dropped.
struct Ledger {
    host: Host,
    _running: RunningApplication,
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.host.shutdown().request();
    }
}

fn application(host: &Host, file: &Path, engine: Arc<dyn Engine>, life: u64) -> Application {
    let settings = [(
        "ledger.reservation_timeout_ms".to_owned(),
        "1000".to_owned(),
    )];
    let config = Config::load(Some(file), [], settings).unwrap();
    let options = StoreOptions {
        instance: life,
        ..host.store_options()
    };
    let store = Store::new(engine, options);
    Application::new(host.clone(), config, store)
        .service(lombard_ledger::NAME, lombard_ledger::start)
}

/// What the bank is made of.
#[derive(Clone)]
pub struct Plan {
    pub seed: u64,
    pub kind: Kind,
    pub replicas: usize,
    pub faults: Faults,
    pub wrap: Wrap,
}

impl Plan {
    /// One ledger, over one log that loses what is not durable when the ledger is killed.
    pub fn one_log(seed: u64) -> Self {
        Self {
            seed,
            kind: Kind::OneLog,
            replicas: 1,
            faults: Faults::one_log(),
            wrap: Arc::new(|engine| engine),
        }
    }

    /// Two ledgers over a database on the network.
    pub fn replicated(seed: u64) -> Self {
        Self {
            kind: Kind::Replicated,
            replicas: 2,
            faults: Faults::replicated(),
            ..Self::one_log(seed)
        }
    }

    pub fn broken(
        self,
        wrap: impl Fn(Arc<Simulated>) -> Arc<dyn Engine> + Send + Sync + 'static,
    ) -> Self {
        Self {
            wrap: Arc::new(wrap),
            ..self
        }
    }
}

pub struct Bank {
    plan: Plan,
    clock: Arc<dyn Clock>,
    pub host: Host,
    config: tempfile::NamedTempFile,
    engine: Mutex<Engines>,
    ledgers: Mutex<Vec<Option<Ledger>>>,
    targets: Vec<Arc<FaultProxy>>,
}

struct Engines {
    simulated: Arc<Simulated>,
    wrapped: Arc<dyn Engine>,
    lives: u64,
}

impl Bank {
    /// Starts it; the engine's faults begin when accounts are opened.
    pub async fn start(plan: Plan) -> Arc<Self> {
        let clock: Arc<dyn Clock> = Arc::new(Fast::new());
        let host = Host::new(clock.clone(), Random::seeded(plan.seed));
        let mut options = SimulatedOptions::new(plan.kind, plan.seed);
        options.faults = plan.faults;
        let simulated = Arc::new(Simulated::new(options));
        let wrapped = (plan.wrap)(simulated.clone());
        let mut targets = Vec::new();
        for _ in 0..plan.replicas {
            // Nobody listens there yet: the ledger's own address follows.
            let local = "127.0.0.1:0".parse().unwrap();
            let proxy = FaultProxy::start(&host, local, "127.0.0.1:1").await;
            targets.push(Arc::new(proxy.unwrap()));
        }
        let bank = Arc::new(Self {
            ledgers: Mutex::new((0..plan.replicas).map(|_| None).collect()),
            plan,
            clock,
            host,
            config: tempfile::NamedTempFile::new().unwrap(),
            engine: Mutex::new(Engines {
                simulated,
                wrapped,
                lives: 0,
            }),
            targets,
        });
        for node in 0..bank.plan.replicas {
            bank.start_ledger(node).await;
        }
        bank
    }

    async fn start_ledger(&self, node: usize) {
        let (engine, life) = {
            let mut engines = self.engine.lock();
            engines.lives += 1;
            (engines.wrapped.clone(), engines.lives)
        };
        let file = self.config.path().to_owned();
        let (clock, seed) = (self.clock.clone(), self.plan.seed ^ life << 20);
        // Starting is not for other threads to take over; it has one to itself.
        let runtime = tokio::runtime::Handle::current();
        let started = tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                let mut last = None;
                // A simulated engine may be unavailable at the start, too.
                for attempt in 0..100 {
                    let random = Random::seeded(seed ^ attempt << 40);
                    let host = Host::new(clock.clone(), random);
                    let ledger = application(&host, &file, engine.clone(), life);
                    match ledger.start().await {
                        Ok(running) => return (host, running),
                        Err(error) => last = Some(error),
                    }
                }
                panic!("the ledger did not start: {last:?}");
            })
        });
        let (host, running) = started.await.unwrap();
        let address = running.book().find(lombard_ledger::NAME)[0].clone();
        self.targets[node].set_target(address);
        self.ledgers.lock()[node] = Some(Ledger {
            host,
            _running: running,
        });
    }

    /// No engine faults from now on.
    pub fn calm(&self) {
        let calm = Faults {
            delay_turns_max: self.plan.faults.delay_turns_max,
            ..Faults::default()
        };
        self.engine.lock().simulated.set_faults(calm);
    }

    fn address(&self, node: usize) -> String {
        self.targets[node].address().to_string()
    }
}

#[async_trait]
impl System for Bank {
    fn name(&self) -> String {
        let engine = self.engine.lock().wrapped.info().name;
        format!("{} ledgers, engine {engine}", self.plan.replicas)
    }

    fn addresses(&self) -> Vec<String> {
        (0..self.plan.replicas)
            .map(|node| self.address(node))
            .collect()
    }

    async fn audit(&self) -> Result<Option<Audit>, String> {
        let host = Host::new(self.clock.clone(), Random::seeded(0));
        crate::audit::audit(&host, &self.address(0)).await.map(Some)
    }
}

/// The bank's ledgers as nodes.
struct Processes(Arc<Bank>);

#[async_trait]
impl Nodes for Processes {
    fn count(&self) -> usize {
        self.0.plan.replicas
    }

    fn name(&self, node: usize) -> String {
        format!("ledger {node}")
    }

    async fn kill(&self, node: usize) -> Result<(), NemesisError> {
        let bank = &self.0;
        let mut engines = bank.engine.lock();
        bank.ledgers.lock()[node] = None;
        if bank.plan.kind != Kind::Replicated {
            engines.simulated = Arc::new(engines.simulated.crash());
            engines.wrapped = (bank.plan.wrap)(engines.simulated.clone());
        }
        Ok(())
    }

    async fn start(&self, node: usize) -> Result<(), NemesisError> {
        self.0.start_ledger(node).await;
        Ok(())
    }

    async fn pause(&self, _node: usize) -> Result<(), NemesisError> {
        Err(NemesisError(
            "a ledger in this process cannot be paused".to_owned(),
        ))
    }

    async fn resume(&self, _node: usize) -> Result<(), NemesisError> {
        Ok(())
    }
}

/// The options of a short run.
pub fn options(seed: u64, operations: u64) -> Options {
    Options {
        operations,
        call_timeout: Duration::from_millis(400),
        timing: Timing {
            whole_ms: 300..=1_200,
            broken_ms: 200..=900,
        },
        settle_timeout: Duration::from_secs(60),
        ..Options::new(seed)
    }
}

/// Runs it and returns what came of it.
pub async fn through(plan: Plan, options: Options, kinds: &[FaultKind], network: bool) -> Run {
    let bank = Bank::start(plan).await;
    let proxies = if network {
        bank.targets.clone()
    } else {
        Vec::new()
    };
    let proxies = Proxies::new(proxies);
    let nodes = NodeFaults::new(Processes(bank.clone()), kinds);
    let nemesis = Both(nodes, proxies);
    let settling = bank.clone();
    let outcome = run(
        bank.as_ref(),
        &nemesis,
        &bank.host,
        &options,
        move |progress| {
            if progress.phase == lombard_consistency::Phase::Settling {
                settling.calm();
            }
        },
    )
    .await;
    bank.ledgers.lock().clear();
    outcome.unwrap()
}

/// Says what was found where a run should have been sound.
pub fn assert_consistent(report: &Report) {
    assert!(report.consistent, "{}", report.text(&Styles::plain()));
}
