//! International bank account numbers, ISO 13616.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::iban_registry::COUNTRIES;
use crate::{AccountNumber, SortCode, UkAccount};

/// An IBAN whose country, length, form and check digits are right. Prints in groups of four,
/// as on paper ("GB29 NWBK 6016 1331 9268 19"); [`Iban::as_str`] is what machines exchange.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Iban(String);

/// Why a text is no IBAN.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IbanError {
    /// A character that no IBAN has, or no country and check digits in front.
    #[error("an IBAN is a country code, two check digits, and up to 30 letters and digits")]
    Malformed,
    /// The country has no IBAN in the registry.
    #[error("{0} has no IBAN in the registry")]
    Country(String),
    /// The country's IBANs have another length.
    #[error("an IBAN of {country} has {expected} characters, not {found}")]
    Length {
        /// The country's code.
        country: String,
        /// The length of its IBANs.
        expected: usize,
        /// The length of the text.
        found: usize,
    },
    /// Letters where the country has digits, or digits where it has letters.
    #[error("an IBAN of {country} has letters and digits in other places")]
    Structure {
        /// The country's code.
        country: String,
    },
    /// The check digits are wrong: someone mistyped.
    #[error("the check digits are wrong: a character is mistyped or two are swapped")]
    CheckDigits,
    /// A bank code of the UK is four capital letters.
    #[error("a UK bank code is four capital letters, not {0:?}")]
    BankCode(String),
}

/// ISO 13616-1: at most 34 characters.
const CHARS_MAX: usize = 34;
/// The longest text that is read, with spaces, in bytes.
const TEXT_BYTES_MAX: usize = 64;

impl Iban {
    /// Reads an IBAN, with or without spaces, in capitals or not.
    ///
    /// # Errors
    /// [`IbanError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, IbanError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(IbanError::Malformed);
        }
        let mut compact = String::with_capacity(CHARS_MAX);
        for character in text.chars().filter(|character| *character != ' ') {
            if !character.is_ascii_alphanumeric() {
                return Err(IbanError::Malformed);
            }
            compact.push(character.to_ascii_uppercase());
        }
        let [a, b, c, d, bban @ ..] = compact.as_bytes() else {
            return Err(IbanError::Malformed);
        };
        let is_headed = a.is_ascii_uppercase()
            && b.is_ascii_uppercase()
            && c.is_ascii_digit()
            && d.is_ascii_digit();
        if !is_headed || compact.len() > CHARS_MAX {
            return Err(IbanError::Malformed);
        }
        let country: String = [*a, *b].map(char::from).iter().collect();
        let form = form_of(&country).ok_or_else(|| IbanError::Country(country.clone()))?;
        let expected = 4 + form.clone().map(|(count, _)| count).sum::<usize>();
        if compact.len() != expected {
            return Err(IbanError::Length {
                country,
                expected,
                found: compact.len(),
            });
        }
        let mut kinds = form.flat_map(|(count, kind)| std::iter::repeat_n(kind, count));
        if !bban
            .iter()
            .all(|byte| kinds.next().is_some_and(|kind| is_of(kind, *byte)))
        {
            return Err(IbanError::Structure { country });
        }
        // 00, 01 and 99 leave the right remainder for some numbers, and are never given out:
        // ISO 7064 makes 02 to 98.
        let check_digits = (c - b'0') * 10 + (d - b'0');
        if !(2..=98).contains(&check_digits) || remainder(&compact) != 1 {
            return Err(IbanError::CheckDigits);
        }
        Ok(Self(compact))
    }

    /// Makes the IBAN of a UK account: bank code (the first four letters of the bank's BIC),
    /// sort code, account number.
    ///
    /// # Errors
    /// [`IbanError::BankCode`].
    pub fn of_uk(
        bank_code: &str,
        sort_code: SortCode,
        number: AccountNumber,
    ) -> Result<Self, IbanError> {
        if bank_code.len() != 4 || !bank_code.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(IbanError::BankCode(bank_code.chars().take(16).collect()));
        }
        let bban = format!("{bank_code}{}{number}", sort_code.compact());
        let check_digits = 98 - remainder(&format!("GB00{bban}"));
        Ok(Self(format!("GB{check_digits:02}{bban}")))
    }

    /// The IBAN without spaces, as machines exchange it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The country's code, ISO 3166-1 alpha-2 (and XK for Kosovo).
    pub fn country(&self) -> &str {
        self.0.get(..2).unwrap_or_default()
    }

    /// What follows country and check digits: the country's own account number.
    pub fn bban(&self) -> &str {
        self.0.get(4..).unwrap_or_default()
    }

    /// Bank code, and sort code and account number, of an IBAN of the UK.
    pub fn uk(&self) -> Option<(&str, UkAccount)> {
        if self.country() != "GB" {
            return None;
        }
        let bban = self.bban();
        let sort_code = SortCode::parse(bban.get(4..10)?).ok()?;
        let number = AccountNumber::parse(bban.get(10..)?).ok()?;
        Some((bban.get(..4)?, UkAccount { sort_code, number }))
    }
}

/// Lengths and kinds (n, a, c) of the country's BBAN.
fn form_of(country: &str) -> Option<impl Iterator<Item = (usize, u8)> + Clone + use<>> {
    let at = COUNTRIES
        .binary_search_by_key(&country, |(code, _)| code)
        .ok()?;
    let (_, form) = COUNTRIES.get(at)?;
    Some(
        form.split_inclusive(|c: char| c.is_ascii_lowercase())
            .map(|part| {
                let (count, kind) = part.split_at(part.len() - 1);
                // The tests read the whole registry: each part is a number and a letter.
                (
                    count.parse().unwrap_or_default(),
                    kind.bytes().next().unwrap_or_default(),
                )
            }),
    )
}

fn is_of(kind: u8, byte: u8) -> bool {
    match kind {
        b'n' => byte.is_ascii_digit(),
        b'a' => byte.is_ascii_uppercase(),
        _ => byte.is_ascii_digit() || byte.is_ascii_uppercase(),
    }
}

/// ISO 7064 MOD 97-10 over the IBAN with its first four characters at the end and letters as
/// 10 to 35.
fn remainder(compact: &str) -> u32 {
    let (head, bban) = compact.as_bytes().split_at(4);
    bban.iter()
        .chain(head)
        .fold(0, |remainder, byte| match byte {
            b'0'..=b'9' => (remainder * 10 + u32::from(byte - b'0')) % 97,
            _ => (remainder * 100 + u32::from(byte - b'A') + 10) % 97,
        })
}

impl fmt::Display for Iban {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(CHARS_MAX + CHARS_MAX / 4);
        for (place, character) in self.0.chars().enumerate() {
            if place > 0 && place % 4 == 0 {
                text.push(' ');
            }
            text.push(character);
        }
        f.pad(&text)
    }
}

impl fmt::Debug for Iban {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Iban {
    type Err = IbanError;

    fn from_str(text: &str) -> Result<Self, IbanError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The registry's own examples.
    const EXAMPLES: [&str; 20] = [
        "AD12 0001 2030 2003 5910 0100",
        "AE07 0331 2345 6789 0123 456",
        "AT61 1904 3002 3457 3201",
        "BE68 5390 0754 7034",
        "CH93 0076 2011 6238 5295 7",
        "CZ65 0800 0000 1920 0014 5399",
        "DE89 3704 0044 0532 0130 00",
        "ES91 2100 0418 4502 0005 1332",
        "FR14 2004 1010 0505 0001 3M02 606",
        "GB29 NWBK 6016 1331 9268 19",
        "IE29 AIBK 9311 5212 3456 78",
        "IT60 X054 2811 1010 0000 0123 456",
        "LU28 0019 4006 4475 0000",
        "MT84 MALT 0110 0001 2345 MTLC AST0 01S",
        "NL91 ABNA 0417 1643 00",
        "NO93 8601 1117 947",
        "PL61 1090 1014 0000 0712 1981 2874",
        "SA03 8000 0000 6080 1016 7519",
        "SE45 5000 0000 0583 9825 7466",
        "TR33 0006 1005 1978 6457 8413 26",
    ];

    #[test]
    fn the_registry_s_examples_read_and_print() {
        for example in EXAMPLES {
            let iban = Iban::parse(example).unwrap();
            assert_eq!(iban.to_string(), example);
            assert_eq!(iban.as_str(), example.replace(' ', ""));
            assert_eq!(Iban::parse(iban.as_str()), Ok(iban.clone()));
            assert_eq!(
                Iban::parse(&format!("  {} ", example.to_lowercase())),
                Ok(iban)
            );
        }
    }

    #[test]
    fn the_registry_is_whole() {
        assert!(COUNTRIES.is_sorted());
        for (country, form) in COUNTRIES {
            let parts: Vec<_> = form_of(country).unwrap().collect();
            let again: String = parts
                .iter()
                .map(|(count, kind)| format!("{count}{}", char::from(*kind)))
                .collect();
            assert_eq!(again, form);
            assert!(
                parts
                    .iter()
                    .all(|(count, kind)| *count > 0 && b"nac".contains(kind))
            );
            let length = 4 + parts.iter().map(|(count, _)| count).sum::<usize>();
            assert!((15..=33).contains(&length), "{country}: {length}");
        }
        for (country, length) in [
            ("NO", 15),
            ("BE", 16),
            ("GB", 22),
            ("DE", 22),
            ("FR", 27),
            ("MT", 31),
            ("RU", 33),
        ] {
            let found: usize = form_of(country).unwrap().map(|(count, _)| count).sum();
            assert_eq!(found + 4, length, "{country}");
        }
    }

    #[test]
    fn a_uk_account_has_an_iban() {
        let (sort_code, number) = (
            SortCode::parse("60-16-13").unwrap(),
            AccountNumber::parse("31926819").unwrap(),
        );
        let iban = Iban::of_uk("NWBK", sort_code, number).unwrap();
        assert_eq!(iban.to_string(), "GB29 NWBK 6016 1331 9268 19");
        assert_eq!(iban.uk(), Some(("NWBK", UkAccount { sort_code, number })));
        assert_eq!(Iban::parse(EXAMPLES[0]).unwrap().uk(), None);
        for bank_code in ["", "NWB", "NWBKX", "nwbk", "NW1K", "NWÄ"] {
            assert_eq!(
                Iban::of_uk(bank_code, sort_code, number),
                Err(IbanError::BankCode(bank_code.to_owned()))
            );
        }
    }

    #[test]
    fn what_is_no_iban_says_why() {
        let structure = |country: &str| IbanError::Structure {
            country: country.to_owned(),
        };
        for (text, refusal) in [
            ("", IbanError::Malformed),
            ("GB", IbanError::Malformed),
            ("29GB NWBK", IbanError::Malformed),
            ("GB2 9NWBK-6016", IbanError::Malformed),
            ("GBX9 NWBK 6016 1331 9268 19", IbanError::Malformed),
            ("ＧB29 NWBK 6016 1331 9268 19", IbanError::Malformed),
            (
                "US29 NWBK 6016 1331 9268 19",
                IbanError::Country("US".to_owned()),
            ),
            (
                "GB29 NWBK 6016 1331 9268 1",
                IbanError::Length {
                    country: "GB".to_owned(),
                    expected: 22,
                    found: 21,
                },
            ),
            ("GB29 1234 6016 1331 9268 19", structure("GB")),
            ("NL91 ABNA 0417 1643 0A", structure("NL")),
            ("GB28 NWBK 6016 1331 9268 19", IbanError::CheckDigits),
            ("GB29 NWBK 6016 1331 9286 19", IbanError::CheckDigits),
        ] {
            assert_eq!(Iban::parse(text), Err(refusal), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn each_mistyped_digit_and_each_swap_is_found(
            sort_code in 0_u32..1_000_000,
            number in 0_u32..100_000_000,
            bank_code in "[A-Z]{4}",
            place in 4_usize..22,
            other in "[A-Z0-9]",
        ) {
            let (sort_code, number) =
                (SortCode::from_number(sort_code).unwrap(), AccountNumber::from_number(number).unwrap());
            let iban = Iban::of_uk(&bank_code, sort_code, number).unwrap();
            prop_assert_eq!(Iban::parse(&iban.to_string()), Ok(iban.clone()));

            let check_digits: u32 = iban.as_str()[2..4].parse().unwrap();
            for alias in [check_digits.wrapping_sub(97), check_digits + 97] {
                // 00, 01 and 99 leave the same remainder as 97, 98 and 02, and are never given out.
                if alias < 100 {
                    let aliased = format!("GB{alias:02}{}", iban.bban());
                    prop_assert_eq!(remainder(&aliased), 1);
                    prop_assert_eq!(Iban::parse(&aliased), Err(IbanError::CheckDigits));
                }
            }

            let mut mistyped = iban.as_str().to_owned();
            mistyped.replace_range(place..=place, &other);
            prop_assert_eq!(Iban::parse(&mistyped).is_ok(), mistyped == iban.as_str());

            let mut swapped = iban.as_str().as_bytes().to_vec();
            swapped.swap(place - 1, place);
            let swapped = String::from_utf8(swapped).unwrap();
            prop_assert_eq!(Iban::parse(&swapped).is_ok(), swapped == iban.as_str());
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,70}|[A-Z]{2}[0-9]{2}[A-Z0-9 ]{8,34}") {
            if let Ok(iban) = Iban::parse(&text) {
                prop_assert_eq!(Iban::parse(&iban.to_string()), Ok(iban));
            }
        }
    }
}
