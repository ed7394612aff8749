//! Memory that a disk can be written from directly, past the page cache: whole
//! blocks, that begin where a block of memory does.
//!
//! What goes through the page cache is copied once more, and each sync walks over what
//! is dirty there; BENCHMARKS.md ("The store alone") has the difference.

use std::io;

use super::disk::{BLOCK_BYTES, DiskFile, read_up_to, write_blocks_all_at};

/// Blocks that gather before they are written.
const BLOCKS: usize = 256;

/// Writes bytes one behind the other to places of files that are not where blocks
/// begin: the block that a write begins in is written again, with what it had.
pub(super) struct BlockWriter {
    memory: Vec<u8>,
    /// Where in it the first block begins.
    start: usize,
    len: usize,
    /// Where in the file `start` is.
    offset: u64,
    /// The file that the last write was to, and its last bytes since a block's begin.
    tail: Option<(u32, u64, usize)>,
}

impl BlockWriter {
    /// With nothing written yet.
    pub(super) fn new() -> Self {
        let memory = vec![0; (BLOCKS + 1) * BLOCK_BYTES];
        // At most a block less one byte; where it cannot be told, the disk refuses and is written in the usual way.
        let start = memory.as_ptr().align_offset(BLOCK_BYTES).min(BLOCK_BYTES);
        Self {
            memory,
            start,
            len: 0,
            offset: 0,
            tail: None,
        }
    }

    /// Begins to write at a place of a file that is known by a number.
    ///
    /// # Errors
    /// The disk's, reading the block that the place is in.
    pub(super) fn begin(
        &mut self,
        file: &dyn DiskFile,
        number: u32,
        offset: u64,
    ) -> io::Result<()> {
        let lead = offset as usize % BLOCK_BYTES;
        self.offset = offset - lead as u64;
        let first = self.start..self.start + lead;
        match self.tail.take() {
            // The buffer's first block has it.
            Some((file, at, len)) if (file, at, len) == (number, self.offset, lead) => {}
            _ => {
                if read_up_to(file, &mut self.memory[first], self.offset)? < lead {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
        self.len = lead;
        Ok(())
    }

    /// Takes as many of these bytes as there is room for; how many, it says. If that is
    /// not all, [`Self::write`] makes room.
    pub(super) fn push(&mut self, bytes: &[u8]) -> usize {
        let at = self.start + self.len;
        let count = bytes.len().min(BLOCKS * BLOCK_BYTES - self.len);
        self.memory[at..at + count].copy_from_slice(&bytes[..count]);
        self.len += count;
        count
    }

    /// Writes what was taken, with zeros up to the end of the last block. On an error it
    /// can be asked again.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn write(&mut self, file: &dyn DiskFile) -> io::Result<()> {
        let padded = self.len.next_multiple_of(BLOCK_BYTES);
        self.memory[self.start + self.len..self.start + padded].fill(0);
        let blocks = &self.memory[self.start..self.start + padded];
        write_blocks_all_at(file, blocks, self.offset)
    }

    /// Goes on behind what was written.
    pub(super) fn next(&mut self) {
        self.offset += self.len as u64;
        self.len = 0;
    }

    /// Ends a write, and keeps the bytes of the last block for the next one.
    pub(super) fn end(&mut self, number: u32) {
        let tail = self.len % BLOCK_BYTES;
        let whole = self.len - tail;
        let from = self.start + whole;
        self.memory.copy_within(from..from + tail, self.start);
        self.tail = Some((number, self.offset + whole as u64, tail));
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use proptest::prelude::*;

    use super::*;

    /// A file in memory that takes whole blocks only, a few at a time.
    #[derive(Default)]
    struct Blocky(Mutex<Vec<u8>>);

    impl DiskFile for Blocky {
        fn size(&self) -> io::Result<u64> {
            Ok(self.0.lock().len() as u64)
        }

        fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
            assert!(bytes.len().is_multiple_of(BLOCK_BYTES), "whole blocks");
            assert!((offset as usize).is_multiple_of(BLOCK_BYTES));
            assert!(
                bytes.as_ptr().align_offset(BLOCK_BYTES) == 0,
                "from aligned memory"
            );
            let count = bytes.len().min(3 * BLOCK_BYTES);
            let to = offset as usize + count;
            let mut content = self.0.lock();
            if content.len() < to {
                content.resize(to, 0);
            }
            content[offset as usize..to].copy_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
            let content = self.0.lock();
            let from = (offset as usize).min(content.len());
            let count = into.len().min(content.len() - from);
            into[..count].copy_from_slice(&content[from..from + count]);
            Ok(count)
        }

        fn sync_data(&self) -> io::Result<()> {
            Ok(())
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_was_pushed_stands_in_the_files_byte_by_byte(
            frames in prop::collection::vec((0..2_u32, 0..3_000_usize, any::<bool>()), 1..40),
        ) {
            let files = [Blocky::default(), Blocky::default()];
            let mut expected = [vec![], vec![]];
            let mut writer = BlockWriter::new();
            for (step, (number, size, large)) in frames.into_iter().enumerate() {
                let size = if large { size * 700 } else { size };
                let bytes = vec![step as u8 + 1; size];
                let (file, expected) = (&files[number as usize], &mut expected[number as usize]);
                writer.begin(file, number, expected.len() as u64).unwrap();
                let mut rest = bytes.as_slice();
                loop {
                    let taken = writer.push(rest);
                    rest = &rest[taken..];
                    if rest.is_empty() {
                        break;
                    }
                    writer.write(file).unwrap();
                    writer.next();
                }
                writer.write(file).unwrap();
                writer.end(number);
                expected.extend_from_slice(&bytes);
                let content = file.0.lock();
                prop_assert!(content[..expected.len()] == expected[..], "frame {step}");
                prop_assert!(content[expected.len()..].iter().all(|byte| *byte == 0));
            }
        }
    }
}
