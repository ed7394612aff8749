//! One decision about one partition on one cluster: its version from one value to another,
//! and rows with it.

use bytes::Bytes;
use lombard_store::{Position, StoreError};
use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;

use crate::cluster::Cluster;
use crate::commit::{applied, signed};
use crate::coordinators::Coordinators;
use crate::fault;
use crate::keyspace::Keyspace;

/// What is sent, prepared, beyond what every keyspace has.
#[derive(Debug)]
pub(super) struct Statements {
    /// `(version, position, partition, expected)`.
    with_position: PreparedStatement,
    /// `(version, partition, expected)`.
    alone: PreparedStatement,
}

impl Statements {
    pub async fn prepare(keyspace: &Keyspace) -> Result<Self, StoreError> {
        let (cluster, ks) = (&keyspace.cluster, &keyspace.name);
        let condition = "WHERE partition = ? IF version = ?";
        let with_position = format!("UPDATE {ks}.rows SET version = ?, position = ? {condition}");
        let alone = format!("UPDATE {ks}.rows SET version = ? {condition}");
        Ok(Self {
            with_position: conditional(cluster, &with_position).await?,
            alone: conditional(cluster, &alone).await?,
        })
    }
}

async fn conditional(cluster: &Cluster, text: &str) -> Result<PreparedStatement, StoreError> {
    let mut prepared = cluster.prepare(text).await?;
    prepared.set_serial_consistency(Some(cluster.serial()));
    Ok(prepared)
}

/// A row as it is stored; none: it is gone.
pub(super) type StoredRow = (Bytes, Option<Bytes>);

/// A partition's version, from one to another, as they are stored; zero for none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub expected: i64,
    pub version: i64,
    /// None: it stays what it is.
    pub position: Option<Position>,
}

enum Values<'a> {
    WithPosition(i64, i64, &'a [u8], Option<i64>),
    Alone(i64, &'a [u8], Option<i64>),
    Put(&'a [u8], &'a Bytes, &'a Bytes),
    Delete(&'a [u8], &'a Bytes),
}

impl SerializeRow for Values<'_> {
    fn serialize(
        &self,
        context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        match self {
            Self::WithPosition(version, position, partition, expected) => {
                (version, position, partition, expected).serialize(context, writer)
            }
            Self::Alone(version, partition, expected) => {
                (version, partition, expected).serialize(context, writer)
            }
            Self::Put(partition, key, value) => (partition, key, value).serialize(context, writer),
            Self::Delete(partition, key) => (partition, key).serialize(context, writer),
        }
    }

    fn is_empty(&self) -> bool {
        false
    }
}

/// Whether the step was made, with all the rows. Whoever is told of a failure looks again:
/// each step can be made once only, so that it may be tried as often as one likes.
///
/// # Errors
/// Nobody knows whether it was made.
pub(super) async fn decide(
    keyspace: &Keyspace,
    statements: &Statements,
    partition: &[u8],
    step: Step,
    rows: &[StoredRow],
    coordinators: &Coordinators,
) -> Result<bool, StoreError> {
    let what = "moving a partition";
    let mut batch = Batch::new_with_statements(BatchType::Unlogged, Vec::new());
    let mut values = Vec::with_capacity(rows.len() + 1);
    let expected = (step.expected != 0).then_some(step.expected);
    match step.position {
        Some(position) => {
            batch.append_statement(statements.with_position.clone());
            let position = signed(position.0);
            let row = Values::WithPosition(step.version, position, partition, expected);
            values.push(row);
        }
        None => {
            batch.append_statement(statements.alone.clone());
            values.push(Values::Alone(step.version, partition, expected));
        }
    }
    for (key, stored) in rows {
        match stored {
            Some(stored) => {
                batch.append_statement(keyspace.statements.put.clone());
                values.push(Values::Put(partition, key, stored));
            }
            None => {
                batch.append_statement(keyspace.statements.delete.clone());
                values.push(Values::Delete(partition, key));
            }
        }
    }
    batch.set_serial_consistency(Some(keyspace.cluster.serial()));
    let sent = keyspace.cluster.commit(&batch, values).await;
    let answer = sent.map_err(|error| fault::of_read(what, &error))?;
    coordinators.note(&answer);
    let rows = answer
        .into_rows_result()
        .map_err(|error| fault::of_answer(what, &error))?;
    applied(&rows)
}
