//! Partitions go from one cluster to the other and back, whoever dies meanwhile.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use lombard_store::{Engine, EventRow, Position, Version};
use lombard_store_cassandra::CassandraOptions;
use scylla::client::session::Session;

use super::{
    alone, assert_events, clusters, compare_clean, event, follow, moving, nothing, of, opened, put,
    row, stored,
};
use crate::support::{assert_once_each, once_at_last, session};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_loses_and_doubles_nothing_while_it_is_switched_there_and_back() {
    const PARTITIONS: u8 = 3;
    let Some(nodes) = clusters("a_counter_loses_nothing_while_it_is_switched") else {
        return;
    };
    let options = moving(&alone(&nodes), "a", "b");
    let (one, id) = opened(&options).await;
    let (two, _) = opened(&options).await;
    let keyspaces = [stored(&one, 1).await, stored(&two, 2).await];
    let stop = AtomicBool::new(false);
    let ids: Vec<AtomicU64> = (0..PARTITIONS).map(|_| AtomicU64::new(0)).collect();
    let client = |process: usize, partition: u8| {
        let (keyspace, ids, stop) = (&keyspaces[process], &ids, &stop);
        async move {
            while !stop.load(Ordering::Relaxed) {
                let id = ids[usize::from(partition)].fetch_add(1, Ordering::Relaxed);
                once_at_last(keyspace, &[partition], id).await;
            }
        }
    };
    let clients = (0..PARTITIONS).flat_map(|partition| {
        // The first has writers in both processes.
        let processes = if partition == 0 {
            vec![0, 0, 1, 1]
        } else {
            vec![usize::from(partition % 2)]
        };
        processes
            .into_iter()
            .map(move |process| (process, partition))
    });
    let clients: Vec<_> = clients
        .map(|(process, partition)| client(process, partition))
        .collect();
    let mut handed = 0;
    // A follower that goes along all the time sees what one sees that begins at the end.
    let along = async {
        let (mut after, mut events) = (Position(0), Vec::new());
        while !stop.load(Ordering::Relaxed) {
            let page = two.events(id, after, 20).await.unwrap();
            after = page.next;
            events.extend(page.events);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        (after, events)
    };
    let switch = async {
        let (here, there) = (
            one.moving("check").await.unwrap(),
            two.moving("check").await.unwrap(),
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
        for round in 0..6 {
            let (moved, to) = if round % 2 == 0 {
                (&here, "b")
            } else {
                (&there, "a")
            };
            handed += moved.switch(to, &mut nothing).await.unwrap().changed;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        // Two at once, in opposite directions.
        let (mut watch, mut other) = (nothing, nothing);
        let both = futures::join!(here.switch("b", &mut watch), there.switch("a", &mut other));
        both.0.unwrap();
        both.1.unwrap();
        stop.store(true, Ordering::Relaxed);
    };
    let (_, _, (mut after, mut followed)) = futures::join!(join_all(clients), switch, along);
    assert_eq!(handed, 6 * u64::from(PARTITIONS));
    let done: Vec<u64> = ids.into_iter().map(AtomicU64::into_inner).collect();
    for (partition, operations) in (0_u8..).zip(&done) {
        for keyspace in &keyspaces {
            assert_once_each(keyspace, &[partition], *operations).await;
        }
    }
    let total: u64 = done.iter().sum();
    let events = follow(&one, id, usize::try_from(total).unwrap(), 37).await;
    assert_eq!(events.len() as u64, total);
    for (partition, operations) in (0_u8..).zip(&done) {
        assert_events(&events, &[partition], *operations);
    }
    while (followed.len() as u64) < total {
        let page = two.events(id, after, 20).await.unwrap();
        after = page.next;
        followed.extend(page.events);
    }
    let keys = |events: &[EventRow]| -> Vec<_> {
        let key = |event: &EventRow| {
            (
                event.position,
                event.partition.key.clone(),
                event.key.clone(),
            )
        };
        events.iter().map(key).collect()
    };
    assert!(
        keys(&followed) == keys(&events),
        "followers saw different things"
    );

    let moved = one.moving("check").await.unwrap();
    moved.backfill(&mut nothing).await.unwrap();
    compare_clean(&one).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_wherever_those_who_move_it_die() {
    const PARTITIONS: u8 = 6;
    let Some(nodes) = clusters("nothing_is_lost_wherever_those_who_move_it_die") else {
        return;
    };
    let options = moving(&alone(&nodes), "b", "a");
    let (one, id) = opened(&options).await;
    let (two, _) = opened(&options).await;
    let keyspaces = [stored(&one, 1).await, stored(&two, 2).await];
    let stop = AtomicBool::new(false);
    let ids: Vec<AtomicU64> = (0..PARTITIONS).map(|_| AtomicU64::new(0)).collect();
    let client = |process: u8, partition: u8| {
        let (keyspace, ids, stop) = (&keyspaces[usize::from(process)], &ids, &stop);
        async move {
            while !stop.load(Ordering::Relaxed) {
                let id = ids[usize::from(partition)].fetch_add(1, Ordering::Relaxed);
                once_at_last(keyspace, &[partition], id).await;
            }
        }
    };
    let clients = (0..PARTITIONS).map(|partition| client(partition % 2, partition));
    let clients: Vec<_> = clients.chain([client(1, 0)]).collect();
    let killed = AtomicU64::new(0);
    let moves = async {
        let (here, there) = (
            one.moving("check").await.unwrap(),
            two.moving("check").await.unwrap(),
        );
        for round in 0..60_u64 {
            let (moved, to) = [(&here, "a"), (&there, "b"), (&here, "b"), (&there, "a")]
                [usize::try_from(round / 2 % 4).unwrap()];
            let after = Duration::from_millis(5 + round * 13 % 90);
            let mut watch = nothing;
            let ended = if round % 5 == 4 {
                tokio::time::timeout(after, moved.backfill(&mut watch)).await
            } else {
                tokio::time::timeout(after, moved.switch(to, &mut watch)).await
            };
            match ended {
                Ok(swept) => drop(swept.unwrap()),
                Err(_) => drop(killed.fetch_add(1, Ordering::Relaxed)),
            }
        }
        stop.store(true, Ordering::Relaxed);
    };
    futures::join!(join_all(clients), moves);
    assert!(
        killed.into_inner() > 10,
        "most were to be killed on their way"
    );
    let done: Vec<u64> = ids.into_iter().map(AtomicU64::into_inner).collect();
    for (partition, operations) in (0_u8..).zip(&done) {
        for keyspace in &keyspaces {
            assert_once_each(keyspace, &[partition], *operations).await;
        }
    }
    let total: u64 = done.iter().sum();
    let events = follow(&two, id, usize::try_from(total).unwrap(), 100).await;
    assert_eq!(events.len() as u64, total);
    for (partition, operations) in (0_u8..).zip(&done) {
        assert_events(&events, &[partition], *operations);
    }
    let moved = one.moving("check").await.unwrap();
    moved.backfill(&mut nothing).await.unwrap();
    moved.backfill(&mut nothing).await.unwrap();
    compare_clean(&one).await;
}

/// What a process that dies in between leaves: released, and taken by nobody.
async fn release(session: &Session, options: &CassandraOptions, partition: &str, version: i64) {
    let now = i64::try_from(crate::support::clock()()).unwrap();
    let text = format!(
        "UPDATE {}_check.rows SET version = -{}, position = {now} WHERE partition = {partition} \
         IF version = {version}",
        options.keyspace_prefix,
        version + 1
    );
    let answer = session.query_unpaged(text, ()).await.unwrap();
    let rows = answer.into_rows_result().unwrap();
    let row: scylla::value::Row = rows.first_row().unwrap();
    assert_eq!(row.columns[0], Some(scylla::value::CqlValue::Boolean(true)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_finds_a_partition_that_was_released_ends_its_hand_over() {
    let Some(nodes) = clusters("who_finds_a_partition_that_was_released") else {
        return;
    };
    let (options, a, b) = (
        alone(&nodes),
        session(&nodes[0]).await,
        session(&nodes[1]).await,
    );
    let (before, id) = opened(&options).await;
    for key in [b"p", b"q", b"r", b"s"] {
        let first = before
            .commit(&of(id, key), Version(0), event(b"first"))
            .await;
        first.unwrap().unwrap();
        let second = before
            .commit(&of(id, key), Version(1), put(b"row", b"value"))
            .await;
        second.unwrap().unwrap();
    }
    let options = moving(&options, "a", "b");
    let (engine, id) = opened(&options).await;
    // Each is released while there is no copy of it: all its rows are still to be taken.
    for key in ["0x70", "0x71", "0x72", "0x73"] {
        release(&a, &options, key, 2).await;
    }
    // A read ends it, a commit, a follower, and a sweep.
    let (version, value) = row(&engine, &of(id, b"p"), b"row").await;
    assert_eq!(
        (version, value.as_deref()),
        (Version(3), Some(&b"value"[..]))
    );
    let stale = engine
        .commit(&of(id, b"q"), Version(2), put(b"row", b"lost"))
        .await;
    assert_eq!(stale.unwrap(), None, "the hand-over counts as a version");
    let next = engine
        .commit(&of(id, b"q"), Version(3), put(b"row", b"next"))
        .await;
    next.unwrap().unwrap();
    assert_eq!(follow(&engine, id, 4, 10).await.len(), 4);
    let moved = engine.moving("check").await.unwrap();
    moved.switch("b", &mut nothing).await.unwrap();
    let standing = moved.status(&mut nothing).await.unwrap();
    assert_eq!(standing.owned[1], ("b".to_owned(), 4));
    // Again, with a copy that is at the released version less one.
    moved.backfill(&mut nothing).await.unwrap();
    release(&b, &options, "0x70", 3).await;
    let (other, id) = opened(&options).await;
    let (version, value) = row(&other, &of(id, b"p"), b"row").await;
    assert_eq!(
        (version, value.as_deref()),
        (Version(4), Some(&b"value"[..]))
    );
    let standing = moved.status(&mut nothing).await.unwrap();
    assert_eq!(standing.owned, [("a".to_owned(), 1), ("b".to_owned(), 3)]);
}
