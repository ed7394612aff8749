//! Holds: money of an account that waits at its held address.
//!
//! As for a card authorisation: placed, then captured in part, several times
//! or finally, released, or expired at its second.

use lombard_store::{Fault, Rows, Stop, StoreError};

use crate::book::{Book, HoldState, close_hold, load_hold};
use crate::limits::OPEN_HOLDS_PER_ACCOUNT_MAX;
use crate::refusal::Refusal;
use crate::rows::{self, HoldRow};
use crate::types::{Entry, EntryId, HoldStep, Leg};

/// What remains of a hold, in minor units.
pub fn remaining(hold: &HoldRow) -> i64 {
    hold.amount_minor - hold.captured_minor - hold.released_minor
}

/// The legs of a capture or a release, from the state of its hold. The first
/// is the one that leaves the held address.
///
/// # Errors
/// Where the hold does not allow it.
pub fn legs(rows: &Rows<'_>, book: &Book, entry: &Entry) -> Result<Vec<Leg>, Stop<Refusal>> {
    let (id, hold) = open_hold(rows, entry)?;
    let rest = remaining(&hold);
    let (held, address) = (
        leg_address(book, hold.held_address)?,
        leg_address(book, hold.address)?,
    );
    let currency = lombard_money::Currency::parse(&held.1)
        .map_err(|error| Fault::Store(StoreError::Damaged(format!("hold {id}: {error}"))))?;
    let leg = |account: &str, address: &str, amount_minor: i64| Leg {
        account: account.into(),
        address: address.into(),
        currency,
        amount_minor,
    };
    let refuse = |reason, message: String| {
        Stop::Refused(Refusal::HoldState {
            reason,
            hold: id,
            message,
            remaining_minor: rest,
        })
    };
    let mut legs = Vec::with_capacity(4);
    match &entry.hold {
        Some(HoldStep::Capture {
            amount_minor,
            to,
            last,
            allow_over,
            ..
        }) => {
            let over = amount_minor - rest;
            if over > 0 && !allow_over {
                let message =
                    format!("{rest} remain of hold {id}, {amount_minor} were to be captured");
                return Err(refuse("CAPTURE_EXCEEDS_HOLD", message));
            }
            legs.push(leg(&entry.home, &held.0, -rest.min(*amount_minor)));
            if over > 0 {
                legs.push(leg(&entry.home, &address.0, -over));
            }
            legs.push(leg(&to.0, &to.1, *amount_minor));
            if *last && over < 0 {
                legs.push(leg(&entry.home, &held.0, over));
                legs.push(leg(&entry.home, &address.0, -over));
            }
        }
        Some(HoldStep::Release { amount_minor, .. }) => {
            let amount = if *amount_minor == 0 {
                rest
            } else {
                *amount_minor
            };
            if amount > rest {
                return Err(refuse(
                    "RELEASE_EXCEEDS_HOLD",
                    format!("{rest} remain of hold {id}, {amount} were to be released"),
                ));
            }
            legs.push(leg(&entry.home, &held.0, -amount));
            legs.push(leg(&entry.home, &address.0, amount));
        }
        Some(HoldStep::Place { .. }) | None => {}
    }
    Ok(legs)
}

/// What the entry does to its hold's row; the row is written by [`booked`].
///
/// # Errors
/// Where the hold or the account does not allow it.
pub fn step(
    rows: &mut Rows<'_>,
    book: &mut Book,
    entry: &Entry,
    legs: &[Leg],
    now_us: i64,
) -> Result<(EntryId, HoldRow), Stop<Refusal>> {
    match &entry.hold {
        Some(HoldStep::Place { expires_us }) => {
            place(book, entry, legs, *expires_us, now_us).map_err(Stop::Refused)
        }
        Some(HoldStep::Capture {
            amount_minor, last, ..
        }) => {
            let (id, mut hold) = open_hold(rows, entry)?;
            let rest = remaining(&hold);
            hold.captured_minor += rest.min(*amount_minor);
            if *last {
                hold.released_minor += remaining(&hold);
            }
            Ok((id, hold))
        }
        Some(HoldStep::Release { amount_minor, .. }) => {
            let (id, mut hold) = open_hold(rows, entry)?;
            hold.released_minor += if *amount_minor == 0 {
                remaining(&hold)
            } else {
                *amount_minor
            };
            Ok((id, hold))
        }
        None => Err(Stop::Fault(Fault::Store(StoreError::Damaged(
            "an entry without a hold".to_owned(),
        )))),
    }
}

/// Writes the hold's row once the entry has its booked moment.
///
/// # Errors
/// A fault of the store.
pub fn booked(
    rows: &mut Rows<'_>,
    book: &mut Book,
    entry: &Entry,
    id: EntryId,
    hold: &mut HoldRow,
    booked_us: i64,
) -> Result<(), Fault> {
    let places = matches!(entry.hold, Some(HoldStep::Place { .. }));
    if places {
        hold.placed_us = booked_us;
        book.state.open_holds += 1;
        if hold.expires_us != 0 {
            rows.put(rows::expiry_key(hold.expires_us, id).to_vec(), Vec::new());
            let next = book.state.next_expiry_us;
            book.state.next_expiry_us = if next == 0 {
                hold.expires_us
            } else {
                next.min(hold.expires_us)
            };
        }
    }
    if remaining(hold) > 0 {
        rows.put(rows::hold_key(id).to_vec(), rows::encode(hold));
        return Ok(());
    }
    let captured = hold.captured_minor > 0;
    hold.state = if captured {
        HoldState::Captured as u32
    } else {
        HoldState::Released as u32
    };
    close_hold(book, rows, id, hold);
    if hold.expires_us != 0 && book.state.next_expiry_us == hold.expires_us {
        book.state.next_expiry_us = crate::book::next_expiry(rows)?;
    }
    Ok(())
}

fn place(
    book: &Book,
    entry: &Entry,
    legs: &[Leg],
    expires_us: i64,
    now_us: i64,
) -> Result<(EntryId, HoldRow), Refusal> {
    if book.state.open_holds >= OPEN_HOLDS_PER_ACCOUNT_MAX {
        return Err(Refusal::Limit {
            reason: "TOO_MANY_HOLDS",
            message: format!(
                "account {} has {OPEN_HOLDS_PER_ACCOUNT_MAX} open holds",
                entry.home
            ),
        });
    }
    if expires_us != 0 && expires_us <= now_us {
        return Err(Refusal::invalid(
            "HOLD_EXPIRES_IN_PAST",
            format!("the hold would expire at {expires_us}, it is {now_us}"),
        ));
    }
    let index = |positive: bool| {
        let leg = legs.iter().find(|leg| (leg.amount_minor > 0) == positive);
        let leg = leg.ok_or_else(|| {
            Refusal::invalid(
                "HOLD_LEGS",
                "a hold moves money from one address to another",
            )
        })?;
        let index = book.require_address(&leg.address, leg.currency.code())?;
        // An account has at most 64 addresses.
        Ok::<_, Refusal>((u32::try_from(index).unwrap_or(u32::MAX), leg.amount_minor))
    };
    let (address, _) = index(false)?;
    let (held_address, amount_minor) = index(true)?;
    let hold = HoldRow {
        address,
        held_address,
        amount_minor,
        expires_us,
        state: HoldState::Open as u32,
        reference: entry.reference.clone(),
        ..HoldRow::default()
    };
    Ok((entry.id, hold))
}

fn open_hold(rows: &Rows<'_>, entry: &Entry) -> Result<(EntryId, HoldRow), Stop<Refusal>> {
    let id = match &entry.hold {
        Some(HoldStep::Capture { hold, .. } | HoldStep::Release { hold, .. }) => *hold,
        Some(HoldStep::Place { .. }) | None => entry.id,
    };
    let Some(hold) = load_hold(rows, id)? else {
        return Err(Stop::Refused(Refusal::NotFound {
            reason: "HOLD_NOT_FOUND",
            message: format!("account {} has no hold {id}", entry.home),
        }));
    };
    if hold.state != HoldState::Open as u32 {
        let (reason, how) = match hold.state {
            state if state == HoldState::Captured as u32 => ("HOLD_CAPTURED", "captured"),
            state if state == HoldState::Expired as u32 => ("HOLD_EXPIRED", "expired"),
            _ => ("HOLD_RELEASED", "released"),
        };
        return Err(Stop::Refused(Refusal::HoldState {
            reason,
            hold: id,
            message: format!("hold {id} is {how}: nothing of it remains"),
            remaining_minor: remaining(&hold),
        }));
    }
    Ok((id, hold))
}

fn leg_address(book: &Book, index: u32) -> Result<(String, String), Fault> {
    let row = book.head().addresses.get(index as usize);
    row.map(|row| (row.address.clone(), row.currency.clone()))
        .ok_or_else(|| {
            Fault::Store(StoreError::Damaged(format!(
                "account {}: no address {index}",
                book.head().account
            )))
        })
}
