//! Three real nodes, started once for all of these tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is wrong"
)]

mod events;
mod moving;
mod opening;
#[path = "../support/mod.rs"]
mod support;
mod writers;

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use lombard_engines::cassandra::{Cluster, Options};
use lombard_engines::testing;
use lombard_store::Engine;
use lombard_store::conformance::Subject;
use lombard_store_cassandra::CassandraOptions;

/// The nodes' addresses, or `None` if this machine lacks what it takes.
///
/// `LOMBARD_CASSANDRA=host:port,…` names a cluster that runs already.
fn nodes(test: &str) -> Option<Vec<String>> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    if let Ok(nodes) = std::env::var("LOMBARD_CASSANDRA") {
        return Some(nodes.split(',').map(str::to_owned).collect());
    }
    let cluster = CLUSTER.get_or_init(|| {
        // Its guardian ends it with this process.
        testing::started(test, Cluster::start(&Options::default()))
    });
    cluster.as_ref().map(support::nodes_of)
}

struct InKeyspaces {
    options: CassandraOptions,
}

#[async_trait]
impl Subject for InKeyspaces {
    async fn open(&self) -> Arc<dyn Engine> {
        Arc::new(support::connect(&self.options).await.unwrap())
    }

    fn partitions_many(&self) -> u32 {
        2_000
    }
}

mod conformance {
    use super::*;

    lombard_store::conformance!(match nodes("conformance") {
        Some(nodes) => InKeyspaces {
            options: support::options(&nodes),
        },
        None => return,
    });
}
