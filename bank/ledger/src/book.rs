//! An account while a rule works on it: its head and state, read once, changed
//! in memory, and written by the journal rows that tell the change.

use std::borrow::Cow;

use bytes::Bytes;
use lombard_store::{Fault, Rows, Stop, Wanted};
use smallvec::smallvec;

use crate::journal::Unwritten;
pub use crate::journal::{Note, Postings};
use crate::limits::EXPIRIES_PER_COMMIT_MAX;
use crate::recent::Recent;
use crate::refusal::Refusal;
use crate::rows::{self, Head, HoldRow, JournalKind};
use crate::state::State;
use crate::terms::Terms;
use crate::types::{EntryId, Leg, LegOutcome, day_of};
use crate::value_axis;

/// A loaded account.
#[derive(Debug, Clone)]
pub struct Book {
    /// What entries ask for of what is fixed about it.
    terms: Terms,
    /// Where it stands.
    pub state: State,
    head: Box<Head>,
    recent: Recent,
    head_changed: bool,
    unwritten: Option<Unwritten>,
}

impl Book {
    /// Reads the account; none if it does not exist.
    ///
    /// # Errors
    /// A fault of the store; a damaged row.
    pub fn load(rows: &Rows<'_>) -> Result<Option<Self>, Fault> {
        Ok(Self::look(rows)?.map(|book| match book {
            Cow::Owned(book) => book,
            // Without the ids of a burst, which are many and of no use to a reader.
            Cow::Borrowed(book) => Self::new((*book.head).clone(), book.state.clone()),
        }))
    }

    /// Looks at the account, as the last change left it if that is at hand.
    ///
    /// # Errors
    /// A fault of the store; a damaged row.
    pub fn look<'r>(rows: &'r Rows<'_>) -> Result<Option<Cow<'r, Self>>, Fault> {
        if let Some(book) = rows.kept::<Self>() {
            return Ok(Some(Cow::Borrowed(book)));
        }
        rows.prefetch(&[
            Wanted::Row(Bytes::from_static(rows::HEAD)),
            Wanted::Range(rows::last_journal()),
        ])?;
        let Some(head) = Self::load_head(rows)? else {
            return Ok(None);
        };
        Ok(Some(Cow::Owned(Self::new(head, State::load(rows)?))))
    }

    fn new(head: Head, state: State) -> Self {
        Self {
            terms: Terms::of(&head),
            head: Box::new(head),
            recent: Recent::after(state.newest),
            state,
            head_changed: false,
            unwritten: None,
        }
    }

    /// Takes the account to change it, and then to [`Self::save`] it.
    ///
    /// # Errors
    /// A fault of the store; a damaged row.
    pub fn take(rows: &mut Rows<'_>) -> Result<Option<Box<Self>>, Fault> {
        match rows.take_kept::<Self>() {
            Some(book) => Ok(Some(book)),
            None => Ok(Self::load(rows)?.map(Box::new)),
        }
    }

    /// As [`Self::take`], refusing where the account does not exist.
    ///
    /// # Errors
    /// [`Refusal::AccountNotFound`].
    pub fn take_required(rows: &mut Rows<'_>, account: &str) -> Result<Box<Self>, Stop<Refusal>> {
        Self::take(rows)?.ok_or_else(|| not_found(account))
    }

    /// Reads what is fixed about the account; none if it does not exist.
    ///
    /// # Errors
    /// A fault of the store; a damaged row.
    pub fn load_head(rows: &Rows<'_>) -> Result<Option<Head>, Fault> {
        match rows.get(rows::HEAD)? {
            Some(value) => Ok(Some(rows::decode::<Head>("head", rows::HEAD, &value)?)),
            None => Ok(None),
        }
    }

    /// Reads the account, refusing where it does not exist.
    ///
    /// # Errors
    /// [`Refusal::AccountNotFound`].
    pub fn require(rows: &Rows<'_>, account: &str) -> Result<Self, Stop<Refusal>> {
        Self::load(rows)?.ok_or_else(|| not_found(account))
    }

    /// An account that is being opened.
    pub fn open(head: Head) -> Box<Self> {
        let state = State {
            balances: smallvec![0; head.addresses.len()],
            ..State::default()
        };
        Box::new(Self {
            head_changed: true,
            ..Self::new(head, state)
        })
    }

    /// What is fixed about it.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// What entries ask for of what is fixed about it.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The index of an address.
    pub fn address(&self, address: &str, currency: &str) -> Option<usize> {
        self.terms.address(address, currency)
    }

    /// The index of an address, refusing where there is none.
    ///
    /// # Errors
    /// [`Refusal::AddressNotFound`].
    pub fn require_address(&self, address: &str, currency: &str) -> Result<usize, Refusal> {
        self.address(address, currency)
            .ok_or_else(|| Refusal::AddressNotFound {
                account: self.head.account.clone(),
                address: address.to_owned(),
                currency: currency.to_owned(),
            })
    }

    /// The index of an address that is made where there is none, without a floor.
    pub fn address_or_add(&mut self, address: &str, currency: &str) -> usize {
        if let Some(index) = self.address(address, currency) {
            return index;
        }
        let row = rows::AddressRow {
            address: address.to_owned(),
            currency: currency.to_owned(),
            ..rows::AddressRow::default()
        };
        self.change_head(|head| head.addresses.push(row));
        self.head.addresses.len() - 1
    }

    /// Changes what is fixed about it, to be written back.
    pub fn change_head(&mut self, change: impl FnOnce(&mut Head)) {
        change(&mut self.head);
        self.terms = Terms::of(&self.head);
        self.head_changed = true;
    }

    /// The balance of an address, in minor units.
    pub fn balance(&self, index: usize) -> i64 {
        self.state.balances.get(index).copied().unwrap_or(0)
    }

    /// The floor of an address, in minor units.
    pub fn floor(&self, index: usize) -> Option<i64> {
        self.terms.floor(index)
    }

    /// Whether the id was not decided or applied here, for certain.
    pub fn surely_new(&self, id: EntryId) -> bool {
        self.recent.surely_new(id)
    }

    /// An id was not surely new, and was new nevertheless.
    pub fn looked_in_vain(&mut self) {
        self.recent.looked_in_vain();
    }

    /// Remembers that the id was decided or applied here.
    pub fn saw(&mut self, id: EntryId) {
        self.recent.saw(id);
        self.state.newest = self.state.newest.max(Some(id));
    }

    /// Moves one leg. Floors are the caller's to check, by [`Self::check_floors`].
    ///
    /// # Errors
    /// [`Refusal::Overflow`]; the book is then as before.
    pub fn post(
        &mut self,
        postings: &mut Postings,
        index: usize,
        amount_minor: i64,
    ) -> Result<(i64, i64), Refusal> {
        let before = self.balance(index);
        let Some(after) = before.checked_add(amount_minor) else {
            return Err(Refusal::Overflow {
                account: self.head.account.clone(),
                address: self
                    .head
                    .addresses
                    .get(index)
                    .map(|row| row.address.clone())
                    .unwrap_or_default(),
            });
        };
        if self.state.balances.len() <= index {
            self.state.balances.resize(index + 1, 0);
        }
        self.state.balances[index] = after;
        postings.push((index, amount_minor));
        Ok((before, after))
    }

    /// Refuses where postings lowered an address below its floor.
    ///
    /// # Errors
    /// [`Refusal::FloorBroken`], with what was there before.
    pub fn check_floors(&self, postings: &Postings) -> Result<(), Refusal> {
        for &(index, _) in postings {
            let Some(minimum_minor) = self.floor(index) else {
                continue;
            };
            let moved: i128 = postings
                .iter()
                .filter(|(other, _)| *other == index)
                .map(|(_, amount)| i128::from(*amount))
                .sum();
            let after = self.balance(index);
            if moved < 0 && after < minimum_minor {
                return Err(self.floor_broken(index, i128::from(after) - moved, moved));
            }
        }
        Ok(())
    }

    /// The refusal of a movement that an address's floor forbids.
    pub fn floor_broken(&self, index: usize, balance_minor: i128, moved_minor: i128) -> Refusal {
        let row = self.head.addresses.get(index).cloned().unwrap_or_default();
        Refusal::FloorBroken {
            account: self.head.account.clone(),
            currency: row.currency,
            address: row.address,
            balance_minor: saturate(balance_minor),
            minimum_minor: row.minimum_minor,
            asked_minor: saturate(-moved_minor),
        }
    }

    /// Adds one journal row (the event) with these postings. Returns its booked
    /// moment. It is written with the next one, or with [`Self::save`].
    ///
    /// # Errors
    /// A fault of the store, from the value axis.
    pub fn journal(
        &mut self,
        rows: &mut Rows<'_>,
        note: Note<'_>,
        postings: &Postings,
    ) -> Result<i64, Fault> {
        self.write(rows);
        let booked_us = note
            .not_before_us
            .max(self.state.booked_us.saturating_add(1));
        let booked_day = day_of(booked_us);
        let value_day = note.value_day.unwrap_or(booked_day);
        self.state.number += 1;
        self.state.booked_us = booked_us;
        self.unwritten = Some(Unwritten::new(&self.state, &note, postings, value_day));
        for &(index, amount_minor) in postings {
            let address = u32::try_from(index).unwrap_or(u32::MAX);
            value_axis::shift(rows, address, amount_minor, booked_day, value_day)?;
        }
        Ok(booked_us)
    }

    /// Writes the journal row that was added last, and links it into the chain.
    fn write(&mut self, rows: &mut Rows<'_>) {
        if let Some(row) = self.unwritten.take() {
            row.write(&mut self.state, rows);
        }
    }

    /// Gives back what expired at or before `now_us`: one journal row for each
    /// hold, booked at its expiry. To be called before anything else changes
    /// the account, so that no later posting is booked before an expiry.
    ///
    /// # Errors
    /// A fault of the store; [`Refusal::Limit`] where more are due than one commit may expire.
    pub fn expire_holds(&mut self, rows: &mut Rows<'_>, now_us: i64) -> Result<(), Stop<Refusal>> {
        if self.state.next_expiry_us == 0 || self.state.next_expiry_us > now_us {
            return Ok(());
        }
        let due = rows.range(&rows::due_holds(now_us, EXPIRIES_PER_COMMIT_MAX))?;
        let full = due.len() == EXPIRIES_PER_COMMIT_MAX;
        for (key, _) in due {
            let Some((expires_us, id)) = rows::expiry_hold(&key) else {
                continue;
            };
            let Some(mut hold) = load_hold(rows, id)? else {
                continue;
            };
            let rest = hold.amount_minor - hold.captured_minor - hold.released_minor;
            let (from, to) = (hold.held_address as usize, hold.address as usize);
            let mut postings = Postings::new();
            self.post(&mut postings, from, -rest)
                .map_err(Stop::Refused)?;
            self.post(&mut postings, to, rest).map_err(Stop::Refused)?;
            hold.released_minor += rest;
            hold.state = HoldState::Expired as u32;
            close_hold(self, rows, id, &hold);
            let note = Note {
                entry: Some(id),
                hold: Some(id),
                ..Note::new(JournalKind::HoldExpired, expires_us, "ledger")
            };
            self.journal(rows, note, &postings)?;
        }
        self.state.next_expiry_us = next_expiry(rows)?;
        if full && self.state.next_expiry_us != 0 && self.state.next_expiry_us <= now_us {
            return self.expire_holds(rows, now_us);
        }
        self.write(rows);
        Ok(())
    }

    /// Puts back what was taken and not changed.
    pub fn put_back(self: Box<Self>, rows: &mut Rows<'_>) {
        rows.keep(self);
    }

    /// Writes the book back, as the last of all changes: the next function finds it at hand.
    /// What changed in it since it was taken is told by a journal row, or forgotten.
    pub fn save(mut self: Box<Self>, rows: &mut Rows<'_>) {
        if std::mem::take(&mut self.head_changed) {
            self.head.number = self.state.number;
            rows.put(rows::HEAD, rows::encode(&*self.head));
        }
        self.write(rows);
        rows.keep(self);
    }

    /// What one posting did, for the answer.
    pub fn outcome(
        &self,
        leg: Leg,
        (before_minor, after_minor): (i64, i64),
        booked_us: i64,
    ) -> LegOutcome {
        LegOutcome {
            leg,
            before_minor,
            after_minor,
            booked_us,
        }
    }
}

/// The states of a hold, as `bank.ledger.v1.HoldState` numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum HoldState {
    /// Some of it waits.
    Open = 1,
    /// All of it that was not released was captured.
    Captured = 2,
    /// It was given back.
    Released = 3,
    /// It was given back when its time was over.
    Expired = 4,
}

/// Reads a hold.
///
/// # Errors
/// A fault of the store; a damaged row.
pub fn load_hold(rows: &Rows<'_>, id: EntryId) -> Result<Option<HoldRow>, Fault> {
    let key = rows::hold_key(id);
    match rows.get(&key)? {
        Some(value) => Ok(Some(rows::decode::<HoldRow>("hold", &key, &value)?)),
        None => Ok(None),
    }
}

/// Writes a hold that is no longer open.
pub fn close_hold(book: &mut Book, rows: &mut Rows<'_>, id: EntryId, hold: &HoldRow) {
    rows.put(rows::hold_key(id).to_vec(), rows::encode(hold));
    if hold.expires_us != 0 {
        rows.delete(rows::expiry_key(hold.expires_us, id).to_vec());
    }
    book.state.open_holds = book.state.open_holds.saturating_sub(1);
}

/// The earliest expiry of an open hold; 0: none.
///
/// # Errors
/// A fault of the store.
pub fn next_expiry(rows: &Rows<'_>) -> Result<i64, Fault> {
    let first = rows.range(&rows::due_holds(i64::MAX, 1))?;
    Ok(first
        .first()
        .and_then(|(key, _)| rows::expiry_hold(key))
        .map_or(0, |(expires_us, _)| expires_us))
}

fn not_found(account: &str) -> Stop<Refusal> {
    Stop::Refused(Refusal::AccountNotFound {
        account: account.to_owned(),
    })
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}
