//! How a service starts, however often its store is unavailable meanwhile.

use std::sync::Arc;
use std::time::Duration;

use lombard_rpc::server::{Readiness, ServerOptions};
use lombard_store::StoreError;
use lombard_telemetry::Registry;
use parking_lot::Mutex;
use tokio::net::TcpListener;

use super::stand_in::StandIns;
use super::{Definition, Failure, Running, ServiceContext};

/// Before a start is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Starts a service, again while the store is unavailable: a database that has just come up
/// may be too slow for what a start needs. Meanwhile stand-ins answer on these listeners.
/// Gives the service, and the metrics that it was given at last.
///
/// # Errors
/// Whatever else stops it.
pub(super) async fn begin<'a>(
    definition: &Definition,
    context: &ServiceContext,
    listeners: impl IntoIterator<Item = &'a (&'static str, TcpListener)> + Clone,
    options: &ServerOptions,
) -> Result<(Running, Registry), Failure> {
    let why: Arc<Mutex<String>> = Arc::default();
    let mut stand_ins = None;
    let begun = loop {
        // What an attempt before this one has put there is not shown twice.
        let registry = Registry::new(&[("service", context.name)]);
        let context = ServiceContext {
            registry: registry.clone(),
            ..context.clone()
        };
        let host = context.host.clone();
        let cause = match (definition.start)(context).await {
            Ok(running) => break Ok((running, registry)),
            Err(cause) if is_unavailable(&cause) => cause.to_string(),
            Err(cause) => break Err(cause),
        };
        tracing::warn!(service = definition.name, cause, "not started yet");
        why.lock().clone_from(&cause);
        if stand_ins.is_none() {
            let why = why.clone();
            let waits: Readiness = Arc::new(move || Err(why.lock().clone()));
            let serving = StandIns::serve(listeners.clone(), &host, options, &waits)?;
            stand_ins = Some(serving);
        }
        host.sleep(PAUSE).await;
    };
    if let Some(stand_ins) = stand_ins {
        stand_ins.leave().await;
    }
    begun
}

fn is_unavailable(cause: &Failure) -> bool {
    let cause = cause.downcast_ref::<StoreError>();
    matches!(cause, Some(StoreError::Unavailable(_)))
}
