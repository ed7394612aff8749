//! The ledger's operations, and its place among the services.
//!
//! [`Ledger`] is a handle: the RPC handlers ([`rpc`]), tests and tools call the
//! same operations. Every answer waits until what it rests on is durable.

mod accounts;
pub mod answer;
mod entries;
mod holds;
mod metrics;
mod queries;
pub mod rpc;
mod start;

use std::sync::Arc;

use lombard_service::Host;
use lombard_store::{Keyspace, Position, Rows, Stop, StoreError};
use lombard_telemetry::Registry;
use thiserror::Error;

use crate::flow::Flow;
use crate::in_flight::InFlight;
use crate::options::Options;
use crate::parse::Bounds;
use crate::reads;
use crate::refusal::Refusal;
use crate::sweeper::Sweeper;

pub use metrics::Metrics;
pub use start::{NAME, start};

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

impl Failure {
    /// Whether it is certain that nothing was changed, and that nothing will be.
    pub fn changed_nothing(&self) -> bool {
        let Self::Store(error) = self else {
            return true;
        };
        matches!(
            error,
            StoreError::Unavailable(_)
                | StoreError::Misconfigured(_)
                | StoreError::Contended { .. }
                | StoreError::LimitExceeded(_)
        )
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The ledger over a keyspace. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    keyspace: Keyspace,
    flow: Flow,
    in_flight: Arc<InFlight>,
    sweeper: Arc<Sweeper>,
    host: Host,
    options: Arc<Options>,
    metrics: Metrics,
}

impl Ledger {
    /// The ledger whose accounts are the partitions of `keyspace`. Its figures go nowhere.
    pub fn new(keyspace: Keyspace, host: Host, options: Options) -> Self {
        Self::measured(keyspace, host, options, Metrics::new(&Registry::new(&[])))
    }

    /// The same, with figures that someone reads.
    pub fn measured(keyspace: Keyspace, host: Host, options: Options, metrics: Metrics) -> Self {
        Self {
            flow: Flow::new(keyspace.clone(), host.id().into_bytes()),
            sweeper: Arc::new(Sweeper::new(keyspace.clone())),
            keyspace,
            in_flight: Arc::default(),
            host,
            options: Arc::new(options),
            metrics,
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

    /// What books expiries soon after their second.
    pub fn sweeper(&self) -> &Sweeper {
        &self.sweeper
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
        self.host.now_us()
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

    /// Reads one account as it is now: what has expired by then is booked first.
    async fn read_now<T: Send>(
        &self,
        account: &str,
        now_us: i64,
        look: impl FnMut(&Rows<'_>) -> Result<T, Stop<Refusal>> + Send,
    ) -> Result<T, Failure> {
        let mut seen = Position::default();
        let value = self.glance_now(account, now_us, &mut seen, look).await?;
        self.keyspace.durable(seen).await?;
        Ok(value?)
    }

    /// As [`Self::read_now`]; the caller waits for `seen` before it answers.
    async fn glance_now<T: Send>(
        &self,
        account: &str,
        now_us: i64,
        seen: &mut Position,
        mut look: impl FnMut(&Rows<'_>) -> Result<T, Stop<Refusal>> + Send,
    ) -> Result<Result<T, Refusal>, StoreError> {
        let mut due = false;
        let first = |rows: &Rows<'_>| {
            due = reads::is_due(rows, now_us)?;
            look(rows)
        };
        let value = self.glance(account, seen, first).await?;
        if !due {
            return Ok(value);
        }
        let booked = self.sweeper.book(account, now_us).await?;
        *seen = (*seen).max(booked.position);
        self.sweeper.watch(account, booked.value.unwrap_or(0));
        self.glance(account, seen, look).await
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
