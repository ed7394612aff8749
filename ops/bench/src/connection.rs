//! One HTTP/2 connection to the ledger, and calls on it with bodies as bytes.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;

use crate::BenchError;

/// Bodies of a batch go out without waiting for window updates in between.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A call without an answer for so long is counted as an error.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection; clones share it.
#[derive(Clone)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    address: String,
}

/// The answer to a call.
pub enum Answer {
    /// Protobuf.
    Accepted(Bytes),
    /// A Connect error: code and message.
    Refused {
        /// The Connect code, e.g. `failed_precondition`.
        code: String,
        /// For people.
        message: String,
    },
    /// The connection is of no more use, or nobody answers.
    Lost(String),
}

impl Connection {
    /// Connects to `HOST:PORT`.
    ///
    /// # Errors
    /// Nobody listens there, or it speaks no HTTP/2.
    pub async fn open(address: &str) -> Result<Self, BenchError> {
        let unreachable = |reason: String| BenchError::Unreachable {
            address: address.to_owned(),
            reason,
        };
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
            .await
            .map_err(|_| unreachable("no connection in 5 s".to_owned()))?
            .map_err(|error| unreachable(error.to_string()))?;
        stream
            .set_nodelay(true)
            .map_err(|error| unreachable(error.to_string()))?;
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(STREAM_WINDOW_BYTES as usize)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        // Ends when the last sender is gone; what it ends with, the calls see too.
        drop(tokio::spawn(connection));
        Ok(Self {
            sender,
            address: address.to_owned(),
        })
    }

    /// Where it goes.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The address of a ledger's method, to be kept for many calls.
    ///
    /// # Errors
    /// The address is no `HOST:PORT`.
    pub fn uri(&self, method: &'static str) -> Result<Uri, BenchError> {
        format!(
            "http://{}/bank.ledger.v1.LedgerService/{method}",
            self.address
        )
        .parse()
        .map_err(|error: http::uri::InvalidUri| BenchError::Unreachable {
            address: self.address.clone(),
            reason: error.to_string(),
        })
    }

    /// One call.
    pub async fn call(&mut self, uri: &Uri, body: Bytes) -> Answer {
        match tokio::time::timeout(CALL_TIMEOUT, self.call_unbounded(uri, body)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Answer::Lost(error.to_string()),
            Err(_) => Answer::Lost("no answer in 60 s".to_owned()),
        }
    }

    async fn call_unbounded(&mut self, uri: &Uri, body: Bytes) -> hyper::Result<Answer> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/proto"));
        headers.insert("connect-protocol-version", HeaderValue::from_static("1"));
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status.is_success() {
            return Ok(Answer::Accepted(body));
        }
        let error: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let part = |name: &str| error.get(name).and_then(serde_json::Value::as_str);
        Ok(Answer::Refused {
            code: part("code").map_or_else(|| format!("http_{}", status.as_u16()), str::to_owned),
            message: part("message").unwrap_or_default().to_owned(),
        })
    }
}
