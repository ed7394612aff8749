//! Reads a segment from front to back, verifying every record.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::error::StoreError;

use super::disk::read_up_to;
use super::record::{HEADER_BYTES, Header, Kind, Record, verify};
use super::segment::{HEADER_PAGE_BYTES, Segment};

const READ_BYTES: u32 = 1 << 20;

/// What comes next in a segment.
pub(super) enum Step {
    /// A commit, a mark or a seal.
    Record(Record),
    /// Zeros: nothing was written from here on, or nothing more was asked for.
    End,
    /// What stands here is no record.
    Bad(&'static str),
}

/// Reads records of one segment.
pub(super) struct Reader {
    segment: Arc<Segment>,
    /// Where the next record begins.
    offset: u32,
    /// Reads nothing from here on.
    until: u32,
    buffer: Bytes,
    /// Where in the segment the buffer begins.
    buffer_at: u32,
    /// The position of the record before.
    position: u64,
}

impl Reader {
    /// Reads from `offset`, or from the first record, up to `until`.
    pub(super) fn new(segment: Arc<Segment>, offset: u32, until: u32) -> Self {
        Self {
            offset: offset.max(HEADER_PAGE_BYTES),
            until,
            buffer: Bytes::new(),
            buffer_at: 0,
            position: segment.base,
            segment,
        }
    }

    /// Where the next record begins.
    pub(super) fn offset(&self) -> u32 {
        self.offset
    }

    /// The next record.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub(super) fn next(&mut self) -> Result<Step, StoreError> {
        let left = self.until.saturating_sub(self.offset);
        if (left as usize) < HEADER_BYTES {
            return Ok(Step::End);
        }
        let Some(header) = self.fill(HEADER_BYTES as u32)? else {
            return Ok(Step::End);
        };
        if header.iter().all(|byte| *byte == 0) {
            return Ok(Step::End);
        }
        let Some(header) = Header::decode(&header) else {
            return Ok(Step::Bad("no record begins here"));
        };
        if (header.len as usize) < HEADER_BYTES || header.len > left {
            return Ok(Step::Bad("the record's length is impossible"));
        }
        let Some(bytes) = self.fill(header.len)? else {
            return Ok(Step::Bad("the file ends within the record"));
        };
        if !verify(&bytes) {
            return Ok(Step::Bad("the record's checksum is wrong"));
        }
        if !self.position_is_right(&header) {
            return Ok(Step::Bad("the record belongs to another place of the log"));
        }
        let record = Record {
            header,
            offset: self.offset,
            bytes,
        };
        self.offset += header.len;
        self.position = header.position;
        Ok(Step::Record(record))
    }

    fn position_is_right(&self, header: &Header) -> bool {
        if self.segment.is_rewritten() {
            // What was superseded is gone from between.
            return header.position > self.position && header.position <= self.segment.end();
        }
        header.position == self.segment.base + u64::from(self.offset + header.len)
    }

    /// So many bytes from where the next record begins; none if the file is shorter.
    fn fill(&mut self, len: u32) -> Result<Option<Bytes>, StoreError> {
        let at = (self.offset - self.buffer_at) as usize;
        let end = at + len as usize;
        if end <= self.buffer.len() {
            return Ok(Some(self.buffer.slice(at..end)));
        }
        let want = len.max(READ_BYTES).min(self.until - self.offset);
        let mut buffer = BytesMut::zeroed(want as usize);
        let read = read_up_to(&*self.segment.file, &mut buffer, u64::from(self.offset)).map_err(
            |error| {
                self.segment
                    .damaged(u64::from(self.offset), &format!("cannot be read: {error}"))
            },
        )?;
        buffer.truncate(read);
        self.buffer = buffer.freeze();
        self.buffer_at = self.offset;
        Ok((len as usize <= read).then(|| self.buffer.slice(..len as usize)))
    }
}

/// What lies behind the place where a segment's records end.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Remains {
    /// Bytes up to the last that is not zero.
    pub(super) bytes: u64,
    /// Whether a mark or a seal says that something before its frame, behind `offset`, was durable.
    pub(super) was_durable: bool,
}

/// Looks at everything from `offset` to the segment's end.
///
/// A frame is written only after the one before it was made durable. So what
/// stood at `offset` was durable, and is damaged, if behind it there is
/// - a mark whose frame begins behind `offset`, or
/// - a mark of the same frame, and any whole record behind that.
///
/// Otherwise what lies behind `offset` is the one frame that was being written.
pub(super) fn remains(segment: &Segment, offset: u32) -> Result<Remains, StoreError> {
    let size = segment.size;
    let bad = segment.base + u64::from(offset);
    let mut remains = Remains::default();
    let mut frame_end = None;
    let mut at = u64::from(offset);
    let mut buffer = vec![0u8; READ_BYTES as usize + HEADER_BYTES];
    while at < size {
        // Overlapping by a header, so that one across two reads is seen.
        let read = read_up_to(&*segment.file, &mut buffer, at)
            .map_err(|error| segment.damaged(at, &format!("cannot be read: {error}")))?;
        let bytes = buffer.get(..read).unwrap_or_default();
        let Some(last) = bytes.iter().rposition(|byte| *byte != 0) else {
            at += u64::from(READ_BYTES);
            continue;
        };
        remains.bytes = at - u64::from(offset) + last as u64 + 1;
        for (index, window) in bytes.windows(HEADER_BYTES).enumerate() {
            let begins = at + index as u64;
            let Some(header) = whole_record(segment, window, begins) else {
                continue;
            };
            let is_end = header.kind != Kind::Commit;
            let behind_frame = frame_end.is_some_and(|end| segment.base + begins >= end);
            if behind_frame || (is_end && header.version > bad) {
                remains.was_durable = true;
                return Ok(remains);
            }
            if is_end {
                frame_end = Some(header.position);
            }
        }
        at += u64::from(READ_BYTES);
    }
    Ok(remains)
}

/// The header of the record that begins here, if one does and it is whole.
fn whole_record(segment: &Segment, window: &[u8], begins: u64) -> Option<Header> {
    // Cheap tests first: this runs for every byte.
    let len = u32::from_le_bytes(*window.get(4..)?.first_chunk()?);
    let position = u64::from_le_bytes(*window.get(8..)?.first_chunk()?);
    if position != segment.base + begins + u64::from(len) || (len as usize) < HEADER_BYTES {
        return None;
    }
    let header = Header::decode(window)?;
    if begins + u64::from(len) > segment.size {
        return None;
    }
    let bytes = segment.read(u32::try_from(begins).ok()?, len).ok()?;
    verify(&bytes).then_some(header)
}
