//! What a run has read and done so far: up to where its answer must be durable,
//! and whether a failure may still be told as one that changed nothing.

use lombard_store::{Position, Rows, Stop, StoreError};

use super::Flow;
use crate::refusal::Refusal;

/// Of one run, over all partitions that it touches.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// Nothing that the answer rests on is behind it.
    pub position: Position,
    changed: bool,
}

impl Seen {
    pub(super) fn read(&mut self, position: Position) {
        self.position = self.position.max(position);
    }

    pub(super) fn changed(&mut self, position: Position) {
        self.read(position);
        self.changed = true;
    }

    /// What a part of the run has read and done.
    pub(super) fn merge(&mut self, part: Self) {
        self.read(part.position);
        self.changed |= part.changed;
    }

    /// A step's failure as the run's: [`StoreError::Unavailable`] says that nothing
    /// was changed, which is true of the step, and of the run only before its first.
    pub(super) fn failed(self, error: StoreError) -> StoreError {
        if self.changed { in_doubt(error) } else { error }
    }
}

/// The failure of a step after which others stand that went in before it.
pub(crate) fn in_doubt(error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(_)
        | StoreError::Misconfigured(_)
        | StoreError::Contended { .. } => StoreError::Ambiguous(format!(
            "a step went in and a later one did not ({error}); \
             sent again with the same id, it goes on from there"
        )),
        _ => error,
    }
}

impl Flow {
    /// A step that changes a partition, unless it is refused.
    pub(super) async fn change<T: Send, R: Send>(
        &self,
        account: &str,
        seen: &mut Seen,
        rule: impl FnMut(&mut Rows<'_>) -> Result<T, Stop<R>> + Send,
    ) -> Result<Result<T, R>, StoreError> {
        let done = self.keyspace.update(account.as_bytes(), rule).await?;
        match done.value {
            Ok(_) => seen.changed(done.position),
            Err(_) => seen.read(done.position),
        }
        Ok(done.value)
    }

    /// A look at a partition.
    pub(super) async fn look<T: Send>(
        &self,
        account: &str,
        seen: &mut Seen,
        look: impl FnMut(&Rows<'_>) -> Result<T, Stop<Refusal>> + Send,
    ) -> Result<Result<T, Refusal>, StoreError> {
        let done = self.keyspace.read_ahead(account.as_bytes(), look).await?;
        seen.read(done.position);
        Ok(done.value)
    }
}
