//! The simulated engine's log, what it amounts to, and the dice.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::ops::Bound;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Change, Changes, EventPage, EventRow, FaultCounts, Faults};
use crate::error::{Fault, StoreError};
use crate::port::{KeyspaceId, PartitionId, Position, Snapshot, Version, Wanted};
use crate::rows::{Direction, Row, RowRange, RowSource};

/// One commit.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub partition: PartitionId,
    /// That the partition has with it.
    pub version: Version,
    pub changes: Changes,
}

/// A partition as the log made it.
#[derive(Debug, Default, Clone)]
pub(super) struct Partition {
    version: Version,
    rows: BTreeMap<Bytes, Bytes>,
    /// Of its last commit.
    position: Position,
}

/// What a commit replaced of which nobody was told yet: a glance may still show it.
#[derive(Debug)]
struct Replaced {
    /// The commit's.
    by: Version,
    version: Version,
    position: Position,
    rows: Vec<(Bytes, Option<Bytes>)>,
}

/// Everything that the engine holds.
pub(super) struct State {
    pub faults: Faults,
    pub counts: FaultCounts,
    pub log: Vec<Record>,
    /// So many of the log's records are durable.
    pub flushed: usize,
    pub damaged: BTreeSet<(PartitionId, Bytes)>,
    dice: StdRng,
    keyspaces: Vec<String>,
    partitions: BTreeMap<PartitionId, Partition>,
    /// By the last commit of each, until it is settled.
    replaced: BTreeMap<PartitionId, Replaced>,
    /// Commits that timed out and are still on their way.
    late: Vec<Record>,
    /// Why it answers nothing more.
    closed: Option<&'static str>,
}

impl State {
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self {
            faults,
            counts: FaultCounts::default(),
            log: Vec::new(),
            flushed: 0,
            damaged: BTreeSet::new(),
            dice: StdRng::seed_from_u64(seed),
            keyspaces: Vec::new(),
            partitions: BTreeMap::new(),
            replaced: BTreeMap::new(),
            late: Vec::new(),
            closed: None,
        }
    }

    fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.dice.random_bool(probability.min(1.0))
    }

    /// For how many turns a call waits.
    pub fn delay(&mut self) -> u32 {
        match self.faults.delay_turns_max {
            0 => 0,
            max => self.dice.random_range(0..=max),
        }
    }

    fn open(&mut self) -> Result<(), StoreError> {
        if let Some(why) = self.closed {
            return Err(StoreError::Closed(why.into()));
        }
        if self.happens(self.faults.unavailable) {
            self.counts.unavailable += 1;
            return Err(StoreError::Unavailable("simulated".into()));
        }
        Ok(())
    }

    /// Whether a read is answered.
    pub fn open_for_reading(&mut self) -> Result<(), StoreError> {
        self.open()?;
        self.arrive_late();
        Ok(())
    }

    /// Whether a write is taken.
    pub fn open_for_writing(&mut self) -> Result<(), StoreError> {
        self.open()
    }

    /// One of the commits that were given up may come in now.
    fn arrive_late(&mut self) {
        if self.late.is_empty() || !self.dice.random_bool(0.3) {
            return;
        }
        let which = self.dice.random_range(0..self.late.len());
        let record = self.late.swap_remove(which);
        if self.version(&record.partition).next() == record.version {
            self.counts.late_arrivals += 1;
            self.append_untold(record);
            self.flushed = self.log.len();
        }
    }

    pub fn keyspace(&mut self, name: &str) -> Result<KeyspaceId, StoreError> {
        self.open()?;
        let known = self.keyspaces.iter().position(|known| known == name);
        let index = known.unwrap_or_else(|| {
            self.keyspaces.push(name.to_owned());
            self.keyspaces.len() - 1
        });
        u16::try_from(index)
            .map(KeyspaceId)
            .map_err(|_| StoreError::LimitExceeded("65,536 keyspaces at most".into()))
    }

    fn version(&self, partition: &PartitionId) -> Version {
        let partition = self.partitions.get(partition);
        partition.map_or(Version(0), |partition| partition.version)
    }

    pub fn position(&self) -> Position {
        Position(self.log.len() as u64)
    }

    /// Takes a commit in if the version allows it, and the dice.
    pub fn commit(
        &mut self,
        record: Record,
        durable: bool,
    ) -> Result<Option<Position>, StoreError> {
        self.open_for_writing()?;
        self.arrive_late();
        if durable && self.happens(self.faults.timeout_before) {
            self.counts.timeouts_before += 1;
            if self.happens(self.faults.late_arrival) {
                self.late.push(record);
            }
            return Err(StoreError::Ambiguous("simulated timeout".into()));
        }
        // Whatever came before is settled by the decision that this is.
        self.settle(&record.partition);
        if self.version(&record.partition).next() != record.version {
            return Ok(None);
        }
        if self.happens(self.faults.conflict) {
            self.counts.conflicts += 1;
            return Ok(None);
        }
        let position = if durable {
            self.append_untold(record)
        } else {
            self.append(record)
        };
        if durable {
            self.flushed = self.log.len();
            if self.happens(self.faults.timeout_after) {
                self.counts.timeouts_after += 1;
                return Err(StoreError::Ambiguous("simulated timeout".into()));
            }
        }
        Ok(Some(position))
    }

    /// Sequences a commit that a glance need not show yet.
    fn append_untold(&mut self, record: Record) -> Position {
        let id = record.partition.clone();
        let now = self.partitions.get(&id);
        let keys = record.changes.rows.keys();
        let rows = keys.map(|key| (key.clone(), now.and_then(|now| now.rows.get(key).cloned())));
        let replaced = Replaced {
            by: record.version,
            version: now.map_or(Version(0), |now| now.version),
            position: now.map_or(Position(0), |now| now.position),
            rows: rows.collect(),
        };
        self.replaced.insert(id, replaced);
        self.append(record)
    }

    /// Whoever committed this version is told so.
    pub fn told(&mut self, partition: &PartitionId, version: Version) {
        let replaced = self.replaced.get(partition);
        if replaced.is_some_and(|replaced| replaced.by == version) {
            self.settle(partition);
        }
    }

    /// From now on every glance shows the partition's last commit.
    pub fn settle(&mut self, partition: &PartitionId) {
        self.replaced.remove(partition);
    }

    /// The partition without its last commit, if that is on its way and the dice say so.
    pub fn glance_of_old(&mut self, partition: &PartitionId) -> Option<Partition> {
        if !self.replaced.contains_key(partition) || !self.dice.random_bool(0.5) {
            return None;
        }
        self.counts.old_glances += 1;
        let replaced = self.replaced.get(partition)?;
        let mut old = self.partitions.get(partition)?.clone();
        (old.version, old.position) = (replaced.version, replaced.position);
        for (key, value) in &replaced.rows {
            match value {
                Some(value) => old.rows.insert(key.clone(), value.clone()),
                None => old.rows.remove(key),
            };
        }
        Some(old)
    }

    /// Sequences a commit.
    pub fn append(&mut self, record: Record) -> Position {
        let position = Position(self.log.len() as u64 + 1);
        let partition = self.partitions.entry(record.partition.clone()).or_default();
        partition.version = record.version;
        partition.position = position;
        for (key, change) in &record.changes.rows {
            match change.value() {
                Some(value) => partition.rows.insert(key.clone(), value.clone()),
                None => partition.rows.remove(key),
            };
        }
        self.log.push(record);
        position
    }

    pub fn is_durable(&self, position: Position) -> Result<bool, StoreError> {
        match self.closed {
            _ if position.0 <= self.flushed as u64 => Ok(true),
            Some(why) => Err(StoreError::Ambiguous(why.into())),
            None => Ok(false),
        }
    }

    /// Makes everything durable that was sequenced so far.
    pub fn flush(&mut self, position: Position) -> Result<(), StoreError> {
        if self.is_durable(position)? {
            return Ok(());
        }
        if position > self.position() {
            let never = format!("position {} was never given", position.0);
            return Err(StoreError::Closed(never));
        }
        if self.happens(self.faults.flush_failure) {
            self.counts.flush_failures += 1;
            let why = "a flush failed (simulated)";
            self.closed = Some(why);
            return Err(StoreError::Ambiguous(why.into()));
        }
        self.flushed = self.log.len();
        Ok(())
    }

    /// What is found when the engine is opened again; this one is closed.
    pub fn crash(&mut self) -> Self {
        let mut found = Self::new(0, self.faults);
        found.counts = self.counts;
        found.counts.crashes += 1;
        found.keyspaces.clone_from(&self.keyspaces);
        found.damaged = std::mem::take(&mut self.damaged);
        // A commit that is on its way in the network outlives any client.
        found.late = std::mem::take(&mut self.late);
        let mut kept = self.flushed;
        if kept < self.log.len() && self.happens(self.faults.torn_tail) {
            found.counts.torn_tails += 1;
            kept = self.dice.random_range(kept..self.log.len());
        }
        found.counts.commits_lost += (self.log.len() - kept) as u64;
        found.dice = self.dice.clone();
        for record in self.log.drain(..).take(kept) {
            found.append(record);
        }
        found.flushed = kept;
        self.flushed = self.flushed.min(kept);
        self.closed = Some("the engine has crashed (simulated)");
        found
    }

    pub fn partitions(
        &self,
        keyspace: KeyspaceId,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Vec<Bytes> {
        let after = PartitionId {
            keyspace,
            key: Bytes::copy_from_slice(after.unwrap_or_default()),
        };
        self.partitions
            .range((Bound::Excluded(after), Bound::Unbounded))
            .take_while(|(partition, _)| partition.keyspace == keyspace)
            .take(limit)
            .map(|(partition, _)| partition.key.clone())
            .collect()
    }

    pub fn events(&self, keyspace: KeyspaceId, after: Position, limit: usize) -> EventPage {
        let mut page = EventPage {
            next: after,
            ..EventPage::default()
        };
        let behind = usize::try_from(after.0).unwrap_or(usize::MAX);
        let durable = self.log.get(..self.flushed).unwrap_or_default();
        for (index, record) in durable.iter().enumerate().skip(behind) {
            let position = Position(index as u64 + 1);
            let before = page.events.len();
            if record.partition.keyspace == keyspace {
                page.events.extend(events_of(record, position));
            }
            // Whole commits only; the first is taken whatever its size.
            if page.events.len() > limit && before > 0 {
                page.events.truncate(before);
                page.more = true;
                return page;
            }
            page.next = position;
        }
        page
    }

    /// Sums up the log.
    pub fn fingerprint(&self) -> u64 {
        // Not the random hasher of maps: the same log gives the same number in every run.
        #[allow(deprecated, reason = "its fixed keys are what is wanted here")]
        let mut hasher = std::hash::SipHasher::new();
        for record in &self.log {
            record.partition.hash(&mut hasher);
            record.version.hash(&mut hasher);
            for (key, change) in &record.changes.rows {
                key.hash(&mut hasher);
                change.value().hash(&mut hasher);
            }
        }
        hasher.finish()
    }
}

fn events_of(record: &Record, position: Position) -> impl Iterator<Item = EventRow> {
    let rows = record.changes.rows.iter();
    rows.filter_map(move |(key, change)| match change {
        Change::Event(value) => Some(EventRow {
            partition: record.partition.clone(),
            key: key.clone(),
            value: value.clone(),
            position,
        }),
        Change::Put(_) | Change::New(_) | Change::Delete => None,
    })
}

/// A partition as it stands.
pub(super) struct View<'a> {
    state: &'a State,
    id: &'a PartitionId,
    partition: Option<&'a Partition>,
}

impl<'a> View<'a> {
    pub fn of(state: &'a State, id: &'a PartitionId) -> Self {
        Self {
            state,
            id,
            partition: state.partitions.get(id),
        }
    }

    /// Over this instead.
    pub fn over(state: &'a State, id: &'a PartitionId, partition: &'a Partition) -> Self {
        Self {
            state,
            id,
            partition: Some(partition),
        }
    }

    /// What a read finds.
    pub fn snapshot(&self, wanted: &[Wanted]) -> Result<Snapshot, StoreError> {
        let read = |wanted: &Wanted| match wanted {
            Wanted::Row(key) => Ok(self
                .row(key)?
                .map(|value| (key.clone(), value))
                .into_iter()
                .collect()),
            Wanted::Range(range) => self.rows(range),
        };
        Ok(Snapshot {
            version: self.version(),
            found: wanted.iter().map(read).collect::<Result<_, _>>()?,
            position: self.position(),
        })
    }

    /// Of the partition's last commit; of nothing, if it was never written.
    pub fn position(&self) -> Position {
        self.partition.map_or(Position(0), |found| found.position)
    }

    pub fn row(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let Some((key, value)) = self
            .partition
            .and_then(|found| found.rows.get_key_value(key))
        else {
            return Ok(None);
        };
        self.readable(key)?;
        Ok(Some(value.clone()))
    }

    pub fn rows(&self, range: &RowRange) -> Result<Vec<Row>, StoreError> {
        let Some(found) = self.partition.filter(|_| !range.is_void()) else {
            return Ok(Vec::new());
        };
        let rows = found.rows.range::<[u8], _>(range.bounds());
        let rows: Vec<(&Bytes, &Bytes)> = match range.direction {
            Direction::Ascending => rows.take(range.limit).collect(),
            Direction::Descending => rows.rev().take(range.limit).collect(),
        };
        let read = |(key, value): (&Bytes, &Bytes)| {
            self.readable(key)?;
            Ok((key.clone(), value.clone()))
        };
        rows.into_iter().map(read).collect()
    }

    fn readable(&self, key: &Bytes) -> Result<(), StoreError> {
        // Nearly always empty: spare the clone.
        let damaged = !self.state.damaged.is_empty()
            && self.state.damaged.contains(&(self.id.clone(), key.clone()));
        if damaged {
            let row = key.escape_ascii();
            return Err(StoreError::Damaged(format!("row {row} of {:?}", self.id)));
        }
        Ok(())
    }
}

impl RowSource for View<'_> {
    fn version(&self) -> Version {
        self.partition.map_or(Version(0), |found| found.version)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        Ok(self.row(key)?)
    }

    fn range(&self, range: &RowRange) -> Result<Vec<Row>, Fault> {
        Ok(self.rows(range)?)
    }
}
