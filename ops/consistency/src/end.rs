//! What the ledger holds at the end, when nothing is on its way any more.

use serde::{Deserialize, Serialize};

use crate::history::Balance;

/// The accounts of the run as they are read at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct End {
    /// Account by account.
    pub accounts: Vec<AccountEnd>,
    /// Whether two readings, one behind the other, were the same. They are not where
    /// reads cannot be relied on; the accounts are then the longest readings of several.
    pub steady: bool,
    /// What was still on its way when it was read; none: nothing, as it should be.
    pub unquiet: Option<String>,
    /// What the auditor says, where it was asked.
    pub audit: Option<Audit>,
}

/// An account at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AccountEnd {
    /// Its id.
    pub account: String,
    /// Its events 1, 2, 3 …; the last of them may be ends of holds of which only postings
    /// tell so far.
    pub events: Vec<Event>,
    /// How many of the events were not booked yet.
    pub unbooked: u64,
    /// Its postings, as they are listed.
    pub postings: Vec<Posting>,
    /// Its balances.
    pub balances: Vec<Balance>,
    /// The event that the balances are the state after.
    pub event_number: u64,
    /// Every hold, open or not.
    pub holds: Vec<Hold>,
    /// Why the ledger could not read the account, in its words.
    pub unreadable: Option<String>,
}

/// What an event of an account is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Legs of an entry are in.
    Posted,
    /// What an entry of another home takes waits at the reserved address.
    Reserved,
    /// A reservation was given back.
    Released,
    /// A hold was given back when its time was over.
    Expired,
    /// The account was opened, an entry was refused for good: no posting.
    Other,
}

/// An event of an account: its place in the order of everything that happened there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// 1, 2, 3 …
    pub number: u64,
    /// What it is about.
    pub kind: EventKind,
    /// The type as the ledger names it.
    pub name: String,
    /// Wall time in microseconds.
    pub booked_us: i64,
    /// The entry that caused it.
    pub entry: Option<String>,
    /// Where that was decided.
    pub home: String,
    /// The hold that it placed, captured, released or gave back.
    pub hold: Option<String>,
    /// What moved.
    pub postings: Vec<Moved>,
    /// The balance of every address after it, as the event itself says.
    pub balances: Vec<Balance>,
}

/// One movement of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// "namespace/name".
    pub address: String,
    /// ISO 4217.
    pub currency: String,
    /// Positive raised the balance.
    pub amount_minor: i64,
    /// The running balance of the address.
    pub balance_minor: i64,
}

/// A posting as the ledger lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// The entry.
    pub entry: String,
    /// The event that it is part of.
    pub event_number: u64,
    /// The hold that it is about.
    pub hold: Option<String>,
    /// When it was booked.
    pub booked_us: i64,
    /// What moved.
    #[serde(flatten)]
    pub moved: Moved,
}

/// A hold at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its id.
    pub id: String,
    /// ISO 4217.
    pub currency: String,
    /// What was held.
    pub amount_minor: i64,
    /// What went where it was meant to.
    pub captured_minor: i64,
    /// What was given back.
    pub released_minor: i64,
    /// What waits.
    pub remaining_minor: i64,
    /// Whether it is open.
    pub open: bool,
    /// Wall time in microseconds; 0: never.
    pub expires_us: i64,
}

/// What the auditor of the ledger says of its rows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Audit {
    /// What it found wrong, in words; empty: nothing.
    pub findings: Vec<String>,
}
