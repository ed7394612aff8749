//! The ledger's messages as the history and the end keep them.

use lombard_contracts::bank::ledger::v1 as proto;
use lombard_rpc::Error;
use serde::Deserialize;

use crate::end::{Event, EventKind, Hold, Moved, Posting};
use crate::history::{Balance, Balances, Leg, LegPosted, OpenHold, Posted};

/// An entry's result.
///
/// # Errors
/// There is none in the answer.
pub fn posted(result: impl Into<Option<proto::EntryResult>>) -> Result<Posted, Error> {
    let result = result
        .into()
        .ok_or_else(|| Error::internal("ANSWER_WITHOUT_RESULT", "the answer has no result"))?;
    let leg = |leg: proto::LegResult| {
        let before_minor = leg.before_minor;
        let (after_minor, booked_us) = (leg.after_minor, leg.booked_us);
        let leg = leg.leg.into_option().unwrap_or_default();
        LegPosted {
            leg: Leg {
                account: leg.account,
                address: leg.address,
                currency: leg.currency,
                amount_minor: leg.amount_minor,
            },
            before_minor,
            after_minor,
            booked_us,
        }
    };
    Ok(Posted {
        home: result.home,
        booked_us: result.booked_us,
        legs: result.legs.into_iter().map(leg).collect(),
        replayed: result.replayed,
    })
}

/// Balances, and open holds if they were asked for.
pub fn balances(answer: proto::GetBalancesResponse, with_holds: bool) -> Balances {
    let open = |hold: proto::Hold| OpenHold {
        hold: hold.id,
        remaining_minor: hold.remaining_minor,
    };
    Balances {
        event_number: answer.event_number,
        balances: answer.balances.into_iter().map(balance).collect(),
        holds: with_holds.then(|| answer.holds.into_iter().map(open).collect()),
    }
}

fn balance(line: proto::AddressBalance) -> Balance {
    Balance {
        address: line.address,
        currency: line.currency,
        balance_minor: line.balance_minor,
    }
}

/// A posting as it is listed.
pub fn posting(posting: proto::Posting) -> Posting {
    Posting {
        entry: posting.entry_id,
        event_number: posting.event_number,
        hold: (!posting.hold_id.is_empty()).then_some(posting.hold_id),
        booked_us: posting.booked_us,
        moved: Moved {
            address: posting.address,
            currency: posting.currency,
            amount_minor: posting.amount_minor,
            balance_minor: posting.balance_minor,
        },
    }
}

/// A hold as it is listed.
pub fn hold(hold: proto::Hold) -> Hold {
    Hold {
        open: hold.state.as_known() == Some(proto::HoldState::HOLD_STATE_OPEN),
        id: hold.id,
        currency: hold.currency,
        amount_minor: hold.amount_minor,
        captured_minor: hold.captured_minor,
        released_minor: hold.released_minor,
        remaining_minor: hold.remaining_minor,
        expires_us: hold.expires_us,
    }
}

/// What the ledger says in the event's JSON.
#[derive(Deserialize)]
struct Body {
    entry: Option<EntryOf>,
    hold_id: Option<String>,
    #[serde(default)]
    postings: Vec<Moved>,
    #[serde(default)]
    balances: Vec<Balance>,
}

#[derive(Deserialize)]
struct EntryOf {
    id: String,
    home: String,
}

/// An event of an account.
///
/// # Errors
/// Its JSON is not what the contract says.
pub fn event(event: proto::Event) -> Result<Event, Error> {
    let body: Body = serde_json::from_str(&event.json).map_err(|error| {
        Error::internal("EVENT_UNREADABLE", format!("event {}: {error}", event.id))
    })?;
    let kind = match event.r#type.as_str() {
        "EntryPosted" => EventKind::Posted,
        "FundsReserved" => EventKind::Reserved,
        "ReservationReleased" => EventKind::Released,
        "HoldExpired" => EventKind::Expired,
        _ => EventKind::Other,
    };
    let (entry, home) = body.entry.map(|entry| (entry.id, entry.home)).unzip();
    Ok(Event {
        number: event.number,
        kind,
        name: event.r#type,
        booked_us: event.booked_us,
        entry,
        home: home.unwrap_or_default(),
        hold: body.hold_id,
        postings: body.postings,
        balances: body.balances,
    })
}
