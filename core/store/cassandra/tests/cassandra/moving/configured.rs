//! Processes that are configured otherwise, and the end of a move.

use lombard_store::{Engine, Version};

use super::{
    alone, clusters, event, follow, misconfigured, moving, nothing, of, only, opened, put, row,
};
use crate::support::connect;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_knows_nothing_of_the_move_is_told_and_changes_nothing() {
    let Some(nodes) = clusters("who_knows_nothing_of_the_move") else {
        return;
    };
    let options = alone(&nodes);
    let (unaware, old_id) = opened(&options).await;
    let p = of(old_id, b"p");
    let first = unaware.commit(&p, Version(0), put(b"row", b"first")).await;
    first.unwrap().unwrap();
    let (engine, id) = opened(&moving(&options, "a", "b")).await;
    // Nothing is switched yet: it goes on.
    let second = unaware.commit(&p, Version(1), put(b"row", b"second")).await;
    second.unwrap().unwrap();
    let moved = engine.moving("check").await.unwrap();
    moved.switch("b", &mut nothing).await.unwrap();
    for expected in [0, 2, 3] {
        let why = misconfigured(
            unaware
                .commit(&p, Version(expected), put(b"row", b"bad"))
                .await,
        );
        assert!(why.contains("configure cassandra.moves.check"), "{why}");
    }
    let why = misconfigured(unaware.read(&p, &[]).await);
    assert!(why.contains("configure cassandra.moves.check"), "{why}");
    let (version, value) = row(&engine, &of(id, b"p"), b"row").await;
    assert_eq!(
        (version, value.as_deref()),
        (Version(3), Some(&b"second"[..]))
    );
    // And whoever opens it anew is told there.
    for (cluster, other) in [("a", "b"), ("b", "a")] {
        let engine = connect(&only(&options, cluster)).await.unwrap();
        let why = misconfigured(engine.keyspace("check").await);
        let sentence = format!("configure cassandra.moves.check.to = {other:?}");
        assert!(why.contains(&sentence), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_is_finished_and_what_is_left_is_refused_by_name() {
    let Some(nodes) = clusters("a_move_is_finished") else {
        return;
    };
    let options = alone(&nodes);
    let (engine, id) = opened(&moving(&options, "a", "b")).await;
    for key in 0..20_u8 {
        let first = engine
            .commit(&of(id, &[key]), Version(0), event(&[key]))
            .await;
        first.unwrap().unwrap();
    }
    let moved = engine.moving("check").await.unwrap();
    moved.backfill(&mut nothing).await.unwrap();
    moved.switch("b", &mut nothing).await.unwrap();
    // New ones would still begin on `a`.
    let why = misconfigured(moved.finish().await);
    assert!(why.contains("exchange the two"), "{why}");
    // Exchanged, process after process: for a while both kinds run, and begin the same ones.
    let (exchanged, other_id) = opened(&moving(&options, "b", "a")).await;
    for key in 20..40_u8 {
        let (p, same) = (of(id, &[key]), of(other_id, &[key]));
        let both = futures::join!(
            engine.commit(&p, Version(0), event(&[key])),
            exchanged.commit(&same, Version(0), event(&[key]))
        );
        let won = [both.0.unwrap(), both.1.unwrap()];
        assert_eq!(won.iter().flatten().count(), 1, "{won:?}");
    }
    let moved = exchanged.moving("check").await.unwrap();
    moved.switch("b", &mut nothing).await.unwrap();
    moved.finish().await.unwrap();

    let (alone_there, id) = opened(&only(&options, "b")).await;
    let events = follow(&alone_there, id, 40, 7).await;
    let mut keys: Vec<u8> = events.iter().map(|event| event.key[0]).collect();
    assert!(events.iter().map(|event| event.position).is_sorted());
    keys.sort_unstable();
    assert!(keys.into_iter().eq(0..40));
    let listed = alone_there.partitions(id, None, 100).await.unwrap();
    assert_eq!(listed.len(), 40);
    let p = of(id, &[0]);
    let version = alone_there.read(&p, &[]).await.unwrap().version;
    let next = alone_there.commit(&p, version, put(b"row", b"there")).await;
    next.unwrap().unwrap();

    let old = connect(&only(&options, "a")).await.unwrap();
    let why = misconfigured(old.keyspace("check").await);
    assert!(why.contains("cassandra.services.check = \"b\""), "{why}");
    let old = connect(&moving(&options, "a", "b")).await.unwrap();
    let why = misconfigured(old.keyspace("check").await);
    assert!(why.contains("is finished"), "{why}");
    // And it may move back one day.
    let (back, id) = opened(&moving(&options, "b", "a")).await;
    let moved = back.moving("check").await.unwrap();
    moved.switch("a", &mut nothing).await.unwrap();
    let (_, value) = row(&back, &of(id, &[0]), b"row").await;
    assert_eq!(value.as_deref(), Some(&b"there"[..]));
}
