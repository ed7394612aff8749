//! The decision: what an entry does at its home, in the one commit that counts.

use buffa::ViewEncode as _;
use lombard_store::{Fault, Rows, Stop, StoreError};
use serde_json::json;
use smallvec::SmallVec;
use smol_str::SmolStr;

use crate::book::{Book, Note, Postings};
use crate::hold;
use crate::refusal::Refusal;
use crate::reversal;
use crate::rows::{
    self, Decision, EntryLeg, EntryLegView, EntryRow, EntryRowView, HoldRow, Journal, JournalKind,
};
use crate::types::{Entry, EntryId, HoldStep, Leg, LegOutcome};

/// What home decided: the first answer, or the first answer again.
#[derive(Debug, Clone)]
pub struct Decided {
    /// Of the entry's content.
    pub digest: [u8; 16],
    /// When.
    pub booked_us: i64,
    /// From which day the money counts.
    pub value_day: i32,
    /// The legs as they were decided, of all accounts.
    pub legs: Vec<Leg>,
    /// What home's own legs did, in their order.
    pub outcomes: Vec<LegOutcome>,
    /// Whether this is the first answer given again.
    pub replayed: bool,
    /// The hold that it placed, captured or released, as it is now.
    pub hold: Option<Box<(EntryId, HoldRow)>>,
}

/// Decides an entry: checks what home must allow, and writes home's postings,
/// the entry row (marker and content) and the event. `legs` are the entry's
/// own, or for a reversal the mirrored ones; `entities` tells the legal entity
/// of each other account.
///
/// # Errors
/// A [`Refusal`]; then nothing was changed.
pub fn decide(
    rows: &mut Rows<'_>,
    entry: &Entry,
    legs: &[Leg],
    entities: &[(SmolStr, SmolStr)],
    now_us: i64,
) -> Result<Decided, Stop<Refusal>> {
    let mut book = Book::take_required(rows, &entry.home)?;
    let digest = entry.digest();
    if !book.surely_new(entry.id) {
        if let Some(row) = load_entry(rows, entry.id)? {
            let first = replay(rows, &book, entry.id, &row, Some(&digest));
            book.put_back(rows);
            return first;
        }
        book.looked_in_vain();
    }
    if book.terms().closed {
        return Err(Stop::Refused(Refusal::Closed {
            account: entry.home.to_string(),
        }));
    }
    book.expire_holds(rows, now_us)?;

    let mut effective = match &entry.hold {
        Some(HoldStep::Capture { .. } | HoldStep::Release { .. }) => {
            hold::legs(rows, &book, entry)?
        }
        _ => legs.to_vec(),
    };
    check_balanced(&book.terms().entity, &entry.home, entities, &effective)
        .map_err(Stop::Refused)?;
    check_frozen(&book, entry, &effective).map_err(Stop::Refused)?;
    if entry.up_to_available {
        reduce_to_available(&book, &entry.home, &mut effective).map_err(Stop::Refused)?;
    }

    let mut postings = Postings::new();
    let mut moved: SmallVec<[_; 2]> = SmallVec::new();
    for leg in effective.iter().filter(|leg| leg.account == entry.home) {
        let index = book
            .require_address(&leg.address, leg.currency.code())
            .map_err(Stop::Refused)?;
        let balances = book
            .post(&mut postings, index, leg.amount_minor)
            .map_err(Stop::Refused)?;
        moved.push((leg, balances));
    }
    book.check_floors(&postings).map_err(Stop::Refused)?;

    let mut touched = None;
    if entry.hold.is_some() {
        touched = Some(Box::new(hold::step(
            rows, &mut book, entry, &effective, now_us,
        )?));
    }
    if let Some(reverses) = &entry.reverses {
        reversal::claim(rows, reverses.entry, entry.id)?;
    }

    let note = Note {
        entry: Some(entry.id),
        home: &entry.home,
        value_day: entry.value_day,
        reference: &entry.reference,
        hold: touched.as_ref().map(|touched| touched.0),
        ..Note::new(JournalKind::Posted, now_us, &entry.actor)
    };
    let booked_us = book.journal(rows, note, &postings)?;
    let value_day = entry
        .value_day
        .unwrap_or_else(|| crate::types::day_of(booked_us));
    if let Some((id, row)) = touched.as_deref_mut() {
        hold::booked(rows, &mut book, entry, *id, row, booked_us)?;
    }
    rows.put_new(
        rows::entry_key(entry.id).to_vec(),
        entry_row(
            entry,
            &effective,
            &digest,
            booked_us,
            value_day,
            touched.as_deref(),
        ),
    );
    book.saw(entry.id);
    // With room for those of the other accounts.
    let mut outcomes = Vec::with_capacity(effective.len());
    outcomes.extend(
        moved
            .into_iter()
            .map(|(leg, balances)| book.outcome(leg.clone(), balances, booked_us)),
    );
    book.save(rows);
    Ok(Decided {
        digest,
        booked_us,
        value_day,
        legs: effective,
        outcomes,
        replayed: false,
        hold: touched,
    })
}

/// Writes at home that the entry is refused for good: what must stand there
/// before a reservation for it is released. If home accepted it before, that
/// is the answer. If it accepted the id with another content, what was reserved
/// for this one is nobody's.
///
/// # Errors
/// A fault of the store.
pub fn refuse(
    rows: &mut Rows<'_>,
    home: &str,
    id: EntryId,
    digest: &[u8],
    reason: &str,
    message: &str,
    now_us: i64,
) -> Result<Option<Decided>, Stop<Refusal>> {
    let mut book = Book::take_required(rows, home)?;
    if let Some(row) = load_entry(rows, id)? {
        if row.digest != digest {
            book.put_back(rows);
            return Ok(None);
        }
        let first = replay(rows, &book, id, &row, None);
        book.put_back(rows);
        return match first {
            Ok(decided) => Ok(Some(decided)),
            Err(Stop::Refused(_)) => Ok(None),
            Err(fault) => Err(fault),
        };
    }
    let row = EntryRow {
        decision: Decision::Refused.into(),
        digest: digest.to_vec(),
        booked_us: now_us,
        refused_reason: reason.to_owned(),
        refused_message: message.to_owned(),
        ..EntryRow::default()
    };
    rows.put(rows::entry_key(id).to_vec(), rows::encode(&row));
    let detail = json!({"reason": reason, "message": message}).to_string();
    let note = Note {
        entry: Some(id),
        home,
        detail: &detail,
        ..Note::new(JournalKind::Refused, now_us, "ledger")
    };
    book.expire_holds(rows, now_us)?;
    book.journal(rows, note, &Postings::new())?;
    book.saw(id);
    book.save(rows);
    Ok(None)
}

/// Reads an entry that this account decided.
///
/// # Errors
/// A fault of the store; a damaged row.
pub fn load_entry(rows: &Rows<'_>, id: EntryId) -> Result<Option<EntryRow>, Fault> {
    let key = rows::entry_key(id);
    match rows.get(&key)? {
        Some(value) => Ok(Some(rows::decode::<EntryRow>("entry", &key, &value)?)),
        None => Ok(None),
    }
}

/// The first answer again, from the entry's row and the journal row beside it.
/// With a digest: refused where the content is not the first one's.
///
/// # Errors
/// [`Refusal::IdReused`], or the refusal that was the first answer.
pub fn replay(
    rows: &Rows<'_>,
    book: &Book,
    id: EntryId,
    row: &EntryRow,
    digest: Option<&[u8; 16]>,
) -> Result<Decided, Stop<Refusal>> {
    if digest.is_some_and(|digest| row.digest.as_slice() != digest) {
        return Err(Stop::Refused(Refusal::IdReused {
            id: id.to_string(),
            what: "entry",
        }));
    }
    if row.decision.as_known() == Some(Decision::Refused) {
        return Err(Stop::Refused(Refusal::RefusedBefore {
            reason: row.refused_reason.clone(),
            message: row.refused_message.clone(),
        }));
    }
    let legs = row.legs.iter().map(leg_of).collect::<Result<Vec<_>, _>>()?;
    let outcomes = outcomes_at(rows, &book.head().account, &legs, row.booked_us)?;
    let hold = match EntryId::from_slice(&row.hold_id) {
        Some(hold) => crate::book::load_hold(rows, hold)?.map(|row| Box::new((hold, row))),
        None => None,
    };
    Ok(Decided {
        digest: digest_of(row, &book.head().account, id)?,
        booked_us: row.booked_us,
        value_day: row.value_day,
        legs,
        outcomes,
        replayed: true,
        hold,
    })
}

/// The digest of a stored entry's content.
///
/// # Errors
/// The row is damaged.
pub fn digest_of(row: &EntryRow, home: &str, id: EntryId) -> Result<[u8; 16], Fault> {
    row.digest.as_slice().try_into().map_err(|_| {
        Fault::Store(StoreError::Damaged(format!(
            "account {home}: entry {id} has a digest of {} bytes",
            row.digest.len()
        )))
    })
}

/// What the legs of `account` did, read from its journal row of that moment.
///
/// # Errors
/// A fault of the store; a journal row that is missing or does not fit its entry.
pub fn outcomes_at(
    rows: &Rows<'_>,
    account: &str,
    legs: &[Leg],
    booked_us: i64,
) -> Result<Vec<LegOutcome>, Fault> {
    let key = rows::journal_key(booked_us);
    let missing = || {
        Fault::Store(StoreError::Damaged(format!(
            "account {account}: no journal row at {booked_us}"
        )))
    };
    let value = rows.get(&key)?.ok_or_else(missing)?;
    let journal = rows::decode::<Journal>("journal", &key, &value)?;
    let own = legs.iter().filter(|leg| leg.account == account);
    Ok(own
        .zip(rows::posting_outcomes(&journal))
        .map(|(leg, (_, _, before_minor, after_minor))| LegOutcome {
            leg: leg.clone(),
            before_minor,
            after_minor,
            booked_us,
        })
        .collect())
}

/// A stored leg.
///
/// # Errors
/// A currency that is none: the row is damaged.
pub fn leg_of(row: &EntryLeg) -> Result<Leg, Fault> {
    let currency = lombard_money::Currency::parse(&row.currency).map_err(|error| {
        Fault::Store(StoreError::Damaged(format!(
            "entry leg of {}: {error}",
            row.account
        )))
    })?;
    Ok(Leg {
        account: row.account.as_str().into(),
        address: row.address.as_str().into(),
        currency,
        amount_minor: row.amount_minor,
    })
}

/// Legs sum to zero for each legal entity and currency.
fn check_balanced(
    home_entity: &str,
    home: &str,
    entities: &[(SmolStr, SmolStr)],
    legs: &[Leg],
) -> Result<(), Refusal> {
    let entity_of = |account: &str| {
        let other = entities
            .iter()
            .find(|(other, _)| other == account)
            .map(|(_, entity)| entity.as_str());
        if account == home {
            home_entity
        } else {
            other.unwrap_or(home_entity)
        }
    };
    let mut sums: Vec<(&str, lombard_money::Currency, i128)> = Vec::with_capacity(1);
    for leg in legs {
        let entity = entity_of(&leg.account);
        let amount = i128::from(leg.amount_minor);
        match sums
            .iter_mut()
            .find(|(other, currency, _)| *other == entity && *currency == leg.currency)
        {
            Some((_, _, sum)) => *sum += amount,
            None => sums.push((entity, leg.currency, amount)),
        }
    }
    match sums.into_iter().find(|(_, _, sum)| *sum != 0) {
        None => Ok(()),
        Some((entity, currency, sum_minor)) => Err(Refusal::Unbalanced {
            entity: entity.to_owned(),
            currency: currency.code().to_owned(),
            sum_minor,
        }),
    }
}

/// A plain leg is refused where its direction is frozen. Money that was held
/// before the freeze may still be captured and released: it was set aside.
fn check_frozen(book: &Book, entry: &Entry, legs: &[Leg]) -> Result<(), Refusal> {
    let account = || entry.home.to_string();
    match &entry.hold {
        Some(HoldStep::Release { .. }) => return Ok(()),
        Some(HoldStep::Place { .. }) if !book.terms().debits_frozen => return Ok(()),
        Some(HoldStep::Capture { hold: _, to, .. }) => {
            let over = legs.iter().any(|leg| {
                leg.account == entry.home
                    && leg.amount_minor < 0
                    && Some(&leg.address) != legs.first().map(|leg| &leg.address)
            });
            let credits_own = to.0 == entry.home && book.terms().credits_frozen;
            return if book.terms().debits_frozen && over {
                Err(Refusal::Frozen {
                    account: account(),
                    debits: true,
                })
            } else if credits_own {
                Err(Refusal::Frozen {
                    account: account(),
                    debits: false,
                })
            } else {
                Ok(())
            };
        }
        _ => {}
    }
    let mut own = legs.iter().filter(|leg| leg.account == entry.home);
    if book.terms().debits_frozen && own.clone().any(|leg| leg.amount_minor < 0) {
        return Err(Refusal::Frozen {
            account: account(),
            debits: true,
        });
    }
    if book.terms().credits_frozen && own.any(|leg| leg.amount_minor > 0) {
        return Err(Refusal::Frozen {
            account: account(),
            debits: false,
        });
    }
    Ok(())
}

/// Lowers both legs to what lies above the floor of the negative one.
fn reduce_to_available(book: &Book, home: &str, legs: &mut [Leg]) -> Result<(), Refusal> {
    let Some(taken) = legs
        .iter()
        .find(|leg| leg.account == home && leg.amount_minor < 0)
    else {
        return Ok(());
    };
    let index = book.require_address(&taken.address, taken.currency.code())?;
    let Some(minimum_minor) = book.floor(index) else {
        return Ok(());
    };
    let balance = i128::from(book.balance(index));
    let available = balance - i128::from(minimum_minor);
    if available <= 0 {
        return Err(book.floor_broken(index, balance, i128::from(taken.amount_minor)));
    }
    let asked = -i128::from(taken.amount_minor);
    // At most what was asked, which is an i64.
    let amount = i64::try_from(available.min(asked)).unwrap_or(i64::MAX);
    for leg in legs {
        leg.amount_minor = if leg.amount_minor < 0 {
            -amount
        } else {
            amount
        };
    }
    Ok(())
}

fn entry_row(
    entry: &Entry,
    legs: &[Leg],
    digest: &[u8; 16],
    booked_us: i64,
    value_day: i32,
    hold: Option<&(EntryId, HoldRow)>,
) -> Vec<u8> {
    let row = EntryRowView {
        decision: Decision::Accepted.into(),
        digest,
        booked_us,
        legs: legs
            .iter()
            .map(|leg| EntryLegView {
                account: &leg.account,
                address: &leg.address,
                currency: leg.currency.code(),
                amount_minor: leg.amount_minor,
                ..EntryLegView::default()
            })
            .collect(),
        value_day,
        reference: &entry.reference,
        metadata: entry
            .metadata
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect(),
        actor: &entry.actor,
        reverses: entry
            .reverses
            .as_ref()
            .map_or(&[], |reverses| reverses.entry.0.as_slice()),
        hold_id: hold.map_or(&[], |(id, _)| id.0.as_slice()),
        up_to_available: entry.up_to_available,
        asked_minor: if entry.up_to_available {
            entry
                .legs
                .iter()
                .map(|leg| leg.amount_minor)
                .filter(|amount| *amount > 0)
                .sum()
        } else {
            0
        },
        ..EntryRowView::default()
    };
    row.encode_to_vec()
}
