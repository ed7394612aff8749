//! Journal rows: each change of an account as an event, its postings, where the
//! account stands after it, and a link of the account's hash chain.

use buffa::ViewEncode as _;
use lombard_store::Rows;
use smallvec::SmallVec;

use crate::rows::{self, JournalKind, JournalView, PostingRowView};
use crate::state::State;
use crate::types::EntryId;

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
    /// The digest of the content that reserves.
    pub content: &'a [u8],
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
            content: &[],
        }
    }
}

/// Postings of one journal row as they are collected: the address's index, the amount.
pub type Postings = SmallVec<[(usize, i64); 2]>;

impl Unwritten {
    /// The row that brings an account to `state`, as far as that is known yet.
    pub(crate) fn new(state: &State, note: &Note<'_>, postings: &Postings, value_day: i32) -> Self {
        let journal = JournalView {
            number: state.number,
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
            balances: state.balances.iter().copied().collect(),
            value_day,
            decided_us: if note.decided_us == state.booked_us {
                0
            } else {
                note.decided_us
            },
            reference: note.reference,
            actor: note.actor,
            hold_id: note.hold.as_ref().map_or(&[], |id| id.0.as_slice()),
            detail: note.detail,
            content: note.content,
            ..JournalView::default()
        };
        Self {
            booked_us: state.booked_us,
            entry: note.entry,
            body: journal.encode_to_vec(),
        }
    }

    /// Writes it, with where the account stands now, and links it into the chain.
    pub(crate) fn write(mut self, state: &mut State, rows: &mut Rows<'_>) {
        if let Some(standing) = state.standing(self.entry) {
            rows::add_standing(&mut self.body, standing);
        }
        let before = state.chain.as_ref().map_or(&[][..], |link| link);
        let (value, link) = rows::chain(before, self.body);
        rows.append(rows::journal_key(self.booked_us).to_vec(), value);
        state.chain = Some(link);
    }
}
