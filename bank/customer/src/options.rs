//! What an operator can set about customers.

use serde::{Deserialize, Serialize};

/// Configuration of the service: section `[customer]` of `lombard.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The least age of a new customer in whole years, where he gives a date of birth. 0: any.
    pub age_years_min: u16,
}
