//! What an operator can set about current accounts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Configuration of the service: section `[account]` of `lombard.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The bank's sort code. The default is no bank's: none begins with 00.
    pub sort_code: String,
    /// The first four letters of the bank's BIC, for IBANs.
    pub bank_code: String,
    /// The first account number that is given out; they go up from there.
    pub account_number_first: u32,
    /// The industry's table of weights (valacdos.txt), kept by the operator. With it, only
    /// numbers that pass the modulus check are given out; without, their form alone is right.
    pub modulus_table: Option<PathBuf>,
    /// The industry's sort code substitutions (scsubtab.txt), which belong to the table.
    pub modulus_substitutions: Option<PathBuf>,
    /// The version of these files, "7.90": they do not say it themselves.
    pub modulus_version: Option<String>,
    /// How long an opening may be unfinished before the coordinator takes it up, in milliseconds.
    pub opening_timeout_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sort_code: "00-04-04".to_owned(),
            bank_code: "LMBD".to_owned(),
            account_number_first: 10_000_000,
            modulus_table: None,
            modulus_substitutions: None,
            modulus_version: None,
            opening_timeout_ms: 30_000,
        }
    }
}
