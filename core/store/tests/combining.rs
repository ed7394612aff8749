//! What combining does: few commits for many operations, and nobody is stranded.
#![expect(
    clippy::disallowed_methods,
    reason = "a test waits for the tasks that it spawns"
)]
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod counted;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use counted::{Counted, PERMITS};
use futures::future::{BoxFuture, join_all};
use lombard_store::simulated::{Faults, TurnSpawner};
use lombard_store::{
    Direction, Engine, Keyspace, PartitionId, Position, RowRange, Rows, Sequenced, Spawner, Stop,
    Store, StoreError, StoreOptions, Wanted,
};

fn options() -> StoreOptions {
    let mut options = StoreOptions::new(1);
    options.spawner = Arc::new(TurnSpawner);
    options
}

async fn keyspace(engine: &Arc<Counted>, options: StoreOptions) -> Keyspace {
    let store = Store::new(engine.clone(), options);
    store.keyspace("combining").await.unwrap()
}

fn number(value: Option<Bytes>) -> u64 {
    value.map_or(0, |value| {
        u64::from_be_bytes(value.as_ref().try_into().unwrap())
    })
}

/// Adds one, and leaves a marker if there is none.
async fn increment(
    keyspace: &Keyspace,
    partition: &[u8],
    id: u64,
) -> Result<Result<u64, ()>, StoreError> {
    let rule = |rows: &mut Rows<'_>| -> Result<u64, Stop<()>> {
        let marker = [b"marker/", &id.to_be_bytes()[..]].concat();
        if let Some(first) = rows.get(&marker)? {
            return Ok(number(Some(first)));
        }
        let count = number(rows.get(b"count")?) + 1;
        rows.put(&b"count"[..], count.to_be_bytes().to_vec());
        rows.put(marker, count.to_be_bytes().to_vec());
        Ok(count)
    };
    keyspace
        .update(partition, rule)
        .await?
        .durable(keyspace)
        .await
}

async fn count(keyspace: &Keyspace, partition: &[u8]) -> u64 {
    let look = |rows: &Rows<'_>| -> Result<_, Stop<()>> { Ok(number(rows.get(b"count")?)) };
    keyspace.read(partition, look).await.unwrap().value.unwrap()
}

fn slow() -> Faults {
    Faults {
        delay_turns_max: 20,
        ..Faults::default()
    }
}

#[tokio::test]
async fn a_hot_partition_costs_few_commits_and_few_reads() {
    let engine = Counted::new(slow());
    let keyspace = keyspace(&engine, options()).await;
    let all = join_all((0..2_000).map(|id| increment(&keyspace, b"hot", id))).await;
    let mut numbers: Vec<u64> = all
        .into_iter()
        .map(|answer| answer.unwrap().unwrap())
        .collect();
    // In order of arrival, too: nobody overtakes in one batch.
    assert!(numbers.is_sorted());
    numbers.dedup();
    assert_eq!(numbers.len(), 2_000);
    assert!(engine.commits() <= 4, "{} commits", engine.commits());
    assert!(engine.reads() <= 12, "{} reads", engine.reads());
    let counters = keyspace.store().counters();
    assert_eq!(counters.combined_operations, 2_000);
    assert_eq!(counters.commits, engine.commits() as u64);
    assert_eq!(counters.updates, 2_000);
    // Each missed its marker; the first missed the counter, too.
    assert_eq!(counters.rows_absent, 2_001);
    let figures = keyspace.store().info().figures;
    let per_commit = figures
        .iter()
        .find(|(name, _)| name == "combined operations per commit");
    assert!(
        per_commit.is_some_and(|(_, figure)| figure.len() >= 5),
        "{figures:?}"
    );
    // Asked again, all get their first answer, and nothing is committed.
    let before = engine.commits();
    let again = join_all((0..2_000).map(|id| increment(&keyspace, b"hot", id))).await;
    let again: Vec<u64> = again
        .into_iter()
        .map(|answer| answer.unwrap().unwrap())
        .collect();
    assert_eq!(again, numbers);
    assert_eq!(engine.commits(), before);
}

#[tokio::test]
async fn what_comes_while_the_engine_takes_no_more_goes_along() {
    let engine = Counted::new(slow());
    let keyspace = keyspace(&engine, options()).await;
    increment(&keyspace, b"p", 0).await.unwrap().unwrap();
    let before = (engine.reads(), engine.commits());
    let all = u32::try_from(PERMITS).unwrap();
    let taken = engine.permits.clone().acquire_many_owned(all).await;
    let put = |id: u8| {
        let rule = move |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
            rows.put(vec![id], vec![id]);
            Ok(())
        };
        keyspace.update(b"p", rule)
    };
    let early = join_all((0..10).map(put));
    let late = async {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        join_all((10..20).map(put)).await
    };
    let free = async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!((engine.reads(), engine.commits()), before);
        drop(taken);
    };
    let (early, late, ()) = futures::join!(early, late, free);
    assert!(early.into_iter().chain(late).all(|answer| answer.is_ok()));
    assert_eq!((engine.reads(), engine.commits()), (before.0, before.1 + 1));
}

#[tokio::test]
async fn a_commit_carries_no_more_than_its_limit() {
    let engine = Counted::new(slow());
    let mut options = options();
    options.operations_per_commit_max = 10;
    let keyspace = keyspace(&engine, options).await;
    let all = join_all((0..100).map(|id| increment(&keyspace, b"hot", id))).await;
    assert!(all.into_iter().all(|answer| answer.is_ok()));
    assert!(engine.commits() >= 10);
    // Ten markers, the counter, the store's own row.
    assert_eq!(engine.rows_in_largest_commit.load(Ordering::Relaxed), 12);
}

#[tokio::test]
async fn bytes_of_a_commit_are_bounded_whatever_is_combined() {
    let engine = Counted::new(slow());
    let keyspace = keyspace(&engine, options()).await;
    let put = |id: u8| {
        let rule = move |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
            rows.put(vec![id], vec![id; 3 << 20]);
            Ok(())
        };
        keyspace.update(b"p", rule)
    };
    let all = join_all((0..8).map(put)).await;
    assert!(all.into_iter().all(|answer| answer.is_ok()));
    assert!(engine.commits() >= 4, "two of 3 MiB fit in one commit");
}

#[tokio::test]
async fn a_caller_that_goes_away_strands_nobody() {
    for polls in 0..40 {
        let engine = Counted::new(slow());
        let keyspace = keyspace(&engine, options()).await;
        let going = async {
            let mut going = Box::pin(increment(&keyspace, b"hot", 999));
            for _ in 0..polls {
                if futures::poll!(going.as_mut()).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        let staying = join_all((0..10).map(|id| increment(&keyspace, b"hot", id)));
        let ((), answers) = futures::join!(going, staying);
        assert!(answers.into_iter().all(|answer| answer.is_ok()));
        let in_the_end = increment(&keyspace, b"hot", 1_000).await.unwrap().unwrap();
        assert!((11..=12).contains(&in_the_end), "{in_the_end}");
        assert_eq!(count(&keyspace, b"hot").await, in_the_end);
    }
}

#[tokio::test]
async fn an_event_is_never_replaced_before_it_was_announced() {
    let engine = Counted::new(slow());
    let keyspace = keyspace(&engine, options()).await;
    let append = async {
        let rule = |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
            rows.append(&b"event"[..], &b"it happened"[..]);
            Ok(())
        };
        keyspace.update(b"p", rule).await.unwrap()
    };
    let drop_it = async {
        let rule = |rows: &mut Rows<'_>| -> Result<bool, Stop<()>> {
            let there = rows.get(b"event")?.is_some();
            rows.delete(&b"event"[..]);
            Ok(there)
        };
        keyspace.update(b"p", rule).await.unwrap()
    };
    let (_, dropped) = futures::join!(append, drop_it);
    assert_eq!(dropped.value, Ok(true), "it ran over the event");
    let page = keyspace.events(Position(0), 10).await.unwrap();
    assert_eq!(page.events.len(), 1);
    assert_eq!(page.events[0].value, "it happened");
    let look = |rows: &Rows<'_>| -> Result<_, Stop<()>> { Ok(rows.get(b"event")?) };
    assert_eq!(keyspace.read(b"p", look).await.unwrap().value, Ok(None));
}

#[tokio::test]
async fn services_never_see_the_stores_own_row() {
    let engine = Counted::new(Faults::default());
    let keyspace = keyspace(&engine, options()).await;
    increment(&keyspace, b"p", 1).await.unwrap().unwrap();
    let everything = RowRange::prefix(b"", Direction::Descending, 100);
    let own = RowRange::prefix(b"\xff", Direction::Ascending, 100);
    let look = |rows: &Rows<'_>| -> Result<_, Stop<()>> {
        Ok((
            rows.range(&everything)?,
            rows.range(&own)?,
            rows.get(b"\xff\xffcommit")?,
        ))
    };
    let (all, own, marker) = keyspace.read(b"p", look).await.unwrap().value.unwrap();
    let keys: Vec<&[u8]> = all.iter().map(|(key, _)| key.as_ref()).collect();
    assert_eq!(keys, [b"marker/\0\0\0\0\0\0\0\x01", &b"count"[..]]);
    assert!(own.is_empty() && marker.is_none());
    // It is there, for the store.
    let id = PartitionId {
        keyspace: engine.keyspace("combining").await.unwrap(),
        key: Bytes::from_static(b"p"),
    };
    let wanted = [Wanted::Row(Bytes::from_static(b"\xff\xffcommit"))];
    let found = engine.read(&id, &wanted).await.unwrap().found;
    assert_eq!(found[0].len(), 1);
}

#[tokio::test]
async fn an_outcome_that_nobody_knows_is_said_only_when_reading_fails_too() {
    let engine = Counted::new(Faults::default());
    let mut options = options();
    options.resolutions_per_commit_max = 5;
    let keyspace = keyspace(&engine, options).await;
    increment(&keyspace, b"p", 1).await.unwrap().unwrap();
    let in_but_timed_out = Faults {
        timeout_after: 1.0,
        ..Faults::default()
    };
    // Some reads fail, then one tells. (What the rule reads is at hand.)
    engine.inner.set_faults(in_but_timed_out);
    let add = |rows: &mut Rows<'_>| -> Result<u64, Stop<()>> {
        let count = number(rows.get(b"count")?) + 1;
        rows.put(&b"count"[..], count.to_be_bytes().to_vec());
        Ok(count)
    };
    engine.fail_reads.store(4, Ordering::Relaxed);
    assert_eq!(keyspace.update(b"p", add).await.unwrap().value, Ok(2));
    assert_eq!(engine.fail_reads.load(Ordering::Relaxed), 0);
    let counters = keyspace.store().counters();
    assert_eq!((counters.ambiguous, counters.ambiguous_resolved), (1, 1));
    // No read succeeds any more: nobody knows.
    let put = |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
        rows.put(&b"count"[..], 10_u64.to_be_bytes().to_vec());
        Ok(())
    };
    engine.fail_reads.store(5, Ordering::Relaxed);
    let unknown = keyspace.update(b"p", put).await;
    assert!(
        matches!(unknown, Err(StoreError::Ambiguous(_))),
        "{unknown:?}"
    );
    let counters = keyspace.store().counters();
    assert_eq!((counters.ambiguous, counters.ambiguous_resolved), (2, 1));
    // It was in, as it turns out; the store found it by reading afresh.
    engine.inner.set_faults(Faults::default());
    assert_eq!(increment(&keyspace, b"p", 3).await.unwrap(), Ok(11));
}

#[tokio::test]
async fn failures_reach_those_who_wait_and_nobody_else() {
    let engine = Counted::new(Faults::default());
    let keyspace = keyspace(&engine, options()).await;
    increment(&keyspace, b"p", 1).await.unwrap().unwrap();
    let refusing = Faults {
        unavailable: 1.0,
        ..Faults::default()
    };
    engine.inner.set_faults(refusing);
    for id in 2..5 {
        let failed = increment(&keyspace, b"p", id).await;
        assert!(
            matches!(failed, Err(StoreError::Unavailable(_))),
            "{failed:?}"
        );
    }
    engine.inner.set_faults(Faults::default());
    assert_eq!(increment(&keyspace, b"p", 9).await.unwrap(), Ok(2));

    // A row that cannot be read is an error that names it, for those who read it.
    let id = PartitionId {
        keyspace: engine.keyspace("combining").await.unwrap(),
        key: Bytes::from_static(b"q"),
    };
    increment(&keyspace, b"q", 1).await.unwrap().unwrap();
    engine.inner.damage(&id, b"count");
    let fresh = Store::new(engine.clone(), options());
    let fresh = fresh.keyspace("combining").await.unwrap();
    let damaged = increment(&fresh, b"q", 2).await;
    let named = matches!(&damaged, Err(StoreError::Damaged(what)) if what.contains("count"));
    assert!(named, "{damaged:?}");
    assert_eq!(increment(&fresh, b"p", 10).await.unwrap(), Ok(3));
}

#[tokio::test]
async fn waiting_operations_are_bounded() {
    let engine = Counted::new(slow());
    let mut options = options();
    options.operations_waiting_max = 20;
    let keyspace = keyspace(&engine, options).await;
    let all = join_all((0..30).map(|id| increment(&keyspace, b"hot", id))).await;
    let refused = all
        .iter()
        .filter(|answer| matches!(answer, Err(StoreError::Unavailable(_))));
    assert_eq!(refused.count(), 10);
    // Those who were refused come again.
    let all = join_all((20..30).map(|id| increment(&keyspace, b"hot", id))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(count(&keyspace, b"hot").await, 30);
}

#[tokio::test]
async fn what_is_at_hand_saves_reads_and_is_let_go() {
    let engine = Counted::new(Faults::default());
    let mut options = options();
    options.lanes_idle_max = 8;
    let keyspace = keyspace(&engine, options).await;
    let put = async |partition: u64| {
        let rule = |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
            let count = number(rows.get(b"count")?) + 1;
            rows.put(&b"count"[..], count.to_be_bytes().to_vec());
            Ok(())
        };
        let before = engine.reads();
        let Sequenced { value, .. } = keyspace
            .update(&partition.to_be_bytes(), rule)
            .await
            .unwrap();
        value.unwrap();
        engine.reads() - before
    };
    assert_eq!(put(0).await, 1, "read at first");
    assert_eq!(put(0).await, 0, "then it is at hand");
    for partition in 1..100 {
        put(partition).await;
    }
    assert_eq!(put(0).await, 1, "let go for others");
    assert_eq!(put(99).await, 0, "used last, still at hand");
}

#[tokio::test]
async fn what_was_only_written_goes_first() {
    let engine = Counted::new(Faults::default());
    let mut options = options();
    options.lane_idle_bytes_max = 1 << 10;
    let writer = keyspace(&engine, options.clone()).await;
    writer
        .update(b"p", |rows: &mut Rows<'_>| {
            rows.put(&b"count"[..], 0_u64.to_be_bytes().to_vec());
            Ok::<_, Stop<()>>(())
        })
        .await
        .unwrap()
        .value
        .unwrap();
    // Another store finds the row, and adds many more that nobody asks for.
    let keyspace = keyspace(&engine, options).await;
    let before = engine.reads();
    for entry in 0..100_u64 {
        let rule = |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
            let count = number(rows.get(b"count")?) + 1;
            rows.put(&b"count"[..], count.to_be_bytes().to_vec());
            rows.put([b"e", &entry.to_be_bytes()[..]].concat(), vec![7; 100]);
            Ok(())
        };
        let done = keyspace.update(b"p", rule).await.unwrap();
        done.value.unwrap();
    }
    assert_eq!(engine.reads() - before, 1, "the row stays at hand");
    let absent = |rows: &Rows<'_>| -> Result<_, Stop<()>> {
        let first = [b"e", &0_u64.to_be_bytes()[..]].concat();
        Ok((rows.get(&first)?, rows.get(b"count")?))
    };
    let seen = keyspace.read_ahead(b"p", absent).await.unwrap();
    let (first, count) = seen.value.unwrap();
    assert_eq!((first.unwrap().len(), number(count)), (100, 100));
}

/// A runtime that stops: it drops tasks as they are given to it.
struct Stopped(AtomicU64);

impl Spawner for Stopped {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        drop(task);
    }
    fn pause(&self, _: std::time::Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn when_tasks_end_callers_are_told() {
    let engine = Counted::new(Faults::default());
    let mut options = options();
    let stopped = Arc::new(Stopped(AtomicU64::new(0)));
    options.spawner = stopped.clone();
    let keyspace = keyspace(&engine, options).await;
    for attempt in 1..4 {
        let ended = increment(&keyspace, b"p", 1).await;
        assert!(matches!(ended, Err(StoreError::Closed(_))), "{ended:?}");
        assert_eq!(stopped.0.load(Ordering::Relaxed), attempt);
    }
}

#[tokio::test]
async fn a_function_that_panics_harms_only_its_caller() {
    let engine = Counted::new(slow());
    let keyspace = keyspace(&engine, options()).await;
    increment(&keyspace, b"p", 1).await.unwrap().unwrap();
    let panics = {
        let keyspace = keyspace.clone();
        tokio::spawn(async move {
            let rule = |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
                rows.put(&b"count"[..], &b"rubbish"[..]);
                panic!("a defect in a rule");
            };
            keyspace.update(b"p", rule).await.map(|_| ())
        })
    };
    assert!(panics.await.is_err());
    assert_eq!(increment(&keyspace, b"p", 2).await.unwrap(), Ok(2));
}

#[tokio::test]
async fn an_answer_without_changes_is_never_stale() {
    let engine = Counted::new(slow());
    let ours = keyspace(&engine, options()).await;
    let mut other = options();
    other.instance = 2;
    let theirs = keyspace(&engine, other).await;
    for round in 0..20 {
        // What we hold at hand is older than what they were told is in.
        increment(&ours, b"p", 2 * round).await.unwrap().unwrap();
        let told = increment(&theirs, b"p", 2 * round + 1)
            .await
            .unwrap()
            .unwrap();
        let refuse = |rows: &mut Rows<'_>| -> Result<(), Stop<u64>> {
            Err(Stop::Refused(number(rows.get(b"count")?)))
        };
        let looks = join_all((0..3).map(|_| ours.update(b"p", refuse))).await;
        for look in looks {
            assert_eq!(look.unwrap().value, Err(told));
        }
    }
    assert_eq!(count(&ours, b"p").await, 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_that_end_and_begin_on_many_threads_do_not_meet() {
    const EACH: u64 = 3_000;
    let engine = Counted::new(Faults::default());
    let store = Store::new(engine.clone(), StoreOptions::new(1));
    let keyspace = store.keyspace("combining").await.unwrap();
    // So few callers that the lane's tasks end and begin all the time.
    let caller = |caller: u64| {
        let keyspace = keyspace.clone();
        tokio::spawn(async move {
            for turn in 0..EACH {
                let id = caller * EACH + turn;
                increment(&keyspace, b"hot", id).await.unwrap().unwrap();
            }
        })
    };
    let callers: Vec<_> = (0..3).map(caller).collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(count(&keyspace, b"hot").await, 3 * EACH);
    assert_eq!(store.counters().conflicts, 0);
}

#[tokio::test]
async fn what_is_said_ahead_is_fetched_in_one_go() {
    let engine = Counted::new(Faults::default());
    let write = |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
        for index in 0..100_u8 {
            rows.put(vec![index], vec![index]);
        }
        Ok(())
    };
    let first = keyspace(&engine, options()).await;
    first.update(b"p", write).await.unwrap().value.unwrap();
    let wanted: Vec<Wanted> = (0..100_u8)
        .map(|index| Wanted::Row(Bytes::copy_from_slice(&[index])))
        .chain([Wanted::Range(RowRange::prefix(
            b"a",
            Direction::Ascending,
            1,
        ))])
        .collect();
    let sum = |rows: &Rows<'_>| -> Result<usize, Stop<()>> {
        rows.prefetch(&wanted)?;
        let mut found = 0;
        for index in 0..100_u8 {
            found += rows.get(&[index])?.map_or(0, |value| value.len());
        }
        found += rows
            .range(&RowRange::prefix(b"a", Direction::Ascending, 1))?
            .len();
        Ok(found)
    };
    let fresh = keyspace(&engine, options()).await;
    let before = engine.reads();
    let sum_in_update = |rows: &mut Rows<'_>| sum(rows);
    assert_eq!(
        fresh.update(b"p", sum_in_update).await.unwrap().value,
        Ok(101)
    );
    // All in one, and since nothing was changed, whether it still stands.
    assert_eq!(engine.reads() - before, 2);
    let before = engine.reads();
    assert_eq!(fresh.read(b"p", sum).await.unwrap().value, Ok(101));
    assert_eq!(engine.reads() - before, 1);
}

#[tokio::test]
async fn a_look_finds_what_was_kept_for_as_long_as_it_is_so() {
    let engine = Counted::new(Faults::default());
    let keyspace_of = async |instance| {
        let mut options = options();
        options.instance = instance;
        // Nothing else is at hand.
        options.lane_idle_bytes_max = 0;
        keyspace(&engine, options).await
    };
    let (ours, anothers) = (keyspace_of(1).await, keyspace_of(2).await);
    let count = async |keyspace: &Keyspace| {
        let rule = |rows: &mut Rows<'_>| -> Result<u64, Stop<()>> {
            let count = 1 + match rows.take_kept::<u64>() {
                Some(count) => *count,
                None => number(rows.get(b"count")?),
            };
            rows.put(&b"count"[..], count.to_be_bytes().to_vec());
            rows.keep(Box::new(count));
            Ok(count)
        };
        keyspace.update(b"p", rule).await.unwrap().value.unwrap()
    };
    let look = async || {
        let mut was_kept = false;
        let see = |rows: &Rows<'_>| -> Result<u64, Stop<()>> {
            was_kept = rows.kept::<u64>().is_some();
            match rows.kept::<u64>() {
                Some(count) => Ok(*count),
                None => Ok(number(rows.get(b"count")?)),
            }
        };
        let seen = ours.glance(b"p", see).await.unwrap().value.unwrap();
        (seen, was_kept)
    };
    assert_eq!(count(&ours).await, 1);
    assert_eq!(look().await, (1, true));
    assert_eq!(look().await, (1, true), "a look leaves it");
    assert_eq!(count(&ours).await, 2);
    assert_eq!(look().await, (2, true));
    assert_eq!(count(&anothers).await, 3);
    assert_eq!(look().await, (3, false), "another store has committed");
    assert_eq!(count(&ours).await, 4);
    assert_eq!(look().await, (4, true));
}

#[tokio::test]
async fn what_was_kept_outlives_a_fetch_unless_it_was_about_to_change() {
    let engine = Counted::new(Faults::default());
    let mut options = options();
    options.lane_idle_bytes_max = 0;
    let keyspace = keyspace(&engine, options).await;
    let keep = |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
        rows.put(&b"count"[..], vec![1]);
        rows.keep(Box::new(1_u64));
        Ok(())
    };
    let fetch = async |changes_first: bool| {
        let mut found = Vec::new();
        let rule = |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
            found.push(rows.kept::<u64>().copied());
            if changes_first {
                rows.put(&b"count"[..], vec![2]);
            }
            rows.prefetch(&[Wanted::Row(Bytes::from_static(b"other"))])?;
            Ok(())
        };
        keyspace.update(b"p", rule).await.unwrap().value.unwrap();
        found
    };
    keyspace.update(b"p", keep).await.unwrap().value.unwrap();
    let reads = engine.reads();
    assert_eq!(fetch(false).await, [Some(1), Some(1)]);
    // The fetch, and whether what was seen still stands.
    assert_eq!(engine.reads(), reads + 2);
    keyspace.update(b"p", keep).await.unwrap().value.unwrap();
    assert_eq!(fetch(true).await, [Some(1), None]);
}

#[tokio::test]
async fn what_was_seen_under_a_stamp_is_not_seen_again_before_it_rises() {
    let engine = Counted::new(Faults::default());
    let keyspace_of = async |instance| {
        let mut options = options();
        options.instance = instance;
        keyspace(&engine, options).await
    };
    let (ours, anothers) = (keyspace_of(1).await, keyspace_of(2).await);
    let set = async |count: u64| {
        let rule = |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
            rows.put(&b"count"[..], count.to_be_bytes().to_vec());
            Ok(())
        };
        anothers.update(b"p", rule).await.unwrap().value.unwrap();
    };
    let glance = async |stamp: Option<u64>, refused: u64| {
        let before = engine.reads();
        let see = |rows: &Rows<'_>| -> Result<u64, Stop<u64>> {
            match number(rows.get(b"count")?) {
                count if count == refused => Err(Stop::Refused(count)),
                count => Ok(count),
            }
        };
        let seen = ours.glance_under(b"p", stamp, see).await.unwrap().value;
        (seen, engine.reads() > before)
    };
    set(1).await;
    assert_eq!(glance(None, 0).await, (Ok(1), true));
    assert_eq!(glance(Some(5), 0).await, (Ok(1), true), "under no stamp");
    assert_eq!(glance(Some(5), 0).await, (Ok(1), false));
    assert_eq!(glance(Some(4), 0).await, (Ok(1), false), "an earlier one");
    assert_eq!(glance(None, 0).await, (Ok(1), true));
    set(2).await;
    assert_eq!(glance(Some(5), 0).await, (Ok(1), false));
    assert_eq!(glance(Some(6), 0).await, (Ok(2), true));
    set(3).await;
    assert_eq!(glance(Some(6), 2).await, (Ok(3), true), "no refusal unread");
    assert_eq!(glance(Some(6), 3).await, (Err(3), true));
    assert_eq!(
        glance(Some(6), 0).await,
        (Ok(3), false),
        "the refusal saw it"
    );
}
