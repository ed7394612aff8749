//! A disk in memory that knows what a crash would leave of it, and fails on demand.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lombard_store::embedded::{Disk, DiskFile};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// What a disk writes or does not write as a whole.
const SECTOR: usize = 512;

/// What goes wrong.
#[derive(Debug, Default, Clone)]
pub struct Faults {
    /// Nothing can be written any more: more files, or more in the files there are.
    pub full: Full,
    /// Each sync fails.
    pub sync_fails: bool,
    /// Each write takes a part only.
    pub short_writes: bool,
}

/// How full the disk is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// There is room.
    #[default]
    No,
    /// It says that it has no room for more.
    ForFiles,
    /// As on a disk that copies on write: no write at all succeeds.
    ForWrites,
}

/// The disk.
#[derive(Clone)]
pub struct FaultDisk {
    state: Arc<Mutex<State>>,
}

struct State {
    names: HashMap<PathBuf, Arc<Mutex<Content>>>,
    durable_names: HashMap<PathBuf, Arc<Mutex<Content>>>,
    /// Writes, syncs and changes of names so far.
    steps: u64,
    crash_at: Option<u64>,
    faults: Faults,
}

#[derive(Default, Clone)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// From where to where it was written since the last sync.
    dirty: Vec<(usize, usize)>,
}

struct FaultFile {
    content: Arc<Mutex<Content>>,
    state: Arc<Mutex<State>>,
}

fn crashed() -> io::Error {
    io::Error::other("the machine has crashed")
}

impl State {
    /// Counts a step; an error from the moment of the crash on.
    fn step(&mut self) -> io::Result<()> {
        self.steps += 1;
        match self.crash_at {
            Some(at) if self.steps >= at => Err(crashed()),
            _ => Ok(()),
        }
    }
}

impl FaultDisk {
    /// An empty one that crashes at its n-th step, if that is given.
    pub fn new(crash_at: Option<u64>) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                names: HashMap::new(),
                durable_names: HashMap::new(),
                steps: 0,
                crash_at,
                faults: Faults::default(),
            })),
        }
    }

    /// Changes what goes wrong.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.state.lock().faults);
    }

    /// What is found when the process was killed and the machine goes on: all that was
    /// written, synced or not.
    pub fn after_kill(&self, crash_at: Option<u64>) -> Self {
        let state = self.state.lock();
        // A file keeps being one under both of its names.
        let mut copies = HashMap::new();
        let mut copy = |(path, content): (&PathBuf, &Arc<Mutex<Content>>)| {
            let copy = copies
                .entry(Arc::as_ptr(content))
                .or_insert_with(|| Arc::new(Mutex::new(content.lock().clone())));
            (path.clone(), copy.clone())
        };
        let names = state.names.iter().map(&mut copy).collect();
        let durable_names = state.durable_names.iter().map(&mut copy).collect();
        let disk = Self::new(crash_at);
        {
            let mut after = disk.state.lock();
            after.names = names;
            after.durable_names = durable_names;
        }
        disk
    }

    /// Crashes at the n-th step from now.
    pub fn crash_in(&self, steps: u64) {
        let mut state = self.state.lock();
        state.crash_at = Some(state.steps + steps);
    }

    /// What is found after a crash: what was synced, and by chance some of what was not.
    pub fn after_crash(&self, seed: u64, crash_at: Option<u64>) -> Self {
        let mut chance = SmallRng::seed_from_u64(seed);
        // All, nothing, or some of what was not synced.
        let share = [0.0, 0.5, 0.9, 1.0][chance.random_range(0..4)];
        let state = self.state.lock();
        let mut names = state.durable_names.clone();
        for (path, content) in &state.names {
            let known = names
                .get(path)
                .is_some_and(|durable| Arc::ptr_eq(durable, content));
            if !known && chance.random_bool(share) {
                names.insert(path.clone(), content.clone());
            }
        }
        for path in state.durable_names.keys() {
            if !state.names.contains_key(path) && chance.random_bool(share) {
                names.remove(path);
            }
        }
        let names: HashMap<_, _> = names
            .into_iter()
            .map(|(path, content)| {
                let left = content.lock().after_crash(&mut chance, share);
                (path, Arc::new(Mutex::new(left)))
            })
            .collect();
        let disk = Self::new(crash_at);
        {
            let mut after = disk.state.lock();
            after.durable_names = names.clone();
            after.names = names;
        }
        disk
    }
}

impl Content {
    fn after_crash(&self, chance: &mut SmallRng, share: f64) -> Self {
        let mut left = self.durable.clone();
        for (from, to) in &self.dirty {
            for sector in from / SECTOR..to.div_ceil(SECTOR) {
                if !chance.random_bool(share) {
                    continue;
                }
                let end = ((sector + 1) * SECTOR).min(self.now.len());
                let begin = (sector * SECTOR).min(end);
                if left.len() < end {
                    left.resize(end, 0);
                }
                left[begin..end].copy_from_slice(&self.now[begin..end]);
            }
        }
        Self {
            now: left.clone(),
            durable: left,
            dirty: Vec::new(),
        }
    }
}

impl Disk for FaultDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let content = Arc::new(Mutex::new(Content::default()));
        let mut state = self.state.lock();
        state.step()?;
        if state.faults.full != Full::No {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.names.insert(path.to_path_buf(), content.clone());
        Ok(Arc::new(FaultFile {
            content,
            state: self.state.clone(),
        }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state.lock();
        match state.names.get(path) {
            Some(content) => Ok(Arc::new(FaultFile {
                content: content.clone(),
                state: self.state.clone(),
            })),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        Ok(state
            .names
            .keys()
            .filter(|path| path.parent() == Some(folder))
            .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.step()?;
        let content = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_path_buf(), content);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.step()?;
        state.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.step()?;
        let there: Vec<_> = state
            .names
            .iter()
            .filter(|(path, _)| path.parent() == Some(folder))
            .map(|(path, content)| (path.clone(), content.clone()))
            .collect();
        state
            .durable_names
            .retain(|path, _| path.parent() != Some(folder));
        state.durable_names.extend(there);
        Ok(())
    }

    fn free_bytes(&self, _folder: &Path) -> io::Result<u64> {
        let full = self.state.lock().faults.full != Full::No;
        Ok(if full { 0 } else { 1 << 40 })
    }
}

impl DiskFile for FaultFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.content.lock().now.len() as u64)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state.lock();
        let before = state.crash_at.is_some_and(|at| state.steps < at);
        let crash = state.step().is_err();
        if crash && !before {
            return Err(crashed());
        }
        if state.faults.full == Full::ForWrites {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let count = if state.faults.short_writes {
            bytes.len().div_ceil(3)
        } else {
            bytes.len()
        };
        drop(state);
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let to = from + count;
        let mut content = self.content.lock();
        if content.now.len() < to {
            content.now.resize(to, 0);
        }
        content.now[from..to].copy_from_slice(&bytes[..count]);
        content.dirty.push((from, to));
        // The write that the machine crashed in may still reach the disk, in part.
        if crash { Err(crashed()) } else { Ok(count) }
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.content.lock();
        let from = usize::try_from(offset)
            .map_err(io::Error::other)?
            .min(content.now.len());
        let count = into.len().min(content.now.len() - from);
        into[..count].copy_from_slice(&content.now[from..from + count]);
        Ok(count)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.step()?;
        if state.faults.sync_fails {
            return Err(io::Error::other("the disk failed"));
        }
        drop(state);
        let mut content = self.content.lock();
        let content = &mut *content;
        content.durable.resize(content.now.len(), 0);
        for (from, to) in content.dirty.drain(..) {
            content.durable[from..to].copy_from_slice(&content.now[from..to]);
        }
        Ok(())
    }
}
