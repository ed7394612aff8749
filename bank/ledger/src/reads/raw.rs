//! All rows of an account, as they are stored: what an auditor reads.

use std::ops::Bound;

use bytes::Bytes;
use lombard_contracts::bank::ledger::v1::{ReadRowsResponse, Row};
use lombard_store::{Direction, Fault, RowRange, Rows};

/// Bytes of one page, about: a page ends with the row that goes beyond.
const PAGE_BYTES_MAX: usize = 1 << 20;
const ROWS_PER_READ: usize = 128;

/// A page of rows behind `after_key`, in key order, with the version of the
/// account that they belong to: pages of different versions do not fit together.
///
/// # Errors
/// A fault of the store.
pub fn page(
    rows: &Rows<'_>,
    after_key: &[u8],
    page_size: usize,
) -> Result<ReadRowsResponse, Fault> {
    let mut answer = ReadRowsResponse {
        version: rows.version().0,
        ..ReadRowsResponse::default()
    };
    let mut from = match after_key {
        [] => Bound::Unbounded,
        key => Bound::Excluded(Bytes::copy_from_slice(key)),
    };
    let mut bytes = 0;
    loop {
        let range = RowRange {
            from,
            to: Bound::Unbounded,
            direction: Direction::Ascending,
            limit: ROWS_PER_READ,
        };
        let found = rows.range(&range)?;
        let end = found.len() < ROWS_PER_READ;
        from = match found.last() {
            Some((key, _)) => Bound::Excluded(key.clone()),
            None => return Ok(answer),
        };
        for (key, value) in found {
            if answer.rows.len() == page_size || bytes > PAGE_BYTES_MAX {
                answer.more = true;
                return Ok(answer);
            }
            bytes += key.len() + value.len();
            answer.rows.push(Row {
                key: key.to_vec(),
                value: value.to_vec(),
                ..Row::default()
            });
        }
        if end {
            return Ok(answer);
        }
    }
}
