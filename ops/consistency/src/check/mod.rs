//! Whether a history can be true: pure functions over what clients did and saw,
//! and what the ledger holds at the end.
//!
//! # Why this is enough, and why it is quick
//!
//! *Linearizable* means that each operation can be thought of as happening at one
//! moment between its invocation and its completion, such that a sequential ledger
//! would have given the same answers (Herlihy and Wing, "Linearizability: A Correctness
//! Condition for Concurrent Objects", ACM TOPLAS 12(3), 1990). To decide that from
//! a history alone is NP-complete in general (Gibbons and Korach, "Testing Shared
//! Memories", SIAM J. Comput. 26(4), 1997): a checker such as Knossos has to search
//! for an order. Elle (Kingsbury and Alvaro, VLDB 2020) does not search: it has
//! clients write values from which the order can be read back, as lists to which
//! each appends.
//!
//! A ledger gives its order away by itself. Each account numbers its events 1, 2, 3 …,
//! and each posting carries the balance after it. That order is taken as the
//! *witness*, and what is left to check is polynomial:
//!
//! - The witness is right in itself: balances follow from its postings, floors hold at each
//!   step, each entry is in it as often as it may be (`entries`, `balances`, `holds`).
//! - It agrees with time: where one entry was acknowledged before another was sent, it
//!   stands before it (`entries`).
//! - Each read has a place in it: some *prefix* of the account's events gives exactly
//!   the balances read. All events of entries that were acknowledged before the read began
//!   are in it, as is all that an earlier read has shown; no event of an entry that
//!   was sent after the read had ended is (`reads`).
//!
//! **Sound**: what is reported cannot be explained by any order that agrees with the
//! ledger's own. An account has only that one order, since its events name their
//! places; so a report is never a matter of having looked for the wrong order.
//! **Complete** for each account by itself, for such histories: where nothing is
//! reported, putting each read behind its prefix *is* an order that a sequential ledger
//! would answer in. The prefix of a read that names its event is known; of one that does not
//! (a line of a trial balance) the smallest that fits is taken, in the order of
//! time. The smallest choice forbids later reads the least, so if it leaves no
//! place for one, no choice does.
//!
//! What is *not* claimed: that reads of *several* accounts are of one moment. The ledger
//! says that they are not (an entry that is being carried is in one account and not
//! yet in another). But the lines of a trial balance are checked account by account, so
//! whatever they do not sum to is legs of entries that were on their way
//! during the read: anything else would have been acknowledged before it or sent after it,
//! and be found here.
//!
//! An operation of which nobody knows the outcome may be in or not, once; its event,
//! if there is one, may stand anywhere behind its invocation.

mod balances;
mod entries;
mod holds;
mod reads;
mod witness;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::end::{AccountEnd, End};
use crate::history::History;
use crate::operations::Operations;
use crate::violation::{Violation, ViolationKind};

pub use witness::{Line, Moment};

/// How far apart the clocks of clients and ledger may be, in microseconds: within it
/// a hold's end may be seen or not.
pub const CLOCK_SKEW_US: i64 = 250_000;

/// What was checked, in figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Accounts.
    pub accounts: u64,
    /// Events of those accounts.
    pub events: u64,
    /// Entries that are in.
    pub entries: u64,
    /// Entries of which no client knows, and which are in.
    pub unknown_in: u64,
    /// Reads of balances that were given a place.
    pub reads: u64,
    /// Reads as of a moment.
    pub reads_as_of: u64,
    /// Accounts' lines of trial balances.
    pub trial_balance_lines: u64,
    /// Refusals that name a balance.
    pub refusals: u64,
    /// Holds.
    pub holds: u64,
    /// Ends of holds that every read shows, and that were not booked when the end was read.
    pub ends_unbooked: u64,
    /// Acknowledged entries that were sent again and acknowledged again.
    pub answers_again: u64,
}

/// A history, its operations and the witness.
pub struct Evidence<'a> {
    /// What clients did and saw.
    pub history: &'a History,
    /// The same, put together by operation.
    pub operations: Operations<'a>,
    /// What the ledger holds at the end.
    pub end: &'a End,
    /// Each account's order.
    pub lines: BTreeMap<&'a str, Line<'a>>,
}

impl<'a> Evidence<'a> {
    /// Puts it together. An account that was not read at the end counts as empty.
    pub fn new(history: &'a History, end: &'a End) -> Self {
        static NOTHING: std::sync::LazyLock<AccountEnd> =
            std::sync::LazyLock::new(AccountEnd::default);
        let operations = Operations::of(history);
        let lines = history
            .header
            .accounts
            .iter()
            .map(|terms| {
                let found = end
                    .accounts
                    .iter()
                    .find(|account| account.account == terms.id);
                let line = Line::new(terms, found.unwrap_or(&*NOTHING), &operations);
                (terms.id.as_str(), line)
            })
            .collect();
        Self {
            history,
            operations,
            end,
            lines,
        }
    }

    /// The place behind all records: of what shows only at the end.
    pub fn at_the_end(&self) -> usize {
        self.history.records.len()
    }
}

/// Looks for everything that cannot be true. What shows first in the history comes first.
pub fn check(evidence: &Evidence<'_>) -> (Checked, Vec<Violation>) {
    let mut checked = Checked {
        accounts: evidence.lines.len() as u64,
        events: evidence.lines.values().map(|line| line.last() as u64).sum(),
        ends_unbooked: evidence.lines.values().map(|line| line.end.unbooked).sum(),
        ..Checked::default()
    };
    let mut violations = Vec::new();
    balances::check(evidence, &mut violations);
    entries::check(evidence, &mut checked, &mut violations);
    holds::check(evidence, &mut checked, &mut violations);
    reads::check(evidence, &mut checked, &mut violations);
    at_the_end(evidence, &mut violations);
    violations.sort_by_key(|violation| violation.place);
    (checked, violations)
}

/// What is wrong with the reading of the end itself, and what the auditor says.
fn at_the_end(evidence: &Evidence<'_>, violations: &mut Vec<Violation>) {
    let end = evidence.end;
    let mut found = |kind, account: Option<&String>, expected: &str, seen: &str| {
        violations.push(Violation {
            kind,
            place: evidence.at_the_end(),
            account: account.cloned(),
            event_number: None,
            operations: Vec::new(),
            expected: expected.to_owned(),
            seen: seen.to_owned(),
        });
    };
    for account in &end.accounts {
        if let Some(why) = &account.unreadable {
            let kind = ViolationKind::Unreadable;
            found(
                kind,
                Some(&account.account),
                "its postings and balances",
                why,
            );
        }
    }
    if let Some(what) = &end.unquiet {
        let expected = "nothing on its way after a while without faults";
        found(ViolationKind::NeverQuiet, None, expected, what);
    }
    if !end.steady {
        let expected = "the same twice, one reading behind the other";
        let seen = "another one each time";
        found(ViolationKind::NeverSteady, None, expected, seen);
    }
    for finding in end.audit.iter().flat_map(|audit| &audit.findings) {
        found(ViolationKind::Audit, None, "nothing", finding);
    }
}
