//! Histories of clients of the real binary, while what it keeps its state in is killed
//! and stands still: they must be ones that can be true.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lombard_consistency::end::Audit;
use lombard_consistency::nemesis::{FaultKind, NemesisError, NodeFaults, Nodes, Timing};
use lombard_consistency::timeline::Styles;
use lombard_consistency::{Options, System, run};
use lombard_engines::cassandra::{self, Cluster};
use lombard_engines::postgres::{self, Server};
use lombard_engines::testing;
use lombard_service::Host;

use crate::support::{self, Up};
use crate::{CLUSTER, configured, on_postgres};

/// Operations of a run, at least: it goes on until all faults were there.
const OPERATIONS: u64 = 500;
const FAULTS: u64 = 4;

/// The real binary, and its auditor.
struct Bank {
    name: &'static str,
    ledger: String,
    data: PathBuf,
}

#[async_trait]
impl System for Bank {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn addresses(&self) -> Vec<String> {
        vec![self.ledger.clone()]
    }

    async fn audit(&self) -> Result<Option<Audit>, String> {
        let data = self.data.clone();
        let checked = tokio::task::spawn_blocking(move || {
            let output = support::run(&data, &["check", "--json"]);
            serde_json::from_slice::<serde_json::Value>(&output.stdout)
        });
        let checked = checked.await.map_err(|error| error.to_string())?;
        let checked = checked.map_err(|error| error.to_string())?;
        let findings = checked["findings"].as_array().into_iter().flatten();
        Ok(Some(Audit {
            findings: findings.map(ToString::to_string).collect(),
        }))
    }
}

/// Blocking work on an engine, as a nemesis asks for it.
async fn blocking<T: Send + Sync + 'static>(
    on: &Arc<T>,
    work: impl FnOnce(&T) -> Result<(), lombard_engines::Error> + Send + 'static,
) -> Result<(), NemesisError> {
    let on = on.clone();
    let done = tokio::task::spawn_blocking(move || work(&on).map_err(|error| error.to_string()));
    done.await
        .map_err(|error| error.to_string())
        .flatten()
        .map_err(NemesisError)
}

struct OneServer(Arc<Server>);

#[async_trait]
impl Nodes for OneServer {
    fn count(&self) -> usize {
        1
    }

    fn name(&self, _: usize) -> String {
        "PostgreSQL".to_owned()
    }

    async fn kill(&self, _: usize) -> Result<(), NemesisError> {
        blocking(&self.0, Server::kill9).await
    }

    async fn start(&self, _: usize) -> Result<(), NemesisError> {
        blocking(&self.0, Server::restart).await
    }

    async fn pause(&self, _: usize) -> Result<(), NemesisError> {
        self.0.pause();
        Ok(())
    }

    async fn resume(&self, _: usize) -> Result<(), NemesisError> {
        self.0.resume();
        Ok(())
    }
}

struct ThreeNodes(Arc<Cluster>);

/// Nodes are counted from 1 there.
fn number(node: usize) -> u8 {
    u8::try_from(node + 1).unwrap()
}

#[async_trait]
impl Nodes for ThreeNodes {
    fn count(&self) -> usize {
        3
    }

    fn name(&self, node: usize) -> String {
        format!("Cassandra node {}", number(node))
    }

    async fn kill(&self, node: usize) -> Result<(), NemesisError> {
        blocking(&self.0, move |cluster| cluster.kill9(number(node))).await
    }

    async fn start(&self, node: usize) -> Result<(), NemesisError> {
        blocking(&self.0, move |cluster| cluster.start_node(number(node))).await
    }

    async fn pause(&self, node: usize) -> Result<(), NemesisError> {
        blocking(&self.0, move |cluster| cluster.pause(number(node))).await
    }

    async fn resume(&self, node: usize) -> Result<(), NemesisError> {
        blocking(&self.0, move |cluster| cluster.resume(number(node))).await
    }
}

fn judge(name: &'static str, up: &Up, data: &Path, nemesis: NodeFaults<impl Nodes>) {
    let system = Bank {
        name,
        ledger: up.ready["addresses"]["ledger"].as_str().unwrap().to_owned(),
        data: data.to_owned(),
    };
    let options = Options {
        operations: OPERATIONS,
        faults_min: FAULTS,
        pause_max: Duration::from_millis(20),
        call_timeout: Duration::from_secs(5),
        time_max: Duration::from_secs(180),
        settle_timeout: Duration::from_secs(120),
        timing: Timing {
            whole_ms: 500..=1_500,
            broken_ms: 500..=2_000,
        },
        ..Options::new(11)
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let outcome =
        runtime.block_on(async { run(&system, &nemesis, &Host::system(), &options, |_| {}).await });
    let outcome = outcome.unwrap();
    let report = outcome.report.text(&Styles::plain());
    println!("{report}");
    assert!(outcome.report.consistent, "{report}");
}

#[test]
fn what_clients_saw_can_be_true_while_postgres_is_killed_and_stands_still() {
    let test = "what_clients_saw_on_postgres";
    let set_up = postgres::Options::default();
    let Some(server) = testing::started(test, Server::start(&set_up)) else {
        return;
    };
    let (_folder, data, config) = configured(&format!(
        "{}answer_timeout_ms = 2000\n",
        on_postgres(server.address(), "lombard")
    ));
    let up = Up::start(&data, &["--config", &config]);
    let nodes = OneServer(Arc::new(server));
    let kinds = [FaultKind::Kill, FaultKind::Pause];
    judge("PostgreSQL", &up, &data, NodeFaults::new(nodes, &kinds));
    up.stop();
}

#[test]
fn what_clients_saw_can_be_true_while_nodes_are_killed_and_stand_still() {
    let test = "what_clients_saw_on_cassandra";
    let _one = CLUSTER
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let set_up = cassandra::Options::default();
    let Some(cluster) = testing::started(test, Cluster::start(&set_up)) else {
        return;
    };
    let nodes: Vec<String> = cluster
        .contact_points()
        .iter()
        .map(ToString::to_string)
        .collect();
    let (_folder, data, config) = configured(&format!(
        "[store]\nengine = \"cassandra\"\n[cassandra.clusters.main]\ncontact_points = {nodes:?}\n"
    ));
    let up = Up::start(&data, &["--config", &config]);
    let nodes = ThreeNodes(Arc::new(cluster));
    let kinds = [FaultKind::Kill, FaultKind::Pause];
    judge(
        "Cassandra, three nodes",
        &up,
        &data,
        NodeFaults::new(nodes, &kinds),
    );
    up.stop();
}
