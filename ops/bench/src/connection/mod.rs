//! Connections to the ledger, and calls on them with bodies as bytes.
//!
//! HTTP/1.1 takes less CPU for a call, HTTP/2 fewer connections.

mod http1;
mod http2;

use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;

use self::http1::Http1;
use self::http2::Http2;
use crate::BenchError;
use crate::shape::HttpVersion;

const SERVICE: &str = "bank.ledger.v1.LedgerService";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What the ledger is given for a call, in the header that Connect has for it. A deadline is
/// no part of what is measured: with it in the way, a load too great for it (a large batch on a
/// database that has just been started) would show as errors, and its latency not at all.
const TIMEOUT_HEADER: (&str, &str) = ("connect-timeout-ms", "240000");
/// A call without an answer for so long is counted as an error.
const CALL_TIMEOUT: Duration = Duration::from_secs(250);

/// A connection to a ledger.
pub enum Connection {
    /// One call at a time.
    Http1(Http1),
    /// Many calls at a time.
    Http2(Http2),
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
    /// Nobody listens there, or it speaks another protocol.
    pub async fn open(address: &str, version: HttpVersion) -> Result<Self, BenchError> {
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
        Ok(match version {
            HttpVersion::Http1 => Self::Http1(Http1::new(stream, address)),
            HttpVersion::Http2 => {
                Self::Http2(Http2::new(stream, address).await.map_err(unreachable)?)
            }
        })
    }

    /// The same connection for another client, where calls can share it.
    pub fn share(&self) -> Option<Self> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(connection) => Some(Self::Http2(connection.clone())),
        }
    }

    /// Where it goes.
    pub fn address(&self) -> &str {
        match self {
            Self::Http1(connection) => connection.address(),
            Self::Http2(connection) => connection.address(),
        }
    }

    /// Which protocol it speaks.
    pub fn version(&self) -> HttpVersion {
        match self {
            Self::Http1(_) => HttpVersion::Http1,
            Self::Http2(_) => HttpVersion::Http2,
        }
    }

    /// One call of a ledger's method. After [`Answer::Lost`] the connection is of no more use.
    pub async fn call(&mut self, method: &'static str, body: Bytes) -> Answer {
        let answered = async {
            match self {
                Self::Http1(connection) => connection.call(method, &body).await,
                Self::Http2(connection) => connection.call(method, body).await,
            }
        };
        match tokio::time::timeout(CALL_TIMEOUT, answered).await {
            Ok(Ok((200, body))) => Answer::Accepted(body),
            Ok(Ok((status, body))) => refused(status, &body),
            Ok(Err(reason)) => Answer::Lost(reason),
            Err(_) => Answer::Lost(format!("no answer in {} s", CALL_TIMEOUT.as_secs())),
        }
    }
}

/// A Connect error: `{"code":"…","message":"…"}`.
fn refused(status: u16, body: &[u8]) -> Answer {
    let error: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let part = |name: &str| error.get(name).and_then(serde_json::Value::as_str);
    Answer::Refused {
        code: part("code").map_or_else(|| format!("http_{status}"), str::to_owned),
        message: part("message").unwrap_or_default().to_owned(),
    }
}
