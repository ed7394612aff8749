//! Events in the order of their positions, and partitions in the order of their keys.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lombard_store::{EventPage, EventRow, KeyspaceId, PartitionId, Position, StoreError};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use crate::checksum;
use crate::connect::{self, Pool};
use crate::failure;

/// What lists the events and partitions of a keyspace.
pub struct Lister {
    pool: Pool,
    timeout: Duration,
    keyspace: KeyspaceId,
    ahead: i64,
    events: Arc<str>,
    events_at: Arc<str>,
    partitions: Arc<str>,
    settled: Arc<str>,
}

impl Lister {
    /// For a schema, as SQL takes its name.
    pub fn new(
        pool: Pool,
        timeout: Duration,
        keyspace: KeyspaceId,
        ahead: i64,
        schema: &str,
    ) -> Self {
        // One snapshot for the rows and for what is settled: every transaction below
        // the oldest that runs is in it, or never will be anywhere.
        let events = format!(
            "WITH settled AS MATERIALIZED (
                 SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint + $2::bigint AS before
             )
             SELECT settled.before, e.event, p.key, e.key, e.value
             FROM settled LEFT JOIN LATERAL (
                 SELECT event, partition, key, value FROM {schema}.rows
                 WHERE event > $1::bigint AND event < settled.before
                 ORDER BY event LIMIT $3::bigint
             ) AS e ON true
             LEFT JOIN {schema}.partitions AS p ON p.id = e.partition"
        );
        let events_at = format!(
            "SELECT 0::bigint, e.event, p.key, e.key, e.value
             FROM {schema}.rows AS e JOIN {schema}.partitions AS p ON p.id = e.partition
             WHERE e.event = $1::bigint"
        );
        let partitions = format!(
            "SELECT key FROM {schema}.partitions WHERE key > $1::bytea ORDER BY key LIMIT $2::bigint"
        );
        Self {
            pool,
            timeout,
            keyspace,
            ahead,
            events: events.into(),
            events_at: events_at.into(),
            partitions: partitions.into(),
            settled:
                "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint + $1::bigint - 1"
                    .into(),
        }
    }

    /// Where everything is settled: nothing will ever be committed at or before it.
    pub async fn settled(&self) -> Result<Position, StoreError> {
        let rows = self.query(&self.settled, &[&self.ahead]).await?;
        let position = rows.first().map_or(0, |row| row.get::<_, i64>(0));
        Ok(Position(position.unsigned_abs()))
    }

    /// As [`lombard_store::Engine::events`].
    pub async fn events(&self, after: Position, limit: usize) -> Result<EventPage, StoreError> {
        let limit = limit.max(1);
        let after = i64::try_from(after.0).unwrap_or(i64::MAX);
        // One more tells whether there are more.
        let most = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let rows = self
            .query(&self.events, &[&after, &self.ahead, &most])
            .await?;
        let settled = rows.first().map_or(0, |row| row.get::<_, i64>(0));
        let mut events = rows
            .iter()
            .filter(|row| row.get::<_, Option<i64>>(1).is_some())
            .map(|row| self.event(row))
            .collect::<Result<Vec<EventRow>, _>>()?;
        let mut next = Position(settled.saturating_sub(1).max(after).unsigned_abs());
        let more = events.len() > limit;
        if more {
            // A transaction's events are never parted.
            let cut = events.last().map_or(Position(0), |event| event.position);
            events.retain(|event| event.position < cut);
            if events.is_empty() {
                let cut = i64::try_from(cut.0).unwrap_or(i64::MAX);
                let all = self.query(&self.events_at, &[&cut]).await?;
                events = all
                    .iter()
                    .map(|row| self.event(row))
                    .collect::<Result<_, _>>()?;
            }
            next = events.last().map_or(next, |event| event.position);
        }
        events.sort_by(|one, other| {
            let order = |event: &EventRow| {
                (
                    event.position,
                    event.partition.key.clone(),
                    event.key.clone(),
                )
            };
            order(one).cmp(&order(other))
        });
        Ok(EventPage { events, next, more })
    }

    fn event(&self, row: &Row) -> Result<EventRow, StoreError> {
        let (position, partition, key, value): (i64, Option<&[u8]>, &[u8], &[u8]) =
            (row.get(1), row.get(2), row.get(3), row.get(4));
        let Some(partition) = partition else {
            return Err(StoreError::Damaged(format!(
                "the event {} at {position} is of no partition",
                key.escape_ascii()
            )));
        };
        Ok(EventRow {
            value: checksum::open(partition, key, value)?,
            partition: PartitionId {
                keyspace: self.keyspace,
                key: Bytes::copy_from_slice(partition),
            },
            key: Bytes::copy_from_slice(key),
            position: Position(position.unsigned_abs()),
        })
    }

    /// As [`lombard_store::Engine::partitions`].
    pub async fn partitions(
        &self,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        // No key is empty, so all lie behind the empty one.
        let after = after.unwrap_or_default();
        let most = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.query(&self.partitions, &[&after, &most]).await?;
        Ok(rows
            .iter()
            .map(|row| Bytes::copy_from_slice(row.get(0)))
            .collect())
    }

    async fn query(
        &self,
        text: &Arc<str>,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let place = self.pool.manager().place();
        let mut connection = connect::lend(&self.pool).await?;
        let answer = {
            let connection = &mut connection;
            let query = async move {
                let statement: Statement = connection.prepare(text).await?;
                connection.client.query(&statement, parameters).await
            };
            tokio::time::timeout(self.timeout, query).await
        };
        match answer {
            Ok(answer) => answer.map_err(|error| failure::unavailable(place, &error)),
            Err(_) => {
                drop(connect::Lent::take(connection));
                Err(StoreError::Unavailable(format!(
                    "PostgreSQL at {place}: no answer within {} ms",
                    self.timeout.as_millis()
                )))
            }
        }
    }
}
