//! The server stack, as a service of `hyper`. From the outside:
//!
//! 1. plain routes for operators, which answer under any load;
//! 2. shedding: so many calls in progress, no more;
//! 3. protocol, body limits, deadline: the short way ([`super::unary`]) or the framework's;
//! 4. the layer around the handler ([`super::dispatch`]);
//! 5. on the framework's way out, its own errors get our shape.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use connectrpc::{ConnectError, ConnectRpcBody, ConnectRpcService, ErrorCode};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use lombard_telemetry::Event;
use tower::Service as _;

use super::body::{BoundedBody, ResponseBody};
use super::dispatch::Guarded;
use super::metrics::{CallShed, MethodMetrics, ServerMetrics};
use super::routes::Routes;
use super::shape;
use super::unary::{Unary, UnaryCall};
use crate::{Error, reason};

type Answer = Response<ResponseBody>;
type RpcFuture = BoxFuture<'static, Result<Response<ConnectRpcBody>, Infallible>>;

/// One for each server; connections share it.
pub(super) struct Stack {
    pub routes: Routes,
    pub unary: Arc<Unary>,
    pub rpc: ConnectRpcService<Guarded>,
    pub guarded: Guarded,
    pub metrics: Arc<ServerMetrics>,
    pub max_concurrent_calls: usize,
    pub max_request_bytes: usize,
    pub draining: AtomicBool,
    /// It answers no calls yet.
    pub starting: bool,
}

impl Stack {
    pub(super) fn handle(self: &Arc<Self>, request: Request<Incoming>) -> Handling {
        let draining = self.draining.load(Ordering::Relaxed);
        // HTTP/2 has GOAWAY for this; HTTP/1.1 has a header on the last answer.
        let close = draining && request.version() < Version::HTTP_2;
        let path = request.uri().path();
        if let Some(answer) = self.routes.answer(request.method(), path, draining) {
            return Handling::ready(answer.map(ResponseBody::Plain), close);
        }
        if self.starting {
            return self.not_yet(&request, close);
        }
        let method = Arc::clone(self.metrics.method(path.trim_start_matches('/')));
        let in_flight = InFlight::enter(&self.metrics.in_flight);
        if in_flight.others >= self.max_concurrent_calls {
            return self.shed(&request, &method, close);
        }
        let call = match UnaryCall::recognise(&request, &method) {
            Some(call) => Call::Short(Arc::clone(&self.unary).answer(call, request).boxed()),
            None => {
                let request = request.map(|body| BoundedBody::new(body, self.max_request_bytes));
                Call::Framework(self.rpc.clone().call(request))
            }
        };
        Handling::Calling(Some(Calling {
            call,
            in_flight: Some(in_flight),
            stack: Arc::clone(self),
            method,
            close,
        }))
    }

    fn shed(&self, request: &Request<Incoming>, method: &MethodMetrics, close: bool) -> Handling {
        let limit = self.max_concurrent_calls;
        method.answered(Some(ErrorCode::ResourceExhausted));
        CallShed { limit }.emit(&self.metrics);
        let error = Error::resource_exhausted(
            reason::OVERLOADED,
            format!("{limit} calls are in progress, and more are not taken; try again"),
        )
        .with("limit", limit);
        let answer = self
            .guarded
            .own(error)
            .into_http_response(request.headers());
        Handling::ready(answer.map(ResponseBody::rpc), close)
    }

    fn not_yet(&self, request: &Request<Incoming>, close: bool) -> Handling {
        let waits = (self.routes.readiness)().err();
        let waits = waits.map_or(String::new(), |what| format!(": {what}"));
        let error = Error::unavailable(
            reason::STARTING,
            format!(
                "{} is starting and takes no calls yet{waits}",
                self.routes.service
            ),
        );
        let answer = self
            .guarded
            .own(error)
            .into_http_response(request.headers());
        Handling::ready(answer.map(ResponseBody::rpc), close)
    }

    /// Layer 5. An error without our detail did not come from the layer around the handler.
    fn shape(
        &self,
        answer: Response<ConnectRpcBody>,
        method: &MethodMetrics,
    ) -> Response<ConnectRpcBody> {
        let found = if answer.status() != StatusCode::OK {
            unary_error(answer)
        } else if is_grpc_error(answer.headers()) {
            grpc_error(answer)
        } else {
            Found::AsItIs(answer)
        };
        match found {
            Found::AsItIs(answer) => answer,
            Found::Untyped { error, from } => {
                let code = error.code;
                let typed = shape::typed(&error);
                method.answered(Some(typed.code));
                let mut error = self.guarded.own(typed);
                if from.status != StatusCode::OK && error.code == code {
                    // 404, 405 and 415 say more than the code's own status.
                    error = error.with_http_status(from.status);
                }
                let mut shaped = error.into_http_response(&from.headers);
                for name in [header::ALLOW, HeaderName::from_static("accept-post")] {
                    if let Some(value) = from.headers.get(&name) {
                        shaped.headers_mut().insert(name, value.clone());
                    }
                }
                shaped
            }
        }
    }
}

/// What an answer holds.
enum Found {
    /// An error of the framework, and the head of the answer that it came in.
    Untyped {
        error: ConnectError,
        from: http::response::Parts,
    },
    /// Anything else.
    AsItIs(Response<ConnectRpcBody>),
}

/// Looks for the error in a Connect unary answer.
fn unary_error(answer: Response<ConnectRpcBody>) -> Found {
    let (from, body) = answer.into_parts();
    let ConnectRpcBody::Full(body) = body else {
        return Found::AsItIs(Response::from_parts(from, body));
    };
    // A whole body is there at once.
    let bytes = match body.collect().now_or_never() {
        Some(Ok(collected)) => collected.to_bytes(),
        _ => Bytes::new(),
    };
    let error = if bytes.is_empty() {
        ConnectError::unimplemented(match from.status {
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                "unsupported content-type: send application/json or application/proto"
            }
            StatusCode::METHOD_NOT_ALLOWED => "a call is a POST",
            _ => "not a call",
        })
    } else {
        match serde_json::from_slice::<ConnectError>(&bytes) {
            Ok(error) if !Error::is_typed(&error) => error,
            _ => {
                let body = ConnectRpcBody::Full(Full::new(bytes));
                return Found::AsItIs(Response::from_parts(from, body));
            }
        }
    };
    Found::Untyped { error, from }
}

fn is_grpc_error(headers: &HeaderMap) -> bool {
    headers
        .get("grpc-status")
        .is_some_and(|status| status != "0")
}

/// The error in the head of a gRPC answer. There the detail is in the trailers, out
/// of sight; a message that begins with a reason is one of ours.
fn grpc_error(answer: Response<ConnectRpcBody>) -> Found {
    let text = |name: &str| {
        let value = answer.headers().get(name).and_then(|v| v.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let code = text("grpc-status").parse().ok();
    let code = code.and_then(ErrorCode::from_grpc_code);
    let message = text("grpc-message");
    let typed = message.split_once(": ").is_some_and(|(reason, _)| {
        let mut bytes = reason.bytes();
        bytes.all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    });
    match code {
        Some(code) if !typed => Found::Untyped {
            error: ConnectError::new(code, message),
            from: answer.into_parts().0,
        },
        _ => Found::AsItIs(answer),
    }
}

/// Counts a call as long as it lives, whether it is answered or its client goes away.
pub(super) struct InFlight {
    count: Arc<AtomicI64>,
    others: usize,
}

impl InFlight {
    fn enter(count: &Arc<AtomicI64>) -> Self {
        let others = count.fetch_add(1, Ordering::Relaxed);
        Self {
            count: Arc::clone(count),
            others: usize::try_from(others).unwrap_or(0),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request on its way through the stack.
pub(super) enum Handling {
    /// Boxed, so that a call, which is what nearly all are, is small to move.
    Ready(Option<Box<Answer>>),
    Calling(Option<Calling>),
}

enum Call {
    Short(BoxFuture<'static, Answer>),
    Framework(RpcFuture),
}

pub(super) struct Calling {
    call: Call,
    in_flight: Option<InFlight>,
    stack: Arc<Stack>,
    method: Arc<MethodMetrics>,
    close: bool,
}

impl Handling {
    fn ready(answer: Answer, close: bool) -> Self {
        Self::Ready(Some(Box::new(closing(answer, close))))
    }
}

impl Calling {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        match &mut self.call {
            Call::Short(call) => call.as_mut().poll(cx),
            Call::Framework(call) => {
                let answer = match ready!(call.as_mut().poll(cx)) {
                    Ok(answer) => self.stack.shape(answer, &self.method),
                    Err(never) => match never {},
                };
                let in_flight = self.in_flight.take();
                Poll::Ready(answer.map(|body| ResponseBody::counted(body, in_flight)))
            }
        }
    }
}

impl Future for Handling {
    type Output = Result<Answer, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match self.get_mut() {
            Self::Ready(answer) => answer.take().map(|answer| *answer),
            Self::Calling(slot) => match slot {
                None => None,
                Some(calling) => {
                    let answer = closing(ready!(calling.poll(cx)), calling.close);
                    // Answered: what is dropped from here on is not a call given up.
                    *slot = None;
                    Some(answer)
                }
            },
        };
        match answer {
            Some(answer) => Poll::Ready(Ok(answer)),
            // Polled again after it was done, which hyper does not do.
            None => Poll::Pending,
        }
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        // Only a client that went away leaves a call unanswered.
        if let Self::Calling(Some(calling)) = self {
            calling.method.answered(Some(ErrorCode::Canceled));
        }
    }
}

fn closing(mut answer: Answer, close: bool) -> Answer {
    if close {
        answer
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}
