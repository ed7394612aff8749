//! The rules: pure functions over an account's rows.

use buffa::Message;
use lombard_money::{AccountNumber, IbanError};
use lombard_store::{Fault, Rows, Stop, StoreError};

use crate::error::Error;
use crate::numbers::Numbering;
use crate::rows::{self, ACCOUNT_KEY, AccountRow, EventRow, OpeningState, ReservationRow};

/// When something is done, by whom, and in which trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Microseconds since the Unix epoch.
    pub now_us: i64,
    /// A person or a service; or empty.
    pub actor: String,
    /// W3C trace id, 32 hexadecimal digits; or empty.
    pub trace: String,
}

/// An account as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// Chosen by the client.
    pub id: String,
    /// Whose account it is to be.
    pub customer_id: String,
    /// ISO 4217.
    pub currency: String,
    /// The overdraft limit, 0 or more.
    pub overdraft_minor: i64,
}

impl Opening {
    /// The opening that made this row.
    pub fn of(id: &str, row: &AccountRow) -> Self {
        Self {
            id: id.to_owned(),
            customer_id: row.customer_id.clone(),
            currency: row.currency.clone(),
            overdraft_minor: row.overdraft_minor,
        }
    }

    fn check_same(&self, row: &AccountRow) -> Result<(), Stop<Error>> {
        let differs = [
            ("customer_id", self.customer_id != row.customer_id),
            ("currency", self.currency != row.currency),
            (
                "overdraft_minor",
                self.overdraft_minor != row.overdraft_minor,
            ),
        ];
        match differs.iter().find(|(_, differs)| *differs) {
            None => Ok(()),
            Some((field, _)) => Err(Stop::Refused(Error::ExistsDifferent {
                account: self.id.clone(),
                field,
            })),
        }
    }
}

/// What the ledger said of the account last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerState {
    /// Nothing may leave.
    pub debits_frozen: bool,
    /// Nothing may come in.
    pub credits_frozen: bool,
    /// Closed for good.
    pub closed: bool,
    /// After this event of the ledger's account.
    pub event_number: u64,
}

/// The account, or none where it does not exist or the ledger refused it.
///
/// # Errors
/// Faults only.
pub fn find(rows: &Rows<'_>) -> Result<Option<AccountRow>, Stop<Error>> {
    let row: Option<AccountRow> = rows::load(rows, ACCOUNT_KEY)?;
    Ok(row.filter(|row| row.opening != OpeningState::Refused))
}

/// The account.
///
/// # Errors
/// [`Error::NotFound`].
pub fn get(rows: &Rows<'_>, id: &str) -> Result<AccountRow, Stop<Error>> {
    find(rows)?.ok_or_else(|| {
        Stop::Refused(Error::NotFound {
            account: id.to_owned(),
        })
    })
}

/// The account of the same opening, if it was asked for before.
///
/// # Errors
/// [`Error::ExistsDifferent`].
pub fn find_same(rows: &Rows<'_>, opening: &Opening) -> Result<Option<AccountRow>, Stop<Error>> {
    let row = find(rows)?;
    if let Some(row) = &row {
        opening.check_same(row)?;
    }
    Ok(row)
}

/// Notes that the account is asked for, with its number. From here on the opening goes forward,
/// whoever carries it.
///
/// # Errors
/// [`Error::ExistsDifferent`].
pub fn request(
    rows: &mut Rows<'_>,
    opening: &Opening,
    numbering: &Numbering,
    reservation: &ReservationRow,
    cause: &Cause,
) -> Result<AccountRow, Stop<Error>> {
    if let Some(row) = find_same(rows, opening)? {
        return Ok(row);
    }
    let damaged = |what: String| Stop::Fault(Fault::Store(StoreError::Damaged(what)));
    let number = AccountNumber::from_number(reservation.account_number)
        .ok_or_else(|| damaged(format!("reservation of {}: no account number", opening.id)))?;
    let iban = numbering
        .iban(number)
        .map_err(|error: IbanError| damaged(error.to_string()))?;
    // After a refusal the events go on where they were.
    let before: Option<AccountRow> = rows::load(rows, ACCOUNT_KEY)?;
    let row = AccountRow {
        customer_id: opening.customer_id.clone(),
        currency: opening.currency.clone(),
        overdraft_minor: opening.overdraft_minor,
        sort_code: numbering.sort_code().number(),
        account_number: number.number(),
        iban: iban.as_str().to_owned(),
        modulus_check: reservation.modulus_check.clone(),
        opening: OpeningState::Opening.into(),
        opened_us: cause.now_us,
        opened_by: cause.actor.clone(),
        event_number: before.map(|row| row.event_number).unwrap_or_default(),
        ..AccountRow::default()
    };
    Ok(rows::store(rows, row, event("AccountRequested", cause)))
}

/// Notes that the ledger has the account.
///
/// # Errors
/// [`Error::NotFound`], [`Error::ExistsDifferent`]: it is not the account that was carried.
pub fn confirm(
    rows: &mut Rows<'_>,
    opening: &Opening,
    ledger: LedgerState,
    cause: &Cause,
) -> Result<AccountRow, Stop<Error>> {
    let mut row = get(rows, &opening.id)?;
    opening.check_same(&row)?;
    if row.opening == OpeningState::Open {
        return Ok(row);
    }
    row.opening = OpeningState::Open.into();
    take_over(&mut row, ledger);
    Ok(rows::store(rows, row, event("AccountOpened", cause)))
}

/// Notes that the ledger will never have the account: the id is free again.
/// Nothing happens where the opening is another one or is through.
///
/// # Errors
/// Faults only.
pub fn refuse(
    rows: &mut Rows<'_>,
    opening: &Opening,
    reason: &str,
    cause: &Cause,
) -> Result<(), Stop<Error>> {
    let Some(mut row) = find(rows)? else {
        return Ok(());
    };
    if row.opening != OpeningState::Opening || opening.check_same(&row).is_err() {
        return Ok(());
    }
    row.opening = OpeningState::Refused.into();
    let mut event = event("AccountRefused", cause);
    event.reason = reason.to_owned();
    rows::store(rows, row, event);
    Ok(())
}

/// The account, open and not closed: what can be frozen and asked for money.
///
/// # Errors
/// [`Error::NotFound`], [`Error::NotOpen`].
pub fn get_open(rows: &Rows<'_>, id: &str) -> Result<AccountRow, Stop<Error>> {
    let row = get(rows, id)?;
    if row.opening == OpeningState::Open {
        Ok(row)
    } else {
        Err(Stop::Refused(Error::NotOpen {
            account: id.to_owned(),
        }))
    }
}

/// Notes what the ledger says of the account, if that is newer than what is known. An event tells
/// what changed; where nothing did, there is none.
///
/// # Errors
/// [`Error::NotFound`], [`Error::NotOpen`].
pub fn record(
    rows: &mut Rows<'_>,
    id: &str,
    ledger: LedgerState,
    cause: &Cause,
) -> Result<AccountRow, Stop<Error>> {
    let mut row = get_open(rows, id)?;
    // Answers can overtake each other: the one with the greater number is the later one.
    if ledger.event_number <= row.ledger_event_number {
        return Ok(row);
    }
    let before = (row.debits_frozen, row.credits_frozen, row.closed);
    let after = (ledger.debits_frozen, ledger.credits_frozen, ledger.closed);
    take_over(&mut row, ledger);
    if before == after {
        // The number is kept all the same: what is older than this answer is overtaken.
        rows.put(ACCOUNT_KEY, row.encode_to_vec());
        return Ok(row);
    }
    let what = match after {
        (_, _, true) => "AccountClosed",
        (false, false, _) => "AccountThawed",
        _ => "AccountFrozen",
    };
    Ok(rows::store(rows, row, event(what, cause)))
}

fn take_over(row: &mut AccountRow, ledger: LedgerState) {
    row.debits_frozen = ledger.debits_frozen;
    row.credits_frozen = ledger.credits_frozen;
    row.closed = ledger.closed;
    row.ledger_event_number = ledger.event_number;
}

fn event(what: &str, cause: &Cause) -> EventRow {
    EventRow {
        r#type: what.to_owned(),
        version: 1,
        occurred_us: cause.now_us,
        actor: cause.actor.clone(),
        trace: cause.trace.clone(),
        ..EventRow::default()
    }
}

#[cfg(test)]
mod tests;
