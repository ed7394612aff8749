//! What can be set about a channel.

use std::time::Duration;

use serde::Deserialize;

/// What runs below a channel.
///
/// An echo call of two processes' stacks on one machine takes 27 µs of CPU over HTTP/1.1
/// and 31 µs over HTTP/2 (`cargo run --release -p lombard-rpc --example echo_bench`), so
/// that HTTP/1.1 is the default; HTTP/2 takes fewer connections, where there are many
/// callers and machines between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum HttpVersion {
    /// A connection for each call in progress.
    #[default]
    #[serde(rename = "1.1")]
    Http1,
    /// A few connections, shared by all calls (prior knowledge).
    #[serde(rename = "2")]
    Http2,
}

/// Limits and times of a [`super::Channel`]. Every one has a name and a default.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChannelOptions {
    /// "1.1" or "2".
    pub http_version: HttpVersion,
    /// HTTP/1.1 connections to each address at most; more calls wait for one.
    pub http1_connections_max: usize,
    /// HTTP/2 connections to each address.
    pub connections_per_address: usize,
    /// How long opening a connection may take.
    pub connect_timeout_ms: u64,
    /// How long a call may take that has no deadline of its own and serves none.
    pub timeout_default_ms: u64,
    /// How often a call is sent at most, the first time included.
    pub attempts_max: u32,
    /// Retries allowed for each hundred calls, over time.
    pub retry_percent: u32,
    /// Retries that may be saved up; also what a new channel starts with.
    pub retry_burst: u32,
    /// Pause before the first retry; it doubles, and is drawn from its upper half.
    pub backoff_first_ms: u64,
    /// The longest pause.
    pub backoff_max_ms: u64,
    /// The largest answer that is taken.
    pub response_bytes_max: usize,
    /// How often an idle connection is tested.
    pub keep_alive_ms: u64,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            http_version: HttpVersion::default(),
            http1_connections_max: 256,
            connections_per_address: 2,
            connect_timeout_ms: 2_000,
            timeout_default_ms: 30_000,
            attempts_max: 4,
            retry_percent: 20,
            retry_burst: 100,
            backoff_first_ms: 5,
            backoff_max_ms: 500,
            response_bytes_max: 64 << 20,
            keep_alive_ms: 10_000,
        }
    }
}

impl ChannelOptions {
    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(super) fn keep_alive(&self) -> Duration {
        Duration::from_millis(self.keep_alive_ms.max(100))
    }
}
