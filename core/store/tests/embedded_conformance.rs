//! The embedded engine does what every engine must, as it is and with limits
//! so small that every commit meets the end of a segment or a checkpoint.
#![allow(
    clippy::expect_used,
    reason = "a test stops at the first thing that is wrong"
)]

use std::sync::Arc;

use async_trait::async_trait;
use lombard_store::Engine;
use lombard_store::conformance::Subject;
use lombard_store::embedded::{Embedded, EmbeddedOptions};
use tempfile::TempDir;

struct InFolder {
    folder: TempDir,
    options: EmbeddedOptions,
}

impl InFolder {
    fn new(options: EmbeddedOptions) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder for the test"),
            options,
        }
    }
}

#[async_trait]
impl Subject for InFolder {
    async fn open(&self) -> Arc<dyn Engine> {
        let (engine, _) =
            Embedded::open(self.folder.path(), self.options.clone()).expect("it opens");
        Arc::new(engine)
    }
}

mod usual {
    use super::*;

    lombard_store::conformance!(InFolder::new(EmbeddedOptions {
        disk_reserve_bytes: 0,
        ..EmbeddedOptions::default()
    }));
}

mod cramped {
    use super::*;

    lombard_store::conformance!(InFolder::new(EmbeddedOptions {
        segment_bytes: 16 << 20,
        checkpoint_bytes: 10_000,
        memtable_bytes_max: 64 << 20,
        log_buffer_bytes_max: 1 << 20,
        inline_bytes_max: 4,
        cache_bytes: 1 << 20,
        partitions_idle_max: 10,
        disk_reserve_bytes: 0,
        ..EmbeddedOptions::default()
    }));
}
