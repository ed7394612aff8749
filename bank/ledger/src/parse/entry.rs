//! One entry, and the reversal of one.

use std::collections::BTreeMap;

use lombard_contracts::bank::ledger::v1::__buffa::view::{
    EntryView, LegView, ReverseEntryRequestView,
};
use lombard_money::Currency;

use super::{Bounds, text};
use crate::limits::LEGS_PER_ENTRY_MAX;
use crate::refusal::Refusal;
use crate::types::{Entry, Leg, Reverses};

/// Reads an entry. What depends on state (accounts, floors, legal entities) is not looked at.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn entry(view: &EntryView<'_>, bounds: &Bounds) -> Result<Entry, Refusal> {
    let id = text::new_id(view.id, bounds)?;
    let legs = legs(&view.legs)?;
    if view.up_to_available && legs.len() != 2 {
        return Err(Refusal::invalid(
            "UP_TO_AVAILABLE_NEEDS_TWO_LEGS",
            format!(
                "an entry up to what is available has two legs, not {}",
                legs.len()
            ),
        ));
    }
    // Legs that sum to zero and none of which is zero have a negative one.
    let home = Entry::home_of(&legs).unwrap_or_default().into();
    Ok(Entry {
        id,
        home,
        legs,
        value_day: text::value_date(view.value_date)?,
        reference: text::reference(view.reference)?.to_owned(),
        metadata: metadata(&view.metadata)?,
        actor: text::actor(view.actor)?.to_owned(),
        up_to_available: view.up_to_available,
        hold: None,
        reverses: None,
    })
}

/// Reads the reversal of an entry. Its legs follow from that entry.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn reversal(view: &ReverseEntryRequestView<'_>, bounds: &Bounds) -> Result<Entry, Refusal> {
    let id = text::new_id(view.id, bounds)?;
    let reversed = text::entry_id(view.entry_id)?;
    if id == reversed {
        return Err(Refusal::invalid(
            "REVERSAL_OF_ITSELF",
            format!("entry {id} cannot reverse itself; choose a new id for the reversal"),
        ));
    }
    Ok(Entry {
        id,
        home: text::account_id(view.home)?.into(),
        legs: Vec::new(),
        value_day: text::value_date(view.value_date)?,
        reference: text::reference(view.reference)?.to_owned(),
        metadata: BTreeMap::new(),
        actor: text::actor(view.actor)?.to_owned(),
        up_to_available: false,
        hold: None,
        reverses: Some(Reverses { entry: reversed }),
    })
}

fn legs(views: &[LegView<'_>]) -> Result<Vec<Leg>, Refusal> {
    if !(2..=LEGS_PER_ENTRY_MAX).contains(&views.len()) {
        return Err(Refusal::invalid(
            "LEG_COUNT_INVALID",
            format!(
                "an entry has 2 to {LEGS_PER_ENTRY_MAX} legs, not {}",
                views.len()
            ),
        ));
    }
    let legs = views
        .iter()
        .enumerate()
        .map(|(place, view)| leg(place, view))
        .collect::<Result<Vec<Leg>, _>>()?;
    check_balanced(&legs)?;
    Ok(legs)
}

fn leg(place: usize, view: &LegView<'_>) -> Result<Leg, Refusal> {
    let amount_minor = match view.amount_minor {
        0 => {
            return Err(Refusal::invalid(
                "ZERO_LEG",
                format!("leg {place} (from 0) moves nothing"),
            ));
        }
        // It has no mirror image: such an entry could not be reversed.
        i64::MIN => {
            return Err(Refusal::invalid(
                "AMOUNT_OUT_OF_RANGE",
                format!("leg {place} (from 0): an amount is at least {}", -i64::MAX),
            ));
        }
        amount => amount,
    };
    Ok(Leg {
        account: text::account_id(view.account)?.into(),
        address: text::address(view.address)?.into(),
        currency: text::currency(view.currency)?,
        amount_minor,
    })
}

/// The legs must sum to zero per legal entity and currency. Which entity an
/// account belongs to is state; that each currency sums to zero follows and is
/// checked here.
fn check_balanced(legs: &[Leg]) -> Result<(), Refusal> {
    for (place, leg) in legs.iter().enumerate() {
        let of_currency = |other: &&Leg| other.currency == leg.currency;
        if legs[..place].iter().any(|other| of_currency(&other)) {
            continue;
        }
        let sum_minor: i128 = legs
            .iter()
            .filter(of_currency)
            .map(|leg| i128::from(leg.amount_minor))
            .sum();
        if sum_minor != 0 {
            return Err(unbalanced(leg.currency, sum_minor));
        }
    }
    Ok(())
}

fn unbalanced(currency: Currency, sum_minor: i128) -> Refusal {
    Refusal::Unbalanced {
        entity: String::new(),
        currency: currency.code().to_owned(),
        sum_minor,
    }
}

pub(super) fn metadata(
    pairs: &buffa::MapView<'_, &str, &str>,
) -> Result<BTreeMap<String, String>, Refusal> {
    if pairs.is_empty() {
        return Ok(BTreeMap::new());
    }
    text::check_metadata(pairs.iter().copied())?;
    Ok(pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect())
}
