//! A keyspace moves from one cluster to another while it serves: two real clusters of one node.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use lombard_engines::cassandra::{Cluster, Options};
use lombard_engines::testing;
use lombard_store::conformance::Subject;
use lombard_store::{
    Change, Changes, Engine, EventRow, KeyspaceId, PartitionId, Position, Store, StoreError,
    StoreOptions, Version, Wanted,
};
use lombard_store_cassandra::moving::{Progress, Swept};
use lombard_store_cassandra::{Cassandra, CassandraOptions, ClusterOptions, MoveOptions};
use scylla::client::session::Session;

use crate::support::{assert_once_each, connect, marker, nodes_of, once_at_last, options, session};

/// The nodes of the clusters `a` and `b`, or `None` if this machine lacks what it takes.
fn clusters(test: &str) -> Option<[Vec<String>; 2]> {
    static CLUSTERS: OnceLock<Option<[Cluster; 2]>> = OnceLock::new();
    let clusters = CLUSTERS.get_or_init(|| {
        let one = Options {
            nodes: 1,
            // Many tests, each with keyspaces of its own.
            heap_mib: 1_024,
            ..Options::default()
        };
        let a = testing::started(test, Cluster::start(&one))?;
        let b = testing::started(test, Cluster::start(&one))?;
        Some([a, b])
    });
    let [a, b] = clusters.as_ref()?;
    Some([nodes_of(a), nodes_of(b)])
}

/// Options for a keyspace of its own on `a`, without a move.
fn alone([a, b]: &[Vec<String>; 2]) -> CassandraOptions {
    let cluster = |nodes: &Vec<String>| {
        let mut cluster = ClusterOptions {
            contact_points: nodes.clone(),
            ..ClusterOptions::default()
        };
        cluster.replication.factor = 1;
        cluster
    };
    CassandraOptions {
        clusters: [("a".to_owned(), cluster(a)), ("b".to_owned(), cluster(b))].into(),
        default_cluster: "a".into(),
        allow_unsafe_replication: true,
        ..options(a)
    }
}

/// The same keyspace, which moves from one to the other.
fn moving(alone: &CassandraOptions, from: &str, to: &str) -> CassandraOptions {
    let to = MoveOptions { to: to.into() };
    CassandraOptions {
        services: [("check".to_owned(), from.to_owned())].into(),
        moves: [("check".to_owned(), to)].into(),
        ..alone.clone()
    }
}

/// The same keyspace, on one cluster.
fn only(alone: &CassandraOptions, cluster: &str) -> CassandraOptions {
    CassandraOptions {
        services: [("check".to_owned(), cluster.to_owned())].into(),
        ..alone.clone()
    }
}

fn nothing(_: Progress) {}

async fn opened(options: &CassandraOptions) -> (Arc<Cassandra>, KeyspaceId) {
    let engine = Arc::new(connect(options).await.unwrap());
    let id = engine.keyspace("check").await.unwrap();
    (engine, id)
}

async fn stored(engine: &Arc<Cassandra>, instance: u64) -> lombard_store::Keyspace {
    let store = Store::new(engine.clone(), StoreOptions::new(instance));
    store.keyspace("check").await.unwrap()
}

fn of(keyspace: KeyspaceId, key: &[u8]) -> PartitionId {
    PartitionId {
        keyspace,
        key: Bytes::copy_from_slice(key),
    }
}

fn put(key: &[u8], value: &[u8]) -> Changes {
    let change = Change::Put(Bytes::copy_from_slice(value));
    Changes {
        rows: [(Bytes::copy_from_slice(key), change)].into(),
    }
}

fn event(key: &[u8]) -> Changes {
    let change = Change::Event(Bytes::from_static(b"happened"));
    Changes {
        rows: [(Bytes::copy_from_slice(key), change)].into(),
    }
}

async fn row(engine: &Cassandra, partition: &PartitionId, key: &[u8]) -> (Version, Option<Bytes>) {
    let wanted = [Wanted::Row(Bytes::copy_from_slice(key))];
    let seen = engine.read(partition, &wanted).await.unwrap();
    let found = seen.found[0].first().map(|(_, value)| value.clone());
    (seen.version, found)
}

/// All that a cluster has of the table of rows, past the engine.
type Table = BTreeMap<(Vec<u8>, Vec<u8>), (Vec<u8>, i64)>;

async fn table(session: &Session, options: &CassandraOptions) -> Table {
    let text = format!(
        "SELECT partition, key, value, version FROM {}_check.rows",
        options.keyspace_prefix
    );
    let answer = session.query_unpaged(text, ()).await.unwrap();
    let rows = answer.into_rows_result().unwrap();
    let rows = rows.rows::<(Vec<u8>, Vec<u8>, Vec<u8>, i64)>().unwrap();
    rows.map(|row| {
        let (partition, key, value, version) = row.unwrap();
        ((partition, key), (value, version))
    })
    .collect()
}

/// Rows that are there by a partition's version on `a`, and the same on `b` as its copy.
fn assert_equal(owner: &Table, copy: &Table) {
    let negated: Table = (copy.iter())
        .map(|(key, (value, version))| (key.clone(), (value.clone(), -version)))
        .collect();
    assert_eq!(owner.len(), negated.len());
    assert!(owner.values().all(|(_, version)| *version > 0));
    assert!(*owner == negated, "the copies are not equal");
}

/// Everything that there is, page by page; it waits until so many are there.
async fn follow(engine: &Cassandra, id: KeyspaceId, count: usize, limit: usize) -> Vec<EventRow> {
    let (mut after, mut events) = (Position(0), Vec::new());
    for _ in 0..400 {
        let page = engine.events(id, after, limit).await.unwrap();
        assert!(page.next >= after);
        after = page.next;
        events.extend(page.events);
        if events.len() >= count && !page.more {
            break;
        }
        if !page.more {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    events
}

/// Each operation's event once, in the order of positions.
fn assert_events(events: &[EventRow], partition: &[u8], operations: u64) {
    assert!(events.iter().map(|event| event.position).is_sorted());
    let own = events
        .iter()
        .filter(|event| event.partition.key == partition);
    let mut keys: Vec<_> = own.map(|event| event.key.to_vec()).collect();
    keys.sort_unstable();
    let count = keys.len() as u64;
    assert!(
        keys.into_iter().eq((0..operations).map(marker)),
        "{count} events of {operations} operations"
    );
}

async fn compare_clean(engine: &Cassandra) -> Swept {
    let moved = engine.moving("check").await.unwrap();
    let compared = moved.compare(&mut nothing).await.unwrap();
    assert_eq!(compared.different, 0, "{:?}", compared.named);
    assert_eq!(compared.behind, 0);
    compared
}

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

fn misconfigured<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Misconfigured(why)) => why,
        other => panic!("not refused as misconfigured: {other:?}"),
    }
}

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

mod conformance {
    use super::*;

    lombard_store::conformance!(match clusters("conformance of a move") {
        Some(nodes) => OnTwoClusters {
            options: all_moving(&nodes, "a", "b"),
        },
        None => return,
    });
}

mod conformance_where_partitions_begin_at_the_other {
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
