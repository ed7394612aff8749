//! Amounts of money: whole minor units of one currency.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::{Currency, CurrencyError};

/// Money: a signed number of whole minor units (pence, cents, yen) of one currency.
///
/// Arithmetic is checked and typed; nothing here is ever a floating point number.
/// Amounts of different currencies have no order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Amount {
    minor: i64,
    currency: Currency,
}

/// Why amounts do not combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AmountError {
    /// The result does not fit 64 bits of minor units.
    #[error("the result does not fit: more than 64 bits of minor units of {0}")]
    Overflow(Currency),
    /// Money of different currencies is exchanged, never added.
    #[error("{left} and {right} cannot be combined")]
    Currencies {
        /// The currency of the left side.
        left: Currency,
        /// The currency of the right side.
        right: Currency,
    },
}

/// Why a text is no amount.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseAmountError {
    /// Not an optional minus, digits, and at most one point between digits.
    #[error("an amount is digits with at most one decimal point, like -12.34, not {0:?}")]
    Malformed(String),
    /// More decimals than the currency has: never rounded.
    #[error("{currency} has {allowed} decimal places, not {found}")]
    TooManyDecimals {
        /// The currency.
        currency: Currency,
        /// Its decimal places.
        allowed: u8,
        /// The text's decimal places.
        found: usize,
    },
    /// Does not fit 64 bits of minor units.
    #[error("the amount does not fit: more than 64 bits of minor units of {0}")]
    TooLarge(Currency),
    /// The currency that stands beside the digits is none.
    #[error(transparent)]
    Currency(#[from] CurrencyError),
}

/// The longest text that is read as an amount, in bytes.
const TEXT_BYTES_MAX: usize = 64;
/// The most of a refused text that an error repeats, in characters.
const SHOWN_CHARS_MAX: usize = 24;

impl Amount {
    /// So many minor units.
    pub const fn from_minor(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Nothing.
    pub const fn zero(currency: Currency) -> Self {
        Self::from_minor(0, currency)
    }

    /// Whole minor units.
    pub const fn minor(self) -> i64 {
        self.minor
    }

    /// The currency.
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// Whether it is nothing.
    pub const fn is_zero(self) -> bool {
        self.minor == 0
    }

    /// Whether it is less than nothing.
    pub const fn is_negative(self) -> bool {
        self.minor < 0
    }

    /// The sum.
    ///
    /// # Errors
    /// Overflow, or another currency.
    pub fn checked_add(self, other: Self) -> Result<Self, AmountError> {
        self.same_currency(other)?;
        self.or_overflow(self.minor.checked_add(other.minor))
    }

    /// The difference.
    ///
    /// # Errors
    /// Overflow, or another currency.
    pub fn checked_sub(self, other: Self) -> Result<Self, AmountError> {
        self.same_currency(other)?;
        self.or_overflow(self.minor.checked_sub(other.minor))
    }

    /// The opposite.
    ///
    /// # Errors
    /// Overflow: the least amount has none.
    pub fn checked_neg(self) -> Result<Self, AmountError> {
        self.or_overflow(self.minor.checked_neg())
    }

    /// The amount without its sign.
    ///
    /// # Errors
    /// Overflow: the least amount has none.
    pub fn checked_abs(self) -> Result<Self, AmountError> {
        self.or_overflow(self.minor.checked_abs())
    }

    /// So many times the amount.
    ///
    /// # Errors
    /// Overflow.
    pub fn checked_mul(self, times: i64) -> Result<Self, AmountError> {
        self.or_overflow(self.minor.checked_mul(times))
    }

    /// The sum of all, zero of `currency` for none. An intermediate sum may
    /// exceed 64 bits, the result may not.
    ///
    /// # Errors
    /// Overflow, or an amount of another currency.
    pub fn sum(
        currency: Currency,
        amounts: impl IntoIterator<Item = Self>,
    ) -> Result<Self, AmountError> {
        // i128 holds 2^64 amounts of 64 bits.
        let mut total = 0_i128;
        for amount in amounts {
            Self::zero(currency).same_currency(amount)?;
            total += i128::from(amount.minor);
        }
        Self::zero(currency).or_overflow(i64::try_from(total).ok())
    }

    /// Reads decimal digits of major units: "12.34", "-0.05", "12", "12.3".
    /// No separators, no plus, no exponent, no bare point.
    ///
    /// # Errors
    /// [`ParseAmountError`]; more decimals than the currency has are refused, never rounded.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, ParseAmountError> {
        let malformed =
            || ParseAmountError::Malformed(text.chars().take(SHOWN_CHARS_MAX).collect());
        if text.len() > TEXT_BYTES_MAX {
            return Err(malformed());
        }
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = match digits.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return Err(malformed()),
            None => (digits, ""),
        };
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            return Err(malformed());
        }
        let allowed = currency.minor_units();
        let missing = usize::from(allowed).checked_sub(fraction.len()).ok_or(
            ParseAmountError::TooManyDecimals {
                currency,
                allowed,
                found: fraction.len(),
            },
        )?;
        let padding = std::iter::repeat_n(b'0', missing);
        whole
            .bytes()
            .chain(fraction.bytes())
            .chain(padding)
            .try_fold(0_i64, |minor, digit| {
                let digit = i64::from(digit - b'0');
                // Counted away from zero on the amount's own side, so that i64::MIN is read too.
                let shifted = minor.checked_mul(10)?;
                if negative {
                    shifted.checked_sub(digit)
                } else {
                    shifted.checked_add(digit)
                }
            })
            .map(|minor| Self { minor, currency })
            .ok_or(ParseAmountError::TooLarge(currency))
    }

    /// The digits without the currency, for printing: "-1234.50"; with
    /// [`Decimal::grouped`] "-1,234.50".
    pub const fn decimal(self) -> Decimal {
        Decimal {
            amount: self,
            separator: None,
        }
    }

    fn same_currency(self, other: Self) -> Result<(), AmountError> {
        if self.currency == other.currency {
            Ok(())
        } else {
            Err(AmountError::Currencies {
                left: self.currency,
                right: other.currency,
            })
        }
    }

    fn or_overflow(self, minor: Option<i64>) -> Result<Self, AmountError> {
        let currency = self.currency;
        minor
            .map(|minor| Self { minor, currency })
            .ok_or(AmountError::Overflow(currency))
    }
}

impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.currency == other.currency).then(|| self.minor.cmp(&other.minor))
    }
}

/// "-12.34 GBP", as many decimals as the currency has.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.decimal(), self.currency)
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads "12.34 GBP", what [`Amount`] prints.
impl FromStr for Amount {
    type Err = ParseAmountError;

    fn from_str(text: &str) -> Result<Self, ParseAmountError> {
        let (digits, code) = text.rsplit_once(' ').ok_or_else(|| {
            ParseAmountError::Malformed(text.chars().take(SHOWN_CHARS_MAX).collect())
        })?;
        Self::parse(digits, Currency::parse(code)?)
    }
}

/// The decimal digits of an amount, on their way to a reader. Padding of a
/// format string (`{:>12}`) holds.
#[derive(Debug, Clone, Copy)]
pub struct Decimal {
    amount: Amount,
    separator: Option<char>,
}

impl Decimal {
    /// Puts a separator between thousands: ',' or a thin space.
    #[must_use]
    pub const fn grouped(mut self, separator: char) -> Self {
        self.separator = Some(separator);
        self
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_major = self.amount.currency.minor_per_major().unsigned_abs();
        let places = usize::from(self.amount.currency.minor_units());
        let magnitude = self.amount.minor.unsigned_abs();
        let whole = (magnitude / per_major).to_string();

        let mut text = String::with_capacity(32);
        if self.amount.is_negative() {
            text.push('-');
        }
        for (place, digit) in whole.chars().enumerate() {
            if let Some(separator) = self.separator
                && place > 0
                && (whole.len() - place).is_multiple_of(3)
            {
                text.push(separator);
            }
            text.push(digit);
        }
        if places > 0 {
            text.push_str(&format!(".{:0places$}", magnitude % per_major));
        }
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn digits_become_minor_units() {
        for (text, currency, minor) in [
            ("12.34", Currency::GBP, 1_234),
            ("-0.05", Currency::GBP, -5),
            ("0", Currency::GBP, 0),
            ("-0", Currency::GBP, 0),
            ("12", Currency::GBP, 1_200),
            ("12.3", Currency::GBP, 1_230),
            ("007.10", Currency::GBP, 710),
            ("1500", Currency::JPY, 1_500),
            ("1.234", Currency::KWD, 1_234),
            ("1.2345", Currency::CLF, 12_345),
            ("92233720368547758.07", Currency::GBP, i64::MAX),
            ("-92233720368547758.08", Currency::GBP, i64::MIN),
            ("-9223372036854775808", Currency::JPY, i64::MIN),
        ] {
            assert_eq!(
                Amount::parse(text, currency).map(Amount::minor),
                Ok(minor),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_amount_is_refused_with_its_reason() {
        for text in [
            "", "-", ".", "1.", ".5", "-.5", "+1", "1,000", "1 000", " 1", "1 ", "1e3", "--1",
            "1.2.3", "0x10", "NaN", "١٢", "£1", "1.-2",
        ] {
            assert_eq!(
                Amount::parse(text, Currency::GBP),
                Err(ParseAmountError::Malformed(text.to_owned())),
                "{text:?}"
            );
        }
        for (text, currency, allowed, found) in [
            ("1.234", Currency::GBP, 2, 3),
            ("1.00", Currency::JPY, 0, 2),
            ("1.2345", Currency::KWD, 3, 4),
        ] {
            assert_eq!(
                Amount::parse(text, currency),
                Err(ParseAmountError::TooManyDecimals {
                    currency,
                    allowed,
                    found
                })
            );
        }
        for text in [
            "92233720368547758.08",
            "-92233720368547758.09",
            "99999999999999999999",
        ] {
            assert_eq!(
                Amount::parse(text, Currency::GBP),
                Err(ParseAmountError::TooLarge(Currency::GBP))
            );
        }
        assert!(Amount::parse(&"0".repeat(65), Currency::GBP).is_err());
        assert!("12.34".parse::<Amount>().is_err());
        assert_eq!(
            "12.34 XAU".parse::<Amount>(),
            Err(ParseAmountError::Currency(CurrencyError::NoMinorUnit(
                "XAU".to_owned()
            )))
        );
    }

    #[test]
    fn amounts_print_with_their_minor_units() {
        for (minor, currency, plain, grouped) in [
            (123_456_789, Currency::GBP, "1234567.89", "1,234,567.89"),
            (-5, Currency::GBP, "-0.05", "-0.05"),
            (99_999, Currency::GBP, "999.99", "999.99"),
            (100_000, Currency::GBP, "1000.00", "1,000.00"),
            (1_500, Currency::JPY, "1500", "1,500"),
            (-1_234, Currency::KWD, "-1.234", "-1.234"),
            (12_345, Currency::CLF, "1.2345", "1.2345"),
            (
                i64::MIN,
                Currency::GBP,
                "-92233720368547758.08",
                "-92,233,720,368,547,758.08",
            ),
        ] {
            let amount = Amount::from_minor(minor, currency);
            assert_eq!(amount.decimal().to_string(), plain);
            assert_eq!(amount.decimal().grouped(',').to_string(), grouped);
            assert_eq!(amount.to_string(), format!("{plain} {currency}"));
        }
        let amount = Amount::from_minor(5, Currency::GBP);
        assert_eq!(format!("[{:>8}]", amount.decimal()), "[    0.05]");
    }

    #[test]
    fn arithmetic_is_checked() {
        let (one, most) = (
            Amount::from_minor(1, Currency::GBP),
            Amount::from_minor(i64::MAX, Currency::GBP),
        );
        let least = Amount::from_minor(i64::MIN, Currency::GBP);
        let overflow = Err(AmountError::Overflow(Currency::GBP));
        assert_eq!(most.checked_add(one), overflow);
        assert_eq!(least.checked_sub(one), overflow);
        assert_eq!(least.checked_neg(), overflow);
        assert_eq!(least.checked_abs(), overflow);
        assert_eq!(most.checked_mul(2), overflow);
        assert_eq!(
            one.checked_sub(most)
                .and_then(|left| left.checked_sub(one))
                .map(Amount::minor),
            Ok(-i64::MAX)
        );
        assert_eq!(
            Amount::sum(Currency::GBP, [most, one, least]).map(Amount::minor),
            Ok(0)
        );
        assert_eq!(Amount::sum(Currency::GBP, [most, one]), overflow);
        assert_eq!(
            Amount::sum(Currency::JPY, []).map(Amount::currency),
            Ok(Currency::JPY)
        );

        let yen = Amount::from_minor(1, Currency::JPY);
        let mixed = Err(AmountError::Currencies {
            left: Currency::GBP,
            right: Currency::JPY,
        });
        assert_eq!(one.checked_add(yen), mixed);
        assert_eq!(one.checked_sub(yen), mixed);
        assert_eq!(Amount::sum(Currency::GBP, [yen]), mixed);
        assert_eq!(one.partial_cmp(&yen), None);
        assert!(one < most && least < one);
    }

    fn any_currency() -> impl Strategy<Value = Currency> {
        prop::sample::select(Currency::all().collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(minor: i64, currency in any_currency()) {
            let amount = Amount::from_minor(minor, currency);
            prop_assert_eq!(amount.to_string().parse::<Amount>(), Ok(amount));
            prop_assert_eq!(Amount::parse(&amount.decimal().to_string(), currency), Ok(amount));
            let grouped = amount.decimal().grouped(',').to_string();
            prop_assert_eq!(grouped.replace(',', ""), amount.decimal().to_string());
        }

        #[test]
        fn what_goes_in_comes_out(a: i64, b: i64) {
            let (a, b) = (Amount::from_minor(a, Currency::EUR), Amount::from_minor(b, Currency::EUR));
            if let Ok(sum) = a.checked_add(b) {
                prop_assert_eq!(sum.checked_sub(b), Ok(a));
                prop_assert_eq!(Amount::sum(Currency::EUR, [a, b]), Ok(sum));
            } else {
                prop_assert!(a.minor().checked_add(b.minor()).is_none());
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,80}|-?[0-9]{0,25}\\.?[0-9]{0,6}( [A-Z]{3})?", currency in any_currency()) {
            if let Ok(amount) = Amount::parse(&text, currency) {
                prop_assert_eq!(Amount::parse(&amount.decimal().to_string(), currency), Ok(amount));
            }
            if let Ok(amount) = text.parse::<Amount>() {
                prop_assert_eq!(amount.to_string().parse::<Amount>(), Ok(amount));
            }
        }
    }
}
