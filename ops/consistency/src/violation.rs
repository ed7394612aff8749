//! What cannot be true.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of contradiction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ViolationKind {
    /// An acknowledged entry is not there, or not all of it.
    EntryLost,
    /// An entry is there more than once.
    EntryDoubled,
    /// What is there nobody asked for.
    EntryInvented,
    /// An entry is there that was refused, or that failed without a change.
    RefusedButThere,
    /// Some legs of an entry are there, and others are not.
    EntryInPart,
    /// An entry moved something else than was asked for, or than was answered.
    EntryWrong,
    /// The same entry was answered in two ways.
    AnswerChanged,
    /// All balances of a currency do not sum to zero.
    TotalWrong,
    /// A balance does not follow from the postings.
    BalanceWrong,
    /// The events of an account are not numbered 1, 2, 3 …, or not booked in that order.
    OrderWrong,
    /// An entry stands before one that was acknowledged before it was sent.
    OrderAgainstTime,
    /// A balance was below its floor.
    FloorBroken,
    /// A read did not show what was acknowledged, or read, before it began.
    ReadStale,
    /// A read shows what was sent only after it had ended.
    ReadAhead,
    /// A read that nothing explains: the account was never like that.
    ReadImpossible,
    /// A refusal names a balance that was not there.
    RefusalWrong,
    /// A hold was captured for more than was held, or after its end; or what was not captured was not given back.
    HoldWrong,
    /// Something stays on its way for ever, although everything is whole again.
    NeverQuiet,
    /// An account cannot be read, although everything is whole again.
    Unreadable,
    /// Reads of the same, with nothing on its way, do not agree.
    NeverSteady,
    /// The auditor found something.
    Audit,
}

impl ViolationKind {
    /// The invariant that is broken, as a sentence.
    pub fn rule(self) -> &'static str {
        match self {
            Self::EntryLost => "every acknowledged entry is there",
            Self::EntryDoubled => "every entry is there at most once",
            Self::EntryInvented => "nothing is there that nobody asked for",
            Self::RefusedButThere => "a refused entry has moved nothing",
            Self::EntryInPart => "an entry is there as a whole or not at all",
            Self::EntryWrong => "an entry moves what was asked for and answered",
            Self::AnswerChanged => "the same entry gets the first answer again",
            Self::TotalWrong => "all balances of a currency sum to zero",
            Self::BalanceWrong => "balances follow from postings",
            Self::OrderWrong => "the events of an account are numbered and booked in order",
            Self::OrderAgainstTime => "what was acknowledged first is booked first",
            Self::FloorBroken => "no balance is ever below its floor",
            Self::ReadStale => "a read shows all that was acknowledged or read before it began",
            Self::ReadAhead => "a read shows nothing that was sent after it had ended",
            Self::ReadImpossible => "a read shows the account as it was at one moment",
            Self::RefusalWrong => "a refusal tells of a balance that was there",
            Self::HoldWrong => "a hold gives out what was held, once",
            Self::NeverQuiet => "what is decided is carried to its end",
            Self::Unreadable => "every account can be read",
            Self::NeverSteady => "with nothing on its way, two readings agree",
            Self::Audit => "the auditor finds nothing",
        }
    }
}

impl fmt::Display for ViolationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule())
    }
}

/// One contradiction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// What kind.
    pub kind: ViolationKind,
    /// The place among the history's records at which it shows; what is first is told first.
    pub place: usize,
    /// The account that it is about.
    pub account: Option<String>,
    /// The account's event that it is about.
    pub event_number: Option<u64>,
    /// The operations that it is about.
    pub operations: Vec<u64>,
    /// What should have been.
    pub expected: String,
    /// What was.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken: {}", self.kind.rule())?;
        if let Some(account) = &self.account {
            write!(f, " (account {account})")?;
        }
        write!(f, "; expected {}; seen {}", self.expected, self.seen)
    }
}
