//! Copies: brought along, compared, large ones, and those who die at it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use lombard_store::{Change, Changes, Engine, PartitionId, Version};
use lombard_store_cassandra::Cassandra;
use lombard_store_cassandra::moving::Progress;

use super::{
    alone, assert_equal, assert_events, clusters, compare_clean, follow, moving, nothing, of,
    opened, put, row, stored, table,
};
use crate::support::{once_at_last, session};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_versions_and_events_are_equal_after_a_backfill_while_writers_run() {
    let Some(nodes) = clusters("rows_are_equal_after_a_backfill") else {
        return;
    };
    let options = alone(&nodes);
    // Written before there was a move: by a process that knows nothing of it.
    let (before, id) = opened(&options).await;
    let keyspace = stored(&before, 1).await;
    for partition in 0..40_u8 {
        once_at_last(&keyspace, &[partition], 0).await;
    }
    let (engine, moving_id) = opened(&moving(&options, "a", "b")).await;
    let moved = engine.moving("check").await.unwrap();
    let keyspace = stored(&engine, 2).await;
    let stop = AtomicBool::new(false);
    let ids: Vec<AtomicU64> = (0..8).map(|_| AtomicU64::new(1)).collect();
    let writers = (0..8_u8).map(|partition| {
        let (keyspace, ids, stop) = (&keyspace, &ids, &stop);
        async move {
            while !stop.load(Ordering::Relaxed) {
                let id = ids[usize::from(partition)].fetch_add(1, Ordering::Relaxed);
                once_at_last(keyspace, &[partition], id).await;
            }
        }
    });
    let mut shares = Vec::new();
    let backfill = async {
        for _ in 0..3 {
            let mut watch = |progress: Progress| shares.push((progress.done, progress.total));
            moved.backfill(&mut watch).await.unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    };
    futures::join!(join_all(writers), backfill);
    assert!(
        shares.iter().all(|(done, total)| done <= total),
        "{shares:?}"
    );
    assert_eq!(shares.last(), Some(&(40, 40)));
    // What the writers have done since the sweep was there, their copies have already.
    moved.backfill(&mut nothing).await.unwrap();
    assert_eq!(compare_clean(&engine).await.partitions, 40);
    let (a, b) = (session(&nodes[0]).await, session(&nodes[1]).await);
    assert_equal(&table(&a, &options).await, &table(&b, &options).await);
    let standing = moved.status(&mut nothing).await.unwrap();
    assert_eq!(standing.owned, [("a".to_owned(), 40), ("b".to_owned(), 0)]);
    assert_eq!(standing.behind, 0);

    let done: Vec<u64> = ids.into_iter().map(AtomicU64::into_inner).collect();
    let total: u64 = done.iter().sum::<u64>() + 32;
    let events = follow(&engine, moving_id, usize::try_from(total).unwrap(), 50).await;
    assert_eq!(events.len() as u64, total);
    for (partition, operations) in (0_u8..).zip(&done) {
        assert_events(&events, &[partition], *operations);
    }
    // As long as nothing is switched, who knows of no move sees everything as before.
    let same = follow(&before, id, events.len(), 1_000).await;
    assert_eq!(same.len(), events.len());
    drop(before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backfill_that_was_cut_short_goes_on_from_where_it_was() {
    const PARTITIONS: u64 = 300;
    let Some(nodes) = clusters("a_backfill_that_was_cut_short") else {
        return;
    };
    let options = alone(&nodes);
    let (before, id) = opened(&options).await;
    for partition in 0..PARTITIONS {
        let p = of(id, &partition.to_be_bytes());
        let first = before.commit(&p, Version(0), put(b"row", b"value")).await;
        first.unwrap().unwrap();
    }
    let options = moving(&options, "a", "b");
    let cut = {
        let (engine, _) = opened(&options).await;
        let moved = engine.moving("check").await.unwrap();
        let (told, cut) = tokio::sync::oneshot::channel();
        let mut told = Some(told);
        let mut watch = |progress: Progress| {
            if progress.done >= 100
                && let Some(told) = told.take()
            {
                told.send(progress.done).unwrap();
            }
        };
        let backfill = moved.backfill(&mut watch);
        tokio::select! {
            cut = cut => cut.unwrap(),
            swept = backfill => panic!("it was not cut short: {swept:?}"),
        }
    };
    let (engine, _) = opened(&options).await;
    let moved = engine.moving("check").await.unwrap();
    let mut first = None;
    let mut watch = |progress: Progress| {
        first.get_or_insert(progress.done);
    };
    let swept = moved.backfill(&mut watch).await.unwrap();
    assert!(first.unwrap() > cut, "{first:?} after {cut}");
    assert_eq!(swept.partitions, PARTITIONS);
    assert_eq!(compare_clean(&engine).await.partitions, PARTITIONS);
    let again = moved.backfill(&mut nothing).await.unwrap();
    assert_eq!((again.partitions, again.changed), (PARTITIONS, 0));
}

/// A partition of many batches: row after row of some kilobytes.
async fn grow(engine: &Cassandra, p: &PartitionId, commits: u64) {
    for commit in 0..commits {
        let rows = (0..40_u64).map(|row| {
            let key = [&commit.to_be_bytes()[..], &row.to_be_bytes()].concat();
            let value = vec![u8::try_from(commit % 251).unwrap(); 1_000];
            (Bytes::from(key), Change::Put(Bytes::from(value)))
        });
        let changes = Changes {
            rows: rows.collect(),
        };
        engine
            .commit(p, Version(commit), changes)
            .await
            .unwrap()
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_partition_is_copied_in_parts_and_handed_over() {
    let Some(nodes) = clusters("a_large_partition") else {
        return;
    };
    let options = alone(&nodes);
    let (before, id) = opened(&options).await;
    let p = of(id, b"large");
    grow(&before, &p, 60).await;
    let options = moving(&options, "a", "b");
    let (engine, id) = opened(&options).await;
    let p = of(id, b"large");
    let moved = engine.moving("check").await.unwrap();
    // A filler that dies on its way: dropped after the first part of the copy is there.
    let b = session(&nodes[1]).await;
    {
        let mut watch = nothing;
        let backfill = moved.backfill(&mut watch);
        let begun = async {
            while table(&b, &options).await.len() < 100 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let mut backfill = std::pin::pin!(backfill);
        tokio::select! {
            () = begun => {}
            swept = &mut backfill => panic!("it was not cut short: {swept:?}"),
        }
    }
    let half = table(&b, &options).await;
    assert!(half.len() < 2_400, "{}", half.len());
    assert!(
        half.values().all(|(_, version)| *version < -(1 << 62)),
        "it is no version's"
    );
    // It is committed to while it is filled by the next.
    let fill = async {
        moved.backfill(&mut nothing).await.unwrap();
        moved.backfill(&mut nothing).await.unwrap();
    };
    let commit = async {
        let mut version = Version(60);
        for row in 0..30_u64 {
            let changes = put(&[b"more", &row.to_be_bytes()[..]].concat(), b"value");
            if engine.commit(&p, version, changes).await.unwrap().is_none() {
                // It was handed over and back for the sake of the copy.
                version = engine.read(&p, &[]).await.unwrap().version;
                continue;
            }
            version = version.next();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    futures::join!(fill, commit);
    moved.backfill(&mut nothing).await.unwrap();
    compare_clean(&engine).await;
    let a = session(&nodes[0]).await;
    assert_equal(&table(&a, &options).await, &table(&b, &options).await);
    // Rows that are deleted are deleted there.
    let version = engine.read(&p, &[]).await.unwrap().version;
    let key = [0_u64.to_be_bytes(), 0_u64.to_be_bytes()].concat();
    let gone = Changes {
        rows: [(Bytes::from(key.clone()), Change::Delete)].into(),
    };
    engine.commit(&p, version, gone).await.unwrap().unwrap();
    moved.switch("b", &mut nothing).await.unwrap();
    let (there, value) = row(&engine, &p, &key).await;
    assert_eq!((there.0, value), (version.0 + 2, None));
    // What is left behind is what was released: a copy of the version that was taken.
    assert_equal(&table(&b, &options).await, &table(&a, &options).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_was_changed_by_somebody_is_found() {
    let Some(nodes) = clusters("a_copy_that_was_changed") else {
        return;
    };
    let options = moving(&alone(&nodes), "a", "b");
    let (engine, id) = opened(&options).await;
    for key in [b"p", b"q"] {
        let first = engine
            .commit(&of(id, key), Version(0), put(b"row", b"value"))
            .await;
        first.unwrap().unwrap();
    }
    compare_clean(&engine).await;
    let b = session(&nodes[1]).await;
    let ks = &options.keyspace_prefix;
    let text = format!("DELETE FROM {ks}_check.rows WHERE partition = 0x70 AND key = 0x726f77");
    b.query_unpaged(text, ()).await.unwrap();
    let moved = engine.moving("check").await.unwrap();
    let compared = moved.compare(&mut nothing).await.unwrap();
    assert_eq!((compared.partitions, compared.different), (2, 1));
    assert_eq!(compared.named, [&b"p"[..]]);
}
