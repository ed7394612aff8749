//! Currencies of ISO 4217.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::iso4217::{TABLE, WITHOUT_MINOR_UNIT};

/// A currency of ISO 4217 that money can be held in: an active code with a minor unit.
///
/// One byte, ordered by code; every question is one look into a table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(pub(crate) u8);

/// Why a text names no currency that money can be held in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CurrencyError {
    /// Not three capital letters.
    #[error("a currency is three capital letters (ISO 4217), not {0:?}")]
    Malformed(String),
    /// The standard has no such active code.
    #[error("{0} is no active currency of ISO 4217")]
    Unknown(String),
    /// The code exists and has no minor unit (XAU, XDR, XXX …), so that no amount can be counted in it.
    #[error("{0} has no minor unit in ISO 4217: no account can hold it")]
    NoMinorUnit(String),
}

const LETTERS: usize = 26;
const CODES: usize = LETTERS * LETTERS * LETTERS;
/// The most of a refused text that an error repeats, in characters.
const SHOWN_CHARS_MAX: usize = 16;

/// For every possible code its place in the table plus one; zero: none.
static PLACES: [u8; CODES] = places();

const fn places() -> [u8; CODES] {
    assert!(TABLE.len() < u8::MAX as usize, "a place must fit a byte");
    let mut places = [0; CODES];
    let mut at = 0;
    while at < TABLE.len() {
        let code = TABLE[at].code.as_bytes();
        assert!(code.len() == 3, "a code has three letters");
        match slot(code[0], code[1], code[2]) {
            Some(slot) => places[slot] = at as u8 + 1,
            None => panic!("a code is capital letters"),
        }
        at += 1;
    }
    places
}

const fn slot(a: u8, b: u8, c: u8) -> Option<usize> {
    if a.is_ascii_uppercase() && b.is_ascii_uppercase() && c.is_ascii_uppercase() {
        let (a, b, c) = (a - b'A', b - b'A', c - b'A');
        Some((a as usize * LETTERS + b as usize) * LETTERS + c as usize)
    } else {
        None
    }
}

impl Currency {
    /// Reads a code: exactly three capital letters.
    ///
    /// # Errors
    /// [`CurrencyError`] says why it names no money.
    pub fn parse(code: &str) -> Result<Self, CurrencyError> {
        if let [a, b, c] = *code.as_bytes()
            && let Some(slot) = slot(a, b, c)
        {
            return match PLACES[slot] {
                0 if WITHOUT_MINOR_UNIT.contains(&code) => {
                    Err(CurrencyError::NoMinorUnit(code.to_owned()))
                }
                0 => Err(CurrencyError::Unknown(code.to_owned())),
                place => Ok(Self(place - 1)),
            };
        }
        Err(CurrencyError::Malformed(
            code.chars().take(SHOWN_CHARS_MAX).collect(),
        ))
    }

    /// Finds a currency by its number in the standard: 826 is GBP.
    pub fn from_numeric(numeric: u16) -> Option<Self> {
        Self::all().find(|currency| currency.numeric() == numeric)
    }

    /// The three letters.
    pub fn code(self) -> &'static str {
        TABLE[usize::from(self.0)].code
    }

    /// The standard's number, as card messages carry it (ISO 8583 field 49).
    pub fn numeric(self) -> u16 {
        TABLE[usize::from(self.0)].numeric
    }

    /// Decimal places of the minor unit: GBP 2, JPY 0, KWD 3, CLF 4.
    pub fn minor_units(self) -> u8 {
        TABLE[usize::from(self.0)].minor_units
    }

    /// Minor units of one major unit: GBP 100, JPY 1, KWD 1,000.
    pub fn minor_per_major(self) -> i64 {
        10_i64.pow(u32::from(self.minor_units()))
    }

    /// The English name.
    pub fn name(self) -> &'static str {
        TABLE[usize::from(self.0)].name
    }

    /// Every currency, by code.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).take(TABLE.len()).map(Self)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Currency {
    type Err = CurrencyError;

    fn from_str(code: &str) -> Result<Self, CurrencyError> {
        Self::parse(code)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_table_is_the_standard() {
        for (code, numeric, minor_units) in [
            ("AED", 784, 2),
            ("ALL", 8, 2),
            ("BHD", 48, 3),
            ("CHF", 756, 2),
            ("CLF", 990, 4),
            ("CZK", 203, 2),
            ("EUR", 978, 2),
            ("GBP", 826, 2),
            ("ISK", 352, 0),
            ("JPY", 392, 0),
            ("KWD", 414, 3),
            ("TND", 788, 3),
            ("USD", 840, 2),
            ("UYW", 927, 4),
            ("XAF", 950, 0),
            ("XCG", 532, 2),
            ("ZWG", 924, 2),
        ] {
            let currency = Currency::parse(code).unwrap();
            assert_eq!(currency.code(), code);
            assert_eq!(currency.numeric(), numeric, "{code}");
            assert_eq!(currency.minor_units(), minor_units, "{code}");
            assert_eq!(Currency::from_numeric(numeric), Some(currency));
        }
        assert_eq!(Currency::GBP.code(), "GBP");
        assert_eq!(Currency::ZWG, Currency::parse("ZWG").unwrap());
        assert_eq!(
            (
                Currency::KWD.minor_per_major(),
                Currency::JPY.minor_per_major()
            ),
            (1_000, 1)
        );
        assert_eq!(
            format!("{:>5}|{:?}", Currency::EUR, Currency::EUR),
            "  EUR|EUR"
        );
    }

    #[test]
    fn codes_are_sorted_and_numbers_unique() {
        let codes: Vec<_> = Currency::all().map(Currency::code).collect();
        assert!(codes.is_sorted());
        assert_eq!(codes.len(), 165);
        let numbers: BTreeSet<_> = Currency::all().map(Currency::numeric).collect();
        assert_eq!(numbers.len(), codes.len());
        assert!(WITHOUT_MINOR_UNIT.iter().all(|code| !codes.contains(code)));
    }

    #[test]
    fn a_refusal_says_why() {
        for code in WITHOUT_MINOR_UNIT {
            assert_eq!(
                Currency::parse(code),
                Err(CurrencyError::NoMinorUnit(code.to_owned()))
            );
        }
        for code in ["ZZZ", "GBX", "DEM", "HRK", "BGN"] {
            assert_eq!(
                Currency::parse(code),
                Err(CurrencyError::Unknown(code.to_owned()))
            );
        }
        for code in ["", "gbp", "GB", "GBPP", "£££", "G P", "GBP\0", "€"] {
            assert!(
                matches!(Currency::parse(code), Err(CurrencyError::Malformed(_))),
                "{code:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_prints_as_it_was(text in "\\PC{0,5}|[A-Z]{3}") {
            if let Ok(currency) = Currency::parse(&text) {
                prop_assert_eq!(currency.code(), text);
            }
        }
    }
}
