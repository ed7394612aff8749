//! The layer around each handler: it knows the call.
//!
//! A wrapper of the router costs one allocation a call; an interceptor of the
//! framework would cost several, and would not see a handler's panic.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use connectrpc::dispatcher::{RequestStream, StreamingResult, UnaryResult};
use connectrpc::{
    CodecFormat, ConnectError, Dispatcher, ErrorCode, MethodDescriptor, Payload, RequestContext,
    Router,
};
use futures::FutureExt;
use lombard_telemetry::Event;
use lombard_telemetry::trace::TraceContext;

use super::metrics::{HandlerFailed, HandlerPanicked, MethodMetrics, ServerMetrics};
use super::shape;
use crate::client::{CALLER, TRACEPARENT};
use crate::context::{self, CallContext};
use crate::{Error, Random, edge, reason};

/// A service's router with what every handler needs around it.
pub(super) struct Guarded {
    pub service: &'static str,
    pub router: Router,
    pub metrics: Arc<ServerMetrics>,
    pub random: Random,
}

impl Guarded {
    /// What the headers say about the call. `Err` if it is already over.
    fn open(&self, request: &RequestContext) -> Result<CallContext, ConnectError> {
        let received = request
            .header(TRACEPARENT)
            .and_then(|header| TraceContext::parse(header.as_bytes()));
        let call = CallContext {
            trace: match received {
                Some(trace) => trace.child((self.random)()),
                None => TraceContext::new(|| (self.random)()),
            },
            deadline: request.deadline(),
            service: self.service,
            caller: request.header(CALLER).cloned(),
        };
        // The framework polls a call once before it looks at the clock.
        if call
            .deadline
            .is_some_and(|deadline| deadline <= edge::now())
        {
            let error = Error {
                domain: self.service.into(),
                ..Error::deadline_exceeded(
                    reason::DEADLINE_EXCEEDED,
                    "the deadline was over before the call began; nothing was done",
                )
            };
            return Err(error.into());
        }
        Ok(call)
    }

    /// Runs a handler: in its call's context, timed, with its panic and errors shaped.
    async fn run<T>(
        self_: Reporter,
        call: CallContext,
        handler: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        let started = edge::now();
        let shaped = async {
            let outcome = AssertUnwindSafe(handler).catch_unwind().await;
            match outcome {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) => Err(self_.shape(error)),
                Err(panic) => Err(self_.panicked(panic.as_ref())),
            }
        };
        let outcome = context::scope(call, shaped).await;
        self_.method.took(started.elapsed());
        self_
            .method
            .answered(outcome.as_ref().err().map(|error| error.code));
        outcome
    }

    fn reporter(&self, path: &str) -> Reporter {
        Reporter {
            metrics: Arc::clone(&self.metrics),
            method: Arc::clone(self.metrics.method(path)),
            random: Arc::clone(&self.random),
        }
    }

    fn refuse<T: Send + 'static>(
        &self,
        path: &str,
        error: ConnectError,
    ) -> futures::future::BoxFuture<'static, Result<T, ConnectError>> {
        self.metrics.method(path).answered(Some(error.code));
        std::future::ready(Err(error)).boxed()
    }
}

/// What turns a handler's failures into answers.
struct Reporter {
    metrics: Arc<ServerMetrics>,
    method: Arc<MethodMetrics>,
    random: Random,
}

impl Reporter {
    fn panicked(&self, panic: &(dyn Any + Send)) -> ConnectError {
        let id = format!("{:016x}", (self.random)());
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "not a text".to_owned());
        HandlerPanicked {
            id: &id,
            method: self.method.name,
            message: &message,
        }
        .emit(&self.metrics);
        defect(id)
    }

    /// Every error leaves with a reason; our own defects with an id, and without details.
    fn shape(&self, error: ConnectError) -> ConnectError {
        let ours = matches!(
            error.code,
            ErrorCode::Internal | ErrorCode::Unknown | ErrorCode::DataLoss
        );
        let known = Error::is_typed(&error);
        if !ours {
            return if known {
                error
            } else {
                shape::typed(&error).into()
            };
        }
        let error = if known {
            Error::from_connect(&error)
        } else {
            shape::typed(&error)
        };
        // A callee's defect, passed on, has its id and its log line already.
        if error.metadata.contains_key("id") {
            return error.into();
        }
        let id = format!("{:016x}", (self.random)());
        HandlerFailed {
            id: &id,
            method: self.method.name,
            error: &error.to_string(),
        }
        .emit(&self.metrics);
        error.with("id", id).into()
    }
}

fn defect(id: String) -> ConnectError {
    Error::internal(
        reason::INTERNAL,
        format!("a defect of the service; its log has more under id {id}"),
    )
    .with("id", id)
    .into()
}

impl Dispatcher for Guarded {
    fn lookup(&self, path: &str) -> Option<MethodDescriptor> {
        self.router.lookup(path)
    }

    fn call_unary(
        &self,
        path: &str,
        ctx: RequestContext,
        request: Payload,
        format: CodecFormat,
    ) -> UnaryResult {
        let call = match self.open(&ctx) {
            Ok(call) => call,
            Err(error) => return self.refuse(path, error),
        };
        let handler = self.router.call_unary(path, ctx, request, format);
        Box::pin(Self::run(self.reporter(path), call, handler))
    }

    fn call_server_streaming(
        &self,
        path: &str,
        ctx: RequestContext,
        request: Bytes,
        format: CodecFormat,
    ) -> StreamingResult {
        let call = match self.open(&ctx) {
            Ok(call) => call,
            Err(error) => return self.refuse(path, error),
        };
        let handler = self
            .router
            .call_server_streaming(path, ctx, request, format);
        Box::pin(Self::run(self.reporter(path), call, handler))
    }

    fn call_client_streaming(
        &self,
        path: &str,
        ctx: RequestContext,
        requests: RequestStream,
        format: CodecFormat,
    ) -> UnaryResult {
        let call = match self.open(&ctx) {
            Ok(call) => call,
            Err(error) => return self.refuse(path, error),
        };
        let handler = self
            .router
            .call_client_streaming(path, ctx, requests, format);
        Box::pin(Self::run(self.reporter(path), call, handler))
    }

    fn call_bidi_streaming(
        &self,
        path: &str,
        ctx: RequestContext,
        requests: RequestStream,
        format: CodecFormat,
    ) -> StreamingResult {
        let call = match self.open(&ctx) {
            Ok(call) => call,
            Err(error) => return self.refuse(path, error),
        };
        let handler = self.router.call_bidi_streaming(path, ctx, requests, format);
        Box::pin(Self::run(self.reporter(path), call, handler))
    }
}
