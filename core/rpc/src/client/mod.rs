//! The client stack. From the top:
//!
//! 1. trace, caller and deadline of the call that the task serves go on the request;
//! 2. retries, within the call's attempts, the channel's budget and the deadline;
//! 3. balancing over the service's addresses;
//! 4. connections to each address.

mod balance;
mod body;
mod connection;
mod options;
mod retry;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use connectrpc::client::{BoxFuture, ClientBody, ClientConfig, ClientTransport};
use connectrpc::{ConnectError, IdempotencyLevel};
use futures::FutureExt;
use http::{HeaderName, HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use lombard_telemetry::trace::TraceContext;

use self::balance::{Balance, RoundRobin};
use self::body::RequestBody;
use self::connection::{Endpoint, SendFailure};
use self::retry::RetryBudget;
use crate::{Error, Random, context, edge, methods, reason};

pub use self::body::ResponseBody;
pub use self::options::{ChannelOptions, HttpVersion};

/// W3C trace context.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Who calls.
pub(crate) const CALLER: HeaderName = HeaderName::from_static("lombard-caller");
/// How long the caller waits, in milliseconds (Connect protocol).
pub(crate) const TIMEOUT: HeaderName = HeaderName::from_static("connect-timeout-ms");
/// An error's body is read up to here; ours are a few hundred bytes.
const ERROR_BODY_BYTES_MAX: usize = 64 << 10;

/// The way to one service: what a generated client sends through. Cheap to clone;
/// clones share connections and budget.
///
/// ```no_run
/// # use std::sync::Arc;
/// use lombard_contracts::bank::customer::v1::CustomerServiceClient;
/// use lombard_rpc::client::{Channel, ChannelOptions};
/// # fn random() -> u64 { 4 }
/// let channel = Channel::new(
///     "example",
///     ["127.0.0.1:7001"],
///     ChannelOptions::default(),
///     Arc::new(random),
/// )?;
/// let customers = CustomerServiceClient::new(channel.clone(), channel.config());
/// # Ok::<(), lombard_rpc::Error>(())
/// ```
#[derive(Clone)]
pub struct Channel(Arc<Inner>);

struct Inner {
    caller: HeaderValue,
    base: Uri,
    options: ChannelOptions,
    balance: Balance,
    budget: RetryBudget,
    random: Random,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.balance.addresses()).finish()
    }
}

impl Channel {
    /// A channel to a service's addresses, `host:port` or `http://host:port`. Nothing
    /// is opened until the first call. `caller` is the name that callees see.
    ///
    /// # Errors
    /// No address, or one that cannot be read.
    pub fn new(
        caller: &str,
        addresses: impl IntoIterator<Item = impl AsRef<str>>,
        options: ChannelOptions,
        random: Random,
    ) -> Result<Self, Error> {
        let endpoints = addresses
            .into_iter()
            .map(|address| Ok(Endpoint::new(host_and_port(address.as_ref())?, &options)))
            .collect::<Result<Vec<_>, Error>>()?;
        let Some(first) = endpoints.first() else {
            return Err(Error::invalid_argument(
                "NO_ADDRESS",
                "a channel needs at least one address",
            ));
        };
        let base = format!("http://{}", first.address())
            .parse()
            .map_err(|error| bad_address(first.address(), error))?;
        let caller = HeaderValue::from_str(caller).map_err(|_| {
            Error::invalid_argument(
                "BAD_CALLER",
                format!("the caller's name {caller:?} does not fit a header"),
            )
        })?;
        Ok(Self(Arc::new(Inner {
            caller,
            base,
            budget: RetryBudget::new(&options),
            balance: Balance::new(endpoints, Box::<RoundRobin>::default()),
            options,
            random,
        })))
    }

    /// What a generated client needs beside the channel.
    pub fn config(&self) -> ClientConfig {
        ClientConfig::new(self.0.base.clone())
            .with_default_timeout(Duration::from_millis(self.0.options.timeout_default_ms))
            .with_default_max_message_size(self.0.options.response_bytes_max)
    }

    /// The service's addresses, as `host:port`.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.0.balance.addresses()
    }
}

impl ClientTransport for Channel {
    type ResponseBody = ResponseBody;
    type Error = ConnectError;

    fn send(
        &self,
        mut request: Request<ClientBody>,
    ) -> BoxFuture<'static, Result<Response<ResponseBody>, ConnectError>> {
        let inner = Arc::clone(&self.0);
        match inner.stamp(&mut request) {
            Ok(None) => inner.call(request).boxed(),
            Ok(Some(deadline)) => async move {
                tokio::time::timeout_at(deadline.into(), inner.call(request))
                    .await
                    .unwrap_or_else(|_| Err(out_of_time()))
            }
            .boxed(),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }
}

impl Inner {
    /// Layer 1. Returns the deadline to enforce, if it is the served call's and not the
    /// client's own, which the client enforces itself.
    fn stamp(&self, request: &mut Request<ClientBody>) -> Result<Option<Instant>, ConnectError> {
        let served = context::with(|call| (call.trace, call.deadline));
        let headers = request.headers_mut();
        let span_id = (self.random)();
        let trace = match served {
            Some((trace, _)) => trace.child(span_id),
            None => TraceContext::new(|| (self.random)()),
        };
        if let Ok(mut value) = HeaderValue::from_bytes(&trace.header()) {
            // Different in every call: kept out of HPACK's table, where it would only push
            // out what does repeat.
            value.set_sensitive(true);
            headers.insert(TRACEPARENT, value);
        }
        headers.insert(CALLER, self.caller.clone());
        let Some(deadline) = served.and_then(|(_, deadline)| deadline) else {
            return Ok(None);
        };
        let remaining = deadline.saturating_duration_since(edge::now());
        if remaining.is_zero() {
            return Err(out_of_time());
        }
        let remaining_ms = u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX);
        if asked_ms(headers).is_some_and(|asked| asked <= remaining_ms) {
            return Ok(None);
        }
        headers.insert(TIMEOUT, HeaderValue::from(remaining_ms));
        Ok(Some(deadline))
    }

    /// Layer 2: attempts.
    async fn call(
        self: Arc<Self>,
        request: Request<ClientBody>,
    ) -> Result<Response<ResponseBody>, ConnectError> {
        let (parts, body) = request.into_parts();
        if !is_unary(&parts.headers) {
            let request = Request::from_parts(parts, RequestBody::Stream(body));
            let answer = self.balance.pick().send(request).await;
            return answer.map_err(|failure| failure.error);
        }
        let body = body.collect().await?.to_bytes();
        let repeatable = methods::idempotency(parts.uri.path()) != IdempotencyLevel::Unknown;
        self.budget.deposit();
        let mut attempt = 1;
        loop {
            let mut request = Request::new(RequestBody::Whole(Full::new(body.clone())));
            *request.method_mut() = parts.method.clone();
            *request.uri_mut() = parts.uri.clone();
            *request.headers_mut() = parts.headers.clone();
            let outcome = self.attempt(request).await;
            let retry = match &outcome {
                Outcome::Answered(_) => false,
                Outcome::Refused { retryable, .. } => *retryable && repeatable,
                Outcome::Failed(failure) => failure.unsent || repeatable,
            };
            if !retry || attempt >= self.options.attempts_max || !self.budget.withdraw() {
                return outcome.into_result();
            }
            tracing::debug!(path = parts.uri.path(), attempt, "a call is sent again");
            let pause = retry::backoff(&self.options, attempt, (self.random)());
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// Layers 3 and 4: one attempt at one address.
    async fn attempt(&self, request: Request<RequestBody>) -> Outcome {
        match self.balance.pick().send(request).await {
            Ok(response) if response.status().is_success() => Outcome::Answered(response),
            Ok(response) => Outcome::read_refusal(response).await,
            Err(failure) => Outcome::Failed(failure),
        }
    }
}

/// How one attempt ended.
enum Outcome {
    Answered(Response<ResponseBody>),
    /// The callee said no.
    Refused {
        response: Response<ResponseBody>,
        retryable: bool,
    },
    Failed(SendFailure),
}

impl Outcome {
    async fn read_refusal(response: Response<ResponseBody>) -> Self {
        let (parts, body) = response.into_parts();
        let body = match Limited::new(body, ERROR_BODY_BYTES_MAX).collect().await {
            Ok(body) => body.to_bytes(),
            // The status is what is left of the answer.
            Err(_) => Bytes::new(),
        };
        Self::Refused {
            retryable: retry::says_retryable(parts.status, &body),
            response: Response::from_parts(parts, ResponseBody::Whole(Full::new(body))),
        }
    }

    fn into_result(self) -> Result<Response<ResponseBody>, ConnectError> {
        match self {
            Self::Answered(response) | Self::Refused { response, .. } => Ok(response),
            Self::Failed(failure) => Err(failure.error),
        }
    }
}

/// A unary call of the Connect protocol; all else streams, and is sent once.
fn is_unary(headers: &http::HeaderMap) -> bool {
    headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|value| value == "application/proto" || value == "application/json")
}

fn asked_ms(headers: &http::HeaderMap) -> Option<u64> {
    headers.get(TIMEOUT)?.to_str().ok()?.parse().ok()
}

fn out_of_time() -> ConnectError {
    Error::deadline_exceeded(
        reason::DEADLINE_EXCEEDED,
        "the deadline of the call that this one serves is over",
    )
    .into()
}

fn host_and_port(address: &str) -> Result<String, Error> {
    let bare = address.strip_prefix("http://").unwrap_or(address);
    let bare = bare.trim_end_matches('/');
    match bare.parse::<http::uri::Authority>() {
        Ok(authority) if authority.port().is_some() => Ok(authority.to_string()),
        Ok(_) => Err(bad_address(address, "the port is missing")),
        Err(error) => Err(bad_address(address, error)),
    }
}

fn bad_address(address: &str, cause: impl std::fmt::Display) -> Error {
    Error::invalid_argument(
        "BAD_ADDRESS",
        format!("{address:?} is not an address such as 127.0.0.1:7001: {cause}"),
    )
}
