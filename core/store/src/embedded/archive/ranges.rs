//! Which moments an archive can restore, and where in the log one of them is.

use std::path::Path;
use std::sync::Arc;

use crate::error::StoreError;

use super::super::backup::BackupReport;
use super::super::disk::Disk;
use super::super::reader::{Reader, Step};
use super::super::record::{Header, Kind};
use super::super::segment::{Opened, Segment, file_name};
use super::super::verify::Verifier;
use super::Archive;
use super::contents::{Archived, Chain, Contents, Mark, segments_folder};
use super::error::{ArchiveError, Point};

/// From which to which moment an archive can restore. Between two of them is a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveRange {
    /// The oldest. Position 0 is the log's beginning.
    pub from: Point,
    /// The newest.
    pub until: Point,
    /// When the base was taken.
    pub base: Point,
    /// Segments.
    pub segments: usize,
    /// Bytes of them; ranges may share some.
    pub bytes: u64,
}

/// Up to where to restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The last mark at or before this moment, in microseconds since 1970.
    Moment {
        /// It.
        us: u64,
        /// If that lies behind the newest moment there is, that one.
        or_latest: bool,
    },
    /// The last commit that ends at or before this position.
    Position(u64),
    /// All that there is.
    Latest,
}

/// A prefix of the log, within a chain.
#[derive(Debug)]
pub(super) struct Prefix {
    /// The segments, and up to where in each.
    pub(super) parts: Vec<Part>,
    /// Where it ends.
    pub(super) end: Mark,
    /// Where the chain ends.
    pub(super) newest: Mark,
    /// Bytes of log between the two.
    pub(super) left_out: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) number: u32,
    pub(super) file: Archived,
    pub(super) until: u32,
}

impl Part {
    /// Whether all that counts of the file is among it.
    fn is_all(&self) -> bool {
        u64::from(self.until) == self.file.bytes
    }

    /// Whether the log goes on in the next segment.
    pub(super) fn is_sealed(&self) -> bool {
        self.file.whole && self.is_all()
    }
}

impl Archive {
    /// The moments that it can restore to, oldest first.
    pub fn ranges(&self) -> Vec<ArchiveRange> {
        let files = &self.contents.files;
        let ranges = self.contents.chains.iter().map(|chain| {
            let listed = chain.segments.iter().filter_map(|number| files.get(number));
            ArchiveRange {
                from: chain.oldest(files).point(),
                until: chain.end.point(),
                base: chain.base.point(),
                segments: chain.segments.len(),
                bytes: listed.map(|file| file.bytes).sum(),
            }
        });
        ranges.collect()
    }

    /// Verifies all that it can restore: every file, record and row, that segments and
    /// versions follow each other. `watch` is told of bytes that were read; where it says
    /// false, that is the end.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] names segment and offset.
    pub fn verify(&self, watch: &mut dyn FnMut(u64) -> bool) -> Result<BackupReport, ArchiveError> {
        let mut all = BackupReport::default();
        for chain in &self.contents.chains {
            let report = self.verify_prefix(&self.whole(chain)?, watch)?;
            all.commits = all.commits.max(report.commits);
            all.rows = all.rows.max(report.rows);
            all.partitions = all.partitions.max(report.partitions);
            all.position = report.position;
        }
        all.segments = self.contents.files.len();
        all.bytes = self.contents.bytes();
        Ok(all)
    }

    /// Verifies a prefix.
    pub(super) fn verify_prefix(
        &self,
        prefix: &Prefix,
        watch: &mut dyn FnMut(u64) -> bool,
    ) -> Result<BackupReport, ArchiveError> {
        let segments = self.segments(prefix)?;
        let mut verifier = Verifier::new(&self.contents.keyspaces, &segments);
        let parts = prefix.parts.iter().zip(&segments);
        for (at, (part, segment)) in parts.enumerate() {
            let walked = verifier.segment(segment, part.until)?;
            let is_last = at + 1 == prefix.parts.len();
            if walked.end != part.until || walked.sealed != (part.is_sealed() || !is_last) {
                return Err(segment
                    .damaged(
                        u64::from(walked.end),
                        "the archived log ends here too early",
                    )
                    .into());
            }
            if part.is_all() && walked.crc != part.file.crc {
                return Err(StoreError::Damaged(format!(
                    "segment {}: its checksum is not the one that was archived",
                    segment.name()
                ))
                .into());
            }
            if !watch(u64::from(part.until)) {
                return Err(ArchiveError::Stopped);
            }
        }
        Ok(verifier.report())
    }

    /// The files of a prefix, opened.
    pub(super) fn segments(&self, prefix: &Prefix) -> Result<Vec<Arc<Segment>>, ArchiveError> {
        let mut segments: Vec<Arc<Segment>> = Vec::with_capacity(prefix.parts.len());
        for part in &prefix.parts {
            let segment = self.open_segment(part.number, &part.file)?;
            if let Some(before) = segments.last()
                && before.end() != segment.base
            {
                return Err(StoreError::Damaged(format!(
                    "a segment is missing between {} and {}",
                    before.name(),
                    segment.name()
                ))
                .into());
            }
            segments.push(segment);
        }
        Ok(segments)
    }

    fn open_segment(&self, number: u32, file: &Archived) -> Result<Arc<Segment>, ArchiveError> {
        open_segment(&*self.disk, &self.folder, &self.contents, number, file)
    }

    /// All of a chain.
    fn whole(&self, chain: &Chain) -> Result<Prefix, ArchiveError> {
        self.prefix(chain, chain.end)
    }

    /// A chain up to a place where a record ends.
    fn prefix(&self, chain: &Chain, end: Mark) -> Result<Prefix, ArchiveError> {
        let mut parts = Vec::with_capacity(chain.segments.len());
        for number in &chain.segments {
            let file = self.contents.files.get(number).copied().unwrap_or_default();
            if file.base >= end.position {
                break;
            }
            // A rewritten one is shorter than what it stands for, and lies before the base.
            let until = file.bytes.min(end.position - file.base);
            parts.push(Part {
                number: *number,
                file,
                until: u32::try_from(until).unwrap_or(u32::MAX),
            });
        }
        Ok(Prefix {
            parts,
            end,
            newest: chain.end,
            left_out: chain.end.position.saturating_sub(end.position),
        })
    }

    /// The prefix that ends there.
    ///
    /// # Errors
    /// There is no such moment or position: before the oldest, behind the newest, in a gap.
    pub(super) fn find(&self, until: Until) -> Result<Prefix, ArchiveError> {
        let Some(last) = self.contents.chains.last() else {
            let nothing =
                "the archive's first pass did not get to its end: there is nothing to restore";
            return Err(StoreError::Unavailable(nothing.into()).into());
        };
        match until {
            Until::Latest => self.whole(last),
            Until::Moment { us, or_latest }
                if or_latest && last.end.moment_us > 0 && us > last.end.moment_us =>
            {
                self.whole(last)
            }
            Until::Moment { us, .. } => {
                let asked = Point {
                    position: None,
                    moment_us: Some(us),
                };
                let chain = self.chain_of(asked, us, |mark| mark.moment_us)?;
                self.prefix(chain, self.last_mark(chain, us)?)
            }
            Until::Position(position) => {
                let asked = Point::at(position, 0);
                let chain = self.chain_of(asked, position, |mark| mark.position)?;
                self.prefix(chain, self.last_record(chain, position)?)
            }
        }
    }

    /// The newest chain that has it.
    fn chain_of(
        &self,
        asked: Point,
        wanted: u64,
        of: impl Fn(Mark) -> u64,
    ) -> Result<&Chain, ArchiveError> {
        let files = &self.contents.files;
        let mut after: Option<Mark> = None;
        for chain in self.contents.chains.iter().rev() {
            let (oldest, newest) = (chain.oldest(files), chain.end);
            if asked.moment_us.is_some() && newest.moment_us == 0 {
                // None of its marks says a moment.
                continue;
            }
            if wanted > of(newest) {
                return Err(match after {
                    None => ArchiveError::TooLate {
                        asked,
                        newest: newest.point(),
                    },
                    Some(after) => ArchiveError::InGap {
                        asked,
                        before: newest.point(),
                        after: after.point(),
                    },
                });
            }
            if wanted >= of(oldest) {
                return Ok(chain);
            }
            after = Some(oldest);
        }
        let oldest = after.ok_or(ArchiveError::NoMoments)?.point();
        Err(ArchiveError::TooEarly { asked, oldest })
    }

    /// The last mark of a moment at or before this one.
    fn last_mark(&self, chain: &Chain, us: u64) -> Result<Mark, ArchiveError> {
        let has = |file: &Archived| file.first_us > 0 && file.first_us <= us;
        let mut found = Mark::default();
        if let Some((number, file)) = self.last_file(chain, has) {
            self.each_record(number, &file, |record, end| {
                let moment_us = record.moment_us();
                if end <= chain.end.position
                    && let Some(moment_us) = moment_us.filter(|moment_us| *moment_us <= us)
                {
                    found = Mark {
                        position: end,
                        moment_us,
                    };
                }
                moment_us.is_none_or(|moment_us| moment_us <= us)
            })?;
        }
        Ok(found)
    }

    /// The last record that ends at or before this position, and the newest moment there.
    fn last_record(&self, chain: &Chain, position: u64) -> Result<Mark, ArchiveError> {
        let files = chain
            .segments
            .iter()
            .filter_map(|number| self.contents.files.get(number));
        let before = files.take_while(|file| file.base < position);
        // The file in which it lies is looked into below.
        let mut found = Mark::default();
        let mut first: Option<Mark> = None;
        let mut last: Option<&Archived> = None;
        for file in before {
            if let Some(whole) = last {
                found.position = whole.base + whole.bytes;
                found.moment_us = found.moment_us.max(whole.newest_us);
            }
            last = Some(file);
        }
        if let Some((number, file)) = self.last_file(chain, |file| file.base < position.max(1)) {
            self.each_record(number, &file, |record, end| {
                first.get_or_insert(Mark {
                    position: end,
                    moment_us: record.moment_us().unwrap_or(0),
                });
                if end <= position {
                    found.position = end;
                    found.moment_us = found.moment_us.max(record.moment_us().unwrap_or(0));
                }
                end < position
            })?;
        }
        if found.position == 0 {
            // Within the log's first record, or before it.
            let oldest = first.unwrap_or(chain.oldest(&self.contents.files));
            return Err(ArchiveError::TooEarly {
                asked: Point::at(position, 0),
                oldest: oldest.point(),
            });
        }
        Ok(found)
    }

    /// The last file of a chain of which this is so.
    fn last_file(&self, chain: &Chain, is: impl Fn(&Archived) -> bool) -> Option<(u32, Archived)> {
        let files = chain
            .segments
            .iter()
            .filter_map(|number| Some((*number, *self.contents.files.get(number)?)));
        files.filter(|(_, file)| is(file)).last()
    }

    /// Shows the records of a file, and where each ends, until `take` says false.
    fn each_record(
        &self,
        number: u32,
        file: &Archived,
        mut take: impl FnMut(&Header, u64) -> bool,
    ) -> Result<(), ArchiveError> {
        let segment = self.open_segment(number, file)?;
        let mut reader = Reader::new(segment.clone(), 0, segment.until());
        loop {
            let offset = reader.offset();
            match reader.next()? {
                Step::Record(record) => {
                    let header = record.header;
                    if !take(&header, header.position) || header.kind == Kind::Seal {
                        return Ok(());
                    }
                }
                Step::End => return Ok(()),
                Step::Bad(why) => return Err(segment.damaged(u64::from(offset), why).into()),
            }
        }
    }
}

/// An archived file, if it is what the archive says.
pub(super) fn open_segment(
    disk: &dyn Disk,
    folder: &Path,
    contents: &Contents,
    number: u32,
    file: &Archived,
) -> Result<Arc<Segment>, ArchiveError> {
    let damaged = |why: &str| {
        ArchiveError::Store(StoreError::Damaged(format!(
            "segment {} of the archive: {why}",
            file_name(number)
        )))
    };
    match Segment::open(disk, &segments_folder(folder), number)? {
        Opened::Unfinished(_) => Err(damaged("the header is gone")),
        Opened::Segment(header, _) if header.store != contents.store => {
            Err(damaged("it belongs to another store"))
        }
        Opened::Segment(header, _) if (header.base, header.span) != (file.base, file.span) => {
            Err(damaged("it is another one than was archived"))
        }
        Opened::Segment(_, segment) if segment.size < file.bytes => {
            Err(damaged("the file is cut short"))
        }
        Opened::Segment(_, mut segment) => {
            // What stands behind does not count.
            segment.size = file.bytes;
            Ok(Arc::new(segment))
        }
    }
}
