//! The lowest layer: one address and the connections to it.

mod http1;
mod http2;

use std::fmt::Display;
use std::time::Instant;

use connectrpc::ConnectError;
use http::{Request, Response};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;

use self::http1::Http1;
use self::http2::Http2;
use super::body::RequestBody;
use super::{ChannelOptions, HttpVersion, ResponseBody};
use crate::edge;
use crate::{Error, reason};

/// Why a request was not answered.
pub(super) struct SendFailure {
    pub error: ConnectError,
    /// Certain that the callee never saw it: even what must not run twice may be sent again.
    pub unsent: bool,
}

/// One address. Connections are opened when first needed and again when they break.
pub(super) struct Endpoint {
    address: Address,
    connections: Connections,
}

enum Connections {
    Http1(Http1),
    Http2(Http2),
}

impl Endpoint {
    /// `address` is `host:port`.
    pub(super) fn new(address: String, options: &ChannelOptions) -> Self {
        Self {
            address: Address {
                name: address,
                options: options.clone(),
            },
            connections: match options.http_version {
                HttpVersion::Http1 => Connections::Http1(Http1::new(options)),
                HttpVersion::Http2 => Connections::Http2(Http2::new(options)),
            },
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address.name
    }

    pub(super) async fn send(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<ResponseBody>, SendFailure> {
        match &self.connections {
            Connections::Http1(pool) => pool.send(&self.address, request).await,
            Connections::Http2(pool) => pool.send(&self.address, request).await,
        }
    }
}

/// Where connections go.
struct Address {
    name: String,
    options: ChannelOptions,
}

impl Address {
    async fn connect<T>(
        &self,
        handshake: impl AsyncFnOnce(TcpStream) -> hyper::Result<T>,
    ) -> Result<T, String> {
        let opened = async {
            let stream = TcpStream::connect(&self.name)
                .await
                .map_err(|error| error.to_string())?;
            // A call is small and waits for its answer: nothing is gained by waiting for more.
            stream
                .set_nodelay(true)
                .map_err(|error| error.to_string())?;
            handshake(stream).await.map_err(|error| error.to_string())
        };
        match timeout(self.options.connect_timeout(), opened).await {
            Ok(opened) => opened,
            Err(_) => Err(format!(
                "no connection within {} ms",
                self.options.connect_timeout_ms
            )),
        }
    }

    fn unreachable(&self, cause: impl Display) -> ConnectError {
        Error::unavailable(
            reason::UNREACHABLE,
            format!("{} does not answer: {cause}", self.name),
        )
        .with("address", &self.name)
        .into()
    }
}

/// Runs a connection until it ends.
fn drive(address: &str, connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
    let address = address.to_owned();
    edge::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(address, %error, "connection ended");
        }
    });
}

/// Lets one task connect for all that want to, and tells those who waited how it went.
#[derive(Default)]
struct Connecting(Mutex<Option<(Instant, String)>>);

impl Connecting {
    /// `found` looks whether someone else has connected meanwhile.
    async fn once<T>(
        &self,
        found: impl Fn() -> Option<T>,
        connect: impl AsyncFnOnce() -> Result<T, String>,
    ) -> Result<T, String> {
        let asked = edge::now();
        let mut last_failure = self.0.lock().await;
        if let Some(connection) = found() {
            return Ok(connection);
        }
        if let Some((at, cause)) = last_failure.as_ref()
            && *at >= asked
        {
            return Err(cause.clone());
        }
        let opened = connect().await;
        *last_failure = opened
            .as_ref()
            .err()
            .map(|cause| (edge::now(), cause.clone()));
        opened
    }
}
