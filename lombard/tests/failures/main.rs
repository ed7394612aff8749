//! Failures, with the real binary, real processes, real TCP and the real disk.
//!
//! The clients here are threads with sockets of their own that speak plain HTTP and
//! JSON, as an outsider's would: nothing of our client stack stands between.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on says so by its panic"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "clients of a real process live on real time and real threads"
)]

mod archive;
mod backup;
mod bad_entries;
mod bad_requests;
mod bank;
mod damage;
mod drain;
mod full_disk;
mod http;
mod kill;
mod ledger;
mod load;
mod peers;
mod second_process;
mod town;
