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
use futures::future::BoxFuture;
use lombard_telemetry::trace::TraceContext;
use lombard_telemetry::{Event, panic_message};

use super::metrics::{HandlerFailed, HandlerPanicked, MethodMetrics, ServerMetrics};
use super::shape;
use crate::client::{CALLER, TRACEPARENT};
use crate::context::{self, CallContext};
use crate::{Error, Random, edge, reason};

/// A service's router with what every handler needs around it. Cheap to clone.
#[derive(Clone)]
pub(super) struct Guarded(Arc<Inner>);

struct Inner {
    service: &'static str,
    router: Router,
    metrics: Arc<ServerMetrics>,
    random: Random,
}

impl Guarded {
    pub(super) fn new(
        service: &'static str,
        router: Router,
        metrics: Arc<ServerMetrics>,
        random: Random,
    ) -> Self {
        Self(Arc::new(Inner {
            service,
            router,
            metrics,
            random,
        }))
    }

    pub(super) fn router(&self) -> &Router {
        &self.0.router
    }

    /// An error of the stack, where no call's context says which service it is from.
    pub(super) fn own(&self, error: Error) -> ConnectError {
        ConnectError::from(Error {
            domain: self.0.service.into(),
            ..error
        })
    }

    /// What the headers say about the call. `Err` if it is already over.
    pub(super) fn open(&self, request: &RequestContext) -> Result<CallContext, ConnectError> {
        let random = &self.0.random;
        let received = request
            .header(TRACEPARENT)
            .and_then(|header| TraceContext::parse(header.as_bytes()));
        let call = CallContext {
            trace: match received {
                Some(trace) => trace.child(random()),
                None => TraceContext::new(|| random()),
            },
            deadline: request.deadline(),
            service: self.0.service,
            caller: request.header(CALLER).cloned(),
        };
        // A timeout lets a future run once before it looks at the clock.
        if call
            .deadline
            .is_some_and(|deadline| deadline <= edge::now())
        {
            return Err(self.own(Error::deadline_exceeded(
                reason::DEADLINE_EXCEEDED,
                "the deadline was over before the call began; nothing was done",
            )));
        }
        Ok(call)
    }

    /// Runs a handler: in its call's context, timed, with its panic and errors shaped.
    pub(super) async fn run<T>(
        &self,
        method: &MethodMetrics,
        call: CallContext,
        handler: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        let started = edge::now();
        let shaped = async {
            match AssertUnwindSafe(handler).catch_unwind().await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) => Err(self.shape(method, error)),
                Err(panic) => Err(self.panicked(method, panic.as_ref())),
            }
        };
        let outcome = context::scope(call, shaped).await;
        method.took(started.elapsed());
        method.answered(outcome.as_ref().err().map(|error| error.code));
        outcome
    }

    /// The same for the framework, which wants a future of its own.
    fn guard<T: Send + 'static>(
        &self,
        path: &str,
        ctx: RequestContext,
        start: impl FnOnce(&Router, RequestContext) -> BoxFuture<'static, Result<T, ConnectError>>,
    ) -> BoxFuture<'static, Result<T, ConnectError>> {
        let method = Arc::clone(self.0.metrics.method(path));
        match self.open(&ctx) {
            Ok(call) => {
                let handler = start(&self.0.router, ctx);
                let guarded = self.clone();
                async move { guarded.run(&method, call, handler).await }.boxed()
            }
            Err(error) => {
                method.answered(Some(error.code));
                std::future::ready(Err(error)).boxed()
            }
        }
    }

    fn panicked(&self, method: &MethodMetrics, panic: &(dyn Any + Send)) -> ConnectError {
        let id = format!("{:016x}", (self.0.random)());
        HandlerPanicked {
            id: &id,
            method: method.name,
            message: panic_message(panic),
        }
        .emit(&self.0.metrics);
        defect(id)
    }

    /// Every error leaves with a reason; our own defects with an id.
    fn shape(&self, method: &MethodMetrics, error: ConnectError) -> ConnectError {
        let ours = matches!(
            error.code,
            ErrorCode::Internal | ErrorCode::Unknown | ErrorCode::DataLoss
        );
        let known = Error::is_typed(&error);
        if known && !ours {
            return error;
        }
        let typed = if known {
            Error::from_connect(&error)
        } else {
            shape::typed(&error)
        };
        // A callee's defect, passed on, has its id and its log line already.
        if !ours || typed.metadata.contains_key("id") {
            return typed.into();
        }
        let id = format!("{:016x}", (self.0.random)());
        HandlerFailed {
            id: &id,
            method: method.name,
            error: &typed.to_string(),
        }
        .emit(&self.0.metrics);
        typed.with("id", id).into()
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
        self.0.router.lookup(path)
    }

    fn call_unary(
        &self,
        path: &str,
        ctx: RequestContext,
        request: Payload,
        format: CodecFormat,
    ) -> UnaryResult {
        self.guard(path, ctx, |router, ctx| {
            router.call_unary(path, ctx, request, format)
        })
    }

    fn call_server_streaming(
        &self,
        path: &str,
        ctx: RequestContext,
        request: Bytes,
        format: CodecFormat,
    ) -> StreamingResult {
        self.guard(path, ctx, |router, ctx| {
            router.call_server_streaming(path, ctx, request, format)
        })
    }

    fn call_client_streaming(
        &self,
        path: &str,
        ctx: RequestContext,
        requests: RequestStream,
        format: CodecFormat,
    ) -> UnaryResult {
        self.guard(path, ctx, |router, ctx| {
            router.call_client_streaming(path, ctx, requests, format)
        })
    }

    fn call_bidi_streaming(
        &self,
        path: &str,
        ctx: RequestContext,
        requests: RequestStream,
        format: CodecFormat,
    ) -> StreamingResult {
        self.guard(path, ctx, |router, ctx| {
            router.call_bidi_streaming(path, ctx, requests, format)
        })
    }
}
