//! What an operator can set about the ledger.

use serde::{Deserialize, Serialize};

use crate::types::{HELD_ADDRESS, MAIN_ADDRESS};

/// The shortest [`Options::gone_after_ms`].
const GONE_AFTER_MS_MIN: u64 = 1_000;

/// Configuration of the ledger: section `[ledger]` of `lombard.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// How far ahead of our clock an entry's id may be, in milliseconds.
    pub clock_skew_ms: u64,
    /// How long a reservation may wait for home's decision before whoever finds
    /// it writes the refusal there and releases it, in milliseconds.
    pub reservation_timeout_ms: u64,
    /// How long another process of the ledger on the same keyspace may give no sign of life
    /// before it counts as gone, and what it left half carried is finished by the others, in
    /// milliseconds.
    pub gone_after_ms: u64,
    /// Named balances: the same answer for every reader.
    pub balances: Vec<BalanceDefinition>,
}

impl Options {
    /// Finds what would only show later: a definition without a name, or twice, or with a broken pattern.
    ///
    /// # Errors
    /// Which definition, and what is wrong with it.
    pub fn validate(&self) -> Result<(), String> {
        if self.gone_after_ms < GONE_AFTER_MS_MIN {
            return Err(format!(
                "ledger.gone_after_ms is {}; below {GONE_AFTER_MS_MIN} a process that is only \
                 slow would be taken for gone",
                self.gone_after_ms
            ));
        }
        for (place, definition) in self.balances.iter().enumerate() {
            let name = &definition.name;
            if name.is_empty() {
                return Err("ledger.balances: a definition has no name".to_owned());
            }
            if self.balances[..place]
                .iter()
                .any(|earlier| earlier.name == *name)
            {
                return Err(format!("ledger.balances: {name:?} is defined twice"));
            }
            for pattern in &definition.addresses {
                let literal = pattern.strip_suffix('*').unwrap_or(pattern);
                if pattern.is_empty() || literal.contains('*') {
                    return Err(format!(
                        "ledger.balances: {name:?} has the pattern {pattern:?}; a * may only stand at the end"
                    ));
                }
            }
        }
        Ok(())
    }
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
            gone_after_ms: 10_000,
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
    fn broken_definitions_are_found_at_start() {
        let with = |name: &str, address: &str| {
            let mut options = Options::default();
            options.balances.push(BalanceDefinition::new(name, address));
            options.validate()
        };
        assert_eq!(with("savings", "customer/pot:*"), Ok(()));
        for (name, address) in [
            ("", "customer/main"),
            ("held", "customer/main"),
            ("x", "*/main"),
            ("x", ""),
        ] {
            assert!(with(name, address).is_err(), "{name} {address}");
        }
    }

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
