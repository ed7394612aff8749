//! Accepts connections, and stops without dropping a call.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use lombard_telemetry::Event;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use super::ServerOptions;
use super::metrics::AcceptFailed;
use super::stack::Stack;
use crate::edge;

/// What a client may send before it hears from us again.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// How often an idle HTTP/2 connection is tested.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// After a failed `accept` (no file descriptors left, mostly), before the next one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a server left when it stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still at work when the time was over, and were cut off.
    pub cut_off: usize,
}

/// A serving server. Dropping it cuts everything off; see [`Serving::drain`].
pub struct Serving {
    address: SocketAddr,
    stop: mpsc::Sender<oneshot::Sender<Drained>>,
    task: JoinHandle<()>,
    stack: Arc<Stack>,
}

impl Serving {
    pub(super) fn start(
        listener: TcpListener,
        stack: Arc<Stack>,
        options: ServerOptions,
    ) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, stopped) = mpsc::channel(1);
        let acceptor = Acceptor {
            listener,
            stack: Arc::clone(&stack),
            http: http_builder(&options),
            options,
            graceful: GracefulShutdown::new(),
            connections: JoinSet::new(),
        };
        Ok(Self {
            address,
            stop,
            task: edge::spawn(acceptor.run(stopped)),
            stack,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Calls in progress.
    pub fn calls_in_progress(&self) -> usize {
        usize::try_from(self.stack.metrics.in_flight.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Stops: `/ready` says no, no connection is accepted behind those that wait already,
    /// calls in progress are answered, and connections closed as they fall idle. What is
    /// not done within the drain timeout is cut off.
    pub async fn drain(mut self) -> Drained {
        let (answer, drained) = oneshot::channel();
        // Both fail only if the task is gone, and then there is nothing left to cut off.
        if self.stop.send(answer).await.is_err() {
            return Drained { cut_off: 0 };
        }
        let drained = drained.await.unwrap_or(Drained { cut_off: 0 });
        let _ = (&mut self.task).await;
        drained
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Acceptor {
    listener: TcpListener,
    stack: Arc<Stack>,
    http: auto::Builder<TokioExecutor>,
    options: ServerOptions,
    graceful: GracefulShutdown,
    connections: JoinSet<()>,
}

impl Acceptor {
    async fn run(mut self, mut stop: mpsc::Receiver<oneshot::Sender<Drained>>) {
        let answer = loop {
            let room = self.connections.len() < self.options.max_connections;
            tokio::select! {
                asked = stop.recv() => match asked {
                    Some(answer) => break answer,
                    None => return,
                },
                accepted = self.listener.accept(), if room => match accepted {
                    Ok((stream, _)) => self.serve(stream),
                    Err(error) => {
                        AcceptFailed { error: &error }.emit(&self.stack.metrics);
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = self.connections.join_next() => {}
            }
        };
        let drained = self.drain().await;
        // Nobody listens if whoever asked was cut off himself.
        let _ = answer.send(drained);
    }

    fn serve(&mut self, stream: TcpStream) {
        // A call is small and waits for its answer: nothing is gained by waiting for more.
        let _ = stream.set_nodelay(true);
        let stack = Arc::clone(&self.stack);
        let service = service_fn(move |request| stack.handle(request));
        let connection = self
            .http
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        let connection = self.graceful.watch(connection);
        self.connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }

    async fn drain(mut self) -> Drained {
        self.stack.draining.store(true, Ordering::Relaxed);
        // Clients whose connection the system has accepted for us may have sent a call already.
        while let Some(Ok((stream, _))) = self.listener.accept().now_or_never() {
            self.serve(stream);
        }
        let Self {
            listener,
            options,
            graceful,
            mut connections,
            ..
        } = self;
        drop(listener);
        tokio::time::sleep(options.drain_linger()).await;
        let finished = async {
            graceful.shutdown().await;
            while connections.join_next().await.is_some() {}
        };
        let in_time = tokio::time::timeout(options.drain_timeout(), pin!(finished)).await;
        let cut_off = match in_time {
            Ok(()) => 0,
            Err(_) => {
                while connections.try_join_next().is_some() {}
                connections.len()
            }
        };
        connections.shutdown().await;
        Drained { cut_off }
    }
}

fn http_builder(options: &ServerOptions) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(options.header_timeout_ms))
        .pipeline_flush(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(u32::try_from(options.max_concurrent_calls).unwrap_or(u32::MAX))
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    builder
}
