//! Copying the event index: what one cluster's index has and the other's lacks.
//!
//! The copy is needed when the other cluster is left alone. What is written here is never in
//! the way of a follower: it has read the entry from the index that it was first in.

use bytes::Bytes;
use lombard_store::{Position, StoreError};

use super::decide::Which;
use super::pair::{Pair, Tools};
use super::record;
use crate::events::announce::{TOGETHER_MAX, open_bucket, write};
use crate::events::follow::{announced, buckets};
use crate::events::{Announced, Entry, Following, bucket_of, day_of};

/// How many entries are read at once.
const PAGE: usize = 1_000;

impl Pair {
    /// Copies entries to the index of a side, from where this was left up to the horizon, and
    /// puts on record how far that came. Gives that, and how many were written.
    ///
    /// # Errors
    /// One of the clusters does not answer, or an entry is damaged.
    pub(super) async fn copy_index(
        &self,
        tools: Tools<'_>,
        following: Following,
        to: Which,
    ) -> Result<(Position, u64), StoreError> {
        let target = self.keyspace(to);
        let source = self.keyspace(to.other());
        let what = format!("events copied to {}", target.cluster.name);
        let cursor = record::value(&target.cluster, &target.name, &what).await?;
        let cursor: u64 = cursor.and_then(|at| at.parse().ok()).unwrap_or(0);
        let after = Position(cursor);
        let horizon = tools.clock.now_us().saturating_sub(following.lag_us);
        let horizon = Position(horizon);
        let from = bucket_of(after.max(Position(source.created_us)));
        let mut copied = 0;
        for day in day_of(from)..=day_of(bucket_of(horizon)) {
            for bucket in buckets(source, day, from).await? {
                copied += self.copy_bucket(to, bucket, after, horizon).await?;
                // Its last entry may lie at the bucket's end: all before the next was copied.
                let done = bucket.saturating_mul(crate::events::BUCKET_US);
                let done = done.max(cursor).min(horizon.0).to_string();
                record::set(&target.cluster, &target.name, &what, &done).await?;
            }
        }
        let done = horizon.max(after);
        record::set(&target.cluster, &target.name, &what, &done.0.to_string()).await?;
        Ok((done, copied))
    }

    async fn copy_bucket(
        &self,
        to: Which,
        bucket: u64,
        after: Position,
        horizon: Position,
    ) -> Result<u64, StoreError> {
        let (source, target) = (self.keyspace(to.other()), self.keyspace(to));
        let mut copied = 0;
        let mut behind = after;
        loop {
            let (entries, is_all) = announced(source, bucket, behind, horizon, PAGE).await?;
            let Some(last) = entries.last().map(|entry| entry.at) else {
                return Ok(copied);
            };
            let (there, _) = announced(target, bucket, behind, last, usize::MAX).await?;
            let place = |entry: &Entry| (entry.at, entry.partition.clone());
            let there: std::collections::BTreeSet<(Position, Bytes)> =
                there.iter().map(place).collect();
            let lacking = entries.into_iter().filter(|e| !there.contains(&place(e)));
            let lacking: Vec<(Position, Announced)> = lacking
                .map(|entry| {
                    let announced = Announced {
                        partition: entry.partition,
                        version: entry.version,
                        keys: entry.keys,
                    };
                    (entry.at, announced)
                })
                .collect();
            if !lacking.is_empty() {
                open_bucket(target, bucket).await?;
            }
            for some in lacking.chunks(TOGETHER_MAX) {
                let entries = some.iter().map(|(at, announced)| (*at, announced));
                write(target, bucket, entries.collect()).await?;
                copied += some.len() as u64;
            }
            if is_all {
                return Ok(copied);
            }
            behind = last;
        }
    }
}
