//! Looks at other accounts that are not made again while nothing can have changed their terms:
//! see [`crate::stamps`].

use std::sync::atomic::{AtomicU64, Ordering};

use lombard_store::{Rows, Stop, StoreError};

use super::Flow;
use super::seen::{Seen, in_doubt};
use crate::coordinator::processes::ProcessId;
use crate::refusal::Refusal;
use crate::stamps::{self, Change, PARTITION, Stamps};

/// Who this process is to the others on the keyspace, and what it has entered.
#[derive(Debug)]
pub struct Identity {
    /// That no other process has.
    pub process: ProcessId,
    changes: AtomicU64,
}

impl Identity {
    /// With an id that no other process has.
    pub fn new(process: ProcessId) -> Self {
        Self {
            process,
            changes: AtomicU64::new(0),
        }
    }
}

impl Flow {
    /// The stamps of all accounts, read after this call began. Where a look costs no round
    /// trip there are none.
    pub(super) async fn stamps(&self, seen: &mut Seen) -> Result<Stamps, StoreError> {
        if !self.keyspace.is_remote() {
            return Ok(Stamps::NONE);
        }
        let read = self.keyspace.glance(PARTITION, stamps::read).await?;
        seen.read(read.position);
        read.value.map_err(|refusal| super::never(&refusal))
    }

    /// A check of an account before home decides: see
    /// [`Keyspace::glance_under`](lombard_store::Keyspace::glance_under).
    pub(super) async fn glance<T: Send>(
        &self,
        account: &str,
        stamps: &Stamps,
        seen: &mut Seen,
        look: impl FnMut(&Rows<'_>) -> Result<T, Stop<Refusal>> + Send,
    ) -> Result<Result<T, Refusal>, StoreError> {
        let stamp = stamps.of(account);
        let looked = self.keyspace.glance_under(account.as_bytes(), stamp, look);
        let done = looked.await?;
        seen.read(done.position);
        Ok(done.value)
    }

    /// Enters a change of an account's terms, before it is made.
    ///
    /// # Errors
    /// The store's failure: the change must not be made.
    pub async fn enter_change(&self, account: &str) -> Result<Option<Change>, StoreError> {
        if !self.keyspace.is_remote() {
            return Ok(None);
        }
        let number = self.identity.changes.fetch_add(1, Ordering::Relaxed);
        let change = Change::of(account, self.identity.process, number);
        let begin = |rows: &mut Rows<'_>| stamps::begin(rows, change);
        let entered = self.keyspace.update(PARTITION, begin).await?;
        let entered = entered.durable(&self.keyspace).await?;
        entered.map_err(|refusal| super::never(&refusal))?;
        Ok(Some(change))
    }

    /// Counts a change that is in, or that can no longer come, before its answer.
    ///
    /// # Errors
    /// The store's failure: the change may be in, and must not be told.
    pub async fn count_change(&self, change: Option<Change>) -> Result<(), StoreError> {
        let Some(change) = change else {
            return Ok(());
        };
        let end = |rows: &mut Rows<'_>| stamps::end(rows, change);
        let counted = self.keyspace.update(PARTITION, end).await;
        let counted = counted.map_err(in_doubt)?;
        let counted = counted.durable(&self.keyspace).await.map_err(in_doubt)?;
        counted.map_err(|refusal| super::never(&refusal))
    }
}
