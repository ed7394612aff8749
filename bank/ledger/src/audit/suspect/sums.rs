//! What an entry's legs should have moved, beside what they moved.

use std::collections::BTreeMap;

use super::judge::named;
use super::*;

pub(super) fn compare(
    key: &[u8],
    account: &str,
    expected: &BTreeMap<(String, String), i128>,
    found: &BTreeMap<(String, String), i128>,
    verdict: &mut Verdict,
) {
    let places: BTreeSet<&(String, String)> = expected.keys().chain(found.keys()).collect();
    for place in places {
        let decided = expected.get(place).copied().unwrap_or(0);
        let done = found.get(place).copied().unwrap_or(0);
        if decided == done {
            continue;
        }
        let (address, currency) = place;
        let kind = if done == 0 {
            FindingKind::LegMissing
        } else {
            FindingKind::LegWrong
        };
        let message = format!(
            "{}: {decided} {currency} were decided for {address}, {done} were posted",
            named(key)
        );
        verdict.findings.add(kind, account, key, message);
    }
}

/// Adds what the legs would still move beyond what is there.
pub(super) fn add_unapplied(
    found: &InAccount,
    legs: &BTreeMap<(String, String), i128>,
    net: &BTreeMap<(String, String), i128>,
    verdict: &mut Verdict,
) {
    let entity = if found.entity.is_empty() {
        crate::types::DEFAULT_ENTITY
    } else {
        &found.entity
    };
    let mut add = |currency: &str, amount: i128| {
        *verdict
            .unapplied
            .entry((entity.to_owned(), currency.to_owned()))
            .or_default() += amount;
    };
    for ((_, currency), amount) in legs {
        add(currency, *amount);
    }
    for ((_, currency), amount) in net {
        add(currency, -*amount);
    }
}
