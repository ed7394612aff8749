//! Reservations: what an entry takes from accounts other than its home waits
//! at a reserved address until home has decided.

use lombard_store::{Rows, Stop};

use crate::apply::{give_back, load_marker};
use crate::book::{Book, Note, Postings};
use crate::refusal::Refusal;
use crate::rows::{self, JournalKind, MarkerRow, PostingRow};
use crate::types::{Entry, EntryId, Leg, RESERVED_ADDRESS};

/// Moves what `entry` takes from the floored addresses of `account` to its
/// reserved address. Idempotent by marker.
///
/// # Errors
/// A refusal: then nothing is reserved here.
pub fn reserve(
    rows: &mut Rows<'_>,
    account: &str,
    entry: &Entry,
    digest: &[u8; 16],
    legs: &[Leg],
    now_us: i64,
) -> Result<(), Stop<Refusal>> {
    let mut book = Book::take_required(rows, account)?;
    if load_marker(rows, &rows::marker_key(entry.id, &entry.home))?.is_some() {
        // It is in: when it was applied there was no floor to reserve for.
        return Ok(());
    }
    let key = rows::reservation_key(entry.id, &entry.home, digest);
    match load_marker(rows, &key)? {
        Some(marker) if marker.released => {
            return Err(Stop::Refused(Refusal::RefusedBefore {
                reason: "RESERVATION_EXPIRED".to_owned(),
                message: format!(
                    "entry {} was refused: its reservation came too late",
                    entry.id
                ),
            }));
        }
        Some(_) => return Ok(()),
        None => {}
    }
    if book.terms().closed {
        return Err(Stop::Refused(Refusal::Closed {
            account: account.to_owned(),
        }));
    }
    book.expire_holds(rows, now_us)?;
    let mut postings = Postings::new();
    let mut reserved_postings = Vec::new();
    for leg in legs
        .iter()
        .filter(|leg| leg.account == account && leg.amount_minor < 0)
    {
        if book.terms().debits_frozen {
            return Err(Stop::Refused(Refusal::Frozen {
                account: account.to_owned(),
                debits: true,
            }));
        }
        let index = book
            .require_address(&leg.address, leg.currency.code())
            .map_err(Stop::Refused)?;
        if book.floor(index).is_none() {
            continue;
        }
        let reserved = book.address_or_add(RESERVED_ADDRESS, leg.currency.code());
        book.post(&mut postings, index, leg.amount_minor)
            .map_err(Stop::Refused)?;
        // i64::MIN has no opposite; a leg of that size is refused as an overflow by its own sum.
        book.post(&mut postings, reserved, leg.amount_minor.saturating_neg())
            .map_err(Stop::Refused)?;
        reserved_postings.push(PostingRow {
            // An account has at most 64 addresses.
            address: u32::try_from(index).unwrap_or(u32::MAX),
            amount_minor: leg.amount_minor,
            ..PostingRow::default()
        });
    }
    if reserved_postings.is_empty() {
        // The floor is gone since it was looked at. What expired stays so.
        book.save(rows);
        return Ok(());
    }
    book.check_floors(&postings).map_err(Stop::Refused)?;
    let note = Note {
        entry: Some(entry.id),
        home: &entry.home,
        content: digest,
        reference: &entry.reference,
        ..Note::new(JournalKind::Reserved, now_us, &entry.actor)
    };
    let booked_us = book.journal(rows, note, &postings)?;
    let marker = MarkerRow {
        booked_us,
        reserved: true,
        reserved_postings,
        reserved_us: booked_us,
        ..MarkerRow::default()
    };
    rows.put(key, rows::encode(&marker));
    book.saw(entry.id);
    book.save(rows);
    Ok(())
}

/// Gives a reservation back. To be called only once home has refused the entry for good.
///
/// # Errors
/// A fault of the store.
pub fn release(
    rows: &mut Rows<'_>,
    account: &str,
    home: &str,
    (id, digest): (EntryId, &[u8]),
    now_us: i64,
) -> Result<(), Stop<Refusal>> {
    let mut book = Book::take_required(rows, account)?;
    let key = rows::reservation_key(id, home, digest);
    let Some(marker) = load_marker(rows, &key)?.filter(|marker| marker.reserved) else {
        return Ok(());
    };
    book.expire_holds(rows, now_us)?;
    let mut postings = Postings::new();
    for posting in &marker.reserved_postings {
        give_back(&mut book, &mut postings, posting)?;
    }
    let note = Note {
        entry: Some(id),
        home,
        content: digest,
        ..Note::new(JournalKind::ReservationReleased, now_us, "ledger")
    };
    let booked_us = book.journal(rows, note, &postings)?;
    let marker = MarkerRow {
        booked_us,
        reserved: false,
        released: true,
        ..marker
    };
    rows.put(key, rows::encode(&marker));
    book.save(rows);
    Ok(())
}
