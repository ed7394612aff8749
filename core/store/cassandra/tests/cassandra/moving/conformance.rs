//! What every engine must do, by one that works with two clusters: the checks that a second
//! one could make a difference to.

use std::sync::Arc;

use async_trait::async_trait;
use lombard_store::Engine;
use lombard_store::conformance::Subject;
use lombard_store_cassandra::{CassandraOptions, MoveOptions};

use super::{alone, clusters};
use crate::support::connect;

struct OnTwoClusters {
    options: CassandraOptions,
}

#[async_trait]
impl Subject for OnTwoClusters {
    async fn open(&self) -> Arc<dyn Engine> {
        Arc::new(connect(&self.options).await.unwrap())
    }

    fn partitions_many(&self) -> u32 {
        1_600
    }
}

/// Every service that the suite names moves.
fn all_moving(nodes: &[Vec<String>; 2], from: &str, to: &str) -> CassandraOptions {
    let options = alone(nodes);
    let named = ["check", "one", "two", "three", "two_2"];
    let to = MoveOptions { to: to.into() };
    CassandraOptions {
        default_cluster: from.into(),
        moves: named.map(|name| (name.to_owned(), to.clone())).into(),
        ..options
    }
}

mod there {
    use super::*;

    lombard_store::conformance!(match clusters("conformance of a move") {
        Some(nodes) => OnTwoClusters {
            options: all_moving(&nodes, "a", "b"),
        },
        None => return,
    };
        atomicity versions ordering isolation_of_keyspaces keys_of_any_bytes
        many_partitions reopening big_values events_in_order events_of_one_keyspace
        events_are_durable reads_own_writes idempotence_by_marker concurrent_updates
        concurrent_partitions consistent_reads two_stores_on_one_engine
    );
}

/// Where it is decided at the other cluster that a partition begins.
mod back {
    use super::*;

    lombard_store::conformance!(match clusters("conformance of a move") {
        Some(nodes) => OnTwoClusters {
            options: all_moving(&nodes, "b", "a"),
        },
        None => return,
    };
        atomicity versions ordering isolation_of_keyspaces reopening events_in_order
        events_are_durable concurrent_updates concurrent_partitions two_stores_on_one_engine
    );
}
