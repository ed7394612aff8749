//! What is known about the call that the running task serves.
//!
//! It travels with the task, so that calls made on its behalf carry the same
//! trace and stay within its deadline, and errors say which service they are from.

use std::future::Future;
use std::time::Instant;

use http::HeaderValue;
use lombard_telemetry::trace::{self, TraceContext};

/// The call that a task serves. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// Where in which trace.
    pub trace: TraceContext,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
    /// The service that serves it, e.g. "ledger".
    pub service: &'static str,
    /// The `lombard-caller` header as it came: a claim, until callers prove who they are.
    pub caller: Option<HeaderValue>,
}

impl CallContext {
    /// The caller's name, "" if it gave none that is text.
    pub fn caller(&self) -> &str {
        self.caller
            .as_ref()
            .and_then(|name| name.to_str().ok())
            .unwrap_or("")
    }
}

tokio::task_local! {
    static CURRENT: CallContext;
}

/// The call that the running task serves, if any.
pub fn current() -> Option<CallContext> {
    with(CallContext::clone)
}

/// Looks at the call that the running task serves, if any.
pub fn with<T>(look: impl FnOnce(&CallContext) -> T) -> Option<T> {
    CURRENT.try_with(look).ok()
}

/// Runs a future on behalf of a call. Tasks that a handler spawns do not inherit
/// the call: wrap them in this where they should.
pub fn scope<F: Future>(call: CallContext, future: F) -> impl Future<Output = F::Output> {
    trace::scope(call.trace, CURRENT.scope(call, future))
}
