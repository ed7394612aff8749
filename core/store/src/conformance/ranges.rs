//! Checks of ranges.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::{Subject, commit, keyspace, partition};
use crate::error::Stop;
use crate::port::Wanted;
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
