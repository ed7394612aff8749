//! Reversals: the mirror image of an entry, once, linked both ways.

use lombard_store::{Fault, Rows, Stop, StoreError};

use crate::apply;
use crate::book::Book;
use crate::decide;
use crate::refusal::Refusal;
use crate::rows::{self, Decision};
use crate::types::{EntryId, Leg};

/// The mirror image of an entry.
#[derive(Debug, Clone)]
pub struct Mirrored {
    /// Its legs.
    pub legs: Vec<Leg>,
    /// Of the content of the entry that it mirrors.
    pub digest: [u8; 16],
}

/// The mirror image of an entry that this account decided. What a capture took
/// from held money goes back to where the hold had taken it from.
///
/// # Errors
/// Where there is no such entry, or it cannot be reversed.
pub fn mirrored(rows: &Rows<'_>, home: &str, entry: EntryId) -> Result<Mirrored, Stop<Refusal>> {
    let book = Book::require(rows, home)?;
    let not_found = || {
        Stop::Refused(Refusal::NotFound {
            reason: "ENTRY_NOT_FOUND",
            message: format!("account {home} decided no entry {entry}"),
        })
    };
    let row = decide::load_entry(rows, entry)?.ok_or_else(not_found)?;
    if row.decision.as_known() != Some(Decision::Accepted) {
        return Err(not_found());
    }
    let mut legs = row
        .legs
        .iter()
        .map(decide::leg_of)
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(id) = EntryId::from_slice(&row.hold_id) {
        let held = crate::book::load_hold(rows, id)?;
        let names = held.as_ref().and_then(|held| {
            let held_at = &book
                .head()
                .addresses
                .get(held.held_address as usize)?
                .address;
            Some((
                held_at,
                &book.head().addresses.get(held.address as usize)?.address,
            ))
        });
        let Some((held_at, address)) = names else {
            return Err(Stop::Fault(Fault::Store(StoreError::Damaged(format!(
                "account {home}: no hold {id}"
            )))));
        };
        for leg in legs
            .iter_mut()
            .filter(|leg| leg.account == home && leg.address == *held_at)
        {
            leg.address = address.as_str().into();
        }
        legs = netted(legs);
        if legs.is_empty() {
            return Err(Stop::Refused(Refusal::invalid(
                "HOLD_NOT_REVERSIBLE",
                format!(
                    "entry {entry} places or releases a hold: release or place the hold instead"
                ),
            )));
        }
    }
    for leg in &mut legs {
        leg.amount_minor = leg.amount_minor.checked_neg().ok_or_else(|| {
            Stop::Refused(Refusal::Overflow {
                account: leg.account.to_string(),
                address: leg.address.to_string(),
            })
        })?;
    }
    Ok(Mirrored {
        legs,
        digest: decide::digest_of(&row, home, entry)?,
    })
}

/// The suspense account that took the legs of an entry which this account could not
/// take: its mirror image takes them from there.
///
/// # Errors
/// A fault of the store; a damaged row.
pub fn diverted_to(
    rows: &Rows<'_>,
    home: &str,
    entry: EntryId,
    digest: [u8; 16],
) -> Result<Option<String>, Fault> {
    match apply::find_marker(rows, entry, home, &digest)? {
        Some((_, marker)) if marker.diverted => {
            let head = Book::load_head(rows)?.unwrap_or_default();
            Ok(Some(apply::suspense_account(&head.entity)))
        }
        _ => Ok(None),
    }
}

/// Sums legs of the same account, address and currency; drops what nets to zero.
fn netted(legs: Vec<Leg>) -> Vec<Leg> {
    let mut net: Vec<Leg> = Vec::with_capacity(legs.len());
    for leg in legs {
        let same = |other: &&mut Leg| {
            other.account == leg.account
                && other.address == leg.address
                && other.currency == leg.currency
        };
        match net.iter_mut().find(same) {
            // Legs of one entry sum to zero in i128 and each fits: a pair of the same address does too.
            Some(first) => first.amount_minor = first.amount_minor.saturating_add(leg.amount_minor),
            None => net.push(leg),
        }
    }
    net.retain(|leg| leg.amount_minor != 0);
    net
}

/// Links the reversed entry to what reverses it, once.
///
/// # Errors
/// [`Refusal::AlreadyReversed`].
pub fn claim(rows: &mut Rows<'_>, reversed: EntryId, by: EntryId) -> Result<(), Stop<Refusal>> {
    let not_found = || Fault::Store(StoreError::Damaged(format!("entry {reversed} is gone")));
    let mut row = decide::load_entry(rows, reversed)?.ok_or_else(not_found)?;
    match EntryId::from_slice(&row.reversed_by) {
        Some(other) if other != by => Err(Stop::Refused(Refusal::AlreadyReversed {
            entry: reversed,
            by: other,
        })),
        _ => {
            row.reversed_by = by.0.to_vec();
            rows.put(rows::entry_key(reversed).to_vec(), rows::encode(&row));
            Ok(())
        }
    }
}
