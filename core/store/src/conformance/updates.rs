//! Checks of `update` and `read`, as services use them.
#![expect(
    clippy::disallowed_methods,
    reason = "a check waits for the tasks that it spawns, and their panics are its own"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::future::join_all;

use super::{Subject, bytes_of, contents, keyspace, number, partition, store};
use crate::error::Stop;
use crate::port::{Engine, Position};
use crate::rows::Rows;
use crate::store::{Keyspace, Sequenced};

/// Adds one, and gives what it is then.
async fn increment(keyspace: &Keyspace, partition: &[u8], row: &'static [u8]) -> u64 {
    let rule = |rows: &mut Rows<'_>| -> Result<u64, Stop<()>> {
        let count = number(rows.get(row)?) + 1;
        rows.put(row, bytes_of(count));
        Ok(count)
    };
    let sequenced = keyspace.update(partition, rule).await.unwrap();
    sequenced.durable(keyspace).await.unwrap().unwrap()
}

async fn read_number(keyspace: &Keyspace, partition: &[u8], row: &[u8]) -> u64 {
    let look = |rows: &Rows<'_>| -> Result<u64, Stop<()>> { Ok(number(rows.get(row)?)) };
    let sequenced = keyspace.read(partition, look).await.unwrap();
    sequenced.durable(keyspace).await.unwrap().unwrap()
}

/// Within a function and after it, what it wrote is what is read.
pub async fn reads_own_writes(subject: &dyn Subject) {
    let engine = subject.open().await;
    let keyspace = keyspace(&engine).await;
    let rule = |rows: &mut Rows<'_>| -> Result<Vec<Option<Bytes>>, Stop<()>> {
        let mut seen = vec![rows.get(b"a")?];
        rows.put(&b"a"[..], &b"1"[..]);
        seen.push(rows.get(b"a")?);
        let before = rows.savepoint();
        rows.put(&b"a"[..], &b"2"[..]);
        rows.put(&b"b"[..], &b"2"[..]);
        rows.roll_back(before);
        seen.push(rows.get(b"a")?);
        seen.push(rows.get(b"b")?);
        rows.append(&b"e"[..], &b"event"[..]);
        seen.push(rows.get(b"e")?);
        rows.delete(&b"a"[..]);
        seen.push(rows.get(b"a")?);
        rows.put(&b"c"[..], &b"3"[..]);
        Ok(seen)
    };
    let sequenced = keyspace.update(b"p", rule).await.unwrap();
    let seen = sequenced.durable(&keyspace).await.unwrap().unwrap();
    let text = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let expected = vec![None, text("1"), text("1"), None, text("event"), None];
    assert_eq!(seen, expected);
    let look = |rows: &Rows<'_>| -> Result<_, Stop<()>> {
        Ok((rows.version().0, rows.get(b"a")?, rows.get(b"c")?))
    };
    let found = keyspace.read(b"p", look).await.unwrap().value.unwrap();
    assert_eq!(found, (1, None, text("3")));
    let absent = |rows: &Rows<'_>| -> Result<_, Stop<()>> { Ok(rows.version().0) };
    let absent = keyspace.read(b"absent", absent).await.unwrap();
    assert_eq!(absent.value, Ok(0));
}

/// What a function finds that another one kept is what it would find in the rows: while
/// some keep it, some change the rows without it, and some refuse after a change.
pub async fn kept_forms_follow_from_the_rows(subject: &dyn Subject) {
    let engine = subject.open().await;
    let keyspace = keyspace(&engine).await;
    for step in 0..120_u64 {
        let partition = [b'a' + (step % 3) as u8];
        let rule = |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
            let in_rows = number(rows.get(b"count")?);
            let kept = rows.take_kept::<u64>();
            if let Some(kept) = &kept {
                assert_eq!(**kept, in_rows, "step {step}");
            }
            let mut count = kept.unwrap_or_else(|| Box::new(in_rows));
            *count += 1;
            rows.put_new([&b"step"[..], &step.to_be_bytes()].concat(), bytes_of(step));
            rows.put(&b"count"[..], bytes_of(*count));
            match step % 5 {
                0 => {}
                1 => {
                    rows.keep(count);
                    return Err(Stop::Refused(()));
                }
                2 => {
                    rows.keep(count);
                    rows.put(&b"count"[..], bytes_of(100 + step));
                }
                _ => rows.keep(count),
            }
            Ok(())
        };
        let updated = keyspace.update(&partition, rule).await.unwrap();
        let look = |rows: &Rows<'_>| -> Result<_, Stop<()>> {
            let kept = rows.kept::<u64>().copied();
            let own = rows.get(&[&b"step"[..], &step.to_be_bytes()].concat())?;
            Ok((kept, number(rows.get(b"count")?), own))
        };
        let found = keyspace.read(&partition, look).await.unwrap();
        let (kept, count, own) = found.value.unwrap();
        assert!(kept.is_none_or(|kept| kept == count), "step {step}");
        let expected = updated.value.is_ok().then(|| bytes_of(step));
        assert_eq!(own, expected, "step {step}");
    }
}

/// A refusal, and an update that changes nothing, change nothing; and their answer
/// rests on durable state.
pub async fn refusals_change_nothing(subject: &dyn Subject) {
    let engine = subject.open().await;
    let keyspace = keyspace(&engine).await;
    let id = partition(engine.keyspace("check").await.unwrap(), b"p");
    let refuse = |rows: &mut Rows<'_>| -> Result<(), Stop<u64>> {
        let count = number(rows.get(b"count")?);
        rows.put(&b"count"[..], bytes_of(999));
        rows.append(&b"event"[..], &b"no"[..]);
        Err(Stop::Refused(count))
    };
    let refused = keyspace.update(b"p", refuse).await.unwrap();
    assert_eq!(refused.durable(&keyspace).await.unwrap(), Err(0));
    assert_eq!(contents(&engine, &id).await, (0, vec![]));

    let put = |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
        rows.put(&b"count"[..], bytes_of(7));
        Ok(())
    };
    let Sequenced { position, .. } = keyspace.update(b"p", put).await.unwrap();
    // Nobody has waited yet: the "no" must not be told before what it saw is durable.
    let refused = keyspace.update(b"p", refuse).await.unwrap();
    assert!(refused.position >= position);
    assert_eq!(refused.value, Err(7));
    let looked = |rows: &mut Rows<'_>| -> Result<u64, Stop<()>> { Ok(number(rows.get(b"count")?)) };
    let looked = keyspace.update(b"p", looked).await.unwrap();
    assert!(looked.position >= position);
    assert_eq!(looked.value, Ok(7));
    let read = |rows: &Rows<'_>| -> Result<u64, Stop<()>> { Ok(number(rows.get(b"count")?)) };
    let read = keyspace.read(b"p", read).await.unwrap();
    assert!(read.position >= position);
    assert_eq!(read.value, Ok(7));
    keyspace.durable(read.position).await.unwrap();
    assert_eq!(contents(&engine, &id).await.0, 1, "one commit only");
    let page = keyspace.events(Position(0), 10).await.unwrap();
    assert!(page.events.is_empty(), "a refused event is none");
}

/// The same operation twice, told apart by its marker row, happens once and gets
/// the first answer, whoever asks and in whatever order.
pub async fn idempotence_by_marker(subject: &dyn Subject) {
    const OPERATIONS: u64 = 50;
    let engine = subject.open().await;
    let keyspace = keyspace(&engine).await;
    let run = |id: u64| {
        let keyspace = keyspace.clone();
        async move {
            let rule = |rows: &mut Rows<'_>| -> Result<u64, Stop<()>> {
                let marker = [b"marker/", &id.to_be_bytes()[..]].concat();
                if let Some(first) = rows.get(&marker)? {
                    return Ok(number(Some(first)));
                }
                let count = number(rows.get(b"count")?) + 1;
                rows.put(&b"count"[..], bytes_of(count));
                rows.put(marker, bytes_of(count));
                Ok(count)
            };
            let sequenced = keyspace.update(b"p", rule).await.unwrap();
            sequenced.durable(&keyspace).await.unwrap().unwrap()
        }
    };
    let ids = (0..OPERATIONS).chain((0..OPERATIONS).rev());
    let first = join_all(ids.map(run)).await;
    let again = join_all((0..OPERATIONS).map(run)).await;
    for id in 0..OPERATIONS as usize {
        assert_eq!(first[id], again[id], "operation {id}");
        assert_eq!(first[id], first[2 * OPERATIONS as usize - 1 - id]);
    }
    assert_eq!(read_number(&keyspace, b"p", b"count").await, OPERATIONS);
}

/// Increments of one counter by many at once: none is lost, each has its own number.
pub async fn concurrent_updates(subject: &dyn Subject) {
    const TASKS: u64 = 16;
    const EACH: u64 = 50;
    let engine = subject.open().await;
    let keyspace = keyspace(&engine).await;
    let task = || {
        let keyspace = keyspace.clone();
        tokio::task::spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..EACH {
                seen.push(increment(&keyspace, b"hot", b"count").await);
            }
            seen
        })
    };
    let tasks: Vec<_> = (0..TASKS).map(|_| task()).collect();
    let mut all: Vec<u64> = Vec::new();
    for task in tasks {
        let seen = task.await.unwrap();
        assert!(seen.is_sorted(), "each caller sees time go forward");
        all.extend(seen);
    }
    all.sort_unstable();
    assert!(all.into_iter().eq(1..=TASKS * EACH), "each number once");
    let count = read_number(&keyspace, b"hot", b"count").await;
    assert_eq!(count, TASKS * EACH);
}

/// Many partitions at once do not disturb one another.
pub async fn concurrent_partitions(subject: &dyn Subject) {
    const PARTITIONS: u64 = 40;
    const EACH: u64 = 10;
    let engine = subject.open().await;
    let keyspace = keyspace(&engine).await;
    let task = |index: u64| {
        let keyspace = keyspace.clone();
        tokio::task::spawn(async move {
            for round in 1..=EACH {
                let key = index.to_be_bytes();
                assert_eq!(increment(&keyspace, &key, b"count").await, round);
            }
        })
    };
    let tasks: Vec<_> = (0..PARTITIONS).map(task).collect();
    for task in tasks {
        task.await.unwrap();
    }
    for index in 0..PARTITIONS {
        let key = index.to_be_bytes();
        assert_eq!(read_number(&keyspace, &key, b"count").await, EACH);
    }
}

/// A read sees one state: rows that always change together are always equal.
pub async fn consistent_reads(subject: &dyn Subject) {
    let engine = subject.open().await;
    let keyspace = keyspace(&engine).await;
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (keyspace, done) = (keyspace.clone(), done.clone());
        tokio::task::spawn(async move {
            for value in 1..=200_u64 {
                let rule = |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
                    rows.put(&b"left"[..], bytes_of(value));
                    rows.put(&b"right"[..], bytes_of(value));
                    Ok(())
                };
                let sequenced = keyspace.update(b"p", rule).await.unwrap();
                sequenced.durable(&keyspace).await.unwrap().unwrap();
            }
            done.store(true, Ordering::Release);
        })
    };
    let mut last = 0;
    while !done.load(Ordering::Acquire) {
        let look = |rows: &Rows<'_>| -> Result<_, Stop<()>> {
            Ok((number(rows.get(b"left")?), number(rows.get(b"right")?)))
        };
        let sequenced = keyspace.read(b"p", look).await.unwrap();
        let (left, right) = sequenced.durable(&keyspace).await.unwrap().unwrap();
        assert_eq!(left, right);
        assert!(left >= last, "reads go forward");
        last = left;
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    assert_eq!(read_number(&keyspace, b"p", b"left").await, 200);
}

/// Two stores (as of two processes) over one engine: nothing is lost between them.
pub async fn two_stores_on_one_engine(subject: &dyn Subject) {
    const EACH: u64 = 100;
    let engine: Arc<dyn Engine> = subject.open().await;
    let mut tasks = Vec::new();
    for instance in [1, 2] {
        let keyspace = store(&engine, instance).keyspace("check").await.unwrap();
        for _ in 0..4 {
            let keyspace = keyspace.clone();
            tasks.push(tokio::task::spawn(async move {
                for _ in 0..EACH {
                    increment(&keyspace, b"hot", b"count").await;
                }
            }));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    let keyspace = keyspace(&engine).await;
    assert_eq!(read_number(&keyspace, b"hot", b"count").await, 8 * EACH);
}
