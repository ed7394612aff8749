//! A few HTTP/2 connections that all calls share.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::RwLock;

use super::super::body::RequestBody;
use super::super::{ChannelOptions, ResponseBody};
use super::{Address, Connecting, SendFailure, drive};

/// What a receiver may send before it hears from us again: enough for a full
/// batch without a round trip.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

pub(super) struct Http2 {
    slots: Box<[Slot]>,
    next: AtomicUsize,
}

#[derive(Default)]
struct Slot {
    sender: RwLock<Option<SendRequest<RequestBody>>>,
    connecting: Connecting,
}

impl Slot {
    fn open(&self) -> Option<SendRequest<RequestBody>> {
        let sender = self.sender.read();
        sender
            .as_ref()
            .filter(|sender| !sender.is_closed())
            .cloned()
    }
}

impl Http2 {
    pub(super) fn new(options: &ChannelOptions) -> Self {
        Self {
            slots: (0..options.connections_per_address.max(1))
                .map(|_| Slot::default())
                .collect(),
            next: AtomicUsize::new(0),
        }
    }

    /// Sends on the next connection in turn.
    pub(super) async fn send(
        &self,
        address: &Address,
        request: Request<RequestBody>,
    ) -> Result<Response<ResponseBody>, SendFailure> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.slots.len();
        let slot = &self.slots[turn];
        let mut sender = match slot.open() {
            Some(sender) => sender,
            None => self.connect(address, slot).await?,
        };
        match sender.try_send_request(request).await {
            Ok(response) => Ok(response.map(ResponseBody::Incoming)),
            Err(mut failure) => Err(SendFailure {
                unsent: failure.take_message().is_some(),
                error: address.unreachable(failure.error()),
            }),
        }
    }

    async fn connect(
        &self,
        address: &Address,
        slot: &Slot,
    ) -> Result<SendRequest<RequestBody>, SendFailure> {
        let keep_alive = address.options.keep_alive();
        let connect = async || {
            let opened = address.connect(async |stream| {
                http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .initial_stream_window_size(STREAM_WINDOW_BYTES)
                    .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                    .keep_alive_interval(keep_alive)
                    .keep_alive_timeout(keep_alive)
                    .handshake(TokioIo::new(stream))
                    .await
            });
            let (sender, connection) = opened.await?;
            drive(&address.name, connection);
            *slot.sender.write() = Some(sender.clone());
            Ok(sender)
        };
        let opened = slot.connecting.once(|| slot.open(), connect).await;
        opened.map_err(|cause| SendFailure {
            error: address.unreachable(cause),
            unsent: true,
        })
    }
}
