//! What an audit finds wrong.

use std::fmt;

use serde::Serialize;

/// Findings that are kept; more are only counted.
const FINDINGS_MAX: usize = 100;

/// What kind of contradiction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FindingKind {
    /// A row that cannot be read, or of no known kind.
    Unreadable,
    /// A link of the hash chain does not follow from the row and the link before.
    ChainBroken,
    /// The numbers of the journal have a gap or a double.
    NumberGap,
    /// A journal row is booked before the one before it.
    BookedOrder,
    /// A stored balance is not the sum of the postings.
    BalanceWrong,
    /// The head, or what the last journal row says of where the account stands, does not follow from its rows.
    StateWrong,
    /// A hold does not follow from its postings.
    HoldWrong,
    /// The index of expiries does not follow from the open holds.
    ExpiryWrong,
    /// What value dating moved does not follow from the postings.
    ValueShiftWrong,
    /// An entry's legs do not sum to zero.
    EntryUnbalanced,
    /// An entry, its journal row and its markers contradict each other.
    EntryWrong,
    /// A decided leg is not in its account.
    LegMissing,
    /// An account has a posting of an entry that nobody decided, or another amount than decided.
    LegWrong,
    /// All postings of a legal entity and currency do not sum to zero.
    SumNotZero,
    /// The account changed all the time: some of it could not be checked.
    Unchecked,
}

/// One contradiction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind.
    pub kind: FindingKind,
    /// The account.
    pub account: String,
    /// The row's key, printable; empty where it is not about one row.
    pub key: String,
    /// For a person: what is there, what should be.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: account {}", self.kind, self.account)?;
        if !self.key.is_empty() {
            write!(f, ", row {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// The first findings, and how many there were.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// The first hundred.
    pub first: Vec<Finding>,
    /// How many there were in all.
    pub count: u64,
}

impl Findings {
    /// Adds one.
    pub fn add(
        &mut self,
        kind: FindingKind,
        account: &str,
        key: &[u8],
        message: impl Into<String>,
    ) {
        self.count += 1;
        if self.first.len() < FINDINGS_MAX {
            let key = key.escape_ascii().to_string();
            self.first.push(Finding {
                kind,
                account: account.to_owned(),
                key,
                message: message.into(),
            });
        }
    }

    /// Adds those of another.
    pub fn extend(&mut self, other: Self) {
        self.count += other.count;
        let room = FINDINGS_MAX.saturating_sub(self.first.len());
        self.first.extend(other.first.into_iter().take(room));
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}
