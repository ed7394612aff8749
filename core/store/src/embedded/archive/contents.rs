//! The file `ARCHIVE`: what of the folder counts. It is replaced as a whole after what it
//! lists is durable, so what was being copied when a process died does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::StoreError;

use super::super::disk::Disk;
use super::super::segment::{REWRITTEN_FROM, file_name};
use super::super::text_file;
use super::error::Point;

/// The file's name.
pub(super) const CONTENTS: &str = "ARCHIVE";
/// The folder of the segments, within the archive's.
pub(super) const SEGMENTS_FOLDER: &str = "segments";
const FIRST_LINE: &str = "lombard-archive 1";

/// What counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// The number of the store that it is of.
    pub(super) store: u64,
    /// Keyspaces by number.
    pub(super) keyspaces: Vec<(u16, String)>,
    /// A base and what followed it; oldest first.
    pub(super) chains: Vec<Chain>,
    /// By number of the segment.
    pub(super) files: BTreeMap<u32, Archived>,
}

/// A base, and the log that followed it without a gap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chain {
    /// The mark that the base was taken at, and the first moment that is said there or behind.
    pub(super) base: Mark,
    /// The last mark that there is, and the newest moment that can be restored. 0: none can.
    pub(super) end: Mark,
    /// The segments, in the order of the log.
    pub(super) segments: Vec<u32>,
}

/// Where a mark or a seal ends, and when it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) position: u64,
    /// 0: nobody knew.
    pub(super) moment_us: u64,
}

impl Mark {
    /// For people.
    pub(super) fn point(self) -> Point {
        Point::at(self.position, self.moment_us)
    }
}

/// A file: a segment's beginning, without the zeros behind its records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Archived {
    /// Of the segment.
    pub(super) base: u64,
    /// Of the segment.
    pub(super) span: u64,
    /// Bytes that count; behind them may stand what was being copied.
    pub(super) bytes: u64,
    /// CRC-32C of them.
    pub(super) crc: u32,
    /// The first moment that a mark in it says. 0: none does.
    pub(super) first_us: u64,
    /// The newest.
    pub(super) newest_us: u64,
    /// All of the segment is there.
    pub(super) whole: bool,
}

impl Chain {
    /// Whether its base leaves out what was superseded before it was taken.
    pub(super) fn is_rewritten(&self) -> bool {
        self.segments.iter().any(|number| *number >= REWRITTEN_FROM)
    }

    /// The oldest that can be restored. Of a segment that was rewritten, rows are gone that
    /// were superseded up to the base's moment: before that its state is not there.
    pub(super) fn oldest(&self, files: &BTreeMap<u32, Archived>) -> Mark {
        if self.is_rewritten() {
            return self.base;
        }
        let first = self
            .segments
            .iter()
            .filter_map(|number| files.get(number))
            .find(|file| file.first_us > 0);
        Mark {
            position: 0,
            moment_us: first.map_or(0, |file| file.first_us),
        }
    }
}

impl Contents {
    /// Reads it; none if there is none.
    pub(super) fn read(disk: &dyn Disk, folder: &Path) -> Result<Option<Self>, StoreError> {
        let Some(body) = text_file::read(disk, folder, CONTENTS)? else {
            return Ok(None);
        };
        let damaged = |why: String| {
            StoreError::Damaged(format!("{}: {why}", folder.join(CONTENTS).display()))
        };
        Self::parse(&body).map(Some).map_err(damaged)
    }

    /// Replaces it, durably.
    pub(super) fn write(&self, disk: &dyn Disk, folder: &Path) -> io::Result<()> {
        text_file::write(disk, folder, CONTENTS, self.print())
    }

    /// Where the log goes on behind a chain.
    pub(super) fn next_position(&self, chain: &Chain) -> u64 {
        match chain.segments.last().and_then(|last| self.files.get(last)) {
            Some(file) if file.whole => file.base + file.span,
            _ => chain.end.position,
        }
    }

    /// Forgets files that no chain needs; their numbers.
    pub(super) fn forget_unneeded(&mut self) -> Vec<u32> {
        let needed: BTreeSet<u32> = self
            .chains
            .iter()
            .flat_map(|chain| chain.segments.iter().copied())
            .collect();
        let gone: Vec<u32> = self
            .files
            .keys()
            .filter(|number| !needed.contains(number))
            .copied()
            .collect();
        self.files.retain(|number, _| needed.contains(number));
        gone
    }

    /// Bytes that count.
    pub(super) fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes).sum()
    }

    fn print(&self) -> String {
        let mut text = format!("{FIRST_LINE}\nstore {:016x}\n", self.store);
        // Writing to a string cannot fail.
        for (id, name) in &self.keyspaces {
            let _ = writeln!(text, "keyspace {id} {name}");
        }
        for (number, file) in &self.files {
            let state = if file.whole { "whole" } else { "open" };
            let _ = writeln!(
                text,
                "segment {number} {} {} {} {:08x} {} {} {state}",
                file.base, file.span, file.bytes, file.crc, file.first_us, file.newest_us
            );
        }
        for Chain {
            base,
            end,
            segments,
        } in &self.chains
        {
            let _ = write!(
                text,
                "base {} {} {} {}",
                base.position, base.moment_us, end.position, end.moment_us
            );
            for number in segments {
                let _ = write!(text, " {number}");
            }
            text.push('\n');
        }
        text
    }

    fn parse(body: &str) -> Result<Self, String> {
        let mut lines = body.lines();
        let first = lines.next().unwrap_or_default();
        if first != FIRST_LINE {
            return Err(format!(
                "it begins with {first:?}; this program reads {FIRST_LINE:?}"
            ));
        }
        let mut contents = Self::default();
        for line in lines {
            contents
                .parse_line(line)
                .ok_or_else(|| format!("line {line:?} is not understood"))?;
        }
        for number in contents.chains.iter().flat_map(|chain| &chain.segments) {
            if !contents.files.contains_key(number) {
                return Err(format!(
                    "a base needs {}, which is not listed",
                    file_name(*number)
                ));
            }
        }
        Ok(contents)
    }

    fn parse_line(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let what = words.next()?;
        let mut number = || words.next()?.parse::<u64>().ok();
        match what {
            "store" => self.store = u64::from_str_radix(words.next()?, 16).ok()?,
            "keyspace" => self
                .keyspaces
                .push((words.next()?.parse().ok()?, words.next()?.into())),
            "segment" => {
                let (name, base, span, bytes) = (number()?, number()?, number()?, number()?);
                let crc = u32::from_str_radix(words.next()?, 16).ok()?;
                let (first_us, newest_us) =
                    (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
                let whole = match words.next()? {
                    "whole" => true,
                    "open" => false,
                    _ => return None,
                };
                let file = Archived {
                    base,
                    span,
                    bytes,
                    crc,
                    first_us,
                    newest_us,
                    whole,
                };
                self.files.insert(u32::try_from(name).ok()?, file);
            }
            "base" => {
                let mut mark = || {
                    Some(Mark {
                        position: number()?,
                        moment_us: number()?,
                    })
                };
                let (base, end) = (mark()?, mark()?);
                let segments = words
                    .by_ref()
                    .map(|word| word.parse().ok())
                    .collect::<Option<Vec<u32>>>()?;
                self.chains.push(Chain {
                    base,
                    end,
                    segments,
                });
            }
            _ => return None,
        }
        words.next().is_none().then_some(())
    }
}

/// The folder of an archive's segments.
pub(super) fn segments_folder(folder: &Path) -> PathBuf {
    folder.join(SEGMENTS_FOLDER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_read_back_and_every_changed_byte_is_noticed() {
        let file = Archived {
            base: 4_096,
            span: 65_536,
            bytes: 9_999,
            crc: 0xdead_beef,
            first_us: 7,
            newest_us: 9,
            whole: true,
        };
        let mark = |position| Mark {
            position,
            moment_us: position + 1,
        };
        let contents = Contents {
            store: 5,
            keyspaces: vec![(1, "ledger".into())],
            chains: vec![Chain {
                base: mark(10),
                end: mark(20),
                segments: vec![REWRITTEN_FROM, 3],
            }],
            files: BTreeMap::from([(3, file), (REWRITTEN_FROM, file)]),
        };
        let read = |text: &str| text_file::unsealed(text).and_then(Contents::parse);
        let text = text_file::sealed(contents.print());
        assert_eq!(read(&text), Ok(contents));
        for at in 0..text.len() - 1 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(read(&changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_base_that_needs_what_is_not_listed_is_refused() {
        let text = format!("{FIRST_LINE}\nstore 5\nbase 1 2 3 4 7\n");
        let refused = Contents::parse(&text).unwrap_err();
        assert!(refused.contains("0000000007.log"), "{refused}");
    }
}
