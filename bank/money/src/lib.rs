//! Money and where it is kept: currencies, amounts, sort codes, account numbers, IBANs.
//!
//! Pure: no I/O, no clock, no floating point. What is read from a file (the
//! industry's table for the modulus check) is given to it as text.

mod currency;
mod iso4217;

pub use currency::{Currency, CurrencyError};
