//! Which account numbers are free, and which are kept for whom.
//!
//! A number is counted up and kept under the account's id in one commit; it is
//! never given out again, whatever becomes of the opening.

use std::fmt;
use std::path::Path;

use buffa::Message;
use lombard_money::modulus::{Checked, ModulusTable, TableError};
use lombard_money::{AccountNumber, Iban, IbanError, SortCode, UkAccountError};
use lombard_store::{Rows, Stop};
use thiserror::Error;

use crate::error::Error;
use crate::limits::NUMBERS_TRIED_MAX;
use crate::options::Options;
use crate::rows::{self, NUMBERS_KEY, NumbersRow, ReservationRow};

/// How the bank numbers its accounts.
#[derive(Debug, Clone)]
pub struct Numbering {
    sort_code: SortCode,
    bank_code: String,
    first: u32,
    table: Option<ModulusTable>,
}

/// Why the configured numbering cannot be used.
#[derive(Debug, Error)]
pub enum NumberingError {
    /// Not a sort code.
    #[error("account.sort_code: {0}")]
    SortCode(#[from] UkAccountError),
    /// Not a bank code.
    #[error("account.bank_code: {0}")]
    BankCode(#[from] IbanError),
    /// Not eight digits.
    #[error("account.account_number_first: {0} has more than eight digits")]
    First(u32),
    /// Substitutions or a version are configured, and no table.
    #[error("account.modulus_table: it is not set, but what belongs to it is")]
    TableMissing,
    /// A file cannot be read.
    #[error("{option}: {path}: {error}")]
    File {
        /// Which option names it.
        option: &'static str,
        /// The file.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// A file is no table.
    #[error("account.modulus_table: {0}")]
    Table(#[from] TableError),
}

impl Numbering {
    /// Reads the options and the files that they name.
    ///
    /// # Errors
    /// The option that is wrong, and why.
    pub fn load(options: &Options) -> Result<Self, NumberingError> {
        let read = |option, path: &Path| {
            std::fs::read_to_string(path).map_err(|error| NumberingError::File {
                option,
                path: path.display().to_string(),
                error,
            })
        };
        let table = match &options.modulus_table {
            Some(path) => {
                let weights = read("account.modulus_table", path)?;
                let substitutions = match &options.modulus_substitutions {
                    Some(path) => read("account.modulus_substitutions", path)?,
                    None => String::new(),
                };
                let table = ModulusTable::parse(&weights, &substitutions)?;
                Some(match &options.modulus_version {
                    Some(version) => table.with_version(version),
                    None => table,
                })
            }
            None if options.modulus_substitutions.is_some()
                || options.modulus_version.is_some() =>
            {
                return Err(NumberingError::TableMissing);
            }
            None => None,
        };
        Self::new(
            &options.sort_code,
            &options.bank_code,
            options.account_number_first,
            table,
        )
    }

    /// Of these parts.
    ///
    /// # Errors
    /// The option that is wrong, and why.
    pub fn new(
        sort_code: &str,
        bank_code: &str,
        first: u32,
        table: Option<ModulusTable>,
    ) -> Result<Self, NumberingError> {
        let sort_code = SortCode::parse(sort_code)?;
        let number = AccountNumber::from_number(first).ok_or(NumberingError::First(first))?;
        Iban::of_uk(bank_code, sort_code, number)?;
        Ok(Self {
            sort_code,
            bank_code: bank_code.to_owned(),
            first,
            table,
        })
    }

    /// The bank's sort code.
    pub fn sort_code(&self) -> SortCode {
        self.sort_code
    }

    /// The IBAN of a number of the bank's.
    ///
    /// # Errors
    /// None in a numbering that was made by [`Numbering::new`].
    pub fn iban(&self, number: AccountNumber) -> Result<Iban, IbanError> {
        Iban::of_uk(&self.bank_code, self.sort_code, number)
    }

    /// Whether the number may be given out, and how far that was checked.
    fn check(&self, number: AccountNumber) -> Option<String> {
        let Some(table) = &self.table else {
            return Some("form only: no table configured".to_owned());
        };
        let version = table.version().unwrap_or("version not stated");
        match table.check(self.sort_code, number) {
            Checked::Valid => Some(format!("checked ({version})")),
            Checked::NotInTable => Some(format!(
                "form only: the sort code is not in the table ({version})"
            )),
            Checked::Invalid => None,
        }
    }
}

impl fmt::Display for Numbering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, ", self.bank_code, self.sort_code)?;
        match &self.table {
            Some(table) => {
                let version = table.version().unwrap_or("not stated");
                write!(
                    f,
                    "modulus check by {} lines, version {version}",
                    table.len()
                )
            }
            None => f.write_str("no modulus check: no table configured"),
        }
    }
}

/// Keeps a number for the account: the one that is kept for it already, or the next free one.
///
/// # Errors
/// [`Error::NumbersExhausted`].
pub fn reserve(
    rows: &mut Rows<'_>,
    account: &str,
    numbering: &Numbering,
    now_us: i64,
) -> Result<ReservationRow, Stop<Error>> {
    let key = rows::reservation_key(account);
    if let Some(reservation) = rows::load(rows, &key)? {
        return Ok(reservation);
    }
    let counter: NumbersRow = rows::load(rows, NUMBERS_KEY)?.unwrap_or_default();
    let from = counter.next.max(numbering.first);
    let found = (from..from.saturating_add(NUMBERS_TRIED_MAX))
        .map_while(AccountNumber::from_number)
        .find_map(|number| Some((number, numbering.check(number)?)));
    let Some((number, modulus_check)) = found else {
        let sort_code = numbering.sort_code.to_string();
        return Err(Stop::Refused(Error::NumbersExhausted { sort_code }));
    };
    let reservation = ReservationRow {
        account_number: number.number(),
        modulus_check,
        reserved_us: now_us,
        ..ReservationRow::default()
    };
    let next = NumbersRow {
        next: number.number() + 1,
        ..NumbersRow::default()
    };
    rows.put(NUMBERS_KEY, next.encode_to_vec());
    rows.put(key, reservation.encode_to_vec());
    Ok(reservation)
}

/// Forgets that a number is kept for the account: it is in the account's row now, or in nobody's.
pub fn settle(rows: &mut Rows<'_>, account: &str) -> Result<(), Stop<Error>> {
    let key = rows::reservation_key(account);
    if rows.get(&key)?.is_some() {
        rows.delete(key);
    }
    Ok(())
}

/// Accounts whose opening began at or before a moment and is not finished, at most `limit`.
///
/// # Errors
/// Faults only.
pub fn unfinished(
    rows: &Rows<'_>,
    begun_us_max: i64,
    limit: usize,
) -> Result<Vec<String>, Stop<Error>> {
    let mut accounts = Vec::new();
    for (key, value) in rows.range(&rows::reservations(limit))? {
        let reservation: ReservationRow =
            rows::decode(&key, &value).map_err(lombard_store::Fault::Store)?;
        if reservation.reserved_us <= begun_us_max {
            let account = rows::account_of(&key).map_err(lombard_store::Fault::Store)?;
            accounts.push(account.to_owned());
        }
    }
    Ok(accounts)
}

#[cfg(test)]
mod tests;
