//! What can be set about a server.

use std::time::Duration;

use serde::Deserialize;

/// Limits and times of a [`super::Server`]. Every one has a name and a default.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerOptions {
    /// The largest request body, compressed or not.
    pub max_request_bytes: usize,
    /// Calls in progress at one time; more are refused with `OVERLOADED`.
    pub max_concurrent_calls: usize,
    /// Open connections at one time; more wait to be accepted.
    pub max_connections: usize,
    /// How long a call may take that states no deadline.
    pub default_timeout_ms: u64,
    /// The longest deadline that a caller may state; longer ones are shortened.
    pub max_timeout_ms: u64,
    /// How long a client may take to send its request's headers.
    pub header_timeout_ms: u64,
    /// After it was told to drain, the server goes on answering for this long on
    /// connections that are open, asking for them to be closed, so that a request
    /// that is on its way is answered too.
    pub drain_linger_ms: u64,
    /// How long calls in progress may take once draining began; then they are cut off.
    pub drain_timeout_ms: u64,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            max_request_bytes: 4 << 20,
            max_concurrent_calls: 4_096,
            max_connections: 4_096,
            default_timeout_ms: 30_000,
            max_timeout_ms: 300_000,
            header_timeout_ms: 30_000,
            drain_linger_ms: 100,
            drain_timeout_ms: 20_000,
        }
    }
}

impl ServerOptions {
    pub(super) fn drain_linger(&self) -> Duration {
        Duration::from_millis(self.drain_linger_ms)
    }

    pub(super) fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }
}
