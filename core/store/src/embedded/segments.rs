//! All segments of a log, by number.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::segment::Segment;

/// The segments that rows can be read from.
#[derive(Default)]
pub(super) struct Segments {
    by_number: RwLock<BTreeMap<u32, Arc<Segment>>>,
}

impl Segments {
    /// The segment of that number, if there is one.
    pub(super) fn get(&self, number: u32) -> Option<Arc<Segment>> {
        self.by_number.read().get(&number).cloned()
    }

    /// Puts one in.
    pub(super) fn insert(&self, segment: Arc<Segment>) {
        self.by_number.write().insert(segment.number, segment);
    }

    /// All, in the log's order.
    pub(super) fn in_order(&self) -> Vec<Arc<Segment>> {
        let mut all: Vec<_> = self.by_number.read().values().cloned().collect();
        all.sort_by_key(|segment| segment.base);
        all
    }

    /// Takes some out and puts others in, at once.
    pub(super) fn replace(&self, gone: &[u32], new: &[Arc<Segment>]) {
        let mut by_number = self.by_number.write();
        for number in gone {
            by_number.remove(number);
        }
        for segment in new {
            by_number.insert(segment.number, segment.clone());
        }
    }
}
