//! A record of the log, byte by byte. `LOG_FORMAT.md` beside this crate's
//! manifest is the same for people.
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 4 | CRC-32C of bytes 16 to the end, then of bytes 4 to 16 |
//! | 4 | 4 | length of the whole record |
//! | 8 | 8 | position: where the record ends in the log as a whole |
//! | 16 | 8 | commit: the partition's version. mark and seal: where their frame begins |
//! | 24 | 4 | number of rows. mark and seal: from here on 7 bytes, their moment |
//! | 28 | 2 | keyspace |
//! | 30 | 1 | length of the partition's key |
//! | 31 | 1 | kind in the low four bits; 0x10: has events |
//!
//! Then the partition's key, then the rows. A row: CRC-32C of keyspace,
//! partition, row key and value (4 bytes), length of the value (4), of the key
//! (2), what happens to it (1), zero (1), key, value. All numbers are
//! little-endian.

use bytes::{BufMut, Bytes, BytesMut};

use crate::port::{KeyspaceId, PartitionId, PartitionRef};
use crate::rows::{Change, Changes};

/// Bytes before the partition's key; all of a mark or a seal.
pub(super) const HEADER_BYTES: usize = 32;
/// Bytes of a row before its key.
pub(super) const ROW_HEADER_BYTES: usize = 12;
const HAS_EVENTS: u8 = 0x10;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Rows of one partition.
    Commit,
    /// The end of a frame: everything before the frame's start was durable when it was written.
    Mark,
    /// As a mark, and the log goes on in the next segment.
    Seal,
}

/// What a record says of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// It has this value.
    Put,
    /// It has this value, and is an event.
    Event,
    /// It is gone.
    Delete,
}

impl RowKind {
    fn of(change: &Change) -> Self {
        match change {
            Change::Put(_) | Change::New(_) => Self::Put,
            Change::Event(_) => Self::Event,
            Change::Delete => Self::Delete,
        }
    }

    fn to_byte(self) -> u8 {
        match self {
            Self::Put => 1,
            Self::Event => 2,
            Self::Delete => 3,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Put),
            2 => Some(Self::Event),
            3 => Some(Self::Delete),
            _ => None,
        }
    }
}

/// Bytes that the commit's record takes.
pub(super) fn commit_bytes(partition: &[u8], changes: &Changes) -> usize {
    let rows: usize = changes
        .rows
        .iter()
        .map(|(key, change)| row_bytes(key, change.value()))
        .sum();
    HEADER_BYTES + partition.len() + rows
}

/// Bytes that a row takes in its record.
pub(super) fn row_bytes(key: &[u8], value: Option<&Bytes>) -> usize {
    ROW_HEADER_BYTES + key.len() + value.map_or(0, Bytes::len)
}

/// The checksum that all rows of a partition begin with.
pub(super) fn partition_crc(partition: PartitionRef<'_>) -> u32 {
    let crc = crc32c::crc32c(&partition.keyspace.0.to_le_bytes());
    crc32c::crc32c_append(crc, partition.key)
}

/// The checksum of a row.
pub(super) fn row_crc(partition_crc: u32, key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(partition_crc, key), value)
}

/// A row as it goes into a record.
pub(super) struct RowOut<'a> {
    pub(super) key: &'a [u8],
    pub(super) kind: RowKind,
    pub(super) value: &'a [u8],
}

impl<'a> RowOut<'a> {
    fn of((key, change): (&'a Bytes, &'a Change)) -> Self {
        Self {
            key,
            kind: RowKind::of(change),
            value: change.value().map_or(&[], |value| value),
        }
    }
}

/// A record that is whole but for its position and checksum: see [`Draft::finish`].
pub(super) struct Draft {
    bytes: BytesMut,
    body_crc: u32,
}

impl Draft {
    /// Encodes a commit at the end of `buffer` and takes it out of there.
    /// `partition_crc` is [`partition_crc`] of the partition.
    pub(super) fn commit(
        buffer: &mut BytesMut,
        partition: PartitionRef<'_>,
        partition_crc: u32,
        version: u64,
        changes: &Changes,
    ) -> Self {
        let rows = changes.rows.iter().map(RowOut::of);
        Self::from_rows(buffer, partition, partition_crc, version, rows)
    }

    /// As [`Draft::commit`], from rows.
    pub(super) fn from_rows<'a>(
        buffer: &mut BytesMut,
        partition: PartitionRef<'_>,
        partition_crc: u32,
        version: u64,
        rows: impl Iterator<Item = RowOut<'a>>,
    ) -> Self {
        buffer.clear();
        let mut header = [0; HEADER_BYTES];
        header[16..24].copy_from_slice(&version.to_le_bytes());
        header[28..30].copy_from_slice(&partition.keyspace.0.to_le_bytes());
        header[30] = u8::try_from(partition.key.len()).unwrap_or(u8::MAX);
        buffer.put_slice(&header);
        buffer.put_slice(partition.key);
        let mut count = 0u32;
        let mut flags = 0u8;
        for row in rows {
            count += 1;
            if row.kind == RowKind::Event {
                flags |= HAS_EVENTS;
            }
            // In one piece: each `put` looks anew for room.
            let mut header = [0; ROW_HEADER_BYTES];
            header[0..4].copy_from_slice(&row_crc(partition_crc, row.key, row.value).to_le_bytes());
            let value_len = u32::try_from(row.value.len()).unwrap_or(u32::MAX);
            header[4..8].copy_from_slice(&value_len.to_le_bytes());
            let key_len = u16::try_from(row.key.len()).unwrap_or(u16::MAX);
            header[8..10].copy_from_slice(&key_len.to_le_bytes());
            header[10] = row.kind.to_byte();
            buffer.put_slice(&header);
            buffer.put_slice(row.key);
            buffer.put_slice(row.value);
        }
        let mut bytes = buffer.split();
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        // The header was written above, so these places exist.
        bytes[4..8].copy_from_slice(&len.to_le_bytes());
        bytes[24..28].copy_from_slice(&count.to_le_bytes());
        bytes[31] = flags; // Kind 0 is a commit.
        let body_crc = crc32c::crc32c(&bytes[16..]);
        Self { bytes, body_crc }
    }

    /// Bytes of the record.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The record that ends at this position.
    pub(super) fn finish(mut self, position: u64) -> Bytes {
        self.bytes[8..16].copy_from_slice(&position.to_le_bytes());
        let crc = crc32c::crc32c_append(self.body_crc, &self.bytes[4..16]);
        self.bytes[0..4].copy_from_slice(&crc.to_le_bytes());
        self.bytes.freeze()
    }
}

/// A mark or a seal that ends at `position`, of the frame that begins at `frame_start`,
/// written at this moment: microseconds since 1970, up to the year 4253, or 0 where
/// nobody knows.
pub(super) fn encode_end(
    kind: Kind,
    position: u64,
    frame_start: u64,
    moment_us: u64,
) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[4..8].copy_from_slice(&32u32.to_le_bytes());
    bytes[8..16].copy_from_slice(&position.to_le_bytes());
    bytes[16..24].copy_from_slice(&frame_start.to_le_bytes());
    bytes[24..31].copy_from_slice(&moment_us.to_le_bytes()[..7]);
    bytes[31] = if kind == Kind::Seal { 2 } else { 1 };
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[16..]), &bytes[4..16]);
    bytes[0..4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The fixed part of a record. Nothing is verified but that the kind exists.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) len: u32,
    pub(super) position: u64,
    pub(super) version: u64,
    pub(super) rows: u32,
    pub(super) keyspace: u16,
    pub(super) partition_bytes: u8,
    pub(super) kind: Kind,
    pub(super) has_events: bool,
}

impl Header {
    /// Reads a header; none if these bytes cannot be one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let kind = *bytes.get(31)?;
        Some(Self {
            len: u32_at(bytes, 4)?,
            position: u64_at(bytes, 8)?,
            version: u64_at(bytes, 16)?,
            rows: u32_at(bytes, 24)?,
            keyspace: u16_at(bytes, 28)?,
            partition_bytes: *bytes.get(30)?,
            kind: match kind & 0x0f {
                0 => Kind::Commit,
                1 => Kind::Mark,
                2 => Kind::Seal,
                _ => return None,
            },
            has_events: kind & HAS_EVENTS != 0,
        })
    }

    /// When a mark or a seal was written: see [`encode_end`]. None: a commit, or nobody knew.
    pub(super) fn moment_us(&self) -> Option<u64> {
        let moment_us = u64::from(self.rows)
            | u64::from(self.keyspace) << 32
            | u64::from(self.partition_bytes) << 48;
        (self.kind != Kind::Commit && moment_us > 0).then_some(moment_us)
    }
}

/// Whether the checksum of these bytes, one record, is right.
pub(super) fn verify(bytes: &[u8]) -> bool {
    let (Some(crc), Some(head), Some(body)) = (u32_at(bytes, 0), bytes.get(4..16), bytes.get(16..))
    else {
        return false;
    };
    crc32c::crc32c_append(crc32c::crc32c(body), head) == crc
}

/// A record that was read and verified.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) header: Header,
    /// Where in its segment it begins.
    pub(super) offset: u32,
    /// All of it.
    pub(super) bytes: Bytes,
}

impl Record {
    /// Whose rows these are.
    pub(super) fn partition(&self) -> PartitionId {
        let end = (HEADER_BYTES + usize::from(self.header.partition_bytes)).min(self.bytes.len());
        PartitionId {
            keyspace: KeyspaceId(self.header.keyspace),
            key: self.bytes.slice(HEADER_BYTES.min(end)..end),
        }
    }

    /// Its rows, in order of their keys.
    pub(super) fn rows(&self) -> RowsIn<'_> {
        RowsIn {
            record: self,
            at: HEADER_BYTES + usize::from(self.header.partition_bytes),
            left: self.header.rows,
        }
    }
}

/// A row as it came out of a record.
#[derive(Debug, Clone)]
pub(super) struct RowIn {
    pub(super) key: Bytes,
    pub(super) kind: RowKind,
    pub(super) value: Bytes,
    /// Where in the segment it begins.
    pub(super) offset: u32,
    /// Its bytes, with its header.
    pub(super) len: u32,
    /// Its checksum, as it stands there.
    pub(super) crc: u32,
}

/// The rows of a record; `None` inside for one that does not parse.
pub(super) struct RowsIn<'a> {
    record: &'a Record,
    at: usize,
    left: u32,
}

impl Iterator for RowsIn<'_> {
    type Item = Option<RowIn>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let row = self.row();
        self.left = if row.is_some() { self.left - 1 } else { 0 };
        Some(row)
    }
}

impl RowsIn<'_> {
    fn row(&mut self) -> Option<RowIn> {
        let bytes = &self.record.bytes;
        let rest = bytes.get(self.at..)?;
        let value_len = u32_at(rest, 4)? as usize;
        let key_len = usize::from(u16_at(rest, 8)?);
        let kind = RowKind::from_byte(*rest.get(10)?)?;
        let key_at = self.at + ROW_HEADER_BYTES;
        let end = key_at + key_len + value_len;
        if end > bytes.len() {
            return None;
        }
        let row = RowIn {
            key: bytes.slice(key_at..key_at + key_len),
            kind,
            value: bytes.slice(key_at + key_len..end),
            offset: self.record.offset + u32::try_from(self.at).ok()?,
            len: u32::try_from(end - self.at).ok()?,
            crc: u32_at(rest, 0)?,
        };
        self.at = end;
        Some(row)
    }
}

/// Verifies one row read by its place; its value.
pub(super) fn open_row(
    bytes: &Bytes,
    partition_crc: u32,
    key: &[u8],
) -> Result<Bytes, &'static str> {
    let (Some(crc), Some(value_len), Some(key_len)) =
        (u32_at(bytes, 0), u32_at(bytes, 4), u16_at(bytes, 8))
    else {
        return Err("the row is cut short");
    };
    let value_at = ROW_HEADER_BYTES + usize::from(key_len);
    if value_at + value_len as usize != bytes.len() {
        return Err("the row's lengths are wrong");
    }
    if bytes.get(ROW_HEADER_BYTES..value_at) != Some(key) {
        return Err("another row stands there");
    }
    let value = bytes.slice(value_at..);
    if row_crc(partition_crc, key, &value) != crc {
        return Err("the row's checksum is wrong");
    }
    Ok(value)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_says_its_moment_and_one_without_a_clock_says_none() {
        for moment_us in [0, 1, 1_795_327_200_000_000, (1 << 56) - 1] {
            for kind in [Kind::Mark, Kind::Seal] {
                let bytes = encode_end(kind, 4_128, 4_096, moment_us);
                assert!(verify(&bytes));
                let header = Header::decode(&bytes).unwrap();
                assert_eq!((header.kind, header.version), (kind, 4_096));
                assert_eq!(header.moment_us().unwrap_or(0), moment_us);
            }
        }
    }
}
