//! The contracts of Lombard's services: messages, server traits and clients,
//! generated from `proto/` at build time.
//!
//! Nothing is written by hand here. The modules follow the proto packages:
//! `bank.ledger.v1` is [`bank::ledger::v1`].

#[allow(
    missing_docs,
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used,
    rustdoc::all,
    reason = "generated code"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/contracts.rs"));
}
pub use generated::*;

/// All contracts as an encoded `google.protobuf.FileDescriptorSet`, with
/// imports and comments: what reflection serves and `lombard call` reads.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
