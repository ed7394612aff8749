//! What is stored, and under which keys.

use std::ops::Bound;

use buffa::Message;
use bytes::Bytes;
use lombard_money::SortCode;
use lombard_store::{Direction, Fault, RowRange, Rows, StoreError};

pub use lombard_contracts::bank::account::rows::v1::{
    AccountRow, EventRow, NumbersRow, OpeningState, OwnedRow, ReservationRow,
};

/// In an account's partition: the key of its row.
pub const ACCOUNT_KEY: &[u8] = b"a";
/// In a sort code's partition: the key of the counter.
pub const NUMBERS_KEY: &[u8] = b"c";
/// In a sort code's partition: how keys of reservations begin.
const RESERVATION: u8 = b'r';
/// In a customer's partition: how keys of his accounts begin.
const OWNED: u8 = b'i';

/// The partition of an account.
pub fn account_partition(account: &str) -> Vec<u8> {
    [b"a:", account.as_bytes()].concat()
}

/// The partition of a sort code's numbers.
pub fn numbers_partition(sort_code: SortCode) -> Vec<u8> {
    [b"n:", sort_code.compact().as_bytes()].concat()
}

/// The partition of a customer's accounts.
pub fn customer_partition(customer: &str) -> Vec<u8> {
    [b"c:", customer.as_bytes()].concat()
}

/// The key of an event.
pub fn event_key(number: u64) -> [u8; 9] {
    let mut key = [b'e'; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The key of the number that is kept for an account.
pub fn reservation_key(account: &str) -> Vec<u8> {
    named(RESERVATION, account)
}

/// The key of an account in its customer's partition.
pub fn owned_key(account: &str) -> Vec<u8> {
    named(OWNED, account)
}

/// All reservations, at most `limit`.
pub fn reservations(limit: usize) -> RowRange {
    RowRange::prefix(&[RESERVATION], Direction::Ascending, limit)
}

/// The accounts of a customer behind `after`, at most `limit`.
pub fn owned_behind(after: Option<&str>, limit: usize) -> RowRange {
    let mut range = RowRange::prefix(&[OWNED], Direction::Ascending, limit);
    if let Some(account) = after {
        range.from = Bound::Excluded(Bytes::from(owned_key(account)));
    }
    range
}

/// The account's id in a key made by [`reservation_key`] or [`owned_key`].
///
/// # Errors
/// [`StoreError::Damaged`] where there is none.
pub fn account_of(key: &[u8]) -> Result<&str, StoreError> {
    key.get(1..)
        .and_then(|id| std::str::from_utf8(id).ok())
        .ok_or_else(|| StoreError::Damaged(format!("row key {}: no account", key.escape_ascii())))
}

fn named(kind: u8, account: &str) -> Vec<u8> {
    [&[kind], account.as_bytes()].concat()
}

/// A row, if it is there.
///
/// # Errors
/// [`StoreError::Damaged`] where it cannot be read.
pub fn load<M: Message>(rows: &Rows<'_>, key: &[u8]) -> Result<Option<M>, Fault> {
    rows.get(key)?
        .map(|value| decode(key, &value).map_err(Fault::Store))
        .transpose()
}

/// A row's value.
///
/// # Errors
/// [`StoreError::Damaged`] where it cannot be read.
pub fn decode<M: Message>(key: &[u8], value: &[u8]) -> Result<M, StoreError> {
    M::decode_from_slice(value)
        .map_err(|error| StoreError::Damaged(format!("row {}: {error}", key.escape_ascii())))
}

/// Writes the account and what happened to it. The event takes the next number.
pub fn store(rows: &mut Rows<'_>, mut account: AccountRow, mut event: EventRow) -> AccountRow {
    account.event_number += 1;
    event.number = account.event_number;
    event.account = account.clone().into();
    rows.put(ACCOUNT_KEY, account.encode_to_vec());
    rows.append(event_key(event.number).to_vec(), event.encode_to_vec());
    account
}
