//! Looking into the log of a stopped store, record by record.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::StoreError;
use crate::port::Position;

use super::backup::read_store;
use super::lock::LOCK_FILE;
use super::options::TornTail;
use super::reader::{Reader, Step, remains};
use super::record::{Kind, Record, RowKind, partition_crc, row_crc};
use super::segment::Segment;

/// What stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspected {
    /// A commit.
    Commit(InspectedCommit),
    /// The end of a frame: all before its start was durable when it was written.
    FrameEnd {
        /// The segment's file name.
        segment: String,
        /// Where in it this stands.
        offset: u64,
        /// Where in the log it ends.
        position: Position,
        /// Where in the log the frame begins.
        frame_start: Position,
        /// When it was written, in microseconds since 1970, if the store had a clock.
        moment_us: Option<u64>,
        /// The log goes on in the next segment.
        seals: bool,
    },
    /// What the next start would cut off.
    TornTail(TornTail),
}

/// A commit, as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedCommit {
    /// The segment's file name.
    pub segment: String,
    /// Where in it the record begins.
    pub offset: u64,
    /// Bytes of the record.
    pub bytes: u32,
    /// Where in the log it ends.
    pub position: Position,
    /// The keyspace's name.
    pub keyspace: String,
    /// The partition's key.
    pub partition: Bytes,
    /// The partition's version after it.
    pub version: u64,
    /// Its rows, by key.
    pub rows: Vec<InspectedRow>,
}

/// A row of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedRow {
    /// The row's key.
    pub key: Bytes,
    /// What happened to it.
    pub kind: RowKind,
    /// Bytes of its value.
    pub value_bytes: usize,
    /// Whether its own checksum is right.
    pub intact: bool,
}

/// Reads the log in `folder` from behind a position; the store must be stopped. Nothing is changed.
///
/// # Errors
/// [`StoreError::Unavailable`] if a process has the store open; [`StoreError::Damaged`] if
/// the folder is no store or a segment is missing.
pub fn inspect(folder: &Path, after: Position) -> Result<Inspect, StoreError> {
    let lock = match File::open(folder.join(LOCK_FILE)) {
        Ok(file) => match file.try_lock_shared() {
            Ok(()) => Some(file),
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Unavailable(format!(
                    "{} is in use by another process: stop it first",
                    folder.display()
                )));
            }
            Err(TryLockError::Error(error)) => {
                return Err(StoreError::Unavailable(format!(
                    "cannot lock {}: {error}",
                    folder.display()
                )));
            }
        },
        // A backup has no lock, and nobody who would hold it.
        Err(_) => None,
    };
    let (manifest, segments) = read_store(folder)?;
    let mut segments = segments;
    segments.retain(|segment| segment.end() > after.0);
    segments.reverse();
    Ok(Inspect {
        keyspaces: manifest.keyspaces,
        after,
        left: segments,
        current: None,
        done: false,
        _lock: lock,
    })
}

/// The records of a log, in order. After an error there is nothing more.
pub struct Inspect {
    keyspaces: Vec<(u16, String)>,
    after: Position,
    /// The last one comes next.
    left: Vec<Arc<Segment>>,
    current: Option<(Arc<Segment>, Reader)>,
    done: bool,
    _lock: Option<File>,
}

impl Iterator for Inspect {
    type Item = Result<Inspected, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.step();
        self.done |= !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}

impl Inspect {
    fn step(&mut self) -> Result<Option<Inspected>, StoreError> {
        loop {
            let Some((segment, reader)) = &mut self.current else {
                let Some(segment) = self.left.pop() else {
                    return Ok(None);
                };
                let reader = Reader::new(segment.clone(), 0, segment.until());
                self.current = Some((segment, reader));
                continue;
            };
            let offset = u64::from(reader.offset());
            match reader.next()? {
                Step::Record(record) => {
                    let (after, header) = (self.after.0, record.header);
                    let found = match header.kind {
                        Kind::Commit => {
                            Inspected::Commit(commit(&self.keyspaces, segment, &record)?)
                        }
                        Kind::Mark | Kind::Seal => Inspected::FrameEnd {
                            segment: segment.name(),
                            offset,
                            position: Position(header.position),
                            frame_start: Position(header.version),
                            moment_us: header.moment_us(),
                            seals: header.kind == Kind::Seal,
                        },
                    };
                    if header.kind == Kind::Seal {
                        self.current = None;
                    }
                    if header.position > after {
                        return Ok(Some(found));
                    }
                }
                Step::End if segment.is_rewritten() => self.current = None,
                Step::End | Step::Bad(_) => {
                    let left = remains(segment, offset as u32)?;
                    let behind = self.left.iter().try_fold(0, |sum, next| {
                        remains(next, super::segment::HEADER_PAGE_BYTES)
                            .map(|left| sum + left.bytes)
                    })?;
                    if left.was_durable || behind > 0 {
                        return Err(segment
                            .damaged(offset, "no whole record; but the log goes on behind it"));
                    }
                    self.left.clear();
                    self.done = true;
                    let name = segment.name();
                    return Ok((left.bytes > 0).then_some(Inspected::TornTail(TornTail {
                        segment: name,
                        offset,
                        bytes: left.bytes,
                    })));
                }
            }
        }
    }
}

fn commit(
    keyspaces: &[(u16, String)],
    segment: &Segment,
    record: &Record,
) -> Result<InspectedCommit, StoreError> {
    let id = record.partition();
    let crc = partition_crc(id.borrowed());
    let rows = record
        .rows()
        .map(|row| {
            let row = row.ok_or_else(|| {
                segment.damaged(
                    u64::from(record.offset),
                    "a row within the record does not parse",
                )
            })?;
            Ok(InspectedRow {
                intact: row_crc(crc, &row.key, &row.value) == row.crc,
                key: row.key,
                kind: row.kind,
                value_bytes: row.value.len(),
            })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    let name = keyspaces.iter().find(|(known, _)| *known == id.keyspace.0);
    Ok(InspectedCommit {
        segment: segment.name(),
        offset: u64::from(record.offset),
        bytes: record.header.len,
        position: Position(record.header.position),
        keyspace: name.map_or_else(|| format!("#{}", id.keyspace.0), |(_, name)| name.clone()),
        partition: id.key,
        version: record.header.version,
        rows,
    })
}
