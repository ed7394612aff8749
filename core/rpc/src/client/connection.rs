//! The lowest layer: one address and its HTTP/2 connections.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use connectrpc::ConnectError;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::RwLock;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::ChannelOptions;
use super::body::RequestBody;
use crate::edge;
use crate::{Error, reason};

/// What a receiver may send before it hears from us again: enough for a full
/// batch without a round trip.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// Why a request was not answered.
pub(super) struct SendFailure {
    pub error: ConnectError,
    /// Certain that the callee never saw it: even what must not run twice may be sent again.
    pub unsent: bool,
}

/// One address. Connections are opened when first needed and again when they break.
pub(super) struct Endpoint {
    /// `host:port`.
    address: String,
    slots: Box<[Slot]>,
    next: AtomicUsize,
    options: ChannelOptions,
}

#[derive(Default)]
struct Slot {
    sender: RwLock<Option<SendRequest<RequestBody>>>,
    /// Held while connecting; remembers how the last attempt failed, for those who waited for it.
    connecting: Mutex<Option<(Instant, String)>>,
}

impl Endpoint {
    pub(super) fn new(address: String, options: &ChannelOptions) -> Self {
        Self {
            address,
            slots: (0..options.connections_per_address.max(1))
                .map(|_| Slot::default())
                .collect(),
            next: AtomicUsize::new(0),
            options: options.clone(),
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Sends on the next connection in turn.
    pub(super) async fn send(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, SendFailure> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.slots.len();
        let slot = &self.slots[turn];
        let open = slot
            .sender
            .read()
            .as_ref()
            .filter(|sender| !sender.is_closed())
            .cloned();
        let mut sender = match open {
            Some(sender) => sender,
            None => self.connect(slot).await.map_err(|error| SendFailure {
                error,
                unsent: true,
            })?,
        };
        sender
            .try_send_request(request)
            .await
            .map_err(|mut failure| {
                let unsent = failure.take_message().is_some();
                let error = unreachable(&self.address, failure.error());
                SendFailure { error, unsent }
            })
    }

    /// Opens the slot's connection, once for all who want it.
    async fn connect(&self, slot: &Slot) -> Result<SendRequest<RequestBody>, ConnectError> {
        let asked = edge::now();
        let mut last_failure = slot.connecting.lock().await;
        if let Some(sender) = slot
            .sender
            .read()
            .as_ref()
            .filter(|sender| !sender.is_closed())
        {
            return Ok(sender.clone());
        }
        if let Some((at, cause)) = last_failure.as_ref()
            && *at >= asked
        {
            return Err(unreachable(&self.address, cause));
        }
        let opened = match timeout(self.options.connect_timeout(), self.open()).await {
            Ok(opened) => opened,
            Err(_) => Err(format!(
                "no connection within {} ms",
                self.options.connect_timeout_ms
            )),
        };
        match opened {
            Ok(sender) => {
                *slot.sender.write() = Some(sender.clone());
                *last_failure = None;
                Ok(sender)
            }
            Err(cause) => {
                let error = unreachable(&self.address, &cause);
                *last_failure = Some((edge::now(), cause));
                Err(error)
            }
        }
    }

    async fn open(&self) -> Result<SendRequest<RequestBody>, String> {
        let stream = TcpStream::connect(&self.address)
            .await
            .map_err(|error| error.to_string())?;
        stream
            .set_nodelay(true)
            .map_err(|error| error.to_string())?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .keep_alive_interval(self.options.keep_alive())
            .keep_alive_timeout(self.options.keep_alive())
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        let address = self.address.clone();
        edge::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(address, %error, "connection ended");
            }
        });
        Ok(sender)
    }
}

fn unreachable(address: &str, cause: impl std::fmt::Display) -> ConnectError {
    Error::unavailable(
        reason::UNREACHABLE,
        format!("{address} does not answer: {cause}"),
    )
    .with("address", address)
    .into()
}
