//! Bodies on their way in and out of the stack.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use connectrpc::ConnectRpcBody;
use connectrpc::http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;

use super::stack::InFlight;

/// Of a body that is too large, this many times the limit is read and thrown away
/// before the refusal is sent: a client that is still writing when the connection
/// closes would see a broken pipe instead of the reason.
const DISCARDED_LIMITS: usize = 16;

/// A request's body up to the limit.
pub(super) struct BoundedBody {
    body: Incoming,
    limit: usize,
    received: usize,
}

impl BoundedBody {
    pub(super) fn new(body: Incoming, limit: usize) -> Self {
        Self {
            body,
            limit,
            received: 0,
        }
    }
}

/// Why a request's body cannot be read.
#[derive(Debug)]
pub(super) enum BodyError {
    TooLarge { limit: usize },
    Connection(hyper::Error),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit } => write!(f, "request body size exceeds limit {limit}"),
            Self::Connection(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BodyError {}

impl Body for BoundedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(BodyError::Connection(error)))),
                None if this.received > this.limit => break,
                None => return Poll::Ready(None),
            };
            this.received += frame.data_ref().map_or(0, Bytes::len);
            if this.received <= this.limit {
                return Poll::Ready(Some(Ok(frame)));
            }
            if this.received > this.limit.saturating_mul(DISCARDED_LIMITS) {
                break;
            }
        }
        let limit = this.limit;
        Poll::Ready(Some(Err(BodyError::TooLarge { limit })))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body.
pub(super) enum ResponseBody {
    Plain(Full<Bytes>),
    /// A stream counts as a call in progress until it ends.
    Rpc(
        ConnectRpcBody,
        #[expect(dead_code, reason = "held, not read")] Option<InFlight>,
    ),
}

impl ResponseBody {
    pub(super) fn rpc(body: ConnectRpcBody) -> Self {
        Self::counted(body, None)
    }

    pub(super) fn counted(body: ConnectRpcBody, in_flight: Option<InFlight>) -> Self {
        match body {
            // Known whole, and so a length on the wire and no further frame after it.
            ConnectRpcBody::Full(body) => Self::Plain(body),
            body => Self::Rpc(body, in_flight),
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Plain(body) => Pin::new(body).poll_frame(cx),
            Self::Rpc(body, _) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Plain(body) => body.is_end_stream(),
            Self::Rpc(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Plain(body) => body.size_hint(),
            Self::Rpc(body, _) => body.size_hint(),
        }
    }
}
