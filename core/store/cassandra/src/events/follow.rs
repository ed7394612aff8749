//! The follower's part: entries up to the horizon, and what became of each.

use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use lombard_store::{EventPage, EventRow, PartitionId, Position, Row, StoreError};
use scylla::response::PagingState;
use scylla::statement::prepared::PreparedStatement;

use super::{Entry, bucket_of, day_of, fence, mark};
use crate::clock::Clock;
use crate::commit::signed;
use crate::coordinators::Coordinators;
use crate::fault;
use crate::keyspace::Keyspace;
use crate::read::{HEAD, Seen, is_a_copy, points};

/// How many commits' rows are read at once.
pub(crate) const READS_AT_ONCE: usize = 16;
/// How many days' lists of buckets are read at once.
pub(crate) const DAYS_AT_ONCE: usize = 8;
/// Event rows that one read asks for.
const KEYS_PER_READ_MAX: usize = 256;
/// How long to wait before looking again at what is undecided.
pub(crate) const UNDECIDED_PAUSE: Duration = Duration::from_millis(20);
/// The longest sleep before looking at the clock again.
pub(crate) const SLEEP_MAX: Duration = Duration::from_millis(100);

/// How a follower goes about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Following {
    /// How far behind its own time a follower stays: D + S.
    pub lag_us: u64,
    /// When an undecided commit is fenced.
    pub fence_after_us: u64,
}

/// Events behind a position, in order, about `limit` of them.
///
/// Where there are none up to the horizon, but this process itself has made some behind
/// that, it waits until the horizon has passed those.
///
/// # Errors
/// Nobody answers, or a row is damaged.
pub(crate) async fn follow(
    keyspace: &Keyspace,
    clock: &Clock,
    following: Following,
    after: Position,
    limit: usize,
) -> Result<EventPage, StoreError> {
    let own = keyspace.last_event();
    loop {
        let horizon = Position(clock.now_us().saturating_sub(following.lag_us));
        if horizon > after {
            let page = page(keyspace, clock, following, after, horizon, limit.max(1)).await?;
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
    keyspace: &Keyspace,
    clock: &Clock,
    following: Following,
    after: Position,
    horizon: Position,
    limit: usize,
) -> Result<EventPage, StoreError> {
    let mut page = EventPage {
        next: horizon,
        ..EventPage::default()
    };
    let from = bucket_of(after.max(Position(keyspace.created_us)));
    let days = day_of(from)..=day_of(bucket_of(horizon));
    let buckets = stream::iter(days)
        .map(|day| buckets(keyspace, day, from))
        .buffered(DAYS_AT_ONCE);
    let mut buckets = std::pin::pin!(buckets);
    while let Some(day) = buckets.try_next().await? {
        for bucket in day {
            // One more than could be needed: whether there is more shows.
            let mut behind = after;
            loop {
                let wanted = limit.saturating_add(1);
                let (entries, whole) = announced(keyspace, bucket, behind, horizon, wanted).await?;
                let Some(last) = entries.last().map(|entry| entry.at) else {
                    break;
                };
                let outcomes = stream::iter(entries)
                    .map(|entry| outcome(keyspace, clock, following, entry))
                    .buffered(READS_AT_ONCE);
                let mut outcomes = std::pin::pin!(outcomes);
                while let Some(events) = outcomes.try_next().await? {
                    if !add(&mut page, events, limit) {
                        return Ok(page);
                    }
                }
                if whole {
                    break;
                }
                behind = last;
            }
        }
    }
    Ok(page)
}

/// Adds a commit's events, unless the page is full: then it ends before them. Commits of
/// one position stay together.
pub(crate) fn add(page: &mut EventPage, events: Vec<EventRow>, limit: usize) -> bool {
    let Some(first) = events.first().map(|event| event.position) else {
        return true;
    };
    let joins = page
        .events
        .last()
        .is_some_and(|last| last.position == first);
    if !page.events.is_empty() && !joins && page.events.len() + events.len() > limit {
        page.next = page.events.last().map_or(page.next, |last| last.position);
        page.more = true;
        return false;
    }
    page.events.extend(events);
    true
}

/// The buckets of a day, from one on.
///
/// # Errors
/// Nobody answers.
pub(crate) async fn buckets(
    keyspace: &Keyspace,
    day: u64,
    from: u64,
) -> Result<Vec<u64>, StoreError> {
    let what = "reading the list of buckets";
    let mut found = Vec::new();
    let mut state = PagingState::start();
    loop {
        let statement = &keyspace.statements.buckets;
        let values = (signed(day), signed(from));
        let read = keyspace.cluster.page(statement, values, state).await;
        let (rows, next) = read.map_err(|error| fault::of_read(what, &error))?;
        let rows = rows
            .into_rows_result()
            .map_err(|error| fault::of_answer(what, &error))?;
        let rows = rows
            .rows::<(i64,)>()
            .map_err(|error| fault::of_answer(what, &error))?;
        for row in rows {
            let (bucket,) = row.map_err(|error| fault::of_answer(what, &error))?;
            found.extend(u64::try_from(bucket).ok());
        }
        match next.into_paging_control_flow() {
            ControlFlow::Continue(next) => state = next,
            ControlFlow::Break(()) => return Ok(found),
        }
    }
}

/// Entries of a bucket, about `limit` of them, all of a position or none; and whether that
/// is all.
///
/// # Errors
/// Nobody answers, or an entry is damaged.
pub(crate) async fn announced(
    keyspace: &Keyspace,
    bucket: u64,
    after: Position,
    horizon: Position,
    limit: usize,
) -> Result<(Vec<Entry>, bool), StoreError> {
    let what = "reading the event index";
    let mut limit = i32::try_from(limit).unwrap_or(i32::MAX);
    loop {
        let mut entries = Vec::new();
        let mut state = PagingState::start();
        loop {
            let statement = &keyspace.statements.announced;
            let values = (signed(bucket), signed(after.0), signed(horizon.0), limit);
            let read = keyspace.cluster.page(statement, values, state).await;
            let (rows, next) = read.map_err(|error| fault::of_read(what, &error))?;
            let rows = rows
                .into_rows_result()
                .map_err(|error| fault::of_answer(what, &error))?;
            let rows = rows
                .rows::<(i64, Bytes, Option<i64>, Option<Bytes>)>()
                .map_err(|error| fault::of_answer(what, &error))?;
            for row in rows {
                let (at, partition, version, keys) =
                    row.map_err(|error| fault::of_answer(what, &error))?;
                let keys = keys.unwrap_or_default();
                entries.push(Entry::open(at, partition, version.unwrap_or(-1), &keys)?);
            }
            match next.into_paging_control_flow() {
                ControlFlow::Continue(next) => state = next,
                ControlFlow::Break(()) => break,
            }
        }
        if i32::try_from(entries.len()).is_ok_and(|found| found < limit) || limit == i32::MAX {
            return Ok((entries, true));
        }
        // The last position may have more entries than these: it comes with the next ones.
        let last = entries.last().map(|entry| entry.at);
        let cut = entries.partition_point(|entry| Some(entry.at) < last);
        if cut > 0 {
            entries.truncate(cut);
            return Ok((entries, false));
        }
        limit = limit.saturating_mul(2);
    }
}

/// What became of an announced commit: its events, or none if it is not in. It waits until
/// that is decided, and decides it at last.
async fn outcome(
    keyspace: &Keyspace,
    clock: &Clock,
    following: Following,
    entry: Entry,
) -> Result<Vec<EventRow>, StoreError> {
    let statements = &keyspace.statements;
    // First as a quorum has it. If that does not say, the decision itself is asked for.
    let mut statement = &statements.points;
    loop {
        if let Some(events) = look(keyspace, &entry, statement).await? {
            return Ok(events);
        }
        if statement.get_consistency() != statements.points_serially.get_consistency() {
            statement = &statements.points_serially;
            continue;
        }
        if clock.now_us().saturating_sub(entry.at.0) >= following.fence_after_us {
            if raise(keyspace, &entry).await {
                // Decided: what is not there now never will be.
                let found = look(keyspace, &entry, &statements.points_serially).await?;
                return Ok(found.unwrap_or_default());
            }
            tokio::time::sleep(UNDECIDED_PAUSE).await;
        } else {
            tokio::time::sleep(UNDECIDED_PAUSE).await;
        }
    }
}

/// Fences a commit, and gives whether it is done. If it cannot be, the next look says
/// whether the cluster answers at all.
pub(crate) async fn raise(keyspace: &Keyspace, entry: &Entry) -> bool {
    let partition = entry.partition.escape_ascii();
    let (name, position) = (&keyspace.name, entry.at.0);
    match fence::raise(keyspace, &entry.partition, entry.at).await {
        Ok(raised) => {
            tracing::debug!(
                keyspace = name,
                %partition,
                position,
                raised,
                "a commit that was announced and did not come was fenced"
            );
            raised
        }
        Err(error) => {
            tracing::warn!(
                keyspace = name,
                %partition,
                position,
                %error,
                "a commit that was announced and did not come could not be fenced yet"
            );
            false
        }
    }
}

/// The events, if it is decided.
async fn look(
    keyspace: &Keyspace,
    entry: &Entry,
    statement: &PreparedStatement,
) -> Result<Option<Vec<EventRow>>, StoreError> {
    match sight(keyspace, entry, statement).await? {
        Sighted::In(events) => Ok(Some(events)),
        Sighted::NotIn(seen) if seen.is_copy() => Err(is_a_copy(keyspace, &entry.partition)),
        Sighted::NotIn(seen) => Ok(cannot_come(entry, seen).then(Vec::new)),
    }
}

/// What a partition says of an announced commit.
pub(crate) enum Sighted {
    In(Vec<EventRow>),
    /// It is not in the state that was seen.
    NotIn(Seen),
}

/// Looks at one cluster's partition for an announced commit.
///
/// # Errors
/// Nobody answers, or a row is damaged.
pub(crate) async fn sight(
    keyspace: &Keyspace,
    entry: &Entry,
    statement: &PreparedStatement,
) -> Result<Sighted, StoreError> {
    let mark = mark(entry.at);
    // The page as a whole is vouched for, by all nodes.
    let asked = Coordinators::default();
    let mut events = Vec::with_capacity(entry.keys.len());
    for some in entry.keys.chunks(KEYS_PER_READ_MAX) {
        let mut keys: Vec<&[u8]> = some.iter().map(AsRef::as_ref).collect();
        keys.push(HEAD);
        keys.push(&mark);
        keys.sort_unstable();
        keys.dedup();
        let read = points(keyspace, statement, &entry.partition, &keys, &asked).await?;
        let (seen, rows) = read;
        // Each part is one consistent read, and each has the mark.
        if !rows.iter().any(|(key, _)| key == &mark) {
            return Ok(Sighted::NotIn(seen));
        }
        events.extend(
            some.iter()
                .filter_map(|key| event(keyspace, entry, key, &rows)),
        );
    }
    Ok(Sighted::In(events))
}

/// Whether the partition has gone past the commit, which is not in.
pub(crate) fn cannot_come(entry: &Entry, seen: Seen) -> bool {
    seen.version >= entry.version || seen.position >= entry.at
}

/// An event, unless its row has been removed since.
fn event(keyspace: &Keyspace, entry: &Entry, key: &Bytes, rows: &[Row]) -> Option<EventRow> {
    let place = rows.binary_search_by(|(is, _)| is.cmp(key)).ok()?;
    let (key, value) = rows.get(place)?;
    Some(EventRow {
        partition: PartitionId {
            keyspace: keyspace.id,
            key: entry.partition.clone(),
        },
        key: key.clone(),
        value: value.clone(),
        position: entry.at,
    })
}
