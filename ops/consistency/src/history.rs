//! What clients did and saw: each call as it was made, and as it came back.
//!
//! A history is a list of [`Record`]s in the order in which they were written
//! down. A call's `Invoked` stands there before the request leaves, its
//! `Completed` after the answer is in; so where one call's completion stands
//! before another's invocation, the first truly ended before the second began.
//! That order, not the times beside it, is what the checks use.
//!
//! As a file it is JSON, one value to a line: the [`Header`], then the records.

use std::io::{BufRead, Write};

use serde::{Deserialize, Serialize};

/// The form of the file.
pub const FORM: u32 = 1;

/// What was run, and over which accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The form of the file: [`FORM`].
    pub form: u32,
    /// What was tested, in words.
    pub system: String,
    /// From which the operations and faults were drawn.
    pub seed: u64,
    /// The wall time (microseconds since 1970) of the moment that records call 0.
    pub began_us: i64,
    /// What the names of its accounts begin with; people need not read it again and again.
    pub tag: String,
    /// The accounts that were opened for the run. Nothing else touches them.
    pub accounts: Vec<Account>,
}

/// An account of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: String,
    /// Its addresses.
    pub addresses: Vec<Address>,
}

/// An address of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// "namespace/name".
    pub address: String,
    /// ISO 4217.
    pub currency: String,
    /// The lowest balance that is allowed, in minor units; none: no limit.
    pub floor_minor: Option<i64>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// A request is about to leave.
    Invoked {
        /// Microseconds since the run began.
        at_us: u64,
        /// The client.
        process: u32,
        /// The operation; all its attempts share it.
        operation: u64,
        /// 1, 2, 3 …: the same call again, with the same id.
        attempt: u32,
        /// What is asked.
        call: Call,
    },
    /// An answer is in, or will not come.
    Completed {
        /// Microseconds since the run began.
        at_us: u64,
        /// The client.
        process: u32,
        /// The operation.
        operation: u64,
        /// Which attempt.
        attempt: u32,
        /// What came of it.
        outcome: Outcome,
    },
    /// Something was broken, or made whole again.
    Fault {
        /// Microseconds since the run began.
        at_us: u64,
        /// Which of the two.
        mark: FaultMark,
        /// In words.
        what: String,
    },
}

impl Record {
    /// Microseconds since the run began.
    pub fn at_us(&self) -> u64 {
        match self {
            Self::Invoked { at_us, .. }
            | Self::Completed { at_us, .. }
            | Self::Fault { at_us, .. } => *at_us,
        }
    }
}

/// Which end of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultMark {
    /// It begins.
    Begun,
    /// All is whole again.
    Healed,
}

/// A leg of an entry, in minor units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// The account.
    pub account: String,
    /// "namespace/name".
    pub address: String,
    /// ISO 4217.
    pub currency: String,
    /// Positive raises the balance.
    pub amount_minor: i64,
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Call {
    /// An entry.
    Entry {
        /// Its id.
        id: String,
        /// Two or more.
        legs: Vec<Leg>,
        /// Two legs: takes what is available, at most the amount.
        up_to_available: bool,
    },
    /// The mirror image of an entry.
    Reversal {
        /// Its own id.
        id: String,
        /// The entry that is reversed.
        entry: String,
        /// Where that was decided.
        home: String,
    },
    /// Money of an account is set aside.
    PlaceHold {
        /// Of the entry, and of the hold.
        id: String,
        /// The account.
        account: String,
        /// ISO 4217.
        currency: String,
        /// How much.
        amount_minor: i64,
        /// Wall time in microseconds; 0: never.
        expires_us: i64,
    },
    /// Held money goes where it was meant to.
    CaptureHold {
        /// Of the entry.
        id: String,
        /// The account of the hold.
        account: String,
        /// The hold.
        hold: String,
        /// How much.
        amount_minor: i64,
        /// Who gets it, on the main address.
        to: String,
        /// Whether what remains is released.
        last: bool,
    },
    /// Held money goes back.
    ReleaseHold {
        /// Of the entry.
        id: String,
        /// The account of the hold.
        account: String,
        /// The hold.
        hold: String,
        /// How much; 0: all that remains.
        amount_minor: i64,
    },
    /// The balances of an account now, with its open holds.
    Balances {
        /// The account.
        account: String,
    },
    /// The balances of an account as of a booked moment.
    BalancesAsOf {
        /// The account.
        account: String,
        /// Wall time in microseconds.
        booked_us: i64,
    },
    /// The balances of all accounts now.
    TrialBalance,
}

impl Call {
    /// The id of the entry that it makes; none for what only reads.
    pub fn entry_id(&self) -> Option<&str> {
        match self {
            Self::Entry { id, .. }
            | Self::Reversal { id, .. }
            | Self::PlaceHold { id, .. }
            | Self::CaptureHold { id, .. }
            | Self::ReleaseHold { id, .. } => Some(id),
            Self::Balances { .. } | Self::BalancesAsOf { .. } | Self::TrialBalance => None,
        }
    }

    /// Its name in counts and timelines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Entry { legs, .. } if legs.len() > 2 => "entry of several legs",
            Self::Entry {
                up_to_available: true,
                ..
            } => "entry up to what is available",
            Self::Entry { .. } => "entry",
            Self::Reversal { .. } => "reversal",
            Self::PlaceHold { .. } => "hold",
            Self::CaptureHold { .. } => "capture",
            Self::ReleaseHold { .. } => "release",
            Self::Balances { .. } => "balances",
            Self::BalancesAsOf { .. } => "balances as of",
            Self::TrialBalance => "trial balance",
        }
    }
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It is done: acknowledged.
    Ok {
        /// What was answered.
        answer: Answer,
    },
    /// The ledger says no, by its rules; nothing was changed.
    Refused {
        /// SCREAMING_SNAKE.
        reason: String,
        /// For a person.
        message: String,
        /// For a refusal by a floor: where it stood.
        floor: Option<FloorSeen>,
    },
    /// It failed, and this attempt has changed nothing.
    Failed {
        /// SCREAMING_SNAKE.
        reason: String,
        /// For a person.
        message: String,
    },
    /// Nobody knows whether it was done, or will be.
    Unknown {
        /// SCREAMING_SNAKE.
        reason: String,
        /// For a person.
        message: String,
    },
}

/// The balance that a refusal named: a read, as good as any other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloorSeen {
    /// The account.
    pub account: String,
    /// "namespace/name".
    pub address: String,
    /// ISO 4217.
    pub currency: String,
    /// What was there.
    pub balance_minor: i64,
    /// The floor.
    pub minimum_minor: i64,
    /// What was asked for.
    pub asked_minor: i64,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// The entry is in.
    Posted(Posted),
    /// Balances of an account.
    Balances(Balances),
    /// Balances of all accounts of the run.
    TrialBalance {
        /// Account by account.
        accounts: Vec<AccountBalances>,
    },
}

/// An entry that is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// The account that decided.
    pub home: String,
    /// When.
    pub booked_us: i64,
    /// What each leg did.
    pub legs: Vec<LegPosted>,
    /// Whether it is said to be the first answer again.
    pub replayed: bool,
}

/// What a leg did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegPosted {
    /// The leg.
    #[serde(flatten)]
    pub leg: Leg,
    /// The balance of its address before it.
    pub before_minor: i64,
    /// The balance of its address after it.
    pub after_minor: i64,
    /// When it was booked in its account.
    pub booked_us: i64,
}

/// A balance of an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Balance {
    /// "namespace/name".
    pub address: String,
    /// ISO 4217.
    pub currency: String,
    /// In minor units.
    pub balance_minor: i64,
}

/// Balances of an account in one read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balances {
    /// The account's event that this is the state after.
    pub event_number: u64,
    /// Of each address.
    pub balances: Vec<Balance>,
    /// The open holds and what remains of each; none where they were not asked for.
    pub holds: Option<Vec<OpenHold>>,
}

/// A hold of which something remains.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OpenHold {
    /// Its id.
    pub hold: String,
    /// What remains, in minor units.
    pub remaining_minor: i64,
}

/// An account's lines of a trial balance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountBalances {
    /// The account.
    pub account: String,
    /// Of each address.
    pub balances: Vec<Balance>,
}

/// What clients did and saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// What was run.
    pub header: Header,
    /// In the order in which they were written down.
    pub records: Vec<Record>,
}

/// Why a history cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file.
    #[error("the history cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// A line is not what it should be.
    #[error("line {line} of the history: {cause}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
    /// There is nothing in it.
    #[error("the history is empty: its first line must be its header")]
    Empty,
    /// Another version of this program wrote it.
    #[error("the history has form {found}; this program reads form {FORM}")]
    Form {
        /// Its form.
        found: u32,
    },
}

impl History {
    /// Writes it as JSON lines.
    ///
    /// # Errors
    /// The file is closed or full.
    pub fn write(&self, mut to: impl Write) -> std::io::Result<()> {
        serde_json::to_writer(&mut to, &self.header)?;
        for record in &self.records {
            to.write_all(b"\n")?;
            serde_json::to_writer(&mut to, record)?;
        }
        to.write_all(b"\n")?;
        to.flush()
    }

    /// Reads what [`History::write`] wrote.
    ///
    /// # Errors
    /// Which line cannot be read, and why.
    pub fn read(from: impl BufRead) -> Result<Self, HistoryError> {
        let mut lines = from.lines().enumerate();
        let parsed = |line: usize, cause| HistoryError::Line {
            line: line + 1,
            cause,
        };
        let Some((number, first)) = lines.next() else {
            return Err(HistoryError::Empty);
        };
        let header: Header =
            serde_json::from_str(&first?).map_err(|cause| parsed(number, cause))?;
        if header.form != FORM {
            return Err(HistoryError::Form { found: header.form });
        }
        let mut records = Vec::new();
        for (number, line) in lines {
            let line = line?;
            if line.is_empty() {
                continue;
            }
            records.push(serde_json::from_str(&line).map_err(|cause| parsed(number, cause))?);
        }
        Ok(Self { header, records })
    }
}
