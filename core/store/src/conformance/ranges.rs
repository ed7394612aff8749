//! Checks of ranges.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{Subject, commit, keyspace, partition};
use crate::error::Stop;
use crate::port::{Engine, PartitionId, Wanted};
use crate::rows::{Change, Changes, Direction, Row, RowRange, Rows};

const LIMITS: [usize; 5] = [1, 2, 3, 7, usize::MAX];

/// The answer that the rules of [`RowRange`] give.
fn expected(rows: &BTreeMap<Bytes, Bytes>, range: &RowRange) -> Vec<Row> {
    let own = |(key, value): (&Bytes, &Bytes)| (key.clone(), value.clone());
    let within = rows.iter().filter(|(key, _)| range.contains(key));
    match range.direction {
        Direction::Ascending => within.map(own).take(range.limit).collect(),
        Direction::Descending => within.rev().map(own).take(range.limit).collect(),
    }
}

/// Ranges between all kinds of bounds over a few keys, crossed ones among them.
fn all_ranges() -> Vec<RowRange> {
    let mut bounds = vec![Bound::Unbounded];
    for key in ["a", "b", "b5", "d", "f", "zz"] {
        let key = Bytes::copy_from_slice(key.as_bytes());
        bounds.push(Bound::Included(key.clone()));
        bounds.push(Bound::Excluded(key));
    }
    let mut ranges = Vec::new();
    for from in &bounds {
        for to in &bounds {
            for direction in [Direction::Ascending, Direction::Descending] {
                for limit in LIMITS {
                    ranges.push(RowRange {
                        from: from.clone(),
                        to: to.clone(),
                        direction,
                        limit,
                    });
                }
            }
        }
    }
    ranges
}

fn model(keys: &[&str], value: &str) -> BTreeMap<Bytes, Bytes> {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    keys.iter().map(|key| (bytes(key), bytes(value))).collect()
}

fn puts(rows: &BTreeMap<Bytes, Bytes>) -> Changes {
    let put = |(key, value): (&Bytes, &Bytes)| (key.clone(), Change::Put(value.clone()));
    Changes {
        rows: rows.iter().map(put).collect(),
    }
}

/// Ranges in both directions, with every kind of bound and limit.
pub async fn ranges(subject: &dyn Subject) {
    let engine = subject.open().await;
    let keyspace = engine.keyspace("check").await.unwrap();
    let rows = model(&["a", "b", "c", "d", "e", "f"], "1");
    let p = partition(keyspace, b"p");
    commit(&engine, &p, 0, puts(&rows)).await.unwrap();
    // Neighbours must not leak in.
    let other = puts(&model(&["a", "bb", "g"], "other"));
    for key in [b"o", b"q"] {
        let neighbour = partition(keyspace, key);
        commit(&engine, &neighbour, 0, other.clone()).await.unwrap();
    }
    let ranges = all_ranges();
    for some in ranges.chunks(50) {
        let wanted: Vec<Wanted> = some.iter().cloned().map(Wanted::Range).collect();
        let snapshot = engine.read(&p, &wanted).await.unwrap();
        for (range, found) in some.iter().zip(snapshot.found) {
            assert_eq!(found, expected(&rows, range), "{range:?}");
        }
    }
    let absent = partition(keyspace, b"absent");
    let everything = RowRange::prefix(b"", Direction::Descending, 9);
    let found = engine.read(&absent, &[Wanted::Range(everything)]).await;
    assert_eq!(found.unwrap().found, vec![Vec::<Row>::new()]);
}

/// A function finds its own changes in ranges, over what is committed.
pub async fn ranges_over_own_changes(subject: &dyn Subject) {
    let engine = subject.open().await;
    let keyspace = keyspace(&engine).await;
    let base = model(&["a", "b", "c", "d", "e", "f"], "1");
    let write = |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
        for (key, value) in &base {
            rows.put(key.clone(), value.clone());
        }
        Ok(())
    };
    keyspace
        .update(b"p", write)
        .await
        .unwrap()
        .durable(&keyspace)
        .await
        .unwrap()
        .unwrap();

    let mut after = base.clone();
    for key in ["a", "c", "d", "f"] {
        after.remove(key.as_bytes());
    }
    after.extend(model(&["b", "bb", "zz"], "2"));
    let change = |rows: &mut Rows<'_>| -> Result<Vec<Vec<Row>>, Stop<()>> {
        for key in ["a", "c", "d", "f"] {
            rows.delete(key.as_bytes().to_vec());
        }
        for key in ["b", "bb", "zz"] {
            rows.put(key.as_bytes().to_vec(), &b"2"[..]);
        }
        let ranges = all_ranges();
        Ok(ranges
            .iter()
            .map(|range| rows.range(range))
            .collect::<Result<_, _>>()?)
    };
    let sequenced = keyspace.update(b"p", change).await.unwrap();
    let found = sequenced.durable(&keyspace).await.unwrap().unwrap();
    for (range, found) in all_ranges().iter().zip(found) {
        assert_eq!(found, expected(&after, range), "{range:?}");
    }
    let look = |rows: &Rows<'_>| -> Result<Vec<Vec<Row>>, Stop<()>> {
        let ranges = all_ranges();
        Ok(ranges
            .iter()
            .map(|range| rows.range(range))
            .collect::<Result<_, _>>()?)
    };
    let found = keyspace.read(b"p", look).await.unwrap().value.unwrap();
    for (range, found) in all_ranges().iter().zip(found) {
        assert_eq!(found, expected(&after, range), "{range:?}");
    }
}

const LAST_ROWS_PARTITIONS: u8 = 6;
const LAST_ROWS_STEPS: u32 = 60;

/// The last row of a kind is the greatest one, whatever was added, replaced and removed,
/// in commits with events and without, and after a reopening.
pub async fn last_rows(subject: &dyn Subject) {
    let mut dice = SmallRng::seed_from_u64(7);
    let mut models = vec![BTreeMap::<Bytes, Bytes>::new(); usize::from(LAST_ROWS_PARTITIONS)];
    for reopening in 0..4_u64 {
        let engine = subject.open().await;
        let keyspace = engine.keyspace("check").await.unwrap();
        for step in 0..u64::from(LAST_ROWS_STEPS) {
            for number in 0..LAST_ROWS_PARTITIONS {
                let model = &mut models[usize::from(number)];
                let p = partition(keyspace, &[number]);
                let changed = any_changes(&mut dice, model);
                let version = reopening * u64::from(LAST_ROWS_STEPS) + step;
                commit(&engine, &p, version, changed.clone()).await.unwrap();
                for (key, change) in changed.rows {
                    match change.value() {
                        Some(value) => model.insert(key, value.clone()),
                        None => model.remove(&key),
                    };
                }
                assert_last(&engine, &p, model).await;
            }
        }
        subject.close(engine).await;
    }
    let engine = subject.open().await;
    let keyspace = engine.keyspace("check").await.unwrap();
    for (number, model) in (0..LAST_ROWS_PARTITIONS).zip(&models) {
        assert_last(&engine, &partition(keyspace, &[number]), model).await;
    }
}

/// New rows, most of them greater than those before, as events and not; sometimes one goes.
fn any_changes(dice: &mut SmallRng, model: &BTreeMap<Bytes, Bytes>) -> Changes {
    let mut rows = BTreeMap::new();
    for _ in 0..dice.random_range(1..4) {
        let place = if dice.random_bool(0.9) {
            model.len() as u32 + dice.random_range(0..3)
        } else {
            dice.random_range(0..300)
        };
        let kind = [b'i', b'j', b'k'][dice.random_range(0..3)];
        let key = Bytes::from([&[kind][..], &place.to_be_bytes()].concat());
        let value = Bytes::from(vec![kind; 60]);
        let change = match dice.random_range(0..40) {
            0 => Change::Delete,
            // An event is written once.
            1..30 if kind == b'j' && !model.contains_key(&key) => Change::Event(value),
            _ => Change::Put(value),
        };
        rows.insert(key, change);
    }
    Changes { rows }
}

async fn assert_last(engine: &Arc<dyn Engine>, p: &PartitionId, model: &BTreeMap<Bytes, Bytes>) {
    let kinds = [&b"i"[..], b"j", b"k", b""];
    let mut ranges: Vec<RowRange> = kinds
        .into_iter()
        .map(|kind| RowRange::prefix(kind, Direction::Descending, 1))
        .collect();
    ranges.push(RowRange {
        from: Bound::Unbounded,
        to: Bound::Included(Bytes::from_static(b"j\xff")),
        direction: Direction::Descending,
        limit: 1,
    });
    let wanted: Vec<Wanted> = ranges.iter().cloned().map(Wanted::Range).collect();
    let found = engine.read(p, &wanted).await.unwrap().found;
    for (range, found) in ranges.iter().zip(found) {
        assert_eq!(found, expected(model, range), "{p:?} {range:?}");
    }
}
