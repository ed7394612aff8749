//! What is read: pure functions over an account's rows.
//!
//! A hold gives its money back at its second, whether or not anything has
//! happened in the account since. So every read first does in memory what the
//! next change would do in the store: it expires what is due ([`current`]).
//! Readers and rules see the same account that way.
//!
//! What is shown so is not decided yet: a change that is on its way, and was begun before
//! the hold's second, may still come before it. So the service books what [`is_due`] first,
//! and an answer has only what is in the journal under that number.

pub mod account;
pub mod balances;
pub mod entry;
pub mod events;
pub mod holds;
mod page;
pub mod postings;
pub mod raw;

use bytes::Bytes;
use lombard_store::{Fault, Row, RowRange, RowSource, Rows, Stop, Version};

use crate::book::Book;
use crate::refusal::Refusal;
use crate::rows::{self, Journal};

/// Shows the account as it is at `now_us`: what has expired by then has expired.
///
/// # Errors
/// [`Refusal::AccountNotFound`]; what `look` says; a fault of the store.
pub fn current<T>(
    rows: &Rows<'_>,
    account: &str,
    now_us: i64,
    look: impl FnOnce(&Rows<'_>, &Book) -> Result<T, Stop<Refusal>>,
) -> Result<T, Stop<Refusal>> {
    let mut book = Book::require(rows, account)?;
    let next_expiry_us = book.state.next_expiry_us;
    if next_expiry_us == 0 || next_expiry_us > now_us {
        return look(rows, &book);
    }
    let beneath = Beneath(rows);
    let mut expired = Rows::new(&beneath);
    book.expire_holds(&mut expired, now_us)?;
    look(&expired, &book)
}

/// Whether something has expired in the account by then that is not booked yet.
///
/// # Errors
/// A fault of the store; a damaged row.
pub fn is_due(rows: &Rows<'_>, now_us: i64) -> Result<bool, Fault> {
    let next = Book::look(rows)?.map_or(0, |book| book.state.next_expiry_us);
    Ok(next != 0 && next <= now_us)
}

/// Rows under rows: what a read changes in memory lies over what is stored.
struct Beneath<'a>(&'a Rows<'a>);

impl RowSource for Beneath<'_> {
    fn version(&self) -> Version {
        self.0.version()
    }
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        self.0.get(key)
    }
    fn range(&self, range: &RowRange) -> Result<Vec<Row>, Fault> {
        self.0.range(range)
    }
}

/// The journal row at or before a moment: when, and what it says.
///
/// # Errors
/// A fault of the store; a damaged row.
pub fn journal_at_or_before(
    rows: &Rows<'_>,
    moment_us: i64,
) -> Result<Option<(i64, Journal)>, Fault> {
    rows.range(&rows::journal_at_or_before(moment_us))?
        .first()
        .map(read_journal)
        .transpose()
}

/// Reads a journal row: when, and what it says.
///
/// # Errors
/// A damaged row.
pub fn read_journal((key, value): &Row) -> Result<(i64, Journal), Fault> {
    let journal = rows::decode::<Journal>("journal", key, value)?;
    Ok((rows::journal_booked_us(key).unwrap_or_default(), journal))
}
