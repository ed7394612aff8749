//! A partition in memory, for tests of the rules.

use std::collections::BTreeMap;

use buffa::Message;
use bytes::Bytes;
use lombard_store::{Change, Fault, Row, RowRange, RowSource, Rows, Stop, Version};

use crate::error::Error;
use crate::rows::EventRow;

/// Rows, and the events in their order.
#[derive(Default)]
pub(crate) struct Partition {
    rows: BTreeMap<Bytes, Bytes>,
    pub(crate) events: Vec<EventRow>,
}

impl RowSource for Partition {
    fn version(&self) -> Version {
        Version(self.events.len() as u64)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        Ok(self.rows.get(key).cloned())
    }

    fn range(&self, range: &RowRange) -> Result<Vec<Row>, Fault> {
        let found = self.rows.iter().filter(|(key, _)| range.contains(key));
        let found = found.map(|(key, value)| (key.clone(), value.clone()));
        Ok(found.take(range.limit).collect())
    }
}

impl Partition {
    /// What the rule answers; what it changed is kept where it did not refuse.
    pub(crate) fn update<T>(
        &mut self,
        rule: impl FnOnce(&mut Rows<'_>) -> Result<T, Stop<Error>>,
    ) -> Result<T, Error> {
        let mut rows = Rows::new(self);
        let answer = match rule(&mut rows) {
            Ok(answer) => answer,
            Err(Stop::Refused(error)) => return Err(error),
            Err(Stop::Fault(fault)) => panic!("{fault}"),
        };
        for (key, change) in rows.into_changes().rows {
            match change {
                Change::Event(value) => {
                    self.events
                        .push(EventRow::decode_from_slice(&value).unwrap());
                    assert_eq!(
                        self.rows.insert(key, value),
                        None,
                        "an event is written once"
                    );
                }
                Change::Put(value) | Change::New(value) => {
                    self.rows.insert(key, value);
                }
                Change::Delete => {
                    self.rows.remove(&key);
                }
            }
        }
        Ok(answer)
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }
}
