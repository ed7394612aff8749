//! Whether an answer is right, a refusal, none, or wrong. Pure.
//!
//! While a store lies, a bank may say that it cannot answer; it may not say what is not so.

use lombard_consistency::history::Posted;
use lombard_rpc::{Code, Error};
use serde::Serialize;

/// Reasons by which a bank says that it cannot answer now and has done nothing.
const NOTHING_DONE: [&str; 4] = ["STORE_UNAVAILABLE", "OVERLOADED", "DRAINING", "STARTING"];

/// What an answer is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It tells what is so.
    Right,
    /// It tells that there is no answer now, and that nothing was done.
    Refused,
    /// Nobody knows whether it was done: a timeout, a lost connection, an unknown outcome.
    /// The same again, with the same id, will tell.
    Unanswered,
    /// It tells what is not so.
    Wrong(Wrong),
}

/// An answer that tells what is not so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wrong {
    /// In which way.
    pub kind: WrongKind,
    /// What was said, and what is so.
    pub what: String,
}

/// In which way an answer is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WrongKind {
    /// Another balance than what was acknowledged makes.
    Balance,
    /// What is there was not found.
    NotFound,
    /// An account was opened that was open already.
    OpenedTwice,
    /// An entry that was acknowledged was applied again.
    AppliedTwice,
    /// What never was is there.
    Invented,
    /// Any other answer that the contract does not have for what was asked.
    Other,
}

/// What is so of what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It is there.
    There,
    /// It never was.
    Absent,
    /// It is there with other content, which is asked to be replaced.
    ThereOtherwise,
}

/// What a failure is worth, to who asked for something of which this is so.
pub fn failure(error: &Error, truth: Truth) -> Verdict {
    if NOTHING_DONE.contains(&error.reason.as_ref()) {
        return Verdict::Refused;
    }
    let kind = match (error.code, truth) {
        (Code::NotFound, Truth::Absent) | (Code::AlreadyExists, Truth::ThereOtherwise) => {
            return Verdict::Right;
        }
        (
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Canceled
            | Code::Unknown,
            _,
        ) => return Verdict::Unanswered,
        (Code::NotFound, _) => WrongKind::NotFound,
        // No client of a drill spends more than its account has.
        (Code::FailedPrecondition, _) if error.reason == "FLOOR_BROKEN" => WrongKind::Balance,
        _ => WrongKind::Other,
    };
    wrong(kind, error.to_string())
}

/// A wrong answer.
pub fn wrong(kind: WrongKind, what: impl Into<String>) -> Verdict {
    Verdict::Wrong(Wrong {
        kind,
        what: what.into(),
    })
}

/// What may be read of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The sum of all that was acknowledged.
    pub acknowledged_minor: i64,
    /// What one entry moves of which nobody knows yet whether it is in.
    pub in_doubt_minor: Option<i64>,
}

impl Standing {
    /// Whether this balance can be.
    pub fn allows(&self, balance_minor: i64) -> bool {
        let with = self
            .in_doubt_minor
            .map(|amount| self.acknowledged_minor.saturating_add(amount));
        balance_minor == self.acknowledged_minor || Some(balance_minor) == with
    }

    /// What a balance that was read is worth.
    pub fn judge(&self, account: &str, read_minor: Option<i64>) -> Verdict {
        match read_minor {
            Some(balance) if self.allows(balance) => Verdict::Right,
            read => wrong(
                WrongKind::Balance,
                format!(
                    "{account}: read {}, acknowledged {}{}",
                    read.map_or("no balance".to_owned(), |balance| balance.to_string()),
                    self.acknowledged_minor,
                    self.in_doubt_minor
                        .map_or(String::new(), |amount| format!(" ({amount:+} in doubt)"))
                ),
            ),
        }
    }
}

/// What an entry's answer is worth: `expected` is the balance of each account after it.
/// `sent_before`: the same was sent already, so that it may be in.
pub fn posted(answer: &Posted, expected: &[(&str, i64)], sent_before: bool) -> Verdict {
    if answer.replayed && !sent_before {
        return wrong(
            WrongKind::Invented,
            "an entry that was sent for the first time is said to have been there".to_owned(),
        );
    }
    for (account, after_minor) in expected {
        let told = answer
            .legs
            .iter()
            .find(|leg| leg.leg.account == *account)
            .map(|leg| leg.after_minor);
        if told != Some(*after_minor) {
            return wrong(
                WrongKind::Balance,
                format!(
                    "{account}: {} after an entry, {after_minor} by what was acknowledged",
                    told.map_or("nothing said".to_owned(), |told| told.to_string())
                ),
            );
        }
    }
    Verdict::Right
}

/// What the answer to an entry is worth that was acknowledged before, with this answer.
pub fn replayed(entry: &str, first: &Posted, again: &Posted) -> Verdict {
    let same =
        again.booked_us == first.booked_us
            && again.home == first.home
            && again.legs.len() == first.legs.len()
            && again.legs.iter().zip(&first.legs).all(|(again, first)| {
                again.leg == first.leg && again.after_minor == first.after_minor
            });
    if again.replayed && same {
        return Verdict::Right;
    }
    wrong(
        WrongKind::AppliedTwice,
        format!(
            "entry {entry}: acknowledged, booked at {}; sent again: {}, booked at {}",
            first.booked_us,
            if again.replayed { "replayed" } else { "new" },
            again.booked_us
        ),
    )
}

/// What the answer to opening an account is worth that was opened before at this moment.
pub fn opened_again(
    account: &str,
    first_opened_us: i64,
    opened_us: i64,
    replayed: bool,
) -> Verdict {
    if replayed && opened_us == first_opened_us {
        return Verdict::Right;
    }
    wrong(
        WrongKind::OpenedTwice,
        format!(
            "{account}: opened at {first_opened_us}; asked again: {}, opened at {opened_us}",
            if replayed { "replayed" } else { "new" }
        ),
    )
}

#[cfg(test)]
mod tests {
    use lombard_consistency::history::{Leg, LegPosted};

    use super::*;

    fn kind(verdict: &Verdict) -> Option<WrongKind> {
        match verdict {
            Verdict::Wrong(wrong) => Some(wrong.kind),
            _ => None,
        }
    }

    fn answer(booked_us: i64, replayed: bool, after: &[(&str, i64)]) -> Posted {
        Posted {
            home: after[0].0.to_owned(),
            booked_us,
            legs: after
                .iter()
                .map(|(account, after_minor)| LegPosted {
                    leg: Leg {
                        account: (*account).to_owned(),
                        address: "customer/main".to_owned(),
                        currency: "GBP".to_owned(),
                        amount_minor: 1,
                    },
                    before_minor: after_minor - 1,
                    after_minor: *after_minor,
                    booked_us,
                })
                .collect(),
            replayed,
        }
    }

    #[test]
    fn a_failure_is_a_refusal_no_answer_or_a_lie() {
        let refused = Error::unavailable("STORE_UNAVAILABLE", "a stranger owns it");
        for truth in [Truth::There, Truth::Absent, Truth::ThereOtherwise] {
            assert_eq!(failure(&refused, truth), Verdict::Refused);
        }
        for error in [
            Error::unavailable("OUTCOME_UNKNOWN", "who knows"),
            Error::unavailable("UNREACHABLE", "no connection"),
            Error::deadline_exceeded("DEADLINE_EXCEEDED", "late"),
        ] {
            assert_eq!(
                failure(&error, Truth::There),
                Verdict::Unanswered,
                "{error}"
            );
        }
        let missing = Error::not_found("ACCOUNT_NOT_FOUND", "no such account");
        assert_eq!(failure(&missing, Truth::Absent), Verdict::Right);
        assert_eq!(
            kind(&failure(&missing, Truth::There)),
            Some(WrongKind::NotFound)
        );
        let exists = Error::already_exists("ACCOUNT_ID_REUSED", "it is there");
        assert_eq!(failure(&exists, Truth::ThereOtherwise), Verdict::Right);
        assert_eq!(
            kind(&failure(&exists, Truth::There)),
            Some(WrongKind::Other)
        );
        let floor = Error::failed_precondition("FLOOR_BROKEN", "balance 0");
        assert_eq!(
            kind(&failure(&floor, Truth::There)),
            Some(WrongKind::Balance)
        );
        let defect = Error::internal("INTERNAL", "a defect");
        assert_eq!(
            kind(&failure(&defect, Truth::Absent)),
            Some(WrongKind::Other)
        );
    }

    #[test]
    fn a_balance_is_what_was_acknowledged_with_or_without_what_is_in_doubt() {
        let certain = Standing {
            acknowledged_minor: 100,
            in_doubt_minor: None,
        };
        assert_eq!(certain.judge("a", Some(100)), Verdict::Right);
        for read in [Some(93), Some(0), None] {
            let verdict = certain.judge("a", read);
            assert_eq!(kind(&verdict), Some(WrongKind::Balance), "{read:?}");
        }
        let in_doubt = Standing {
            in_doubt_minor: Some(-7),
            ..certain
        };
        assert_eq!(in_doubt.judge("a", Some(100)), Verdict::Right);
        assert_eq!(in_doubt.judge("a", Some(93)), Verdict::Right);
        assert!(kind(&in_doubt.judge("a", Some(107))).is_some());
    }

    #[test]
    fn an_entry_leaves_the_balances_that_it_makes() {
        let told = answer(5, false, &[("a", 93), ("b", 7)]);
        assert_eq!(posted(&told, &[("a", 93), ("b", 7)], false), Verdict::Right);
        let wrong = posted(&told, &[("a", 93), ("b", 8)], false);
        assert_eq!(kind(&wrong), Some(WrongKind::Balance));
        let wrong = posted(&told, &[("a", 93), ("c", 7)], false);
        assert_eq!(kind(&wrong), Some(WrongKind::Balance));
        let there = answer(5, true, &[("a", 93)]);
        assert_eq!(
            kind(&posted(&there, &[("a", 93)], false)),
            Some(WrongKind::Invented)
        );
        assert_eq!(posted(&there, &[("a", 93)], true), Verdict::Right);
    }

    #[test]
    fn the_same_again_gives_the_first_answer() {
        let first = answer(5, false, &[("a", 93), ("b", 7)]);
        let again = answer(5, true, &[("a", 93), ("b", 7)]);
        assert_eq!(replayed("e", &first, &again), Verdict::Right);
        for other in [
            answer(6, false, &[("a", 86), ("b", 14)]),
            answer(6, true, &[("a", 93), ("b", 7)]),
            answer(5, true, &[("a", 86), ("b", 14)]),
            answer(5, true, &[("a", 93)]),
        ] {
            let verdict = replayed("e", &first, &other);
            assert_eq!(kind(&verdict), Some(WrongKind::AppliedTwice), "{other:?}");
        }
        assert_eq!(opened_again("a", 5, 5, true), Verdict::Right);
        for (opened_us, replayed) in [(9, false), (9, true), (5, false)] {
            let verdict = opened_again("a", 5, opened_us, replayed);
            assert_eq!(kind(&verdict), Some(WrongKind::OpenedTwice));
        }
    }
}
