//! The ledger's operations, and its place among the services.
//!
//! [`Ledger`] is a handle: the RPC handlers ([`rpc`]), tests and tools call the
//! same operations. Every answer waits until what it rests on is durable.

mod accounts;
pub mod answer;
mod entries;
mod holds;
mod queries;
pub mod rpc;

use std::sync::Arc;

use lombard_store::{Keyspace, Position, Rows, Stop, StoreError};
use thiserror::Error;

use crate::flow::Flow;
use crate::in_flight::InFlight;
use crate::options::Options;
use crate::parse::Bounds;
use crate::refusal::Refusal;

/// Why an operation gave no answer.
#[derive(Debug, Clone, Error)]
pub enum Failure {
    /// The rules say no. Nothing was changed.
    #[error("{0}")]
    Refused(Refusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The time: microseconds since 1970-01-01, given by the host.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The ledger over a keyspace. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    keyspace: Keyspace,
    flow: Flow,
    in_flight: Arc<InFlight>,
    clock: Clock,
    options: Arc<Options>,
}

impl Ledger {
    /// The ledger whose accounts are the partitions of `keyspace`.
    pub fn new(keyspace: Keyspace, clock: Clock, options: Options) -> Self {
        Self {
            flow: Flow::new(keyspace.clone()),
            keyspace,
            in_flight: Arc::default(),
            clock,
            options: Arc::new(options),
        }
    }

    /// The keyspace.
    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// What commits entries; the coordinator shares it.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// What runs between its first commit and its last; the coordinator shares it.
    pub fn in_flight(&self) -> &Arc<InFlight> {
        &self.in_flight
    }

    /// How it is set.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What parsing must know of this moment.
    pub fn bounds(&self) -> Bounds {
        Bounds::at(self.now_us(), &self.options)
    }

    fn now_us(&self) -> i64 {
        (self.clock)()
    }

    /// Changes one account and waits until that is durable.
    async fn change<T: Send>(
        &self,
        account: &str,
        rule: impl FnMut(&mut Rows<'_>) -> Result<T, Stop<Refusal>> + Send,
    ) -> Result<T, Failure> {
        let done = self.keyspace.update(account.as_bytes(), rule).await?;
        Ok(done.durable(&self.keyspace).await??)
    }

    /// Reads one account in one consistent state, and waits until that is durable.
    async fn read<T: Send>(
        &self,
        account: &str,
        look: impl FnMut(&Rows<'_>) -> Result<T, Stop<Refusal>> + Send,
    ) -> Result<T, Failure> {
        let done = self.keyspace.read(account.as_bytes(), look).await?;
        Ok(done.durable(&self.keyspace).await??)
    }

    /// Reads one account; the caller waits for `seen` before it answers.
    async fn glance<T: Send>(
        &self,
        account: &str,
        seen: &mut Position,
        look: impl FnMut(&Rows<'_>) -> Result<T, Stop<Refusal>> + Send,
    ) -> Result<Result<T, Refusal>, StoreError> {
        let done = self.keyspace.read(account.as_bytes(), look).await?;
        *seen = (*seen).max(done.position);
        Ok(done.value)
    }
}
