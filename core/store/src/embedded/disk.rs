//! The few things that the log asks of a disk, as a port: so that a test can
//! make any of them fail, tear, or never have happened.

use std::fmt;
use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Disks are written in blocks of this size, or of a part of it.
pub(super) const BLOCK_BYTES: usize = 4096;
const ZEROS_BYTES: usize = 1 << 20;
/// Asked for piece by piece: Linux cuts what is longer to what the disk is set to read
/// ahead, mostly 128 KiB, and says nothing.
const READ_AHEAD_BYTES: usize = 128 << 10;

/// Folders and names.
pub trait Disk: Send + Sync + 'static {
    /// Makes a new, empty file, or empties one of that name.
    ///
    /// # Errors
    /// The disk's.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file that exists, to read and write.
    ///
    /// # Errors
    /// The disk's.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// The names in a folder, in no order.
    ///
    /// # Errors
    /// The disk's.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// Gives a file another name, replacing what had it.
    ///
    /// # Errors
    /// The disk's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Whoever has it open can still read it.
    ///
    /// # Errors
    /// The disk's.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes names durable: what was created, renamed and removed in the folder.
    ///
    /// # Errors
    /// The disk's.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Writes zeros to a file, from one place to another, and makes them durable.
    ///
    /// # Errors
    /// The disk's.
    fn fill_zeros(&self, path: &Path, from: u64, to: u64) -> io::Result<()> {
        fill_zeros(&*self.open(path)?, from, to)
    }
    /// Bytes that can still be written there.
    ///
    /// # Errors
    /// The disk's.
    fn free_bytes(&self, folder: &Path) -> io::Result<u64>;
}

/// An open file.
pub trait DiskFile: Send + Sync + 'static {
    /// Bytes in it.
    ///
    /// # Errors
    /// The disk's.
    fn size(&self) -> io::Result<u64>;
    /// Writes some of `bytes` there; how many, it says.
    ///
    /// # Errors
    /// The disk's.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// As [`DiskFile::write_at`], for whole blocks, from memory that begins where a block
    /// of memory does: past the page cache, where the file system can do that.
    ///
    /// # Errors
    /// The disk's.
    fn write_blocks_at(&self, blocks: &[u8], offset: u64) -> io::Result<usize> {
        self.write_at(blocks, offset)
    }
    /// Says that these bytes are going to be read: a disk may have them ready by then.
    fn will_read(&self, _offset: u64, _bytes: u64) {}
    /// Reads some bytes from there; zero at the end.
    ///
    /// # Errors
    /// The disk's.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Makes what was written durable.
    ///
    /// # Errors
    /// The disk's. Nobody knows then what is durable, and asking again does not tell.
    fn sync_data(&self) -> io::Result<()>;
}

fn fill_zeros(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS_BYTES];
    let mut at = from;
    while at < to {
        let count = (to - at).min(ZEROS_BYTES as u64);
        write_all_at(file, zeros.get(..count as usize).unwrap_or_default(), at)?;
        at += count;
    }
    file.sync_data()
}

/// Writes all of it, however many calls that takes.
pub(super) fn write_all_at(file: &dyn DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    write_all(bytes, offset, |bytes, offset| file.write_at(bytes, offset))
}

/// As [`write_all_at`], for whole blocks.
pub(super) fn write_blocks_all_at(
    file: &dyn DiskFile,
    blocks: &[u8],
    offset: u64,
) -> io::Result<()> {
    write_all(blocks, offset, |rest, offset| {
        // A part of a block cannot be gone on behind in this way.
        if rest.len().is_multiple_of(BLOCK_BYTES) {
            file.write_blocks_at(rest, offset)
        } else {
            file.write_at(rest, offset)
        }
    })
}

fn write_all(
    mut bytes: &[u8],
    mut offset: u64,
    write: impl Fn(&[u8], u64) -> io::Result<usize>,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match write(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                bytes = bytes.get(count..).unwrap_or_default();
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills `into`, or as much of it as the file has; how much, it says.
pub(super) fn read_up_to(file: &dyn DiskFile, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Whether this is what a full disk says.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// The machine's own file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

struct RealFile {
    file: fs::File,
    path: PathBuf,
    /// The same file past the page cache, opened when it is first written that way.
    direct: OnceLock<Option<fs::File>>,
    /// The file system does not take such writes.
    direct_refused: AtomicBool,
}

impl RealFile {
    fn new(file: fs::File, path: &Path) -> Self {
        Self {
            file,
            path: path.to_path_buf(),
            direct: OnceLock::new(),
            direct_refused: AtomicBool::new(false),
        }
    }
}

/// Opens a file to be written past the page cache. None: its file system cannot do that.
fn open_direct(path: &Path) -> Option<fs::File> {
    fs::File::options()
        .write(true)
        .custom_flags(rustix::fs::OFlags::DIRECT.bits() as i32)
        .open(path)
        .ok()
}

impl fmt::Debug for dyn DiskFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DiskFile")
    }
}

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        Ok(Arc::new(RealFile::new(file, path)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = fs::File::options().read(true).write(true).open(path)?;
        Ok(Arc::new(RealFile::new(file, path)))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        fs::File::open(folder)?.sync_all()
    }

    fn fill_zeros(&self, path: &Path, from: u64, to: u64) -> io::Result<()> {
        // Past the page cache: that takes less of the processor's time, and leaves the
        // disk to the log's own writes more often.
        let blocks = BLOCK_BYTES as u64;
        let (true, Some(direct)) = (
            from.is_multiple_of(blocks) && to.is_multiple_of(blocks),
            open_direct(path),
        ) else {
            return fill_zeros(&*self.open(path)?, from, to);
        };
        let zeros = vec![0; ZEROS_BYTES + BLOCK_BYTES];
        // Such a write must come from memory that is aligned as the disk's blocks are.
        let aligned = zeros.as_ptr().align_offset(BLOCK_BYTES).min(BLOCK_BYTES);
        let zeros = zeros
            .get(aligned..aligned + ZEROS_BYTES)
            .unwrap_or_default();
        let mut at = from;
        while at < to {
            let count = (to - at).min(ZEROS_BYTES as u64) as usize;
            match direct.write_at(zeros.get(..count).unwrap_or_default(), at) {
                Ok(written) if written % BLOCK_BYTES == 0 && written > 0 => at += written as u64,
                // A file system that cannot do this, or not here.
                Ok(_) => return fill_zeros(&*self.open(path)?, at, to),
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    return fill_zeros(&*self.open(path)?, at, to);
                }
                Err(error) => return Err(error),
            }
        }
        direct.sync_data()
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(folder)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

impl DiskFile for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn write_blocks_at(&self, blocks: &[u8], offset: u64) -> io::Result<usize> {
        let direct = self.direct.get_or_init(|| open_direct(&self.path));
        if let Some(direct) = direct
            && !self.direct_refused.load(Ordering::Relaxed)
        {
            match direct.write_at(blocks, offset) {
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    self.direct_refused.store(true, Ordering::Relaxed);
                }
                done => return done,
            }
        }
        self.file.write_at(blocks, offset)
    }

    fn will_read(&self, offset: u64, bytes: u64) {
        for at in (offset..offset.saturating_add(bytes)).step_by(READ_AHEAD_BYTES) {
            let some = NonZeroU64::new(READ_AHEAD_BYTES as u64);
            // Where the system cannot do that, the first reader waits for the disk.
            let _ = rustix::fs::fadvise(&self.file, at, some, rustix::fs::Advice::WillNeed);
        }
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
