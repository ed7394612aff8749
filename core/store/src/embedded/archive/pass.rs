//! One pass of the archiver: copies what the log has beyond the archive's end.
//!
//! A segment's bytes are durable in the archive before `ARCHIVE` says that they count, so
//! a pass may end anywhere: the next one writes over what does not count.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::StoreError;

use super::super::core::Core;
use super::super::disk::{Disk, DiskFile, RealDisk, write_all_at};
use super::super::open::Embedded;
use super::super::reader::{Reader, Step};
use super::super::record::Kind;
use super::super::segment::{HEADER_PAGE_BYTES, Segment, number_of};
use super::alike::{end_alike, left_alike};
use super::contents::{Archived, CONTENTS, Chain, Contents, Mark, segments_folder};
use super::error::{ArchiveError, Point};
use super::ranges::open_segment;
use super::{LOCK, prepare, take};

/// Written at once, and how often whoever watches is told.
const WRITE_BYTES: usize = 1 << 20;

/// How far a pass is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArchiveProgress {
    /// Bytes copied.
    pub bytes: u64,
    /// Bytes to copy in all.
    pub bytes_total: u64,
}

/// Why a pass took a new base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewBase {
    /// The archive had none.
    First,
    /// It was asked for.
    Asked,
    /// The store has rewritten segments that the archive did not have: between the
    /// archive's end and the new base is a gap.
    Gap {
        /// The last before the gap.
        before: Point,
    },
}

/// What a pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchivePass {
    /// The mark that the archive goes up to.
    pub until: Point,
    /// Whether it took a new base, and why.
    pub new_base: Option<NewBase>,
    /// Commits that were copied.
    pub commits: u64,
    /// Bytes that were copied.
    pub bytes: u64,
    /// Segments that they are from.
    pub segments: u64,
    /// Bytes of the whole archive.
    pub archive_bytes: u64,
}

impl Embedded {
    /// Copies into the archive in `folder` what the log has beyond it, up to this moment,
    /// making the archive where there is none. Commits go on. It blocks the thread that it is
    /// called on. `watch` is told how far it is; where it says false, the pass ends.
    ///
    /// # Errors
    /// See [`ArchiveError`]. Whatever it is, nothing is counted that is not whole there.
    pub fn archive(
        &self,
        folder: &Path,
        new_base: bool,
        watch: &mut dyn FnMut(ArchiveProgress) -> bool,
    ) -> Result<ArchivePass, ArchiveError> {
        self.archive_on(&RealDisk, folder, new_base, watch)
    }

    /// As [`Embedded::archive`], with the archive on this disk. (Its locks are on the
    /// machine's own.)
    ///
    /// # Errors
    /// As [`Embedded::archive`].
    pub fn archive_on(
        &self,
        disk: &dyn Disk,
        folder: &Path,
        new_base: bool,
        watch: &mut dyn FnMut(ArchiveProgress) -> bool,
    ) -> Result<ArchivePass, ArchiveError> {
        prepare(folder)?;
        let _lock = take(folder, LOCK)?;
        let core = self.core();
        // Nothing is rewritten from before the mark until all before it is copied: what
        // rewriting leaves out must have been superseded before the base's moment.
        let _still = core.rewriting.lock();
        let end = core.log.mark()?;
        futures::executor::block_on(core.log.durable(end))?;
        let pass = Pass {
            core,
            disk,
            folder,
            end,
            watch,
            contents: Contents::default(),
            progress: ArchiveProgress::default(),
            commits: 0,
            first_us: 0,
            last_us: 0,
        };
        let done = pass.run(new_base)?;
        core.tables.catalog.archived(end)?;
        core.archived.store(end, Ordering::Relaxed);
        Ok(done)
    }
}

struct Pass<'a> {
    core: &'a Core,
    disk: &'a dyn Disk,
    folder: &'a Path,
    /// The mark that it goes up to.
    end: u64,
    watch: &'a mut dyn FnMut(ArchiveProgress) -> bool,
    contents: Contents,
    progress: ArchiveProgress,
    commits: u64,
    /// The first moment that was copied. 0: none was.
    first_us: u64,
    /// What the last mark that was copied says.
    last_us: u64,
}

impl Pass<'_> {
    fn run(mut self, asked: bool) -> Result<ArchivePass, ArchiveError> {
        // One who was killed may have left an `ARCHIVE` that is not durable yet, and what it
        // does not list is removed at the end.
        self.disk.sync_folder(self.folder).map_err(|error| {
            StoreError::Unavailable(format!("cannot write {}: {error}", self.folder.display()))
        })?;
        let manifest = self.core.tables.catalog.manifest();
        let found = Contents::read(self.disk, self.folder)?;
        self.contents = found.unwrap_or_else(|| Contents {
            store: manifest.store,
            ..Contents::default()
        });
        if self.contents.store != manifest.store {
            return Err(ArchiveError::OtherStore {
                archived: self.contents.store,
                store: manifest.store,
            });
        }
        self.contents.keyspaces.clone_from(&manifest.keyspaces);
        // Where rewriting did not get to its end, the old ones have everything.
        let unfinished = manifest.rewriting.map(|rewriting| rewriting.new);
        let all = self.core.tables.stored.segments.in_order();
        let log: Vec<_> = all
            .into_iter()
            .filter(|segment| segment.base < self.end && Some(segment.number) != unfinished)
            .collect();
        let new_base = self.wants_base(&log, asked)?;
        let (from, known) = match (new_base, self.contents.chains.last()) {
            (None, Some(chain)) => (
                self.contents.next_position(chain),
                chain.segments.last().copied(),
            ),
            _ => (0, None),
        };
        let wanted: Vec<_> = log
            .iter()
            .filter(|segment| segment.end() > from)
            .cloned()
            .collect();
        self.progress.bytes_total = wanted.iter().map(|segment| self.missing(segment)).sum();
        let mut copied = 0;
        let mut newest_us = 0;
        for segment in &wanted {
            copied += u64::from(self.missing(segment) > 0);
            let file = self.copy(segment)?;
            newest_us = newest_us.max(file.newest_us);
            self.contents.files.insert(segment.number, file);
            if new_base.is_none()
                && let Some(chain) = self.contents.chains.last_mut()
            {
                // What is whole counts at once: it can be restored from.
                if known != Some(segment.number) {
                    chain.segments.push(segment.number);
                }
                if chain.base.moment_us == 0 {
                    chain.base.moment_us = self.first_us;
                }
                chain.end.position = file.base + file.bytes;
                if chain.oldest(&self.contents.files).moment_us > 0 {
                    chain.end.moment_us = chain.end.moment_us.max(file.newest_us);
                }
            }
            self.count()?;
        }
        if new_base.is_some() {
            let base = Mark {
                position: self.end,
                moment_us: self.last_us,
            };
            let mut chain = Chain {
                base,
                end: base,
                segments: wanted.iter().map(|segment| segment.number).collect(),
            };
            if !chain.is_rewritten() {
                // What is before the base can be restored too.
                chain.end.moment_us = newest_us;
            }
            self.contents.chains.push(chain);
            // What an attempt copied that did not get to its end, and was rewritten since.
            self.contents.forget_unneeded();
            self.count()?;
        }
        self.sweep();
        let until = self.contents.chains.last().map(|chain| chain.end);
        Ok(ArchivePass {
            until: until.unwrap_or_default().point(),
            new_base,
            commits: self.commits,
            bytes: self.progress.bytes,
            segments: copied,
            archive_bytes: self.contents.bytes(),
        })
    }

    /// Whether the log does not go on where the archive ends, or a new base was asked for.
    fn wants_base(
        &self,
        log: &[Arc<Segment>],
        asked: bool,
    ) -> Result<Option<NewBase>, ArchiveError> {
        let Some(chain) = self.contents.chains.last() else {
            return Ok(Some(NewBase::First));
        };
        let put_back = ArchiveError::PutBack {
            archived: chain.end.position,
        };
        if self.end < chain.end.position {
            return Err(put_back);
        }
        for number in &chain.segments {
            let (Some(file), Some(segment)) = (
                self.contents.files.get(number),
                log.iter().find(|segment| segment.number == *number),
            ) else {
                continue;
            };
            if (segment.base, segment.span) != (file.base, file.span) {
                return Err(put_back);
            }
        }
        if !self.is_alike(chain, log)? {
            return Err(put_back);
        }
        if asked {
            return Ok(Some(NewBase::Asked));
        }
        let from = self.contents.next_position(chain);
        let follows = log.iter().filter(|segment| segment.end() > from);
        let rewritten = follows.into_iter().any(|segment| segment.is_rewritten());
        Ok(rewritten.then(|| NewBase::Gap {
            before: chain.end.point(),
        }))
    }

    /// Whether the log has what the archive has at its end, as far as that can still be seen.
    fn is_alike(&self, chain: &Chain, log: &[Arc<Segment>]) -> Result<bool, ArchiveError> {
        let last = chain.segments.last();
        let Some((number, file)) =
            last.and_then(|last| Some((*last, *self.contents.files.get(last)?)))
        else {
            return Ok(true);
        };
        let archived = open_segment(self.disk, self.folder, &self.contents, number, &file)?;
        if let Some(segment) = log.iter().find(|segment| segment.number == number) {
            return Ok(segment.is_rewritten() || end_alike(segment, &archived, &file)?);
        }
        let covers = |segment: &&Arc<Segment>| {
            segment.base <= file.base && file.base < segment.end() && segment.is_rewritten()
        };
        match log.iter().find(covers) {
            Some(rewritten) if !archived.is_rewritten() => Ok(left_alike(rewritten, &archived)?),
            _ => Ok(true),
        }
    }

    /// Up to where the segment is copied.
    fn until(&self, segment: &Segment) -> u64 {
        if segment.is_rewritten() {
            return segment.size;
        }
        segment.size.min(self.end - segment.base)
    }

    /// Bytes of the segment that the archive does not have, at most.
    fn missing(&self, segment: &Segment) -> u64 {
        match self.contents.files.get(&segment.number) {
            Some(file) if file.whole => 0,
            Some(file) => self.until(segment).saturating_sub(file.bytes),
            None => self.until(segment),
        }
    }

    /// Copies what is missing of a segment, verified record by record; what the archive has
    /// of it then.
    fn copy(&mut self, segment: &Arc<Segment>) -> Result<Archived, ArchiveError> {
        let known = self.contents.files.get(&segment.number).copied();
        let mut file = known.unwrap_or(Archived {
            base: segment.base,
            span: segment.span,
            ..Archived::default()
        });
        let until = self.until(segment);
        if file.whole || file.bytes >= until {
            return Ok(file);
        }
        let path = segments_folder(self.folder).join(segment.name());
        let cannot = |error: io::Error| {
            StoreError::Unavailable(format!("cannot write {}: {error}", path.display()))
        };
        let to = match known {
            Some(_) => self.disk.open(&path),
            None => self.disk.create(&path),
        };
        let mut to = Writer {
            file: to.map_err(cannot)?,
            at: file.bytes,
            gathered: Vec::with_capacity(WRITE_BYTES * 2),
        };
        if file.bytes == 0 {
            let page = segment.read(0, HEADER_PAGE_BYTES)?;
            file.crc = crc32c::crc32c(&page);
            to.gathered.extend_from_slice(&page);
        }
        // A segment is shorter than 4 GiB.
        let mut reader = Reader::new(segment.clone(), file.bytes as u32, until as u32);
        loop {
            let offset = u64::from(reader.offset());
            match reader.next()? {
                Step::Record(record) => {
                    file.crc = crc32c::crc32c_append(file.crc, &record.bytes);
                    to.gathered.extend_from_slice(&record.bytes);
                    if record.header.kind != Kind::Commit {
                        self.said(&mut file, record.header.moment_us());
                    }
                    match record.header.kind {
                        Kind::Commit => self.commits += 1,
                        Kind::Mark => {}
                        Kind::Seal => {
                            file.whole = true;
                            break;
                        }
                    }
                }
                Step::End if offset == until => {
                    file.whole = segment.is_rewritten();
                    break;
                }
                Step::End => return Err(segment.damaged(offset, "zeros within the log").into()),
                Step::Bad(why) => return Err(segment.damaged(offset, why).into()),
            }
            if to.gathered.len() >= WRITE_BYTES {
                self.progress.bytes += to.write().map_err(cannot)?;
                if !(self.watch)(self.progress) {
                    return Err(ArchiveError::Stopped);
                }
            }
        }
        self.progress.bytes += to.write().map_err(cannot)?;
        to.file.sync_data().map_err(cannot)?;
        if known.is_none() {
            let segments = segments_folder(self.folder);
            self.disk.sync_folder(&segments).map_err(cannot)?;
        }
        file.bytes = to.at;
        Ok(file)
    }

    /// A mark in the file says this moment.
    fn said(&mut self, file: &mut Archived, moment_us: Option<u64>) {
        self.last_us = moment_us.unwrap_or(0);
        for first_us in [&mut self.first_us, &mut file.first_us] {
            if *first_us == 0 {
                *first_us = self.last_us;
            }
        }
        file.newest_us = file.newest_us.max(self.last_us);
    }

    /// What was copied counts from now on.
    fn count(&mut self) -> Result<(), ArchiveError> {
        self.contents
            .write(self.disk, self.folder)
            .map_err(|error| {
                let path = self.folder.join(CONTENTS);
                StoreError::Unavailable(format!("cannot write {}: {error}", path.display()))
            })?;
        if !(self.watch)(self.progress) {
            return Err(ArchiveError::Stopped);
        }
        Ok(())
    }

    fn sweep(&self) {
        sweep(self.disk, self.folder, &self.contents);
    }
}

/// Removes files that do not count.
pub(super) fn sweep(disk: &dyn Disk, folder: &Path, contents: &Contents) {
    let segments = segments_folder(folder);
    for name in disk.list(&segments).unwrap_or_default() {
        let counts = number_of(&name).is_none_or(|number| contents.files.contains_key(&number));
        if !counts {
            // It does no harm, and the next pass tries again.
            let _ = disk.remove(&segments.join(name));
        }
    }
}

struct Writer {
    file: Arc<dyn DiskFile>,
    at: u64,
    gathered: Vec<u8>,
}

impl Writer {
    /// Writes what was gathered; how much.
    fn write(&mut self) -> io::Result<u64> {
        let bytes = self.gathered.len() as u64;
        write_all_at(&*self.file, &self.gathered, self.at)?;
        self.at += bytes;
        self.gathered.clear();
        Ok(bytes)
    }
}
