//! What an operator can set about the ledger.

use serde::{Deserialize, Serialize};

use crate::types::{HELD_ADDRESS, MAIN_ADDRESS};

/// Configuration of the ledger: section `[ledger]` of `lombard.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// How far ahead of our clock an entry's id may be, in milliseconds.
    pub clock_skew_ms: u64,
    /// How long a reservation may wait for home's decision before whoever finds
    /// it writes the refusal there and releases it, in milliseconds.
    pub reservation_timeout_ms: u64,
    /// Named balances: the same answer for every reader.
    pub balances: Vec<BalanceDefinition>,
}

/// A named balance of an account: the sum of some of its addresses, by currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BalanceDefinition {
    /// "available".
    pub name: String,
    /// Which addresses: `customer/main`; a `*` at the end stands for anything (`customer/pot:*`).
    pub addresses: Vec<String>,
}

impl BalanceDefinition {
    /// Whether the address is part of it.
    pub fn covers(&self, address: &str) -> bool {
        self.addresses
            .iter()
            .any(|pattern| match pattern.strip_suffix('*') {
                Some(start) => address.starts_with(start),
                None => address == pattern,
            })
    }

    fn new(name: &str, address: &str) -> Self {
        Self {
            name: name.to_owned(),
            addresses: vec![address.to_owned()],
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock_skew_ms: 60_000,
            reservation_timeout_ms: 5_000,
            balances: vec![
                BalanceDefinition::new("available", MAIN_ADDRESS),
                BalanceDefinition::new("ledger", "*"),
                BalanceDefinition::new("held", HELD_ADDRESS),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_covers_by_name_or_beginning() {
        let pots = BalanceDefinition {
            name: "savings".to_owned(),
            addresses: vec!["customer/pot:*".to_owned(), "customer/isa".to_owned()],
        };
        for (address, covered) in [
            ("customer/pot:holiday", true),
            ("customer/pot:", true),
            ("customer/isa", true),
            ("customer/isa2", false),
            ("customer/main", false),
        ] {
            assert_eq!(pots.covers(address), covered, "{address}");
        }
    }
}
