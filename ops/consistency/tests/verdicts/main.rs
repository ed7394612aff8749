//! Verdicts on histories written by hand: what can be true, and what cannot.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is wrong"
)]

mod drawing;
mod entries;
mod file;
mod holds;
mod reads;
mod story;
