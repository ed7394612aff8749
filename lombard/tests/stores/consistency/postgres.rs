//! On PostgreSQL with a synchronous standby, each of the two servers behind a proxy: the
//! standby takes over, and gets a standby of its own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lombard_consistency::Nemesis;
use lombard_consistency::nemesis::{Both, FaultKind, NemesisError, NodeFaults, Nodes, Proxies};
use lombard_consistency::proxy::FaultProxy;
use lombard_engines::postgres::{Options, ReplicaOptions, Server};
use lombard_engines::{Error, testing};
use lombard_service::Host;
use tokio::runtime::Runtime;

use super::{bank, blocking, judge, options, proxy};
use crate::configured;
use crate::support::Up;

/// So often each kind of fault comes: a cut that meets the standby's proxy is no trouble.
const ROUNDS: u64 = 2;
/// How long a standby may take to be one again.
const STANDBY_PATIENCE: Duration = Duration::from_secs(60);

/// A primary and its standby, by their places; a place outlives the servers that stand there.
struct Pair {
    proxies: [Arc<FaultProxy>; 2],
    state: Mutex<State>,
}

struct State {
    servers: [Arc<Server>; 2],
    /// The place of the one that takes writes.
    primary: usize,
    /// Whether it has no standby: it was one itself a moment ago.
    alone: bool,
}

impl State {
    fn primary(&self) -> &Arc<Server> {
        &self.servers[self.primary]
    }

    fn standby(&self) -> &Arc<Server> {
        &self.servers[1 - self.primary]
    }
}

impl Pair {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn server(&self, place: usize) -> Arc<Server> {
        self.state().servers[place].clone()
    }

    /// Starts what was killed. What the primary has then, and shows, the standby may still
    /// lack; who promotes it at that moment loses what was seen. So that is waited for.
    fn start(&self, place: usize) -> Result<(), Error> {
        self.server(place).restart()?;
        self.in_step();
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "real servers, real time")]
    fn in_step(&self) {
        let primary = self.state().primary().clone();
        let follows = "SELECT count(*) FROM pg_stat_replication \
                       WHERE state = 'streaming' AND sync_state = 'sync'";
        let pause = Duration::from_millis(50);
        for _ in 0..STANDBY_PATIENCE.as_millis() / pause.as_millis() {
            if primary.query(follows).unwrap() == [[Some("1".to_owned())]] {
                return;
            }
            std::thread::sleep(pause);
        }
        panic!("the standby does not follow any more");
    }

    /// The primary dies, and the standby takes over.
    fn promote(&self) -> Result<(), Error> {
        let mut state = self.state();
        state.primary().kill9()?;
        state.standby().promote()?;
        state.primary = 1 - state.primary;
        state.alone = true;
        Ok(())
    }

    /// A fresh standby in the place of the dead one.
    fn replace(&self) -> Result<(), Error> {
        let mut state = self.state();
        if state.alone {
            let place = 1 - state.primary;
            let standby = standby_of(state.primary())?;
            self.proxies[place].set_target(standby.address().to_string());
            state.servers[place] = Arc::new(standby);
            state.alone = false;
        }
        Ok(())
    }
}

fn standby_of(primary: &Server) -> Result<Server, Error> {
    primary.replica(&ReplicaOptions {
        synchronous: true,
        ..ReplicaOptions::default()
    })
}

struct Servers(Arc<Pair>);

#[async_trait]
impl Nodes for Servers {
    fn count(&self) -> usize {
        2
    }

    fn name(&self, place: usize) -> String {
        let state = self.0.state();
        let role = if place == state.primary {
            "primary"
        } else {
            "standby"
        };
        format!("the {role} at {}", state.servers[place].address())
    }

    async fn kill(&self, place: usize) -> Result<(), NemesisError> {
        blocking(&self.0, move |pair| pair.server(place).kill9()).await
    }

    async fn start(&self, place: usize) -> Result<(), NemesisError> {
        blocking(&self.0, move |pair| pair.start(place)).await
    }

    async fn pause(&self, place: usize) -> Result<(), NemesisError> {
        self.0.server(place).pause();
        Ok(())
    }

    async fn resume(&self, place: usize) -> Result<(), NemesisError> {
        let resume = move |pair: &Pair| {
            pair.server(place).resume();
            pair.in_step();
            Ok(())
        };
        blocking(&self.0, resume).await
    }
}

struct Promotion(Arc<Pair>);

#[async_trait]
impl Nemesis for Promotion {
    fn can(&self) -> Vec<FaultKind> {
        vec![FaultKind::Promote]
    }

    async fn inject(&self, _: FaultKind, _: u64) -> Result<String, NemesisError> {
        let dead = self.0.state().primary().address();
        blocking(&self.0, Pair::promote).await?;
        let promoted = self.0.state().primary().address();
        Ok(format!("killed the primary at {dead}, promoted {promoted}"))
    }

    async fn heal(&self) -> Result<(), NemesisError> {
        blocking(&self.0, Pair::replace).await
    }
}

#[test]
fn what_clients_saw_can_be_true_while_a_standby_of_postgres_takes_over() {
    let test = "what_clients_saw_on_postgres";
    let set_up = Options {
        // A standby whose primary was away looks for it again at once.
        settings: vec![("wal_retrieve_retry_interval".into(), "100ms".into())],
        ..Options::default()
    };
    let Some(primary) = testing::started(test, Server::start(&set_up)) else {
        return;
    };
    let standby = standby_of(&primary).unwrap();
    let (runtime, host) = (Runtime::new().unwrap(), Host::system());
    let proxies = [&primary, &standby].map(|server| {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        proxy(&runtime, &host, listen, server.address())
    });
    let [one, other] = proxies.each_ref().map(|proxy| proxy.address().port());
    let (_folder, data, config) = configured(&format!(
        "[store]\nengine = \"postgres\"\n[postgres]\n\
         url = \"host=127.0.0.1,127.0.0.1 port={one},{other} user=lombard dbname=lombard\"\n\
         answer_timeout_ms = 2000\n"
    ));
    let up = Up::start(&data, &["--config", &config]);
    let pair = Arc::new(Pair {
        proxies: proxies.clone(),
        state: Mutex::new(State {
            servers: [Arc::new(primary), Arc::new(standby)],
            primary: 0,
            alone: false,
        }),
    });
    let kinds = [FaultKind::Kill, FaultKind::Pause, FaultKind::RestartInTurn];
    let nemesis = Both(
        NodeFaults::new(Servers(pair.clone()), &kinds),
        Both(Promotion(pair.clone()), Proxies::new(proxies.into())),
    );
    let system = bank("PostgreSQL, primary and standby", &up, &data);
    let options = options(&nemesis, ROUNDS);
    judge(&runtime, &system, &nemesis, &options);
    up.stop();
}
