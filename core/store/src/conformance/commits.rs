//! Checks of reads and commits.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{
    Subject, changes, commit, contents, everything, keyspace, partition, row, rows, store,
};
use crate::error::{Stop, StoreError};
use crate::port::{Position, Version, Wanted};
use crate::rows::{Change, Changes, Direction, RowRange, Rows};

/// A commit is in as a whole, or not at all.
pub async fn atomicity(subject: &dyn Subject) {
    let engine = subject.open().await;
    let keyspace = engine.keyspace("check").await.unwrap();
    let p = partition(keyspace, b"p");
    let first = changes([("a", Some("1")), ("b", Some("2")), ("c", Some("3"))]);
    commit(&engine, &p, 0, first).await.unwrap();
    let second = changes([("a", None), ("b", Some("two")), ("d", Some("4"))]);
    commit(&engine, &p, 1, second).await.unwrap();
    let expected = rows([("b", "two"), ("c", "3"), ("d", "4")]);
    assert_eq!(contents(&engine, &p).await, (2, expected.clone()));

    let late = changes([("a", Some("x")), ("b", None), ("e", Some("x"))]);
    assert_eq!(commit(&engine, &p, 1, late).await, None, "a conflict");
    assert_eq!(contents(&engine, &p).await, (2, expected));

    // Found in the order of what was asked for, each on its own.
    let wanted = [row("d"), row("a"), everything(2), row("b")];
    let found = engine.read(&p, &wanted).await.unwrap().found;
    assert_eq!(
        found,
        vec![
            rows([("d", "4")]),
            vec![],
            rows([("b", "two"), ("c", "3")]),
            rows([("b", "two")]),
        ]
    );
}

/// A glance shows what was acknowledged before it, as one state: rows, and ranges with and
/// without rows.
pub async fn glances(subject: &dyn Subject) {
    let engine = subject.open().await;
    let keyspace = engine.keyspace("check").await.unwrap();
    let p = partition(keyspace, b"p");
    let nothing_behind = Wanted::Range(RowRange::prefix(b"z", Direction::Descending, 1));
    let last = Wanted::Range(RowRange::prefix(b"r", Direction::Descending, 1));
    let all = [row("n"), row("z"), last, nothing_behind, everything(9)];
    let before = engine.glance(&p, &all).await.unwrap();
    assert_eq!(before.version, Version(0));
    assert_eq!(before.found, vec![vec![]; 5]);
    for version in 1..=30_u64 {
        let number = version.to_string();
        let name = format!("r{version:02}");
        let more = changes([("n", Some(&number)), (&name, Some(&number))]);
        let position = commit(&engine, &p, version - 1, more).await.unwrap();
        for wanted in [&all[..], &all[..3], &all[..1], &all[2..3], &[]] {
            let seen = engine.glance(&p, wanted).await.unwrap();
            assert_eq!(seen, engine.read(&p, wanted).await.unwrap());
            assert_eq!((seen.version, seen.position), (Version(version), position));
        }
        let seen = engine.glance(&p, &all).await.unwrap().found;
        assert_eq!(seen[0], rows([("n", &number)]));
        assert_eq!(seen[2], rows([(&name, &number)]));
        assert!(seen[1].is_empty() && seen[3].is_empty() && !seen[4].is_empty());
    }
}

/// Versions are 0, 1, 2 …; a commit against another version changes nothing.
pub async fn versions(subject: &dyn Subject) {
    let engine = subject.open().await;
    let keyspace = engine.keyspace("check").await.unwrap();
    let p = partition(keyspace, b"p");
    let absent = engine.read(&p, &[row("a")]).await.unwrap();
    assert_eq!(absent.version, Version(0));
    assert_eq!(absent.found, vec![vec![]]);
    for version in 0..20_u64 {
        for wrong in [version + 1, version + 2, u64::MAX - 1] {
            let changes = changes([("a", Some("wrong"))]);
            let committed = engine.commit(&p, Version(wrong), changes).await.unwrap();
            assert_eq!(committed, None, "{wrong} expected at {version}");
        }
        if version > 0 {
            let changes = changes([("a", Some("wrong"))]);
            let committed = engine.commit(&p, Version(version - 1), changes).await;
            assert_eq!(committed.unwrap(), None, "the version before {version}");
        }
        let value = version.to_string();
        commit(&engine, &p, version, changes([("a", Some(&value))]))
            .await
            .unwrap();
        let is = contents(&engine, &p).await;
        assert_eq!(is, (version + 1, rows([("a", &value)])));
    }
    // A commit that changes a partition back to nothing is still one.
    commit(&engine, &p, 20, changes([("a", None)]))
        .await
        .unwrap();
    assert_eq!(contents(&engine, &p).await, (21, vec![]));
}

/// Later commits have greater positions, over all partitions; what a read rests
/// on is at or behind the commit that it saw.
pub async fn ordering(subject: &dyn Subject) {
    let engine = subject.open().await;
    let keyspace = engine.keyspace("check").await.unwrap();
    let mut last = Position(0);
    for version in 0..10 {
        for key in [b"p", b"q"] {
            let p = partition(keyspace, key);
            let changes = changes([("a", Some("1"))]);
            let committed = engine.commit(&p, Version(version), changes).await;
            let position = committed.unwrap().unwrap();
            assert!(position > last, "{position:?} came after {last:?}");
            assert!(engine.position() >= position);
            let snapshot = engine.read(&p, &[]).await.unwrap();
            assert!(snapshot.position >= position);
            last = position;
        }
    }
    engine.durable(last).await.unwrap();
    engine.durable(Position(0)).await.unwrap();
    engine.durable(last).await.unwrap();
}

/// Equal keys in two keyspaces are two partitions; keys that begin alike are not one.
pub async fn isolation_of_keyspaces(subject: &dyn Subject) {
    let engine = subject.open().await;
    let one = engine.keyspace("one").await.unwrap();
    let two = engine.keyspace("two_2").await.unwrap();
    assert_ne!(one, two);
    assert_eq!(engine.keyspace("one").await.unwrap(), one, "opened twice");
    for name in ["", "One", "a-b", "ä", &"x".repeat(33)] {
        let refused = engine.keyspace(name).await;
        assert!(
            matches!(refused, Err(StoreError::LimitExceeded(_))),
            "{name:?}: {refused:?}"
        );
    }
    let keys: [&[u8]; 5] = [b"p", b"pa", b"p\x00", b"p\xff", b"\x00p"];
    for (index, key) in keys.iter().enumerate() {
        for (name, id) in [("one", one), ("two", two)] {
            let value = format!("{name} {index}");
            let changes = changes([("a", Some(&value)), (&value, Some("own"))]);
            commit(&engine, &partition(id, key), 0, changes)
                .await
                .unwrap();
        }
    }
    for (index, key) in keys.iter().enumerate() {
        for (name, id) in [("one", one), ("two", two)] {
            let value = format!("{name} {index}");
            let is = contents(&engine, &partition(id, key)).await;
            assert_eq!(is, (1, rows([("a", &value), (&value, "own")])));
        }
    }
    for id in [one, two] {
        let listed = engine.partitions(id, None, 100).await.unwrap();
        let listed: BTreeSet<Bytes> = listed.into_iter().collect();
        let expected = keys.iter().map(|key| Bytes::copy_from_slice(key));
        assert_eq!(listed, expected.collect());
    }
    let three = engine.keyspace("three").await.unwrap();
    assert!(
        engine
            .partitions(three, None, 100)
            .await
            .unwrap()
            .is_empty()
    );
}

/// Keys and values are bytes of any kind and length within the limits, and sort as bytes.
pub async fn keys_of_any_bytes(subject: &dyn Subject) {
    let engine = subject.open().await;
    let keyspace = engine.keyspace("check").await.unwrap();
    let p = partition(keyspace, &[0xff; crate::limits::PARTITION_KEY_BYTES_MAX]);
    let longest = [0x7f; crate::limits::ROW_KEY_BYTES_MAX];
    let keys: [&[u8]; 9] = [
        b"\x00",
        b"\x00\x00",
        b"\x00\x01",
        b"\x01",
        b"a",
        b"a\x00",
        &longest,
        b"\xfe\xff",
        b"\xff\xfe\xff",
    ];
    let mut expected = Vec::new();
    let mut written = Changes::default();
    for (index, key) in keys.iter().enumerate() {
        let key = Bytes::copy_from_slice(key);
        let value = Bytes::from(vec![0xa5_u8; index]);
        written.rows.insert(key.clone(), Change::Put(value.clone()));
        expected.push((key, value));
    }
    expected.sort();
    commit(&engine, &p, 0, written).await.unwrap();
    assert_eq!(contents(&engine, &p).await, (1, expected.clone()));
    for (key, value) in expected {
        let wanted = crate::port::Wanted::Row(key.clone());
        let found = engine.read(&p, &[wanted]).await.unwrap().found;
        assert_eq!(found, vec![vec![(key, value)]]);
    }
}

/// Ten thousand partitions (or [`Subject::partitions_many`]) are all there, and listed page
/// by page, each once.
pub async fn many_partitions(subject: &dyn Subject) {
    let partitions = subject.partitions_many();
    let engine = subject.open().await;
    let keyspace = keyspace(&engine).await;
    let mut last = Position(0);
    for index in 0..partitions {
        // Scattered, so that the order of listing is not the order of writing.
        let key = index.wrapping_mul(2_654_435_761).to_be_bytes();
        let put = |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
            rows.put(&b"index"[..], index.to_be_bytes().to_vec());
            Ok(())
        };
        last = keyspace.update(&key, put).await.unwrap().position.max(last);
    }
    keyspace.durable(last).await.unwrap();
    let mut listed = Vec::new();
    loop {
        let after = listed.last().map(|key: &Bytes| key.to_vec());
        let page = keyspace.partitions(after.as_deref(), 777).await.unwrap();
        assert!(page.len() <= 777);
        if page.is_empty() {
            break;
        }
        listed.extend(page);
    }
    let distinct: BTreeSet<&Bytes> = listed.iter().collect();
    assert_eq!(listed.len(), partitions as usize);
    assert_eq!(distinct.len(), partitions as usize);
    for index in (0..partitions).step_by(997) {
        let key = index.wrapping_mul(2_654_435_761).to_be_bytes();
        let look = |rows: &Rows<'_>| -> Result<_, Stop<()>> { Ok(rows.get(b"index")?) };
        let found = keyspace.read(&key, look).await.unwrap().value.unwrap();
        assert_eq!(found.as_deref(), Some(&index.to_be_bytes()[..]));
    }
}

/// Opened again, everything durable is there, and goes on where it stood.
pub async fn reopening(subject: &dyn Subject) {
    let mut keyspaces = Vec::new();
    for round in 0..4_u64 {
        let engine = subject.open().await;
        for (index, name) in ["one", "two"].into_iter().enumerate() {
            let keyspace = engine.keyspace(name).await.unwrap();
            if round == 0 {
                keyspaces.push(keyspace);
            }
            assert_eq!(keyspaces[index], keyspace, "{name} keeps its number");
            let p = partition(keyspace, b"p");
            let value = format!("{name} {round}");
            let (version, rows) = contents(&engine, &p).await;
            assert_eq!(version, round * 2);
            assert_eq!(rows.len() as u64, if round == 0 { 0 } else { round + 1 });
            let key = format!("row {round}");
            let put = changes([(&key, Some(&value)), ("last", Some(&value))]);
            commit(&engine, &p, round * 2, put).await.unwrap();
            let gone = changes([("gone", None)]);
            commit(&engine, &p, round * 2 + 1, gone).await.unwrap();
        }
        let behind = engine.position();
        engine.durable(behind).await.unwrap();
        subject.close(engine).await;
    }
    // What only a store's own update wrote is there too.
    let engine = subject.open().await;
    let one = store(&engine, 1).keyspace("one").await.unwrap();
    let look = |rows: &Rows<'_>| -> Result<_, Stop<()>> { Ok(rows.get(b"last")?) };
    let last = one.read(b"p", look).await.unwrap().value.unwrap();
    assert_eq!(last.as_deref(), Some(&b"one 3"[..]));
}
