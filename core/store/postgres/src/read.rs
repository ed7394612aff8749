//! Reads of many partitions in one statement, each from one consistent state.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::channel::oneshot;
use lombard_store::limits::{COMMIT_MARKER_KEY, ROW_KEY_BYTES_MAX};
use lombard_store::{Direction, Position, Row, RowRange, Snapshot, StoreError, Version, Wanted};
use tokio_postgres::types::ToSql;

use crate::checksum;
use crate::connect::{self, Pool};
use crate::failure;
use crate::gather::Item;

/// What a row of the answer is that tells of the partition itself.
const PARTITION: i32 = -1;
/// Behind every key.
const END: [u8; ROW_KEY_BYTES_MAX + 1] = [0xff; ROW_KEY_BYTES_MAX + 1];

/// A read that waits to go out.
pub struct Asked {
    /// The partition's key.
    pub partition: Bytes,
    /// What of it.
    pub wanted: Vec<Wanted>,
    /// Who waits.
    pub tell: oneshot::Sender<Result<Snapshot, StoreError>>,
}

impl Item for Asked {
    fn weight(&self) -> usize {
        // What comes back is not known; this keeps statements to some thousands of rows.
        let rows = |wanted: &Wanted| match wanted {
            Wanted::Row(_) => 1,
            Wanted::Range(range) => range.limit.min(1_000),
        };
        self.wanted.iter().map(rows).sum::<usize>() * 256
    }

    fn unique(&self) -> Option<Bytes> {
        None
    }
}

/// The statement of a keyspace.
pub struct Reader {
    pool: Pool,
    timeout: Duration,
    text: Arc<str>,
}

impl Reader {
    /// For a schema, as SQL takes its name.
    pub fn new(pool: Pool, timeout: Duration, schema: &str) -> Self {
        Self {
            pool,
            timeout,
            text: statement(schema).into(),
        }
    }

    /// Reads for all, and tells each.
    pub async fn run(&self, all: Vec<Asked>) {
        match self.send(&all).await {
            Ok(snapshots) => {
                for (asked, snapshot) in all.into_iter().zip(snapshots) {
                    let _ = asked.tell.send(snapshot);
                }
            }
            Err(error) => {
                for asked in all {
                    let _ = asked.tell.send(Err(error.clone()));
                }
            }
        }
    }

    async fn send(&self, all: &[Asked]) -> Result<Vec<Result<Snapshot, StoreError>>, StoreError> {
        let place = self.pool.manager().place();
        let mut connection = connect::lend(&self.pool).await?;
        let columns = Columns::of(all);
        let answer = {
            let parameters = columns.parameters();
            let connection = &mut connection;
            let query = async move {
                let statement = connection.prepare(&self.text).await?;
                connection.client.query(&statement, &parameters).await
            };
            tokio::time::timeout(self.timeout, query).await
        };
        let rows = match answer {
            Ok(answer) => answer.map_err(|error| failure::unavailable(place, &error))?,
            Err(_) => {
                drop(connect::Lent::take(connection));
                return Err(StoreError::Unavailable(format!(
                    "PostgreSQL at {place}: no answer to a read within {} ms",
                    self.timeout.as_millis()
                )));
            }
        };
        let mut found: Vec<Result<Snapshot, StoreError>> = all.iter().map(absent).collect();
        for row in &rows {
            let number: i32 = row.get(0);
            let number = usize::try_from(number)
                .ok()
                .and_then(|number| number.checked_sub(1));
            let Some((asked, found)) =
                number.and_then(|number| all.get(number).zip(found.get_mut(number)))
            else {
                continue;
            };
            if let Ok(snapshot) = found
                && let Err(error) = take_in(asked, snapshot, row)
            {
                *found = Err(error);
            }
        }
        for (asked, found) in all.iter().zip(&mut found) {
            if let Ok(snapshot) = found {
                sort(asked, snapshot);
            }
        }
        Ok(found)
    }
}

/// What is read of a partition that is not there.
#[expect(clippy::unnecessary_wraps, reason = "what each read begins as")]
fn absent(asked: &Asked) -> Result<Snapshot, StoreError> {
    Ok(Snapshot {
        version: Version(0),
        found: vec![Vec::new(); asked.wanted.len()],
        position: Position(0),
    })
}

fn take_in(
    asked: &Asked,
    snapshot: &mut Snapshot,
    row: &tokio_postgres::Row,
) -> Result<(), StoreError> {
    let partition = asked.partition.as_ref();
    let (place, value): (i32, Option<&[u8]>) = (row.get(1), row.get(3));
    if place == PARTITION {
        snapshot.version = Version(row.get::<_, i64>(4).unsigned_abs());
        snapshot.position = Position(row.get::<_, i64>(5).unsigned_abs());
        let Some(value) = value else {
            return Ok(());
        };
        for (wanted, found) in asked.wanted.iter().zip(&mut snapshot.found) {
            if matches!(wanted, Wanted::Row(key) if key == COMMIT_MARKER_KEY) {
                let value = checksum::open(partition, COMMIT_MARKER_KEY, value)?;
                found.push((Bytes::from_static(COMMIT_MARKER_KEY), value));
            }
        }
        return Ok(());
    }
    let key: &[u8] = row.get(2);
    let value = checksum::open(partition, key, value.unwrap_or_default())?;
    let found = usize::try_from(place)
        .ok()
        .and_then(|place| snapshot.found.get_mut(place));
    if let Some(found) = found {
        found.push((Bytes::copy_from_slice(key), value));
    }
    Ok(())
}

/// SQL promises no order of a join's rows.
fn sort(asked: &Asked, snapshot: &mut Snapshot) {
    for (wanted, found) in asked.wanted.iter().zip(&mut snapshot.found) {
        if let Wanted::Range(range) = wanted {
            let by_key = |one: &Row, other: &Row| one.0.cmp(&other.0);
            match range.direction {
                Direction::Ascending => found.sort_unstable_by(by_key),
                Direction::Descending => found.sort_unstable_by(|one, other| by_key(other, one)),
            }
        }
    }
}

/// The reads of a statement as the arrays that it takes.
#[derive(Default)]
struct Columns<'a> {
    partitions: Vec<&'a [u8]>,
    row_of: Vec<i32>,
    row_place: Vec<i32>,
    row_keys: Vec<&'a [u8]>,
    range_of: Vec<i32>,
    range_place: Vec<i32>,
    range_from: Vec<Vec<u8>>,
    range_to: Vec<Vec<u8>>,
    range_limit: Vec<i64>,
    range_descending: Vec<bool>,
}

impl<'a> Columns<'a> {
    fn of(all: &'a [Asked]) -> Self {
        let mut columns = Self::default();
        for (asked, number) in all.iter().zip(1..) {
            columns.partitions.push(&asked.partition);
            for (wanted, place) in asked.wanted.iter().zip(0..) {
                match wanted {
                    Wanted::Row(key) if key == COMMIT_MARKER_KEY => {}
                    Wanted::Row(key) => {
                        columns.row_of.push(number);
                        columns.row_place.push(place);
                        columns.row_keys.push(key);
                    }
                    Wanted::Range(range) if range.is_void() => {}
                    Wanted::Range(range) => columns.add_range(range, number, place),
                }
            }
        }
        columns
    }

    fn add_range(&mut self, range: &RowRange, number: i32, place: i32) {
        self.range_of.push(number);
        self.range_place.push(place);
        // The key right behind another one is that key and a zero byte.
        let behind = |key: &Bytes| [key.as_ref(), &[0]].concat();
        self.range_from.push(match &range.from {
            Bound::Included(key) => key.to_vec(),
            Bound::Excluded(key) => behind(key),
            Bound::Unbounded => Vec::new(),
        });
        self.range_to.push(match &range.to {
            Bound::Included(key) => behind(key),
            Bound::Excluded(key) => key.to_vec(),
            Bound::Unbounded => END.to_vec(),
        });
        self.range_limit
            .push(i64::try_from(range.limit).unwrap_or(i64::MAX));
        self.range_descending
            .push(range.direction == Direction::Descending);
    }

    fn parameters(&self) -> [&(dyn ToSql + Sync); 10] {
        [
            &self.partitions,
            &self.row_of,
            &self.row_place,
            &self.row_keys,
            &self.range_of,
            &self.range_place,
            &self.range_from,
            &self.range_to,
            &self.range_limit,
            &self.range_descending,
        ]
    }
}

/// One statement, so one snapshot: version and rows belong together.
fn statement(schema: &str) -> String {
    let range = |descending: &str, order: &str| {
        format!(
            "(SELECT key, value FROM {schema}.rows
              WHERE partition = asked.id AND key >= r.from_key AND key < r.to_key AND {descending}
              ORDER BY key {order} LIMIT r.most)"
        )
    };
    format!(
        "
WITH asked AS MATERIALIZED (
    SELECT asked.number::int AS number, p.id, p.version, p.position, p.marker
    FROM unnest($1::bytea[]) WITH ORDINALITY AS asked(key, number)
    JOIN {schema}.partitions AS p ON p.key = asked.key
)
SELECT number, {PARTITION} AS place, NULL::bytea AS key, marker AS value, version, position FROM asked
UNION ALL
SELECT asked.number, r.place, rows.key, rows.value, NULL, NULL
FROM unnest($2::int[], $3::int[], $4::bytea[]) AS r(number, place, key)
JOIN asked USING (number)
JOIN {schema}.rows ON rows.partition = asked.id AND rows.key = r.key
UNION ALL
SELECT asked.number, r.place, found.key, found.value, NULL, NULL
FROM unnest($5::int[], $6::int[], $7::bytea[], $8::bytea[], $9::bigint[], $10::bool[])
     AS r(number, place, from_key, to_key, most, descending)
JOIN asked USING (number)
CROSS JOIN LATERAL ({} UNION ALL {}) AS found",
        range("NOT r.descending", "ASC"),
        range("r.descending", "DESC"),
    )
}
