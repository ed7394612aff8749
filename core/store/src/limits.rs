//! Every limit of the store, named; checked before anything reaches an engine.

use std::ops::Bound;

use bytes::Bytes;

use crate::error::StoreError;
use crate::rows::{Change, Changes, RowRange};

/// Longest name of a keyspace, in bytes.
pub const KEYSPACE_NAME_BYTES_MAX: usize = 32;
/// Longest key of a partition, in bytes. The shortest is one byte.
pub const PARTITION_KEY_BYTES_MAX: usize = 255;
/// Longest key of a row, in bytes. The shortest is one byte.
pub const ROW_KEY_BYTES_MAX: usize = 512;
/// Largest value of a row, in bytes.
pub const VALUE_BYTES_MAX: usize = 4 << 20;
/// Most rows that one commit changes.
pub const COMMIT_ROWS_MAX: usize = 1 << 17;
/// Most bytes of keys and values in one commit.
pub const COMMIT_BYTES_MAX: usize = 8 << 20;
/// Most keys or events in one page.
pub const PAGE_MAX: usize = 10_000;

/// Row keys from here on belong to the store itself: services neither see nor write them.
pub const RESERVED_KEYS: &[u8] = b"\xff\xff";
/// The row by which the store finds out what became of a commit: each combined commit
/// replaces it, so an engine may want to keep it where the version is.
pub const COMMIT_MARKER_KEY: &[u8] = b"\xff\xffcommit";

/// Checks a keyspace's name: 1 to [`KEYSPACE_NAME_BYTES_MAX`] of a–z 0–9 _.
///
/// # Errors
/// [`StoreError::LimitExceeded`] says what is wrong with it.
pub fn check_keyspace(name: &str) -> Result<(), StoreError> {
    let right = (1..=KEYSPACE_NAME_BYTES_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if right {
        return Ok(());
    }
    Err(StoreError::LimitExceeded(format!(
        "keyspace name {name:?}: give 1 to {KEYSPACE_NAME_BYTES_MAX} of a-z 0-9 _"
    )))
}

/// Checks a partition's key.
///
/// # Errors
/// [`StoreError::LimitExceeded`] if it is empty or too long.
pub fn check_partition(key: &[u8]) -> Result<(), StoreError> {
    within(
        "partition key, bytes",
        key.len(),
        1,
        PARTITION_KEY_BYTES_MAX,
    )
}

/// Checks what a commit would write.
///
/// # Errors
/// [`StoreError::LimitExceeded`] names the limit and what exceeded it.
pub fn check_changes(changes: &Changes) -> Result<(), StoreError> {
    within("rows in a commit", changes.rows.len(), 0, COMMIT_ROWS_MAX)?;
    let mut bytes = 0;
    for (key, change) in &changes.rows {
        within("row key, bytes", key.len(), 1, ROW_KEY_BYTES_MAX)?;
        if key.starts_with(RESERVED_KEYS) {
            return Err(StoreError::LimitExceeded(format!(
                "row key {}: keys that begin with ff ff are the store's own",
                key.escape_ascii()
            )));
        }
        let value = change.value().map_or(0, Bytes::len);
        if value > VALUE_BYTES_MAX {
            return Err(StoreError::LimitExceeded(format!(
                "value of row {}: {value} bytes, at most {VALUE_BYTES_MAX} are allowed",
                key.escape_ascii()
            )));
        }
        bytes += change_bytes(key, change);
    }
    within("bytes in a commit", bytes, 0, COMMIT_BYTES_MAX)
}

/// The bytes of key and value, as [`COMMIT_BYTES_MAX`] counts them.
pub(crate) fn change_bytes(key: &Bytes, change: &Change) -> usize {
    key.len() + change.value().map_or(0, Bytes::len)
}

fn within(what: &str, is: usize, min: usize, max: usize) -> Result<(), StoreError> {
    if (min..=max).contains(&is) {
        return Ok(());
    }
    Err(StoreError::LimitExceeded(format!(
        "{what}: {is}, allowed are {min} to {max}"
    )))
}

/// The part of a range that lies before the store's own rows.
pub(crate) fn without_reserved(range: &RowRange) -> RowRange {
    let mut range = range.clone();
    let reaches_in = match &range.to {
        Bound::Included(to) => to.as_ref() >= RESERVED_KEYS,
        Bound::Excluded(to) => to.as_ref() > RESERVED_KEYS,
        Bound::Unbounded => true,
    };
    if reaches_in {
        range.to = Bound::Excluded(Bytes::from_static(RESERVED_KEYS));
    }
    range
}
