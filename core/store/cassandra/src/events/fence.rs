//! The fence: a commit that is on its way, up to a position, cannot come any more.

use lombard_store::{Position, StoreError};

use scylla::response::query_result::QueryRowsResult;
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;

use crate::commit::{applied, number, signed};
use crate::fault;
use crate::keyspace::Keyspace;

/// Raises the partition's position to `at`, where it is behind that. Nothing else changes:
/// not the version, and so nothing that others know of the partition. Gives whether it is
/// there now; if not, somebody else came in between.
///
/// A partition that was never committed to then has a position and no row: who reads it
/// finds nothing, as before.
///
/// # Errors
/// Nobody knows whether it was raised: look again, and try again.
pub(super) async fn raise(
    keyspace: &Keyspace,
    partition: &[u8],
    at: Position,
) -> Result<bool, StoreError> {
    let at = signed(at.0);
    let statements = &keyspace.statements;
    let raised = decide(keyspace, &statements.fence, (at, partition, at)).await?;
    if applied(&raised)? {
        return Ok(true);
    }
    if let Some(position) = number(&raised, "position")? {
        return Ok(position >= at);
    }
    let first = decide(keyspace, &statements.fence_first, (at, partition)).await?;
    applied(&first)
}

async fn decide(
    keyspace: &Keyspace,
    statement: &PreparedStatement,
    values: impl SerializeRow,
) -> Result<QueryRowsResult, StoreError> {
    let what = "fencing a partition";
    let answer = keyspace.cluster.execute(statement, values).await;
    let answer = answer.map_err(|error| fault::of_read(what, &error))?;
    answer
        .into_rows_result()
        .map_err(|error| fault::of_answer(what, &error))
}
