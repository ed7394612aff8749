//! The checker against real ledgers over RPC: sound ones under faults, and broken ones.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is wrong"
)]

mod audit;
mod bank;
mod catches;
mod fast;
mod network;
mod sound;
