//! A store, its archive, and a model of both: which commits there are, and when the engine
//! says that each of its flushes was.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use futures::executor::block_on;
use lombard_store::embedded::{
    Archive, ArchiveError, ArchivePass, Disk, Embedded, EmbeddedOptions, Inspected, Point,
    Restored, Until, WallClock, inspect,
};
use lombard_store::{
    Change, Changes, Direction, Engine, PartitionId, Position, RowRange, StoreError, Version,
    Wanted,
};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::flushes::Flushes;
use super::{cramped, figure, folder};

pub const KEYSPACES: [&str; 2] = ["ledger", "account"];
const PARTITIONS: u64 = 4;
/// Some moment of the year 2026.
pub const BEGIN_US: u64 = 1_795_000_000_000_000;

/// By keyspace and partition: version and rows.
pub type State = BTreeMap<(String, Bytes), (u64, BTreeMap<Bytes, Bytes>)>;

/// A store, and what is known of it.
pub struct World {
    pub folder: tempfile::TempDir,
    pub disk: Arc<dyn Disk>,
    pub options: EmbeddedOptions,
    pub clock: Arc<AtomicI64>,
    pub engine: Option<Embedded>,
    pub state: State,
    /// After each commit: its position, and the state.
    commits: Vec<(u64, State)>,
    pub flushes: Flushes,
    pub random: SmallRng,
    step: u64,
}

/// Microseconds since 1970 of the model's clock.
fn clock_of(time: &Arc<AtomicI64>) -> WallClock {
    let time = time.clone();
    Arc::new(move || time.load(Ordering::Relaxed))
}

pub fn moment(us: u64) -> Until {
    Until::Moment {
        us,
        or_latest: false,
    }
}

impl World {
    pub fn new(disk: Arc<dyn Disk>, options: EmbeddedOptions, seed: u64) -> Self {
        let mut world = Self {
            folder: folder(),
            disk,
            options,
            clock: Arc::new(AtomicI64::new(i64::try_from(BEGIN_US).unwrap())),
            engine: None,
            state: State::new(),
            commits: Vec::new(),
            flushes: Flushes::default(),
            random: SmallRng::seed_from_u64(seed),
            step: 0,
        };
        world.open().unwrap();
        world
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub fn archive_folder(&self) -> PathBuf {
        self.folder.path().join("archive")
    }

    pub fn engine(&self) -> &Embedded {
        self.engine.as_ref().unwrap()
    }

    /// Opens it, again; what a crash took is forgotten.
    pub fn open(&mut self) -> Result<(), StoreError> {
        self.open_by(Some(clock_of(&self.clock)))
    }

    /// As [`World::open`], by a host that has no clock.
    pub fn open_without_clock(&mut self) -> Result<(), StoreError> {
        self.open_by(None)
    }

    fn open_by(&mut self, clock: Option<WallClock>) -> Result<(), StoreError> {
        self.engine = None;
        fs::create_dir_all(self.data()).unwrap();
        let disk = self.flushes.watch(self.disk.clone());
        let (engine, _) = Embedded::open_with(disk, &self.data(), self.options.clone(), clock)?;
        self.flushes
            .forget_behind(figure(&engine, "durable_position"));
        let last = engine.position().0;
        self.commits.retain(|(position, _)| *position <= last);
        self.state = contents(&engine);
        let expected = self.state_at(last);
        assert!(
            self.state == expected,
            "opened, {} at {last}",
            differ(&self.state, &expected)
        );
        self.engine = Some(engine);
        Ok(())
    }

    /// What is left of the index when somebody removes it: nothing.
    pub fn lose_index(&mut self) {
        self.engine = None;
        let index = self.data().join("index");
        if index.exists() {
            fs::remove_dir_all(index).unwrap();
        }
    }

    /// Some commits, all of them durable at its end. The clock may stand, or go back.
    pub fn work(&mut self, count: u64) -> Result<(), StoreError> {
        self.turn_clock();
        for _ in 0..count {
            self.commit()?;
            if self.random.random_bool(0.05) {
                block_on(self.engine().durable(self.engine().position()))?;
                if self.random.random_bool(0.3) {
                    self.turn_clock();
                }
            }
        }
        block_on(self.engine().durable(self.engine().position()))
    }

    fn turn_clock(&mut self) {
        let by = self.random.random_range(1..5_000_000);
        let by = match self.random.random_range(0..20) {
            0..=2 => 0,
            3 => 1,
            4..=5 => -by,
            6 => -100 * by,
            _ => by,
        };
        self.clock.fetch_add(by, Ordering::Relaxed);
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.step += 1;
        let step = self.step;
        let keyspace = KEYSPACES[self.random.random_range(0..KEYSPACES.len())];
        let engine = self.engine.as_ref().unwrap();
        let id = PartitionId {
            keyspace: block_on(engine.keyspace(keyspace))?,
            key: format!("partition {}", self.random.random_range(0..PARTITIONS)).into(),
        };
        let place = (keyspace.to_owned(), id.key.clone());
        let mut state = self.state.clone();
        let (version, rows) = state.entry(place).or_default();
        let mut changes = Changes::default();
        let filler = "x".repeat(self.random.random_range(0..600));
        let mut put = |key: String, change: Change| {
            match change.value() {
                Some(value) => rows.insert(key.clone().into(), value.clone()),
                None => rows.remove(key.as_bytes()),
            };
            changes.rows.insert(key.into(), change);
        };
        put(
            "state".into(),
            Change::Put(format!("{step} {filler}").into()),
        );
        put(
            format!("row {}", step % 13),
            Change::Put(format!("{step}").into()),
        );
        put(format!("row {}", (step + 6) % 13), Change::Delete);
        if step.is_multiple_of(3) {
            put(
                format!("event {step:06}"),
                Change::Event(format!("{step}").into()),
            );
        }
        let position = block_on(engine.commit(&id, Version(*version), changes))?;
        *version += 1;
        self.commits
            .push((position.expect("nobody else commits").0, state.clone()));
        self.state = state;
        Ok(())
    }

    pub fn pass(&self) -> Result<ArchivePass, ArchiveError> {
        let mut watch = |_| true;
        self.engine()
            .archive(&self.archive_folder(), false, &mut watch)
    }

    pub fn archive(&self) -> Archive {
        Archive::open(&self.archive_folder()).unwrap()
    }

    /// After the last commit that ends at or before this position.
    pub fn state_at(&self, position: u64) -> State {
        let last = self.commits.iter().rfind(|(end, _)| *end <= position);
        last.map(|(_, state)| state.clone()).unwrap_or_default()
    }

    /// The last flush that was at or before this moment: where it ends, and its moment.
    pub fn flush_at(&self, us: u64) -> Option<(u64, u64)> {
        let flushes = self.flushes.all().into_iter();
        let said = flushes.filter_map(|(end, moment_us)| Some((end, moment_us?)));
        said.take_while(|(_, moment_us)| *moment_us <= us).last()
    }

    /// Restores into a folder that is gone afterwards, and looks at what is there.
    pub fn restored(
        &self,
        archive: &Archive,
        until: Until,
        keyspace: Option<&str>,
    ) -> Result<(Restored, State), ArchiveError> {
        let to = self.folder.path().join("restored");
        let restored = archive.restore(&to, until, keyspace, &mut |_| true);
        if restored.is_err() {
            assert!(!to.exists(), "something was left by a failed restore");
        }
        let restored = restored?;
        let (engine, report) = Embedded::open(&to, cramped()).unwrap();
        assert_eq!(report.torn_tail, None);
        let state = contents(&engine);
        drop(engine);
        if self.step.is_multiple_of(3) {
            go_on(&to, restored.point, &state);
        }
        fs::remove_dir_all(&to).unwrap();
        Ok((restored, state))
    }

    /// Each moment that the archive has is restored exactly as it was; each that it does not
    /// have is refused, and told between which it lies. How many were restored.
    pub fn check_moments(&mut self, archive: &Archive, at_most: usize) -> usize {
        let flushes = self.flushes.all();
        let said: Vec<u64> = flushes.values().flatten().copied().collect();
        assert!(
            said.is_sorted_by(|before, after| before < after),
            "moments do not rise: {said:?}"
        );
        let ranges = archive.ranges();
        let borders = ranges.iter().flat_map(|range| [range.from, range.until]);
        let borders: Vec<u64> = borders.filter_map(|point| point.moment_us).collect();
        for range in &ranges {
            let end = range.until.position.unwrap();
            assert!(flushes.contains_key(&end), "no flush ends at {end}");
            let from_us = range.from.moment_us;
            assert!(from_us.is_none_or(|from_us| said.contains(&from_us)));
            let newest = self.flush_at(range.until.moment_us.unwrap_or(0));
            assert!(newest.is_none_or(|(position, _)| position <= end));
        }
        let mut wanted = Vec::new();
        for us in &borders {
            wanted.extend([us - 1, *us, us + 1]);
        }
        for _ in 0..at_most {
            let Some(us) = said.choose(&mut self.random) else {
                break;
            };
            let next = said.iter().find(|next| *next > us).unwrap_or(us);
            let between = self.random.random_range(*us..=*next);
            wanted.extend([us - 1, *us, us + 1, between].choose(&mut self.random));
        }
        let restored = wanted
            .into_iter()
            .filter(|us| self.check_moment(archive, *us, &borders));
        restored.count()
    }

    /// Whether it was restored.
    fn check_moment(&self, archive: &Archive, us: u64, borders: &[u64]) -> bool {
        let ranges = archive.ranges();
        let has = |from: Point, until: Point| {
            from.moment_us.is_some_and(|from_us| from_us <= us)
                && until.moment_us.is_some_and(|until_us| us <= until_us)
        };
        let in_range = ranges.iter().any(|range| has(range.from, range.until));
        let is_border = |point: Point| point.moment_us.is_some_and(|us| borders.contains(&us));
        match self.restored(archive, moment(us), None) {
            Ok((restored, state)) => {
                assert!(in_range, "{us} is in none of {ranges:?}");
                let (position, moment_us) = self.flush_at(us).unwrap();
                let expected = self.state_at(position);
                assert!(
                    state == expected,
                    "{} at {us}: {restored:?}, expected position {position}",
                    differ(&state, &expected)
                );
                let point = restored.point;
                assert_eq!(point.position, Some(position), "{us}");
                assert_eq!(point.moment_us, Some(moment_us), "{us}");
                return true;
            }
            Err(ArchiveError::TooEarly { oldest, .. }) => {
                assert!(is_border(oldest) && us < oldest.moment_us.unwrap());
            }
            Err(ArchiveError::TooLate { newest, .. }) => {
                assert!(is_border(newest) && newest.moment_us.unwrap() < us);
            }
            Err(ArchiveError::InGap { before, after, .. }) => {
                assert!(is_border(before) && before.moment_us.unwrap() < us);
                assert!(is_border(after) && us < after.moment_us.unwrap());
            }
            Err(ArchiveError::NoMoments) => assert!(borders.is_empty()),
            Err(error) => panic!("{us}: {error}"),
        }
        assert!(!in_range, "{us} is in {ranges:?}, and refused");
        false
    }

    /// Each position that the archive has is the state after the last commit up to it.
    pub fn check_positions(&mut self, archive: &Archive, count: usize) {
        let Some(range) = archive.ranges().pop() else {
            return;
        };
        let (from, until) = (range.from.position.unwrap(), range.until.position.unwrap());
        for _ in 0..count {
            let asked = self.random.random_range(from..=until);
            self.check_position(archive, asked);
        }
        // Before the log's first record, within it, and at both ends of what there is.
        for asked in [from, from + 1, from + 4_200, until - 1, until] {
            self.check_position(archive, asked.clamp(from, until));
        }
    }

    fn check_position(&mut self, archive: &Archive, asked: u64) {
        let (restored, state) = match self.restored(archive, Until::Position(asked), None) {
            Ok(restored) => restored,
            Err(ArchiveError::TooEarly { oldest, .. }) => {
                // Before the end of the log's first record, which is there.
                let oldest = oldest.position.unwrap();
                assert!(asked < oldest && oldest <= self.commits[0].0, "{asked}");
                return self.check_position(archive, oldest);
            }
            Err(error) => panic!("{asked}: {error}"),
        };
        assert!(restored.point.position.unwrap() <= asked);
        let expected = self.state_at(asked);
        assert!(
            state == expected,
            "{} at {asked}",
            differ(&state, &expected)
        );
        // And of one keyspace, what is its own.
        let only = KEYSPACES[self.random.random_range(0..KEYSPACES.len())];
        if !archive.keyspaces().iter().any(|name| name == only) {
            return;
        }
        let (_, state) = self
            .restored(archive, Until::Position(asked), Some(only))
            .unwrap();
        let mut expected = expected;
        expected.retain(|(keyspace, _), _| keyspace == only);
        assert!(
            state == expected,
            "{} at {asked}",
            differ(&state, &expected)
        );
    }
}

/// What was restored can be gone on from, and its moments rise, whatever the clock shows.
fn go_on(restored: &Path, from: Point, state: &State) {
    let clock: WallClock = Arc::new(|| 1_000_000);
    let (engine, _) = Embedded::open_with_clock(restored, cramped(), clock).unwrap();
    let id = PartitionId {
        keyspace: block_on(engine.keyspace(KEYSPACES[0])).unwrap(),
        key: "another".into(),
    };
    let mut changes = Changes::default();
    changes
        .rows
        .insert("row".into(), Change::Put("here".into()));
    let position = block_on(engine.commit(&id, Version(0), changes)).unwrap();
    block_on(engine.durable(position.unwrap())).unwrap();
    drop(engine);
    let moments = said(restored);
    assert!(
        moments.is_sorted_by(|before, after| before < after),
        "{moments:?}"
    );
    assert!(moments.last() > from.moment_us.as_ref(), "{moments:?}");
    let (engine, _) = Embedded::open(restored, cramped()).unwrap();
    let mut more = contents(&engine);
    assert!(
        more.remove(&(KEYSPACES[0].into(), "another".into()))
            .is_some()
    );
    assert_eq!(&more, state);
}

/// The moments that the log of a stopped store says, in its order.
pub fn said(folder: &Path) -> Vec<u64> {
    let records = inspect(folder, Position(0)).unwrap();
    let moments = records.filter_map(|found| match found.unwrap() {
        Inspected::FrameEnd { moment_us, .. } => moment_us,
        _ => None,
    });
    moments.collect()
}

/// In which partitions two states differ, and their versions there.
fn differ(found: &State, expected: &State) -> String {
    let mut places: Vec<_> = found.keys().chain(expected.keys()).collect();
    places.sort();
    places.dedup();
    let version = |state: &State, place| state.get(place).map(|(version, _)| *version);
    let differing = places
        .into_iter()
        .filter(|place| found.get(place) != expected.get(place));
    let told = differing.map(|place| {
        let (found, expected) = (version(found, place), version(expected, place));
        format!("{place:?}: version {found:?}, expected {expected:?}")
    });
    told.collect::<Vec<_>>().join("; ")
}

pub fn contents(engine: &Embedded) -> State {
    let mut state = State::new();
    for name in KEYSPACES {
        let keyspace = block_on(engine.keyspace(name)).unwrap();
        for key in block_on(engine.partitions(keyspace, None, 1_000)).unwrap() {
            let id = PartitionId {
                keyspace,
                key: key.clone(),
            };
            let all = RowRange {
                from: Bound::Unbounded,
                to: Bound::Unbounded,
                direction: Direction::Ascending,
                limit: usize::MAX,
            };
            let found = block_on(engine.read(&id, &[Wanted::Range(all)])).unwrap();
            let rows = found.found.into_iter().flatten().collect();
            state.insert((name.to_owned(), key), (found.version.0, rows));
        }
    }
    state
}
