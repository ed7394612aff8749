//! Reads a stopped log whole and compares every checksum.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;

use crate::error::StoreError;

use super::backup::{BackupReport, read_store};
use super::reader::{Reader, Step, remains};
use super::record::{Kind, Record, partition_crc, row_crc};
use super::segment::{HEADER_PAGE_BYTES, Segment};

/// Verifies a backup, or the folder of a store that was stopped in order: every
/// record and row, that segments and versions follow each other, and that
/// nothing stands behind the end.
///
/// # Errors
/// [`StoreError::Damaged`] names segment and offset.
pub fn verify_backup(folder: &Path) -> Result<BackupReport, StoreError> {
    let (manifest, segments) = read_store(folder)?;
    let mut verifier = Verifier::new(&manifest.keyspaces, &segments);
    for (at, segment) in segments.iter().enumerate() {
        let walked = verifier.segment(segment, segment.until())?;
        if remains(segment, walked.end)?.bytes > 0 && !walked.sealed {
            return Err(segment.damaged(u64::from(walked.end), "zeros within the log"));
        }
        let is_last = at + 1 == segments.len();
        if walked.sealed && is_last && !segment.is_rewritten() {
            return Err(StoreError::Damaged(format!(
                "the segment after {} is missing",
                segment.name()
            )));
        }
        if !walked.sealed {
            for next in segments.get(at + 1..).unwrap_or_default() {
                if remains(next, HEADER_PAGE_BYTES)?.bytes > 0 {
                    return Err(segment.damaged(
                        u64::from(walked.end),
                        "the log ends here and goes on in the next segment",
                    ));
                }
            }
            break;
        }
    }
    let mut report = verifier.report();
    report.segments = segments.len();
    report.bytes = segments.iter().map(|segment| segment.size).sum();
    Ok(report)
}

/// Where the records of a segment ended.
pub(super) struct Walked {
    /// Behind the last one.
    pub(super) end: u32,
    /// The log goes on in the next segment.
    pub(super) sealed: bool,
    /// CRC-32C from the segment's beginning to there.
    pub(super) crc: u32,
}

/// Verifies segment after segment.
pub(super) struct Verifier {
    keyspaces: BTreeSet<u16>,
    /// Between the records that rewriting kept, versions are missing.
    gapless: bool,
    // By hash: a clash of two partitions would only hide a gap, never report one falsely.
    hasher: RandomState,
    versions: HashMap<u64, u64>,
    report: BackupReport,
}

impl Verifier {
    /// Of a log of these segments.
    pub(super) fn new(keyspaces: &[(u16, String)], segments: &[Arc<Segment>]) -> Self {
        Self {
            keyspaces: keyspaces.iter().map(|(id, _)| *id).collect(),
            gapless: !segments.iter().any(|segment| segment.is_rewritten()),
            hasher: RandomState::new(),
            versions: HashMap::new(),
            report: BackupReport::default(),
        }
    }

    /// What was read.
    pub(super) fn report(self) -> BackupReport {
        BackupReport {
            partitions: self.versions.len() as u64,
            ..self.report
        }
    }

    /// The next segment, up to an offset.
    pub(super) fn segment(
        &mut self,
        segment: &Arc<Segment>,
        until: u32,
    ) -> Result<Walked, StoreError> {
        let mut crc = crc32c::crc32c(&segment.read(0, HEADER_PAGE_BYTES)?);
        let mut reader = Reader::new(segment.clone(), 0, until);
        let sealed = loop {
            let offset = u64::from(reader.offset());
            match reader.next()? {
                Step::Record(record) => {
                    crc = crc32c::crc32c_append(crc, &record.bytes);
                    self.report.position = record.header.position;
                    match record.header.kind {
                        Kind::Mark => {}
                        Kind::Seal => break true,
                        Kind::Commit => self.commit(segment, &record)?,
                    }
                }
                Step::End => break segment.is_rewritten(),
                Step::Bad(why) => return Err(segment.damaged(offset, why)),
            }
        };
        Ok(Walked {
            end: reader.offset(),
            sealed,
            crc,
        })
    }

    fn commit(&mut self, segment: &Segment, record: &Record) -> Result<(), StoreError> {
        let offset = u64::from(record.offset);
        let id = record.partition();
        if !self.keyspaces.contains(&id.keyspace.0) {
            return Err(segment.damaged(offset, "its keyspace is not in the manifest"));
        }
        let crc = partition_crc(id.borrowed());
        for row in record.rows() {
            let row = row
                .ok_or_else(|| segment.damaged(offset, "a row within the record does not parse"))?;
            if row_crc(crc, &row.key, &row.value) != row.crc {
                return Err(segment.damaged(
                    u64::from(row.offset),
                    &format!(
                        "the checksum of row {} of {id:?} is wrong",
                        row.key.escape_ascii()
                    ),
                ));
            }
            self.report.rows += 1;
        }
        self.report.commits += 1;
        let next = record.header.version;
        let before = self.versions.insert(self.hasher.hash_one(&id), next);
        let before = before.unwrap_or(0);
        if next <= before || (self.gapless && next != before + 1) {
            return Err(segment.damaged(
                offset,
                &format!("partition {id:?} goes from version {before} to {next}"),
            ));
        }
        Ok(())
    }
}
