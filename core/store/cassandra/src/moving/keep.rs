//! A commit that is in goes to the copy as well.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use lombard_store::{Change, Changes, PartitionId, Position, Version};

use super::batch::{Step, StoredRow};
use super::decide::Which;
use super::pair::{Pair, Tools};
use crate::commit::signed;
use crate::events;
use crate::read::HEAD;
use crate::value;

/// How long the answer to a commit waits for its copy.
const WAIT_MAX: Duration = Duration::from_millis(250);
/// How long copies are left alone after one that could not be written in time.
const REST_US: u64 = 2_000_000;

impl Pair {
    /// Sends a commit that is in at `which` to the copy on the other side, where that is at
    /// the version before. What fails leaves the copy behind, and is no failure: sweeps mend
    /// it.
    pub(super) async fn keep(
        &self,
        tools: Tools<'_>,
        (which, position): (Which, Position),
        partition: &PartitionId,
        expected: Version,
        changes: &Changes,
    ) {
        let now = tools.clock.now_us();
        let rests = now < self.rest_until_us.load(Ordering::Relaxed);
        let kept = if rests {
            false
        } else {
            let rows = rows(&partition.key, position, expected, changes);
            let step = Step {
                expected: -signed(expected.0),
                version: -signed(expected.next().0),
                position: None,
            };
            let sent = self.step(tools, which.other(), &partition.key, step, &rows);
            match tokio::time::timeout(WAIT_MAX, sent).await {
                Ok(Ok(made)) => made,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a commit was not copied");
                    self.rest_until_us
                        .fetch_max(now.saturating_add(REST_US), Ordering::Relaxed);
                    false
                }
                Err(_) => {
                    self.rest_until_us
                        .fetch_max(now.saturating_add(REST_US), Ordering::Relaxed);
                    false
                }
            }
        };
        let count = if kept {
            &self.counts.kept
        } else {
            &self.counts.missed
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// The rows that the commit has written, as they are stored.
fn rows(
    partition: &[u8],
    position: Position,
    expected: Version,
    changes: &Changes,
) -> Vec<StoredRow> {
    let seal = |key: &[u8], value: &[u8]| Bytes::from(value::seal(partition, key, value));
    let mut rows: Vec<StoredRow> = Vec::with_capacity(changes.rows.len() + 2);
    if expected == Version(0) {
        rows.push((Bytes::from_static(HEAD), Some(seal(HEAD, b""))));
    }
    for (key, change) in &changes.rows {
        let stored = change.value().map(|value| seal(key, value));
        rows.push((key.clone(), stored));
    }
    let is_event = |change| matches!(change, &Change::Event(_));
    if changes.rows.values().any(is_event) {
        let mark = Bytes::from(events::mark(position));
        let sealed = seal(&mark, b"");
        rows.push((mark, Some(sealed)));
    }
    rows
}
