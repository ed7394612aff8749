//! What an account's partition holds, and how its rows are keyed and encoded.
//!
//! | key | value | what |
//! | --- | --- | --- |
//! | `h` | `Head` | entity, addresses, floors, freezes, metadata |
//! | `j` booked_us | `Journal` | one change of the account: its event, a link of its chain, and where the account stands after it |
//! | `n` entry id | `EntryRow` | an entry that this account decided |
//! | `m` entry id, home | `MarkerRow` | an entry of another home whose legs were applied here |
//! | `r` entry id, home, `00`, digest | `MarkerRow` | the same, of legs that were reserved before: by the content that reserved |
//! | `d` entry id, home, `00`, account | `MarkerRow` | in a suspense account: legs diverted from that account |
//! | `o` hold id | `HoldRow` | a hold |
//! | `x` expires_us, hold id | empty | open holds by expiry |
//! | `v` address, level, period | `ShiftRow` | what value dating moved |
//!
//! Numbers in keys are big-endian, so that keys sort as the numbers do. An entry's id
//! is its home's: two homes may have decided different entries of the same id. And
//! before home has decided, two contents may ask for the same id: each reserves for
//! itself, until home accepts one of them.

use buffa::{Message, ViewEncode as _};
use bytes::Bytes;
pub use lombard_contracts::bank::ledger::rows::v1::__buffa::view::{
    EntryLegView, EntryRowView, JournalView, PostingRowView, StandingView,
};
pub use lombard_contracts::bank::ledger::rows::v1::{
    AddressRow, Decision, EntryLeg, EntryRow, Head, HoldRow, Journal, JournalKind, MarkerRow,
    PostingRow, ShiftRow, Standing,
};
use lombard_store::{Direction, Fault, RowRange, StoreError};
use sha2::{Digest, Sha256};

use crate::types::EntryId;

/// The row of what is fixed about the account.
pub const HEAD: &[u8] = b"h";
/// The first byte of journal rows' keys.
pub const JOURNAL: u8 = b'j';
/// The first byte of reservations' keys.
pub const RESERVATION: u8 = b'r';
/// Tag and length before the chain's 32 bytes, which end every journal row:
/// field 15, length-delimited, 32.
const CHAIN_TAG: [u8; 2] = [0x7a, 0x20];
/// Bytes of a chain link (SHA-256).
pub const CHAIN_BYTES: usize = 32;
/// Bytes at the end of a journal row that its own hash does not cover.
pub const CHAIN_FIELD_BYTES: usize = CHAIN_TAG.len() + CHAIN_BYTES;

/// The key of the journal row booked at that moment.
pub fn journal_key(booked_us: i64) -> [u8; 9] {
    prefixed(JOURNAL, booked_us.max(0).to_be_bytes())
}

/// The moment in a journal row's key.
pub fn journal_booked_us(key: &[u8]) -> Option<i64> {
    match key.split_first() {
        Some((&JOURNAL, rest)) => rest.try_into().ok().map(i64::from_be_bytes),
        _ => None,
    }
}

/// The last journal row.
pub fn last_journal() -> RowRange {
    journal_at_or_before(i64::MAX)
}

/// The last journal row at or before a moment.
pub fn journal_at_or_before(moment_us: i64) -> RowRange {
    RowRange {
        from: std::ops::Bound::Included(Bytes::copy_from_slice(&[JOURNAL])),
        to: std::ops::Bound::Included(Bytes::copy_from_slice(&journal_key(moment_us))),
        direction: Direction::Descending,
        limit: 1,
    }
}

/// The key of an entry that this account decided.
pub fn entry_key(id: EntryId) -> [u8; 17] {
    prefixed(b'n', id.0)
}

/// The key of an entry of another home that was applied here without a reservation.
pub fn marker_key(id: EntryId, home: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(17 + home.len());
    key.push(b'm');
    key.extend_from_slice(&id.0);
    key.extend_from_slice(home.as_bytes());
    key
}

/// The entry and its home in a key made by [`marker_key`].
pub fn marker_of(key: &[u8]) -> Option<(EntryId, &str)> {
    let (id, home) = key.get(1..)?.split_at_checked(16)?;
    let home = std::str::from_utf8(home).ok()?;
    (!home.is_empty()).then_some((EntryId::from_slice(id)?, home))
}

/// The key of what was reserved here for an entry of another home with this content.
pub fn reservation_key(id: EntryId, home: &str, digest: &[u8]) -> Vec<u8> {
    let mut key = marker_key(id, home);
    key[0] = RESERVATION;
    // No account's name has a zero byte.
    key.push(0);
    key.extend_from_slice(digest);
    key
}

/// The entry, its home and its digest in a key made by [`reservation_key`].
pub fn reservation_of(key: &[u8]) -> Option<(EntryId, &str, &[u8])> {
    let (id, home) = diverted_of(key)?;
    Some((id, home, key.get(18 + home.len()..)?))
}

/// In a suspense account: the key of legs diverted from `account`.
pub fn diverted_key(id: EntryId, home: &str, account: &str) -> Vec<u8> {
    let mut key = marker_key(id, home);
    key[0] = b'd';
    key.push(0);
    key.extend_from_slice(account.as_bytes());
    key
}

/// The entry and its home in a key made by [`diverted_key`].
pub fn diverted_of(key: &[u8]) -> Option<(EntryId, &str)> {
    let end = key.iter().skip(17).position(|byte| *byte == 0)?;
    marker_of(key.get(..17 + end)?)
}

/// The key of a hold.
pub fn hold_key(id: EntryId) -> [u8; 17] {
    prefixed(b'o', id.0)
}

/// The key that orders open holds by expiry.
pub fn expiry_key(expires_us: i64, hold: EntryId) -> [u8; 25] {
    let mut key = [b'x'; 25];
    key[1..9].copy_from_slice(&expires_us.max(0).to_be_bytes());
    key[9..].copy_from_slice(&hold.0);
    key
}

/// The hold in a key made by [`expiry_key`].
pub fn expiry_hold(key: &[u8]) -> Option<(i64, EntryId)> {
    let expires = key.get(1..9)?.try_into().ok().map(i64::from_be_bytes)?;
    Some((expires, EntryId::from_slice(key.get(9..)?)?))
}

/// The holds due at or before a moment, earliest first.
pub fn due_holds(now_us: i64, limit: usize) -> RowRange {
    RowRange {
        from: std::ops::Bound::Included(Bytes::from_static(b"x")),
        to: std::ops::Bound::Included(Bytes::copy_from_slice(&expiry_key(
            now_us,
            EntryId([0xff; 16]),
        ))),
        direction: Direction::Ascending,
        limit,
    }
}

fn prefixed<const N: usize, const M: usize>(first: u8, rest: [u8; N]) -> [u8; M] {
    let mut key = [first; M];
    key[1..].copy_from_slice(&rest);
    key
}

/// Reads a row's value. A row that cannot be read is an error with its key, never a missing row.
///
/// # Errors
/// [`StoreError::Damaged`] names what was to be read.
pub fn decode<M: Message>(what: &str, key: &[u8], value: &[u8]) -> Result<M, Fault> {
    M::decode_from_slice(value).map_err(|error| {
        Fault::Store(StoreError::Damaged(format!(
            "{what} row {}: {error}",
            key.escape_ascii()
        )))
    })
}

/// A row's value.
pub fn encode<M: Message>(row: &M) -> Vec<u8> {
    row.encode_to_vec()
}

/// Ends a journal row's value, but for its link, with where the account stands.
pub fn add_standing(value: &mut Vec<u8>, standing: StandingView<'_>) {
    // All other fields stand before this one.
    let last = JournalView {
        standing: standing.into(),
        ..JournalView::default()
    };
    last.encode(value);
}

/// The value of a journal row, chained to the one before it; also the new link.
pub fn chain(before: &[u8], mut value: Vec<u8>) -> (Vec<u8>, [u8; CHAIN_BYTES]) {
    let link = link(before, &value);
    value.reserve_exact(CHAIN_FIELD_BYTES);
    value.extend_from_slice(&CHAIN_TAG);
    value.extend_from_slice(&link);
    (value, link)
}

/// What a journal row's postings did, one by one, from the balances after it.
pub fn posting_outcomes(journal: &Journal) -> Vec<(usize, i64, i64, i64)> {
    let mut balances = journal.balances.clone();
    let mut outcomes: Vec<(usize, i64, i64, i64)> = journal
        .postings
        .iter()
        .rev()
        .map(|posting| {
            let index = posting.address as usize;
            let after = balances.get(index).copied().unwrap_or(0);
            let before = after.wrapping_sub(posting.amount_minor);
            if let Some(balance) = balances.get_mut(index) {
                *balance = before;
            }
            (index, posting.amount_minor, before, after)
        })
        .collect();
    outcomes.reverse();
    outcomes
}

/// SHA-256 of the link before and a journal row's bytes without its own link.
pub fn link(before: &[u8], body: &[u8]) -> [u8; CHAIN_BYTES] {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(body);
    hash.finalize().into()
}

/// Splits a journal row's value into what is hashed and its link.
pub fn split_chain(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, link) = value.split_at_checked(value.len().checked_sub(CHAIN_BYTES)?)?;
    rest.strip_suffix(&CHAIN_TAG).map(|body| (body, link))
}

#[cfg(test)]
mod tests {
    use buffa::ViewEncode as _;

    use super::*;

    #[test]
    fn a_chained_row_is_a_journal_row_with_its_link() {
        let journal = JournalView {
            number: 7,
            reference: "rent",
            ..JournalView::default()
        };
        let (value, link) = chain(&[1; 32], journal.encode_to_vec());
        let read: Journal = decode("journal", b"j", &value).unwrap();
        assert_eq!((read.number, read.chain.as_slice()), (7, link.as_slice()));
        let (body, stored) = split_chain(&value).unwrap();
        assert_eq!(stored, link);
        assert_eq!(super::link(&[1; 32], body), link);
        assert_ne!(super::link(&[2; 32], body), link);
    }

    #[test]
    fn keys_sort_as_their_numbers() {
        assert!(journal_key(255) < journal_key(256));
        assert_eq!(
            journal_booked_us(&journal_key(123_456_789)),
            Some(123_456_789)
        );
        let id = EntryId([9; 16]);
        assert_eq!(marker_of(&marker_key(id, "shop")), Some((id, "shop")));
        assert_eq!(marker_of(&marker_key(id, "")), None);
        let key = reservation_key(id, "shop", &[0, 7]);
        assert_eq!(reservation_of(&key), Some((id, "shop", &[0, 7][..])));
        assert_eq!(
            diverted_of(&diverted_key(EntryId([0; 16]), "shop", "alice")),
            Some((EntryId([0; 16]), "shop"))
        );
        assert!(expiry_key(5, id) < expiry_key(6, EntryId([0; 16])));
        assert_eq!(expiry_hold(&expiry_key(5, id)), Some((5, id)));
    }
}
