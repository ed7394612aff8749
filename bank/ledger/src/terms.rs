//! What every entry asks of an account's head, in one piece of memory: a head has its
//! texts elsewhere, and to fetch each of them was a good part of what an entry costs.

use smallvec::SmallVec;
use smol_str::SmolStr;

use crate::rows::{AddressRow, Head};

/// Bytes of a currency's code.
const CODE_BYTES: usize = 3;

/// The part of a head that entries ask for. It follows from the head alone.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The legal entity.
    pub entity: SmolStr,
    /// Nothing is posted any more.
    pub closed: bool,
    /// Nothing is taken.
    pub debits_frozen: bool,
    /// Nothing is added.
    pub credits_frozen: bool,
    /// In the head's order.
    addresses: SmallVec<[Address; 1]>,
}

#[derive(Debug, Clone)]
struct Address {
    name: SmolStr,
    code: [u8; CODE_BYTES],
    minimum_minor: Option<i64>,
}

impl Terms {
    /// What this head says.
    pub fn of(head: &Head) -> Self {
        let address = |row: &AddressRow| Address {
            name: row.address.as_str().into(),
            // Of another length than three it is no currency, and nobody asks for it.
            code: row.currency.as_bytes().try_into().unwrap_or_default(),
            minimum_minor: row.has_floor.then_some(row.minimum_minor),
        };
        Self {
            entity: head.entity.as_str().into(),
            closed: head.closed,
            debits_frozen: head.debits_frozen,
            credits_frozen: head.credits_frozen,
            addresses: head.addresses.iter().map(address).collect(),
        }
    }

    /// The index of an address.
    pub fn address(&self, name: &str, currency: &str) -> Option<usize> {
        self.addresses
            .iter()
            .position(|address| address.name == name && address.code == currency.as_bytes())
    }

    /// The floor of an address, in minor units.
    pub fn floor(&self, index: usize) -> Option<i64> {
        self.addresses.get(index)?.minimum_minor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(address: &str, currency: &str, floor: Option<i64>) -> AddressRow {
        AddressRow {
            address: address.to_owned(),
            currency: currency.to_owned(),
            has_floor: floor.is_some(),
            minimum_minor: floor.unwrap_or(0),
            ..AddressRow::default()
        }
    }

    #[test]
    fn addresses_are_found_by_name_and_currency_with_their_floors() {
        let long = "a-namespace-of-some-length/and-a-name-that-no-piece-of-memory-holds";
        let head = Head {
            addresses: vec![
                row("customer/main", "EUR", None),
                row("customer/main", "GBP", Some(-5)),
                row(long, "EUR", Some(0)),
                row("customer/main", "", Some(7)),
            ],
            ..Head::default()
        };
        let terms = Terms::of(&head);
        assert_eq!(terms.address("customer/main", "EUR"), Some(0));
        assert_eq!(terms.address("customer/main", "GBP"), Some(1));
        assert_eq!(terms.address(long, "EUR"), Some(2));
        assert_eq!(terms.address("customer/main", "CHF"), None);
        assert_eq!(terms.address("customer/main", ""), None);
        assert_eq!(terms.address("customer", "EUR"), None);
        let floors = [0, 1, 2, 4].map(|index| terms.floor(index));
        assert_eq!(floors, [None, Some(-5), Some(0), None]);
    }
}
