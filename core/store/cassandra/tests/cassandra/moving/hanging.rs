//! A cluster that hangs while copies on it are kept.

use std::time::Duration;

use lombard_engines::cassandra::{Cluster, Options};
use lombard_engines::testing;
use lombard_store::{Engine, StoreError, Version};

use super::{alone, clusters, compare_clean, event, follow, moving, nothing, of, opened};
use crate::support::nodes_of;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_does_not_answer_holds_nothing_up() {
    let Some([a, _]) = clusters("a_copy_that_does_not_answer") else {
        return;
    };
    let one = Options {
        nodes: 1,
        ..Options::default()
    };
    let started = testing::started("a_copy_that_does_not_answer", Cluster::start(&one));
    let Some(hanging) = started else {
        return;
    };
    let options = moving(&alone(&[a, nodes_of(&hanging)]), "a", "b");
    let (engine, id) = opened(&options).await;
    let p = of(id, b"p");
    let first = engine.commit(&p, Version(0), event(b"first")).await;
    first.unwrap().unwrap();
    compare_clean(&engine).await;
    hanging.pause(1).unwrap();
    let begun = (crate::support::clock())();
    for version in 1..40_u64 {
        let next = engine
            .commit(&p, Version(version), event(&version.to_be_bytes()))
            .await;
        next.unwrap().unwrap();
        assert_eq!(
            engine.read(&p, &[]).await.unwrap().version,
            Version(version + 1)
        );
    }
    let took_ms = ((crate::support::clock())() - begun) / 1_000;
    assert!(took_ms < 8_000, "{took_ms} ms for 39 commits and reads");
    // What would need both is not answered by one.
    match engine.read(&of(id, b"new"), &[]).await {
        Err(StoreError::Unavailable(_)) => {}
        other => panic!("{other:?}"),
    }
    hanging.resume(1).unwrap();
    let moved = engine.moving("check").await.unwrap();
    for attempt in 0.. {
        match moved.backfill(&mut nothing).await {
            Ok(_) => break,
            Err(StoreError::Unavailable(_)) if attempt < 60 => {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    compare_clean(&engine).await;
    assert_eq!(follow(&engine, id, 40, 9).await.len(), 40);
    let missed = |figures: &[(String, String)]| {
        let is_it = |figure: &&(String, String)| figure.0 == "check: commits not copied yet";
        figures
            .iter()
            .find(is_it)
            .unwrap()
            .1
            .parse::<u64>()
            .unwrap()
    };
    assert!(missed(&engine.info().figures) >= 39);
}
