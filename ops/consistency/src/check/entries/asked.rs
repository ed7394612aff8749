//! What an entry moves, by what was asked for.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::Call;
use crate::{HELD, MAIN};

/// What an entry moves: amounts by account, address and currency; none is zero.
pub type Effect<'e> = BTreeMap<(&'e str, &'e str, &'e str), i128>;

/// The accounts that an entry must be in, if it is in at all. `of` tells those of another entry.
pub fn accounts<'c>(
    call: &'c Call,
    of: impl Fn(&str) -> Option<BTreeSet<&'c str>>,
) -> BTreeSet<&'c str> {
    match call {
        Call::Entry { legs, .. } => legs.iter().map(|leg| leg.account.as_str()).collect(),
        Call::Reversal { entry, .. } => of(entry).unwrap_or_default(),
        Call::PlaceHold { account, .. } | Call::ReleaseHold { account, .. } => {
            [account.as_str()].into()
        }
        Call::CaptureHold { account, to, .. } => [account.as_str(), to.as_str()].into(),
        Call::Balances { .. } | Call::BalancesAsOf { .. } | Call::TrialBalance => BTreeSet::new(),
    }
}

/// Why what was moved is not what was asked for; none: it is. `of` tells what another entry moved.
pub fn differs<'e>(
    call: &Call,
    moved: &Effect<'_>,
    of: impl Fn(&str) -> Option<&'e Effect<'e>>,
) -> Option<String> {
    let exactly = |expected: &Effect<'_>| (expected != moved).then(|| text(expected));
    match call {
        Call::Entry {
            legs,
            up_to_available,
            ..
        } => {
            let mut expected = Effect::new();
            for leg in legs {
                let place = (
                    leg.account.as_str(),
                    leg.address.as_str(),
                    leg.currency.as_str(),
                );
                *expected.entry(place).or_default() += i128::from(leg.amount_minor);
            }
            expected.retain(|_, amount| *amount != 0);
            if !up_to_available {
                return exactly(&expected);
            }
            // The same two places, the same signs, at most as much, and in balance.
            let less = expected.len() == moved.len()
                && expected
                    .iter()
                    .zip(moved)
                    .all(|((place, asked), (at, amount))| {
                        place == at
                            && amount.signum() == asked.signum()
                            && amount.abs() <= asked.abs()
                    })
                && moved.values().sum::<i128>() == 0;
            (!less).then(|| format!("{}, or less of it", text(&expected)))
        }
        Call::Reversal { entry, .. } => {
            let Some(reversed) = of(entry) else {
                return Some(format!("nothing: entry {entry} is not there"));
            };
            let mirrored: Effect<'_> = reversed
                .iter()
                .map(|(place, amount)| (*place, -amount))
                .collect();
            (mirrored != *moved).then(|| text(&mirrored))
        }
        Call::PlaceHold {
            account,
            currency,
            amount_minor,
            ..
        } => {
            let amount = i128::from(*amount_minor);
            let expected = Effect::from([
                ((account.as_str(), MAIN, currency.as_str()), -amount),
                ((account.as_str(), HELD, currency.as_str()), amount),
            ]);
            exactly(&expected)
        }
        Call::CaptureHold {
            account,
            amount_minor,
            to,
            last,
            ..
        } => {
            let amount = i128::from(*amount_minor);
            let in_place = |holder: &str, address: &str| -> i128 {
                moved
                    .iter()
                    .filter(|((at, of, _), _)| *at == holder && *of == address)
                    .map(|(_, amount)| *amount)
                    .sum()
            };
            // What leaves the held address beyond the amount is released to the main one.
            let released = -in_place(account, HELD) - amount;
            let credited = in_place(to, MAIN) - if to == account { released } else { 0 };
            let given_back = if to == account {
                released
            } else {
                in_place(account, MAIN)
            };
            let right = credited == amount
                && given_back == released
                && released >= 0
                && (*last || released == 0)
                && moved.values().sum::<i128>() == 0;
            (!right).then(|| format!("{amount} from the hold to {to}"))
        }
        Call::ReleaseHold {
            account,
            amount_minor,
            ..
        } => {
            let held: Vec<(&(&str, &str, &str), &i128)> = moved
                .iter()
                .filter(|((at, of, _), amount)| at == account && *of == HELD && **amount < 0)
                .collect();
            let right = match held.as_slice() {
                [((_, _, currency), amount)] => {
                    let asked = i128::from(*amount_minor);
                    moved.len() == 2
                        && moved.get(&(account.as_str(), MAIN, *currency)) == Some(&-**amount)
                        && (asked == 0 || -**amount == asked)
                }
                _ => false,
            };
            (!right).then(|| format!("{amount_minor} (0: all) from the hold back to {account}"))
        }
        Call::Balances { .. } | Call::BalancesAsOf { .. } | Call::TrialBalance => None,
    }
}

/// An effect, for people.
pub fn text(effect: &Effect<'_>) -> String {
    if effect.is_empty() {
        return "nothing moved".to_owned();
    }
    effect
        .iter()
        .map(|((account, address, currency), amount)| {
            format!("{account} {address} {amount:+} {currency}")
        })
        .collect::<Vec<_>>()
        .join(", ")
}
