//! What the engine counts.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! figures {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters since the store was opened.
        #[derive(Debug, Default)]
        pub(super) struct Figures {
            $($(#[$doc])* pub(super) $name: AtomicU64,)*
        }

        impl Figures {
            /// Names and values.
            pub(super) fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.load(Ordering::Relaxed)),)*]
            }
        }
    };
}

figures! {
    /// Commits that were sequenced.
    commits,
    /// Rows in them.
    committed_rows,
    /// Writes to the log that were made durable.
    flushes,
    /// Records in them.
    flushed_records,
    /// Bytes in them.
    flushed_bytes,
    /// The longest of them, in microseconds.
    longest_flush_us,
    /// Look-ups of a row.
    row_reads,
    /// Those that found none.
    row_reads_absent,
    /// Look-ups of a row that went to the index.
    index_reads,
    /// Ranges of rows that went to the index.
    index_ranges,
    /// Rows read by their place in the log.
    log_row_reads,
    /// Checkpoints that were finished.
    checkpoints,
    /// Rows that they wrote to the index.
    checkpoint_rows,
    /// The longest of them, in milliseconds.
    longest_checkpoint_ms,
    /// Checkpoints that failed and were tried again.
    checkpoints_failed,
    /// Merges in the index.
    merges,
    /// Merges that failed and were tried again.
    merges_failed,
    /// Segments that were rewritten.
    segments_rewritten,
    /// Attempts at it that failed.
    rewrites_failed,
    /// Bytes of log that rewriting gave back.
    rewritten_bytes_freed,
}

impl Figures {
    /// Adds to a counter.
    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}
