//! Which nodes coordinated the requests of one operation.

use std::sync::Arc;

use parking_lot::Mutex;
use scylla::cluster::Node;
use scylla::response::query_result::QueryResult;

/// The nodes that answered, each once.
#[derive(Debug, Default)]
pub(crate) struct Coordinators(Mutex<Vec<Arc<Node>>>);

impl Coordinators {
    /// The node that this answer came from.
    pub fn note(&self, answer: &QueryResult) {
        let node = answer.request_coordinator().node();
        let mut nodes = self.0.lock();
        if !nodes.iter().any(|known| known.host_id == node.host_id) {
            nodes.push(node.clone());
        }
    }

    /// All of them so far.
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.0.lock().clone()
    }
}
