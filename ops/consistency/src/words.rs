//! Calls and answers in words, on one line.

use crate::history::{Answer, Balance, Call, Outcome, Posted};

/// The end of an id: enough to tell it from others of one history.
pub fn short(id: &str) -> &str {
    let from = id.len().saturating_sub(6);
    id.get(from..).unwrap_or(id)
}

/// What is asked.
pub fn call(call: &Call) -> String {
    match call {
        Call::Entry {
            id,
            legs,
            up_to_available,
        } => {
            let legs = legs
                .iter()
                .map(|leg| {
                    let address = match leg.address.as_str() {
                        crate::MAIN => String::new(),
                        other => format!(" {other}"),
                    };
                    format!(
                        "{}{address} {:+} {}",
                        leg.account, leg.amount_minor, leg.currency
                    )
                })
                .collect::<Vec<_>>()
                .join(", ");
            let most = if *up_to_available { " at most" } else { "" };
            format!("entry …{}{most}: {legs}", short(id))
        }
        Call::Reversal { id, entry, .. } => {
            format!("reversal …{} of entry …{}", short(id), short(entry))
        }
        Call::PlaceHold {
            id,
            account,
            currency,
            amount_minor,
            expires_us,
        } => {
            let end = if *expires_us == 0 {
                ""
            } else {
                ", for a while"
            };
            format!(
                "hold …{} of {amount_minor} {currency} on {account}{end}",
                short(id)
            )
        }
        Call::CaptureHold {
            id,
            account,
            hold,
            amount_minor,
            to,
            last,
        } => {
            let finally = if *last { ", the last" } else { "" };
            format!(
                "capture …{} of {amount_minor} from hold …{} on {account} to {to}{finally}",
                short(id),
                short(hold)
            )
        }
        Call::ReleaseHold {
            id,
            account,
            hold,
            amount_minor,
        } => {
            let amount = match amount_minor {
                0 => "all".to_owned(),
                amount => amount.to_string(),
            };
            format!(
                "release …{} of {amount} from hold …{} on {account}",
                short(id),
                short(hold)
            )
        }
        Call::Balances { account } => format!("balances of {account}"),
        Call::BalancesAsOf { account, booked_us } => {
            format!("balances of {account} as of {booked_us}")
        }
        Call::TrialBalance => "trial balance".to_owned(),
    }
}

/// What came of it; where it is about one account, only what is told of that one.
pub fn outcome(outcome: &Outcome, account: Option<&str>) -> String {
    match outcome {
        Outcome::Ok { answer } => match answer {
            Answer::Posted(done) => match account {
                Some(account) => posted_in(done, account),
                None => posted(done),
            },
            Answer::Balances(read) => {
                format!(
                    "event {}: {}",
                    read.event_number,
                    balances(read.balances.iter())
                )
            }
            Answer::TrialBalance { accounts } => accounts
                .iter()
                .filter(|line| account.is_none_or(|account| line.account == account))
                .map(|line| format!("{}: {}", line.account, balances(line.balances.iter())))
                .collect::<Vec<_>>()
                .join("; "),
        },
        Outcome::Refused {
            reason,
            message,
            floor,
        } => match floor {
            Some(floor) => format!(
                "refused, {reason}: {} has {}, floor {}, asked {}",
                floor.account, floor.balance_minor, floor.minimum_minor, floor.asked_minor
            ),
            None => format!("refused, {reason}: {message}"),
        },
        Outcome::Failed { reason, .. } => format!("failed, {reason}: nothing was changed"),
        Outcome::Unknown { reason, .. } => format!("unknown, {reason}"),
    }
}

/// An entry that is in.
pub fn posted(posted: &Posted) -> String {
    let again = if posted.replayed {
        ", as answered before"
    } else {
        ""
    };
    let legs = posted
        .legs
        .iter()
        .map(|leg| {
            format!(
                "{} {} {} → {}",
                leg.leg.account, leg.leg.address, leg.before_minor, leg.after_minor
            )
        })
        .collect::<Vec<_>>()
        .join(", ");
    format!("in at {}: {legs}{again}", posted.booked_us)
}

fn posted_in(posted: &Posted, account: &str) -> String {
    let own = Posted {
        legs: posted
            .legs
            .iter()
            .filter(|leg| leg.leg.account == account)
            .cloned()
            .collect(),
        ..posted.clone()
    };
    self::posted(&own)
}

/// Balances other than zero.
pub fn balances<'b>(balances: impl Iterator<Item = &'b Balance>) -> String {
    let some = balances
        .filter(|balance| balance.balance_minor != 0)
        .map(|balance| {
            format!(
                "{} {} {}",
                balance.address, balance.balance_minor, balance.currency
            )
        })
        .collect::<Vec<_>>();
    if some.is_empty() {
        "nothing".to_owned()
    } else {
        some.join(", ")
    }
}
