//! The engine's own threads measure their work and wait for the disk: that
//! time is monotonic, decides nothing about data, and has no host to come from.

use std::time::Instant;

/// This moment, to measure from.
#[allow(
    clippy::disallowed_methods,
    reason = "measures the engine's own threads; no data depends on it"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}
