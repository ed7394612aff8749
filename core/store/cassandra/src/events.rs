//! Following commits with events, on a database that has no order of its own.
//!
//! **The order** is that of positions ([`crate::clock`]), and of partitions' keys where two
//! processes have drawn the same one.
//!
//! **Writing.** A commit with events, at the position P:
//! 1. writes an entry (P, partition, version, keys of its event rows) into the index at
//!    `QUORUM`, before anything else. If the cluster has not acknowledged it by P + D on the
//!    writer's clock ([`crate::CassandraOptions::event_index_deadline_ms`]), the entry is
//!    left alone and another is written with a new position;
//! 2. goes out as any commit does, and carries the row `ff ff 'e' P`, its *mark*.
//!
//! **Following.** With S as how far two clocks may be apart, a follower reads entries up to
//! the *horizon*, its own time − D − S. An entry at or before the horizon that counts was
//! acknowledged by a quorum before the follower looked, so it sees it: nothing can appear
//! behind it later. For each entry it reads, in one consistent read of the partition, the
//! mark, the rows, the version and the position:
//! - the mark is there: the commit is in, and these are its events. It was decided by a
//!   majority, so it is durable;
//! - it is not, but the version has been reached, or the position: the commit is not in and
//!   cannot come, since it needs the version before and a smaller position. It is skipped;
//! - else it is *undecided*: on its way, or its writer has died. The follower waits, and
//!   passes nothing behind it. After [`crate::CassandraOptions::fence_after_ms`] it *fences*
//!   the partition: one decision that raises the position to P and changes nothing else.
//!   Then the commit cannot come any more, and if it has come before, its mark is there. A
//!   writer that meets a fence takes a new position and loses nothing else.
//!
//! So a follower misses no event, and shows none that may go away.
//!
//! **Clocks** are all that this rests on: a process whose clock is behind the others by more
//! than S may write entries that followers have passed. Clocks are compared with every
//! node's when the engine connects, and again while it writes events
//! ([`crate::CassandraOptions::clock_skew_max_ms`]).
//!
//! **The index** is a partition for each ten seconds (a bucket), and a partition for each day
//! that lists its buckets, so that a follower that begins long ago need not ask for each ten
//! seconds of the years between. Entries are kept as long as the events are.

pub(crate) mod announce;
mod fence;
pub(crate) mod follow;

pub(crate) use announce::{Announced, Announcements, announce};
pub(crate) use follow::{Following, follow};

use bytes::{Buf, BufMut, Bytes};
use lombard_store::{Position, StoreError, Version};

use crate::value;

/// What comes before the position in the key of a mark.
const MARK: &[u8] = b"\xff\xffe";
/// How much time one partition of the index holds.
pub(crate) const BUCKET_US: u64 = 10_000_000;
/// How much time one partition of the list of buckets holds: a day.
const DAY_US: u64 = 86_400_000_000;

/// The key of the row that says that the commit at this position is in.
pub(crate) fn mark(position: Position) -> Vec<u8> {
    let mut key = MARK.to_vec();
    key.put_u64(position.0);
    key
}

/// The bucket of a position.
pub(crate) fn bucket_of(position: Position) -> u64 {
    position.0 / BUCKET_US
}

/// The day that a bucket lies in.
pub(crate) fn day_of(bucket: u64) -> u64 {
    bucket / (DAY_US / BUCKET_US)
}

/// A commit that was announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub at: Position,
    pub partition: Bytes,
    /// That the partition has with it.
    pub version: Version,
    /// Of its event rows, in order.
    pub keys: Vec<Bytes>,
}

impl Entry {
    /// The keys as they are stored: each with its length before it (two bytes, big end
    /// first), and all of it sealed as a row's value is.
    fn sealed_keys(partition: &[u8], at: Position, keys: &[Bytes]) -> Vec<u8> {
        let mut list = Vec::with_capacity(keys.iter().map(|key| key.len() + 2).sum());
        for key in keys {
            // A row's key has at most 512 bytes.
            list.put_u16(u16::try_from(key.len()).unwrap_or(u16::MAX));
            list.put_slice(key);
        }
        value::seal(partition, &mark(at), &list)
    }

    /// The entry out of what is stored.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    fn open(at: i64, partition: Bytes, version: i64, stored: &Bytes) -> Result<Self, StoreError> {
        let damaged = |what: &str| {
            StoreError::Damaged(format!(
                "event index at {at}, partition {}: {what}",
                partition.escape_ascii()
            ))
        };
        let position = u64::try_from(at).map_err(|_| damaged("a position below zero"))?;
        let version = u64::try_from(version).map_err(|_| damaged("a version below zero"))?;
        let position = Position(position);
        let mut list = value::open(&partition, &mark(position), stored)?;
        let mut keys = Vec::new();
        while list.has_remaining() {
            let length = list.try_get_u16().map(usize::from);
            let length = length.map_err(|_| damaged("a list of keys that is cut"))?;
            if list.remaining() < length {
                return Err(damaged("a list of keys that is cut"));
            }
            keys.push(list.split_to(length));
        }
        Ok(Self {
            at: position,
            partition,
            version: Version(version),
            keys,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_and_a_cut_one_is_damage() {
        let keys = [Bytes::from_static(b"a"), Bytes::from(vec![7; 512])];
        let stored = Entry::sealed_keys(b"p", Position(77), &keys);
        let entry = Entry::open(
            77,
            Bytes::from_static(b"p"),
            5,
            &Bytes::from(stored.clone()),
        );
        let entry = entry.unwrap();
        assert_eq!((entry.at, entry.version), (Position(77), Version(5)));
        assert_eq!(entry.keys, keys);
        let other = Entry::open(78, Bytes::from_static(b"p"), 5, &Bytes::from(stored));
        assert!(matches!(other, Err(StoreError::Damaged(_))));
    }

    #[test]
    fn marks_sort_by_position_and_are_reserved() {
        assert!(mark(Position(255)) < mark(Position(256)));
        assert!(mark(Position(0)).starts_with(lombard_store::limits::RESERVED_KEYS));
    }

    #[test]
    fn a_day_has_whole_buckets() {
        assert_eq!(DAY_US % BUCKET_US, 0);
        let last = bucket_of(Position(DAY_US - 1));
        assert_eq!((day_of(last), day_of(last + 1)), (0, 1));
    }
}
