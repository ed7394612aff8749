//! A segment: one file of the log.
//!
//! Its first page says which segment it is and where in the log it stands; the
//! rest was filled with zeros before it came into use, so that a flush writes
//! data only and no metadata (measured in this crate's README).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};

use crate::error::StoreError;

use super::disk::{Disk, DiskFile, read_up_to, write_all_at};

/// The first page: the segment's header, and zeros.
pub(super) const HEADER_PAGE_BYTES: u32 = 4096;
/// Kept free at the end of a segment: room for a mark and a seal.
pub(super) const TAIL_BYTES: u32 = 64;
/// Segments that rewriting made have numbers from here on.
pub(super) const REWRITTEN_FROM: u32 = 0x8000_0000;
const MAGIC: [u8; 8] = *b"LMBDLOG\n";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 48;

/// Where a row stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The segment's number.
    pub(super) segment: u32,
    /// Where in it the row begins.
    pub(super) offset: u32,
    /// The row's bytes, with its header.
    pub(super) len: u32,
}

/// One file of the log.
pub(super) struct Segment {
    pub(super) number: u32,
    /// The position of the file's first byte in the log.
    pub(super) base: u64,
    /// Positions that it covers. A rewritten segment's file is shorter.
    pub(super) span: u64,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    /// Bytes of the file. A segment that is not rewritten was written full of zeros.
    pub(super) size: u64,
    /// Bytes of rows that were superseded, as far as that was noticed.
    pub(super) dead: AtomicU64,
    /// Something in it could not be read: it is left as it is.
    pub(super) damaged: AtomicBool,
}

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) number: u32,
    pub(super) base: u64,
    pub(super) span: u64,
    pub(super) store: u64,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.base.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.span.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.store.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..44]);
        bytes[44..48].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header, or says what is wrong with it.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err("the header is cut short".into());
        };
        if bytes[0..8] != MAGIC {
            return Err("this is no segment of a Lombard log".into());
        }
        let u32_at = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if u32_at(8) != FORMAT {
            return Err(format!(
                "it has format {}, this program reads format {FORMAT}",
                u32_at(8)
            ));
        }
        if crc32c::crc32c(&bytes[..44]) != u32_at(44) {
            return Err("the header's checksum is wrong".into());
        }
        Ok(Self {
            number: u32_at(12),
            base: u64_at(16),
            span: u64_at(24),
            store: u64_at(32),
        })
    }
}

/// The file name of a segment.
pub(super) fn file_name(number: u32) -> String {
    if number >= REWRITTEN_FROM {
        format!("r{:09}.log", number - REWRITTEN_FROM)
    } else {
        format!("{number:010}.log")
    }
}

/// The number in a segment's file name.
pub(super) fn number_of(name: &str) -> Option<u32> {
    let stem = name.strip_suffix(".log")?;
    let number = match stem.strip_prefix('r') {
        Some(rest) => REWRITTEN_FROM.checked_add(rest.parse().ok()?)?,
        None => stem
            .parse()
            .ok()
            .filter(|number| *number < REWRITTEN_FROM)?,
    };
    (file_name(number) == name).then_some(number)
}

impl Segment {
    /// Makes the file, filled with zeros, and durable with its name.
    pub(super) fn create(
        disk: &dyn Disk,
        folder: &Path,
        header: SegmentHeader,
    ) -> io::Result<Self> {
        let path = folder.join(file_name(header.number));
        let file = disk.create(&path)?;
        let made = disk
            .fill_zeros(&path, 0, header.span)
            // The header last: a file without one was never in use.
            .and_then(|()| write_all_at(&*file, &header.encode(), 0))
            .and_then(|()| file.sync_data())
            .and_then(|()| disk.sync_folder(folder));
        if let Err(error) = made {
            // The half-made file holds nothing; where it cannot be removed now, opening replaces it.
            let _ = disk.remove(&path);
            return Err(error);
        }
        Ok(Self {
            number: header.number,
            base: header.base,
            span: header.span,
            path,
            file,
            size: header.span,
            dead: AtomicU64::new(0),
            damaged: AtomicBool::new(false),
        })
    }

    /// Opens a segment of this store.
    pub(super) fn open(disk: &dyn Disk, folder: &Path, number: u32) -> Result<Opened, StoreError> {
        let path = folder.join(file_name(number));
        let damaged =
            |why: String| StoreError::Damaged(format!("segment {}: {why}", path.display()));
        let file = disk
            .open(&path)
            .map_err(|error| damaged(format!("cannot be opened: {error}")))?;
        let mut bytes = [0; HEADER_BYTES];
        let read = read_up_to(&*file, &mut bytes, 0)
            .map_err(|error| damaged(format!("cannot be read: {error}")))?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(Opened::Unfinished(path));
        }
        let header = SegmentHeader::decode(&bytes[..read]).map_err(damaged)?;
        if header.number != number {
            return Err(StoreError::Damaged(format!(
                "segment {}: its header says that it is {}",
                path.display(),
                file_name(header.number)
            )));
        }
        let size = file
            .size()
            .map_err(|error| damaged(format!("cannot be read: {error}")))?;
        Ok(Opened::Segment(
            header,
            Self {
                number,
                base: header.base,
                span: header.span,
                path,
                file,
                size,
                dead: AtomicU64::new(0),
                damaged: AtomicBool::new(false),
            },
        ))
    }

    /// The position behind it.
    pub(super) fn end(&self) -> u64 {
        self.base + self.span
    }

    /// Where reading it ends.
    pub(super) fn until(&self) -> u32 {
        u32::try_from(self.size).unwrap_or(u32::MAX)
    }

    /// Whether rewriting made it.
    pub(super) fn is_rewritten(&self) -> bool {
        self.number >= REWRITTEN_FROM
    }

    /// How messages call it.
    pub(super) fn name(&self) -> String {
        file_name(self.number)
    }

    /// Notes that so many bytes of it are superseded.
    pub(super) fn add_dead(&self, bytes: u32) {
        self.dead.fetch_add(u64::from(bytes), Ordering::Relaxed);
    }

    /// Damage at an offset, as an error that says where.
    pub(super) fn damaged(&self, offset: u64, why: &str) -> StoreError {
        StoreError::Damaged(format!("segment {} at offset {offset}: {why}", self.name()))
    }

    /// Reads exactly these bytes.
    pub(super) fn read(&self, offset: u32, len: u32) -> Result<Bytes, StoreError> {
        let mut bytes = BytesMut::zeroed(len as usize);
        let read = read_up_to(&*self.file, &mut bytes, u64::from(offset)).map_err(|error| {
            self.damaged(u64::from(offset), &format!("cannot be read: {error}"))
        })?;
        if read < len as usize {
            return Err(self.damaged(u64::from(offset), "the file ends before the row does"));
        }
        Ok(bytes.freeze())
    }
}

/// A file that has a segment's name.
pub(super) enum Opened {
    /// A segment.
    Segment(SegmentHeader, Segment),
    /// One that was being made when the process died.
    Unfinished(PathBuf),
}
