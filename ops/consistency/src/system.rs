//! The system under test, as the checker sees it.

use async_trait::async_trait;

use crate::end::Audit;

/// A ledger that answers calls: one process or several, over any engine.
#[async_trait]
pub trait System: Send + Sync {
    /// What it is, in words: "ledger over Cassandra, three nodes".
    fn name(&self) -> String;

    /// Where ledgers listen now, each `HOST:PORT`. Asked before every attempt, so it
    /// may change as they are started again; a client takes any of them.
    fn addresses(&self) -> Vec<String>;

    /// Asks the ledger's own auditor, once all is quiet; none: there is none at hand.
    ///
    /// # Errors
    /// It could not be asked, in words.
    async fn audit(&self) -> Result<Option<Audit>, String> {
        Ok(None)
    }
}
