//! Where time, tasks and randomness enter this crate.
//!
//! A call over a real network runs on the real clock: deadlines are instants of
//! it, as the RPC library's are. Everything above the transport takes its time
//! from the host instead.

use std::future::Future;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use tokio::task::JoinHandle;

/// A source of 64 random bits, given by the host.
pub type Random = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The monotonic clock.
#[allow(
    clippy::disallowed_methods,
    reason = "deadlines and latencies of calls over a real network"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Monotonic microseconds since this process first asked.
pub(crate) fn monotonic_us() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(now);
    u64::try_from(START.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Runs a connection's task, which ends with its connection.
#[allow(
    clippy::disallowed_methods,
    reason = "connections are bounded by the server's and the channel's own limits and drained by them"
)]
pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future)
}
