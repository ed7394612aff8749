//! Expires holds soon after their second, so that their events appear.
//!
//! Nothing rests on it: whatever reads or changes an account treats a due hold
//! as expired, whether or not it was swept.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use lombard_store::{Keyspace, Position, Rows, Sequenced, Stop, StoreError};
use parking_lot::Mutex;

use crate::book::Book;
use crate::refusal::Refusal;

/// Accounts that are watched; others expire when they are next changed.
const WATCHED_ACCOUNTS_MAX: usize = 1_000_000;
/// Accounts that one sweep changes.
const ACCOUNTS_PER_SWEEP_MAX: usize = 1_024;
/// Accounts of one page of the scan at start.
const ACCOUNTS_PER_PAGE: usize = 256;
/// Accounts that it reads at the same time: few, calls come first.
const AT_ONCE: usize = 8;

/// Knows which account's holds are due next.
pub struct Sweeper {
    keyspace: Keyspace,
    due: Mutex<Due>,
    scan_again: AtomicBool,
}

#[derive(Default)]
struct Due {
    by_account: HashMap<String, i64>,
    by_time: BTreeSet<(i64, String)>,
}

impl Due {
    fn forget(&mut self, account: &str) {
        if let Some(before) = self.by_account.remove(account) {
            self.by_time.remove(&(before, account.to_owned()));
        }
    }

    fn watch(&mut self, account: &str, expires_us: i64) {
        match self.by_account.get(account) {
            Some(&earlier) if earlier <= expires_us => return,
            None if self.by_account.len() >= WATCHED_ACCOUNTS_MAX => return,
            _ => {}
        }
        self.forget(account);
        self.by_account.insert(account.to_owned(), expires_us);
        self.by_time.insert((expires_us, account.to_owned()));
    }

    fn take(&mut self, now_us: i64) -> Vec<String> {
        let due: Vec<String> = self
            .by_time
            .iter()
            .take_while(|(expires_us, _)| *expires_us <= now_us)
            .take(ACCOUNTS_PER_SWEEP_MAX)
            .map(|(_, account)| account.clone())
            .collect();
        for account in &due {
            self.forget(account);
        }
        due
    }
}

impl Sweeper {
    /// Over the ledger's keyspace.
    pub fn new(keyspace: Keyspace) -> Self {
        Self {
            keyspace,
            due: Mutex::default(),
            scan_again: AtomicBool::new(false),
        }
    }

    /// There are holds that this process does not know: all accounts are to be looked at.
    pub fn scan_again(&self) {
        self.scan_again.store(true, Ordering::Release);
    }

    /// Whether [`Self::scan_again`] was called since this was last asked.
    pub fn is_to_scan(&self) -> bool {
        self.scan_again.swap(false, Ordering::AcqRel)
    }

    /// A hold of the account expires then.
    pub fn watch(&self, account: &str, expires_us: i64) {
        if expires_us != 0 {
            self.due.lock().watch(account, expires_us);
        }
    }

    /// Finds the open holds of all accounts: after a start, or when another process is gone.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn scan(&self) -> Result<(), StoreError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self
                .keyspace
                .partitions(after.as_deref(), ACCOUNTS_PER_PAGE)
                .await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.to_vec());
            let looks = page.iter().map(|account| self.look(account));
            let looks: Vec<BoxFuture<'_, _>> = looks.map(FutureExt::boxed).collect();
            let looks = stream::iter(looks).buffer_unordered(AT_ONCE);
            looks.try_collect::<()>().await?;
        }
    }

    async fn look(&self, account: &[u8]) -> Result<(), StoreError> {
        let look = |rows: &Rows<'_>| Ok::<_, Stop<Refusal>>(Book::load(rows)?);
        if let Ok(Some(book)) = self.keyspace.read(account, look).await?.value {
            self.watch(&book.head().account, book.state.next_expiry_us);
        }
        Ok(())
    }

    /// Books what has expired in one account; when the next hold expires there, or 0.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn book(
        &self,
        account: &str,
        now_us: i64,
    ) -> Result<Sequenced<Result<i64, Refusal>>, StoreError> {
        let book = |rows: &mut Rows<'_>| {
            let mut book = Book::take_required(rows, account)?;
            let next = book.state.next_expiry_us;
            if next == 0 || next > now_us {
                book.put_back(rows);
                return Ok::<_, Stop<Refusal>>(next);
            }
            book.expire_holds(rows, now_us)?;
            let next = book.state.next_expiry_us;
            book.save(rows);
            Ok(next)
        };
        self.keyspace.update(account.as_bytes(), book).await
    }

    /// Expires what is due. Returns how many accounts it changed.
    ///
    /// # Errors
    /// The store's failure; the accounts stay watched.
    pub async fn sweep(&self, now_us: i64) -> Result<usize, StoreError> {
        let due = self.due.lock().take(now_us);
        let mut last = Position::default();
        for (index, account) in due.iter().enumerate() {
            match self.book(account, now_us).await {
                Ok(swept) => {
                    last = last.max(swept.position);
                    self.watch(account, swept.value.unwrap_or(0));
                }
                Err(error) => {
                    for account in due.iter().skip(index) {
                        self.watch(account, now_us);
                    }
                    return Err(error);
                }
            }
        }
        self.keyspace.durable(last).await?;
        Ok(due.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_expiry_of_an_account_counts() {
        let mut due = Due::default();
        due.watch("a", 50);
        due.watch("a", 70);
        due.watch("b", 60);
        due.watch("b", 40);
        assert_eq!(due.take(39), Vec::<String>::new());
        assert_eq!(due.take(45), ["b"]);
        assert_eq!(due.take(100), ["a"]);
        assert!(due.by_account.is_empty() && due.by_time.is_empty());
    }
}
