//! The manifest: the one small file that says what the folder holds. It is
//! replaced as a whole, so it is always the old one or the new one.

use std::fmt::Write;
use std::io;
use std::path::Path;

use crate::error::StoreError;

use super::disk::Disk;
use super::text_file;

/// The file's name.
pub(super) const MANIFEST: &str = "MANIFEST";
/// The first line, up to the number of the format.
const FORMAT_OF: &str = "lombard-store ";
/// What is written. Format 1 had no lines `moment` and `archived`, and is read as well.
const FORMAT: u32 = 2;

/// What the folder holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The format that it was read in; written is always the newest. 0: made here.
    pub(super) format: u32,
    /// Stands in every segment's header too.
    pub(super) store: u64,
    /// Everything before this position is in the index.
    pub(super) checkpoint: u64,
    /// Nothing behind this position is in the index.
    pub(super) checkpoint_until: u64,
    /// No mark before the checkpoint says a later moment. 0: none says one.
    pub(super) newest_us: u64,
    /// The position that the archive goes up to. 0: there is none.
    pub(super) archived: u64,
    /// Keyspaces by number.
    pub(super) keyspaces: Vec<(u16, String)>,
    /// The segments that were there when it was written.
    pub(super) segments: Vec<ListedSegment>,
    /// Rewriting that was begun: `segments` has both the old and the new ones.
    pub(super) rewriting: Option<Rewriting>,
}

/// A segment in the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ListedSegment {
    pub(super) number: u32,
    /// Bytes of superseded rows.
    pub(super) dead: u64,
}

/// Segments that are being replaced by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rewriting {
    pub(super) old: Vec<u32>,
    pub(super) new: u32,
}

impl Manifest {
    /// Reads it; none if there is none.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] says which line; [`StoreError::Misconfigured`]: a later
    /// version of this program made it.
    pub(super) fn read(disk: &dyn Disk, folder: &Path) -> Result<Option<Self>, StoreError> {
        let Some(body) = text_file::read(disk, folder, MANIFEST)? else {
            return Ok(None);
        };
        let path = folder.join(MANIFEST);
        if let Some(format) = format_of(&body).filter(|format| *format > FORMAT) {
            return Err(StoreError::Misconfigured(format!(
                "{}: it has format {format}, made by a later version of this program, which reads formats up to {FORMAT}: use the later version, or restore a backup from before",
                path.display()
            )));
        }
        let damaged = |why: String| StoreError::Damaged(format!("{}: {why}", path.display()));
        Self::parse(&body).map(Some).map_err(damaged)
    }

    /// Whether this segment was there when it was written.
    pub(super) fn lists(&self, number: u32) -> bool {
        self.segments.iter().any(|listed| listed.number == number)
    }

    /// Whether a version before this one wrote it, which knew nothing of moments.
    pub(super) fn is_of_older_format(&self) -> bool {
        (1..FORMAT).contains(&self.format)
    }

    /// Replaces it, durably.
    ///
    /// # Errors
    /// The disk's; the old one is still there.
    pub(super) fn write(&self, disk: &dyn Disk, folder: &Path) -> io::Result<()> {
        text_file::write(disk, folder, MANIFEST, self.print())
    }

    fn print(&self) -> String {
        let mut text = format!(
            "{FORMAT_OF}{FORMAT}\nstore {:016x}\ncheckpoint {} {}\nmoment {}\narchived {}\n",
            self.store, self.checkpoint, self.checkpoint_until, self.newest_us, self.archived
        );
        // Writing to a string cannot fail.
        for (id, name) in &self.keyspaces {
            let _ = writeln!(text, "keyspace {id} {name}");
        }
        for segment in &self.segments {
            let _ = writeln!(text, "segment {} {}", segment.number, segment.dead);
        }
        if let Some(rewriting) = &self.rewriting {
            let _ = write!(text, "rewriting {}", rewriting.new);
            for old in &rewriting.old {
                let _ = write!(text, " {old}");
            }
            text.push('\n');
        }
        text
    }

    fn parse(body: &str) -> Result<Self, String> {
        let Some(format) = format_of(body).filter(|format| (1..=FORMAT).contains(format)) else {
            let first = body.lines().next().unwrap_or_default();
            return Err(format!(
                "it begins with {first:?}; this program reads \"{FORMAT_OF}1\" to \"{FORMAT_OF}{FORMAT}\""
            ));
        };
        let lines = body.lines().skip(1);
        let mut manifest = Self {
            format,
            ..Self::default()
        };
        for line in lines {
            manifest
                .parse_line(line)
                .ok_or_else(|| format!("line {line:?} is not understood"))?;
        }
        Ok(manifest)
    }

    fn parse_line(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let what = words.next()?;
        match what {
            "store" => self.store = u64::from_str_radix(words.next()?, 16).ok()?,
            "checkpoint" => {
                self.checkpoint = words.next()?.parse().ok()?;
                self.checkpoint_until = words.next()?.parse().ok()?;
            }
            "moment" => self.newest_us = words.next()?.parse().ok()?,
            "archived" => self.archived = words.next()?.parse().ok()?,
            "keyspace" => self
                .keyspaces
                .push((words.next()?.parse().ok()?, words.next()?.into())),
            "segment" => self.segments.push(ListedSegment {
                number: words.next()?.parse().ok()?,
                dead: words.next()?.parse().ok()?,
            }),
            "rewriting" => {
                let new = words.next()?.parse().ok()?;
                let old = words
                    .by_ref()
                    .map(|word| word.parse().ok())
                    .collect::<Option<Vec<u32>>>()?;
                self.rewriting = Some(Rewriting { old, new });
            }
            _ => return None,
        }
        words.next().is_none().then_some(())
    }
}

/// The number in the first line.
fn format_of(body: &str) -> Option<u32> {
    let first = body.lines().next()?;
    first.strip_prefix(FORMAT_OF)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back_and_every_changed_byte_is_noticed() {
        let manifest = Manifest {
            format: FORMAT,
            store: 7,
            checkpoint: 99,
            checkpoint_until: 120,
            newest_us: 1_795_000_000_000_000,
            archived: 98,
            keyspaces: vec![(1, "ledger".into()), (2, "account".into())],
            segments: vec![
                ListedSegment { number: 1, dead: 5 },
                ListedSegment { number: 2, dead: 0 },
            ],
            rewriting: Some(Rewriting {
                old: vec![1, 2],
                new: 0x8000_0000,
            }),
        };
        let read = |text: &str| text_file::unsealed(text).and_then(Manifest::parse);
        let text = text_file::sealed(manifest.print());
        assert_eq!(read(&text), Ok(manifest));
        for at in 0..text.len() - 1 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(read(&changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn the_format_before_is_read_and_any_other_is_refused() {
        let text = "lombard-store 1\nstore 7\ncheckpoint 9 9\nsegment 1 0\n";
        let manifest = Manifest::parse(text).unwrap();
        assert!(manifest.is_of_older_format());
        assert_eq!((manifest.checkpoint, manifest.newest_us), (9, 0));
        let again = Manifest::parse(&manifest.print()).unwrap();
        assert!(!again.is_of_older_format());
        for first in ["lombard-store 0", "lombard-store", "lombard-archive 1", ""] {
            assert!(Manifest::parse(&text.replace("lombard-store 1", first)).is_err());
        }
    }
}
