//! Entries: what home decided, and whether every leg is where it belongs.

use lombard_contracts::bank::ledger::v1::{
    Entry, EntryResult, GetEntryResponse, Leg as LegMessage, LegResult,
};
use lombard_store::{Fault, Rows, Stop};

use crate::apply::{self, Applied, Carried};
use crate::book::Book;
use crate::decide;
use crate::refusal::Refusal;
use crate::rows::{self, Decision, EntryRow};
use crate::types::{EntryId, Leg, LegOutcome, print_day};

/// What home knows of an entry.
#[derive(Debug, Clone)]
pub struct AtHome {
    /// The stored decision.
    pub row: EntryRow,
    /// Of the entry's content.
    pub digest: [u8; 16],
    /// All legs, as they were decided.
    pub legs: Vec<Leg>,
    /// What home's own legs did.
    pub outcomes: Vec<LegOutcome>,
}

/// Reads an entry at its home.
///
/// # Errors
/// [`Refusal::AccountNotFound`], `ENTRY_NOT_FOUND`; a fault of the store.
pub fn at_home(rows: &Rows<'_>, home: &str, id: EntryId) -> Result<AtHome, Stop<Refusal>> {
    Book::require(rows, home)?;
    let Some(row) = decide::load_entry(rows, id)? else {
        return Err(Stop::Refused(Refusal::NotFound {
            reason: "ENTRY_NOT_FOUND",
            message: format!(
                "account {home} decided no entry {id}; is it the account of the entry's first negative leg?"
            ),
        }));
    };
    let legs = row
        .legs
        .iter()
        .map(decide::leg_of)
        .collect::<Result<Vec<Leg>, Fault>>()?;
    let outcomes = match row.decision.as_known() {
        Some(Decision::Accepted) => decide::outcomes_at(rows, home, &legs, row.booked_us)?,
        _ => Vec::new(),
    };
    Ok(AtHome {
        digest: decide::digest_of(&row, home, id)?,
        row,
        legs,
        outcomes,
    })
}

/// What became of a decided entry's legs in another account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Elsewhere {
    /// They are not in yet.
    Missing,
    /// They are in.
    Applied(Vec<LegOutcome>),
    /// They went to this suspense account; whether they are in there, it knows.
    Diverted {
        /// The suspense account.
        suspense: String,
    },
}

/// Reads what became of an entry's legs in another account than its home.
///
/// # Errors
/// A fault of the store.
pub fn elsewhere(
    rows: &Rows<'_>,
    account: &str,
    carried: &Carried<'_>,
) -> Result<Elsewhere, Stop<Refusal>> {
    match apply::find_marker(rows, carried.id, carried.home, &carried.digest)? {
        None => return Ok(Elsewhere::Missing),
        Some((_, marker)) if marker.reserved => return Ok(Elsewhere::Missing),
        Some(_) => {}
    }
    // With the marker there, applying again changes nothing and tells what the first time did.
    let beneath = super::Beneath(rows);
    let mut unchanged = Rows::new(&beneath);
    Ok(match apply::apply(&mut unchanged, account, carried)? {
        Applied::Posted(outcomes) => Elsewhere::Applied(outcomes),
        Applied::Diverted { entity } => Elsewhere::Diverted {
            suspense: apply::suspense_account(&entity),
        },
    })
}

/// Whether a suspense account has taken in the legs that `account` could not take.
///
/// # Errors
/// A fault of the store; a damaged row.
pub fn in_suspense(rows: &Rows<'_>, id: EntryId, home: &str, account: &str) -> Result<bool, Fault> {
    Ok(apply::load_marker(rows, &rows::diverted_key(id, home, account))?.is_some())
}

/// The answer to a caller. `outcomes` are of all accounts, `complete` tells whether none is missing.
pub fn message(
    id: EntryId,
    home: &str,
    at_home: &AtHome,
    outcomes: &[LegOutcome],
    complete: bool,
) -> GetEntryResponse {
    let row = &at_home.row;
    let id_or_empty = |bytes: &[u8]| {
        EntryId::from_slice(bytes)
            .map(|id| id.to_string())
            .unwrap_or_default()
    };
    if row.decision.as_known() != Some(Decision::Accepted) {
        let refusal = Refusal::RefusedBefore {
            reason: row.refused_reason.clone(),
            message: row.refused_message.clone(),
        };
        return GetEntryResponse {
            entry: Some(Entry {
                id: id.to_string(),
                ..Entry::default()
            })
            .into(),
            refused: Some(crate::service::answer::refusal(&refusal)).into(),
            complete: true,
            ..GetEntryResponse::default()
        };
    }
    let entry = Entry {
        id: id.to_string(),
        legs: at_home.legs.iter().map(leg).collect(),
        value_date: print_day(row.value_day),
        reference: row.reference.clone(),
        metadata: row.metadata.clone(),
        actor: row.actor.clone(),
        up_to_available: row.up_to_available,
        ..Entry::default()
    };
    GetEntryResponse {
        entry: Some(entry).into(),
        result: Some(result(
            id,
            home,
            row.booked_us,
            row.value_day,
            &in_order(&at_home.legs, outcomes),
            true,
        ))
        .into(),
        reverses: id_or_empty(&row.reverses),
        reversed_by: id_or_empty(&row.reversed_by),
        hold_id: id_or_empty(&row.hold_id),
        complete,
        ..GetEntryResponse::default()
    }
}

/// Outcomes in the order of the entry's legs.
fn in_order(legs: &[Leg], outcomes: &[LegOutcome]) -> Vec<LegOutcome> {
    let mut left: Vec<&LegOutcome> = outcomes.iter().collect();
    legs.iter()
        .filter_map(|leg| {
            let at = left.iter().position(|outcome| outcome.leg == *leg)?;
            Some(left.remove(at).clone())
        })
        .collect()
}

/// An entry's result, as callers see it.
pub fn result(
    id: EntryId,
    home: &str,
    booked_us: i64,
    value_day: i32,
    legs: &[LegOutcome],
    replayed: bool,
) -> EntryResult {
    EntryResult {
        id: id.to_string(),
        home: home.to_owned(),
        booked_us,
        value_date: print_day(value_day),
        legs: legs.iter().map(leg_result).collect(),
        replayed,
        ..EntryResult::default()
    }
}

fn leg_result(outcome: &LegOutcome) -> LegResult {
    LegResult {
        leg: Some(leg(&outcome.leg)).into(),
        before_minor: outcome.before_minor,
        after_minor: outcome.after_minor,
        booked_us: outcome.booked_us,
        ..LegResult::default()
    }
}

fn leg(leg: &Leg) -> LegMessage {
    LegMessage {
        account: leg.account.to_string(),
        address: leg.address.to_string(),
        currency: leg.currency.code().to_owned(),
        amount_minor: leg.amount_minor,
        ..LegMessage::default()
    }
}
