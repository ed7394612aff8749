//! Keys of the index, in their order:
//!
//! - `00`, partition: the partition's version.
//! - `01`, partition, `00`: the partition's mark. Whatever is written of a
//!   partition's rows at once is written with it, and it comes before them all: so
//!   a filter that rules it out rules out all rows behind it (see
//!   [`ranges`](super::ranges)).
//! - `01`, partition, `00 00`, row key: a row.
//!
//! A zero byte in a partition's key is written `00 ff` in the latter two, so that
//! rows sort by partition, then by key.

use std::ops::Bound;

const VERSION: u8 = 0;
const ROW: u8 = 1;

/// The key of a partition's version.
pub(super) fn version_key(partition: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + partition.len());
    key.push(VERSION);
    key.extend_from_slice(partition);
    key
}

/// The versions of all partitions behind one, or of all.
pub(super) fn versions_behind(after: Option<&[u8]>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let from = match after {
        Some(key) => Bound::Excluded(version_key(key)),
        None => Bound::Included(vec![VERSION]),
    };
    (from, Bound::Excluded(vec![ROW]))
}

/// A row's key. Of the empty row key: what all rows of the partition begin with.
pub(super) fn row_key(partition: &[u8], key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(partition.len() + key.len() + 8);
    row.push(ROW);
    for byte in partition {
        row.push(*byte);
        if *byte == 0 {
            row.push(0xff);
        }
    }
    row.extend_from_slice(&[0, 0]);
    row.extend_from_slice(key);
    row
}

/// The key of a partition's mark, from what all its rows begin with.
pub(super) fn mark_key(rows_begin: &[u8]) -> &[u8] {
    rows_begin.split_last().map_or(rows_begin, |(_, mark)| mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&[u8]; 7] = [b"\0", b"\0\0", b"\0\x01", b"a", b"a\0", b"a\0b", b"b"];

    #[test]
    fn row_keys_sort_by_partition_then_by_key_behind_the_partitions_mark() {
        let keys: [&[u8]; 5] = [b"", b"\0", b"\x01", b"m", b"\xff\xff"];
        let mut all = Vec::new();
        for name in NAMES {
            all.push(mark_key(&row_key(name, b"")).to_vec());
            for key in keys {
                all.push(row_key(name, key));
            }
        }
        assert!(all.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn versions_sort_by_partition_and_before_all_rows() {
        let mut all: Vec<_> = NAMES.map(version_key).to_vec();
        all.push(mark_key(&row_key(b"", b"")).to_vec());
        assert!(all.is_sorted_by(|a, b| a < b));
    }
}
