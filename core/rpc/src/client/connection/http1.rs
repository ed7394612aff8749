//! HTTP/1.1 connections, one for each call in progress, kept for the next.
//!
//! Between processes of one machine a call costs less CPU this way than as one of
//! many streams of an HTTP/2 connection: nothing is multiplexed, compressed or
//! passed between tasks.

use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::super::body::RequestBody;
use super::super::{ChannelOptions, ResponseBody};
use super::{Address, Connecting, SendFailure, drive};

pub(super) struct Http1 {
    /// The last one used is used first: the fewest stay in use, the others may be closed.
    idle: Mutex<Vec<SendRequest<RequestBody>>>,
    /// One for each connection that may be open.
    permits: Semaphore,
    connecting: Connecting,
    response_bytes_max: usize,
}

impl Http1 {
    pub(super) fn new(options: &ChannelOptions) -> Self {
        Self {
            idle: Mutex::default(),
            permits: Semaphore::new(options.http1_connections_max.max(1)),
            connecting: Connecting::default(),
            response_bytes_max: options.response_bytes_max,
        }
    }

    /// The next idle connection that is still open.
    fn take_idle(&self) -> Option<SendRequest<RequestBody>> {
        let mut idle = self.idle.lock();
        while let Some(sender) = idle.pop() {
            if !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    pub(super) async fn send(
        &self,
        address: &Address,
        mut request: Request<RequestBody>,
    ) -> Result<Response<ResponseBody>, SendFailure> {
        origin_form(address, &mut request);
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        let (sender, response) = loop {
            let (mut sender, is_new) = match self.take_idle() {
                Some(sender) => (sender, false),
                None => (self.connect(address).await?, true),
            };
            // An error here is one of sending, too, which tells what to do.
            let _ = sender.ready().await;
            match sender.try_send_request(request).await {
                Ok(response) => break (sender, response),
                Err(mut failure) => match failure.take_message() {
                    // The callee closed it while it was idle: that says nothing about the callee.
                    Some(unsent) if !is_new => request = unsent,
                    message => {
                        return Err(SendFailure {
                            unsent: message.is_some(),
                            error: address.unreachable(failure.error()),
                        });
                    }
                },
            }
        };
        let streams = response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/connect+"));
        if streams {
            // The connection ends with the stream that is on it.
            return Ok(response.map(ResponseBody::Incoming));
        }
        let response = self.whole(address, response).await?;
        self.idle.lock().push(sender);
        Ok(response)
    }

    /// Reads the body, so that the connection is free for the next call.
    async fn whole(
        &self,
        address: &Address,
        response: Response<Incoming>,
    ) -> Result<Response<ResponseBody>, SendFailure> {
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, self.response_bytes_max).collect().await;
        let body = body.map_err(|error| SendFailure {
            error: address.unreachable(error),
            unsent: false,
        })?;
        let body = ResponseBody::Whole(Full::new(body.to_bytes()));
        Ok(Response::from_parts(parts, body))
    }

    async fn connect(&self, address: &Address) -> Result<SendRequest<RequestBody>, SendFailure> {
        let connect = async || {
            let opened = address.connect(async |stream| {
                http1::Builder::new().handshake(TokioIo::new(stream)).await
            });
            let (sender, connection) = opened.await?;
            drive(&address.name, connection);
            Ok(sender)
        };
        let opened = self.connecting.once(|| self.take_idle(), connect).await;
        opened.map_err(|cause| SendFailure {
            error: address.unreachable(cause),
            unsent: true,
        })
    }
}

/// HTTP/1.1 names the host in a header and only the path in the request line.
fn origin_form(address: &Address, request: &mut Request<RequestBody>) {
    if let Ok(host) = HeaderValue::from_str(&address.name) {
        request.headers_mut().insert(header::HOST, host);
    }
    if let Some(path) = request.uri().path_and_query() {
        *request.uri_mut() = http::Uri::from(path.clone());
    }
}
