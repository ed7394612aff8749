//! Who the bank's customers are.
//!
//! A customer is a partition under his id. Creating is idempotent by that id,
//! and is one commit with its event.

pub mod error;
pub mod limits;
pub mod options;
pub mod parse;
pub mod rows;
pub mod rules;
pub mod service;

use std::sync::Arc;

use connectrpc::Router;
use lombard_contracts::bank::customer::v1::CustomerServiceExt;
use lombard_service::{Failure, Running, ServiceContext};

pub use error::Error;
pub use options::Options;
pub use service::Service;

/// The service's name: of its section, its keyspace, its metrics.
pub const NAME: &str = "customer";

/// Starts the service.
///
/// # Errors
/// Its options or its keyspace.
pub async fn start(context: ServiceContext) -> Result<Running, Failure> {
    let options: Options = context.options()?;
    let keyspace = context.store.keyspace(NAME).await?;
    let service = Service::new(keyspace, options, context.host.clone());
    Ok(Running::new(Arc::new(service).register(Router::new())))
}
