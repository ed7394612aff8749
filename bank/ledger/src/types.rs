//! What the rules speak of: entries, legs, ids, days.

use std::collections::BTreeMap;
use std::fmt;

use lombard_money::Currency;
use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use smol_str::SmolStr;

/// Where money goes unless a leg says otherwise.
pub const MAIN_ADDRESS: &str = "customer/main";
/// Where held money waits unless a hold says otherwise.
pub const HELD_ADDRESS: &str = "customer/held";
/// Where money waits that an entry of another home has reserved.
pub const RESERVED_ADDRESS: &str = "internal/reserved";
/// The only address of a suspense account.
pub const SUSPENSE_ADDRESS: &str = "bank/suspense";
/// The legal entity of accounts that name none.
pub const DEFAULT_ENTITY: &str = "default";

/// Microseconds of a day.
pub const DAY_US: i64 = 86_400_000_000;

/// An id of an entry or a hold: a UUID whose first 48 bits are a time in
/// milliseconds (RFC 9562, section 5.7, or made so from a foreign key).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub [u8; 16]);

impl EntryId {
    /// Reads 8-4-4-4-12 hexadecimal digits, or 32 without dashes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0_u8; 16];
        let mut nibbles = 0;
        for (place, c) in text.bytes().enumerate() {
            if c == b'-' && text.len() == 36 && matches!(place, 8 | 13 | 18 | 23) {
                continue;
            }
            let digit = char::from(c).to_digit(16)?;
            let byte = bytes.get_mut(nibbles / 2)?;
            *byte = (*byte << 4) | u8::try_from(digit).ok()?;
            nibbles += 1;
        }
        (nibbles == 32).then_some(Self(bytes))
    }

    /// The id in a row or a row's key.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The first 48 bits: milliseconds since the Unix epoch.
    pub fn time_ms(&self) -> i64 {
        let [a, b, c, d, e, f, ..] = self.0;
        i64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                at += 1;
            }
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 15)];
            at += 2;
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One signed movement of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// The account's id.
    pub account: SmolStr,
    /// "namespace/name".
    pub address: SmolStr,
    /// The address's currency.
    pub currency: Currency,
    /// Positive raises the balance, negative lowers it; never zero.
    pub amount_minor: i64,
}

/// What an entry does to a hold at its home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldStep {
    /// Places a hold with the entry's id. The legs move the money to the held address.
    Place {
        /// 0: never.
        expires_us: i64,
    },
    /// Captures `amount_minor` of the hold to `to`. The legs follow from the hold's state.
    Capture {
        /// The hold.
        hold: EntryId,
        /// More than 0.
        amount_minor: i64,
        /// The account that is credited, and its address.
        to: (String, String),
        /// Whether what remains is released.
        last: bool,
        /// Whether more than what remains may be taken.
        allow_over: bool,
    },
    /// Releases `amount_minor` of the hold, or all that remains (0).
    Release {
        /// The hold.
        hold: EntryId,
        /// 0: all that remains.
        amount_minor: i64,
    },
}

/// An entry that is a mirror image: of which, and where that was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reverses {
    /// The entry that is reversed.
    pub entry: EntryId,
}

/// An entry as its client asked for it. The same id must always bring the same content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Chosen by the client.
    pub id: EntryId,
    /// The account that decides; a function of the content alone.
    pub home: SmolStr,
    /// The movements. Empty for captures and releases (their legs follow from
    /// the hold) and for reversals (from the entry that is reversed).
    pub legs: Vec<Leg>,
    /// Days since 1970-01-01; none: the booked day.
    pub value_day: Option<i32>,
    /// For people: up to 140 characters.
    pub reference: String,
    /// For programs.
    pub metadata: BTreeMap<String, String>,
    /// Who caused it.
    pub actor: String,
    /// Takes what is available, at most the amount.
    pub up_to_available: bool,
    /// What it does to a hold.
    pub hold: Option<HoldStep>,
    /// The entry that it reverses.
    pub reverses: Option<Reverses>,
}

impl Entry {
    /// The home that follows from legs: the account of the first negative one.
    pub fn home_of(legs: &[Leg]) -> Option<&str> {
        legs.iter()
            .find(|leg| leg.amount_minor < 0)
            .map(|leg| leg.account.as_str())
    }

    /// The accounts other than home that the legs touch, each once, in key order.
    pub fn others(&self) -> SmallVec<[&str; 2]> {
        other_accounts(&self.home, &self.legs)
    }

    /// What tells this content from any other: the first 16 bytes of SHA-256
    /// over all fields, each with its length.
    pub fn digest(&self) -> [u8; 16] {
        let mut hash = Sha256::new();
        let mut text = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        text(&self.id.0);
        text(self.home.as_bytes());
        for leg in &self.legs {
            text(leg.account.as_bytes());
            text(leg.address.as_bytes());
            text(leg.currency.code().as_bytes());
            text(&leg.amount_minor.to_le_bytes());
        }
        text(&self.value_day.map_or([0xff; 5], |day| {
            let [a, b, c, d] = day.to_le_bytes();
            [0, a, b, c, d]
        }));
        text(self.reference.as_bytes());
        for (key, value) in &self.metadata {
            text(key.as_bytes());
            text(value.as_bytes());
        }
        text(self.actor.as_bytes());
        text(&[u8::from(self.up_to_available)]);
        match &self.hold {
            None => text(b"-"),
            Some(HoldStep::Place { expires_us }) => {
                text(b"place");
                text(&expires_us.to_le_bytes());
            }
            Some(HoldStep::Capture {
                hold,
                amount_minor,
                to,
                last,
                allow_over,
            }) => {
                text(b"capture");
                text(&hold.0);
                text(&amount_minor.to_le_bytes());
                text(to.0.as_bytes());
                text(to.1.as_bytes());
                text(&[u8::from(*last), u8::from(*allow_over)]);
            }
            Some(HoldStep::Release { hold, amount_minor }) => {
                text(b"release");
                text(&hold.0);
                text(&amount_minor.to_le_bytes());
            }
        }
        match &self.reverses {
            None => text(b"-"),
            Some(reverses) => text(&reverses.entry.0),
        }
        let full = hash.finalize();
        let mut digest = [0; 16];
        digest.copy_from_slice(&full[..16]);
        digest
    }
}

/// The accounts other than `home` that `legs` touch, each once, in key order.
pub fn other_accounts<'a>(home: &str, legs: &'a [Leg]) -> SmallVec<[&'a str; 2]> {
    let mut others: SmallVec<[&str; 2]> = legs
        .iter()
        .map(|leg| leg.account.as_str())
        .filter(|account| *account != home)
        .collect();
    others.sort_unstable();
    others.dedup();
    others
}

/// Where one leg landed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegOutcome {
    /// The leg as it was posted (its amount can be less than asked for).
    pub leg: Leg,
    /// The balance of its address before it.
    pub before_minor: i64,
    /// The balance of its address after it.
    pub after_minor: i64,
    /// When it was booked in its account.
    pub booked_us: i64,
}

/// The day of a moment: days since 1970-01-01, UTC.
pub fn day_of(us: i64) -> i32 {
    i32::try_from(us.div_euclid(DAY_US)).unwrap_or(if us < 0 { i32::MIN } else { i32::MAX })
}

/// The last microsecond of a day.
pub fn end_of_day_us(day: i32) -> i64 {
    (i64::from(day) + 1) * DAY_US - 1
}

/// Reads an ISO 8601 calendar date, "2026-11-21".
pub fn parse_day(text: &str) -> Option<i32> {
    if text.len() != 10 {
        return None;
    }
    let date: jiff::civil::Date = text.parse().ok()?;
    let days = date.since(jiff::civil::date(1970, 1, 1)).ok()?.get_days();
    Some(days)
}

/// The year, month and day of a day.
pub fn civil(day: i32) -> (i16, i8, i8) {
    let clamped = day.clamp(-700_000, 2_900_000);
    let date = jiff::civil::date(1970, 1, 1).saturating_add(jiff::Span::new().days(clamped));
    (date.year(), date.month(), date.day())
}

/// An ISO 8601 calendar date, "2026-11-21".
pub fn print_day(day: i32) -> String {
    let (year, month, day) = civil(day);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_and_printed() {
        let text = "0190a5d8-6c00-7abc-8def-0123456789ab";
        let id = EntryId::parse(text).unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(EntryId::parse(&text.replace('-', "")), Some(id));
        assert_eq!(id.time_ms(), 0x0190_a5d8_6c00);
        for bad in [
            "",
            "0190a5d8",
            "0190a5d8-6c00-7abc-8def-0123456789ag",
            "0190a5d86-c00-7abc-8def-0123456789ab",
        ] {
            assert_eq!(EntryId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn days_are_read_and_printed() {
        for (text, day) in [
            ("1970-01-01", 0),
            ("1970-01-02", 1),
            ("1969-12-31", -1),
            ("1993-01-01", 8_401),
            ("2024-02-29", 19_782),
        ] {
            assert_eq!(parse_day(text), Some(day), "{text}");
            assert_eq!(print_day(day), text);
        }
        for bad in ["", "2023-02-29", "2023-2-9", "20230209", "2023-13-01"] {
            assert_eq!(parse_day(bad), None, "{bad}");
        }
        assert_eq!(day_of(DAY_US - 1), 0);
        assert_eq!(day_of(-1), -1);
        assert_eq!(end_of_day_us(0), DAY_US - 1);
    }
}
