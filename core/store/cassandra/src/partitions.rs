//! Listing partitions, in the order of their tokens: an order that stays, and the only one
//! in which Cassandra can list them without asking every node for everything.

use std::ops::ControlFlow;

use bytes::Bytes;
use lombard_store::StoreError;
use scylla::response::PagingState;

use crate::fault;
use crate::keyspace::Keyspace;
use crate::moving::State;

/// Keys of partitions behind `after`, at most `limit`.
///
/// # Errors
/// Nobody answers.
pub(crate) async fn list(
    keyspace: &Keyspace,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<Bytes>, StoreError> {
    let what = "listing partitions";
    let mut listed = Vec::new();
    if limit == 0 {
        return Ok(listed);
    }
    // Partitions may share a token; within it they are in the order of their keys.
    let mut skip = after.map(|after| (keyspace.token(after), after));
    let size = i32::try_from(limit.saturating_add(1)).unwrap_or(i32::MAX);
    let statements = &keyspace.statements;
    let mut statement = match after {
        Some(_) => statements.partitions_from.clone(),
        None => statements.partitions.clone(),
    };
    statement.set_page_size(size.min(PAGE_MAX));
    let mut from = PagingState::start();
    loop {
        let cluster = &keyspace.cluster;
        let read = match after {
            Some(after) => cluster.page(&statement, (after,), from).await,
            None => cluster.page(&statement, (), from).await,
        };
        let (page, next) = read.map_err(|error| fault::of_read(what, &error))?;
        let rows = page
            .into_rows_result()
            .map_err(|error| fault::of_answer(what, &error))?;
        let rows = rows
            .rows::<(Bytes, Option<i64>)>()
            .map_err(|error| fault::of_answer(what, &error))?;
        for row in rows {
            let (partition, version) = row.map_err(|error| fault::of_answer(what, &error))?;
            if let Some((token, after)) = skip {
                if keyspace.token(&partition) == token {
                    if partition.as_ref() <= after {
                        continue;
                    }
                } else {
                    skip = None;
                }
            }
            // Without a version nothing was ever committed to it: a fence stands there. What is
            // being filled is listed where it is filled from.
            let state = State::of(version.unwrap_or(0));
            if !matches!(state, State::Absent | State::Filling(_)) {
                // A copy: it may be kept for long, and must not keep the whole page.
                listed.push(Bytes::copy_from_slice(&partition));
                if listed.len() >= limit {
                    return Ok(listed);
                }
            }
        }
        match next.into_paging_control_flow() {
            ControlFlow::Continue(next) => from = next,
            ControlFlow::Break(()) => return Ok(listed),
        }
    }
}

/// Most partitions in one page of an answer.
const PAGE_MAX: i32 = 1_000;
