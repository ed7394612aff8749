//! Checks of what followers see.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Subject, bytes_of, keyspace, number, store};
use crate::error::Stop;
use crate::port::{EventRow, Position};
use crate::rows::Rows;
use crate::store::Keyspace;

/// Appends `events` numbered events to the partition, with other changes around them.
async fn append(keyspace: &Keyspace, partition: &[u8], events: u64) -> Position {
    let rule = |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
        let last = number(rows.get(b"number")?);
        for next in last + 1..=last + events {
            let key = [b"event/", &next.to_be_bytes()[..]].concat();
            rows.append(key, format!("event {next}"));
        }
        rows.put(&b"number"[..], bytes_of(last + events));
        rows.delete(&b"nothing"[..]);
        Ok(())
    };
    keyspace.update(partition, rule).await.unwrap().position
}

/// Follows from a position to the end, in pages.
async fn follow(keyspace: &Keyspace, mut after: Position, limit: usize) -> Vec<EventRow> {
    let mut events = Vec::new();
    loop {
        let page = keyspace.events(after, limit).await.unwrap();
        assert!(page.next >= after, "following goes forward");
        for event in &page.events {
            assert!(event.position > after, "behind the position asked for");
            assert!(event.position <= page.next);
        }
        // A commit's events are never parted: more come than asked for only in one commit.
        if page.events.len() > limit {
            let first = page.events[0].position;
            assert!(page.events.iter().all(|event| event.position == first));
        }
        let moved = page.next > after;
        after = page.next;
        events.extend(page.events);
        if !page.more {
            return events;
        }
        assert!(moved, "more is promised, so the place moves");
    }
}

/// Checks that each partition's events are 1, 2, 3 …, and gives how many there are.
fn count_without_gap(events: &[EventRow]) -> BTreeMap<Bytes, u64> {
    let mut counts: BTreeMap<Bytes, u64> = BTreeMap::new();
    let mut last = Position(0);
    for event in events {
        assert!(event.position >= last, "in the order of commits");
        last = event.position;
        let count = counts.entry(event.partition.key.clone()).or_default();
        *count += 1;
        let key = [b"event/", &count.to_be_bytes()[..]].concat();
        assert_eq!(event.key, key, "no gap, none twice");
        assert_eq!(event.value, format!("event {count}"));
    }
    counts
}

/// Events come in commit order, whole commits, without a gap, whatever the page.
pub async fn events_in_order(subject: &dyn Subject) {
    let engine = subject.open().await;
    let keyspace = keyspace(&engine).await;
    assert!(follow(&keyspace, Position(0), 10).await.is_empty());
    let mut last = Position(0);
    for round in 0..20 {
        for (index, key) in [b"p", b"q", b"r"].into_iter().enumerate() {
            // Some commits have no event at all.
            last = append(&keyspace, key, (round + index as u64) % 4).await;
        }
    }
    keyspace.durable(last).await.unwrap();
    let all = follow(&keyspace, Position(0), 10_000).await;
    let counts = count_without_gap(&all);
    assert_eq!(counts.values().sum::<u64>(), 90);
    for limit in [1, 2, 7] {
        let paged = follow(&keyspace, Position(0), limit).await;
        assert_eq!(count_without_gap(&paged), counts);
        assert_eq!(paged.len(), all.len());
    }
    // From any event on, the rest follows.
    for index in [0, 10, 50] {
        let after = all[index].position;
        let rest = all.iter().filter(|event| event.position > after).count();
        assert_eq!(follow(&keyspace, after, 5).await.len(), rest);
    }
    // At the end there is nothing, until something happens.
    let end = keyspace.events(last, 10).await.unwrap();
    assert!(end.events.is_empty() && !end.more);
    let next = append(&keyspace, b"p", 1).await;
    keyspace.durable(next).await.unwrap();
    assert_eq!(follow(&keyspace, end.next, 10).await.len(), 1);
    // An event is a row, too.
    let look = |rows: &Rows<'_>| -> Result<_, Stop<()>> {
        Ok(rows.get(&[b"event/", &1_u64.to_be_bytes()[..]].concat())?)
    };
    let found = keyspace.read(b"p", look).await.unwrap().value.unwrap();
    assert_eq!(found.as_deref(), Some(&b"event 1"[..]));
}

/// A follower sees its keyspace only, and still moves on past the others' commits.
pub async fn events_of_one_keyspace(subject: &dyn Subject) {
    let engine = subject.open().await;
    let store = store(&engine, 1);
    let one = store.keyspace("one").await.unwrap();
    let two = store.keyspace("two").await.unwrap();
    let mut last = Position(0);
    for _ in 0..10 {
        append(&one, b"p", 2).await;
        last = append(&two, b"p", 3).await;
    }
    one.durable(last).await.unwrap();
    for (keyspace, events) in [(&one, 20), (&two, 30)] {
        let all = follow(keyspace, Position(0), 4).await;
        assert_eq!(count_without_gap(&all).values().sum::<u64>(), events);
    }
    let third = store.keyspace("three").await.unwrap();
    assert!(follow(&third, Position(0), 1).await.is_empty());
}

/// What is shown as an event is durable: it is there when opened again, with the
/// same position, and following goes on behind it.
pub async fn events_are_durable(subject: &dyn Subject) {
    let mut seen: Vec<EventRow> = Vec::new();
    for round in 0..3_u64 {
        let engine = subject.open().await;
        let keyspace = keyspace(&engine).await;
        let again = follow(&keyspace, Position(0), 5).await;
        assert!(again.len() >= seen.len(), "no event is lost");
        for (was, is) in seen.iter().zip(&again) {
            assert_eq!((&was.key, &was.value), (&is.key, &is.value));
            assert_eq!(was.position, is.position, "an event keeps its place");
        }
        let mut last = Position(0);
        for _ in 0..5 {
            last = append(&keyspace, b"p", 2).await;
        }
        // Before anyone has waited, some or all may be shown or not; what is shown counts.
        seen = follow(&keyspace, Position(0), 5).await;
        count_without_gap(&seen);
        if round < 2 {
            keyspace.durable(last).await.unwrap();
            let all = follow(&keyspace, Position(0), 5).await;
            let before = again.len() as u64;
            assert_eq!(count_without_gap(&all).values().sum::<u64>(), before + 10);
            seen = all;
        }
        drop(keyspace);
        subject.close(engine).await;
    }
    let engine = subject.open().await;
    let again = follow(&keyspace(&engine).await, Position(0), 5).await;
    assert!(again.len() >= seen.len(), "what was shown is there");
    count_without_gap(&again);
}
