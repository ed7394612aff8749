//! Accounts.

use lombard_contracts::bank::ledger::v1::{Account, Address, Floor, GetAccountResponse};
use lombard_store::{Rows, Stop};

use super::balances;
use crate::refusal::Refusal;
use crate::rows::{AddressRow, Head};
use crate::state::State;

/// An account, as callers see it.
pub fn message(head: &Head, state: &State) -> Account {
    Account {
        id: head.account.clone(),
        entity: head.entity.clone(),
        addresses: head.addresses.iter().map(address).collect(),
        debits_frozen: head.debits_frozen,
        credits_frozen: head.credits_frozen,
        closed: head.closed,
        metadata: head.metadata.clone(),
        opened_us: head.opened_us,
        event_number: state.number,
        ..Account::default()
    }
}

fn address(row: &AddressRow) -> Address {
    let floor = row.has_floor.then(|| Floor {
        minimum_minor: row.minimum_minor,
        ..Floor::default()
    });
    Address {
        address: row.address.clone(),
        currency: row.currency.clone(),
        floor: floor.into(),
        ..Address::default()
    }
}

/// An account and its balances at `now_us`.
///
/// # Errors
/// [`Refusal::AccountNotFound`]; a fault of the store.
pub fn get(
    rows: &Rows<'_>,
    account: &str,
    now_us: i64,
) -> Result<GetAccountResponse, Stop<Refusal>> {
    super::current(rows, account, now_us, |_, book| {
        Ok(GetAccountResponse {
            account: Some(message(book.head(), &book.state)).into(),
            balances: balances::lines(book.head(), &book.state.balances),
            ..GetAccountResponse::default()
        })
    })
}
