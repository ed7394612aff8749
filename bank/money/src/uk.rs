//! UK sort codes and account numbers: their form. Whether a number can belong
//! to a sort code is [`crate::modulus`]'s question.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A UK sort code: six digits that name a bank's branch. Prints as "12-34-56".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SortCode(u32);

/// A UK account number: eight digits within a sort code. Prints as "01234567".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountNumber(u32);

/// A sort code and an account number in the standard form: what a payment names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UkAccount {
    /// The branch.
    pub sort_code: SortCode,
    /// The number there.
    pub number: AccountNumber,
}

/// Why a text is no sort code or account number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UkAccountError {
    /// Not six digits, plain or in pairs.
    #[error("a sort code is six digits, like 12-34-56")]
    SortCode,
    /// Not six to eight digits (with a sort code that says how: up to ten).
    #[error("an account number is six to eight digits")]
    Number,
    /// Nine digits are in use at Santander only.
    #[error("sort code {0} has no account numbers of nine digits")]
    NineDigits(SortCode),
    /// Ten digits are in use at NatWest and the Co-operative Bank only.
    #[error("sort code {0} has no account numbers of ten digits")]
    TenDigits(SortCode),
}

const SORT_CODES: u32 = 1_000_000;
const NUMBERS: u32 = 100_000_000;

impl SortCode {
    /// Makes a sort code of its six digits as a number, 0 to 999,999.
    pub const fn from_number(number: u32) -> Option<Self> {
        if number < SORT_CODES {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Reads "123456", "12-34-56" or "12 34 56".
    ///
    /// # Errors
    /// [`UkAccountError::SortCode`].
    pub fn parse(text: &str) -> Result<Self, UkAccountError> {
        let bytes = text.as_bytes();
        let digits = match *bytes {
            [a, b, c, d, e, f] => [a, b, c, d, e, f],
            [a, b, first @ (b'-' | b' '), c, d, second, e, f] if first == second => {
                [a, b, c, d, e, f]
            }
            _ => return Err(UkAccountError::SortCode),
        };
        number_of(&digits).map(Self).ok_or(UkAccountError::SortCode)
    }

    /// The six digits as a number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The six digits, each 0 to 9.
    pub fn digits(self) -> [u8; 6] {
        digits_of(self.0)
    }

    /// The six digits without dashes, as IBANs and messages carry them.
    pub fn compact(self) -> String {
        format!("{:06}", self.0)
    }
}

impl AccountNumber {
    /// Makes an account number of its eight digits as a number, 0 to 99,999,999.
    pub const fn from_number(number: u32) -> Option<Self> {
        if number < NUMBERS {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Reads six to eight digits; the shorter ones get zeros in front, as the
    /// industry's specification has it ("Validating account numbers", non-standard
    /// account numbers). Longer ones need their sort code: [`UkAccount::parse`].
    ///
    /// # Errors
    /// [`UkAccountError::Number`].
    pub fn parse(text: &str) -> Result<Self, UkAccountError> {
        match text.len() {
            6..=8 => number_of(text.as_bytes())
                .map(Self)
                .ok_or(UkAccountError::Number),
            _ => Err(UkAccountError::Number),
        }
    }

    /// The eight digits as a number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The eight digits, each 0 to 9.
    pub fn digits(self) -> [u8; 8] {
        digits_of(self.0)
    }
}

impl UkAccount {
    /// Reads a sort code and an account number of six to ten digits in any of
    /// the forms in use, and brings them into the standard one. In the number,
    /// spaces and hyphens between digits are left out.
    ///
    /// - 6 and 7 digits: zeros in front.
    /// - 9 digits, Santander: the first digit replaces the sort code's last, the
    ///   other eight are the number.
    /// - 10 digits: the Co-operative Bank's first eight, NatWest's last eight.
    ///
    /// Source: "Validating account numbers: UK modulus checking", non-standard
    /// account numbers. Where that names no rule for a bank, the number is refused
    /// and nothing is guessed: a wrong guess pays a stranger.
    ///
    /// # Errors
    /// [`UkAccountError`].
    pub fn parse(sort_code: &str, number: &str) -> Result<Self, UkAccountError> {
        let sort_code = SortCode::parse(sort_code)?;
        let mut digits = [0_u8; 10];
        let mut length = 0;
        let mut after_digit = false;
        for byte in number.bytes() {
            match byte {
                b'0'..=b'9' => {
                    *digits.get_mut(length).ok_or(UkAccountError::Number)? = byte;
                    length += 1;
                    after_digit = true;
                }
                b' ' | b'-' if after_digit => after_digit = false,
                _ => return Err(UkAccountError::Number),
            }
        }
        if !after_digit {
            return Err(UkAccountError::Number);
        }
        let (sort_code, digits) = match length {
            6..=8 => (sort_code, &digits[..length]),
            9 if is_santander(sort_code) => {
                let first = u32::from(digits[0] - b'0');
                (SortCode(sort_code.0 / 10 * 10 + first), &digits[1..9])
            }
            9 => return Err(UkAccountError::NineDigits(sort_code)),
            10 if is_cooperative(sort_code) => (sort_code, &digits[..8]),
            10 if is_natwest(sort_code) => (sort_code, &digits[2..]),
            10 => return Err(UkAccountError::TenDigits(sort_code)),
            _ => return Err(UkAccountError::Number),
        };
        let number = number_of(digits)
            .map(AccountNumber)
            .ok_or(UkAccountError::Number)?;
        Ok(Self { sort_code, number })
    }
}

/// Sort codes of Santander UK (with the former Alliance & Leicester and Girobank).
fn is_santander(sort_code: SortCode) -> bool {
    matches!(sort_code.0, 90_000..=91_999 | 165_710 | 720_000..=729_999 | 890_000..=892_999)
}

/// Sort codes of the Co-operative Bank.
fn is_cooperative(sort_code: SortCode) -> bool {
    matches!(sort_code.0, 80_000..=89_999)
}

/// Sort codes of National Westminster Bank.
fn is_natwest(sort_code: SortCode) -> bool {
    matches!(sort_code.0, 10_000..=19_999 | 500_000..=669_999)
}

/// At most nine digits as a number.
fn number_of(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + u32::from(digit - b'0'))
    })
}

fn digits_of<const N: usize>(mut number: u32) -> [u8; N] {
    let mut digits = [0; N];
    for digit in digits.iter_mut().rev() {
        // A remainder of ten fits a byte.
        *digit = (number % 10) as u8;
        number /= 10;
    }
    digits
}

impl fmt::Display for SortCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (a, b, c) = (self.0 / 10_000, self.0 / 100 % 100, self.0 % 100);
        f.pad(&format!("{a:02}-{b:02}-{c:02}"))
    }
}

impl fmt::Debug for SortCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SortCode {
    type Err = UkAccountError;

    fn from_str(text: &str) -> Result<Self, UkAccountError> {
        Self::parse(text)
    }
}

impl fmt::Display for AccountNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:08}", self.0))
    }
}

impl fmt::Debug for AccountNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AccountNumber {
    type Err = UkAccountError;

    fn from_str(text: &str) -> Result<Self, UkAccountError> {
        Self::parse(text)
    }
}

impl fmt::Display for UkAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} {}", self.sort_code, self.number))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sort_codes_are_read_in_three_forms() {
        for text in ["040004", "04-00-04", "04 00 04"] {
            let sort_code = SortCode::parse(text).unwrap();
            assert_eq!(sort_code.to_string(), "04-00-04");
            assert_eq!(sort_code.compact(), "040004");
            assert_eq!(sort_code.digits(), [0, 4, 0, 0, 0, 4]);
        }
        for text in [
            "", "04004", "0400041", "04-0004", "04-00 04", "04/00/04", "0400-04", "abcdef",
            "-4-00-04", "٠٤٠",
        ] {
            assert_eq!(
                SortCode::parse(text),
                Err(UkAccountError::SortCode),
                "{text:?}"
            );
        }
        assert_eq!(SortCode::from_number(1_000_000), None);
    }

    #[test]
    fn numbers_come_into_the_standard_form() {
        for (sort_code, number, standard) in [
            ("12-34-56", "12345678", "12-34-56 12345678"),
            ("12-34-56", "1234567", "12-34-56 01234567"),
            ("12-34-56", "123456", "12-34-56 00123456"),
            ("12-34-56", "1234 5678", "12-34-56 12345678"),
            // Santander: the first of nine digits is the last of the sort code.
            ("72-00-00", "912345678", "72-00-09 12345678"),
            ("09-01-20", "612345678", "09-01-26 12345678"),
            // The Co-operative Bank's first eight, NatWest's last eight.
            ("08-90-00", "1234567890", "08-90-00 12345678"),
            ("60-00-01", "0012345678", "60-00-01 12345678"),
            ("60-00-01", "00-12345678", "60-00-01 12345678"),
        ] {
            let account = UkAccount::parse(sort_code, number).unwrap();
            assert_eq!(account.to_string(), standard, "{sort_code} {number}");
        }
        let santander_elsewhere = SortCode::parse("20-00-00").unwrap();
        for (number, refusal) in [
            ("12345", UkAccountError::Number),
            ("12345678901", UkAccountError::Number),
            ("", UkAccountError::Number),
            ("-12345678", UkAccountError::Number),
            ("12345678-", UkAccountError::Number),
            ("1234--5678", UkAccountError::Number),
            ("1234567x", UkAccountError::Number),
            ("123456789", UkAccountError::NineDigits(santander_elsewhere)),
            ("1234567890", UkAccountError::TenDigits(santander_elsewhere)),
        ] {
            assert_eq!(
                UkAccount::parse("20-00-00", number),
                Err(refusal),
                "{number:?}"
            );
        }
        assert_eq!(
            AccountNumber::parse("123456").map(|n| n.to_string()),
            Ok("00123456".to_owned())
        );
        assert_eq!(
            AccountNumber::parse("123456789"),
            Err(UkAccountError::Number)
        );
        assert_eq!(AccountNumber::from_number(100_000_000), None);
    }

    proptest! {
        #[test]
        fn whatever_is_read_prints_and_reads_back(
            sort_code in "\\PC{0,10}|[0-9]{6}|[0-9]{2}[- ][0-9]{2}[- ][0-9]{2}",
            number in "\\PC{0,12}|[0-9 -]{0,14}",
        ) {
            if let Ok(read) = SortCode::parse(&sort_code) {
                prop_assert_eq!(SortCode::parse(&read.to_string()), Ok(read));
                prop_assert_eq!(SortCode::parse(&read.compact()), Ok(read));
            }
            if let Ok(read) = UkAccount::parse(&sort_code, &number) {
                let again = UkAccount::parse(&read.sort_code.to_string(), &read.number.to_string());
                prop_assert_eq!(again, Ok(read));
                prop_assert_eq!(AccountNumber::parse(&read.number.to_string()), Ok(read.number));
            }
        }

        #[test]
        fn digits_make_the_number(sort_code in 0..SORT_CODES, number in 0..NUMBERS) {
            let join = |digits: &[u8]| digits.iter().fold(0, |n, d| n * 10 + u32::from(*d));
            prop_assert_eq!(join(&SortCode(sort_code).digits()), sort_code);
            prop_assert_eq!(join(&AccountNumber(number).digits()), number);
        }
    }
}
