//! The short way for what nearly all calls are: a Connect unary POST, not compressed.
//!
//! The framework does the same for every protocol that it speaks, and copies every
//! header that any of them might need on the way. Here a call is read, handed to its
//! handler and answered without that; whatever is special goes the framework's way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use connectrpc::http_body::Body;
use connectrpc::{
    CodecFormat, ConnectError, Dispatcher, EncodedResponse, ErrorCode, MethodKind, Payload,
    Protocol, RequestContext, Spec,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use super::body::{BodyError, BoundedBody, ResponseBody};
use super::dispatch::Guarded;
use super::metrics::MethodMetrics;
use super::shape;
use crate::client::TIMEOUT;
use crate::edge;

const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("connect-protocol-version");
/// The longest timeout that the Connect protocol can say, in digits.
const TIMEOUT_DIGITS_MAX: usize = 10;

/// What a server has for all unary calls.
pub(super) struct Unary {
    pub guarded: Guarded,
    pub default_timeout: Duration,
    pub max_timeout: Duration,
    pub max_request_bytes: usize,
    pub decode_options: buffa::DecodeOptions,
}

/// What the short way has to know of a call beside the request.
pub(super) struct UnaryCall {
    spec: Spec,
    format: CodecFormat,
    method: Arc<MethodMetrics>,
}

impl UnaryCall {
    /// `None` if the request has to go the framework's way.
    pub(super) fn recognise(
        request: &Request<Incoming>,
        method: &Arc<MethodMetrics>,
    ) -> Option<Self> {
        let descriptor = method.descriptor?;
        if descriptor.kind != MethodKind::Unary || descriptor.limits.is_some() {
            return None;
        }
        Some(Self {
            spec: descriptor.spec?,
            format: plain_format(request)?,
            method: Arc::clone(method),
        })
    }
}

/// The encoding of a Connect unary POST that needs nothing special.
fn plain_format(request: &Request<Incoming>) -> Option<CodecFormat> {
    let headers = request.headers();
    let format = match headers.get(header::CONTENT_TYPE)?.as_bytes() {
        b"application/proto" => CodecFormat::Proto,
        b"application/json" => CodecFormat::Json,
        _ => return None,
    };
    let version = headers.get(PROTOCOL_VERSION);
    let plain = request.method() == Method::POST
        && !headers.contains_key(header::CONTENT_ENCODING)
        && version.is_none_or(|version| version == "1");
    plain.then_some(format)
}

impl Unary {
    /// From request to answer.
    pub(super) async fn answer(
        self: Arc<Self>,
        call: UnaryCall,
        request: Request<Incoming>,
    ) -> Response<ResponseBody> {
        let UnaryCall {
            spec,
            format,
            method,
        } = call;
        let (parts, body) = request.into_parts();
        let deadline = self.deadline(&parts.headers);
        let body = BoundedBody::new(body, self.max_request_bytes);
        let serving = self.serve(parts, body, deadline, spec, format, &method);
        let outcome = match tokio::time::timeout_at(deadline.into(), serving).await {
            Ok(outcome) => outcome,
            Err(_) => {
                method.answered(Some(ErrorCode::DeadlineExceeded));
                let late = ConnectError::deadline_exceeded("");
                Err(self.guarded.own(shape::typed(&late)))
            }
        };
        match outcome {
            Ok(answer) => respond(answer, format),
            // No content type to tell the protocol from means Connect unary.
            Err(error) => error
                .into_http_response(&HeaderMap::new())
                .map(ResponseBody::rpc),
        }
    }

    fn deadline(&self, headers: &HeaderMap) -> Instant {
        let asked = headers
            .get(TIMEOUT)
            .filter(|value| value.len() <= TIMEOUT_DIGITS_MAX)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_millis);
        let timeout = asked.unwrap_or(self.default_timeout).min(self.max_timeout);
        edge::now() + timeout
    }

    async fn serve(
        &self,
        parts: Parts,
        body: BoundedBody,
        deadline: Instant,
        spec: Spec,
        format: CodecFormat,
        method: &Arc<MethodMetrics>,
    ) -> Result<EncodedResponse, ConnectError> {
        let body = match collect(body).await {
            Ok(body) => body,
            Err(error) => {
                let error = self.unreadable(&error);
                method.answered(Some(error.code));
                return Err(error);
            }
        };
        let ctx = RequestContext::new(parts.headers)
            .with_deadline(Some(deadline))
            .with_extensions(parts.extensions)
            .with_spec(Some(spec))
            .with_protocol(Some(Protocol::Connect))
            .with_path(spec.procedure)
            .with_decode_options(self.decode_options.clone());
        let call = match self.guarded.open(&ctx) {
            Ok(call) => call,
            Err(error) => {
                method.answered(Some(error.code));
                return Err(error);
            }
        };
        let payload = Payload::new(body, format).with_decode_options(self.decode_options.clone());
        let path = spec.procedure.trim_start_matches('/');
        let router = self.guarded.router();
        let handler = router.call_unary(path, ctx, payload, format);
        self.guarded.run(method, call, handler).await
    }

    fn unreadable(&self, error: &BodyError) -> ConnectError {
        let error = ConnectError::internal(format!("failed to read request body: {error}"));
        self.guarded.own(shape::typed(&error))
    }
}

/// Most bodies come in one piece, which is not copied.
async fn collect(mut body: BoundedBody) -> Result<Bytes, BodyError> {
    let mut whole = Bytes::new();
    let mut pieces: Option<BytesMut> = None;
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame?.into_data() else {
            continue;
        };
        if let Some(pieces) = &mut pieces {
            pieces.extend_from_slice(&piece);
        } else if whole.is_empty() {
            whole = piece;
        } else {
            let expected = body.size_hint().lower() as usize + whole.len() + piece.len();
            let mut gathered = BytesMut::with_capacity(expected);
            gathered.extend_from_slice(&whole);
            gathered.extend_from_slice(&piece);
            pieces = Some(gathered);
        }
    }
    Ok(pieces.map_or(whole, BytesMut::freeze))
}

fn respond(answer: EncodedResponse, format: CodecFormat) -> Response<ResponseBody> {
    let body = match answer.body.segments() {
        [whole] => whole.clone(),
        segments => segments.concat().into(),
    };
    let mut response = Response::new(ResponseBody::Plain(Full::new(body)));
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static(format.content_type());
    headers.insert(header::CONTENT_TYPE, content_type);
    for (name, value) in &answer.headers {
        headers.append(name.clone(), value.clone());
    }
    // The Connect protocol has unary trailers stand among the headers.
    for (name, value) in &answer.trailers {
        if let Ok(name) = HeaderName::try_from(format!("trailer-{name}")) {
            headers.append(name, value.clone());
        }
    }
    response
}
