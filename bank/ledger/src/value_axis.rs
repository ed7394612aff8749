//! The other time axis: what a balance was by value date.
//!
//! Most postings count from the day on which they are booked. Those that do
//! not (back-dated, forward-dated) leave a *shift* at two days: plus the amount
//! at the value day, minus the amount at the booked day. The sum of the shifts
//! up to the end of a day is then exactly what turns the booked balance at the
//! end of that day into the balance by value date:
//!
//! ```text
//! value balance(D) = booked balance(end of D) + Σ shifts of days ≤ D
//! ```
//!
//! Each shift is kept in three buckets: its year, its month, its day. So the sum
//! needs the whole years before D's, the whole months before D's in that year
//! and the days up to D in that month: three bounded range reads, however
//! long the history is and whatever was back-dated.
//!
//! A bucket's sum can leave `i64` where the balances do not (a huge amount
//! back-dated twice, taken out at today's date in between): it is kept as 128
//! bits, so that a shift never fails a posting.

use std::ops::Bound;

use bytes::Bytes;
use lombard_store::{Direction, Fault, RowRange, Rows};

use crate::rows::{self, ShiftRow};
use crate::types::civil;

/// The first byte of shift rows' keys: then the address (2 bytes), the level,
/// the period (4 bytes, sign bit flipped so that keys sort as numbers).
pub const SHIFT: u8 = b'v';
/// Value of one unit of [`ShiftRow::carry`].
const CARRY: i128 = 1 << 62;
/// More years than dates of the ledger can have (1900 to 2200, and whatever a clock says).
const YEARS_READ_MAX: usize = 1_024;
const MONTHS_OF_YEAR: usize = 12;
const DAYS_OF_MONTH_MAX: usize = 31;

/// How long a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A calendar year; the period is the year.
    Year,
    /// A calendar month; the period is year × 12 + month, January being 0.
    Month,
    /// A day; the period is days since 1970-01-01.
    Day,
}

impl Level {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Year, Self::Month, Self::Day];

    fn byte(self) -> u8 {
        match self {
            Self::Year => b'y',
            Self::Month => b'm',
            Self::Day => b'd',
        }
    }

    /// The period of this length that `day` lies in.
    pub fn period(self, day: i32) -> i32 {
        let (year, month, _) = civil(day);
        match self {
            Self::Year => i32::from(year),
            Self::Month => i32::from(year) * 12 + i32::from(month) - 1,
            Self::Day => day,
        }
    }
}

/// The key of a bucket.
pub fn shift_key(address: u32, level: Level, period: i32) -> [u8; 8] {
    // An account has at most 64 addresses (limits::ADDRESSES_PER_ACCOUNT_MAX).
    let [_, _, a, b] = address.to_be_bytes();
    let [p, q, r, s] = (period.cast_unsigned() ^ (1 << 31)).to_be_bytes();
    [SHIFT, a, b, level.byte(), p, q, r, s]
}

/// Reads a key made by [`shift_key`]: address, level, period.
pub fn parse_shift_key(key: &[u8]) -> Option<(u32, Level, i32)> {
    let &[SHIFT, a, b, level, p, q, r, s] = key else {
        return None;
    };
    let level = Level::ALL.into_iter().find(|known| known.byte() == level)?;
    let period = (u32::from_be_bytes([p, q, r, s]) ^ (1 << 31)).cast_signed();
    Some((u32::from(u16::from_be_bytes([a, b])), level, period))
}

/// What a bucket's row says.
pub fn amount(row: &ShiftRow) -> i128 {
    i128::from(row.carry) * CARRY + i128::from(row.amount_minor)
}

/// The row that says so.
pub fn row(amount_minor: i128) -> ShiftRow {
    match i64::try_from(amount_minor) {
        Ok(small) => ShiftRow {
            amount_minor: small,
            ..ShiftRow::default()
        },
        Err(_) => ShiftRow {
            // Both fit: the remainder is below 2^62, and more than 2^62
            // postings of 64 bits would be needed to fill the carry.
            amount_minor: i64::try_from(amount_minor.rem_euclid(CARRY)).unwrap_or(0),
            carry: i64::try_from(amount_minor.div_euclid(CARRY)).unwrap_or(0),
            ..ShiftRow::default()
        },
    }
}

/// Notes that a posting of `amount_minor` on `address`, booked on `booked_day`,
/// counts from `value_day`. Does nothing where the days are the same.
///
/// # Errors
/// The rows' own.
pub fn shift(
    rows: &mut Rows<'_>,
    address: u32,
    amount_minor: i64,
    booked_day: i32,
    value_day: i32,
) -> Result<(), Fault> {
    if booked_day == value_day || amount_minor == 0 {
        return Ok(());
    }
    for level in Level::ALL {
        let (from, to) = (level.period(booked_day), level.period(value_day));
        // Within one year or month the two shifts cancel out there.
        if from != to {
            add(rows, address, level, to, i128::from(amount_minor))?;
            add(rows, address, level, from, -i128::from(amount_minor))?;
        }
    }
    Ok(())
}

fn add(
    rows: &mut Rows<'_>,
    address: u32,
    level: Level,
    period: i32,
    more_minor: i128,
) -> Result<(), Fault> {
    let key = shift_key(address, level, period);
    let before = match rows.get(&key)? {
        Some(value) => amount(&rows::decode::<ShiftRow>("value shift", &key, &value)?),
        None => 0,
    };
    let key = Bytes::copy_from_slice(&key);
    match before + more_minor {
        0 => rows.delete(key),
        after => rows.put(key, rows::encode(&row(after))),
    }
    Ok(())
}

/// The sum of an address's shifts of all days up to and including `day`: what
/// must be added to the booked balance at the end of `day`.
///
/// # Errors
/// The rows' own.
pub fn prefix_sum(rows: &Rows<'_>, address: u32, day: i32) -> Result<i128, Fault> {
    let mut sum = 0;
    for range in prefix_ranges(address, day) {
        for (key, value) in rows.range(&range)? {
            sum += amount(&rows::decode::<ShiftRow>("value shift", &key, &value)?);
        }
    }
    Ok(sum)
}

/// The three ranges whose rows sum up to all shifts up to and including `day`.
pub fn prefix_ranges(address: u32, day: i32) -> [RowRange; 3] {
    let year = Level::Year.period(day);
    let month = Level::Month.period(day);
    let (_, _, day_of_month) = civil(day);
    let first_of_month = day - i32::from(day_of_month) + 1;
    let between = |level, from: i32, to: Bound<Bytes>, limit| RowRange {
        from: Bound::Included(Bytes::copy_from_slice(&shift_key(address, level, from))),
        to,
        direction: Direction::Ascending,
        limit,
    };
    let below =
        |level, period| Bound::Excluded(Bytes::copy_from_slice(&shift_key(address, level, period)));
    let through =
        |level, period| Bound::Included(Bytes::copy_from_slice(&shift_key(address, level, period)));
    [
        between(
            Level::Year,
            i32::MIN,
            below(Level::Year, year),
            YEARS_READ_MAX,
        ),
        between(
            Level::Month,
            year * 12,
            below(Level::Month, month),
            MONTHS_OF_YEAR,
        ),
        between(
            Level::Day,
            first_of_month,
            through(Level::Day, day),
            DAYS_OF_MONTH_MAX,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lombard_store::{Change, Row, RowSource, Version};
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Memory(BTreeMap<Bytes, Bytes>);

    impl RowSource for Memory {
        fn version(&self) -> Version {
            Version(1)
        }
        fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
            Ok(self.0.get(key).cloned())
        }
        fn range(&self, range: &RowRange) -> Result<Vec<Row>, Fault> {
            let found = self.0.iter().filter(|(key, _)| range.contains(key));
            Ok(found
                .take(range.limit)
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect())
        }
    }

    impl Memory {
        fn shift(&mut self, address: u32, amount_minor: i64, booked_day: i32, value_day: i32) {
            let mut rows = Rows::new(self);
            shift(&mut rows, address, amount_minor, booked_day, value_day).unwrap();
            for (key, change) in rows.into_changes().rows {
                match change {
                    Change::Put(value) | Change::New(value) | Change::Event(value) => {
                        self.0.insert(key, value)
                    }
                    Change::Delete => self.0.remove(&key),
                };
            }
        }

        fn sum(&self, address: u32, day: i32) -> i128 {
            prefix_sum(&Rows::new(self), address, day).unwrap()
        }
    }

    #[derive(Debug, Clone)]
    struct Posting {
        address: u32,
        amount_minor: i64,
        booked_day: i32,
        value_day: i32,
    }

    fn postings() -> impl Strategy<Value = Vec<Posting>> {
        // Days around month and year ends are where buckets go wrong.
        let day = prop_oneof![
            -25_567..84_006_i32,
            Just(18_261),
            Just(18_262),
            Just(18_290),
            Just(18_293),
            Just(18_321),
            Just(18_322),
            18_200..18_400_i32,
            -3..3_i32,
        ];
        let amount = prop_oneof![
            -1_000..1_000_i64,
            Just(i64::MAX),
            Just(i64::MIN),
            any::<i64>()
        ];
        let posting = (0..3_u32, amount, day.clone(), day).prop_map(
            |(address, amount_minor, booked_day, value_day)| Posting {
                address,
                amount_minor,
                booked_day,
                value_day,
            },
        );
        proptest::collection::vec(posting, 0..40)
    }

    proptest! {
        #[test]
        fn booked_balance_and_shifts_are_the_balance_by_value_date(postings in postings(), probes in proptest::collection::vec(-25_567..84_006_i32, 0..8)) {
            let mut memory = Memory::default();
            for posting in &postings {
                memory.shift(posting.address, posting.amount_minor, posting.booked_day, posting.value_day);
            }
            let days = postings.iter().flat_map(|p| [p.value_day - 1, p.value_day, p.booked_day - 1, p.booked_day]).chain(probes);
            for day in days {
                for address in 0..3 {
                    let sum = |counts: &dyn Fn(&Posting) -> bool| -> i128 {
                        postings.iter().filter(|p| p.address == address && counts(p)).map(|p| i128::from(p.amount_minor)).sum()
                    };
                    let booked = sum(&|p| p.booked_day <= day);
                    let by_value = sum(&|p| p.value_day <= day);
                    prop_assert_eq!(booked + memory.sum(address, day), by_value);
                }
            }
        }

        #[test]
        fn what_is_shifted_back_leaves_no_row(postings in postings()) {
            let mut memory = Memory::default();
            for p in &postings {
                memory.shift(p.address, p.amount_minor, p.booked_day, p.value_day);
            }
            for p in &postings {
                memory.shift(p.address, p.amount_minor, p.value_day, p.booked_day);
            }
            prop_assert!(memory.0.is_empty());
        }

        #[test]
        fn keys_sort_as_their_periods_and_can_be_read(a in any::<i32>(), b in any::<i32>(), address in 0..64_u32) {
            prop_assert_eq!(a.cmp(&b), shift_key(address, Level::Month, a).cmp(&shift_key(address, Level::Month, b)));
            prop_assert_eq!(parse_shift_key(&shift_key(address, Level::Day, a)), Some((address, Level::Day, a)));
        }

        #[test]
        fn a_row_holds_what_64_bits_do_not(high in -1_000..1_000_i64, low in any::<i64>()) {
            let total = i128::from(high) * i128::from(i64::MAX) + i128::from(low);
            prop_assert_eq!(amount(&row(total)), total);
        }
    }

    #[test]
    fn a_posting_back_dated_over_new_year_moves_between_years_and_within_none() {
        let mut memory = Memory::default();
        // Booked 2020-01-02, counts from 2019-12-31.
        memory.shift(0, 100, 18_263, 18_261);
        assert_eq!(memory.0.len(), 6, "two buckets at each of three levels");
        assert_eq!(
            [18_260, 18_261, 18_262, 18_263].map(|day| memory.sum(0, day)),
            [0, 100, 100, 0]
        );
        assert_eq!(memory.sum(1, 18_261), 0, "another address is not touched");
        // Booked 2020-01-20, counts from 2020-01-10: one month, so only days change.
        memory.shift(1, 7, 18_281, 18_271);
        assert_eq!(memory.0.len(), 8);
        memory.shift(1, 7, 18_281, 18_281);
        assert_eq!(memory.0.len(), 8, "on its own day a posting shifts nothing");
    }
}
