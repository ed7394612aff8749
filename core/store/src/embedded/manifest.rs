//! The manifest: the one small file that says what the folder holds. It is
//! replaced as a whole, so it is always the old one or the new one.

use std::fmt::Write;
use std::io;
use std::path::Path;

use crate::error::StoreError;

use super::disk::{Disk, read_up_to, write_all_at};

/// The file's name.
pub(super) const MANIFEST: &str = "MANIFEST";
const MANIFEST_NEW: &str = "MANIFEST.new";
const MANIFEST_BYTES_MAX: u64 = 64 << 20;
const FIRST_LINE: &str = "lombard-store 1";

/// What the folder holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    /// Stands in every segment's header too.
    pub(super) store: u64,
    /// Everything before this position is in the index.
    pub(super) checkpoint: u64,
    /// Nothing behind this position is in the index.
    pub(super) checkpoint_until: u64,
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
    /// [`StoreError::Damaged`] says which line.
    pub(super) fn read(disk: &dyn Disk, folder: &Path) -> Result<Option<Self>, StoreError> {
        let path = folder.join(MANIFEST);
        let damaged = |why: String| StoreError::Damaged(format!("{}: {why}", path.display()));
        let file = match disk.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(damaged(error.to_string())),
        };
        let size = file.size().map_err(|error| damaged(error.to_string()))?;
        let mut bytes = vec![0; size.min(MANIFEST_BYTES_MAX) as usize];
        let read = read_up_to(&*file, &mut bytes, 0).map_err(|error| damaged(error.to_string()))?;
        bytes.truncate(read);
        let text = String::from_utf8(bytes).map_err(|_| damaged("it is no text".into()))?;
        Self::parse(&text).map(Some).map_err(damaged)
    }

    /// Replaces it, durably.
    ///
    /// # Errors
    /// The disk's; the old one is still there.
    pub(super) fn write(&self, disk: &dyn Disk, folder: &Path) -> io::Result<()> {
        let new = folder.join(MANIFEST_NEW);
        let file = disk.create(&new)?;
        write_all_at(&*file, self.print().as_bytes(), 0)?;
        file.sync_data()?;
        disk.rename(&new, &folder.join(MANIFEST))?;
        disk.sync_folder(folder)
    }

    fn print(&self) -> String {
        let mut text = format!(
            "{FIRST_LINE}\nstore {:016x}\ncheckpoint {} {}\n",
            self.store, self.checkpoint, self.checkpoint_until
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
        let crc = crc32c::crc32c(text.as_bytes());
        let _ = writeln!(text, "crc32c {crc:08x}");
        text
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (body, last) = text
            .strip_suffix('\n')
            .and_then(|text| text.rfind('\n'))
            .and_then(|at| Some((text.get(..=at)?, text.get(at + 1..)?)))
            .ok_or("it is cut short")?;
        let crc = last.trim_end().strip_prefix("crc32c ");
        if crc != Some(&format!("{:08x}", crc32c::crc32c(body.as_bytes()))) {
            return Err("its checksum is wrong".into());
        }
        let mut lines = body.lines();
        let first = lines.next().unwrap_or_default();
        if first != FIRST_LINE {
            return Err(format!(
                "it begins with {first:?}; this program reads {FIRST_LINE:?}"
            ));
        }
        let mut manifest = Self::default();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back_and_every_changed_byte_is_noticed() {
        let manifest = Manifest {
            store: 7,
            checkpoint: 99,
            checkpoint_until: 120,
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
        let text = manifest.print();
        assert_eq!(Manifest::parse(&text), Ok(manifest));
        for at in 0..text.len() - 1 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(Manifest::parse(&changed).is_err(), "byte {at}");
        }
    }
}
