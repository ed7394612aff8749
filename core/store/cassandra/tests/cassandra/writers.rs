//! Several processes that commit to the same partitions.

use std::sync::Arc;

use futures::future::join_all;
use lombard_store::{Store, StoreOptions};

use crate::support::{assert_once_each, connect, do_all, options};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_on_one_partition_lose_nothing_and_do_nothing_twice() {
    const EACH: u64 = 60;
    let Some(nodes) = crate::nodes("two_processes_on_one_partition") else {
        return;
    };
    let options = options(&nodes);
    let mut keyspaces = Vec::new();
    for instance in 0..2 {
        let engine = Arc::new(connect(&options).await.unwrap());
        let store = Store::new(engine, StoreOptions::new(instance));
        keyspaces.push((instance, store.keyspace("check").await.unwrap()));
    }
    let working = keyspaces.iter().map(|(process, keyspace)| {
        let first = process * EACH;
        do_all(keyspace, b"hot", first..first + EACH, 4)
    });
    join_all(working).await;
    for (_, keyspace) in &keyspaces {
        assert_once_each(keyspace, b"hot", 2 * EACH).await;
    }
}
