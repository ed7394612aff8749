//! Whether a store is still the one that was archived, or an older copy of its folder was
//! put in its place and went on from there: another history of the same store.

use std::io;
use std::sync::Arc;

use crate::error::StoreError;

use super::super::disk::{DiskFile, read_up_to};
use super::super::reader::{Reader, Step};
use super::super::record::{HEADER_BYTES, Kind, Record};
use super::super::segment::Segment;
use super::contents::Archived;

/// Whether the mark or seal where the archived file ends stands in the segment as well. It
/// says its position, where its frame begins and when it was: another history does not
/// have the same one.
pub(super) fn end_alike(
    segment: &Segment,
    archived: &Segment,
    file: &Archived,
) -> Result<bool, StoreError> {
    let at = file.bytes.saturating_sub(HEADER_BYTES as u64);
    let read = |segment: &Segment| {
        read_mark(&*segment.file, at)
            .map_err(|error| segment.damaged(at, &format!("cannot be read: {error}")))
    };
    Ok(read(segment)? == read(archived)?)
}

fn read_mark(file: &dyn DiskFile, at: u64) -> io::Result<[u8; HEADER_BYTES]> {
    let mut bytes = [0; HEADER_BYTES];
    read_up_to(file, &mut bytes, at)?;
    Ok(bytes)
}

/// Whether every commit that rewriting left of the archived file's part of the log is in
/// the file, at its position and of the same partition and version.
pub(super) fn left_alike(
    rewritten: &Arc<Segment>,
    archived: &Arc<Segment>,
) -> Result<bool, StoreError> {
    let archived_until = archived.until();
    let end = archived.base + u64::from(archived_until);
    let mut known = Reader::new(archived.clone(), 0, archived_until);
    let mut left = Reader::new(rewritten.clone(), 0, rewritten.until());
    while let Some(record) = next_commit(&mut left, rewritten)? {
        let position = record.header.position;
        if position <= archived.base {
            continue;
        }
        if position > end {
            break;
        }
        let same = loop {
            match next_commit(&mut known, archived)? {
                Some(known) if known.header.position < position => {}
                Some(known) => break is_same(&known, &record),
                None => break false,
            }
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Of the same partition and version, and at the same place. Rows may have been left out.
fn is_same(known: &Record, left: &Record) -> bool {
    (known.header.position, known.header.version) == (left.header.position, left.header.version)
        && known.partition() == left.partition()
}

fn next_commit(reader: &mut Reader, segment: &Segment) -> Result<Option<Record>, StoreError> {
    loop {
        let offset = u64::from(reader.offset());
        match reader.next()? {
            Step::Record(record) => match record.header.kind {
                Kind::Commit => return Ok(Some(record)),
                Kind::Mark => {}
                Kind::Seal => return Ok(None),
            },
            Step::End => return Ok(None),
            Step::Bad(why) => return Err(segment.damaged(offset, why)),
        }
    }
}
