//! Following the commits with events of both clusters, as one.
//!
//! A commit's entry is in the index of the cluster that owned its partition when it went out,
//! in time; and may come to the other index at any time later, as a copy. So the entries of
//! both indexes up to the horizon are all that there are, and a copy is the same entry again.
//!
//! What became of a commit is told by the partition where it is owned: what was in before a
//! hand-over came along with it. A copy tells as well whether it has the commit; that it does
//! not have it tells something only if it is of that version, or a later one.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use lombard_store::{EventPage, EventRow, Position, StoreError};

use super::decide::{Ownership, State, Which, ownership};
use super::pair::{Pair, Place, Tools};
use crate::commit;
use crate::events::follow::{
    DAYS_AT_ONCE, READS_AT_ONCE, SLEEP_MAX, Sighted, UNDECIDED_PAUSE, add, announced, buckets,
    cannot_come, raise, sight,
};
use crate::events::{Entry, Following, bucket_of, day_of};

impl Pair {
    /// Events behind a position, in order, about `limit` of them; as [`crate::events::follow()`].
    ///
    /// # Errors
    /// One of the clusters does not answer, or a row is damaged.
    pub async fn events(
        &self,
        tools: Tools<'_>,
        following: Following,
        after: Position,
        limit: usize,
    ) -> Result<EventPage, StoreError> {
        let own = self.last_event();
        loop {
            let now = tools.clock.now_us();
            let horizon = Position(now.saturating_sub(following.lag_us));
            if horizon > after {
                let page = self.page(tools, following, (after, horizon), limit.max(1));
                let page = page.await?;
                if !page.events.is_empty() || page.more {
                    let more = page.more || own > page.next;
                    return Ok(EventPage { more, ..page });
                }
            }
            if own <= after || own <= horizon {
                return Ok(EventPage {
                    events: Vec::new(),
                    next: after.max(horizon),
                    more: false,
                });
            }
            let missing = Duration::from_micros(own.0.saturating_sub(horizon.0));
            tokio::time::sleep(missing.min(SLEEP_MAX)).await;
        }
    }

    /// What lies behind `after`, up to the horizon.
    async fn page(
        &self,
        tools: Tools<'_>,
        following: Following,
        (after, horizon): (Position, Position),
        limit: usize,
    ) -> Result<EventPage, StoreError> {
        let mut page = EventPage {
            next: horizon,
            ..EventPage::default()
        };
        let from = bucket_of(after.max(Position(self.keyspace(Which::From).created_us)));
        let days = day_of(from)..=day_of(bucket_of(horizon));
        let buckets = stream::iter(days)
            .map(|day| self.buckets(day, from))
            .buffered(DAYS_AT_ONCE);
        let mut buckets = std::pin::pin!(buckets);
        while let Some(day) = buckets.try_next().await? {
            for bucket in day {
                let mut behind = Some(after);
                while let Some(position) = behind {
                    let wanted = limit.saturating_add(1);
                    let range = (position, horizon);
                    let (entries, next) = self.announced(bucket, range, wanted).await?;
                    let outcomes = stream::iter(entries)
                        .map(|entry| self.outcome(tools, following, entry))
                        .buffered(READS_AT_ONCE);
                    let mut outcomes = std::pin::pin!(outcomes);
                    while let Some(events) = outcomes.try_next().await? {
                        if !add(&mut page, events, limit) {
                            return Ok(page);
                        }
                    }
                    behind = next;
                }
            }
        }
        Ok(page)
    }

    /// The buckets of a day that either index has, from one on.
    pub(super) async fn buckets(&self, day: u64, from: u64) -> Result<BTreeSet<u64>, StoreError> {
        let of = |which| buckets(self.keyspace(which), day, from);
        let (one, other) = futures::try_join!(of(Which::From), of(Which::To))?;
        Ok(one.into_iter().chain(other).collect())
    }

    /// Entries of a bucket that either index has, about `limit` of them, and behind which
    /// position there may be more.
    async fn announced(
        &self,
        bucket: u64,
        (after, horizon): (Position, Position),
        limit: usize,
    ) -> Result<(Vec<Entry>, Option<Position>), StoreError> {
        let of = |which| announced(self.keyspace(which), bucket, after, horizon, limit);
        let (one, other) = futures::try_join!(of(Which::From), of(Which::To))?;
        Ok(merged(one, other))
    }

    /// What became of an announced commit: its events, or none if it is not in. It waits until
    /// that is decided, and decides it at last.
    async fn outcome(
        &self,
        tools: Tools<'_>,
        following: Following,
        entry: Entry,
    ) -> Result<Vec<EventRow>, StoreError> {
        let mut serially = false;
        loop {
            if let Some(events) = self.sight(&entry, serially).await? {
                return Ok(events);
            }
            if !serially {
                serially = true;
                continue;
            }
            let waited = tools.clock.now_us().saturating_sub(entry.at.0);
            if waited >= following.fence_after_us && self.fence(tools, &entry).await? {
                // It cannot come where the partition is, or where it would begin.
                let found = self.sight(&entry, true).await?;
                return Ok(found.unwrap_or_default());
            }
            tokio::time::sleep(UNDECIDED_PAUSE).await;
        }
    }

    /// The events, if it is decided.
    async fn sight(
        &self,
        entry: &Entry,
        serially: bool,
    ) -> Result<Option<Vec<EventRow>>, StoreError> {
        let first = self.believed(&entry.partition).unwrap_or(Which::From);
        for which in [first, first.other()] {
            let keyspace = self.keyspace(which);
            let statements = &keyspace.statements;
            let statement = if serially {
                &statements.points_serially
            } else {
                &statements.points
            };
            let seen = match sight(keyspace, entry, statement).await? {
                Sighted::In(events) => return Ok(Some(events)),
                Sighted::NotIn(seen) => seen,
            };
            match State::of(seen.stored) {
                State::Owner(_) => return Ok(cannot_come(entry, seen).then(Vec::new)),
                // It has all commits up to its version.
                State::Copy(version) if version >= entry.version.0 => return Ok(Some(Vec::new())),
                State::Copy(_) | State::Filling(_) | State::Absent => {}
            }
        }
        Ok(None)
    }

    /// Makes sure that an announced commit cannot come any more; gives whether that is done.
    async fn fence(&self, tools: Tools<'_>, entry: &Entry) -> Result<bool, StoreError> {
        let Place::At(which, _) = self.settle(tools, &entry.partition).await? else {
            let from = raise(self.keyspace(Which::From), entry).await;
            return Ok(from && raise(self.keyspace(Which::To), entry).await);
        };
        if !raise(self.keyspace(which), entry).await {
            return Ok(false);
        }
        // Only where it is still owned there did the fence stop anything.
        let from = self.look(tools, Which::From, &entry.partition).await?;
        let to = self.look(tools, Which::To, &entry.partition).await?;
        let now = ownership(from.state(), to.state());
        let at = if which == Which::From { from } else { to };
        Ok(matches!(now, Ownership::Owner(owner, _) if owner == which)
            && at.stored > 0
            && (at.position >= entry.at || commit::signed(entry.version.0) <= at.stored))
    }
}

/// Entries of two indexes as of one, and behind which position there may be more: none if
/// both were read to the end.
fn merged(one: (Vec<Entry>, bool), other: (Vec<Entry>, bool)) -> (Vec<Entry>, Option<Position>) {
    let cut = |(entries, is_all): &(Vec<Entry>, bool)| {
        let last = entries.last().filter(|_| !is_all);
        last.map(|last| last.at)
    };
    let cut = match (cut(&one), cut(&other)) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    let mut entries = one.0;
    entries.extend(other.0);
    let place = |entry: &Entry| (entry.at, entry.partition.clone(), entry.version);
    entries.sort_by_key(place);
    entries.dedup();
    if let Some(cut) = cut {
        entries.retain(|entry| entry.at <= cut);
    }
    (entries, cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use lombard_store::Version;

    fn entry(at: u64, partition: &'static [u8]) -> Entry {
        Entry {
            at: Position(at),
            partition: Bytes::from_static(partition),
            version: Version(1),
            keys: Vec::new(),
        }
    }

    #[test]
    fn entries_come_in_order_once_and_up_to_where_both_indexes_were_read() {
        let one = vec![entry(1, b"a"), entry(3, b"c"), entry(5, b"e")];
        let other = vec![
            entry(2, b"b"),
            entry(3, b"b"),
            entry(3, b"c"),
            entry(4, b"d"),
        ];
        let (both, behind) = merged((one.clone(), true), (other.clone(), true));
        assert_eq!(behind, None);
        let at =
            |entries: &[Entry]| -> Vec<u64> { entries.iter().map(|entry| entry.at.0).collect() };
        assert_eq!(at(&both), [1, 2, 3, 3, 4, 5]);
        // The second was read up to 4 only: 5 may have others before it.
        let (both, behind) = merged((one.clone(), true), (other.clone(), false));
        assert_eq!(
            (at(&both), behind),
            (vec![1, 2, 3, 3, 4], Some(Position(4)))
        );
        let (both, behind) = merged((one[..2].to_vec(), false), (other, false));
        assert_eq!((at(&both), behind), (vec![1, 2, 3, 3], Some(Position(3))));
    }
}
