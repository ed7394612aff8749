//! Holds: what places, captures and releases them, as entries.

use std::collections::BTreeMap;

use lombard_contracts::bank::ledger::v1::__buffa::view::{
    CaptureHoldRequestView, PlaceHoldRequestView, ReleaseHoldRequestView,
};

use super::{Bounds, text};
use crate::refusal::Refusal;
use crate::types::{Entry, HELD_ADDRESS, HoldStep, Leg};

/// Reads what places a hold: an entry from its address to the held one.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn place(view: &PlaceHoldRequestView<'_>, bounds: &Bounds) -> Result<Entry, Refusal> {
    let id = text::new_id(view.id, bounds)?;
    let account = text::account_id(view.account)?;
    let address = text::address(view.address)?;
    let held_address = if view.held_address.is_empty() {
        HELD_ADDRESS
    } else {
        text::address(view.held_address)?
    };
    let currency = text::currency(view.currency)?;
    let amount_minor = positive(view.amount_minor)?;
    if address == held_address {
        return Err(Refusal::invalid(
            "HOLD_ADDRESSES_SAME",
            format!("a hold moves money away from its address: {address} cannot hold for itself"),
        ));
    }
    if view.expires_us < 0 {
        return Err(Refusal::invalid(
            "EXPIRY_INVALID",
            "a hold expires at a moment after 1970, or never (0)",
        ));
    }
    let leg = |address: &str, amount_minor: i64| Leg {
        account: account.into(),
        address: address.into(),
        currency,
        amount_minor,
    };
    Ok(Entry {
        id,
        home: account.into(),
        legs: vec![leg(address, -amount_minor), leg(held_address, amount_minor)],
        value_day: None,
        reference: text::reference(view.reference)?.to_owned(),
        metadata: BTreeMap::new(),
        actor: text::actor(view.actor)?.to_owned(),
        up_to_available: false,
        hold: Some(HoldStep::Place {
            expires_us: view.expires_us,
        }),
        reverses: None,
    })
}

/// Reads a capture. Its legs follow from the hold.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn capture(view: &CaptureHoldRequestView<'_>, bounds: &Bounds) -> Result<Entry, Refusal> {
    let step = HoldStep::Capture {
        hold: text::entry_id(view.hold_id)?,
        amount_minor: positive(view.amount_minor)?,
        to: (
            text::account_id(view.to_account)?.to_owned(),
            text::address(view.to_address)?.to_owned(),
        ),
        last: view.r#final,
        allow_over: view.allow_over,
    };
    Ok(Entry {
        value_day: text::value_date(view.value_date)?,
        reference: text::reference(view.reference)?.to_owned(),
        ..on_hold(view.id, view.account, view.actor, step, bounds)?
    })
}

/// Reads a release. Its legs follow from the hold.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn release(view: &ReleaseHoldRequestView<'_>, bounds: &Bounds) -> Result<Entry, Refusal> {
    let amount_minor = match view.amount_minor {
        0 => 0,
        amount => positive(amount)?,
    };
    let step = HoldStep::Release {
        hold: text::entry_id(view.hold_id)?,
        amount_minor,
    };
    on_hold(view.id, view.account, view.actor, step, bounds)
}

fn on_hold(
    id: &str,
    account: &str,
    actor: &str,
    step: HoldStep,
    bounds: &Bounds,
) -> Result<Entry, Refusal> {
    Ok(Entry {
        id: text::new_id(id, bounds)?,
        home: text::account_id(account)?.into(),
        legs: Vec::new(),
        value_day: None,
        reference: String::new(),
        metadata: BTreeMap::new(),
        actor: text::actor(actor)?.to_owned(),
        up_to_available: false,
        hold: Some(step),
        reverses: None,
    })
}

fn positive(amount_minor: i64) -> Result<i64, Refusal> {
    if amount_minor > 0 {
        return Ok(amount_minor);
    }
    Err(Refusal::invalid(
        "AMOUNT_NOT_POSITIVE",
        format!("the amount of a hold is more than 0, not {amount_minor}"),
    ))
}
