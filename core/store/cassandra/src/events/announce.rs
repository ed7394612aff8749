//! The writer's part: an entry in the index, in time.
//!
//! Entries of one bucket lie in one partition of the index, so those that wait while others
//! are written go out together, as one batch: one write for many commits.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{Either, join_all, select};
use lombard_store::{Position, StoreError, Version};
use parking_lot::Mutex;
use scylla::statement::batch::{Batch, BatchType};
use tokio::sync::oneshot;

use super::{Entry, bucket_of, day_of};
use crate::clock::Clock;
use crate::commit::signed;
use crate::fault;
use crate::keyspace::Keyspace;
use crate::retry::ReadRetry;

/// How often an entry is written anew because the cluster acknowledged it too late.
const TRIES_MAX: u32 = 6;
/// How many buckets a process remembers to have put on record.
const BUCKETS_KNOWN_MAX: usize = 8;
/// Most entries that are written together.
pub(crate) const TOGETHER_MAX: usize = 128;
/// Most bytes of keys that are written together. A node warns of batches over several
/// partitions only; this keeps a write short.
const TOGETHER_BYTES_MAX: usize = 128 << 10;

/// A commit that is to be announced.
#[derive(Debug, Clone)]
pub(crate) struct Announced {
    /// The partition's key.
    pub partition: Bytes,
    /// That the partition has with it.
    pub version: Version,
    /// Of its event rows, in order.
    pub keys: Vec<Bytes>,
}

/// What waits to be written to a keyspace's index.
#[derive(Debug, Default)]
pub(crate) struct Announcements {
    waiting: Mutex<Vec<Waiting>>,
    /// Held by the one who writes for all.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Waiting {
    announced: Announced,
    /// Its position, once it is written.
    told: oneshot::Sender<Result<Position, StoreError>>,
}

/// Announces a commit, and gives the position that it is to have.
///
/// # Errors
/// The entry could not be written in time. The partition is as it was.
pub(crate) async fn announce(
    keyspace: &Keyspace,
    clock: &Clock,
    deadline_us: u64,
    announced: &Announced,
) -> Result<Position, StoreError> {
    for _ in 0..TRIES_MAX {
        let at = written(keyspace, clock, announced.clone()).await?;
        // Where our time is behind the position, followers' horizon is as well.
        if clock.now_us().saturating_sub(at.0) <= deadline_us {
            return Ok(at);
        }
    }
    Err(StoreError::Unavailable(format!(
        "cassandra: keyspace {}: the event index took longer than {} ms, {TRIES_MAX} times",
        keyspace.name,
        deadline_us / 1_000
    )))
}

/// Has an entry written, by whoever writes next.
async fn written(
    keyspace: &Keyspace,
    clock: &Clock,
    announced: Announced,
) -> Result<Position, StoreError> {
    let announcements = &keyspace.announcements;
    loop {
        let (told, mut telling) = oneshot::channel();
        let waiting = Waiting {
            announced: announced.clone(),
            told,
        };
        announcements.waiting.lock().push(waiting);
        loop {
            let turn = std::pin::pin!(announcements.writing.lock());
            match select(&mut telling, turn).await {
                Either::Left((Ok(told), _)) => return told,
                // Who wrote it went away, and nobody knows how far that came.
                Either::Left((Err(_), _)) => break,
                Either::Right((_turn, _)) => write_waiting(keyspace, clock).await,
            }
        }
    }
}

/// Writes what waits, up to the limits, and tells those who wait for it.
async fn write_waiting(keyspace: &Keyspace, clock: &Clock) {
    let taken = take(&mut keyspace.announcements.waiting.lock());
    let mut buckets: BTreeMap<u64, Vec<(Position, Waiting)>> = BTreeMap::new();
    for waiting in taken {
        let at = clock.next();
        buckets
            .entry(bucket_of(at))
            .or_default()
            .push((at, waiting));
    }
    let writes = buckets.into_iter().map(|(bucket, entries)| async move {
        let announced = entries
            .iter()
            .map(|(at, waiting)| (*at, &waiting.announced));
        let write = write(keyspace, bucket, announced.collect());
        let written = futures::try_join!(write, open_bucket(keyspace, bucket));
        for (at, waiting) in entries {
            // Whoever went away meanwhile does not commit.
            let _ = waiting.told.send(written.clone().map(|_| at));
        }
    });
    join_all(writes).await;
}

/// The next to be written. Those that nobody waits for any more are left out: an entry
/// without its commit makes followers wait.
fn take(waiting: &mut Vec<Waiting>) -> Vec<Waiting> {
    waiting.retain(|waiting| !waiting.told.is_closed());
    let mut bytes = 0;
    let fits = waiting.iter().take(TOGETHER_MAX).take_while(|waiting| {
        let keys = waiting.announced.keys.iter().map(Bytes::len);
        bytes += keys.sum::<usize>() + waiting.announced.partition.len();
        bytes <= TOGETHER_BYTES_MAX
    });
    let count = fits.count().max(1).min(waiting.len());
    waiting.drain(..count).collect()
}

/// Writes entries of one bucket.
///
/// # Errors
/// Nobody knows whether they are there; they may be written again.
pub(crate) async fn write(
    keyspace: &Keyspace,
    bucket: u64,
    entries: Vec<(Position, &Announced)>,
) -> Result<(), StoreError> {
    let statement = &keyspace.statements.announce;
    let values = entries.into_iter().map(|(at, announced)| {
        let partition = announced.partition.as_ref();
        let sealed = Entry::sealed_keys(partition, at, &announced.keys);
        let version = signed(announced.version.0);
        (signed(bucket), signed(at.0), partition, version, sealed)
    });
    let mut values: Vec<_> = values.collect();
    let written = match values.pop() {
        Some(only) if values.is_empty() => keyspace.cluster.execute(statement, only).await,
        Some(last) => {
            values.push(last);
            let statements = values.iter().map(|_| statement.clone().into()).collect();
            let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements);
            batch.set_is_idempotent(true);
            batch.set_retry_policy(Some(Arc::new(ReadRetry)));
            keyspace.cluster.commit(&batch, values).await
        }
        None => return Ok(()),
    };
    written.map_err(|error| fault::of_read("writing the event index", &error))?;
    Ok(())
}

/// Puts the bucket on record, once in this process.
///
/// # Errors
/// Nobody answers.
pub(crate) async fn open_bucket(keyspace: &Keyspace, bucket: u64) -> Result<(), StoreError> {
    if keyspace.buckets.lock().contains(&bucket) {
        return Ok(());
    }
    let values = (signed(day_of(bucket)), signed(bucket));
    let statement = &keyspace.statements.open_bucket;
    let written = keyspace.cluster.execute(statement, values).await;
    written.map_err(|error| fault::of_read("writing the list of buckets", &error))?;
    let mut known = keyspace.buckets.lock();
    known.insert(bucket);
    while known.len() > BUCKETS_KNOWN_MAX {
        known.pop_first();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(key_bytes: usize) -> (Waiting, oneshot::Receiver<Result<Position, StoreError>>) {
        let (told, telling) = oneshot::channel();
        let announced = Announced {
            partition: Bytes::from_static(b"p"),
            version: Version(1),
            keys: vec![Bytes::from(vec![0; key_bytes])],
        };
        (Waiting { announced, told }, telling)
    }

    #[test]
    fn what_is_written_together_stays_within_the_limits_and_leaves_out_who_went_away() {
        let (mut list, mut kept): (Vec<_>, Vec<_>) = (0..200).map(|_| waiting(9)).unzip();
        kept.remove(0);
        assert_eq!(take(&mut list).len(), TOGETHER_MAX);
        assert_eq!(list.len(), 199 - TOGETHER_MAX);
        assert_eq!(take(&mut list).len(), 199 - TOGETHER_MAX);
        assert!(take(&mut list).is_empty());
        // One that is too large for company goes alone.
        let (mut list, _kept): (Vec<_>, Vec<_>) =
            (0..3).map(|_| waiting(TOGETHER_BYTES_MAX)).unzip();
        assert_eq!(take(&mut list).len(), 1);
        assert_eq!(list.len(), 2);
    }
}
