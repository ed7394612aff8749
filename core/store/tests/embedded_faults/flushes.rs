//! What the engine wrote at the end of each of its flushes: where in the log, and when it
//! says that this was. Read from what goes to the disk, byte by byte as `LOG_FORMAT.md`
//! has it, before rewriting can take it away.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lombard_store::embedded::{Disk, DiskFile};
use parking_lot::Mutex;

const PAGE_BYTES: u64 = 4096;
const HEADER_BYTES: usize = 32;

/// By the position of its end: the moment of each flush, if it says one.
#[derive(Clone, Default)]
pub struct Flushes(Arc<Mutex<BTreeMap<u64, Option<u64>>>>);

impl Flushes {
    /// All of them.
    pub fn all(&self) -> BTreeMap<u64, Option<u64>> {
        self.0.lock().clone()
    }

    /// The newest moment that one of them says.
    pub fn newest_us(&self) -> u64 {
        let moments = self.0.lock();
        moments.values().flatten().max().copied().unwrap_or(0)
    }

    /// A crash took what lies behind this position.
    pub fn forget_behind(&self, end: u64) {
        self.0.lock().split_off(&(end + 1));
    }

    /// The disk, looked at each time that a segment of the log is made durable.
    pub fn watch(&self, disk: Arc<dyn Disk>) -> Arc<dyn Disk> {
        Arc::new(Watched {
            disk,
            flushes: self.clone(),
            read_until: Arc::default(),
        })
    }
}

struct Watched {
    disk: Arc<dyn Disk>,
    flushes: Flushes,
    /// By path: up to where a segment was read.
    read_until: Arc<Mutex<HashMap<PathBuf, u64>>>,
}

struct WatchedFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    flushes: Flushes,
    read_until: Arc<Mutex<HashMap<PathBuf, u64>>>,
}

impl Watched {
    fn file(&self, path: &Path, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Those that rewriting made have no marks.
        if !name.ends_with(".log") || name.starts_with('r') {
            return file;
        }
        Arc::new(WatchedFile {
            file,
            path: path.to_path_buf(),
            flushes: self.flushes.clone(),
            read_until: self.read_until.clone(),
        })
    }
}

impl WatchedFile {
    fn look(&self) {
        let mut read_until = self.read_until.lock();
        let at = read_until.entry(self.path.clone()).or_insert(PAGE_BYTES);
        while let Some(record) = self.record(*at) {
            *at += record.len() as u64;
            if record[31] & 0x0f != 0 {
                let mut moment = [0; 8];
                moment[..7].copy_from_slice(&record[24..31]);
                let moment_us = Some(u64::from_le_bytes(moment)).filter(|moment| *moment > 0);
                let end = u64::from_le_bytes(record[8..16].try_into().unwrap());
                self.flushes.0.lock().insert(end, moment_us);
            }
        }
    }

    /// The whole record that begins there.
    fn record(&self, at: u64) -> Option<Vec<u8>> {
        let header = self.bytes(at, HEADER_BYTES)?;
        let len = u32::from_le_bytes(header[4..8].try_into().unwrap()) as usize;
        if len < HEADER_BYTES {
            return None;
        }
        let record = self.bytes(at, len)?;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&record[16..]), &record[4..16]);
        (crc.to_le_bytes() == record[0..4]).then_some(record)
    }

    fn bytes(&self, at: u64, len: usize) -> Option<Vec<u8>> {
        if at + len as u64 > self.file.size().unwrap() {
            return None;
        }
        let mut bytes = vec![0; len];
        let read = self.file.read_at(&mut bytes, at).unwrap();
        (read == len).then_some(bytes)
    }
}

impl Disk for Watched {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(path, self.disk.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(path, self.disk.open(path)?))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.disk.sync_folder(folder)
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        self.disk.free_bytes(folder)
    }
}

impl DiskFile for WatchedFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        // Also where syncing fails: what was written may be there all the same.
        self.look();
        self.file.sync_data()
    }
}
