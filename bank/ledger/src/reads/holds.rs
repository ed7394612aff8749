//! Holds.

use std::ops::Bound;

use buffa::EnumValue;
use bytes::Bytes;
use lombard_contracts::bank::ledger::v1::{Hold, HoldState, ListHoldsResponse};
use lombard_store::{Direction, Fault, RowRange, Rows, Stop};

use super::page;
use crate::book::{self, Book};
use crate::hold::remaining;
use crate::limits::OPEN_HOLDS_PER_ACCOUNT_MAX;
use crate::refusal::Refusal;
use crate::rows::{self, HoldRow};
use crate::types::EntryId;

/// The first byte of holds' keys.
const HOLD: &[u8] = b"o";
/// Closed holds that one call looks through for open ones.
const ROWS_SCANNED_MAX: usize = 40 * ROWS_PER_READ;
const ROWS_PER_READ: usize = 256;

/// A hold, as callers see it.
pub fn message(book: &Book, id: EntryId, row: &HoldRow) -> Hold {
    let named = |index: u32| {
        book.head()
            .addresses
            .get(index as usize)
            .cloned()
            .unwrap_or_default()
    };
    let address = named(row.address);
    Hold {
        id: id.to_string(),
        account: book.head().account.clone(),
        address: address.address,
        held_address: named(row.held_address).address,
        currency: address.currency,
        amount_minor: row.amount_minor,
        captured_minor: row.captured_minor,
        released_minor: row.released_minor,
        remaining_minor: remaining(row),
        expires_us: row.expires_us,
        state: state(row),
        reference: row.reference.clone(),
        placed_us: row.placed_us,
        ..Hold::default()
    }
}

fn state(row: &HoldRow) -> EnumValue<HoldState> {
    i32::try_from(row.state).map_or(
        EnumValue::Known(HoldState::HOLD_STATE_UNSPECIFIED),
        EnumValue::from,
    )
}

fn is_open(row: &HoldRow) -> bool {
    row.state == book::HoldState::Open as u32
}

/// One hold.
///
/// # Errors
/// [`Refusal::AccountNotFound`], `HOLD_NOT_FOUND`; a fault of the store.
pub fn get(
    rows: &Rows<'_>,
    account: &str,
    id: EntryId,
    now_us: i64,
) -> Result<Hold, Stop<Refusal>> {
    super::current(rows, account, now_us, |rows, book| {
        match book::load_hold(rows, id)? {
            Some(row) => Ok(message(book, id, &row)),
            None => Err(Stop::Refused(Refusal::NotFound {
                reason: "HOLD_NOT_FOUND",
                message: format!("account {account} has no hold {id}"),
            })),
        }
    })
}

/// Holds of an account by id, which is by the time of their making. With
/// `open_only` a page can be empty and still have a next one.
///
/// # Errors
/// [`Refusal::AccountNotFound`], `PAGE_TOKEN_INVALID`; a fault of the store.
pub fn list(
    rows: &Rows<'_>,
    account: &str,
    open_only: bool,
    page_token: &str,
    page_size: usize,
    now_us: i64,
) -> Result<ListHoldsResponse, Stop<Refusal>> {
    let after = page::place::<16>(page_token)
        .map_err(Stop::Refused)?
        .map(EntryId);
    super::current(rows, account, now_us, |rows, book| {
        let mut answer = ListHoldsResponse::default();
        let mut scan = Scan {
            from: after.map(rows::hold_key),
            direction: Direction::Ascending,
            scanned: 0,
        };
        while let Some(found) = scan.next(rows)? {
            for (id, row) in found {
                if open_only && !is_open(&row) {
                    continue;
                }
                if answer.holds.len() == page_size {
                    // The last one that the page holds is where the next begins.
                    let last = answer
                        .holds
                        .last()
                        .and_then(|hold| EntryId::parse(&hold.id));
                    answer.next_page_token = last.map(|id| page::token(&id.0)).unwrap_or_default();
                    return Ok(answer);
                }
                answer.holds.push(message(book, id, &row));
            }
        }
        if let Some(key) = scan.left_at() {
            answer.next_page_token = page::token(&key[1..]);
        }
        Ok(answer)
    })
}

/// All open holds, earliest placed first: at most [`OPEN_HOLDS_PER_ACCOUNT_MAX`].
///
/// # Errors
/// A fault of the store; `TOO_MANY_HOLDS` where they lie among so many closed
/// ones that one read cannot find them all.
pub fn all_open(rows: &Rows<'_>, book: &Book) -> Result<Vec<Hold>, Stop<Refusal>> {
    let wanted = book.state.open_holds as usize;
    let mut open: Vec<(EntryId, HoldRow)> =
        Vec::with_capacity(wanted.min(OPEN_HOLDS_PER_ACCOUNT_MAX as usize));
    // Those that expire stand in an index of their own.
    for (key, _) in rows.range(&rows::due_holds(
        i64::MAX,
        OPEN_HOLDS_PER_ACCOUNT_MAX as usize,
    ))? {
        let Some((_, id)) = rows::expiry_hold(&key) else {
            continue;
        };
        if let Some(row) = book::load_hold(rows, id)? {
            open.push((id, row));
        }
    }
    // Those that never expire are found among all, newest first.
    let mut scan = Scan {
        from: None,
        direction: Direction::Descending,
        scanned: 0,
    };
    while open.len() < wanted {
        let Some(found) = scan.next(rows)? else { break };
        open.extend(
            found
                .into_iter()
                .filter(|(_, row)| is_open(row) && row.expires_us == 0),
        );
    }
    if open.len() < wanted {
        return Err(Stop::Refused(Refusal::Limit {
            reason: "TOO_MANY_HOLDS",
            message: format!(
                "account {} has too many closed holds for one read; list them by pages",
                book.head().account
            ),
        }));
    }
    open.sort_by_key(|(id, row)| (row.placed_us, *id));
    Ok(open
        .iter()
        .map(|(id, row)| message(book, *id, row))
        .collect())
}

/// Reads holds in pieces, up to a limit.
struct Scan {
    from: Option<[u8; 17]>,
    direction: Direction,
    scanned: usize,
}

impl Scan {
    fn next(&mut self, rows: &Rows<'_>) -> Result<Option<Vec<(EntryId, HoldRow)>>, Fault> {
        if self.scanned >= ROWS_SCANNED_MAX || !self.scanned.is_multiple_of(ROWS_PER_READ) {
            return Ok(None);
        }
        let mut range = RowRange::prefix(HOLD, self.direction, ROWS_PER_READ);
        if let Some(from) = &self.from {
            let from = Bound::Excluded(Bytes::copy_from_slice(from));
            match self.direction {
                Direction::Ascending => range.from = from,
                Direction::Descending => range.to = from,
            }
        }
        let found = rows.range(&range)?;
        self.scanned += found.len();
        let mut holds = Vec::with_capacity(found.len());
        for (key, value) in &found {
            let Some(id) = key.get(1..).and_then(EntryId::from_slice) else {
                continue;
            };
            holds.push((id, rows::decode::<HoldRow>("hold", key, value)?));
            self.from = Some(rows::hold_key(id));
        }
        Ok((!holds.is_empty()).then_some(holds))
    }

    /// Where the scan stopped for its limit, not for the end.
    fn left_at(&self) -> Option<[u8; 17]> {
        self.from.filter(|_| self.scanned >= ROWS_SCANNED_MAX)
    }
}
