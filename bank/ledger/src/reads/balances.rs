//! Balances: now, and as of any moment on either time axis.

use lombard_contracts::bank::ledger::v1::{
    AddressBalance, DefinedBalance, GetBalancesResponse, TrialBalanceLine,
};
use lombard_store::{Rows, Stop};

use super::{holds, journal_at_or_before};
use crate::book::Book;
use crate::options::BalanceDefinition;
use crate::parse;
use crate::refusal::Refusal;
use crate::rows::Head;
use crate::types::end_of_day_us;
use crate::value_axis;

/// Which moment a balance is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// Everything that is booked.
    Now,
    /// Everything booked at or before the moment (microseconds since 1970).
    Booked(i64),
    /// Everything whose value date is this day (since 1970-01-01) or earlier.
    Value(i32),
}

impl AsOf {
    /// Reads what the caller asked for: 0 and empty are "not this one".
    ///
    /// # Errors
    /// `AS_OF_INVALID` for both at once or a moment before 1970; `VALUE_DATE_INVALID`.
    pub fn parse(booked_us: i64, value_date: &str) -> Result<Self, Refusal> {
        match (booked_us, parse::value_date(value_date)?) {
            (0, None) => Ok(Self::Now),
            (booked_us, None) if booked_us > 0 => Ok(Self::Booked(booked_us)),
            (0, Some(day)) => Ok(Self::Value(day)),
            (_, None) => Err(Refusal::invalid(
                "AS_OF_INVALID",
                "the booked moment lies before 1970",
            )),
            (_, Some(_)) => Err(Refusal::invalid(
                "AS_OF_INVALID",
                "ask as of a booked moment or as of a value date: as of both at once has no meaning",
            )),
        }
    }
}

/// The balance of each address of an account that [`super::current`] shows, in
/// the head's order, in minor units; and the number of the last event in it.
/// One seek, and on the value axis three short ranges for each address.
///
/// # Errors
/// [`Refusal::Overflow`] where a balance by value date is beyond 64 bits; a fault of the store.
pub fn of(rows: &Rows<'_>, book: &Book, as_of: AsOf) -> Result<(Vec<i64>, u64), Stop<Refusal>> {
    let addresses = book.head().addresses.len();
    let sized = |mut balances: Vec<i64>| {
        balances.resize(addresses, 0);
        balances
    };
    let booked_at = |moment_us| {
        let journal = journal_at_or_before(rows, moment_us)?;
        Ok::<_, Stop<Refusal>>(journal.map_or((Vec::new(), 0), |(_, journal)| {
            (journal.balances, journal.number)
        }))
    };
    match as_of {
        AsOf::Now => Ok((sized(book.state.balances.to_vec()), book.state.number)),
        AsOf::Booked(moment_us) => {
            booked_at(moment_us).map(|(balances, number)| (sized(balances), number))
        }
        AsOf::Value(day) => {
            let (booked, _) = booked_at(end_of_day_us(day))?;
            let mut balances = sized(booked);
            for (index, balance) in balances.iter_mut().enumerate() {
                // An account has at most 64 addresses.
                let address = u32::try_from(index).unwrap_or(u32::MAX);
                let shifted = i128::from(*balance) + value_axis::prefix_sum(rows, address, day)?;
                *balance = i64::try_from(shifted).map_err(|_| overflow(book.head(), index))?;
            }
            // A later event can be dated back: this is the state after all of them.
            Ok((balances, book.state.number))
        }
    }
}

fn overflow(head: &Head, index: usize) -> Stop<Refusal> {
    let address = head
        .addresses
        .get(index)
        .map(|row| row.address.clone())
        .unwrap_or_default();
    Stop::Refused(Refusal::Overflow {
        account: head.account.clone(),
        address,
    })
}

/// Balances with their addresses' names.
pub fn lines(head: &Head, balances: &[i64]) -> Vec<AddressBalance> {
    let balance = |index: usize| balances.get(index).copied().unwrap_or(0);
    let line = |(index, row): (usize, &crate::rows::AddressRow)| AddressBalance {
        address: row.address.clone(),
        currency: row.currency.clone(),
        balance_minor: balance(index),
        ..AddressBalance::default()
    };
    head.addresses.iter().enumerate().map(line).collect()
}

/// The named balances: for each definition one line for each currency of the
/// account, zero where it has no such address.
///
/// # Errors
/// [`Refusal::Overflow`] where a sum is beyond 64 bits.
pub fn defined(
    head: &Head,
    balances: &[i64],
    definitions: &[BalanceDefinition],
) -> Result<Vec<DefinedBalance>, Stop<Refusal>> {
    let mut currencies: Vec<&str> = Vec::new();
    for row in &head.addresses {
        if !currencies.contains(&row.currency.as_str()) {
            currencies.push(&row.currency);
        }
    }
    let mut lines = Vec::with_capacity(definitions.len() * currencies.len());
    for definition in definitions {
        for currency in &currencies {
            let covered = head.addresses.iter().zip(balances);
            let covered = covered
                .filter(|(row, _)| row.currency == *currency && definition.covers(&row.address));
            let sum: i128 = covered.map(|(_, balance)| i128::from(*balance)).sum();
            lines.push(DefinedBalance {
                definition: definition.name.clone(),
                currency: (*currency).to_owned(),
                balance_minor: i64::try_from(sum).map_err(|_| {
                    Stop::Refused(Refusal::Overflow {
                        account: head.account.clone(),
                        address: definition.name.clone(),
                    })
                })?,
                ..DefinedBalance::default()
            });
        }
    }
    Ok(lines)
}

/// Balances of one account in one consistent read.
///
/// # Errors
/// [`Refusal::AccountNotFound`]; `AS_OF_WITH_HOLDS`; as [`of`].
pub fn get(
    rows: &Rows<'_>,
    account: &str,
    as_of: AsOf,
    with_holds: bool,
    now_us: i64,
    definitions: &[BalanceDefinition],
) -> Result<GetBalancesResponse, Stop<Refusal>> {
    if with_holds && as_of != AsOf::Now {
        return Err(Stop::Refused(Refusal::invalid(
            "AS_OF_WITH_HOLDS",
            "holds can be read as they are at present only: leave them out, or the moment",
        )));
    }
    super::current(rows, account, now_us, |rows, book| {
        let (balances, event_number) = of(rows, book, as_of)?;
        Ok(GetBalancesResponse {
            balances: lines(book.head(), &balances),
            definitions: defined(book.head(), &balances, definitions)?,
            holds: if with_holds {
                holds::all_open(rows, book)?
            } else {
                Vec::new()
            },
            event_number,
            ..GetBalancesResponse::default()
        })
    })
}

/// An account's lines of the trial balance.
///
/// # Errors
/// As [`of`].
pub fn trial(
    rows: &Rows<'_>,
    account: &str,
    as_of: AsOf,
    now_us: i64,
) -> Result<Vec<TrialBalanceLine>, Stop<Refusal>> {
    super::current(rows, account, now_us, |rows, book| {
        let (balances, _) = of(rows, book, as_of)?;
        let line = |(row, balance_minor): (&crate::rows::AddressRow, i64)| TrialBalanceLine {
            account: book.head().account.clone(),
            entity: book.head().entity.clone(),
            address: row.address.clone(),
            currency: row.currency.clone(),
            balance_minor,
            ..TrialBalanceLine::default()
        };
        Ok(book
            .head()
            .addresses
            .iter()
            .zip(balances)
            .map(line)
            .collect())
    })
}
