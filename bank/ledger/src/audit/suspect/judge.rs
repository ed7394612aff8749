//! What is said of one suspected entry, held against what was decided.

use super::sums::{add_unapplied, compare};
use super::*;

impl Suspect {
    pub(super) fn judge(&self, id: EntryId, home: &str, verdict: &mut Verdict) {
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

/// The entry that a row at home, or elsewhere, is of.
pub(super) fn named(key: &[u8]) -> String {
    match (rows::marker_of(key), id_of(key)) {
        (Some((id, home)), _) => format!("entry {id} of {home}"),
        (None, Some(id)) => format!("entry {id}"),
        (None, None) => "an entry".to_owned(),
    }
}
