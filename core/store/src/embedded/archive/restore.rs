//! Restores what an archive has, up to a moment, into a new folder.

use std::path::Path;
use std::sync::Arc;

use crate::error::StoreError;

use super::super::backup::BackupReport;
use super::super::manifest::{ListedSegment, Manifest};
use super::super::reader::{Reader, Step};
use super::super::record::Kind;
use super::super::restore::Restoring;
use super::super::segment::{REWRITTEN_FROM, Segment, SegmentHeader};
use super::Archive;
use super::error::{ArchiveError, Point};
use super::ranges::{Prefix, Until};

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The state's place in the log, and the moment of the last mark up to there.
    pub point: Point,
    /// The newest place of what followed it in the archive.
    pub newest: Point,
    /// Bytes of log between the two, which were left out.
    pub left_out_bytes: u64,
    /// What is there. Where one keyspace was restored, `commits`, `rows` and `partitions`
    /// are those that were read to find it.
    pub report: BackupReport,
}

impl Archive {
    /// Restores the state at the last commit up to there, an exact prefix of the log, into a
    /// folder that does not exist yet: all of it, or the one keyspace. What is restored is
    /// verified first, and is a store of its own, with a new number: what happens in it from
    /// then on is not what is archived here. `watch` is told of bytes that were read: first
    /// while verifying, then again while copying; where it says false, that is the end.
    ///
    /// # Errors
    /// The moment or position is not there, the keyspace is not; something is damaged; `to`
    /// exists or cannot be written. Nothing is left in `to` then that could be opened.
    pub fn restore(
        &self,
        to: &Path,
        until: Until,
        keyspace: Option<&str>,
        watch: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Restored, ArchiveError> {
        let only = keyspace.map(|name| self.keyspace(name)).transpose()?;
        let prefix = self.find(until)?;
        let mut report = self.verify_prefix(&prefix, watch)?;
        let segments = self.segments(&prefix)?;
        let restoring = Restoring::begin(to)?;
        let mut manifest = Manifest {
            store: restoring.store(),
            // Of one keyspace there are no marks left that say it.
            newest_us: prefix.end.moment_us,
            keyspaces: self.contents.keyspaces.clone(),
            ..Manifest::default()
        };
        let written = match only {
            None => whole(&restoring, &prefix, &segments, watch)?,
            Some(only) => {
                manifest.keyspaces.retain(|(id, _)| *id == only);
                one_keyspace(&restoring, &prefix, &segments, only, watch)?
            }
        };
        report.segments = written.len();
        report.bytes = written.iter().map(|(_, bytes)| bytes).sum();
        manifest.segments = written
            .into_iter()
            .map(|(number, _)| ListedSegment { number, dead: 0 })
            .collect();
        restoring.finish(&manifest)?;
        Ok(Restored {
            point: prefix.end.point(),
            newest: prefix.newest.point(),
            left_out_bytes: prefix.left_out,
            report,
        })
    }

    fn keyspace(&self, name: &str) -> Result<u16, ArchiveError> {
        let keyspaces = &self.contents.keyspaces;
        let found = keyspaces.iter().find(|(_, known)| known == name);
        found.map(|(id, _)| *id).ok_or_else(|| {
            let known = keyspaces.iter().map(|(_, name)| name.clone()).collect();
            ArchiveError::NoSuchKeyspace {
                name: name.to_owned(),
                known,
            }
        })
    }
}

/// Numbers of segments, and the bytes of their files.
type Written = Vec<(u32, u64)>;

/// The segments as they were; the last one up to where the prefix ends.
fn whole(
    restoring: &Restoring,
    prefix: &Prefix,
    segments: &[Arc<Segment>],
    watch: &mut dyn FnMut(u64) -> bool,
) -> Result<Written, ArchiveError> {
    let mut written = Written::new();
    for (part, segment) in prefix.parts.iter().zip(segments) {
        let size = if segment.is_rewritten() {
            u64::from(part.until)
        } else {
            segment.span
        };
        restoring.copy(segment, u64::from(part.until), size)?;
        written.push((segment.number, size));
        if !watch(u64::from(part.until)) {
            return Err(ArchiveError::Stopped);
        }
    }
    if prefix.parts.last().is_none_or(|part| part.is_sealed()) {
        // The log goes on behind a seal, or a rewritten segment, in the next segment.
        written.push(next(restoring, segments, None)?);
    }
    Ok(written)
}

/// Copies of the segments with the commits of one keyspace, as rewriting would leave them;
/// and an empty one for the log to go on in.
fn one_keyspace(
    restoring: &Restoring,
    prefix: &Prefix,
    segments: &[Arc<Segment>],
    only: u16,
    watch: &mut dyn FnMut(u64) -> bool,
) -> Result<Written, ArchiveError> {
    let mut written = Written::new();
    for (number, (part, segment)) in (REWRITTEN_FROM..).zip(prefix.parts.iter().zip(segments)) {
        let ends_here = written.len() + 1 == segments.len() && !part.is_sealed();
        let span = if ends_here {
            prefix.end.position - segment.base
        } else {
            segment.span
        };
        let header = SegmentHeader {
            number,
            base: segment.base,
            span,
            store: restoring.store(),
        };
        let mut reader = Reader::new(segment.clone(), 0, part.until);
        let mut commits = std::iter::from_fn(|| {
            loop {
                let offset = u64::from(reader.offset());
                match reader.next() {
                    Ok(Step::Record(record)) => {
                        let header = &record.header;
                        if header.kind == Kind::Commit && header.keyspace == only {
                            return Some(Ok(record.bytes));
                        }
                    }
                    Ok(Step::End) => return None,
                    Ok(Step::Bad(why)) => return Some(Err(segment.damaged(offset, why))),
                    Err(error) => return Some(Err(error)),
                }
            }
        });
        let bytes = restoring.write(header, &mut commits)?;
        written.push((number, bytes));
        if !watch(u64::from(part.until)) {
            return Err(ArchiveError::Stopped);
        }
    }
    let base = prefix.parts.last().map(|part| {
        if part.is_sealed() {
            part.file.base + part.file.span
        } else {
            prefix.end.position
        }
    });
    written.push(next(restoring, segments, base)?);
    Ok(written)
}

/// An empty segment for the log to go on in, at `base`, or where the last one ends.
fn next(
    restoring: &Restoring,
    segments: &[Arc<Segment>],
    base: Option<u64>,
) -> Result<(u32, u64), StoreError> {
    let originals = segments.iter().filter(|segment| !segment.is_rewritten());
    let last = originals.max_by_key(|segment| segment.number);
    let end = segments.last().map_or(0, |segment| segment.end());
    let header = SegmentHeader {
        number: last.map_or(0, |segment| segment.number) + 1,
        base: base.unwrap_or(end),
        span: last.map_or(4 << 20, |segment| segment.span),
        store: restoring.store(),
    };
    restoring.empty(header)?;
    Ok((header.number, header.span))
}
