//! Money and where it is kept: currencies, amounts, sort codes, account numbers, IBANs.
//!
//! Pure: no I/O, no clock, no floating point. What is read from a file (the
//! industry's table for the modulus check) is given to it as text.

mod amount;
mod currency;
mod iban;
mod iban_registry;
mod iso4217;
pub mod modulus;
mod uk;

pub use amount::{Amount, AmountError, Decimal, ParseAmountError};
pub use currency::{Currency, CurrencyError};
pub use iban::{Iban, IbanError};
pub use uk::{AccountNumber, SortCode, UkAccount, UkAccountError};
