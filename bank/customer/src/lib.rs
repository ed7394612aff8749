//! Who the bank's customers are.
//!
//! A customer is a partition under his id. Creating is idempotent by that id,
//! and is one commit with its event.

pub mod error;
pub mod limits;
pub mod options;
pub mod parse;
pub mod rows;
pub mod rules;
pub mod service;

pub use error::Error;
pub use options::Options;
pub use service::{Clock, Service};
