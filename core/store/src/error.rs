//! What can go wrong between a service and its partitions.

use thiserror::Error;

/// A failure of the store itself; never a domain's refusal.
#[derive(Debug, Clone, Error)]
pub enum StoreError {
    /// The engine cannot take writes just now (disk full, no quorum): nothing was changed.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// What the engine was told, or found there, does not fit: credentials, schema,
    /// replication. Trying again does not help; a person has to change something.
    #[error("store misconfigured: {0}")]
    Misconfigured(String),
    /// Nobody knows whether the commit is in. The caller reads its marker and finds out.
    #[error("outcome unknown: {0}")]
    Ambiguous(String),
    /// A row or record that cannot be read, named; never a missing row.
    #[error("damaged data: {0}")]
    Damaged(String),
    /// A limit of the store was exceeded; the request can never succeed.
    #[error("limit exceeded: {0}")]
    LimitExceeded(String),
    /// The store is stopping, or has failed for good.
    #[error("store closed: {0}")]
    Closed(String),
    /// The same partition was changed by others each time that this was tried.
    #[error("gave up after {attempts} conflicts on partition {partition}")]
    Contended {
        /// How often it was tried.
        attempts: u32,
        /// The partition's key, printable.
        partition: String,
    },
}

/// Why a read inside an update could not be answered at once.
#[derive(Debug, Clone, Error)]
pub enum Fault {
    /// The row is not loaded yet: the store loads it and runs the function again.
    #[error("row not loaded")]
    NotLoaded,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a function over rows stopped: a fault below it, or its own refusal.
#[derive(Debug, Clone)]
pub enum Stop<E> {
    /// Passed on from a read by `?`. Never made by rules themselves.
    Fault(Fault),
    /// The domain's own "no": rejects this operation and nothing else.
    Refused(E),
}

impl<E> From<Fault> for Stop<E> {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
