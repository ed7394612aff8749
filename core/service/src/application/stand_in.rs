//! What answers on the listeners while the store is waited for: `/health` and `/ready`
//! as an orchestrator asks for them, and every call as unavailable.

use std::os::fd::AsFd;

use connectrpc::Router;
use lombard_rpc::server::{Readiness, Server, ServerOptions, Serving};
use lombard_telemetry::Registry;
use tokio::net::TcpListener;

use super::StartError;
use crate::Host;

/// One for each listener.
pub(super) struct StandIns(Vec<Serving>);

impl StandIns {
    /// Answers on the same sockets, which stay open when it leaves. `waits` says what for.
    pub fn serve<'a>(
        listeners: impl IntoIterator<Item = &'a (&'static str, TcpListener)>,
        host: &Host,
        options: &ServerOptions,
        waits: &Readiness,
    ) -> Result<Self, StartError> {
        let mut serving = Vec::new();
        for (name, listener) in listeners {
            let server = Server::new(
                name,
                Router::new(),
                options.clone(),
                Registry::new(&[("service", name)]),
                host.random().for_rpc(),
            );
            let served = same_socket(listener)
                .and_then(|listener| server.readiness(waits.clone()).starting().serve(listener));
            serving.push(served.map_err(|cause| StartError::Service {
                service: name,
                cause: cause.into(),
            })?);
        }
        Ok(Self(serving))
    }

    /// Who still asks is answered; who asks next finds the service.
    pub async fn leave(self) {
        futures::future::join_all(self.0.into_iter().map(Serving::drain)).await;
    }
}

fn same_socket(listener: &TcpListener) -> std::io::Result<TcpListener> {
    let socket = listener.as_fd().try_clone_to_owned()?;
    TcpListener::from_std(socket.into())
}
