//! What the engine's callers and its threads share: reading, and sequencing
//! commits.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::{Condvar, Mutex};

use crate::error::StoreError;
use crate::port::{KeyspaceId, PartitionRef, Position, Verdict, Version};
use crate::rows::{Change, Changes, Rows};

use super::catalog::Catalog;
use super::events::Followed;
use super::figures::Figures;
use super::key::SmallKey;
use super::known::Known;
use super::log::{Appended, Log};
use super::memtable::{Frozen, Memtable, Slot, SlotState};
use super::options::EmbeddedOptions;
use super::record::{Draft, HEADER_BYTES, commit_bytes, row_bytes};
use super::segment::Place;
use super::table::{Before, Table};
use super::tail::{Noted, Tail};
use super::view::{Seen, Stored, View};

/// Records are encoded in pieces of memory of this size; the memtable's rows point into them.
const ENCODE_BYTES: usize = 128 << 10;

thread_local! {
    static ENCODE: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// What a store has beside its log's head: memory, index, segments, manifest.
pub(super) struct Tables {
    pub(super) options: EmbeddedOptions,
    pub(super) memtable: Memtable,
    pub(super) stored: Stored,
    pub(super) catalog: Catalog,
    pub(super) figures: Arc<Figures>,
}

/// An open store.
pub(super) struct Core {
    pub(super) tables: Tables,
    pub(super) log: Arc<Log>,
    /// Wakes the checkpoint's thread.
    pub(super) checkpoint_wanted: Signal,
    /// A checkpoint was asked for and has not begun.
    pub(super) checkpoint_asked: AtomicBool,
    /// Wakes who waits for memory.
    pub(super) memory_freed: Signal,
    /// Wakes the thread that merges in the index.
    pub(super) merge_wanted: Signal,
    /// Held while segments are rewritten, or must stay as they are.
    pub(super) rewriting: Mutex<()>,
    /// The position that the archive goes up to: what lies behind it is not rewritten. 0: none.
    pub(super) archived: AtomicU64,
    /// Where followers of events have got to in segments that were rewritten.
    pub(super) followed: Mutex<BTreeMap<KeyspaceId, Followed>>,
}

/// A flag that threads wait for.
#[derive(Default)]
pub(super) struct Signal {
    raised: Mutex<u64>,
    changed: Condvar,
}

impl Signal {
    /// Wakes everyone who waits.
    pub(super) fn raise(&self) {
        *self.raised.lock() += 1;
        self.changed.notify_all();
    }

    /// How often it was raised.
    pub(super) fn count(&self) -> u64 {
        *self.raised.lock()
    }

    /// Waits until it was raised more often than `seen`, at most this long. False: it was not.
    pub(super) fn wait(&self, seen: u64, at_most: Duration) -> bool {
        let mut raised = self.raised.lock();
        if *raised == seen {
            self.changed.wait_for(&mut raised, at_most);
        }
        *raised != seen
    }
}

impl Tables {
    /// Notes that so many bytes of a segment are superseded.
    pub(super) fn count_dead(&self, segment: u32, bytes: u32) {
        if let Some(segment) = self.stored.segments.get(segment) {
            segment.add_dead(bytes);
        }
    }
}

impl Core {
    /// See [`crate::LocalEngine::update`].
    pub(super) fn update(
        &self,
        partition: PartitionRef<'_>,
        run: &mut dyn FnMut(&mut Rows<'_>) -> Verdict,
    ) -> Result<Position, StoreError> {
        self.wait_for_memory()?;
        let slot = self.tables.memtable.slot(partition);
        let mut state = slot.lock();
        self.load(&slot, &mut state)?;
        let kept = state.kept.take();
        let view = View::new(&self.tables.stored, &slot, &state);
        let mut rows = Rows::with_kept(&view, kept);
        let verdict = run(&mut rows);
        let changes = match verdict {
            Verdict::Commit(changes) if !changes.is_empty() => Some(changes),
            Verdict::Commit(_) | Verdict::Leave => None,
        };
        let kept = rows.into_kept(changes.is_some());
        let seen = view.into_seen();
        self.learn(&slot, &mut state, &seen)?;
        let position = match changes {
            Some(changes) => self.sequence(partition, &slot, &mut state, &changes, &seen)?,
            // What the function saw came from commits up to the partition's last one.
            None => Position(state.position),
        };
        state.kept = kept;
        Ok(position)
    }

    /// Commits if the version is still `expected`.
    pub(super) fn commit(
        &self,
        partition: PartitionRef<'_>,
        expected: Version,
        changes: &Changes,
    ) -> Result<Option<Position>, StoreError> {
        self.wait_for_memory()?;
        let slot = self.tables.memtable.slot(partition);
        let mut state = slot.lock();
        self.load(&slot, &mut state)?;
        if state.version != Some(expected.0) {
            return Ok(None);
        }
        if changes.is_empty() {
            return Ok(Some(Position(state.position)));
        }
        state.kept = None;
        let seen = View::new(&self.tables.stored, &slot, &state).into_seen();
        self.sequence(partition, &slot, &mut state, changes, &seen)
            .map(Some)
    }

    /// See [`crate::LocalEngine::read`].
    pub(super) fn read(
        &self,
        partition: PartitionRef<'_>,
        run: &mut dyn FnMut(&Rows<'_>),
    ) -> Result<Position, StoreError> {
        let slot = self.tables.memtable.slot(partition);
        let mut state = slot.lock();
        self.load(&slot, &mut state)?;
        let kept = state.kept.take();
        let view = View::new(&self.tables.stored, &slot, &state);
        let rows = Rows::with_kept(&view, kept);
        run(&rows);
        let kept = rows.into_kept(false);
        let seen = view.into_seen();
        state.kept = kept;
        self.learn(&slot, &mut state, &seen)?;
        Ok(Position(state.position))
    }

    /// Keeps what the index said, so that it need not be asked again.
    fn learn(&self, slot: &Slot, state: &mut SlotState, seen: &Seen) -> Result<(), StoreError> {
        for (key, value, place) in &seen.found {
            self.tables
                .memtable
                .keep(&mut state.known, key.as_slice(), value, *place);
        }
        for first in &seen.missed {
            if state.known.missed(*first) {
                let stored = self.tables.stored.index.greatest(&slot.id, *first)?;
                let frozen = state
                    .frozen
                    .as_deref()
                    .and_then(|frozen| frozen.rows.greatest(*first));
                let known = [stored.as_deref(), frozen, state.active.greatest(*first)];
                let greatest = known.into_iter().flatten().max().unwrap_or_default();
                state.known.add_fence(*first, &SmallKey::new(greatest));
            }
        }
        Ok(())
    }

    /// The partition's version, from the index if it is not at hand.
    fn load(&self, slot: &Slot, state: &mut SlotState) -> Result<(), StoreError> {
        if state.version.is_some() && !matches!(state.tail, Tail::Unread) {
            return Ok(());
        }
        let found = self.tables.stored.index.partition(&slot.id)?;
        let stored = found.as_ref().map(|(_, tail)| tail.as_ref());
        let no_rows = Table::default();
        let frozen = state.frozen.as_deref();
        let newer = [
            &state.active,
            frozen.map_or(&no_rows, |frozen| &frozen.rows),
        ];
        state.tail = Tail::read(stored, &newer);
        if state.version.is_none() {
            if found.is_none() {
                state.known = Known::nothing_there();
            }
            state.version = Some(found.map_or(0, |(version, _)| version));
        }
        Ok(())
    }

    /// `partition` is the slot's: the caller's copy of its key is at hand, where the
    /// slot's own would have to be fetched from memory.
    fn sequence(
        &self,
        partition: PartitionRef<'_>,
        slot: &Arc<Slot>,
        state: &mut SlotState,
        changes: &Changes,
        seen: &Seen,
    ) -> Result<Position, StoreError> {
        let version = state.version.unwrap_or_default() + 1;
        let draft = encode(partition, slot.crc, version, changes);
        // Before the commit has its place: see `checkpoint`.
        self.tables.memtable.mark_dirty(slot, state);
        let appended = self.log.append(draft)?;
        state.version = Some(version);
        state.position = appended.position;
        let position = Position(appended.position);
        let key_bytes = partition.key.len();
        self.put_rows(key_bytes, state, changes, seen, appended);
        self.tables.figures.commits.add(1);
        self.tables
            .figures
            .committed_rows
            .add(changes.rows.len() as u64);
        if self.tables.memtable.active_bytes() > self.tables.options.checkpoint_bytes {
            self.want_checkpoint();
        }
        Ok(position)
    }

    /// Puts the rows of a sequenced commit, of a partition with a key of so many bytes,
    /// into memory. They are pieces of the record, so that what the caller gave is not
    /// held on to.
    fn put_rows(
        &self,
        key_bytes: usize,
        state: &mut SlotState,
        changes: &Changes,
        seen: &Seen,
        appended: Appended,
    ) {
        let is_first = state.version == Some(1);
        let SlotState {
            active,
            frozen,
            known,
            tail,
            ..
        } = state;
        if is_first {
            *tail = Tail::first(changes.rows.iter().map(noted));
        }
        let mut bytes = active.add_record(appended.bytes);
        let mut at = HEADER_BYTES + key_bytes;
        for (key, change) in &changes.rows {
            let len = row_bytes(key, change.value());
            // A record is shorter than its segment, whose offsets fit in 32 bits.
            let place = Place {
                segment: appended.segment,
                offset: appended.offset + at as u32,
                len: len as u32,
            };
            let deleted = matches!(change, Change::Delete);
            // There was nothing: an event is written once.
            let told_new = matches!(change, Change::Event(_) | Change::New(_));
            let is_new = told_new || known.rules_out(key);
            let copy = self.tables.memtable.forget(known, key);
            bytes += if is_new && !deleted {
                active.put_new(key, at as u32, place)
            } else {
                active.put(key, at as u32, place, deleted, || {
                    self.before(frozen.as_deref(), key, copy, seen)
                })
            };
            if told_new {
                known.note_new(key);
            } else {
                known.note(key);
            }
            if !is_first {
                tail.note(&noted((key, change)));
            }
            at += len;
        }
        self.tables.memtable.add_bytes(bytes);
    }

    /// What a row that is not among the active ones was before this change; if that
    /// stands in the log, it is dead now.
    fn before(
        &self,
        frozen: Option<&Frozen>,
        key: &[u8],
        copy: Option<Place>,
        seen: &Seen,
    ) -> Before {
        let place = match frozen.and_then(|frozen| frozen.rows.get(key)) {
            Some(cell) => Some(cell.place),
            None => match copy.map(Some).or_else(|| seen.place(key)) {
                Some(place) => place,
                None => return Before::Unknown,
            },
        };
        let Some(place) = place else {
            return Before::Nothing;
        };
        self.tables.count_dead(place.segment, place.len);
        Before::Something
    }

    /// Holds back who wants to write when memory is full of rows that no checkpoint has written yet.
    fn wait_for_memory(&self) -> Result<(), StoreError> {
        if self.tables.memtable.bytes() <= self.tables.options.memtable_bytes_max {
            return Ok(());
        }
        let seen = self.memory_freed.count();
        self.want_checkpoint();
        let patience = Duration::from_millis(self.tables.options.wait_for_room_ms);
        if self.tables.memtable.bytes() <= self.tables.options.memtable_bytes_max
            || self.memory_freed.wait(seen, patience)
        {
            return Ok(());
        }
        Err(StoreError::Unavailable(
            "memory is full of rows that the index has not taken yet".into(),
        ))
    }

    /// What lies behind this position must not be rewritten: the archive does not have it
    /// yet, and is not so far behind that the disk would suffer for it.
    pub(super) fn rewritable_until(&self) -> u64 {
        let archived = self.archived.load(Ordering::Relaxed);
        let behind = self.log.durability.position().saturating_sub(archived);
        if archived == 0 || behind > self.tables.options.archive_behind_bytes_max {
            return u64::MAX;
        }
        archived
    }

    /// Asks for a checkpoint, if none was asked for since the last one began.
    fn want_checkpoint(&self) {
        if !self.checkpoint_asked.swap(true, Ordering::Relaxed) {
            self.checkpoint_wanted.raise();
        }
    }
}

fn noted<'a>((key, change): (&'a Bytes, &Change)) -> Noted<'a> {
    Noted {
        key,
        is_event: matches!(change, Change::Event(_)),
        deleted: matches!(change, Change::Delete),
    }
}

fn encode(partition: PartitionRef<'_>, crc: u32, version: u64, changes: &Changes) -> Draft {
    let needed = commit_bytes(partition.key, changes);
    ENCODE.with_borrow_mut(|buffer| {
        if buffer.capacity() < needed {
            *buffer = BytesMut::with_capacity(needed.max(ENCODE_BYTES));
        }
        Draft::commit(buffer, partition, crc, version, changes)
    })
}
