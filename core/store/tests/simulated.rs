//! The simulated engine's crashes and broken flushes.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::sync::Arc;

use bytes::Bytes;
use lombard_store::simulated::{Faults, Kind, Simulated, SimulatedOptions};
use lombard_store::{Keyspace, Position, Rows, Sequenced, Stop, Store, StoreError, StoreOptions};

fn engine(faults: Faults, seed: u64) -> Arc<Simulated> {
    let mut options = SimulatedOptions::new(Kind::OneLog, seed);
    options.faults = faults;
    Arc::new(Simulated::new(options))
}

async fn keyspace(engine: &Arc<Simulated>) -> Keyspace {
    let store = Store::new(engine.clone(), StoreOptions::new(1));
    store.keyspace("crash").await.unwrap()
}

async fn add(keyspace: &Keyspace) -> Result<Sequenced<Result<u8, ()>>, StoreError> {
    let rule = |rows: &mut Rows<'_>| -> Result<u8, Stop<()>> {
        let count = rows.get(b"count")?.map_or(0, |value| value[0]) + 1;
        rows.put(&b"count"[..], vec![count]);
        rows.append(vec![count], Bytes::new());
        Ok(count)
    };
    keyspace.update(b"p", rule).await
}

async fn count(keyspace: &Keyspace) -> u8 {
    let look = |rows: &Rows<'_>| -> Result<_, Stop<()>> { Ok(rows.get(b"count")?) };
    let found = keyspace.read(b"p", look).await.unwrap().value.unwrap();
    found.map_or(0, |value| value[0])
}

#[tokio::test]
async fn a_crash_takes_what_nobody_waited_for() {
    let engine = engine(Faults::default(), 1);
    let before = keyspace(&engine).await;
    for _ in 0..3 {
        let added = add(&before).await.unwrap();
        added.durable(&before).await.unwrap().unwrap();
    }
    let lost = add(&before).await.unwrap();
    assert_eq!(count(&before).await, 4, "sequenced, and so seen");
    let shown = before.events(Position(0), 10).await.unwrap().events.len();
    assert_eq!(shown, 3, "not durable, and so not shown");

    let reopened = Arc::new(engine.crash());
    let after = keyspace(&reopened).await;
    assert_eq!(count(&after).await, 3);
    // Who still held the old one learns nothing false from it.
    let waited = lost.durable(&before).await;
    assert!(
        matches!(waited, Err(StoreError::Ambiguous(_))),
        "{waited:?}"
    );
    let refused = add(&before).await;
    assert!(matches!(refused, Err(StoreError::Closed(_))), "{refused:?}");
    let added = add(&after).await.unwrap();
    assert_eq!(added.durable(&after).await.unwrap(), Ok(4));
}

#[tokio::test]
async fn a_torn_tail_keeps_a_first_part_of_what_was_not_flushed() {
    let torn = Faults {
        torn_tail: 1.0,
        ..Faults::default()
    };
    let mut kept = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let engine = engine(torn, seed);
        let before = keyspace(&engine).await;
        let added = add(&before).await.unwrap();
        added.durable(&before).await.unwrap().unwrap();
        for _ in 0..4 {
            let _ = add(&before).await.unwrap();
        }
        let after = keyspace(&Arc::new(engine.crash())).await;
        kept.insert(count(&after).await);
    }
    // The last record is the torn one: it is never whole.
    assert_eq!(Vec::from_iter(kept), [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_flush_that_fails_ends_the_engine() {
    let engine = engine(Faults::default(), 1);
    let before = keyspace(&engine).await;
    let added = add(&before).await.unwrap();
    added.durable(&before).await.unwrap().unwrap();
    engine.set_faults(Faults {
        flush_failure: 1.0,
        ..Faults::default()
    });
    let added = add(&before).await.unwrap();
    let durable = before.durable(Position(1)).await;
    assert!(durable.is_ok(), "what is durable stays so");
    let unknown = added.durable(&before).await;
    assert!(
        matches!(unknown, Err(StoreError::Ambiguous(_))),
        "{unknown:?}"
    );
    let refused = add(&before).await;
    assert!(matches!(refused, Err(StoreError::Closed(_))), "{refused:?}");
    assert_eq!(engine.fault_counts().flush_failures, 1);
    engine.set_faults(Faults::default());
    let after = keyspace(&Arc::new(engine.crash())).await;
    assert_eq!(count(&after).await, 1);
}
