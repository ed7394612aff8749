//! The entries of unequal buckets, looked at exactly.

mod sums;

use std::collections::{BTreeMap, BTreeSet};

use self::sums::{add_unapplied, compare};
use super::account::decode;
use super::finding::{FindingKind, Findings};
use super::tally::Tally;
use crate::rows::{self, Decision, EntryRow, Head, HoldRow, Journal, JournalKind, MarkerRow};
use crate::types::{EntryId, RESERVED_ADDRESS};

/// Entries that are looked at exactly; more are only counted.
const SUSPECTS_MAX: usize = 100_000;

/// Collects all that any account says about suspected entries. It is shown the
/// rows of all accounts again, each account's in key order.
#[derive(Debug, Default)]
pub struct Suspects {
    buckets: BTreeSet<u16>,
    /// By id and home: an id is its home's.
    entries: BTreeMap<(EntryId, String), Suspect>,
    left_out: u64,
    /// The account whose rows come just now.
    account: String,
    head: Head,
}

/// What came of looking at suspected entries.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Contradictions.
    pub findings: Findings,
    /// Entries that are decided and not yet in all their accounts.
    pub in_flight: u64,
    /// Reservations whose entry is not decided yet, or refused and not yet given back.
    pub reserved: u64,
    /// What entries in flight have not moved yet, by legal entity and currency.
    pub unapplied: BTreeMap<(String, String), i128>,
}

#[derive(Debug, Default)]
struct Suspect {
    /// What its home says.
    decided: Option<EntryRow>,
    accounts: BTreeMap<String, InAccount>,
    /// Who says that it reversed this one, at the same home.
    reversed_by: Vec<EntryId>,
    /// Legs taken in by suspense: from which account, which currency, how much.
    taken_in: BTreeMap<(String, String), i128>,
}

/// What one account says about an entry.
#[derive(Debug, Default)]
struct InAccount {
    entity: String,
    /// By address and currency.
    net: BTreeMap<(String, String), i128>,
    /// Moments of its journal rows, by kind.
    journal: Vec<(JournalKind, i64, i32)>,
    /// Of each content that reserved, and of the one that was applied.
    markers: Vec<(Vec<u8>, MarkerRow)>,
    /// What is reserved and neither applied nor given back, by address and currency.
    waiting: BTreeMap<(String, String), i128>,
    /// When the hold of that id was placed.
    hold_us: Option<i64>,
}

impl Suspects {
    /// Those in the unequal buckets of a tally; none if all agree.
    pub fn of(tally: &Tally) -> Option<Self> {
        let buckets: BTreeSet<u16> = tally.unequal().collect();
        (!buckets.is_empty()).then(|| Self {
            buckets,
            ..Self::default()
        })
    }

    /// The rows of this account come next.
    pub fn begin(&mut self, account: &str) {
        self.account = account.to_owned();
        self.head = Head::default();
    }

    /// A row of the account.
    pub fn row(&mut self, key: &[u8], value: &[u8]) {
        // What cannot be read was found by the auditor.
        match key.first() {
            Some(b'h') => self.head = decode(key, value).unwrap_or_default(),
            Some(&rows::JOURNAL) => {
                let (Ok(journal), Some(booked_us)) =
                    (decode::<Journal>(key, value), rows::journal_booked_us(key))
                else {
                    return;
                };
                self.journal(&journal, booked_us);
            }
            Some(b'm') => {
                let (Ok(marker), Some((id, home))) =
                    (decode::<MarkerRow>(key, value), rows::marker_of(key))
                else {
                    return;
                };
                self.marker(id, home, Vec::new(), marker);
            }
            Some(&rows::RESERVATION) => {
                let (Ok(marker), Some((id, home, digest))) =
                    (decode::<MarkerRow>(key, value), rows::reservation_of(key))
                else {
                    return;
                };
                self.marker(id, home, digest.to_vec(), marker);
            }
            Some(b'n') => {
                let (Ok(row), Some(id)) = (decode::<EntryRow>(key, value), id_of(key)) else {
                    return;
                };
                let home = self.account.clone();
                if let Some(reversed) = EntryId::from_slice(&row.reverses)
                    && let Some(suspect) = self.suspect(reversed, &home)
                {
                    suspect.reversed_by.push(id);
                }
                if let Some(suspect) = self.suspect(id, &home) {
                    suspect.decided = Some(row);
                }
            }
            Some(b'o') => {
                let (Ok(row), Some(id)) = (decode::<HoldRow>(key, value), id_of(key)) else {
                    return;
                };
                let home = self.account.clone();
                if let Some(account) = self.in_account(id, &home) {
                    account.hold_us = Some(row.placed_us);
                }
            }
            _ => {}
        }
    }

    fn marker(&mut self, id: EntryId, home: &str, digest: Vec<u8>, marker: MarkerRow) {
        let mut waiting = Vec::new();
        if marker.reserved {
            for posting in &marker.reserved_postings {
                let Some(row) = self.head.addresses.get(posting.address as usize) else {
                    continue;
                };
                let amount = i128::from(posting.amount_minor);
                let reserved = RESERVED_ADDRESS.to_owned();
                waiting.push(((row.address.clone(), row.currency.clone()), amount));
                waiting.push(((reserved, row.currency.clone()), -amount));
            }
        }
        if let Some(account) = self.in_account(id, home) {
            account.markers.push((digest, marker));
            for (place, amount) in waiting {
                *account.waiting.entry(place).or_default() += amount;
            }
        }
    }

    fn journal(&mut self, journal: &Journal, booked_us: i64) {
        let Some(id) = EntryId::from_slice(&journal.entry_id) else {
            return;
        };
        let kind = journal.kind.as_known().unwrap_or_default();
        let moves = matches!(
            kind,
            JournalKind::Posted
                | JournalKind::Reserved
                | JournalKind::ReservationReleased
                | JournalKind::Diverted
        );
        if !moves || !self.buckets.contains(&Tally::bucket(id)) {
            return;
        }
        let names: Vec<(String, String, i128)> = journal
            .postings
            .iter()
            .filter_map(|posting| {
                let row = self.head.addresses.get(posting.address as usize)?;
                Some((
                    row.address.clone(),
                    row.currency.clone(),
                    i128::from(posting.amount_minor),
                ))
            })
            .collect();
        if kind == JournalKind::Posted && !journal.detail.is_empty() {
            let from = diverted_from(&journal.detail);
            if let Some(suspect) = self.suspect(id, &journal.home) {
                for (_, currency, amount) in names {
                    *suspect
                        .taken_in
                        .entry((from.clone(), currency))
                        .or_default() += amount;
                }
            }
            return;
        }
        if let Some(account) = self.in_account(id, &journal.home) {
            account.journal.push((kind, booked_us, journal.value_day));
            for (address, currency, amount) in names {
                *account.net.entry((address, currency)).or_default() += amount;
            }
        }
    }

    fn suspect(&mut self, id: EntryId, home: &str) -> Option<&mut Suspect> {
        if !self.buckets.contains(&Tally::bucket(id)) {
            return None;
        }
        let entry = (id, home.to_owned());
        if self.entries.len() >= SUSPECTS_MAX && !self.entries.contains_key(&entry) {
            self.left_out += 1;
            return None;
        }
        Some(self.entries.entry(entry).or_default())
    }

    fn in_account(&mut self, id: EntryId, home: &str) -> Option<&mut InAccount> {
        let (account, entity) = (self.account.clone(), self.head.entity.clone());
        let account = self.suspect(id, home)?.accounts.entry(account).or_default();
        account.entity = entity;
        Some(account)
    }

    /// All rows of all accounts were shown.
    pub fn verdict(self) -> Verdict {
        let mut verdict = Verdict::default();
        for ((id, home), suspect) in &self.entries {
            suspect.judge(*id, home, &mut verdict);
        }
        if self.left_out > 0 {
            let message = format!(
                "{} more rows of suspected entries were not looked at",
                self.left_out
            );
            verdict
                .findings
                .add(FindingKind::Unchecked, "", b"", message);
        }
        verdict
    }
}

impl Suspect {
    fn judge(&self, id: EntryId, home: &str, verdict: &mut Verdict) {
        let key = rows::entry_key(id);
        let accepted = |row: &&EntryRow| row.decision.as_known() == Some(Decision::Accepted);
        let Some(row) = self.decided.as_ref().filter(accepted) else {
            return self.judge_undecided(id, home, verdict);
        };
        self.judge_reversal(id, home, row, verdict);
        self.judge_hold(id, home, row, verdict);
        let mut expected: BTreeMap<&str, BTreeMap<(String, String), i128>> = BTreeMap::new();
        for leg in &row.legs {
            let address = (leg.address.clone(), leg.currency.clone());
            *expected
                .entry(&leg.account)
                .or_default()
                .entry(address)
                .or_default() += i128::from(leg.amount_minor);
        }
        let nothing = InAccount::default();
        let mut in_flight = false;
        for (account, legs) in &expected {
            let found = self.accounts.get(*account).unwrap_or(&nothing);
            if *account == home {
                let booked = [(JournalKind::Posted, row.booked_us, row.value_day)];
                if found.journal != booked {
                    let message = format!(
                        "entry {id} was decided at {}, the account's journal has it at {:?}",
                        row.booked_us,
                        found
                            .journal
                            .iter()
                            .map(|(_, booked_us, _)| booked_us)
                            .collect::<Vec<_>>()
                    );
                    verdict
                        .findings
                        .add(FindingKind::EntryWrong, account, &key, message);
                }
                compare(&key, account, legs, &found.net, verdict);
                continue;
            }
            found.judge_marker(id, home, account, verdict);
            let key = rows::marker_key(id, home);
            let marker = found.of_content(&row.digest);
            if marker.is_none_or(|marker| marker.reserved) {
                in_flight = true;
                add_unapplied(found, legs, &found.net, verdict);
                compare(&key, account, &found.waiting, &found.net, verdict);
            } else if marker.is_some_and(|marker| marker.diverted) {
                in_flight |= self.judge_diverted(&key, account, found, legs, verdict);
            } else {
                let mut expected = legs.clone();
                for (place, amount) in &found.waiting {
                    *expected.entry(place.clone()).or_default() += amount;
                }
                compare(&key, account, &expected, &found.net, verdict);
            }
        }
        for (account, found) in self
            .accounts
            .iter()
            .filter(|(account, _)| !expected.contains_key(account.as_str()))
        {
            let key = rows::marker_key(id, home);
            found.judge_marker(id, home, account, verdict);
            verdict.reserved += u64::from(!found.waiting.is_empty());
            compare(&key, account, &found.waiting, &found.net, verdict);
        }
        verdict.in_flight += u64::from(in_flight);
    }

    /// Nobody accepted it: all that may stand is a reservation that waits.
    fn judge_undecided(&self, id: EntryId, home: &str, verdict: &mut Verdict) {
        let key = rows::marker_key(id, home);
        for (account, found) in &self.accounts {
            found.judge_marker(id, home, account, verdict);
            if found.hold_us.is_some() {
                let message = format!("hold {id} was placed by no entry");
                let key = rows::hold_key(id);
                verdict
                    .findings
                    .add(FindingKind::HoldWrong, account, &key, message);
            }
            verdict.reserved += u64::from(!found.waiting.is_empty());
            compare(&key, account, &found.waiting, &found.net, verdict);
        }
        if !self.taken_in.is_empty() {
            let message = format!("suspense took in legs of entry {id}, which nobody decided");
            verdict
                .findings
                .add(FindingKind::LegWrong, "", &rows::entry_key(id), message);
        }
    }

    /// An entry knows what reversed it, and that knows it.
    fn judge_reversal(&self, id: EntryId, home: &str, row: &EntryRow, verdict: &mut Verdict) {
        let known = EntryId::from_slice(&row.reversed_by);
        let told = self.reversed_by.as_slice();
        if told != known.as_slice() {
            let message = format!("entry {id} was reversed by {told:?}, it knows of {known:?}");
            let key = rows::entry_key(id);
            verdict
                .findings
                .add(FindingKind::EntryWrong, home, &key, message);
        }
    }

    /// An entry that placed a hold, and the hold.
    fn judge_hold(&self, id: EntryId, home: &str, row: &EntryRow, verdict: &mut Verdict) {
        let placed = (row.hold_id == id.0).then_some(row.booked_us);
        let found = self.accounts.get(home).and_then(|account| account.hold_us);
        if placed != found {
            let message =
                format!("entry {id} placed a hold at {placed:?}, there is one of {found:?}");
            let key = rows::hold_key(id);
            verdict
                .findings
                .add(FindingKind::HoldWrong, home, &key, message);
        }
    }

    /// The account could not take its legs: suspense has them, or will.
    fn judge_diverted(
        &self,
        key: &[u8],
        account: &str,
        found: &InAccount,
        legs: &BTreeMap<(String, String), i128>,
        verdict: &mut Verdict,
    ) -> bool {
        compare(key, account, &found.waiting, &found.net, verdict);
        let mut by_currency: BTreeMap<&str, i128> = BTreeMap::new();
        for ((_, currency), amount) in legs {
            *by_currency.entry(currency).or_default() += amount;
        }
        let taken = |currency: &str| {
            self.taken_in
                .get(&(account.to_owned(), currency.to_owned()))
        };
        if by_currency.keys().all(|currency| taken(currency).is_none()) {
            add_unapplied(found, legs, &BTreeMap::new(), verdict);
            return true;
        }
        for (currency, amount) in by_currency {
            let found = taken(currency).copied().unwrap_or(0);
            if found != amount {
                let message = format!(
                    "{}: suspense took in {found} {currency} for it, decided were {amount}",
                    named(key)
                );
                verdict
                    .findings
                    .add(FindingKind::LegWrong, account, key, message);
            }
        }
        false
    }
}

impl InAccount {
    /// The marker of the content that home accepted.
    fn of_content(&self, digest: &[u8]) -> Option<&MarkerRow> {
        let its = |(of, _): &&(Vec<u8>, MarkerRow)| of.is_empty() || of == digest;
        self.markers.iter().find(its).map(|(_, marker)| marker)
    }

    /// The marker and the journal must tell the same.
    fn judge_marker(&self, id: EntryId, home: &str, account: &str, verdict: &mut Verdict) {
        let mut told: Vec<(JournalKind, i64)> = Vec::new();
        for (_, marker) in &self.markers {
            if marker.reserved_us != 0 {
                told.push((JournalKind::Reserved, marker.reserved_us));
            }
            if marker.diverted {
                told.push((JournalKind::Diverted, marker.booked_us));
            } else if marker.released {
                told.push((JournalKind::ReservationReleased, marker.booked_us));
            } else if !marker.reserved {
                told.push((JournalKind::Posted, marker.booked_us));
            }
        }
        told.sort_by_key(|(_, booked_us)| *booked_us);
        let found: Vec<(JournalKind, i64)> = self
            .journal
            .iter()
            .map(|(kind, booked_us, _)| (*kind, *booked_us))
            .collect();
        if told != found {
            let message = format!("the marker of entry {id} tells {told:?}, the journal {found:?}");
            let key = rows::marker_key(id, home);
            verdict
                .findings
                .add(FindingKind::EntryWrong, account, &key, message);
        }
    }
}

fn id_of(key: &[u8]) -> Option<EntryId> {
    EntryId::from_slice(key.get(1..)?)
}

/// The entry that a row at home, or elsewhere, is of.
fn named(key: &[u8]) -> String {
    match (rows::marker_of(key), id_of(key)) {
        (Some((id, home)), _) => format!("entry {id} of {home}"),
        (None, Some(id)) => format!("entry {id}"),
        (None, None) => "an entry".to_owned(),
    }
}

/// The account in the detail of a journal row of a suspense account.
fn diverted_from(detail: &str) -> String {
    let detail: serde_json::Value = serde_json::from_str(detail).unwrap_or_default();
    detail
        .get("diverted_from")
        .and_then(|from| from.as_str())
        .unwrap_or_default()
        .to_owned()
}
