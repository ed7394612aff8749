//! The balancing layer: which address gets the next attempt.
//!
//! Round robin for now. Power of two choices on peak EWMA takes its place here:
//! a policy sees all endpoints (which will carry their load and latency) and
//! returns one.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::connection::Endpoint;

/// Chooses an endpoint for each attempt.
pub(super) trait Policy: Send + Sync {
    /// An index into `endpoints`, which is never empty.
    fn pick(&self, endpoints: &[Endpoint]) -> usize;
}

/// Each in turn. A retry comes next in turn, and so goes to another address.
#[derive(Default)]
pub(super) struct RoundRobin(AtomicUsize);

impl Policy for RoundRobin {
    fn pick(&self, endpoints: &[Endpoint]) -> usize {
        self.0.fetch_add(1, Ordering::Relaxed) % endpoints.len()
    }
}

/// The addresses of a service and the policy over them.
pub(super) struct Balance {
    endpoints: Vec<Endpoint>,
    policy: Box<dyn Policy>,
}

impl Balance {
    /// `endpoints` must not be empty.
    pub(super) fn new(endpoints: Vec<Endpoint>, policy: Box<dyn Policy>) -> Self {
        Self { endpoints, policy }
    }

    pub(super) fn pick(&self) -> &Endpoint {
        match self.endpoints.as_slice() {
            [only] => only,
            several => &several[self.policy.pick(several)],
        }
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = &str> {
        self.endpoints.iter().map(Endpoint::address)
    }
}
