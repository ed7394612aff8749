//! Postings of an account: paged, filtered on both time axes.

use std::ops::Bound;

use bytes::Bytes;
use lombard_contracts::bank::ledger::v1::{ListPostingsResponse, Posting};
use lombard_store::{Direction, RowRange, Rows, Stop};

use super::{page, read_journal};
use crate::book::Book;
use crate::refusal::Refusal;
use crate::rows::{self, Journal};
use crate::types::{EntryId, print_day};

/// Journal rows that one call looks through: what a filter leaves out costs too.
const ROWS_SCANNED_MAX: usize = 10_000;
const ROWS_PER_READ: usize = 256;

/// Which postings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// "namespace/name"; empty: all.
    pub address: String,
    /// ISO 4217; empty: all.
    pub currency: String,
    /// Booked at or after; 0: the beginning.
    pub booked_from_us: i64,
    /// Booked before; 0: no end.
    pub booked_to_us: i64,
    /// Value day at or after.
    pub value_from: Option<i32>,
    /// Value day before.
    pub value_to: Option<i32>,
    /// Newest first.
    pub descending: bool,
    /// From the page before; empty: the first page.
    pub page_token: String,
    /// At most so many postings.
    pub page_size: usize,
}

/// Where a page begins: a journal row, and how many of its postings are on earlier pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    booked_us: i64,
    skip: u16,
}

impl Place {
    fn token(self) -> String {
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&self.booked_us.to_be_bytes());
        bytes[8..].copy_from_slice(&self.skip.to_be_bytes());
        page::token(&bytes)
    }

    fn parse(token: &str) -> Result<Option<Self>, Refusal> {
        Ok(
            page::place::<10>(token)?.map(|[a, b, c, d, e, f, g, h, i, j]| Self {
                booked_us: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
                skip: u16::from_be_bytes([i, j]),
            }),
        )
    }
}

/// One page of postings. With filters a page can be short, even empty, and still have a next one.
///
/// # Errors
/// [`Refusal::AccountNotFound`], `ADDRESS_NOT_FOUND`, `PAGE_TOKEN_INVALID`; a fault of the store.
pub fn list(
    rows: &Rows<'_>,
    account: &str,
    query: &Query,
    now_us: i64,
) -> Result<ListPostingsResponse, Stop<Refusal>> {
    let start = Place::parse(&query.page_token).map_err(Stop::Refused)?;
    super::current(rows, account, now_us, |rows, book| {
        let wanted = wanted_addresses(book, query).map_err(Stop::Refused)?;
        let mut answer = ListPostingsResponse::default();
        let mut next = start;
        let mut scanned = 0;
        loop {
            let found = rows.range(&range(query, next))?;
            for row in &found {
                let (booked_us, journal) = read_journal(row)?;
                let skip = next
                    .filter(|place| place.booked_us == booked_us)
                    .map_or(0, |place| place.skip);
                let page = Page {
                    query,
                    wanted: &wanted,
                    book,
                };
                if let Some(place) = page.take(&mut answer.postings, booked_us, &journal, skip) {
                    answer.next_page_token = place.token();
                    return Ok(answer);
                }
                scanned += 1;
                next = Some(Place {
                    booked_us,
                    skip: u16::MAX,
                });
            }
            if found.len() < ROWS_PER_READ {
                return Ok(answer);
            }
            if let Some(place) = next.filter(|_| scanned >= ROWS_SCANNED_MAX) {
                answer.next_page_token = place.token();
                return Ok(answer);
            }
        }
    })
}

/// The journal rows from the place on, within the booked filter. A row whose
/// postings are all on earlier pages (`skip` is the maximum) is left out.
fn range(query: &Query, start: Option<Place>) -> RowRange {
    let key = |us: i64| Bytes::copy_from_slice(&rows::journal_key(us));
    let mut from = Bound::Included(key(query.booked_from_us.max(0)));
    let mut to = match query.booked_to_us {
        0 => Bound::Included(key(i64::MAX)),
        us => Bound::Excluded(key(us.max(0))),
    };
    if let Some(place) = start {
        let bound = match place.skip {
            u16::MAX => Bound::Excluded(key(place.booked_us)),
            _ => Bound::Included(key(place.booked_us)),
        };
        if query.descending {
            to = bound;
        } else {
            from = bound;
        }
    }
    let direction = if query.descending {
        Direction::Descending
    } else {
        Direction::Ascending
    };
    RowRange {
        from,
        to,
        direction,
        limit: ROWS_PER_READ,
    }
}

/// Which addresses of the account the query is about.
fn wanted_addresses(book: &Book, query: &Query) -> Result<Vec<bool>, Refusal> {
    let wanted: Vec<bool> = book
        .head()
        .addresses
        .iter()
        .map(|row| {
            (query.address.is_empty() || row.address == query.address)
                && (query.currency.is_empty() || row.currency == query.currency)
        })
        .collect();
    let named = !query.address.is_empty() || !query.currency.is_empty();
    if named && !wanted.contains(&true) {
        return Err(Refusal::NotFound {
            reason: "ADDRESS_NOT_FOUND",
            message: format!(
                "account {} has no address {} {}",
                book.head().account,
                query.address,
                query.currency
            ),
        });
    }
    Ok(wanted)
}

struct Page<'a> {
    query: &'a Query,
    wanted: &'a [bool],
    book: &'a Book,
}

impl Page<'_> {
    /// Takes a journal row's postings; where the page is full: where the next begins.
    fn take(
        &self,
        postings: &mut Vec<Posting>,
        booked_us: i64,
        journal: &Journal,
        skip: u16,
    ) -> Option<Place> {
        let day = journal.value_day;
        if self.query.value_from.is_some_and(|from| day < from)
            || self.query.value_to.is_some_and(|to| day >= to)
        {
            return None;
        }
        let mut outcomes = rows::posting_outcomes(journal);
        if self.query.descending {
            outcomes.reverse();
        }
        for (place, (index, amount_minor, _, balance_minor)) in
            outcomes.into_iter().enumerate().skip(usize::from(skip))
        {
            if !self.wanted.get(index).copied().unwrap_or(false) {
                continue;
            }
            if postings.len() == self.query.page_size {
                // An entry has at most 128 legs, so a row has few postings.
                return Some(Place {
                    booked_us,
                    skip: u16::try_from(place).unwrap_or(u16::MAX),
                });
            }
            let row = self
                .book
                .head()
                .addresses
                .get(index)
                .cloned()
                .unwrap_or_default();
            let id = |bytes: &[u8]| {
                EntryId::from_slice(bytes)
                    .map(|id| id.to_string())
                    .unwrap_or_default()
            };
            postings.push(Posting {
                entry_id: id(&journal.entry_id),
                home: journal.home.clone(),
                address: row.address,
                currency: row.currency,
                amount_minor,
                balance_minor,
                booked_us,
                value_date: print_day(day),
                reference: journal.reference.clone(),
                event_number: journal.number,
                hold_id: id(&journal.hold_id),
                ..Posting::default()
            });
        }
        None
    }
}
