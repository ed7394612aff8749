//! What the engine counts.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::count::Count;

/// The greatest figure seen.
#[derive(Debug, Default)]
pub(super) struct Peak(AtomicU64);

impl Peak {
    /// One more was seen.
    pub(super) fn saw(&self, figure: u64) {
        self.0.fetch_max(figure, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! figures {
    ($($(#[$doc:meta])* $name:ident: $kind:ident,)*) => {
        /// Counters since the store was opened.
        #[derive(Debug, Default)]
        pub(super) struct Figures {
            $($(#[$doc])* pub(super) $name: $kind,)*
        }

        impl Figures {
            /// Names and values.
            pub(super) fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)*]
            }
        }
    };
}

figures! {
    /// Commits that were sequenced.
    commits: Count,
    /// Rows in them.
    committed_rows: Count,
    /// Writes to the log that were made durable.
    flushes: Count,
    /// Records in them.
    flushed_records: Count,
    /// Bytes in them.
    flushed_bytes: Count,
    /// The longest of them, in microseconds.
    longest_flush_us: Peak,
    /// Look-ups of a row.
    row_reads: Count,
    /// Those that found none.
    row_reads_absent: Count,
    /// Look-ups of a row that went to the index.
    index_reads: Count,
    /// Ranges of rows that went to the index.
    index_ranges: Count,
    /// Rows read by their place in the log.
    log_row_reads: Count,
    /// Checkpoints that were finished.
    checkpoints: Count,
    /// Rows that they wrote to the index.
    checkpoint_rows: Count,
    /// The longest of them, in milliseconds.
    longest_checkpoint_ms: Peak,
    /// Checkpoints that failed and were tried again.
    checkpoints_failed: Count,
    /// Merges in the index.
    merges: Count,
    /// Merges that failed and were tried again.
    merges_failed: Count,
    /// Segments that were rewritten.
    segments_rewritten: Count,
    /// Attempts at it that failed.
    rewrites_failed: Count,
    /// Bytes of log that rewriting gave back.
    rewritten_bytes_freed: Count,
}
