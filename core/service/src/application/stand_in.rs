//! What answers on the listeners while the store is waited for: `/health` and `/ready`
//! as an orchestrator asks for them, and every call as unavailable.

use std::os::fd::AsFd;
use std::sync::Arc;

use connectrpc::Router;
use lombard_rpc::server::{Server, ServerOptions, Serving};
use lombard_store::Store;
use lombard_telemetry::Registry;
use tokio::net::TcpListener;

use super::StartError;
use crate::Host;

/// One for each listener.
pub(super) struct StandIns(Vec<Serving>);

impl StandIns {
    /// Answers on the same sockets; they stay open when it leaves.
    pub fn serve(
        listeners: &[(&'static str, TcpListener)],
        host: &Host,
        store: &Store,
        options: &ServerOptions,
    ) -> Result<Self, StartError> {
        let mut serving = Vec::with_capacity(listeners.len());
        for (name, listener) in listeners {
            let store = store.clone();
            let waits = move || match store.engine().waiting_for() {
                Some(what) => Err(what),
                None => Ok(()),
            };
            let server = Server::new(
                name,
                Router::new(),
                options.clone(),
                Registry::new(&[("service", name)]),
                host.random().for_rpc(),
            );
            let served = same_socket(listener)
                .and_then(|listener| server.readiness(Arc::new(waits)).starting().serve(listener));
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
