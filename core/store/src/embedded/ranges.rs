//! A range of one partition's rows, read from those tables of the index that have any.
//!
//! A seek costs some microseconds in each sorted run, and runs are some dozens
//! while there is much to commit. Most have nothing of the partition. Whether a
//! table does is asked of its filter: the partition's mark comes before
//! its rows ([`index_key`](super::index_key)), so it is in the same table, unless
//! the table begins with the partition's rows.
//!
//! It is decided for each table by itself, because `lsm-tree` gathers tables that do
//! not overlap in a run, wherever they came from.

use std::ops::Bound;

use lsm_tree::merge::Merger;
use lsm_tree::mvcc_stream::MvccStream;
use lsm_tree::table::filter::standard_bloom::Builder;
use lsm_tree::{AbstractTree, AnyTree, BoxedIterator, InternalValue, SeqNo, Slice, Table};

use crate::rows::RowRange;

use super::index_key::{mark_key, row_key};

/// Keys and values of the partition's rows that are in the range, whatever its
/// direction and limit are: from the front or from the back.
pub(super) fn rows(
    tree: &AnyTree,
    partition: &[u8],
    range: &RowRange,
) -> lsm_tree::Result<impl DoubleEndedIterator<Item = lsm_tree::Result<(Slice, Slice)>> + use<>> {
    let begin = row_key(partition, b"");
    let hash = Builder::get_hash(mark_key(&begin));
    let at = |key: &[u8]| Slice::from(row_key(partition, key));
    let from = match &range.from {
        Bound::Included(key) => Bound::Included(at(key)),
        Bound::Excluded(key) => Bound::Excluded(at(key)),
        Bound::Unbounded => Bound::Included(Slice::from(begin.as_slice())),
    };
    let to = match &range.to {
        Bound::Included(key) => Bound::Included(at(key)),
        Bound::Excluded(key) => Bound::Excluded(at(key)),
        Bound::Unbounded => {
            // Behind all rows of the partition: they begin with 00 00, this ends 00 01.
            let mut end = begin.clone();
            if let Some(last) = end.last_mut() {
                *last = 1;
            }
            Bound::Excluded(Slice::from(end))
        }
    };
    let mut tables: Vec<BoxedIterator<'static>> = Vec::new();
    let version = tree.current_version();
    for table in version.iter_tables() {
        if has_some(table, &begin, hash, &from, &to)? {
            tables.push(Box::new(table.range((from.clone(), to.clone()))));
        }
    }
    Ok(
        MvccStream::new(Merger::new(tables)).filter_map(move |found| {
            // Files that are merged away meanwhile stay while somebody has this version.
            let _kept = &version;
            as_row(found)
        }),
    )
}

/// Whether a table may have rows of the range.
fn has_some(
    table: &Table,
    begin: &[u8],
    hash: u64,
    from: &Bound<Slice>,
    to: &Bound<Slice>,
) -> lsm_tree::Result<bool> {
    let keys = &table.metadata.key_range;
    let bounds = (
        from.as_ref().map(AsRef::as_ref),
        to.as_ref().map(AsRef::as_ref),
    );
    if !keys.overlaps_with_bounds(&bounds) {
        return Ok(false);
    }
    if keys.min().starts_with(begin) {
        return Ok(true);
    }
    match &table.pinned_filter_block {
        Some(filter) => filter.maybe_contains_hash(hash),
        // What a checkpoint wrote has its filter in the cache: it is asked on the way.
        None => Ok(table.get(mark_key(begin), SeqNo::MAX, hash)?.is_some()),
    }
}

/// What is deleted is none.
fn as_row(found: lsm_tree::Result<InternalValue>) -> Option<lsm_tree::Result<(Slice, Slice)>> {
    match found {
        Ok(row) if row.is_tombstone() => None,
        Ok(row) => Some(Ok((row.key.user_key, row.value))),
        Err(error) => Some(Err(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use lsm_tree::compaction::PullDown;
    use lsm_tree::config::BloomConstructionPolicy;
    use lsm_tree::config::{FilterPolicy, FilterPolicyEntry, PartitioningPolicy, PinningPolicy};
    use lsm_tree::{Config, Guard as _, SequenceNumberCounter};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::rows::Direction;

    const PARTITIONS: [&[u8]; 5] = [b"a", b"a\0", b"b", b"\0", b"c"];

    fn tree(folder: &std::path::Path) -> (AnyTree, SequenceNumberCounter) {
        let visible = SequenceNumberCounter::default();
        let tree = Config::new(folder, SequenceNumberCounter::default(), visible.clone())
            .expect_point_read_hits(false)
            .filter_policy(FilterPolicy::all(FilterPolicyEntry::Bloom(
                BloomConstructionPolicy::BitsPerKey(10.0),
            )))
            .filter_block_pinning_policy(PinningPolicy::all(true))
            .filter_block_partitioning_policy(PartitioningPolicy::all(false))
            .open()
            .unwrap();
        (tree, visible)
    }

    /// Writes rows (partition, key, deleted) as a checkpoint does.
    fn ingest(tree: &AnyTree, rows: &[(usize, u8, bool)], value: u8) {
        let mut keys = std::collections::BTreeMap::new();
        for (partition, key, deleted) in rows {
            let begin = row_key(PARTITIONS[*partition], b"");
            keys.insert(mark_key(&begin).to_vec(), false);
            keys.insert(row_key(PARTITIONS[*partition], &[*key]), *deleted);
        }
        let mut ingestion = tree.ingestion().unwrap();
        for (key, deleted) in keys {
            if deleted {
                ingestion.write_tombstone(key).unwrap();
            } else {
                ingestion.write(key, [value]).unwrap();
            }
        }
        ingestion.finish().unwrap();
    }

    fn range(from: u8, to: u8) -> RowRange {
        RowRange {
            from: Bound::Included(Bytes::copy_from_slice(&[from])),
            to: Bound::Excluded(Bytes::copy_from_slice(&[to])),
            direction: Direction::Ascending,
            limit: usize::MAX,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_range_is_what_the_whole_tree_has_of_it(
            runs in vec((vec((0..PARTITIONS.len(), 0..20_u8, any::<bool>()), 1..30), any::<bool>()), 1..12),
            asked in vec((0..PARTITIONS.len(), 0..20_u8, 0..22_u8), 12),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let (tree, visible) = tree(folder.path());
            for (at, (rows, merge)) in runs.iter().enumerate() {
                ingest(&tree, rows, at as u8);
                if *merge {
                    tree.compact(Arc::new(PullDown(0, 1)), visible.get()).unwrap();
                }
            }
            for (partition, from, to) in asked {
                let partition = PARTITIONS[partition];
                let bounds = row_key(partition, &[from])..row_key(partition, &[from.max(to)]);
                let expected: Vec<_> = tree
                    .range(bounds, SeqNo::MAX, None)
                    .map(|row| row.into_inner().unwrap())
                    .collect();
                let range = range(from, from.max(to));
                let found = rows(&tree, partition, &range).unwrap();
                prop_assert_eq!(found.collect::<Result<Vec<_>, _>>().unwrap(), expected.clone());
                let mut back = rows(&tree, partition, &range).unwrap().rev().collect::<Result<Vec<_>, _>>().unwrap();
                back.reverse();
                prop_assert_eq!(back, expected);
            }
        }
    }

    #[test]
    fn what_is_being_read_outlasts_a_merge() {
        let folder = tempfile::tempdir().unwrap();
        let (tree, visible) = tree(folder.path());
        for run in 0..4 {
            ingest(&tree, &[(0, run, false), (0, 20 + run, false)], run);
        }
        let reading = rows(&tree, b"a", &range(0, 90)).unwrap();
        tree.compact(Arc::new(PullDown(0, 1)), visible.get())
            .unwrap();
        assert_eq!(tree.current_version().table_count(), 1);
        assert_eq!(reading.map(Result::unwrap).count(), 8);
    }

    #[test]
    fn tables_without_the_partition_are_not_asked() {
        let folder = tempfile::tempdir().unwrap();
        let (tree, _) = tree(folder.path());
        for run in 0..40 {
            // "a" and "c" around "b", which only one run has. (A filter of few rows errs often.)
            let rows: Vec<_> = (0..200)
                .map(|key| (usize::from(key % 2) * 4, key, false))
                .collect();
            ingest(&tree, &rows, run);
        }
        ingest(&tree, &[(2, 7, false)], 0);
        let asked = |partition: &[u8]| {
            let begin = row_key(partition, b"");
            let hash = Builder::get_hash(mark_key(&begin));
            let from = Bound::Included(Slice::from(row_key(partition, &[0])));
            let to = Bound::Included(Slice::from(row_key(partition, &[90])));
            let version = tree.current_version();
            let tables = version.iter_tables();
            tables
                .filter(|table| has_some(table, &begin, hash, &from, &to).unwrap())
                .count()
        };
        assert_eq!(asked(b"a"), 40);
        // A filter errs once in a hundred times.
        assert!((1..6).contains(&asked(b"b")), "{}", asked(b"b"));
    }
}
