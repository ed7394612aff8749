//! Committing: one conditional batch in one partition.
//!
//! ```text
//! UPDATE rows SET version = 8, position = P WHERE partition = p IF version = 7 AND position < P
//! INSERT / DELETE … one for each row
//! ```
//!
//! All of a conditional batch is one decision and one mutation. Whether it is called LOGGED
//! or UNLOGGED makes no difference to the server (the log of batches is for several
//! partitions); UNLOGGED says so.
//!
//! **Positions rise.** The condition on the position makes every commit of a partition have
//! a greater one than all before it, whatever clocks say. If it is all that did not hold,
//! our clock is behind: it is moved on, and the commit sent again. It also is the *fence*:
//! see [`crate::events`].
//!
//! **Outcomes.** `[applied]` says yes or no. Anything else than an answer is ambiguous,
//! unless the request never left, or was refused before the decision began
//! ([`crate::retry::has_begun_nothing`]).

use lombard_store::{Change, Changes, PartitionId, Position, StoreError, Version};
use scylla::errors::ExecutionError;
use scylla::response::query_result::QueryRowsResult;
use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlValue, Row};

use crate::clock::Clock;
use crate::coordinators::Coordinators;
use crate::events;
use crate::fault;
use crate::keyspace::Keyspace;
use crate::read::HEAD;
use crate::value;

/// Most statements in a batch: the protocol counts them in 16 bits.
const STATEMENTS_MAX: usize = u16::MAX as usize;
/// Statements of a commit that are not its rows: the versions, the head, the events' mark.
const OWN_STATEMENTS: usize = 3;
/// How often a commit is sent again because our clock was behind.
const POSITIONS_MAX: u32 = 16;

/// One row of a batch's values; each fits its own kind of statement.
enum Values<'a> {
    /// Version, position, partition.
    Begin(i64, i64, &'a [u8]),
    /// The same, then the expected version (none: it was never written) and the position again.
    Advance(i64, i64, &'a [u8], Option<i64>),
    /// Partition, key, value.
    Put(&'a [u8], &'a [u8], Vec<u8>),
    /// Partition, key.
    Delete(&'a [u8], &'a [u8]),
    /// As `Put`, of a key that was made for this batch.
    Mark(&'a [u8], Vec<u8>, Vec<u8>),
}

impl SerializeRow for Values<'_> {
    fn serialize(
        &self,
        context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        match self {
            Self::Begin(version, position, partition) => {
                (version, position, partition).serialize(context, writer)
            }
            Self::Advance(version, position, partition, expected) => {
                (version, position, partition, expected, position).serialize(context, writer)
            }
            Self::Put(partition, key, value) => (partition, key, value).serialize(context, writer),
            Self::Delete(partition, key) => (partition, key).serialize(context, writer),
            Self::Mark(partition, key, value) => (partition, key, value).serialize(context, writer),
        }
    }

    fn is_empty(&self) -> bool {
        false
    }
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    In(Position),
    /// The version is another one. Nothing was changed.
    Conflict,
    /// The partition is on another cluster; here is a copy. Nothing was changed.
    Copy,
}

/// Commits if the partition's version is still `expected`.
///
/// # Errors
/// [`StoreError::Ambiguous`] if nobody knows whether it is in; nothing was changed otherwise.
pub(crate) async fn commit(
    keyspace: &Keyspace,
    clock: &Clock,
    event_deadline_us: u64,
    partition: &PartitionId,
    expected: Version,
    changes: &Changes,
    coordinators: &Coordinators,
) -> Result<Done, StoreError> {
    let rows_max = STATEMENTS_MAX - OWN_STATEMENTS;
    if changes.rows.len() > rows_max {
        return Err(StoreError::LimitExceeded(format!(
            "rows in a commit: {}, Cassandra's protocol allows {rows_max}",
            changes.rows.len()
        )));
    }
    // A version that a column cannot hold is nobody's.
    let Ok(expected_is) = i64::try_from(expected.0) else {
        return Ok(Done::Conflict);
    };
    let events = (changes.rows.iter()).filter(|(_, change)| matches!(change, Change::Event(_)));
    let announced = events::Announced {
        partition: partition.key.clone(),
        version: expected.next(),
        keys: events.map(|(key, _)| key.clone()).collect(),
    };
    let has_events = !announced.keys.is_empty();
    let mut begin = expected_is == 0;
    for _ in 0..POSITIONS_MAX {
        let position = if has_events {
            events::announce(keyspace, clock, event_deadline_us, &announced).await?
        } else {
            clock.next()
        };
        let commit = Commit {
            partition,
            expected: expected_is,
            position,
            changes,
            has_events,
            begin,
        };
        match commit.send(keyspace, coordinators).await? {
            Sent::In => {
                clock.saw(position);
                if commit.has_events {
                    keyspace.saw_event(position);
                }
                return Ok(Done::In(position));
            }
            Sent::Conflict => return Ok(Done::Conflict),
            Sent::Copy => return Ok(Done::Copy),
            Sent::Behind(other) => {
                // Only a fence gives a position to a partition that has no version.
                begin = false;
                clock.saw(other);
            }
        }
    }
    Err(StoreError::Unavailable(format!(
        "cassandra: partition {} was fenced {POSITIONS_MAX} times while it was committed to: \
         followers' clocks are far ahead of ours",
        partition.key.escape_ascii()
    )))
}

struct Commit<'a> {
    partition: &'a PartitionId,
    expected: i64,
    position: Position,
    changes: &'a Changes,
    has_events: bool,
    /// Neither version nor position is there yet.
    begin: bool,
}

/// What became of a batch.
enum Sent {
    In,
    /// The version is another one.
    Conflict,
    /// It is that of a copy.
    Copy,
    /// The version is right, but there is a position at or behind ours already.
    Behind(Position),
}

impl Commit<'_> {
    async fn send(
        &self,
        keyspace: &Keyspace,
        coordinators: &Coordinators,
    ) -> Result<Sent, StoreError> {
        let what = "committing";
        let (batch, values) = self.batch(keyspace);
        let cluster = &keyspace.cluster;
        let sent = cluster.commit(&batch, values).await;
        let answer = sent.map_err(|error| self.failed(keyspace, &error))?;
        coordinators.note(&answer);
        // From here on the server has decided: an answer that cannot be read is no "no".
        let unread = |why: &dyn std::error::Error| {
            StoreError::Ambiguous(format!("cassandra: {what}: {}", fault::in_words(why)))
        };
        let rows = answer.into_rows_result().map_err(|error| unread(&error))?;
        if applied(&rows).map_err(|error| unread(&error))? {
            return Ok(Sent::In);
        }
        let version = number(&rows, "version").map_err(|error| unread(&error))?;
        let position = number(&rows, "position").map_err(|error| unread(&error))?;
        match position {
            _ if version.is_some_and(|version| version < 0) => Ok(Sent::Copy),
            Some(position)
                if version.unwrap_or(0) == self.expected && position >= signed(self.position.0)
                    || (self.begin && version.is_none()) =>
            {
                Ok(Sent::Behind(Position(u64::try_from(position).unwrap_or(0))))
            }
            _ => Ok(Sent::Conflict),
        }
    }

    fn failed(&self, keyspace: &Keyspace, error: &ExecutionError) -> StoreError {
        let error = fault::of_commit("committing", error);
        if matches!(error, StoreError::Ambiguous(_)) {
            let counts = &keyspace.cluster.counts;
            counts
                .ambiguous
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        error
    }

    fn batch(&self, keyspace: &Keyspace) -> (Batch, Vec<Values<'_>>) {
        let statements = &keyspace.statements;
        let rows = self.changes.rows.len() + OWN_STATEMENTS;
        let mut batch = Batch::new_with_statements(BatchType::Unlogged, Vec::with_capacity(rows));
        let mut values = Vec::with_capacity(rows);
        let mut add = |statement: &PreparedStatement, row| {
            batch.append_statement(statement.clone());
            values.push(row);
        };
        let partition = self.partition.key.as_ref();
        let (version, position) = (self.expected.saturating_add(1), signed(self.position.0));
        let put =
            |key, value: &[u8]| Values::Put(partition, key, value::seal(partition, key, value));
        if self.begin {
            add(
                &statements.begin,
                Values::Begin(version, position, partition),
            );
        } else {
            let expected = (self.expected > 0).then_some(self.expected);
            let advance = Values::Advance(version, position, partition, expected);
            add(&statements.advance, advance);
        }
        if self.expected == 0 {
            add(&statements.put, put(HEAD, b""));
        }
        for (key, change) in &self.changes.rows {
            match change.value() {
                Some(value) => add(&statements.put, put(key, value)),
                None => add(&statements.delete, Values::Delete(partition, key)),
            }
        }
        if self.has_events {
            let mark = events::mark(self.position);
            let sealed = value::seal(partition, &mark, b"");
            add(&statements.put, Values::Mark(partition, mark, sealed));
        }
        batch.set_serial_consistency(Some(keyspace.cluster.serial()));
        (batch, values)
    }
}

/// As a column holds it. Positions and versions stay far below the limit.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Whether a conditional statement was applied.
///
/// # Errors
/// The answer does not say.
pub(crate) fn applied(rows: &QueryRowsResult) -> Result<bool, StoreError> {
    match column(rows, "[applied]")? {
        Some(CqlValue::Boolean(applied)) => Ok(applied),
        other => Err(StoreError::Misconfigured(format!(
            "cassandra: a conditional statement was answered by {other:?}"
        ))),
    }
}

/// A number in the first row of an answer, by its column's name; none if it is null.
///
/// # Errors
/// It is something else.
pub(crate) fn number(rows: &QueryRowsResult, name: &str) -> Result<Option<i64>, StoreError> {
    match column(rows, name)? {
        None => Ok(None),
        Some(CqlValue::BigInt(number)) => Ok(Some(number)),
        Some(other) => Err(StoreError::Misconfigured(format!(
            "cassandra: the column {name} is {other:?}"
        ))),
    }
}

fn column(rows: &QueryRowsResult, name: &str) -> Result<Option<CqlValue>, StoreError> {
    let what = "the answer to a condition";
    let place = rows
        .column_specs()
        .get_by_name(name)
        .map(|(place, _)| place);
    let row: Row = rows
        .first_row()
        .map_err(|error| fault::of_answer(what, &error))?;
    Ok(place.and_then(|place| row.columns.into_iter().nth(place)?))
}
