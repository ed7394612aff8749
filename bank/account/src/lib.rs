//! Current accounts: sort code, number and IBAN in front of the ledger.
//!
//! An account here is what the bank promised a customer; its money is all in the
//! ledger's account of the same id. Opening goes over several partitions and the
//! ledger by steps that may run twice; what a dead process left is found by the
//! number that is still kept for it.

pub mod coordinator;
pub mod error;
pub mod events;
pub mod limits;
#[cfg(test)]
mod memory;
pub mod numbers;
pub mod opening;
pub mod options;
pub mod parse;
pub mod rows;
pub mod rules;
pub mod service;

use std::sync::Arc;

use connectrpc::Router;
use lombard_contracts::bank::account::v1::AccountServiceExt;
use lombard_service::{Failure, Running, ServiceContext};

pub use error::Error;
pub use numbers::{Numbering, NumberingError};
pub use options::Options;
pub use service::Service;

/// The service's name: of its section, its keyspace, its metrics.
pub const NAME: &str = "account";

/// Starts the service and its coordinator. It calls the ledger and the customer service.
///
/// # Errors
/// Its options, the files that they name, or its keyspace.
pub async fn start(context: ServiceContext) -> Result<Running, Failure> {
    let options: Options = context.options()?;
    let numbering = Numbering::load(&options)?;
    tracing::info!(%numbering, "account numbers");
    let keyspace = context.store.keyspace(NAME).await?;
    let ledger = context.channel_to("ledger")?;
    let customers = context.channel_to("customer")?;
    let host = context.host.clone();
    let service = Arc::new(Service::new(
        keyspace,
        &ledger,
        &customers,
        numbering,
        host.clone(),
    ));
    let metrics = events::Metrics::new(&context.registry);
    let coordinator = coordinator::run(
        service.clone(),
        host.clone(),
        options.opening_timeout_ms,
        metrics,
    );
    host.tasks().spawn("account coordinator", coordinator);
    Ok(Running::new(service.register(Router::new())))
}
