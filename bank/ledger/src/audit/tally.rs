//! Sums that come to zero where decided and done agree.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::types::EntryId;

/// Buckets by entry id: what the memory of a check is bounded by.
const BUCKETS: u64 = 1 << 16;

/// For each bucket of entries a sum over what was decided minus what was done.
///
/// A movement counts its amount times a hash of entry, account, address and
/// currency. That is linear: money that went to the reserved address and came
/// out again leaves nothing, a leg that was applied twice leaves itself. A fact
/// (an entry was booked at that moment) counts its hash. Accidental equality
/// has a chance of about 2⁻¹²⁸ in each bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    sums: HashMap<u16, u128>,
}

/// Where a movement is: what its hash is over.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) struct At<'a> {
    pub home: &'a str,
    pub account: &'a str,
    pub address: &'a str,
    pub currency: &'a str,
}

/// What an entry's rows must agree on.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) enum Fact<'a> {
    /// Home decided it then, with that value day.
    Decided {
        home: &'a str,
        booked_us: i64,
        value_day: i32,
    },
    /// An account applied, reserved, released or diverted its legs then.
    Marked {
        home: &'a str,
        account: &'a str,
        how: Marked,
        booked_us: i64,
    },
    /// It placed a hold then.
    Held { home: &'a str, booked_us: i64 },
    /// It was reversed by that entry.
    Reversed { home: &'a str, by: EntryId },
}

/// What a marker tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Marked {
    Applied,
    Reserved,
    Released,
    Diverted,
    TakenIn,
}

impl Tally {
    /// The bucket of an entry.
    pub(super) fn bucket(id: EntryId) -> u16 {
        // Below 2^16 by the remainder.
        u16::try_from(hash64(0, &id) % BUCKETS).unwrap_or(0)
    }

    pub(super) fn add(&mut self, id: EntryId, at: &At<'_>, amount_minor: i64) {
        // Two's complement is exact in arithmetic modulo 2^128.
        let amount = i128::from(amount_minor).cast_unsigned();
        self.sum(id, hash128(&(id, at)).wrapping_mul(amount));
    }

    pub(super) fn subtract(&mut self, id: EntryId, at: &At<'_>, amount_minor: i64) {
        let amount = (-i128::from(amount_minor)).cast_unsigned();
        self.sum(id, hash128(&(id, at)).wrapping_mul(amount));
    }

    pub(super) fn said(&mut self, id: EntryId, fact: &Fact<'_>) {
        self.sum(id, hash128(&(id, fact)));
    }

    pub(super) fn done(&mut self, id: EntryId, fact: &Fact<'_>) {
        self.sum(id, hash128(&(id, fact)).wrapping_neg());
    }

    fn sum(&mut self, id: EntryId, more: u128) {
        let sum = self.sums.entry(Self::bucket(id)).or_default();
        *sum = sum.wrapping_add(more);
    }

    /// Takes in what another counted: accounts can be checked in any order, or side by side.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, more) in &other.sums {
            let sum = self.sums.entry(*bucket).or_default();
            *sum = sum.wrapping_add(*more);
        }
    }

    /// The buckets in which decided and done differ.
    pub(super) fn unequal(&self) -> impl Iterator<Item = u16> {
        self.sums
            .iter()
            .filter(|(_, sum)| **sum != 0)
            .map(|(bucket, _)| *bucket)
    }
}

fn hash64(salt: u8, value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u8(salt);
    value.hash(&mut hasher);
    hasher.finish()
}

fn hash128(value: &impl Hash) -> u128 {
    u128::from(hash64(1, value)) << 64 | u128::from(hash64(2, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_decided_and_done_comes_to_zero_in_any_order() {
        let id = EntryId([7; 16]);
        let main = At {
            home: "a",
            account: "b",
            address: "customer/main",
            currency: "GBP",
        };
        let reserved = At {
            address: "internal/reserved",
            ..main
        };
        let mut decided = Tally::default();
        decided.add(id, &main, -500);
        let mut done = Tally::default();
        for (at, amount) in [(&main, -500), (&reserved, 500), (&reserved, -500)] {
            done.subtract(id, at, amount);
        }
        done.merge(&decided);
        assert_eq!(done.unequal().count(), 0);
        let mut doubled = done.clone();
        doubled.subtract(id, &main, -500);
        assert_eq!(doubled.unequal().collect::<Vec<_>>(), [Tally::bucket(id)]);
        let mut elsewhere = Tally::default();
        elsewhere.add(id, &main, i64::MIN);
        elsewhere.subtract(
            id,
            &At {
                account: "c",
                ..main
            },
            i64::MIN,
        );
        assert_eq!(elsewhere.unequal().count(), 1);
    }
}
