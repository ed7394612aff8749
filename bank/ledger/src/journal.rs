//! Journal rows: each change of an account as an event, its postings, and a link
//! of the account's hash chain.

use buffa::ViewEncode as _;
use lombard_store::{Fault, Rows};

use crate::book::Book;
use crate::rows::{self, JournalKind, JournalView, PostingRowView};
use crate::types::{EntryId, day_of};
use crate::value_axis;

/// A journal row before what is known only when all is done: where the account then stands.
#[derive(Debug, Clone)]
pub(crate) struct Unwritten {
    booked_us: i64,
    entry: Option<EntryId>,
    body: Vec<u8>,
}

/// What one journal row tells, apart from what the book knows itself.
#[derive(Debug, Clone, Copy)]
pub struct Note<'a> {
    /// What kind of change.
    pub kind: JournalKind,
    /// The entry that caused it.
    pub entry: Option<EntryId>,
    /// The account that decided the entry.
    pub home: &'a str,
    /// Not booked before this moment.
    pub not_before_us: i64,
    /// When home decided, where that is another account.
    pub decided_us: i64,
    /// The value day; none: the booked day.
    pub value_day: Option<i32>,
    /// For people.
    pub reference: &'a str,
    /// Who caused it.
    pub actor: &'a str,
    /// The hold that it is about.
    pub hold: Option<EntryId>,
    /// An administrative change, as JSON.
    pub detail: &'a str,
}

impl<'a> Note<'a> {
    /// A note of a kind, of an actor, at a moment, and nothing else.
    pub fn new(kind: JournalKind, not_before_us: i64, actor: &'a str) -> Self {
        Self {
            kind,
            entry: None,
            home: "",
            not_before_us,
            decided_us: 0,
            value_day: None,
            reference: "",
            actor,
            hold: None,
            detail: "",
        }
    }
}

/// Postings of one journal row as they are collected: the address's index, the amount.
pub type Postings = Vec<(usize, i64)>;

impl Book {
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
        let journal = JournalView {
            number: self.state.number,
            kind: note.kind.into(),
            entry_id: note.entry.as_ref().map_or(&[], |id| id.0.as_slice()),
            home: note.home,
            postings: postings
                .iter()
                .map(|&(index, amount_minor)| PostingRowView {
                    // An account has at most 64 addresses.
                    address: u32::try_from(index).unwrap_or(u32::MAX),
                    amount_minor,
                    ..PostingRowView::default()
                })
                .collect(),
            balances: self.state.balances.iter().copied().collect(),
            value_day,
            decided_us: if note.decided_us == booked_us {
                0
            } else {
                note.decided_us
            },
            reference: note.reference,
            actor: note.actor,
            hold_id: note.hold.as_ref().map_or(&[], |id| id.0.as_slice()),
            detail: note.detail,
            ..JournalView::default()
        };
        self.unwritten = Some(Unwritten {
            booked_us,
            entry: note.entry,
            body: journal.encode_to_vec(),
        });
        self.state.booked_us = booked_us;
        for &(index, amount_minor) in postings {
            let address = u32::try_from(index).unwrap_or(u32::MAX);
            value_axis::shift(rows, address, amount_minor, booked_day, value_day)?;
        }
        Ok(booked_us)
    }

    /// Writes the journal row that was added last, and links it into the chain.
    pub(crate) fn write(&mut self, rows: &mut Rows<'_>) {
        let Some(Unwritten {
            booked_us,
            entry,
            mut body,
        }) = self.unwritten.take()
        else {
            return;
        };
        if let Some(standing) = self.state.standing(entry) {
            rows::add_standing(&mut body, standing);
        }
        let before = self.state.chain.as_ref().map_or(&[][..], |link| link);
        let (value, link) = rows::chain(before, body);
        rows.append(rows::journal_key(booked_us).to_vec(), value);
        self.state.chain = Some(link);
    }
}
