//! What the embedded engine is told, and what it says when it opens.

use std::fmt;

use serde::Deserialize;

use crate::error::StoreError;
use crate::limits;

use super::disk::BLOCK_BYTES;
use super::record::{HEADER_BYTES, ROW_HEADER_BYTES};
use super::segment::{HEADER_PAGE_BYTES, TAIL_BYTES};

/// Every limit of the embedded engine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddedOptions {
    /// Size of a segment of the log. The first one is smaller, so that a new store is ready at once.
    pub segment_bytes: u32,
    /// Most bytes that are sequenced but not yet written; whoever wants to add more waits.
    pub log_buffer_bytes_max: usize,
    /// Rows in memory, counted as bytes of log and of bookkeeping, at which a checkpoint begins.
    pub checkpoint_bytes: usize,
    /// A checkpoint begins after this time even if there is little to write. Zero: never.
    pub checkpoint_interval_ms: u64,
    /// Most bytes of rows in memory; whoever wants to write more waits for the checkpoint.
    pub memtable_bytes_max: usize,
    /// Values up to this size stand in the index itself, larger ones in the log only.
    pub inline_bytes_max: usize,
    /// Blocks of the index kept in memory.
    pub cache_bytes: u64,
    /// Partitions whose version is kept at hand while nobody uses them.
    pub partitions_idle_max: usize,
    /// Most bytes of small, often replaced rows that are kept at hand as copies.
    pub rows_kept_bytes_max: usize,
    /// A segment with fewer live bytes, in percent of its size, is rewritten. Zero: never.
    pub rewrite_live_percent: u8,
    /// Segments that the archive does not have yet are not rewritten, unless it is further
    /// behind than this. Then it needs a new base, and cannot restore to the moments between.
    pub archive_behind_bytes_max: u64,
    /// Writes are refused when the disk has less than this left, so that the index can still be written.
    pub disk_reserve_bytes: u64,
    /// How long a write waits for room in the log or in memory before it is refused as unavailable.
    pub wait_for_room_ms: u64,
    /// How long a caller waits for a disk that takes no writes before its outcome is called unknown.
    pub stalled_ms_max: u64,
    /// Most bytes of log that one call for events reads.
    pub events_scan_bytes_max: u64,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            log_buffer_bytes_max: 32 << 20,
            checkpoint_bytes: 160 << 20,
            checkpoint_interval_ms: 60_000,
            memtable_bytes_max: 384 << 20,
            inline_bytes_max: 64,
            cache_bytes: 256 << 20,
            partitions_idle_max: 100_000,
            rows_kept_bytes_max: 64 << 20,
            rewrite_live_percent: 50,
            archive_behind_bytes_max: 8 << 30,
            disk_reserve_bytes: 256 << 20,
            wait_for_room_ms: 2_000,
            stalled_ms_max: 5_000,
            events_scan_bytes_max: 16 << 20,
        }
    }
}

impl EmbeddedOptions {
    /// Refuses what cannot work.
    ///
    /// # Errors
    /// [`StoreError::LimitExceeded`] names the option and says what is allowed.
    pub fn check(&self) -> Result<(), StoreError> {
        let refuse = |what: String| Err(StoreError::LimitExceeded(what));
        if !(64 << 10..=1 << 30).contains(&self.segment_bytes) {
            return refuse(format!(
                "segment_bytes is {}: give 65536 to 1073741824",
                self.segment_bytes
            ));
        }
        if !(self.segment_bytes as usize).is_multiple_of(BLOCK_BYTES) {
            return refuse(format!(
                "segment_bytes is {}: give a multiple of {BLOCK_BYTES}",
                self.segment_bytes
            ));
        }
        if self.memtable_bytes_max < self.checkpoint_bytes {
            return refuse(format!(
                "memtable_bytes_max is {}: give at least checkpoint_bytes, {}",
                self.memtable_bytes_max, self.checkpoint_bytes
            ));
        }
        if self.rewrite_live_percent > 90 {
            return refuse(format!(
                "rewrite_live_percent is {}: give 0 (never) to 90",
                self.rewrite_live_percent
            ));
        }
        Ok(())
    }

    /// Bytes of the largest record that fits in a segment.
    pub(super) fn record_bytes_max(&self) -> usize {
        let largest_commit = limits::COMMIT_BYTES_MAX
            + limits::COMMIT_ROWS_MAX * ROW_HEADER_BYTES
            + HEADER_BYTES
            + limits::PARTITION_KEY_BYTES_MAX;
        largest_commit.min((self.segment_bytes - HEADER_PAGE_BYTES - TAIL_BYTES) as usize)
    }
}

/// What opening found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Segments of the log.
    pub segments: usize,
    /// Records behind the checkpoint that were read into memory.
    pub replayed_records: u64,
    /// Whether the index was missing and made anew from the whole log.
    pub index_rebuilt: bool,
    /// What a crash left behind the last whole record, and is gone now.
    pub torn_tail: Option<TornTail>,
    /// Milliseconds that opening took.
    pub took_ms: u64,
}

/// The end of the log that was written in part when the process or the machine died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The segment's file name.
    pub segment: String,
    /// Where in it the last whole record ends.
    pub offset: u64,
    /// Bytes that were cut off there. None of them was ever acknowledged.
    pub bytes: u64,
}

impl fmt::Display for OpenReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "opened {} segments, replayed {} records in {} ms",
            self.segments, self.replayed_records, self.took_ms
        )?;
        if self.index_rebuilt {
            write!(f, "; the index was made anew from the log")?;
        }
        if let Some(torn) = &self.torn_tail {
            write!(
                f,
                "; cut {} unfinished bytes off {} at {}",
                torn.bytes, torn.segment, torn.offset
            )?;
        }
        Ok(())
    }
}
