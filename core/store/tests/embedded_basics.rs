//! The embedded engine as its callers see it: commits, reads, reopening,
//! events, the lock on its folder.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is wrong"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "the engine's own threads and disk are real here, and so is the time they take"
)]

use std::ops::Bound;
use std::path::Path;

use bytes::Bytes;
use futures::executor::block_on;
use lombard_store::embedded::{Embedded, EmbeddedOptions};
use lombard_store::{
    Changes, Direction, Engine, KeyspaceId, LocalEngine, PartitionId, Position, Row, RowRange,
    Rows, StoreError, Verdict, Version,
};

fn options() -> EmbeddedOptions {
    EmbeddedOptions {
        segment_bytes: 1 << 20,
        checkpoint_interval_ms: 0,
        disk_reserve_bytes: 0,
        cache_bytes: 8 << 20,
        ..EmbeddedOptions::default()
    }
}

fn open(folder: &Path, options: EmbeddedOptions) -> (Embedded, KeyspaceId) {
    let (engine, _) = Embedded::open(folder, options).unwrap();
    let keyspace = block_on(engine.keyspace("ledger")).unwrap();
    (engine, keyspace)
}

fn partition(keyspace: KeyspaceId, key: &str) -> PartitionId {
    PartitionId {
        keyspace,
        key: Bytes::copy_from_slice(key.as_bytes()),
    }
}

fn put(engine: &Embedded, id: &PartitionId, rows: &[(&str, &str)]) -> Position {
    engine
        .update(id.borrowed(), &mut |view| {
            for (key, value) in rows {
                view.put(key.as_bytes().to_vec(), value.as_bytes().to_vec());
            }
            Verdict::Commit(
                std::mem::replace(view, lombard_store::Rows::new(&Nothing)).into_changes(),
            )
        })
        .unwrap()
}

struct Nothing;

impl lombard_store::RowSource for Nothing {
    fn version(&self) -> Version {
        Version(0)
    }
    fn get(&self, _: &[u8]) -> Result<Option<Bytes>, lombard_store::Fault> {
        Ok(None)
    }
    fn range(&self, _: &RowRange) -> Result<Vec<Row>, lombard_store::Fault> {
        Ok(Vec::new())
    }
}

fn all(
    engine: &Embedded,
    id: &PartitionId,
    direction: Direction,
) -> (Version, Vec<(String, String)>) {
    let mut seen = (Version(0), Vec::new());
    LocalEngine::read(engine, id.borrowed(), &mut |rows| {
        let range = RowRange {
            from: Bound::Unbounded,
            to: Bound::Unbounded,
            direction,
            limit: usize::MAX,
        };
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let found = rows.range(&range).unwrap();
        seen = (
            rows.version(),
            found
                .iter()
                .map(|(key, value)| (text(key), text(value)))
                .collect(),
        );
    })
    .unwrap();
    seen
}

fn figure(engine: &Embedded, name: &str) -> u64 {
    let figures = engine.info().figures;
    let (_, value) = figures.iter().find(|(found, _)| found == name).unwrap();
    value.parse().unwrap()
}

fn pairs(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter()
        .map(|(key, value)| ((*key).into(), (*value).into()))
        .collect()
}

#[test]
fn what_was_committed_is_read_at_once_and_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    {
        let (engine, keyspace) = open(folder.path(), options());
        let id = partition(keyspace, "alice");
        put(&engine, &id, &[("a", "1"), ("b", "2")]);
        let last = put(&engine, &id, &[("b", "3"), ("c", "4")]);
        assert_eq!(
            all(&engine, &id, Direction::Ascending),
            (Version(2), pairs(&[("a", "1"), ("b", "3"), ("c", "4")]))
        );
        block_on(engine.durable(last)).unwrap();
    }
    let (engine, report) = Embedded::open(folder.path(), options()).unwrap();
    assert_eq!(report.replayed_records, 2);
    assert_eq!(report.torn_tail, None);
    let keyspace = block_on(engine.keyspace("ledger")).unwrap();
    assert_eq!(
        all(
            &engine,
            &partition(keyspace, "alice"),
            Direction::Descending
        ),
        (Version(2), pairs(&[("c", "4"), ("b", "3"), ("a", "1")]))
    );
}

#[test]
fn a_second_process_is_refused_with_the_holder_named() {
    let folder = tempfile::tempdir().unwrap();
    let (_engine, _) = open(folder.path(), options());
    let error = Embedded::open(folder.path(), options()).unwrap_err();
    let StoreError::Unavailable(why) = error else {
        panic!("{error}")
    };
    assert!(why.contains("in use by another process"), "{why}");
    assert!(why.contains(&std::process::id().to_string()), "{why}");
}

#[test]
fn rows_are_the_same_from_memory_from_the_index_and_from_both() {
    let folder = tempfile::tempdir().unwrap();
    // A checkpoint after nearly every commit, values inline and in the log.
    let small = EmbeddedOptions {
        checkpoint_bytes: 2_000,
        inline_bytes_max: 8,
        ..options()
    };
    let mut model = std::collections::BTreeMap::new();
    for round in 0..5u32 {
        let (engine, keyspace) = open(folder.path(), small.clone());
        let id = partition(keyspace, "p");
        for step in 0..200u32 {
            let number = (round * 200 + step).wrapping_mul(2_654_435_761) % 97;
            let key = format!("row{number:03}");
            let mut changes = Changes::default();
            if step % 5 == 4 {
                model.remove(&key);
                changes
                    .rows
                    .insert(key.into(), lombard_store::Change::Delete);
            } else {
                let value = format!("{round}-{step}-{}", "x".repeat((step % 40) as usize));
                model.insert(key.clone(), value.clone());
                changes
                    .rows
                    .insert(key.into(), lombard_store::Change::Put(value.into()));
            }
            let (version, _) = all(&engine, &id, Direction::Ascending);
            block_on(engine.commit(&id, version, changes))
                .unwrap()
                .unwrap();
            if step % 20 == 0 {
                let expected: Vec<_> = model.clone().into_iter().collect();
                assert_eq!(all(&engine, &id, Direction::Ascending).1, expected);
            }
        }
        let expected: Vec<_> = model.clone().into_iter().rev().collect();
        assert_eq!(all(&engine, &id, Direction::Descending).1, expected);
        // What is behind a checkpoint now stands in the index alone.
        while figure(&engine, "checkpoints") == 0 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let expected: Vec<_> = model.clone().into_iter().collect();
        assert_eq!(all(&engine, &id, Direction::Ascending).1, expected);
    }
}

#[test]
fn a_wrong_version_is_a_conflict_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, keyspace) = open(folder.path(), options());
    let id = partition(keyspace, "p");
    put(&engine, &id, &[("a", "1")]);
    let mut changes = Changes::default();
    changes.rows.insert(
        Bytes::from_static(b"a"),
        lombard_store::Change::Put(Bytes::from_static(b"2")),
    );
    assert_eq!(
        block_on(engine.commit(&id, Version(0), changes)).unwrap(),
        None
    );
    assert_eq!(
        all(&engine, &id, Direction::Ascending),
        (Version(1), pairs(&[("a", "1")]))
    );
}

#[test]
fn events_come_in_order_across_segments_and_page_by_page() {
    let folder = tempfile::tempdir().unwrap();
    let small = EmbeddedOptions {
        segment_bytes: 64 << 10,
        ..options()
    };
    let (engine, keyspace) = open(folder.path(), small);
    let other = block_on(engine.keyspace("other")).unwrap();
    for number in 0..2_000u32 {
        let home = if number % 3 == 0 { other } else { keyspace };
        let id = partition(home, &format!("p{}", number % 7));
        let mut changes = Changes::default();
        changes.rows.insert(
            Bytes::copy_from_slice(&number.to_be_bytes()),
            lombard_store::Change::Event(Bytes::from(vec![7; 100])),
        );
        let version = block_on(Engine::read(&engine, &id, &[])).unwrap().version;
        block_on(engine.commit(&id, version, changes))
            .unwrap()
            .unwrap();
    }
    block_on(engine.durable(engine.position())).unwrap();
    let mut after = Position(0);
    let mut numbers = Vec::new();
    loop {
        let page = block_on(engine.events(keyspace, after, 100)).unwrap();
        numbers.extend(
            page.events
                .iter()
                .map(|event| u32::from_be_bytes(event.key.as_ref().try_into().unwrap())),
        );
        assert!(page.next > after || !page.more);
        after = page.next;
        if !page.more {
            break;
        }
    }
    let expected: Vec<u32> = (0..2_000).filter(|number| number % 3 != 0).collect();
    assert_eq!(numbers, expected);
    assert!(
        block_on(engine.events(keyspace, after, 100))
            .unwrap()
            .events
            .is_empty()
    );
}

#[test]
fn partitions_are_listed_in_order_from_memory_and_index() {
    let folder = tempfile::tempdir().unwrap();
    let small = EmbeddedOptions {
        checkpoint_bytes: 4_000,
        ..options()
    };
    let (engine, keyspace) = open(folder.path(), small);
    let mut expected = Vec::new();
    for number in 0..300u32 {
        let name = format!("p{:04}", number.wrapping_mul(2_654_435_761) % 10_000);
        put(&engine, &partition(keyspace, &name), &[("a", "1")]);
        expected.push(name);
    }
    // Only read, never committed to: it does not exist.
    all(
        &engine,
        &partition(keyspace, "p-none"),
        Direction::Ascending,
    );
    expected.sort();
    let mut listed: Vec<String> = Vec::new();
    loop {
        let after = listed.last().cloned();
        let page =
            block_on(engine.partitions(keyspace, after.as_deref().map(str::as_bytes), 37)).unwrap();
        if page.is_empty() {
            break;
        }
        listed.extend(
            page.iter()
                .map(|key| String::from_utf8(key.to_vec()).unwrap()),
        );
    }
    assert_eq!(listed, expected);
}

#[test]
fn what_a_function_kept_is_found_by_the_next_one_until_the_rows_change() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, _) = Embedded::open(folder.path(), EmbeddedOptions::default()).unwrap();
    let keyspace = block_on(engine.keyspace("k")).unwrap();
    let id = PartitionId {
        keyspace,
        key: Bytes::from_static(b"p"),
    };
    let kept = |engine: &Embedded| {
        let mut found = None;
        LocalEngine::read(engine, id.borrowed(), &mut |rows| {
            found = rows.kept::<u32>().copied()
        })
        .unwrap();
        found
    };
    let update = |engine: &Embedded, run: &mut dyn FnMut(&mut Rows<'_>) -> bool| {
        LocalEngine::update(engine, id.borrowed(), &mut |rows| {
            if run(rows) {
                Verdict::Commit(rows.take_changes())
            } else {
                Verdict::Leave
            }
        })
        .unwrap();
    };
    update(&engine, &mut |rows| {
        rows.put("a", "1");
        rows.keep(Box::new(1_u32));
        true
    });
    assert_eq!(kept(&engine), Some(1));
    assert_eq!(kept(&engine), Some(1), "a reader leaves it");
    // A refusal that changed nothing leaves it; one that did takes what it kept with it.
    update(&engine, &mut |_| false);
    assert_eq!(kept(&engine), Some(1));
    update(&engine, &mut |rows| {
        rows.put("a", "2");
        rows.keep(Box::new(2_u32));
        false
    });
    assert_eq!(kept(&engine), None);
    // A change after it voids it, also a change that is taken back.
    update(&engine, &mut |rows| {
        rows.keep(Box::new(3_u32));
        rows.put("a", "3");
        true
    });
    assert_eq!(kept(&engine), None);
    update(&engine, &mut |rows| {
        let before = rows.savepoint();
        rows.put("a", "4");
        rows.keep(Box::new(4_u32));
        rows.roll_back(before);
        true
    });
    assert_eq!(kept(&engine), None);
    // Taken out to be changed, as another type it stays.
    update(&engine, &mut |rows| {
        rows.put("a", "5");
        rows.keep(Box::new(5_u32));
        assert!(rows.take_kept::<u64>().is_none());
        let kept = rows.take_kept::<u32>().unwrap();
        rows.put("b", "5");
        rows.keep(kept);
        true
    });
    assert_eq!(kept(&engine), Some(5));
    // A commit past the functions voids it.
    let version = block_on(Engine::read(&engine, &id, &[])).unwrap().version;
    let changes = Changes {
        rows: [("a".into(), lombard_store::Change::Delete)].into(),
    };
    block_on(engine.commit(&id, version, changes)).unwrap();
    assert_eq!(kept(&engine), None);
}
