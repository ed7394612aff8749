//! One account: all that its own rows can show.

mod entries;

use std::collections::{BTreeMap, BTreeSet};

use super::finding::{FindingKind, Findings};
use super::hold::Holds;
use super::tally::{At, Fact, Marked, Tally};
use crate::rows::{self, Head, HoldRow, Journal, JournalKind, PostingRow, ShiftRow};
use crate::state::State;
use crate::types::{EntryId, day_of};
use crate::value_axis::{self, Level};

/// The balance of one address, as the auditor computed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// "namespace/name".
    pub address: String,
    /// ISO 4217.
    pub currency: String,
    /// The sum of all postings, in minor units.
    pub balance_minor: i128,
}

/// What the audit of one account came to.
#[derive(Debug, Clone, Default)]
pub struct AccountAudit {
    /// Its id.
    pub account: String,
    /// The legal entity; empty where the account has no head.
    pub entity: String,
    /// What is wrong.
    pub findings: Findings,
    /// Every address, from its postings.
    pub balances: Vec<Balance>,
    /// By currency: the sum of postings of entries decided by the cutoff. Over
    /// all accounts of a legal entity they come to what is still on its way.
    pub settled: BTreeMap<String, i128>,
    /// What its entries decided minus what its postings did, to be merged.
    pub tally: Tally,
    /// Rows seen.
    pub rows: u64,
    /// Journal rows, which are the account's events.
    pub events: u64,
    /// Postings.
    pub postings: u64,
    /// Entries decided here and accepted.
    pub entries: u64,
}

/// Checks one account from its rows, which it is given in key order.
pub struct Auditor {
    audit: AccountAudit,
    cutoff_us: i64,
    head: Option<Head>,
    number: u64,
    booked_us: i64,
    chain: Vec<u8>,
    balances: Vec<i128>,
    shifts: BTreeMap<(u32, Level, i32), i128>,
    holds: Holds,
    newest: Option<EntryId>,
    /// What the last journal row says of where the account stands.
    state: State,
    /// Entries that the journal says were refused for good, and that have no row yet.
    refused: BTreeSet<EntryId>,
    moving: bool,
}

impl Auditor {
    /// Begins with an account. Entries decided after `cutoff_us` are not
    /// compared with other accounts: on a running bank that is the moment when
    /// the check began, on a stopped one `i64::MAX`. `moving`: the pages are of
    /// different versions, so that only what never changes is checked.
    pub fn new(account: &str, cutoff_us: i64, moving: bool) -> Self {
        Self {
            audit: AccountAudit {
                account: account.to_owned(),
                ..AccountAudit::default()
            },
            cutoff_us,
            head: None,
            number: 0,
            booked_us: i64::MIN,
            chain: Vec::new(),
            balances: Vec::new(),
            shifts: BTreeMap::new(),
            holds: Holds::default(),
            newest: None,
            state: State::default(),
            refused: BTreeSet::new(),
            moving,
        }
    }

    /// The next row, in key order.
    pub fn row(&mut self, key: &[u8], value: &[u8]) {
        self.audit.rows += 1;
        let read = match key.first() {
            Some(b'd') => self.diverted(key, value),
            Some(b'h') if key == rows::HEAD => self.head(key, value),
            Some(&rows::JOURNAL) => self.journal(key, value),
            Some(b'm') => self.marker(key, value),
            Some(b'n') => self.entry(key, value),
            Some(b'o') => self.hold(key, value),
            Some(&rows::RESERVATION) => self.reservation(key, value),
            Some(&value_axis::SHIFT) => self.shift(key, value),
            Some(b'x') => {
                if !self.moving {
                    self.holds
                        .expiry(&self.audit.account, key, &mut self.audit.findings);
                }
                Ok(())
            }
            _ => Err("a row of no known kind".to_owned()),
        };
        if let Err(message) = read {
            self.find(FindingKind::Unreadable, key, message);
        }
    }

    /// All rows were seen.
    pub fn finish(mut self) -> AccountAudit {
        let head = self.head.take();
        if head.is_none() {
            self.find(
                FindingKind::Unreadable,
                rows::HEAD,
                "the account has no head",
            );
        }
        if !self.moving {
            self.standing(head.as_ref());
            for ((address, level, period), amount) in std::mem::take(&mut self.shifts) {
                if amount != 0 {
                    let key = value_axis::shift_key(address, level, period);
                    self.find(
                        FindingKind::ValueShiftWrong,
                        &key,
                        format!("missing: postings moved {amount} there"),
                    );
                }
            }
            std::mem::take(&mut self.holds).finish(&self.audit.account, &mut self.audit.findings);
        }
        let head = head.unwrap_or_default();
        let balance = |(index, row): (usize, &rows::AddressRow)| Balance {
            address: row.address.clone(),
            currency: row.currency.clone(),
            balance_minor: self.balances.get(index).copied().unwrap_or(0),
        };
        self.audit.balances = head.addresses.iter().enumerate().map(balance).collect();
        self.audit.entity = head.entity;
        self.audit
    }

    fn find(&mut self, kind: FindingKind, key: &[u8], message: impl Into<String>) {
        self.audit
            .findings
            .add(kind, &self.audit.account, key, message);
    }

    fn head(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let head: Head = decode(key, value)?;
        if head.account != self.audit.account {
            self.find(
                FindingKind::StateWrong,
                key,
                format!("the head is of account {}", head.account),
            );
        }
        self.head = Some(head);
        Ok(())
    }

    fn journal(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let journal: Journal = decode(key, value)?;
        let booked_us = rows::journal_booked_us(key).ok_or("a journal key without a moment")?;
        self.audit.events += 1;
        self.link(key, value, &journal);
        if booked_us <= self.booked_us {
            self.find(
                FindingKind::BookedOrder,
                key,
                format!("booked at {booked_us}, not after {}", self.booked_us),
            );
        }
        self.booked_us = booked_us;
        self.post(key, &journal, booked_us);
        self.settle(&journal, booked_us);
        if let Some(hold) = EntryId::from_slice(&journal.hold_id) {
            self.holds.journal(hold, &journal);
        }
        if journal.kind.as_known() == Some(JournalKind::Refused) {
            self.refused.extend(EntryId::from_slice(&journal.entry_id));
        }
        self.state = State::after(&journal);
        Ok(())
    }

    fn link(&mut self, key: &[u8], value: &[u8], journal: &Journal) {
        self.number += 1;
        if journal.number != self.number {
            let message = format!("number {} where {} follows", journal.number, self.number);
            self.find(FindingKind::NumberGap, key, message);
            self.number = journal.number;
        }
        match rows::split_chain(value) {
            Some((body, link)) if rows::link(&self.chain, body) == link => {}
            Some(_) => self.find(
                FindingKind::ChainBroken,
                key,
                "its link does not follow from it and the one before",
            ),
            None => self.find(FindingKind::ChainBroken, key, "it has no link"),
        }
        self.chain.clone_from(&journal.chain);
    }

    fn post(&mut self, key: &[u8], journal: &Journal, booked_us: i64) {
        let booked_day = day_of(booked_us);
        for posting in &journal.postings {
            self.audit.postings += 1;
            let index = posting.address as usize;
            if self.address(index).is_none() {
                self.find(
                    FindingKind::BalanceWrong,
                    key,
                    format!("a posting on address {index}, which the head has not"),
                );
                continue;
            }
            if self.balances.len() <= index {
                self.balances.resize(index + 1, 0);
            }
            self.balances[index] += i128::from(posting.amount_minor);
            self.expect_shift(posting, booked_day, journal.value_day);
        }
        let longest = self.balances.len().max(journal.balances.len());
        for index in 0..longest {
            let computed = self.balances.get(index).copied().unwrap_or(0);
            let stored = journal.balances.get(index).copied().unwrap_or(0);
            if i128::from(stored) != computed {
                let address = self
                    .address(index)
                    .map(|row| row.address.clone())
                    .unwrap_or_default();
                let message =
                    format!("{address} has a balance of {stored}, its postings sum to {computed}");
                self.find(FindingKind::BalanceWrong, key, message);
            }
        }
    }

    /// What the row did for its entry.
    fn settle(&mut self, journal: &Journal, booked_us: i64) {
        let Some(id) = EntryId::from_slice(&journal.entry_id) else {
            return;
        };
        let account = self.audit.account.clone();
        let home = journal.home.as_str();
        let how = match journal.kind.as_known() {
            Some(JournalKind::Posted) if !journal.detail.is_empty() => Marked::TakenIn,
            Some(JournalKind::Posted) => Marked::Applied,
            Some(JournalKind::Reserved) => Marked::Reserved,
            Some(JournalKind::ReservationReleased) => Marked::Released,
            Some(JournalKind::Diverted) => Marked::Diverted,
            _ => return,
        };
        let decided_us = if journal.decided_us == 0 {
            booked_us
        } else {
            journal.decided_us
        };
        let posted = matches!(how, Marked::Applied | Marked::TakenIn);
        if decided_us > self.cutoff_us {
            return;
        }
        let names: Vec<(String, String, i64)> = journal
            .postings
            .iter()
            .filter_map(|posting| {
                let row = self.address(posting.address as usize)?;
                Some((
                    row.address.clone(),
                    row.currency.clone(),
                    posting.amount_minor,
                ))
            })
            .collect();
        for (address, currency, amount_minor) in &names {
            let at = At {
                home,
                account: &account,
                address,
                currency,
            };
            self.audit.tally.subtract(id, &at, *amount_minor);
            if posted {
                *self.audit.settled.entry(currency.clone()).or_default() +=
                    i128::from(*amount_minor);
            }
        }
        let fact = if how == Marked::Applied && home == account {
            Fact::Decided {
                home,
                booked_us,
                value_day: journal.value_day,
            }
        } else {
            Fact::Marked {
                home,
                account: &account,
                how,
                booked_us,
            }
        };
        self.audit.tally.done(id, &fact);
    }

    fn hold(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let row: HoldRow = decode(key, value)?;
        let id = key
            .get(1..)
            .and_then(EntryId::from_slice)
            .ok_or("a hold key without an id")?;
        if row.placed_us <= self.cutoff_us {
            let fact = Fact::Held {
                home: &self.audit.account,
                booked_us: row.placed_us,
            };
            self.audit.tally.done(id, &fact);
        }
        if !self.moving {
            self.holds
                .row(&self.audit.account, key, id, &row, &mut self.audit.findings);
        }
        Ok(())
    }

    /// Where the account stands is what its rows say.
    fn standing(&mut self, head: Option<&Head>) {
        let last = rows::journal_key(self.booked_us);
        let told = head.map_or(0, |head| head.number);
        if told > self.number {
            let message = format!(
                "event {told} changed it last, the journal ends with {}",
                self.number
            );
            self.find(FindingKind::StateWrong, rows::HEAD, message);
        }
        if self.state.newest < self.newest {
            self.find(
                FindingKind::StateWrong,
                &last,
                "an entry is newer than the newest that it knows",
            );
        }
        for id in std::mem::take(&mut self.refused) {
            let message = format!("missing: the journal says that entry {id} was refused");
            self.find(FindingKind::EntryWrong, &rows::entry_key(id), message);
        }
        self.holds.state(
            &self.audit.account,
            &last,
            &self.state,
            &mut self.audit.findings,
        );
    }

    fn shift(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let stored = value_axis::amount(&decode::<ShiftRow>(key, value)?);
        let place = value_axis::parse_shift_key(key).ok_or("a shift key without a period")?;
        let computed = self.shifts.remove(&place).unwrap_or(0);
        if stored != computed && !self.moving {
            let message =
                format!("it says that {stored} was moved there, the postings moved {computed}");
            self.find(FindingKind::ValueShiftWrong, key, message);
        }
        Ok(())
    }

    fn expect_shift(&mut self, posting: &PostingRow, booked_day: i32, value_day: i32) {
        for level in Level::ALL {
            let (from, to) = (level.period(booked_day), level.period(value_day));
            if from != to {
                let amount = i128::from(posting.amount_minor);
                *self.shifts.entry((posting.address, level, to)).or_default() += amount;
                *self
                    .shifts
                    .entry((posting.address, level, from))
                    .or_default() -= amount;
            }
        }
    }

    fn address(&self, index: usize) -> Option<&rows::AddressRow> {
        self.head.as_ref()?.addresses.get(index)
    }
}

pub(super) fn decode<M: buffa::Message>(key: &[u8], value: &[u8]) -> Result<M, String> {
    rows::decode::<M>("stored", key, value).map_err(|fault| fault.to_string())
}
