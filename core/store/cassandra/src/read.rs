//! Reading a partition in one consistent state.
//!
//! **What Cassandra gives.** A replica applies a commit as a whole. A commit is *decided*
//! when a majority has accepted it; after that it is sent to all replicas, and the writer is
//! told when a majority has applied it. So
//! - a read at `QUORUM` sees whole commits only, and all that were ever acknowledged, but of
//!   a commit that is on its way one read may see it and a later one not;
//! - a read at `SERIAL` takes part in the decisions: it brings what was decided and not yet
//!   applied to a majority first, and forbids what was proposed and not decided. With
//!   `paxos_variant: v2` it is one round trip where nothing is on its way, reads do not
//!   hinder one another, and the promise that it takes is a write at each replica.
//!
//! **What we do.** Rows that are wanted by key, and the version with them, come from one
//! serial read. Ranges come from quorum reads at the same time, and each row of theirs
//! carries the version that it was read at: if all are the version of the serial read, the
//! whole is what the partition was at one moment while we read. If not, or if a range has no
//! row that could tell, that range is read again after the serial read (so that it can be no
//! older), and the version after that (so that it can be no newer).
//!
//! **A glance** ([`lombard_store::Engine::glance`]) is made of quorum reads: no promise is
//! written for them, and two replicas are asked and not all. A replica has a commit only once
//! it was decided, so what it shows is no less certain; it may be gone again in the next
//! glance, from other replicas, until the commit is acknowledged. Reading a range again would
//! not do there, since what is read later could be older: where a range is of another version
//! than the rows, or has no row that could tell, the whole is read as above.
//!
//! A read that finds no row finds no version either, so each partition has a row that is
//! never removed, the *head*, and each read by key asks for it too.

use std::ops::ControlFlow;

use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use lombard_store::limits::RESERVED_KEYS;
use lombard_store::{
    Direction, PartitionId, Position, Row, RowRange, Snapshot, StoreError, Version, Wanted,
};
use scylla::response::PagingState;
use scylla::response::query_result::QueryResult;
use scylla::statement::prepared::PreparedStatement;

use crate::coordinators::Coordinators;
use crate::fault;
use crate::keyspace::Keyspace;
use crate::moving;
use crate::value;

/// The key of the row that every partition has from its first commit on.
pub(crate) const HEAD: &[u8] = b"\xff\xffhead";

/// What is read of a row: key, value, and of its partition version and position.
type Columns = (Bytes, Option<Bytes>, Option<i64>, Option<i64>);

/// How a partition is read: see the module's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Serial,
    Glance,
}

/// The state that a read saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Zero: the partition has never been written. Of a copy, the version that it is of;
    /// zero while it is being filled.
    pub version: Version,
    pub position: Position,
    /// The version as it is stored: below zero in a copy ([`crate::moving`]), zero for none.
    pub stored: i64,
}

const NOTHING: Seen = Seen {
    version: Version(0),
    position: Position(0),
    stored: 0,
};

impl Seen {
    /// Whether what was read is a copy of what another cluster has, or had.
    pub fn is_copy(self) -> bool {
        self.stored < 0
    }
}

/// What a read found.
#[derive(Debug)]
pub(crate) enum Looked {
    /// The partition, or that it has never been written.
    State(Snapshot),
    /// A copy: the partition is on the other cluster, or on its way.
    Copy,
    /// Nothing: the parts of a glance are not known to be of one state.
    Torn,
}

/// What is said of a copy where no move is configured.
pub(crate) fn is_a_copy(keyspace: &Keyspace, partition: &[u8]) -> StoreError {
    StoreError::Misconfigured(format!(
        "cassandra: partition {} of keyspace {} is on another cluster than {:?}: what is here is \
         a copy, which is neither read nor committed to. The keyspace is being moved: configure \
         cassandra.moves.{} in this process, as in those that see both clusters",
        partition.escape_ascii(),
        keyspace.name,
        keyspace.cluster.name,
        keyspace.service
    ))
}

/// A range that was read: its rows, and the version that they are of; none if there are no
/// rows to tell it, or rows of several versions.
struct RangeRead {
    rows: Vec<Row>,
    version: Option<Version>,
}

/// One consistent read.
///
/// # Errors
/// [`StoreError::Contended`] if others committed whenever it was tried;
/// [`StoreError::Damaged`] names a row that cannot be read; [`StoreError::Unavailable`].
pub(crate) async fn snapshot(
    keyspace: &Keyspace,
    partition: &PartitionId,
    (wanted, manner): (&[Wanted], Manner),
    attempts_max: u32,
    coordinators: &Coordinators,
) -> Result<Looked, StoreError> {
    let mut keys: Vec<&[u8]> = vec![HEAD];
    let mut ranges: Vec<Option<Bounds>> = Vec::new();
    for wanted in wanted {
        match wanted {
            Wanted::Row(key) => keys.push(key),
            Wanted::Range(range) => ranges.push(Bounds::of(range)),
        }
    }
    keys.sort_unstable();
    keys.dedup();
    for _ in 0..attempts_max {
        let attempt = attempt(keyspace, manner, partition, &keys, &ranges, coordinators);
        let found = attempt.await?;
        if found.is_none() && manner == Manner::Glance {
            return Ok(Looked::Torn);
        }
        if let Some((seen, points, ranges)) = found {
            if seen.is_copy() {
                return Ok(Looked::Copy);
            }
            let mut ranges = ranges.into_iter();
            let found = wanted.iter().map(|wanted| match wanted {
                Wanted::Row(key) => {
                    let place = points.binary_search_by(|(is, _)| is.cmp(key));
                    let row = place.ok().and_then(|place| points.get(place));
                    row.cloned().into_iter().collect()
                }
                Wanted::Range(_) => ranges.next().unwrap_or_default(),
            });
            let found: Vec<Vec<Row>> = found.collect();
            let is_row = |wanted: &&Wanted| matches!(wanted, Wanted::Row(_));
            let asked = wanted.iter().zip(&found);
            let absent = asked.filter(|(wanted, rows)| is_row(wanted) && rows.is_empty());
            let absent = absent.count() as u64;
            keyspace.count_read(&partition.key, absent, seen.version == Version(0));
            return Ok(Looked::State(Snapshot {
                version: seen.version,
                found,
                position: seen.position,
            }));
        }
    }
    Err(StoreError::Contended {
        attempts: attempts_max,
        partition: partition.key.escape_ascii().to_string(),
    })
}

/// One try: none if others committed in between, or a glance cannot tell.
async fn attempt(
    keyspace: &Keyspace,
    manner: Manner,
    partition: &PartitionId,
    keys: &[&[u8]],
    bounds: &[Option<Bounds>],
    coordinators: &Coordinators,
) -> Result<Option<(Seen, Vec<Row>, Vec<Vec<Row>>)>, StoreError> {
    let statement = match manner {
        Manner::Glance => &keyspace.statements.points,
        Manner::Serial => &keyspace.statements.points_serially,
    };
    let by_key = points(keyspace, statement, &partition.key, keys, coordinators);
    let reads = join_all(bounds.iter().map(|bounds| async {
        match bounds {
            Some(bounds) => range(keyspace, &partition.key, bounds, coordinators)
                .await
                .map(Some),
            None => Ok(None),
        }
    }));
    let (by_key, reads) = futures::join!(by_key, reads);
    let (seen, points) = by_key?;
    if seen.is_copy() {
        return Ok(Some((seen, Vec::new(), Vec::new())));
    }
    let mut found = Vec::with_capacity(bounds.len());
    let mut again = Vec::new();
    for (place, read) in reads.into_iter().enumerate() {
        let read = read?;
        let fits = match &read {
            // Nothing can lie there, or there is nothing at all.
            None => true,
            Some(_) if seen.version == Version(0) => true,
            Some(read) => read.version == Some(seen.version),
        };
        if !fits {
            again.push(place);
        }
        let keep = fits && seen.version != Version(0);
        let rows = read
            .filter(|_| keep)
            .map_or_else(Vec::new, |read| read.rows);
        found.push(rows);
    }
    if again.is_empty() {
        return Ok(Some((seen, points, found)));
    }
    if manner == Manner::Glance {
        return Ok(None);
    }
    let reads = again.iter().filter_map(|place| {
        let bounds = bounds.get(*place)?.as_ref()?;
        Some(range(keyspace, &partition.key, bounds, coordinators))
    });
    let reads = try_join_all(reads).await?;
    let mut untold = false;
    for (place, read) in again.into_iter().zip(reads) {
        match read.version {
            Some(version) if version == seen.version => {}
            None if read.rows.is_empty() => untold = true,
            _ => return Ok(None),
        }
        if let Some(found) = found.get_mut(place) {
            *found = read.rows;
        }
    }
    if untold {
        let again = self::points(keyspace, statement, &partition.key, &[HEAD], coordinators);
        let (now, _) = again.await?;
        if now.version != seen.version {
            return Ok(None);
        }
    }
    Ok(Some((seen, points, found)))
}

/// Rows by key, in the order of their keys, without the head, and the state that they are of.
/// `keys` has the head among others.
///
/// # Errors
/// As [`snapshot`].
pub(crate) async fn points(
    keyspace: &Keyspace,
    statement: &PreparedStatement,
    partition: &[u8],
    keys: &[&[u8]],
    coordinators: &Coordinators,
) -> Result<(Seen, Vec<Row>), StoreError> {
    let what = "reading rows";
    let mut seen = None;
    let mut rows = Vec::new();
    let mut from = PagingState::start();
    loop {
        let read = keyspace
            .cluster
            .page(statement, (partition, keys), from)
            .await;
        let (page, next) = read.map_err(|error| fault::of_read(what, &error))?;
        coordinators.note(&page);
        for row in columns(what, page)? {
            let (key, stored, version, position) = row;
            let this = state(partition, &key, version, position)?;
            if *seen.get_or_insert(this) != this {
                // A page of another state than the one before: only where there are more
                // rows than fit into one.
                return Err(StoreError::Unavailable(
                    "cassandra: the partition changed between two pages".into(),
                ));
            }
            let value = open(partition, &key, stored)?;
            if key != HEAD {
                rows.push((key, value));
            }
        }
        match next.into_paging_control_flow() {
            ControlFlow::Continue(state) => from = state,
            ControlFlow::Break(()) => break,
        }
    }
    rows.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    Ok((seen.unwrap_or(NOTHING), rows))
}

async fn range(
    keyspace: &Keyspace,
    partition: &[u8],
    bounds: &Bounds,
    coordinators: &Coordinators,
) -> Result<RangeRead, StoreError> {
    let what = "reading a range";
    let statement = match bounds.direction {
        Direction::Ascending => &keyspace.statements.ascending,
        Direction::Descending => &keyspace.statements.descending,
    };
    let values = (
        partition,
        bounds.from.as_ref(),
        bounds.to.as_ref(),
        bounds.limit,
    );
    let mut read = RangeRead {
        rows: Vec::new(),
        version: None,
    };
    let mut mixed = false;
    let mut from = PagingState::start();
    loop {
        let page = keyspace.cluster.page(statement, values, from).await;
        let (page, next) = page.map_err(|error| fault::of_read(what, &error))?;
        coordinators.note(&page);
        for (key, stored, version, position) in columns(what, page)? {
            let this = state(partition, &key, version, position)?.version;
            mixed |= *read.version.get_or_insert(this) != this;
            let value = open(partition, &key, stored)?;
            read.rows.push((key, value));
        }
        match next.into_paging_control_flow() {
            ControlFlow::Continue(state) if !mixed => from = state,
            _ => break,
        }
    }
    if mixed {
        read.version = None;
    }
    Ok(read)
}

fn columns(what: &str, page: QueryResult) -> Result<Vec<Columns>, StoreError> {
    let rows = page
        .into_rows_result()
        .map_err(|error| fault::of_answer(what, &error))?;
    let rows = rows
        .rows::<Columns>()
        .map_err(|error| fault::of_answer(what, &error))?;
    rows.collect::<Result<_, _>>()
        .map_err(|error| fault::of_answer(what, &error))
}

/// The state that a row was read in.
fn state(
    partition: &[u8],
    key: &[u8],
    version: Option<i64>,
    position: Option<i64>,
) -> Result<Seen, StoreError> {
    let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    match (version, number(position)) {
        // A copy need not have a position: its rows came from where they have one.
        (Some(stored), position) if stored < 0 => Ok(Seen {
            version: moving::State::of(stored).version(),
            position: Position(position.unwrap_or(0)),
            stored,
        }),
        (Some(stored), Some(position)) if stored > 0 => Ok(Seen {
            version: Version(stored.unsigned_abs()),
            position: Position(position),
            stored,
        }),
        _ => Err(StoreError::Damaged(format!(
            "partition {} has the row {}, but version {version:?} and position {position:?}",
            partition.escape_ascii(),
            key.escape_ascii()
        ))),
    }
}

fn open(partition: &[u8], key: &[u8], stored: Option<Bytes>) -> Result<Bytes, StoreError> {
    // No value at all is damage, too: every row is written with one.
    value::open(partition, key, &stored.unwrap_or_default())
}

/// A range as it is asked for: `from` is in it, `to` behind it.
#[derive(Debug, Clone)]
struct Bounds {
    from: Bytes,
    to: Bytes,
    direction: Direction,
    limit: i32,
}

impl Bounds {
    /// None if nothing can lie there. Rows of the store's own are in no range.
    fn of(range: &RowRange) -> Option<Self> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        if range.is_void() {
            return None;
        }
        // The smallest key behind a key is that key and a zero.
        let behind = |key: &Bytes| Bytes::from([key.as_ref(), &[0]].concat());
        let from = match &range.from {
            Included(key) => key.clone(),
            Excluded(key) => behind(key),
            // Keys have at least one byte.
            Unbounded => Bytes::from_static(&[0]),
        };
        let to = match &range.to {
            Included(key) => behind(key),
            Excluded(key) => key.clone(),
            Unbounded => Bytes::from_static(RESERVED_KEYS),
        };
        let to = to.min(Bytes::from_static(RESERVED_KEYS));
        (from < to).then(|| Self {
            from,
            to,
            direction: range.direction,
            limit: i32::try_from(range.limit).unwrap_or(i32::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::Bound;

    #[test]
    fn bounds_hold_what_the_range_contains() {
        let keys: [&[u8]; 8] = [
            b"\x00",
            b"a",
            b"a\x00",
            b"a\x00\x00",
            b"b",
            b"\xff",
            b"\xff\xfe",
            b"\xff\xff\x00",
        ];
        let mut bounds = vec![Bound::Unbounded];
        for key in keys {
            bounds.push(Bound::Included(Bytes::from_static(key)));
            bounds.push(Bound::Excluded(Bytes::from_static(key)));
        }
        for from in &bounds {
            for to in &bounds {
                let range = RowRange {
                    from: from.clone(),
                    to: to.clone(),
                    direction: Direction::Ascending,
                    limit: 9,
                };
                let bounds = Bounds::of(&range);
                for key in keys {
                    let expected = range.contains(key) && !key.starts_with(RESERVED_KEYS);
                    let within = bounds.as_ref().is_some_and(|bounds| {
                        key >= bounds.from.as_ref() && key < bounds.to.as_ref()
                    });
                    assert_eq!(within, expected, "{key:?} in {range:?}");
                }
            }
        }
    }
}
