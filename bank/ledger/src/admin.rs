//! What administration changes about an account. Each change is a journal row.

use std::collections::BTreeMap;

use lombard_store::{Fault, Rows, Stop};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::book::{Book, Note, Postings};
use crate::limits::ADDRESSES_PER_ACCOUNT_MAX;
use crate::refusal::Refusal;
use crate::rows::{AddressRow, Head, JournalKind};
use crate::state::State;

/// An address as it is asked for; its syntax and currency are checked already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAddress {
    /// "namespace/name".
    pub address: String,
    /// ISO 4217.
    pub currency: String,
    /// The lowest balance allowed; none: no limit.
    pub floor: Option<i64>,
}

/// An account as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenAccount {
    /// Chosen by the client.
    pub id: String,
    /// The legal entity.
    pub entity: String,
    /// 1 to 64.
    pub addresses: Vec<NewAddress>,
    /// For programs.
    pub metadata: BTreeMap<String, String>,
    /// Who opens it.
    pub actor: String,
}

/// Opens an account. Asked again with the same content it answers the same, with `true`.
///
/// # Errors
/// [`Refusal::IdReused`] with other content; duplicate addresses.
pub fn open(
    rows: &mut Rows<'_>,
    now_us: i64,
    asked: &OpenAccount,
) -> Result<(Head, State, bool), Stop<Refusal>> {
    let digest = opening_digest(asked);
    if let Some(book) = Book::take(rows)? {
        if book.head().digest != digest {
            return Err(Stop::Refused(Refusal::IdReused {
                id: asked.id.clone(),
                what: "account",
            }));
        }
        let (head, state) = unchanged(book, rows);
        return Ok((head, state, true));
    }
    let head = Head {
        account: asked.id.clone(),
        entity: asked.entity.clone(),
        metadata: asked.metadata.clone().into_iter().collect(),
        opened_us: now_us,
        digest,
        ..Head::default()
    };
    let mut book = Book::open(head);
    add(&mut book, &asked.addresses).map_err(Stop::Refused)?;
    let detail = json!({
        "entity": asked.entity,
        "addresses": addresses_json(&asked.addresses),
        "metadata": asked.metadata,
    });
    let (head, state) = finish(
        book,
        rows,
        JournalKind::Opened,
        now_us,
        &asked.actor,
        &detail,
    )?;
    Ok((head, state, false))
}

/// Adds addresses. One that exists already with the same floor is left as it is.
///
/// # Errors
/// The account is unknown or closed; an address exists with another floor; too many.
pub fn add_addresses(
    rows: &mut Rows<'_>,
    now_us: i64,
    account: &str,
    addresses: &[NewAddress],
    actor: &str,
) -> Result<(Head, State), Stop<Refusal>> {
    let mut book = open_book(rows, account)?;
    let mut missing = Vec::new();
    for address in addresses {
        match book.address(&address.address, &address.currency) {
            Some(index) if book.floor(index) == address.floor => {}
            Some(_) => {
                return Err(Stop::Refused(Refusal::invalid(
                    "ADDRESS_EXISTS_DIFFERENT",
                    format!(
                        "account {account} has {} in {} with another floor; set the floor instead",
                        address.address, address.currency
                    ),
                )));
            }
            None => missing.push(address.clone()),
        }
    }
    if missing.is_empty() {
        return Ok(unchanged(book, rows));
    }
    add(&mut book, &missing).map_err(Stop::Refused)?;
    let detail = json!({ "addresses": addresses_json(&missing) });
    finish(
        book,
        rows,
        JournalKind::AddressesAdded,
        now_us,
        actor,
        &detail,
    )
}

/// Sets or clears the floor of an address.
///
/// # Errors
/// The account or address is unknown; the account is closed.
pub fn set_floor(
    rows: &mut Rows<'_>,
    now_us: i64,
    account: &str,
    address: &NewAddress,
    actor: &str,
) -> Result<(Head, State), Stop<Refusal>> {
    let mut book = open_book(rows, account)?;
    let index = book
        .require_address(&address.address, &address.currency)
        .map_err(Stop::Refused)?;
    if book.floor(index) == address.floor {
        return Ok(unchanged(book, rows));
    }
    book.change_head(|head| {
        if let Some(row) = head.addresses.get_mut(index) {
            row.has_floor = address.floor.is_some();
            row.minimum_minor = address.floor.unwrap_or(0);
        }
    });
    let detail = json!({ "address": address.address, "currency": address.currency, "floor_minor": address.floor });
    finish(book, rows, JournalKind::FloorSet, now_us, actor, &detail)
}

/// Sets which directions are frozen.
///
/// # Errors
/// The account is unknown or closed.
pub fn freeze(
    rows: &mut Rows<'_>,
    now_us: i64,
    account: &str,
    (debits, credits): (bool, bool),
    actor: &str,
) -> Result<(Head, State), Stop<Refusal>> {
    let mut book = open_book(rows, account)?;
    if (book.head().debits_frozen, book.head().credits_frozen) == (debits, credits) {
        return Ok(unchanged(book, rows));
    }
    book.change_head(|head| {
        head.debits_frozen = debits;
        head.credits_frozen = credits;
    });
    finish(
        book,
        rows,
        JournalKind::Frozen,
        now_us,
        actor,
        &json!({ "debits": debits, "credits": credits }),
    )
}

/// Closes an account for good: only at zero, without open holds. Closing twice is closing once.
///
/// # Errors
/// [`Refusal::NotEmpty`] with what stands in the way.
pub fn close(
    rows: &mut Rows<'_>,
    now_us: i64,
    account: &str,
    actor: &str,
) -> Result<(Head, State), Stop<Refusal>> {
    let mut book = Book::take_required(rows, account)?;
    if book.head().closed {
        return Ok(unchanged(book, rows));
    }
    book.expire_holds(rows, now_us)?;
    let not_empty = |what| {
        Stop::Refused(Refusal::NotEmpty {
            account: account.to_owned(),
            what,
        })
    };
    if book.state.open_holds > 0 {
        return Err(not_empty(format!(
            "{} holds are open",
            book.state.open_holds
        )));
    }
    for (index, row) in book.head().addresses.iter().enumerate() {
        let balance = book.balance(index);
        if balance != 0 {
            return Err(not_empty(format!(
                "{} holds {balance} {} (minor units)",
                row.address, row.currency
            )));
        }
    }
    book.change_head(|head| head.closed = true);
    finish(book, rows, JournalKind::Closed, now_us, actor, &json!({}))
}

/// Replaces the metadata.
///
/// # Errors
/// The account is unknown or closed.
pub fn set_metadata(
    rows: &mut Rows<'_>,
    now_us: i64,
    account: &str,
    metadata: &BTreeMap<String, String>,
    actor: &str,
) -> Result<(Head, State), Stop<Refusal>> {
    let mut book = open_book(rows, account)?;
    let same = book.head().metadata.len() == metadata.len()
        && metadata
            .iter()
            .all(|(key, value)| book.head().metadata.get(key) == Some(value));
    if same {
        return Ok(unchanged(book, rows));
    }
    book.change_head(|head| head.metadata = metadata.clone().into_iter().collect());
    finish(
        book,
        rows,
        JournalKind::MetadataSet,
        now_us,
        actor,
        &json!({ "metadata": metadata }),
    )
}

fn open_book(rows: &mut Rows<'_>, account: &str) -> Result<Box<Book>, Stop<Refusal>> {
    let book = Book::take_required(rows, account)?;
    if book.head().closed {
        return Err(Stop::Refused(Refusal::Closed {
            account: account.to_owned(),
        }));
    }
    Ok(book)
}

/// What was asked for is so already.
fn unchanged(book: Box<Book>, rows: &mut Rows<'_>) -> (Head, State) {
    let answer = (book.head().clone(), book.state.clone());
    book.put_back(rows);
    answer
}

/// Expires what is due, and tells the change behind it.
fn finish(
    mut book: Box<Book>,
    rows: &mut Rows<'_>,
    kind: JournalKind,
    now_us: i64,
    actor: &str,
    detail: &serde_json::Value,
) -> Result<(Head, State), Stop<Refusal>> {
    book.expire_holds(rows, now_us)?;
    let detail = detail.to_string();
    book.journal(
        rows,
        Note {
            detail: &detail,
            ..Note::new(kind, now_us, actor)
        },
        &Postings::new(),
    )?;
    let answer = (book.head().clone(), book.state.clone());
    book.save(rows);
    Ok(answer)
}

fn add(book: &mut Book, addresses: &[NewAddress]) -> Result<(), Refusal> {
    for address in addresses {
        if book.address(&address.address, &address.currency).is_some() {
            return Err(Refusal::invalid(
                "DUPLICATE_ADDRESS",
                format!("{} in {} stands twice", address.address, address.currency),
            ));
        }
        let row = AddressRow {
            address: address.address.clone(),
            currency: address.currency.clone(),
            has_floor: address.floor.is_some(),
            minimum_minor: address.floor.unwrap_or(0),
            ..AddressRow::default()
        };
        book.change_head(|head| head.addresses.push(row));
    }
    book.state.balances.resize(book.head().addresses.len(), 0);
    if book.head().addresses.len() > ADDRESSES_PER_ACCOUNT_MAX {
        return Err(Refusal::Limit {
            reason: "TOO_MANY_ADDRESSES",
            message: format!("an account has at most {ADDRESSES_PER_ACCOUNT_MAX} addresses"),
        });
    }
    Ok(())
}

fn addresses_json(addresses: &[NewAddress]) -> serde_json::Value {
    let one = |address: &NewAddress| json!({ "address": address.address, "currency": address.currency, "floor_minor": address.floor });
    addresses.iter().map(one).collect()
}

/// SHA-256 over the opening request, field by field with lengths.
fn opening_digest(asked: &OpenAccount) -> Vec<u8> {
    let mut hash = Sha256::new();
    let mut text = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    text(asked.id.as_bytes());
    text(asked.entity.as_bytes());
    for address in &asked.addresses {
        text(address.address.as_bytes());
        text(address.currency.as_bytes());
        text(
            address
                .floor
                .map_or(Vec::new(), |floor| floor.to_le_bytes().to_vec())
                .as_slice(),
        );
    }
    for (key, value) in &asked.metadata {
        text(key.as_bytes());
        text(value.as_bytes());
    }
    text(asked.actor.as_bytes());
    hash.finalize().to_vec()
}

/// Whether the account exists: a page of partitions can hold others.
///
/// # Errors
/// A fault of the store.
pub fn exists(rows: &Rows<'_>) -> Result<bool, Fault> {
    Ok(Book::load_head(rows)?.is_some())
}
