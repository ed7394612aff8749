//! The index: from row to place in the log. It has what stands behind the last
//! checkpoint, and can be made anew from the log.
//!
//! It is made of `lsm-tree`, the LSM tree of fjall, a tree for each keyspace.
//! Not of fjall itself: the log is the journal, rows come in by sorted ingestion
//! only, and compaction must be able to fail (a full disk) and be tried again,
//! where fjall's own workers end for good.
//!
//! [`index_key`](super::index_key) has its keys. Under a partition's version stands
//! the key of its last event too, where that is known.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use lsm_tree::compaction::{CompactionStrategy, MoveDown, PullDown};
use lsm_tree::config::{
    BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry,
    PartitioningPolicy, PinningPolicy,
};
use lsm_tree::{
    AbstractTree, AnyTree, Cache, CompressionType, Config, DescriptorTable, Guard as _, SeqNo,
    SequenceNumberCounter,
};
use parking_lot::RwLock;

use crate::error::StoreError;
use crate::port::{KeyspaceId, PartitionId};
use crate::rows::{Direction, RowRange};

use super::index_key::{mark_key, row_key, version_key, versions_behind};
use super::memtable::FrozenSlot;
use super::options::EmbeddedOptions;
use super::ranges;
use super::segment::Place;
use super::tail::Tail;
use super::tiers;

const PLACE_BYTES: usize = 12;
/// Says in which format the index is. One in another format is made anew.
const FORMAT_FILE: &str = "FORMAT";
const FORMAT: &str = "lombard-index 2\n";
/// Open files.
const FILES_MAX: usize = 200;

/// The index of one store.
pub(super) struct Index {
    folder: PathBuf,
    cache: Arc<Cache>,
    files: Arc<DescriptorTable>,
    trees: RwLock<BTreeMap<KeyspaceId, Tree>>,
}

/// The part of one keyspace.
#[derive(Clone)]
pub(super) struct Tree {
    tree: AnyTree,
    /// Number of the last change that readers see.
    visible: SequenceNumberCounter,
}

/// What the index has of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) place: Place,
    /// The value, where it is small.
    pub(super) inline: Option<Bytes>,
}

/// A row and its new place.
pub(super) struct Placed {
    /// As the index has it: see [`row_key`].
    pub(super) key: Vec<u8>,
    /// How much of it is the partition's.
    pub(super) partition_bytes: usize,
    pub(super) place: Place,
    pub(super) inline: Option<Bytes>,
}

impl Index {
    /// Whether there is an index in this folder, in the format that this program reads.
    pub(super) fn is_there(folder: &Path) -> bool {
        fs::read_to_string(folder.join(FORMAT_FILE)).is_ok_and(|format| format == FORMAT)
    }

    /// The index in this folder: an empty one if there is none that this program reads.
    pub(super) fn open(folder: &Path, options: &EmbeddedOptions) -> Result<Self, StoreError> {
        if !Self::is_there(folder) {
            begin(folder).map_err(|error| failed("begin", &error.into()))?;
        }
        Ok(Self {
            folder: folder.to_path_buf(),
            cache: Arc::new(Cache::with_capacity_bytes(options.cache_bytes)),
            files: Arc::new(DescriptorTable::new(FILES_MAX)),
            trees: RwLock::default(),
        })
    }

    /// Opens a keyspace of it, or makes it.
    pub(super) fn add_keyspace(&self, id: KeyspaceId) -> Result<(), StoreError> {
        let seqno = SequenceNumberCounter::default();
        let visible = SequenceNumberCounter::default();
        // Rows that are not there are looked for all the time (an entry's id is
        // new): filters on every level. They and the block indexes are pinned in memory,
        // but of what was ingested only once it is merged or opened again (`lsm-tree`
        // leaves them to the cache until then).
        let tree = Config::new(
            self.folder.join(id.0.to_string()),
            seqno.clone(),
            visible.clone(),
        )
        .use_cache(self.cache.clone())
        .use_descriptor_table(Some(self.files.clone()))
        .expect_point_read_hits(false)
        .filter_policy(FilterPolicy::all(FilterPolicyEntry::Bloom(
            BloomConstructionPolicy::BitsPerKey(10.0),
        )))
        .filter_block_pinning_policy(PinningPolicy::all(true))
        .index_block_pinning_policy(PinningPolicy::all(true))
        .filter_block_partitioning_policy(PartitioningPolicy::all(false))
        .index_block_partitioning_policy(PartitioningPolicy::all(false))
        .data_block_compression_policy(CompressionPolicy::new([
            CompressionType::None,
            CompressionType::None,
            CompressionType::Lz4,
        ]))
        .open()
        .map_err(|error| failed("open", &error))?;
        let next = tree.get_highest_seqno().map_or(0, |last| last + 1);
        seqno.fetch_max(next);
        visible.fetch_max(next);
        self.trees.write().insert(id, Tree { tree, visible });
        Ok(())
    }

    /// The keyspace's part.
    pub(super) fn tree(&self, id: KeyspaceId) -> Result<Tree, StoreError> {
        self.trees
            .read()
            .get(&id)
            .cloned()
            .ok_or_else(|| StoreError::LimitExceeded(format!("keyspace {} was not opened", id.0)))
    }

    /// Merges what checkpoints wrote, until there is nothing worth merging. It
    /// reads and writes in the background; nobody waits for it.
    pub(super) fn compact(&self, pace: tiers::Pace) -> Result<u64, StoreError> {
        let trees: Vec<Tree> = self.trees.read().values().cloned().collect();
        let mut done = 0;
        for Tree { tree, visible } in trees {
            while let Some(step) = tiers::next(runs(&tree), pace) {
                let strategy: Arc<dyn CompactionStrategy> = match step {
                    tiers::Step::Merge(from, to) => Arc::new(PullDown(from, to)),
                    tiers::Step::Move(from, to) => Arc::new(MoveDown(from, to)),
                };
                let before = tree.current_version().id();
                // Whoever reads an older state holds on to its files.
                tree.compact(strategy, visible.get())
                    .map_err(|error| failed("merge", &error))?;
                if tree.current_version().id() == before {
                    break;
                }
                done += 1;
            }
        }
        Ok(done)
    }

    /// Sorted runs that a look-up may have to ask: the most of any keyspace.
    pub(super) fn runs(&self) -> usize {
        let trees = self.trees.read();
        let runs = trees.values().map(|tree| runs(&tree.tree).iter().sum());
        runs.max().unwrap_or(0)
    }

    /// The partition's version; none if it was never written.
    pub(super) fn version(&self, partition: &PartitionId) -> Result<Option<u64>, StoreError> {
        Ok(self.partition(partition)?.map(|(version, _)| version))
    }

    /// The partition's version, and the key of its last event, empty where that is not
    /// known; none if it was never written.
    pub(super) fn partition(
        &self,
        partition: &PartitionId,
    ) -> Result<Option<(u64, Bytes)>, StoreError> {
        let tree = self.tree(partition.keyspace)?.tree;
        partition_in(&tree, &partition.key)
    }

    /// What it has of a row.
    pub(super) fn get(
        &self,
        partition: &PartitionId,
        key: &[u8],
    ) -> Result<Option<Entry>, StoreError> {
        let found = self
            .tree(partition.keyspace)?
            .tree
            .get(row_key(&partition.key, key), SeqNo::MAX)
            .map_err(|error| failed("read", &error))?;
        found.map(|value| Entry::decode(&value)).transpose()
    }

    /// What it has of a range of rows, in the range's direction.
    pub(super) fn range(
        &self,
        partition: &PartitionId,
        range: &RowRange,
    ) -> Result<impl Iterator<Item = Result<(Bytes, Entry), StoreError>> + use<>, StoreError> {
        let tree = self.tree(partition.keyspace)?.tree;
        let mut rows =
            ranges::rows(&tree, &partition.key, range).map_err(|error| failed("read", &error))?;
        let skip = row_key(&partition.key, b"").len();
        let descending = range.direction == Direction::Descending;
        Ok(std::iter::from_fn(move || {
            let next = if descending {
                rows.next_back()
            } else {
                rows.next()
            }?;
            Some(match next {
                Ok((key, value)) => Entry::decode(&value).map(|entry| {
                    (
                        Bytes::copy_from_slice(key.get(skip..).unwrap_or_default()),
                        entry,
                    )
                }),
                Err(error) => Err(failed("read", &error)),
            })
        }))
    }

    /// The greatest key of the partition's rows that begin with this byte.
    pub(super) fn greatest(
        &self,
        partition: &PartitionId,
        first: u8,
    ) -> Result<Option<Bytes>, StoreError> {
        let range = RowRange::prefix(&[first], Direction::Descending, 1);
        let mut rows = self.range(partition, &range)?;
        rows.next().map(|row| row.map(|(key, _)| key)).transpose()
    }

    /// Keys of partitions of a keyspace, in order, behind `after`.
    pub(super) fn partitions(
        &self,
        keyspace: KeyspaceId,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        self.tree(keyspace)?
            .tree
            .range(versions_behind(after), SeqNo::MAX, None)
            .take(limit)
            .map(|next| match next.key() {
                Ok(key) => Ok(Bytes::copy_from_slice(key.get(1..).unwrap_or_default())),
                Err(error) => Err(failed("read", &error)),
            })
            .collect()
    }

    /// Writes the frozen rows of these slots, all of one keyspace, sorted by partition.
    /// It is all there afterwards, durably, or nothing is.
    pub(super) fn ingest(
        &self,
        keyspace: KeyspaceId,
        slots: &[FrozenSlot],
        inline_max: usize,
    ) -> Result<u64, StoreError> {
        let failed = |error: lsm_tree::Error| failed("write", &error);
        let tree = self.tree(keyspace)?.tree;
        let mut ingestion = tree.ingestion().map_err(failed)?;
        let mut value = Vec::new();
        for slot in slots {
            let key = slot.key.as_slice();
            value.clear();
            value.extend_from_slice(&slot.frozen.version.to_le_bytes());
            if let Tail::Unread = slot.frozen.tail {
                // It was written to by the log that was replayed, and by nobody since.
                let stored = partition_in(&tree, key)?;
                let stored = stored.as_ref().map(|(_, tail)| tail.as_ref());
                let tail = Tail::read(stored, &[&slot.frozen.rows]);
                value.extend_from_slice(tail.key().unwrap_or_default());
            } else {
                value.extend_from_slice(slot.frozen.tail.key().unwrap_or_default());
            }
            ingestion
                .write(version_key(key), value.as_slice())
                .map_err(failed)?;
        }
        let mut rows = 0;
        for slot in slots {
            let table = &slot.frozen.rows;
            if table.iter().next().is_none() {
                continue;
            }
            let mut row = row_key(slot.key.as_slice(), b"");
            ingestion.write(mark_key(&row), b"").map_err(failed)?;
            let prefix = row.len();
            for (key, cell) in table.iter() {
                row.truncate(prefix);
                row.extend_from_slice(key);
                if cell.deleted {
                    ingestion.write_tombstone(row.as_slice()).map_err(failed)?;
                } else {
                    value.clear();
                    let is_small = table.value_len(key, cell) <= inline_max;
                    let inline = if is_small {
                        table.bytes(key, cell)
                    } else {
                        None
                    };
                    encode_entry(&mut value, cell.place, inline);
                    ingestion
                        .write(row.as_slice(), value.as_slice())
                        .map_err(failed)?;
                }
                rows += 1;
            }
        }
        ingestion.finish().map_err(failed)?;
        Ok(rows)
    }

    /// Writes new places of rows that it has, sorted by key. It is all there afterwards,
    /// durably, or nothing is.
    pub(super) fn ingest_places(
        &self,
        keyspace: KeyspaceId,
        rows: &[Placed],
    ) -> Result<(), StoreError> {
        let failed = |error: lsm_tree::Error| failed("write", &error);
        let tree = self.tree(keyspace)?.tree;
        let mut ingestion = tree.ingestion().map_err(failed)?;
        let mut value = Vec::new();
        let mut marked: &[u8] = &[];
        for row in rows {
            let partition = row.key.get(..row.partition_bytes).unwrap_or_default();
            if partition != marked {
                ingestion.write(mark_key(partition), b"").map_err(failed)?;
                marked = partition;
            }
            value.clear();
            encode_entry(&mut value, row.place, row.inline.as_deref());
            ingestion
                .write(row.key.as_slice(), value.as_slice())
                .map_err(failed)?;
        }
        ingestion.finish().map_err(failed)
    }

    /// Bytes on disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        let trees = self.trees.read();
        trees.values().map(|tree| tree.tree.disk_space()).sum()
    }
}

impl Entry {
    fn decode(value: &[u8]) -> Result<Self, StoreError> {
        let u32_at = |at: usize| {
            value
                .get(at..at + 4)
                .and_then(|bytes| bytes.try_into().ok())
                .map(u32::from_le_bytes)
        };
        match (u32_at(0), u32_at(4), u32_at(8), value.get(PLACE_BYTES..)) {
            (Some(segment), Some(offset), Some(len), Some(rest)) => Ok(Self {
                place: Place {
                    segment,
                    offset,
                    len,
                },
                inline: rest
                    .split_first()
                    .map(|(_, value)| Bytes::copy_from_slice(value)),
            }),
            _ => Err(StoreError::Damaged(format!(
                "index entry of {} bytes: too short",
                value.len()
            ))),
        }
    }
}

/// The place; then, where the value is small, a zero and the value.
fn encode_entry(into: &mut Vec<u8>, place: Place, inline: Option<&[u8]>) {
    into.extend_from_slice(&place.segment.to_le_bytes());
    into.extend_from_slice(&place.offset.to_le_bytes());
    into.extend_from_slice(&place.len.to_le_bytes());
    if let Some(value) = inline {
        into.push(0);
        into.extend_from_slice(value);
    }
}

/// Makes an empty index. What this says is true of all that will be in it.
fn begin(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir_all(folder)?,
    }
    let mut file = File::create(folder.join(FORMAT_FILE))?;
    file.write_all(FORMAT.as_bytes())?;
    file.sync_all()?;
    File::open(folder)?.sync_all()
}

/// Runs in each level.
fn runs(tree: &AnyTree) -> [usize; tiers::LEVELS] {
    let version = tree.current_version();
    std::array::from_fn(|level| version.level(level).map_or(0, |level| level.run_count()))
}

/// A partition's version, and the key of its last event.
fn partition_in(tree: &AnyTree, partition: &[u8]) -> Result<Option<(u64, Bytes)>, StoreError> {
    let found = tree
        .get(version_key(partition), SeqNo::MAX)
        .map_err(|error| failed("read", &error))?;
    let parse = |value: &[u8]| {
        let (version, tail) = value.split_first_chunk()?;
        Some((u64::from_le_bytes(*version), Bytes::copy_from_slice(tail)))
    };
    let short = || StoreError::Damaged("index: a partition's version is too short".into());
    found
        .map(|value| parse(&value).ok_or_else(short))
        .transpose()
}

fn failed(what: &str, error: &lsm_tree::Error) -> StoreError {
    match error {
        lsm_tree::Error::Io(error) => {
            StoreError::Unavailable(format!("cannot {what} the index: {error}"))
        }
        _ => StoreError::Damaged(format!(
            "cannot {what} the index: {error}; stop, remove the folder \"index\" and start: it is made anew from the log"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_read_back() {
        let place = Place {
            segment: 3,
            offset: 4,
            len: 5,
        };
        for inline in [None, Some(Bytes::new()), Some(Bytes::from_static(b"xy"))] {
            let mut value = Vec::new();
            encode_entry(&mut value, place, inline.as_deref());
            assert_eq!(Entry::decode(&value).unwrap(), Entry { place, inline });
        }
    }
}
