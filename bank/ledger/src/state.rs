//! Where an account stands: what its last journal row says. There is no other
//! row that says it, so nothing is written twice, and nothing can contradict.

use lombard_store::{Fault, Row, Rows, StoreError};
use smallvec::SmallVec;

use crate::rows::{self, CHAIN_BYTES, Journal, StandingView};
use crate::types::EntryId;

/// Where an account stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Of the last journal row: its events are numbered from 1.
    pub number: u64,
    /// When that row is booked.
    pub booked_us: i64,
    /// One for each address of the head, in its order, in minor units.
    pub balances: SmallVec<[i64; 2]>,
    /// Holds of which some money waits.
    pub open_holds: u32,
    /// The earliest expiry of an open hold; 0: none.
    pub next_expiry_us: i64,
    /// The greatest entry id that was decided, reserved or applied here.
    pub newest: Option<EntryId>,
    /// The last row's link. None: there is no row yet.
    pub chain: Option<[u8; CHAIN_BYTES]>,
}

impl State {
    /// Reads where the account stands: its last journal row.
    ///
    /// # Errors
    /// A fault of the store; a damaged row.
    pub fn load(rows: &Rows<'_>) -> Result<Self, Fault> {
        match rows.range(&rows::last_journal())?.first() {
            Some(row) => Self::of(row),
            None => Ok(Self::default()),
        }
    }

    /// What a journal row says of where the account stood after it.
    ///
    /// # Errors
    /// A damaged row.
    pub fn of((key, value): &Row) -> Result<Self, Fault> {
        let damaged = |what| {
            let key = key.escape_ascii();
            Fault::Store(StoreError::Damaged(format!("journal row {key}: {what}")))
        };
        let journal = rows::decode::<Journal>("journal", key, value)?;
        let chain = journal.chain.as_slice().try_into();
        Ok(Self {
            number: journal.number,
            booked_us: rows::journal_booked_us(key).ok_or_else(|| damaged("no moment"))?,
            chain: Some(chain.map_err(|_| damaged("no link"))?),
            ..Self::after(&journal)
        })
    }

    /// What a journal row says beside its place in the journal.
    pub fn after(journal: &Journal) -> Self {
        let standing = &journal.standing;
        let newest = EntryId::from_slice(&standing.newest_entry_id);
        Self {
            balances: SmallVec::from_slice(&journal.balances),
            open_holds: standing.open_holds,
            next_expiry_us: standing.next_expiry_us,
            newest: newest.or_else(|| EntryId::from_slice(&journal.entry_id)),
            ..Self::default()
        }
    }

    /// What a journal row of this entry must say of it, if anything.
    pub fn standing(&self, entry: Option<EntryId>) -> Option<StandingView<'_>> {
        let newest = self
            .newest
            .as_ref()
            .filter(|newest| entry != Some(**newest));
        if newest.is_none() && self.open_holds == 0 && self.next_expiry_us == 0 {
            return None;
        }
        Some(StandingView {
            open_holds: self.open_holds,
            next_expiry_us: self.next_expiry_us,
            newest_entry_id: newest.map_or(&[], |id| id.0.as_slice()),
            ..StandingView::default()
        })
    }
}
