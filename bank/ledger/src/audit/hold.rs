//! Holds as the journal tells them, against the rows that stand for them.

use std::collections::{BTreeSet, HashMap};

use super::finding::{FindingKind, Findings};
use crate::book::HoldState;
use crate::hold::remaining;
use crate::rows::{self, HoldRow, Journal};
use crate::state::State;
use crate::types::EntryId;

/// The open holds of an account, from its journal. An account has at most
/// [`crate::limits::OPEN_HOLDS_PER_ACCOUNT_MAX`] at any time.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// Held address and what remains there, by hold.
    open: HashMap<EntryId, (u32, i128)>,
    /// How many open hold rows were seen.
    open_rows: u32,
    /// What the index of expiries must have.
    expiries: BTreeSet<(i64, EntryId)>,
    /// The earliest expiry; 0: none.
    next_expiry_us: i64,
}

impl Holds {
    /// A journal row that is about a hold.
    pub(super) fn journal(&mut self, hold: EntryId, journal: &Journal) {
        let places = journal.entry_id == journal.hold_id
            && !self.open.contains_key(&hold)
            && is_posted(journal);
        if places {
            // From its address to the held one: the second posting.
            if let Some(held) = journal
                .postings
                .iter()
                .find(|posting| posting.amount_minor > 0)
            {
                self.open
                    .insert(hold, (held.address, i128::from(held.amount_minor)));
            }
            return;
        }
        if let Some((held_address, rest)) = self.open.get_mut(&hold) {
            let taken = journal
                .postings
                .iter()
                .filter(|p| p.address == *held_address && p.amount_minor < 0);
            *rest += taken
                .map(|posting| i128::from(posting.amount_minor))
                .sum::<i128>();
            if *rest == 0 {
                self.open.remove(&hold);
            }
        }
    }

    /// A hold's row.
    pub(super) fn row(
        &mut self,
        account: &str,
        key: &[u8],
        id: EntryId,
        row: &HoldRow,
        findings: &mut Findings,
    ) {
        let mut wrong =
            |message: String| findings.add(FindingKind::HoldWrong, account, key, message);
        let rest = remaining(row);
        let open = row.state == HoldState::Open as u32;
        if row.captured_minor < 0 || row.released_minor < 0 || rest < 0 || open != (rest > 0) {
            wrong(format!(
                "hold {id} of {} has captured {}, released {}, state {}",
                row.amount_minor, row.captured_minor, row.released_minor, row.state
            ));
        }
        match (open, self.open.remove(&id)) {
            (true, Some((held_address, posted)))
                if held_address == row.held_address && posted == i128::from(rest) => {}
            (true, Some((_, posted))) => wrong(format!(
                "hold {id} has {rest} left, its postings leave {posted}"
            )),
            (true, None) => wrong(format!("hold {id} is open, its postings leave nothing")),
            (false, Some((_, posted))) => {
                wrong(format!("hold {id} is closed, its postings leave {posted}"))
            }
            (false, None) => {}
        }
        if open {
            self.open_rows += 1;
            if row.expires_us != 0 {
                self.expiries.insert((row.expires_us, id));
                self.next_expiry_us = match self.next_expiry_us {
                    0 => row.expires_us,
                    earliest => earliest.min(row.expires_us),
                };
            }
        }
    }

    /// Where the account stands by its last journal row, when all holds were seen.
    pub(super) fn state(
        &mut self,
        account: &str,
        last: &[u8],
        state: &State,
        findings: &mut Findings,
    ) {
        for (id, (_, rest)) in self.open.drain() {
            let message = format!("{rest} are held by hold {id}, which has no row");
            findings.add(
                FindingKind::HoldWrong,
                account,
                &rows::hold_key(id),
                message,
            );
        }
        if state.open_holds != self.open_rows {
            let message = format!(
                "it counts {} open holds, there are {}",
                state.open_holds, self.open_rows
            );
            findings.add(FindingKind::HoldWrong, account, last, message);
        }
        if state.next_expiry_us != self.next_expiry_us {
            let message = format!(
                "its next expiry is {}, the earliest hold's {}",
                state.next_expiry_us, self.next_expiry_us
            );
            findings.add(FindingKind::ExpiryWrong, account, last, message);
        }
    }

    /// A row of the index of expiries.
    pub(super) fn expiry(&mut self, account: &str, key: &[u8], findings: &mut Findings) {
        match rows::expiry_hold(key) {
            Some(expiry) if self.expiries.remove(&expiry) => {}
            _ => findings.add(
                FindingKind::ExpiryWrong,
                account,
                key,
                "no open hold expires then",
            ),
        }
    }

    /// All rows were seen.
    pub(super) fn finish(self, account: &str, findings: &mut Findings) {
        for (expires_us, id) in self.expiries {
            let message = format!("hold {id} expires at {expires_us} and is not in the index");
            findings.add(
                FindingKind::ExpiryWrong,
                account,
                &rows::hold_key(id),
                message,
            );
        }
    }
}

fn is_posted(journal: &Journal) -> bool {
    journal.kind.as_known() == Some(rows::JournalKind::Posted)
}
