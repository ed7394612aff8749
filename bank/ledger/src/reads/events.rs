//! An account's events: its journal, told to the world.
//!
//! An event is self-contained JSON. It is made from the journal row that was
//! committed with the change, so it can be made again at any time, the same.

use std::ops::Bound;

use bytes::Bytes;
use lombard_contracts::bank::ledger::v1::{Event, ListEventsResponse};
use lombard_store::{Direction, Fault, RowRange, Rows, Stop};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{journal_at_or_before, read_journal};
use crate::book::Book;
use crate::refusal::Refusal;
use crate::rows::{self, Head, Journal, JournalKind};
use crate::types::{EntryId, print_day};

/// The version of the events' form.
const VERSION: u32 = 1;

/// Events with a number above `after_number`, in order.
///
/// # Errors
/// [`Refusal::AccountNotFound`]; a fault of the store.
pub fn list(
    rows: &Rows<'_>,
    account: &str,
    after_number: u64,
    page_size: usize,
) -> Result<ListEventsResponse, Stop<Refusal>> {
    let book = Book::require(rows, account)?;
    let events = behind(rows, &book, after_number, page_size)?
        .iter()
        .map(|row| {
            read_journal(row).map(|(booked_us, journal)| event(book.head(), booked_us, &journal))
        })
        .collect::<Result<Vec<Event>, Fault>>()?;
    Ok(ListEventsResponse {
        events,
        ..ListEventsResponse::default()
    })
}

/// Up to `limit` journal rows behind a number, in order.
fn behind(
    rows: &Rows<'_>,
    book: &Book,
    after_number: u64,
    limit: usize,
) -> Result<Vec<lombard_store::Row>, Fault> {
    let newer = book.state.number.saturating_sub(after_number);
    if newer == 0 {
        return Ok(Vec::new());
    }
    let journal = RowRange::prefix(&[rows::JOURNAL], Direction::Ascending, limit);
    if usize::try_from(newer).is_ok_and(|newer| newer <= limit) {
        // Who follows closely asks for the end.
        let newest = RowRange {
            direction: Direction::Descending,
            limit: newer as usize,
            ..journal
        };
        let mut found = rows.range(&newest)?;
        found.reverse();
        return Ok(found);
    }
    match booked_at_number(rows, book, after_number)? {
        None => rows.range(&journal),
        Some(booked_us) => {
            let from = Bound::Excluded(Bytes::copy_from_slice(&rows::journal_key(booked_us)));
            rows.range(&RowRange { from, ..journal })
        }
    }
}

/// When the event of that number was booked; none for 0. Numbers rise with
/// booked time, so the moment is found by halving: at most 64 seeks.
fn booked_at_number(rows: &Rows<'_>, book: &Book, number: u64) -> Result<Option<i64>, Fault> {
    if number == 0 {
        return Ok(None);
    }
    // The event lies at or after `low` and at or before `high`.
    let (mut low, mut high) = (0, book.state.booked_us);
    while low <= high {
        let middle = low + (high - low) / 2;
        match journal_at_or_before(rows, middle)? {
            Some((booked_us, journal)) if journal.number == number => return Ok(Some(booked_us)),
            Some((booked_us, journal)) if journal.number > number => high = booked_us - 1,
            _ => low = middle + 1,
        }
    }
    Err(Fault::Store(lombard_store::StoreError::Damaged(format!(
        "account {}: event {number} of {} is missing",
        book.head().account,
        book.state.number
    ))))
}

/// A journal row as an event.
pub fn event(head: &Head, booked_us: i64, journal: &Journal) -> Event {
    let kind = journal.kind.as_known().unwrap_or_default();
    let id = event_id(&head.account, booked_us, journal.number).to_string();
    Event {
        json: body(head, &id, kind, booked_us, journal).to_string(),
        id,
        number: journal.number,
        r#type: type_name(kind).to_owned(),
        booked_us,
        ..Event::default()
    }
}

fn type_name(kind: JournalKind) -> &'static str {
    match kind {
        JournalKind::JOURNAL_KIND_UNSPECIFIED => "Unknown",
        JournalKind::JOURNAL_KIND_OPENED => "AccountOpened",
        JournalKind::JOURNAL_KIND_POSTED => "EntryPosted",
        JournalKind::JOURNAL_KIND_RESERVED => "FundsReserved",
        JournalKind::JOURNAL_KIND_RESERVATION_RELEASED => "ReservationReleased",
        JournalKind::JOURNAL_KIND_ADDRESSES_ADDED => "AddressesAdded",
        JournalKind::JOURNAL_KIND_FLOOR_SET => "FloorSet",
        JournalKind::JOURNAL_KIND_FROZEN => "FreezeSet",
        JournalKind::JOURNAL_KIND_CLOSED => "AccountClosed",
        JournalKind::JOURNAL_KIND_METADATA_SET => "MetadataSet",
        JournalKind::JOURNAL_KIND_HOLD_EXPIRED => "HoldExpired",
        JournalKind::JOURNAL_KIND_DIVERTED => "LegsDiverted",
        JournalKind::JOURNAL_KIND_REFUSED => "EntryRefused",
    }
}

fn body(head: &Head, id: &str, kind: JournalKind, booked_us: i64, journal: &Journal) -> Value {
    let uuid = |bytes: &[u8]| EntryId::from_slice(bytes).map(|id| id.to_string());
    let mut event = Map::new();
    let mut put = |key: &str, value: Value| {
        event.insert(key.to_owned(), value);
    };
    put("id", json!(id));
    put("type", json!(type_name(kind)));
    put("version", json!(VERSION));
    put(
        "model",
        json!({ "type": "account", "id": head.account, "entity": head.entity }),
    );
    put("number", json!(journal.number));
    put("time_us", json!(booked_us));
    put("actor", json!(journal.actor));
    if let Some(entry) = uuid(&journal.entry_id) {
        let decided_us = if journal.decided_us == 0 {
            booked_us
        } else {
            journal.decided_us
        };
        put(
            "entry",
            json!({ "id": entry, "home": journal.home, "decided_us": decided_us }),
        );
    }
    if let Some(hold) = uuid(&journal.hold_id) {
        put("hold_id", json!(hold));
    }
    if !journal.reference.is_empty() {
        put("reference", json!(journal.reference));
    }
    if !journal.postings.is_empty() {
        put("value_date", json!(print_day(journal.value_day)));
        put("postings", posting_lines(head, journal));
    }
    put("balances", balance_lines(head, journal));
    if !journal.detail.is_empty() {
        // Written by us as JSON; whatever else stands there is told as text.
        let detail =
            serde_json::from_str(&journal.detail).unwrap_or_else(|_| json!(journal.detail));
        put("change", detail);
    }
    Value::Object(event)
}

fn posting_lines(head: &Head, journal: &Journal) -> Value {
    let line = |(index, amount_minor, _, balance_minor): (usize, i64, i64, i64)| {
        let row = head.addresses.get(index).cloned().unwrap_or_default();
        json!({
            "address": row.address,
            "currency": row.currency,
            "amount_minor": amount_minor,
            "balance_minor": balance_minor,
        })
    };
    rows::posting_outcomes(journal)
        .into_iter()
        .map(line)
        .collect()
}

fn balance_lines(head: &Head, journal: &Journal) -> Value {
    let line = |(row, balance): (&rows::AddressRow, &i64)| json!({ "address": row.address, "currency": row.currency, "balance_minor": balance });
    head.addresses
        .iter()
        .zip(&journal.balances)
        .map(line)
        .collect()
}

/// An id made from the event's place, in the form of a UUIDv7 (RFC 9562,
/// section 5.7): booked milliseconds, then bits of a hash over account and number.
pub fn event_id(account: &str, booked_us: i64, number: u64) -> EntryId {
    let mut hash = Sha256::new();
    hash.update(account.as_bytes());
    hash.update(number.to_be_bytes());
    let hash = hash.finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    id[..6].copy_from_slice(&booked_us.div_euclid(1_000).to_be_bytes()[2..]);
    id[6] = 0x70 | (id[6] & 0x0f);
    id[8] = 0x80 | (id[8] & 0x3f);
    EntryId(id)
}
