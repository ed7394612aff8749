//! Whatever is done to a partition, it holds what a plain map would hold.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use lombard_store::simulated::{Faults, Kind, Simulated, SimulatedOptions, TurnSpawner};
use lombard_store::{
    Direction, Fault, Keyspace, Position, Row, RowRange, Rows, Stop, Store, StoreError,
    StoreOptions,
};
use proptest::prelude::*;

/// What one step of a function does.
#[derive(Debug, Clone)]
enum Step {
    Put(u8, u16),
    Delete(u8),
    Get(u8),
    Range(RowRange),
    Savepoint,
    RollBack,
}

/// One operation of a service.
#[derive(Debug, Clone)]
struct Operation {
    partition: u8,
    steps: Vec<Step>,
    /// Says "no" at the end.
    refuses: bool,
    /// Runs at the same time as the one before.
    together: bool,
}

/// What a function saw, in order.
type Seen = Vec<Vec<Row>>;

fn key(key: u8) -> Bytes {
    // Keys that begin alike, of different lengths.
    Bytes::from(
        vec![b'k'; usize::from(key % 4) + 1]
            .into_iter()
            .chain([key])
            .collect::<Vec<u8>>(),
    )
}

fn value(value: u16) -> Bytes {
    Bytes::from(value.to_string())
}

fn bound() -> impl Strategy<Value = Bound<Bytes>> {
    prop_oneof![
        Just(Bound::Unbounded),
        (0..12_u8).prop_map(|index| Bound::Included(key(index))),
        (0..12_u8).prop_map(|index| Bound::Excluded(key(index))),
    ]
}

fn range() -> impl Strategy<Value = RowRange> {
    let direction = prop_oneof![Just(Direction::Ascending), Just(Direction::Descending)];
    let limit = prop_oneof![0..5_usize, Just(usize::MAX)];
    (bound(), bound(), direction, limit).prop_map(|(from, to, direction, limit)| RowRange {
        from,
        to,
        direction,
        limit,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..12_u8, any::<u16>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => (0..12_u8).prop_map(Step::Delete),
        3 => (0..12_u8).prop_map(Step::Get),
        4 => range().prop_map(Step::Range),
        1 => Just(Step::Savepoint),
        1 => Just(Step::RollBack),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let steps = prop::collection::vec(step(), 0..8);
    (0..2_u8, steps, prop::bool::weighted(0.2), any::<bool>()).prop_map(
        |(partition, steps, refuses, together)| Operation {
            partition,
            steps,
            refuses,
            together,
        },
    )
}

/// The operation over the store.
async fn run(keyspace: &Keyspace, operation: &Operation) -> Seen {
    let rule = |rows: &mut Rows<'_>| -> Result<Seen, Stop<Seen>> {
        let mut seen = Vec::new();
        let mut savepoint = rows.savepoint();
        for step in &operation.steps {
            match step {
                Step::Put(index, number) => rows.put(key(*index), value(*number)),
                Step::Delete(index) => rows.delete(key(*index)),
                Step::Get(index) => {
                    let found = rows.get(&key(*index))?;
                    seen.push(
                        found
                            .map(|value| (key(*index), value))
                            .into_iter()
                            .collect(),
                    );
                }
                Step::Range(range) => seen.push(rows.range(range)?),
                Step::Savepoint => savepoint = rows.savepoint(),
                Step::RollBack => rows.roll_back(savepoint),
            }
        }
        if operation.refuses {
            return Err(Stop::Refused(seen));
        }
        Ok(seen)
    };
    loop {
        match keyspace.update(&[operation.partition], rule).await {
            Ok(sequenced) => {
                let answer = sequenced.durable(keyspace).await.unwrap();
                return answer.unwrap_or_else(|refused| refused);
            }
            Err(StoreError::Unavailable(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// The operation over the map.
fn run_on_model(model: &mut BTreeMap<Bytes, Bytes>, operation: &Operation) -> Seen {
    let mut own = model.clone();
    let mut savepoint = own.clone();
    let mut seen = Vec::new();
    for step in &operation.steps {
        match step {
            Step::Put(index, number) => {
                own.insert(key(*index), value(*number));
            }
            Step::Delete(index) => {
                own.remove(&key(*index));
            }
            Step::Get(index) => {
                let found = own.get(&key(*index)).cloned();
                seen.push(
                    found
                        .map(|value| (key(*index), value))
                        .into_iter()
                        .collect(),
                );
            }
            Step::Range(range) => {
                let within = own.iter().filter(|(key, _)| range.contains(key));
                let row = |(key, value): (&Bytes, &Bytes)| (key.clone(), value.clone());
                seen.push(match range.direction {
                    Direction::Ascending => within.map(row).take(range.limit).collect(),
                    Direction::Descending => within.rev().map(row).take(range.limit).collect(),
                });
            }
            Step::Savepoint => savepoint = own.clone(),
            Step::RollBack => own = savepoint.clone(),
        }
    }
    if !operation.refuses {
        *model = own;
    }
    seen
}

async fn contents(keyspace: &Keyspace, partition: u8) -> Vec<Row> {
    let [one, other] = [false, true].map(|ahead| read(keyspace, partition, ahead));
    // Nobody writes meanwhile.
    let (one, other) = (one.await, other.await);
    assert_eq!(one, other, "what is read ahead is what is read");
    one
}

async fn read(keyspace: &Keyspace, partition: u8, ahead: bool) -> Vec<Row> {
    let everything = RowRange::prefix(b"", Direction::Ascending, usize::MAX);
    let look = |rows: &Rows<'_>| -> Result<Vec<Row>, Stop<()>> { Ok(rows.range(&everything)?) };
    loop {
        let read = if ahead {
            keyspace.read_ahead(&[partition], look).await
        } else {
            keyspace.read(&[partition], look).await
        };
        match read {
            Ok(sequenced) => return sequenced.durable(keyspace).await.unwrap().unwrap(),
            Err(StoreError::Unavailable(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Runs the operations one after the other over store and map, and compares all
/// that is seen; those that are marked so run together, and only the end of them
/// is compared, with every order that they can have come in.
async fn compare(kind: Kind, seed: u64, operations: &[Operation]) -> Result<(), TestCaseError> {
    let mut options = SimulatedOptions::new(kind, seed);
    options.faults = match kind {
        Kind::Replicated => Faults::replicated(),
        Kind::OneLog | Kind::OneLogShared => Faults::one_log(),
    };
    let engine = Arc::new(Simulated::new(options));
    let mut options = StoreOptions::new(seed);
    options.spawner = Arc::new(TurnSpawner);
    // Small, so that limits of the lanes are met.
    options.operations_per_commit_max = 3;
    options.wanted_per_read_max = 2;
    options.lane_busy_bytes_max = 40;
    options.lane_idle_bytes_max = 10;
    options.lanes_idle_max = 1;
    options.resolutions_per_commit_max = 30;
    let store = Store::new(engine.clone(), options);
    let keyspace = loop {
        if let Ok(keyspace) = store.keyspace("model").await {
            break keyspace;
        }
    };
    let mut models = [BTreeMap::new(), BTreeMap::new()];
    let mut next = 0;
    while let Some(operation) = operations.get(next) {
        let other = operations.get(next + 1).filter(|other| other.together);
        let Some(other) = other else {
            next += 1;
            let seen = run(&keyspace, operation).await;
            let model = &mut models[usize::from(operation.partition)];
            prop_assert_eq!(seen, run_on_model(model, operation));
            continue;
        };
        next += 2;
        let seen = futures::join!(run(&keyspace, operation), run(&keyspace, other));
        // One of the two orders explains all that was seen.
        let mut first = models.clone();
        let a = run_on_model(&mut first[usize::from(operation.partition)], operation);
        let b = run_on_model(&mut first[usize::from(other.partition)], other);
        if seen == (a, b) {
            // Where both orders explain it, what is stored tells which it was.
            let mut stored = Vec::new();
            for partition in 0..2 {
                stored.push(contents(&keyspace, partition).await);
            }
            if stored
                .iter()
                .zip(&first)
                .all(|(is, model)| is.iter().cloned().eq(model.clone()))
            {
                models = first;
                continue;
            }
        }
        let b = run_on_model(&mut models[usize::from(other.partition)], other);
        let a = run_on_model(&mut models[usize::from(operation.partition)], operation);
        prop_assert_eq!(seen, (a, b));
    }
    for (partition, model) in (0..).zip(models) {
        let is = contents(&keyspace, partition).await;
        prop_assert_eq!(is, model.into_iter().collect::<Vec<Row>>());
    }
    Ok(())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_fast_path_is_a_map(
        seed in any::<u64>(), operations in prop::collection::vec(operation(), 1..25)
    ) {
        block_on(compare(Kind::OneLog, seed, &operations))?;
    }

    #[test]
    fn combining_over_one_log_is_a_map(
        seed in any::<u64>(), operations in prop::collection::vec(operation(), 1..25)
    ) {
        block_on(compare(Kind::OneLogShared, seed, &operations))?;
    }

    #[test]
    fn combining_over_a_network_with_faults_is_a_map(
        seed in any::<u64>(), operations in prop::collection::vec(operation(), 1..25)
    ) {
        block_on(compare(Kind::Replicated, seed, &operations))?;
    }
}

/// A fault made up by a function is an error, not an endless loop.
#[test]
fn a_made_up_fault_is_an_error() {
    for kind in [Kind::OneLog, Kind::OneLogShared, Kind::Replicated] {
        block_on(async {
            let engine = Arc::new(Simulated::new(SimulatedOptions::new(kind, 1)));
            let store = Store::new(engine, StoreOptions::new(1));
            let keyspace = store.keyspace("model").await.unwrap();
            let update = keyspace
                .update(b"p", |rows| -> Result<(), Stop<()>> {
                    rows.put(&b"a"[..], &b"1"[..]);
                    Err(Stop::Fault(Fault::NotLoaded))
                })
                .await;
            assert!(matches!(update, Err(StoreError::Closed(_))), "{update:?}");
            let read = keyspace
                .read(b"p", |_| -> Result<(), Stop<()>> {
                    Err(Fault::NotLoaded.into())
                })
                .await;
            assert!(matches!(read, Err(StoreError::Closed(_))), "{read:?}");
            assert_eq!(keyspace.position(), Position(0));
        });
    }
}
