//! Work for an engine, and a model that says what must be found of it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use bytes::Bytes;
use futures::executor::block_on;
use lombard_store::embedded::Embedded;
use lombard_store::{
    Change, Changes, Direction, Engine, KeyspaceId, LocalEngine, PartitionId, Position, RowRange,
    StoreError, Version,
};

const PARTITIONS: u64 = 5;

type Contents = BTreeMap<Bytes, Bytes>;

/// What was asked for, what was acknowledged.
#[derive(Default)]
pub struct Model {
    /// By partition: the contents after each version, from 0.
    history: HashMap<Bytes, Vec<Contents>>,
    /// By partition: the version that is known to be durable.
    acknowledged: HashMap<Bytes, u64>,
    step: u64,
}

impl Model {
    /// Commits until `count` are done or the engine fails.
    pub fn work(
        &mut self,
        engine: &Embedded,
        keyspace: KeyspaceId,
        count: u64,
    ) -> Result<(), StoreError> {
        for _ in 0..count {
            self.step += 1;
            let step = self.step;
            let id = partition(keyspace, step.wrapping_mul(7) % PARTITIONS);
            let history = self
                .history
                .entry(id.key.clone())
                .or_insert_with(|| vec![Contents::new()]);
            let version = history.len() as u64 - 1;
            let mut contents = history.last().unwrap().clone();
            let changes = changes(step, version, &contents);
            for (key, change) in &changes.rows {
                match change.value() {
                    Some(value) => contents.insert(key.clone(), value.clone()),
                    None => contents.remove(key),
                };
            }
            // Before it is tried: whether a failed commit is in, nobody knows.
            history.push(contents);
            let sequenced = block_on(engine.commit(&id, Version(version), changes));
            if matches!(sequenced, Err(StoreError::Unavailable(_))) {
                history.pop();
            }
            let position = sequenced?.expect("nobody else commits");
            if step.is_multiple_of(3) {
                block_on(engine.durable(position))?;
                // The log is one: all before is durable too.
                for (key, history) in &self.history {
                    self.acknowledged
                        .insert(key.clone(), history.len() as u64 - 1);
                }
            }
        }
        Ok(())
    }

    /// Checks that what was acknowledged is there, and nothing in part; then takes
    /// what is there as the truth.
    pub fn check(&mut self, engine: &Embedded, keyspace: KeyspaceId) {
        for number in 0..PARTITIONS {
            let id = partition(keyspace, number);
            let (version, contents) = contents(engine, &id).unwrap();
            let Some(history) = self.history.get_mut(&id.key) else {
                assert_eq!(version, 0);
                continue;
            };
            let acknowledged = self.acknowledged.get(&id.key).copied().unwrap_or(0);
            assert!(
                version >= acknowledged,
                "{id:?} has version {version}, {acknowledged} was acknowledged"
            );
            let expected = history
                .get(usize::try_from(version).unwrap())
                .expect("no version that was never tried");
            assert_eq!(&contents, expected, "{id:?} at version {version}");
            history.truncate(usize::try_from(version).unwrap() + 1);
            self.acknowledged.insert(id.key.clone(), version);
        }
        self.check_events(engine, keyspace);
    }

    /// Every event of every version that is there, in order, and no other.
    fn check_events(&self, engine: &Embedded, keyspace: KeyspaceId) {
        block_on(engine.durable(engine.position())).unwrap();
        let mut found: HashMap<Bytes, Vec<Bytes>> = HashMap::new();
        let mut after = Position(0);
        loop {
            let page = block_on(engine.events(keyspace, after, 7)).unwrap();
            for event in page.events {
                assert!(event.position > after);
                found
                    .entry(event.partition.key)
                    .or_default()
                    .push(event.key);
            }
            after = page.next;
            if !page.more {
                break;
            }
        }
        for (key, history) in &self.history {
            let newest = history.last().unwrap();
            let expected: Vec<_> = newest
                .keys()
                .filter(|row| row.starts_with(b"j"))
                .cloned()
                .collect();
            assert_eq!(
                found.remove(key).unwrap_or_default(),
                expected,
                "events of {key:?}"
            );
        }
        assert!(found.is_empty());
    }
}

/// A state that is replaced each time, an event, and small rows that come and go.
fn changes(step: u64, version: u64, contents: &Contents) -> Changes {
    let mut changes = Changes::default();
    let mut put = |key: Vec<u8>, change| changes.rows.insert(key.into(), change);
    let filler = vec![b'x'; usize::try_from(step % 4 * 150).unwrap()];
    put(
        b"state".to_vec(),
        Change::Put([format!("{step} ").as_bytes(), &filler].concat().into()),
    );
    if step.is_multiple_of(2) {
        let key = [b"j".as_slice(), &version.to_be_bytes()].concat();
        put(key, Change::Event(format!("event of step {step}").into()));
    }
    put(
        format!("row{}", step % 11).into_bytes(),
        Change::Put(format!("{step}").into()),
    );
    let gone = Bytes::from(format!("row{}", (step + 5) % 11));
    if contents.contains_key(&gone) {
        changes.rows.insert(gone, Change::Delete);
    }
    changes
}

fn partition(keyspace: KeyspaceId, number: u64) -> PartitionId {
    PartitionId {
        keyspace,
        key: Bytes::from(format!("partition-{number}")),
    }
}

fn contents(engine: &Embedded, id: &PartitionId) -> Result<(u64, Contents), StoreError> {
    let mut found = Ok(Vec::new());
    let mut version = Version(0);
    LocalEngine::read(engine, id.borrowed(), &mut |rows| {
        version = rows.version();
        found = rows.range(&RowRange {
            from: Bound::Unbounded,
            to: Bound::Unbounded,
            direction: Direction::Ascending,
            limit: usize::MAX,
        });
    })?;
    match found {
        Ok(rows) => {
            // Reading one by one gives the same as reading them all.
            LocalEngine::read(engine, id.borrowed(), &mut |view| {
                for (key, value) in &rows {
                    assert_eq!(view.get(key).unwrap().as_ref(), Some(value));
                }
            })?;
            Ok((version.0, rows.into_iter().collect()))
        }
        Err(lombard_store::Fault::Store(error)) => Err(error),
        Err(fault) => panic!("{fault}"),
    }
}
