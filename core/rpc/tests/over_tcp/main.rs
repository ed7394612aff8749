//! Both stacks over real TCP. One crate, so that it links once.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests of the network run on the real clock"
)]

mod client;
mod drain;
mod server;
mod stand;
