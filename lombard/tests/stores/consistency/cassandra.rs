//! On three nodes of Cassandra, each behind two proxies: one for clients, one for the other nodes.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lombard_consistency::Nemesis;
use lombard_consistency::nemesis::{
    Both, FaultKind, NemesisError, NodeFaults, Nodes, Peers, Proxies,
};
use lombard_consistency::proxy::FaultProxy;
use lombard_engines::cassandra::{Broadcast, Cluster, Options, Passage, SmallDisk};
use lombard_engines::testing;
use lombard_service::Host;
use tokio::runtime::Runtime;

use super::{bank, blocking, judge, options, proxy};
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

const SMALL_DISK: SmallDisk = SmallDisk { node: 3, mib: 256 };
/// How long a node may take to notice that its disk is full.
const GIVES_UP_PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);

/// Fills the disk of one node. When there is space again the node is started again, as one
/// that has stopped for want of it must be.
struct FullDisk {
    cluster: Arc<Cluster>,
    allowed: bool,
    is_full: AtomicBool,
}

#[async_trait]
impl Nemesis for FullDisk {
    fn can(&self) -> Vec<FaultKind> {
        if self.allowed {
            vec![FaultKind::FullDisk]
        } else {
            Vec::new()
        }
    }

    async fn inject(&self, _: FaultKind, _: u64) -> Result<String, NemesisError> {
        self.is_full.store(true, Ordering::Relaxed);
        blocking(&self.cluster, |cluster| cluster.fill_disk(SMALL_DISK.node)).await?;
        // Its next writes tell it: it does not go on and lose them.
        let address = self.cluster.address(SMALL_DISK.node);
        let address = address.map_err(|error| NemesisError(error.to_string()))?;
        for _ in 0..GIVES_UP_PATIENCE.as_millis() / PAUSE.as_millis() {
            if tokio::net::TcpStream::connect(address).await.is_err() {
                return Ok(format!(
                    "no space left on the disk of Cassandra node {}",
                    SMALL_DISK.node
                ));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(NemesisError("a node without space goes on".to_owned()))
    }

    async fn heal(&self) -> Result<(), NemesisError> {
        if !self.is_full.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        blocking(&self.cluster, |cluster| {
            cluster.empty_disk(SMALL_DISK.node)?;
            // One that has stopped serving may still run.
            cluster.kill9(SMALL_DISK.node)?;
            cluster.start_node(SMALL_DISK.node)?;
            cluster.agree()
        })
        .await
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
    let allowed = SmallDisk::is_allowed();
    if !allowed {
        // If nobody reads it, nobody counts it.
        let _written = writeln!(
            std::io::stderr(),
            "\nSKIPPED {test}, full disk: environment: no mount namespace of our own (unshare -Urm) is allowed here"
        );
    }
    let set_up = Options {
        broadcast: Some(broadcast),
        small_disk: allowed.then_some(SMALL_DISK),
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
    let cluster = Arc::new(cluster);
    let full_disk = FullDisk {
        cluster: cluster.clone(),
        allowed,
        is_full: AtomicBool::new(false),
    };
    let nemesis = Both(
        Both(NodeFaults::new(ThreeNodes(cluster), &kinds), full_disk),
        Both(Proxies::new(clients), Peers::new(peers)),
    );
    let system = bank("Cassandra, three nodes", &up, &data);
    let options = options(&nemesis, 1);
    judge(&runtime, &system, &nemesis, &options);
    for proxy in all {
        let carried = proxy.carried();
        assert!(carried.up_bytes > 0, "{proxy:?}: {carried:?}");
    }
    up.stop();
}
