//! Carrying a decided entry to its other accounts: idempotent by marker, and
//! never refused. What an account can no longer take goes to suspense.

use lombard_store::{Fault, Rows, Stop};
use smallvec::SmallVec;

use crate::book::{Book, Note, Postings};
use crate::refusal::Refusal;
use crate::rows::{self, Head, Journal, JournalKind, MarkerRow};
use crate::terms::Terms;
use crate::types::{
    DEFAULT_ENTITY, EntryId, Leg, LegOutcome, RESERVED_ADDRESS, SUSPENSE_ADDRESS, day_of,
};
use crate::value_axis;

/// A decided entry, as its other accounts need it.
#[derive(Debug, Clone, Copy)]
pub struct Carried<'a> {
    /// The entry.
    pub id: EntryId,
    /// Of its content: what was reserved for another one is not its.
    pub digest: [u8; 16],
    /// Who decided.
    pub home: &'a str,
    /// When home decided.
    pub decided_us: i64,
    /// From which day the money counts.
    pub value_day: i32,
    /// For people.
    pub reference: &'a str,
    /// Who caused it.
    pub actor: &'a str,
    /// All legs of the entry.
    pub legs: &'a [Leg],
    /// The moment of carrying: expiries due by then come first.
    pub now_us: i64,
}

impl<'a> Carried<'a> {
    fn note(&self, kind: JournalKind) -> Note<'a> {
        Note {
            kind,
            entry: Some(self.id),
            home: self.home,
            not_before_us: self.decided_us,
            decided_us: self.decided_us,
            value_day: Some(self.value_day),
            reference: self.reference,
            actor: self.actor,
            hold: None,
            detail: "",
            content: &[],
        }
    }
}

/// What became of the legs of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// They are in.
    Posted(Vec<LegOutcome>),
    /// The account could not take them: they belong to its entity's suspense account.
    Diverted {
        /// The account's legal entity.
        entity: String,
    },
}

/// Applies the legs of `account`, or says again what became of them.
///
/// # Errors
/// A fault of the store. Never a refusal: the entry is decided.
pub fn apply(
    rows: &mut Rows<'_>,
    account: &str,
    carried: &Carried<'_>,
) -> Result<Applied, Stop<Refusal>> {
    let Some(mut book) = Book::take(rows)? else {
        // Accounts are never removed; one that was read before the decision exists.
        return Ok(Applied::Diverted {
            entity: DEFAULT_ENTITY.to_owned(),
        });
    };
    let found = if book.surely_new(carried.id) {
        None
    } else {
        let found = find_marker(rows, carried.id, carried.home, &carried.digest)?;
        if found.is_none() {
            book.looked_in_vain();
        }
        found
    };
    let marker = found.as_ref().map(|(_, marker)| marker);
    match marker {
        Some(marker) if marker.diverted => {
            let entity = book.head().entity.clone();
            book.put_back(rows);
            return Ok(Applied::Diverted { entity });
        }
        Some(marker) if !marker.reserved => {
            book.put_back(rows);
            return outcomes(rows, account, carried, marker).map(Applied::Posted);
        }
        _ => {}
    }
    let before = rows.savepoint();
    let (postings, moved) = match post_legs(rows, &mut book, account, carried, marker) {
        Ok(posted) => posted,
        Err(Stop::Refused(_)) => {
            // The account changed between the check and now (closed, overflow).
            rows.roll_back(before);
            return divert(rows, account, carried, found);
        }
        Err(fault) => return Err(fault),
    };
    let booked_us = book.journal(rows, carried.note(JournalKind::Posted), &postings)?;
    if let Some(marker) = marker {
        // What was reserved moved then; it counts from the entry's value day,
        // out of its address as into the reserved one.
        let reserved_day = day_of(marker.reserved_us);
        for posting in &marker.reserved_postings {
            let currency = book.head().addresses.get(posting.address as usize);
            let reserved = currency.and_then(|row| book.address(RESERVED_ADDRESS, &row.currency));
            let reserved = reserved.and_then(|index| u32::try_from(index).ok());
            let both = [
                (Some(posting.address), posting.amount_minor),
                (reserved, -posting.amount_minor),
            ];
            for (address, amount_minor) in both {
                let Some(address) = address else { continue };
                value_axis::shift(rows, address, amount_minor, reserved_day, carried.value_day)?;
            }
        }
    }
    book.saw(carried.id);
    if let Some((key, marker)) = found {
        let marker = MarkerRow {
            booked_us,
            reserved: false,
            value_day: carried.value_day,
            ..marker
        };
        rows.put(key, rows::encode(&marker));
        book.save(rows);
        return outcomes(rows, account, carried, &marker).map(Applied::Posted);
    }
    let marker = MarkerRow {
        booked_us,
        ..MarkerRow::default()
    };
    let key = rows::marker_key(carried.id, carried.home);
    rows.put_new(key, rows::encode(&marker));
    book.save(rows);
    let outcome = |(leg, (before_minor, after_minor)): (&Leg, (i64, i64))| LegOutcome {
        leg: leg.clone(),
        before_minor,
        after_minor,
        booked_us,
    };
    Ok(Applied::Posted(moved.into_iter().map(outcome).collect()))
}

/// Takes legs into the suspense account that `account` could not take.
///
/// # Errors
/// A fault of the store; an overflow of the suspense account itself.
pub fn apply_diverted(
    rows: &mut Rows<'_>,
    suspense: &str,
    entity: &str,
    account: &str,
    carried: &Carried<'_>,
) -> Result<(), Stop<Refusal>> {
    let key = rows::diverted_key(carried.id, carried.home, account);
    if load_marker(rows, &key)?.is_some() {
        return Ok(());
    }
    let mut book = match Book::take(rows)? {
        Some(book) => book,
        None => {
            let mut book = Book::open(Head {
                account: suspense.to_owned(),
                entity: entity.to_owned(),
                opened_us: carried.now_us,
                ..Head::default()
            });
            let detail = r#"{"opened_for":"legs that their accounts could not take"}"#;
            let note = Note {
                detail,
                ..Note::new(JournalKind::Opened, carried.now_us, "ledger")
            };
            book.journal(rows, note, &Postings::new())?;
            book
        }
    };
    let mut postings = Postings::new();
    for leg in carried.legs.iter().filter(|leg| leg.account == account) {
        let index = book.address_or_add(SUSPENSE_ADDRESS, leg.currency.code());
        book.post(&mut postings, index, leg.amount_minor)
            .map_err(Stop::Refused)?;
    }
    let detail = format!(r#"{{"diverted_from":"{account}"}}"#);
    let booked_us = book.journal(
        rows,
        Note {
            detail: &detail,
            ..carried.note(JournalKind::Posted)
        },
        &postings,
    )?;
    let marker = MarkerRow {
        booked_us,
        ..MarkerRow::default()
    };
    rows.put(key, rows::encode(&marker));
    book.save(rows);
    Ok(())
}

/// The suspense account of a legal entity.
pub fn suspense_account(entity: &str) -> String {
    if entity == DEFAULT_ENTITY {
        "bank-suspense".to_owned()
    } else {
        format!("bank-suspense:{entity}")
    }
}

/// What an account says of an entry of another home: that it was applied, or what was
/// reserved for it; and the row's key.
///
/// # Errors
/// A fault of the store; a damaged row.
pub fn find_marker(
    rows: &Rows<'_>,
    id: EntryId,
    home: &str,
    digest: &[u8; 16],
) -> Result<Option<(Vec<u8>, MarkerRow)>, Fault> {
    let applied = rows::marker_key(id, home);
    if let Some(marker) = load_marker(rows, &applied)? {
        return Ok(Some((applied, marker)));
    }
    let reserved = rows::reservation_key(id, home, digest);
    Ok(load_marker(rows, &reserved)?.map(|marker| (reserved, marker)))
}

/// Reads a marker.
///
/// # Errors
/// A fault of the store; a damaged row.
pub fn load_marker(rows: &Rows<'_>, key: &[u8]) -> Result<Option<MarkerRow>, Fault> {
    match rows.get(key)? {
        Some(value) => Ok(Some(rows::decode::<MarkerRow>("marker", key, &value)?)),
        None => Ok(None),
    }
}

/// Whether a leg takes from what was reserved for it.
fn takes_reserved(terms: &Terms, leg: &Leg, marker: Option<&MarkerRow>) -> bool {
    leg.amount_minor < 0
        && marker.is_some_and(|marker| {
            let index = terms.address(&leg.address, leg.currency.code());
            marker
                .reserved_postings
                .iter()
                .any(|posting| Some(posting.address as usize) == index)
        })
}

/// The postings of a journal row, and for each leg the balances before and after.
type Moved<'a> = (Postings, SmallVec<[(&'a Leg, (i64, i64)); 2]>);

fn post_legs<'a>(
    rows: &mut Rows<'_>,
    book: &mut Book,
    account: &str,
    carried: &Carried<'a>,
    marker: Option<&MarkerRow>,
) -> Result<Moved<'a>, Stop<Refusal>> {
    if book.terms().closed {
        return Err(Stop::Refused(Refusal::Closed {
            account: account.to_owned(),
        }));
    }
    book.expire_holds(rows, carried.now_us)?;
    let mut postings = Postings::new();
    let mut moved = SmallVec::new();
    for leg in carried.legs.iter().filter(|leg| leg.account == account) {
        let index = if takes_reserved(book.terms(), leg, marker) {
            book.require_address(RESERVED_ADDRESS, leg.currency.code())
        } else {
            book.require_address(&leg.address, leg.currency.code())
        };
        let balances = book.post(
            &mut postings,
            index.map_err(Stop::Refused)?,
            leg.amount_minor,
        );
        moved.push((leg, balances.map_err(Stop::Refused)?));
    }
    Ok((postings, moved))
}

/// Notes in the account that its legs went to suspense. What it had reserved
/// is given back to it first: the suspense account bears the whole leg.
fn divert(
    rows: &mut Rows<'_>,
    account: &str,
    carried: &Carried<'_>,
    found: Option<(Vec<u8>, MarkerRow)>,
) -> Result<Applied, Stop<Refusal>> {
    let mut book = Book::take_required(rows, account)?;
    let (key, marker) = found.unwrap_or_else(|| {
        let key = rows::marker_key(carried.id, carried.home);
        (key, MarkerRow::default())
    });
    let mut postings = Postings::new();
    for posting in &marker.reserved_postings {
        give_back(&mut book, &mut postings, posting)?;
    }
    let note = Note {
        value_day: None,
        ..carried.note(JournalKind::Diverted)
    };
    let booked_us = book.journal(rows, note, &postings)?;
    let marker = MarkerRow {
        booked_us,
        diverted: true,
        reserved: false,
        ..marker
    };
    rows.put(key, rows::encode(&marker));
    book.saw(carried.id);
    let entity = book.head().entity.clone();
    book.save(rows);
    Ok(Applied::Diverted { entity })
}

/// Moves one reserved posting back from the reserved address.
///
/// # Errors
/// An overflow of the address that it came from.
pub fn give_back(
    book: &mut Book,
    postings: &mut Postings,
    posting: &rows::PostingRow,
) -> Result<(), Stop<Refusal>> {
    let index = posting.address as usize;
    let currency = book
        .head()
        .addresses
        .get(index)
        .map(|row| row.currency.clone())
        .unwrap_or_default();
    let reserved = book.address_or_add(RESERVED_ADDRESS, &currency);
    book.post(postings, reserved, posting.amount_minor)
        .map_err(Stop::Refused)?;
    book.post(postings, index, -posting.amount_minor)
        .map_err(Stop::Refused)?;
    Ok(())
}

/// What the account's legs did, from the journal rows that the marker names.
fn outcomes(
    rows: &Rows<'_>,
    account: &str,
    carried: &Carried<'_>,
    marker: &MarkerRow,
) -> Result<Vec<LegOutcome>, Stop<Refusal>> {
    let applied = journal_at(rows, account, marker.booked_us)?;
    let reserved = if marker.reserved_us == 0 {
        None
    } else {
        Some(journal_at(rows, account, marker.reserved_us)?)
    };
    let mut applied = rows::posting_outcomes(&applied).into_iter();
    let mut reserved = reserved
        .map(|journal| rows::posting_outcomes(&journal))
        .unwrap_or_default()
        .into_iter();
    let terms = Terms::of(&Book::load_head(rows)?.unwrap_or_default());
    let mut outcomes = Vec::new();
    for leg in carried.legs.iter().filter(|leg| leg.account == account) {
        let posted = applied.next();
        let (outcome, booked_us) = if takes_reserved(&terms, leg, Some(marker)) {
            // A reservation has two postings for each leg: from the address, to the reserved one.
            let pair = reserved.next();
            reserved.next();
            (pair, marker.reserved_us)
        } else {
            (posted, marker.booked_us)
        };
        if let Some((_, _, before_minor, after_minor)) = outcome {
            outcomes.push(LegOutcome {
                leg: leg.clone(),
                before_minor,
                after_minor,
                booked_us,
            });
        }
    }
    Ok(outcomes)
}

fn journal_at(rows: &Rows<'_>, account: &str, booked_us: i64) -> Result<Journal, Fault> {
    let key = rows::journal_key(booked_us);
    match rows.get(&key)? {
        Some(value) => rows::decode::<Journal>("journal", &key, &value),
        None => Err(Fault::Store(lombard_store::StoreError::Damaged(format!(
            "account {account}: its marker names a journal row at {booked_us} that is missing"
        )))),
    }
}
