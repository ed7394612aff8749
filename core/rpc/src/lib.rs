//! Calls between services: the Connect protocol over HTTP/1.1 and HTTP/2.
//!
//! - [`server`] puts a stack around a service's router: routes for operators,
//!   shedding, deadlines, trace and caller, typed errors, panics, metrics, drain.
//! - [`client::Channel`] is the stack under a generated client: trace and
//!   deadline, retries within a budget, balancing, HTTP/2 connections.
//! - [`Error`] is the one shape of an error in every service.
//! - [`context`] is what a handler can ask about the call that it serves.
//! - [`dynamic`] calls any method by name with JSON.
//!
//! This crate knows no service. Time, randomness and tasks at the edge to the
//! network are real ones: [`edge`] is where they enter.

pub mod client;
pub mod context;
pub mod dynamic;
mod edge;
mod error;
mod methods;
pub mod server;

pub use edge::Random;
pub use error::{Code, Error, reason};
pub use methods::{Method, Service, services};
