//! What was written since the last checkpoint, in memory, by partition.
//!
//! A partition's slot has the rows that commits put there since the last
//! freeze (`active`) and those that the running checkpoint writes to the index
//! (`frozen`). Reads look at active, frozen, index, in this order.

use std::cell::RefCell;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use parking_lot::{Mutex, MutexGuard};

use crate::port::{KeyspaceId, PartitionId, PartitionRef};
use crate::rows::Kept;

use super::key::SmallKey;
use super::known::Known;
use super::record::partition_crc;
use super::segment::Place;
use super::table::{Before, Table};
use super::tail::Tail;

/// How often a busy slot is tried before its thread sleeps.
const SPINS: usize = 300;
/// Shards of the partitions' map. Each is locked for the time of one look-up only.
const SHARDS: usize = 256;

/// Slots that a thread has at hand.
const AT_HAND: usize = 4;

thread_local! {
    static AT_HAND_HERE: RefCell<AtHand> = const { RefCell::new(AtHand::new()) };
}

/// The slots that this thread looked up last. Who works on an entry comes back to each
/// of its accounts, and to find a slot among all costs some waits for memory.
struct AtHand {
    /// With the number of the memtable.
    slots: [Option<(u64, Arc<Slot>)>; AT_HAND],
    next: usize,
}

impl AtHand {
    const fn new() -> Self {
        Self {
            slots: [const { None }; AT_HAND],
            next: 0,
        }
    }

    fn find(&self, memtable: u64, hash: u64, id: PartitionRef<'_>) -> Option<Arc<Slot>> {
        let mut all = self.slots.iter().flatten();
        all.find(|(owner, slot)| *owner == memtable && slot.is(hash, id))
            .map(|(_, slot)| slot.clone())
    }

    fn add(&mut self, memtable: u64, slot: Arc<Slot>) {
        self.slots[self.next] = Some((memtable, slot));
        self.next = (self.next + 1) % AT_HAND;
    }
}

/// A partition in memory.
pub(super) struct Slot {
    pub(super) id: PartitionId,
    /// The key again, where it stands beside the rest: to compare it is no wait more.
    key: SmallKey,
    hash: u64,
    /// What its rows' checksums begin with.
    pub(super) crc: u32,
    pub(super) state: Mutex<SlotState>,
}

impl Slot {
    /// Whether it is this partition's, whose hash this is.
    fn is(&self, hash: u64, id: PartitionRef<'_>) -> bool {
        self.hash == hash && self.id.keyspace == id.keyspace && self.key.as_slice() == id.key
    }

    /// What is known of it, for this thread alone. A commit takes a microsecond or two: to
    /// wait for that is less than to sleep and be woken.
    pub(super) fn lock(&self) -> MutexGuard<'_, SlotState> {
        for _ in 0..SPINS {
            if let Some(state) = self.state.try_lock() {
                return state;
            }
            std::hint::spin_loop();
        }
        self.state.lock()
    }
}

/// What is known of a partition.
#[derive(Default)]
pub(super) struct SlotState {
    /// Of the last sequenced commit; none before it was looked up.
    pub(super) version: Option<u64>,
    /// Where the last sequenced commit ends in the log; zero: it is in the index already.
    pub(super) position: u64,
    pub(super) active: Table,
    /// With the version that they make.
    pub(super) frozen: Option<Arc<Frozen>>,
    /// What is known of the index's rows without asking it.
    pub(super) known: Known,
    /// The last of the partition's events.
    pub(super) tail: Tail,
    /// What the last function kept of the rows, as they are in `version`.
    pub(super) kept: Option<Kept>,
    /// It stands in its shard's dirty list.
    dirty: bool,
}

/// What a checkpoint writes of one partition.
pub(super) struct Frozen {
    pub(super) version: u64,
    pub(super) tail: Tail,
    pub(super) rows: Table,
}

/// A partition of which rows are frozen, with what a checkpoint needs of it at hand.
pub(super) struct FrozenSlot {
    pub(super) keyspace: KeyspaceId,
    pub(super) key: SmallKey,
    pub(super) frozen: Arc<Frozen>,
    slot: Arc<Slot>,
}

/// All partitions in memory.
pub(super) struct Memtable {
    /// Tells it from others in this process.
    number: u64,
    shards: Vec<Shard>,
    hasher: RandomState,
    active_bytes: AtomicUsize,
    frozen_bytes: AtomicUsize,
    /// Copies of rows that the index has.
    kept_bytes: AtomicUsize,
    kept_bytes_max: usize,
    idle_per_shard_max: usize,
}

#[derive(Default)]
struct Shard {
    /// By hash. It holds nothing but where they are, so that it stays in the processor's
    /// caches: what else tells them apart stands in the slot, which is wanted anyway.
    slots: Mutex<HashTable<Arc<Slot>>>,
    dirty: Mutex<Vec<Arc<Slot>>>,
}

impl Memtable {
    /// An empty one, that keeps about so many idle partitions at hand.
    pub(super) fn new(partitions_idle_max: usize, kept_bytes_max: usize) -> Self {
        static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);
        Self {
            number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed),
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: RandomState::default(),
            active_bytes: AtomicUsize::new(0),
            frozen_bytes: AtomicUsize::new(0),
            kept_bytes: AtomicUsize::new(0),
            kept_bytes_max,
            idle_per_shard_max: partitions_idle_max / SHARDS,
        }
    }

    /// The partition's slot, made where there is none.
    pub(super) fn slot(&self, id: PartitionRef<'_>) -> Arc<Slot> {
        let hash = self.hasher.hash_one(id);
        AT_HAND_HERE.with_borrow_mut(|at_hand| {
            at_hand.find(self.number, hash, id).unwrap_or_else(|| {
                let slot = self.find_slot(id, hash);
                at_hand.add(self.number, slot.clone());
                slot
            })
        })
    }

    fn find_slot(&self, id: PartitionRef<'_>, hash: u64) -> Arc<Slot> {
        let mut slots = self.shard(hash).slots.lock();
        if let Some(slot) = slots.find(hash, |slot| slot.is(hash, id)) {
            return slot.clone();
        }
        if slots.len() > 2 * self.idle_per_shard_max + 16 {
            self.drop_idle(&mut slots);
        }
        let slot = Arc::new(Slot {
            id: id.to_id(),
            key: SmallKey::new(id.key),
            hash,
            crc: partition_crc(id),
            state: Mutex::default(),
        });
        slots.insert_unique(hash, slot.clone(), |slot| slot.hash);
        slot
    }

    fn shard(&self, hash: u64) -> &Shard {
        // The high bits: the map inside takes the low ones. There are SHARDS of them.
        &self.shards[(hash >> 56) as usize % SHARDS]
    }

    /// Notes, before its commit is sequenced, that the slot will have rows to write.
    pub(super) fn mark_dirty(&self, slot: &Arc<Slot>, state: &mut SlotState) {
        if !state.dirty {
            state.dirty = true;
            self.shard(slot.hash).dirty.lock().push(slot.clone());
        }
    }

    /// Counts memory that rows took.
    pub(super) fn add_bytes(&self, bytes: usize) {
        self.active_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Freezes all rows that are there now; the slots that have some. Commits
    /// go on into the active tables. What was frozen before must be thawed.
    pub(super) fn freeze(&self) -> Vec<FrozenSlot> {
        let before = self.active_bytes.load(Ordering::Relaxed);
        let mut all = Vec::new();
        for shard in &self.shards {
            let dirty = std::mem::take(&mut *shard.dirty.lock());
            for slot in dirty {
                let mut state = slot.state.lock();
                state.dirty = false;
                if state.active.is_empty() {
                    continue;
                }
                let frozen = Arc::new(Frozen {
                    version: state.version.unwrap_or_default(),
                    tail: state.tail.clone(),
                    rows: state.active.freeze(),
                });
                state.frozen = Some(frozen.clone());
                drop(state);
                all.push(FrozenSlot {
                    keyspace: slot.id.keyspace,
                    key: slot.key.clone(),
                    frozen,
                    slot,
                });
            }
        }
        // Rows that came in meanwhile may be counted on either side; the next freeze evens it out.
        self.active_bytes.fetch_sub(before, Ordering::Relaxed);
        self.frozen_bytes.store(before, Ordering::Relaxed);
        all
    }

    /// The frozen rows are in the index: memory lets go of them, but for
    /// copies of those that are replaced all the time.
    pub(super) fn thaw(&self, slots: Vec<FrozenSlot>) {
        for FrozenSlot { slot, frozen, .. } in slots {
            let mut state = slot.state.lock();
            let SlotState { active, known, .. } = &mut *state;
            let replaced = frozen.rows.has_replaced().then(|| frozen.rows.iter());
            for (key, cell) in replaced.into_iter().flatten() {
                if cell.before == Before::Something
                    && let Some(value) = frozen.rows.bytes(key, cell)
                    && active.get(key).is_none()
                {
                    self.keep(known, key, value, cell.place);
                }
            }
            state.frozen = None;
            drop(state);
            // Freed outside of the lock.
            drop(frozen);
        }
        self.frozen_bytes.store(0, Ordering::Relaxed);
    }

    /// Keeps a copy of a row that the index has.
    pub(super) fn keep(&self, known: &mut Known, key: &[u8], value: &[u8], place: Place) {
        if self.kept_bytes.load(Ordering::Relaxed) < self.kept_bytes_max {
            let bytes = known.keep(key, value, place);
            self.kept_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Forgets the copy of a row that changes; where the row stands.
    pub(super) fn forget(&self, known: &mut Known, key: &[u8]) -> Option<Place> {
        let (place, bytes) = known.forget(key)?;
        self.kept_bytes.fetch_sub(bytes, Ordering::Relaxed);
        Some(place)
    }

    /// Bytes of copies of rows that the index has.
    pub(super) fn kept_bytes(&self) -> usize {
        self.kept_bytes.load(Ordering::Relaxed)
    }

    /// Forgets partitions that nobody uses and that have nothing to write.
    fn drop_idle(&self, slots: &mut HashTable<Arc<Slot>>) {
        let mut excess = slots.len().saturating_sub(self.idle_per_shard_max);
        slots.retain(|slot| {
            // Others get at it through this map only, which is locked, or have it at hand:
            // one reference is ours.
            if excess == 0 || Arc::strong_count(slot) > 1 {
                return true;
            }
            let mut state = slot.state.lock();
            let idle = !state.dirty && state.active.is_empty() && state.frozen.is_none();
            if idle {
                excess -= 1;
                let bytes = state.known.forget_all();
                self.kept_bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
            !idle
        });
    }

    /// Bytes of rows that wait for the next checkpoint.
    pub(super) fn active_bytes(&self) -> usize {
        self.active_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of all rows in memory.
    pub(super) fn bytes(&self) -> usize {
        self.active_bytes() + self.frozen_bytes.load(Ordering::Relaxed)
    }

    /// Partitions at hand.
    pub(super) fn partitions(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.slots.lock().len())
            .sum()
    }

    /// Keys of partitions of a keyspace that are in memory and were committed to.
    pub(super) fn keys(&self, keyspace: KeyspaceId, after: Option<&[u8]>) -> Vec<Bytes> {
        let mut keys = Vec::new();
        for shard in &self.shards {
            let slots: Vec<_> = {
                let slots = shard.slots.lock();
                slots
                    .iter()
                    .filter(|slot| {
                        slot.id.keyspace == keyspace
                            && after.is_none_or(|after| slot.id.key.as_ref() > after)
                    })
                    .cloned()
                    .collect()
            };
            for slot in slots {
                if slot.state.lock().version.is_some_and(|version| version > 0) {
                    keys.push(slot.id.key.clone());
                }
            }
        }
        keys
    }
}
