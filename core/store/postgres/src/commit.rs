//! Commits of many partitions in one statement.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::channel::oneshot;
use lombard_store::{Change, Changes, Position, StoreError, Version, limits};
use tokio_postgres::types::ToSql;

use crate::checksum::Sealed;
use crate::connect::{self, Pool};
use crate::failure::{self, Fate};
use crate::gather::Item;

/// How often a statement is sent again that lost a deadlock.
const DEADLOCKS_MAX: u32 = 8;

/// What a caller is told.
pub type Told = Result<Option<Position>, StoreError>;

/// A commit that waits to go out.
pub struct Asked {
    /// The partition's key.
    pub partition: Bytes,
    /// The version that it must have.
    pub expected: Version,
    /// What happens to its rows.
    pub changes: Changes,
    /// Who waits.
    pub tell: oneshot::Sender<Told>,
}

impl Item for Asked {
    fn weight(&self) -> usize {
        let rows = self.changes.rows.iter();
        rows.map(|(key, change)| key.len() + change.value().map_or(0, Bytes::len))
            .sum()
    }

    fn unique(&self) -> Option<Bytes> {
        Some(self.partition.clone())
    }
}

/// The statements of a keyspace.
pub struct Committer {
    pool: Pool,
    timeout: Duration,
    /// What positions lie ahead of the ids of transactions.
    ahead: i64,
    /// Rows that are said to be new are inserted and nothing else.
    trusting: Arc<str>,
    /// They may be there after all.
    careful: Arc<str>,
}

impl Committer {
    /// For a schema, as SQL takes its name.
    pub fn new(pool: Pool, timeout: Duration, ahead: i64, schema: &str) -> Self {
        Self {
            pool,
            timeout,
            ahead,
            trusting: statement(schema, "").into(),
            careful: statement(schema, REPLACING).into(),
        }
    }

    /// Commits those whose version stands, and tells each.
    pub async fn run(&self, mut all: Vec<Asked>) {
        // Everybody locks in one order.
        all.sort_by(|one, other| one.partition.cmp(&other.partition));
        match self.send(&all).await {
            Ok(committed) => {
                for (asked, position) in all.into_iter().zip(committed) {
                    // Who no longer waits reads it when asked again.
                    let _ = asked.tell.send(Ok(position));
                }
            }
            Err(error) => {
                for asked in all {
                    let _ = asked.tell.send(Err(error.clone()));
                }
            }
        }
    }

    /// The position of each that is in.
    async fn send(&self, all: &[Asked]) -> Result<Vec<Option<Position>>, StoreError> {
        let mut text = &self.trusting;
        let mut deadlocks = 0;
        loop {
            match self.send_once(text, all).await {
                Ok(committed) => return Ok(committed),
                Err(Fate::NotNew) if !Arc::ptr_eq(text, &self.careful) => text = &self.careful,
                Err(Fate::Again(error)) => {
                    deadlocks += 1;
                    if deadlocks > DEADLOCKS_MAX {
                        return Err(error);
                    }
                }
                Err(Fate::NotNew) => {
                    return Err(StoreError::Damaged(
                        "a row that was replaced is said to be there twice".into(),
                    ));
                }
                Err(Fate::NotIn(error) | Fate::Unknown(error)) => return Err(error),
            }
        }
    }

    async fn send_once(
        &self,
        text: &Arc<str>,
        all: &[Asked],
    ) -> Result<Vec<Option<Position>>, Fate> {
        let place = self.pool.manager().place();
        let mut connection = connect::lend(&self.pool).await.map_err(Fate::NotIn)?;
        let prepared = tokio::time::timeout(self.timeout, connection.prepare(text))
            .await
            .map_err(|_| Fate::NotIn(self.late("prepare a commit")))?;
        let statement =
            prepared.map_err(|error| Fate::NotIn(failure::unavailable(place, &error)))?;
        let columns = Columns::of(all);
        let answer = {
            let parameters = columns.parameters(&self.ahead);
            let sent = connection.client.query(&statement, &parameters);
            tokio::time::timeout(self.timeout, sent).await
        };
        let rows = match answer {
            Ok(Ok(rows)) => rows,
            Ok(Err(error)) => return Err(failure::fate(place, &error)),
            Err(_) => {
                // The connection still waits for the answer: nobody else must get it.
                drop(connect::Lent::take(connection));
                let why = self.late("commit").to_string();
                return Err(Fate::Unknown(StoreError::Ambiguous(why)));
            }
        };
        if connection.is_doubtful() {
            return Err(Fate::Unknown(StoreError::Ambiguous(format!(
                "PostgreSQL at {place}: the wait for a synchronous standby was cut off"
            ))));
        }
        let mut committed = vec![None; all.len()];
        for row in &rows {
            let (place, position): (i32, i64) = (row.get(0), row.get(1));
            let place = usize::try_from(place)
                .ok()
                .and_then(|place| place.checked_sub(1));
            let slot = place.and_then(|place| committed.get_mut(place));
            if let (Some(slot), Ok(position)) = (slot, u64::try_from(position)) {
                *slot = Some(Position(position));
            }
        }
        Ok(committed)
    }

    fn late(&self, what: &str) -> StoreError {
        StoreError::Unavailable(format!(
            "PostgreSQL at {}: did not {what} within {} ms",
            self.pool.manager().place(),
            self.timeout.as_millis()
        ))
    }
}

/// The rows of a statement as the arrays that it takes.
#[derive(Default)]
struct Columns<'a> {
    partitions: Vec<&'a [u8]>,
    expected: Vec<i64>,
    markers: Vec<Option<Sealed<'a>>>,
    new: Written<'a>,
    replaced: Written<'a>,
    removed_of: Vec<i32>,
    removed: Vec<&'a [u8]>,
}

#[derive(Default)]
struct Written<'a> {
    of: Vec<i32>,
    keys: Vec<&'a [u8]>,
    values: Vec<Sealed<'a>>,
    events: Vec<bool>,
}

impl<'a> Columns<'a> {
    fn of(all: &'a [Asked]) -> Self {
        let mut columns = Self::default();
        for (asked, number) in all.iter().zip(1..) {
            columns.add(asked, number);
        }
        columns
    }

    fn add(&mut self, asked: &'a Asked, number: i32) {
        let partition = asked.partition.as_ref();
        self.partitions.push(partition);
        // A version that no partition can have is one that none has.
        let expected = i64::try_from(asked.expected.0).unwrap_or(i64::MAX);
        self.expected.push(expected);
        let mut marker = None;
        for (key, change) in &asked.changes.rows {
            let Some(value) = change.value() else {
                self.removed_of.push(number);
                self.removed.push(key);
                continue;
            };
            let value = Sealed::new(partition, key, value);
            if key == limits::COMMIT_MARKER_KEY {
                marker = Some(value);
                continue;
            }
            let written = match change {
                Change::New(_) | Change::Event(_) => &mut self.new,
                Change::Put(_) | Change::Delete => &mut self.replaced,
            };
            written.of.push(number);
            written.keys.push(key);
            written.values.push(value);
            written.events.push(matches!(change, Change::Event(_)));
        }
        self.markers.push(marker);
    }

    fn parameters<'s>(&'s self, ahead: &'s i64) -> [&'s (dyn ToSql + Sync); 14] {
        [
            &self.partitions,
            &self.expected,
            &self.markers,
            ahead,
            &self.new.of,
            &self.new.keys,
            &self.new.values,
            &self.new.events,
            &self.replaced.of,
            &self.replaced.keys,
            &self.replaced.values,
            &self.replaced.events,
            &self.removed_of,
            &self.removed,
        ]
    }
}

const REPLACING: &str =
    "ON CONFLICT (partition, key) DO UPDATE SET value = excluded.value, event = excluded.event";

/// One statement, so one snapshot and one transaction. Why the parts see what they must:
/// the update takes the partition's lock and looks at its version again if it had to
/// wait (READ COMMITTED); and a version that stands was made by a transaction that the
/// caller saw committed before this statement began, so all rows of it are in its
/// snapshot.
fn statement(schema: &str, new_rows: &str) -> String {
    format!(
        "
WITH asked AS MATERIALIZED (
    SELECT number::int AS number, key, expected, marker
    FROM unnest($1::bytea[], $2::bigint[], $3::bytea[])
         WITH ORDINALITY AS asked(key, expected, marker, number)
), here AS MATERIALIZED (
    SELECT pg_current_xact_id()::text::bigint + $4::bigint AS position
), moved AS (
    UPDATE {schema}.partitions AS p
    SET version = p.version + 1, position = (SELECT position FROM here),
        marker = coalesce(asked.marker, p.marker)
    FROM asked
    WHERE p.key = asked.key AND p.version = asked.expected AND asked.expected > 0
    RETURNING asked.number, p.id
), made AS (
    INSERT INTO {schema}.partitions (key, version, position, marker)
    SELECT key, 1, (SELECT position FROM here), marker FROM asked WHERE expected = 0
    ON CONFLICT (key) DO NOTHING
    RETURNING id, key
), ours AS MATERIALIZED (
    SELECT number, id FROM moved
    UNION ALL
    SELECT asked.number, made.id FROM made JOIN asked USING (key)
), new AS (
    INSERT INTO {schema}.rows (partition, key, value, event)
    SELECT ours.id, new.key, new.value, CASE WHEN new.event THEN (SELECT position FROM here) END
    FROM unnest($5::int[], $6::bytea[], $7::bytea[], $8::bool[]) AS new(number, key, value, event)
    JOIN ours USING (number)
    {new_rows}
), put AS (
    INSERT INTO {schema}.rows (partition, key, value, event)
    SELECT ours.id, put.key, put.value, CASE WHEN put.event THEN (SELECT position FROM here) END
    FROM unnest($9::int[], $10::bytea[], $11::bytea[], $12::bool[]) AS put(number, key, value, event)
    JOIN ours USING (number)
    {REPLACING}
), removed AS (
    DELETE FROM {schema}.rows AS r
    USING unnest($13::int[], $14::bytea[]) AS removed(number, key) JOIN ours USING (number)
    WHERE r.partition = ours.id AND r.key = removed.key
)
SELECT number, (SELECT position FROM here) FROM ours"
    )
}
