//! On three nodes of Cassandra, each behind two proxies: one for clients, one for the other nodes.

use std::sync::Arc;

use async_trait::async_trait;
use lombard_consistency::nemesis::{
    Both, FaultKind, NemesisError, NodeFaults, Nodes, Peers, Proxies,
};
use lombard_consistency::proxy::FaultProxy;
use lombard_engines::cassandra::{Broadcast, Cluster, Options, Passage};
use lombard_engines::testing;
use lombard_service::Host;
use tokio::runtime::Runtime;

use super::{bank, blocking, judge, proxy};
use crate::support::Up;
use crate::{CLUSTER, configured};

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

    /// As an operator does it: the others must see it before the next one goes.
    async fn start(&self, node: usize) -> Result<(), NemesisError> {
        blocking(&self.0, move |cluster| {
            cluster.start_node(number(node))?;
            cluster.agree()
        })
        .await
    }

    async fn pause(&self, node: usize) -> Result<(), NemesisError> {
        blocking(&self.0, move |cluster| cluster.pause(number(node))).await
    }

    async fn resume(&self, node: usize) -> Result<(), NemesisError> {
        blocking(&self.0, move |cluster| cluster.resume(number(node))).await
    }
}

#[test]
fn what_clients_saw_can_be_true_whatever_becomes_of_one_node_of_three() {
    let test = "what_clients_saw_on_cassandra";
    let _one = CLUSTER
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let runtime = Runtime::new().unwrap();
    let host = Host::system();
    let broadcast = Broadcast::pick(3).unwrap();
    let proxies = |passage: fn(&Broadcast, u8) -> Passage| {
        let before = |number| {
            let passage = passage(&broadcast, number);
            proxy(&runtime, &host, passage.announced, passage.own)
        };
        (1..=3).map(before).collect()
    };
    let (clients, peers): (Vec<_>, Vec<_>) =
        (proxies(Broadcast::clients), proxies(Broadcast::peers));
    let set_up = Options {
        broadcast: Some(broadcast),
        ..Options::default()
    };
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
    // What does not go through the proxies is not broken by them.
    let all: Vec<Arc<FaultProxy>> = clients.iter().chain(&peers).cloned().collect();
    let kinds = [FaultKind::Kill, FaultKind::Pause, FaultKind::RestartInTurn];
    let nemesis = Both(
        NodeFaults::new(ThreeNodes(Arc::new(cluster)), &kinds),
        Both(Proxies::new(clients), Peers::new(peers)),
    );
    let system = bank("Cassandra, three nodes", &up, &data);
    judge(&runtime, &system, &nemesis, 1);
    for proxy in all {
        let carried = proxy.carried();
        assert!(carried.up_bytes > 0, "{proxy:?}: {carried:?}");
    }
    up.stop();
}
