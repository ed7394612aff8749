//! The entries of unequal buckets, looked at exactly.

mod judge;
mod sums;

use std::collections::{BTreeMap, BTreeSet};

use super::account::decode;
use super::finding::{FindingKind, Findings};
use super::tally::Tally;
use crate::rows::{self, Decision, EntryRow, Head, HoldRow, Journal, JournalKind, MarkerRow};
use crate::types::{EntryId, RESERVED_ADDRESS};

/// Entries that are looked at exactly; more are only counted.
const SUSPECTS_MAX: usize = 100_000;

/// Collects all that any account says about suspected entries. It is shown the
/// rows of all accounts again, each account's in key order.
///
/// On a running bank an account goes on while its rows come: what is newer than the journal
/// that was shown is left out. And accounts are read one after the other: entries decided
/// after the cutoff may be in one and not yet in the other, and are not judged.
#[derive(Debug, Default)]
pub struct Suspects {
    cutoff_us: i64,
    buckets: BTreeSet<u16>,
    /// By id and home: an id is its home's.
    entries: BTreeMap<(EntryId, String), Suspect>,
    left_out: u64,
    /// The account whose rows come just now.
    account: String,
    head: Head,
    /// Of its first page, and whether a later one was of another.
    version: Option<u64>,
    moved: bool,
    /// The moment of its last journal row.
    shown_us: i64,
    /// Sums of all postings of entries decided by the cutoff, by legal entity and currency.
    sums: BTreeMap<(String, String), i128>,
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
    /// Sums of all postings as they were when these entries were looked at.
    pub sums: BTreeMap<(String, String), i128>,
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
    /// It was decided after the cutoff.
    late: bool,
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
    /// Those in the unequal buckets of a tally, of entries decided by `cutoff_us`; none if
    /// all agree.
    pub fn of(tally: &Tally, cutoff_us: i64) -> Option<Self> {
        let buckets: BTreeSet<u16> = tally.unequal().collect();
        (!buckets.is_empty()).then(|| Self {
            cutoff_us,
            buckets,
            ..Self::default()
        })
    }

    /// The rows of this account come next.
    pub fn begin(&mut self, account: &str) {
        self.account = account.to_owned();
        self.head = Head::default();
        self.version = None;
        self.moved = false;
        self.shown_us = i64::MIN;
    }

    /// A page of its rows comes next, of this version of the account.
    pub fn page(&mut self, version: u64) {
        self.moved |= *self.version.get_or_insert(version) != version;
    }

    /// What was done at that moment is not in the journal that was shown, since the account
    /// has gone on.
    fn is_newer(&self, booked_us: i64) -> bool {
        self.moved && booked_us > self.shown_us
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
                self.shown_us = booked_us;
                self.journal(&journal, booked_us);
            }
            Some(b'm') => {
                let (Ok(marker), Some((id, home))) =
                    (decode::<MarkerRow>(key, value), rows::marker_of(key))
                else {
                    return;
                };
                if !self.is_newer(marker.booked_us) {
                    self.marker(id, home, Vec::new(), marker);
                }
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
                if self.is_newer(row.booked_us) {
                    return;
                }
                let home = self.account.clone();
                if let Some(reversed) = EntryId::from_slice(&row.reverses)
                    && let Some(suspect) = self.suspect(reversed, &home)
                {
                    suspect.reversed_by.push(id);
                }
                let late = row.booked_us > self.cutoff_us;
                if let Some(suspect) = self.suspect(id, &home) {
                    suspect.late |= late;
                    suspect.decided = Some(row);
                }
            }
            Some(b'o') => {
                let (Ok(row), Some(id)) = (decode::<HoldRow>(key, value), id_of(key)) else {
                    return;
                };
                if self.is_newer(row.placed_us) {
                    return;
                }
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
        if !moves {
            return;
        }
        let decided_us = match journal.decided_us {
            0 => booked_us,
            decided_us => decided_us,
        };
        let late = decided_us > self.cutoff_us;
        if kind == JournalKind::Posted && !late {
            self.sum(journal);
        }
        if !self.buckets.contains(&Tally::bucket(id)) {
            return;
        }
        if late {
            if let Some(suspect) = self.suspect(id, &journal.home) {
                suspect.late = true;
            }
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

    fn sum(&mut self, journal: &Journal) {
        for posting in &journal.postings {
            if let Some(row) = self.head.addresses.get(posting.address as usize) {
                let place = (self.head.entity.clone(), row.currency.clone());
                *self.sums.entry(place).or_default() += i128::from(posting.amount_minor);
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
        let mut verdict = Verdict {
            sums: self.sums,
            ..Verdict::default()
        };
        let judged = self.entries.iter().filter(|(_, suspect)| !suspect.late);
        for ((id, home), suspect) in judged {
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

fn id_of(key: &[u8]) -> Option<EntryId> {
    EntryId::from_slice(key.get(1..)?)
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
