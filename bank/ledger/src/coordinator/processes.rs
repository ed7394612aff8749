//! Which processes work on the ledger's keyspace, and up to where each has carried what it
//! began. Pure functions over the rows of the coordinator's own partition.
//!
//! | key | value | what |
//! | --- | --- | --- |
//! | `p` process id | `ProcessRow` | a process that works on it, or that died doing so |
//! | `w` | position, 8 bytes | where no process is: everything at or before it is carried |
//!
//! A process has its row from before its first call until it has carried everything and ends.
//! So whatever was begun and not carried is behind the position of a row: of its own, of a
//! process that took it over, or of `w`.

use bytes::Bytes;
use lombard_contracts::bank::ledger::rows::v1::ProcessRow;
use lombard_store::{Direction, Fault, Position, RowRange, Rows, Stop, StoreError};

use crate::limits::PROCESSES_MAX;
use crate::refusal::Refusal;
use crate::rows::{decode, encode};

/// The partition of these rows; no account can have its name.
pub const PARTITION: &[u8] = b"~coordinator";
const WATERMARK: &[u8] = b"w";
const PROCESS: u8 = b'p';

/// A process, by an id that no other has.
pub type ProcessId = [u8; 16];

/// What a rule over these rows may end with: nothing is refused here.
type Outcome<T> = Result<T, Stop<Refusal>>;

fn key(process: ProcessId) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + process.len());
    key.push(PROCESS);
    key.extend_from_slice(&process);
    key
}

/// Processes that have a row, those first that are there longest; [`PROCESSES_MAX`] at most.
///
/// # Errors
/// The store's failure; a damaged row.
pub fn all(rows: &Rows<'_>) -> Outcome<Vec<(ProcessId, ProcessRow)>> {
    let range = RowRange::prefix(&[PROCESS], Direction::Ascending, PROCESSES_MAX);
    let found = rows.range(&range)?;
    let read = |(key, value): &(Bytes, Bytes)| {
        let process = key.get(1..).and_then(|id| id.try_into().ok());
        let process = process.ok_or_else(|| damaged("a process without an id"))?;
        Ok((process, decode("process", key, value)?))
    };
    found.iter().map(read).collect()
}

fn damaged(what: &str) -> Fault {
    Fault::Store(StoreError::Damaged(format!(
        "the coordinator's rows: {what}"
    )))
}

fn watermark(rows: &Rows<'_>) -> Outcome<Option<Position>> {
    let Some(value) = rows.get(WATERMARK)? else {
        return Ok(None);
    };
    let bytes = value.as_ref().try_into();
    let bytes = bytes.map_err(|_| damaged("the watermark"))?;
    Ok(Some(Position(u64::from_be_bytes(bytes))))
}

/// A process begins: it takes over what nobody has, and what all others have if it is `alone`,
/// or if they are more than there can be: one after the other has died soon after its start,
/// and nobody was there for long enough to tell that. (Whoever lives after all has its row
/// again with its next sign of life.) Behind which position it has to look, if anywhere; and
/// how many others there are.
///
/// # Errors
/// As [`all`].
pub fn join(
    rows: &mut Rows<'_>,
    own: ProcessId,
    alone: bool,
) -> Outcome<(Option<Position>, usize)> {
    let processes = all(rows)?;
    let alone = alone || processes.len() >= PROCESSES_MAX;
    let mut from = watermark(rows)?;
    if from.is_some() {
        rows.delete(WATERMARK);
    } else if processes.is_empty() {
        // Nobody was ever here; or somebody was who knew nothing of these rows.
        from = Some(Position::default());
    }
    let mut others = 0;
    for (process, row) in processes {
        // Its own row is there if this is done again, since nobody knew whether it was done.
        if alone || process == own {
            from = earlier(from, row.carried_to.map(Position));
            rows.delete(key(process));
        } else {
            others += 1;
        }
    }
    put(rows, own, from, 0);
    Ok((from, others))
}

/// A process is alive, and has carried everything up to `carried_to`. `gone` are processes by
/// their last sign of life: what those of them have that gave no other is its own from now on.
/// How many those are.
///
/// # Errors
/// As [`all`].
pub fn renew(
    rows: &mut Rows<'_>,
    own: ProcessId,
    (carried_to, beat): (Position, u64),
    gone: &[(ProcessId, u64)],
) -> Outcome<usize> {
    let mut from = Some(carried_to);
    let mut taken_over = 0;
    if !gone.is_empty() {
        for (process, row) in all(rows)? {
            if gone.contains(&(process, row.beat)) {
                from = earlier(from, row.carried_to.map(Position));
                rows.delete(key(process));
                taken_over += 1;
            }
        }
    }
    put(rows, own, from, beat);
    Ok(taken_over)
}

/// A process ends that has carried all that it began, which is at or before `carried_to`.
///
/// # Errors
/// As [`all`].
pub fn leave(rows: &mut Rows<'_>, own: ProcessId, carried_to: Position) -> Outcome<()> {
    let processes = all(rows)?;
    if !processes.iter().any(|(process, _)| *process == own) {
        // Another one has taken it over, or this is done again.
        return Ok(());
    }
    rows.delete(key(own));
    if processes.len() == 1 {
        let last = earlier(watermark(rows)?, Some(carried_to)).unwrap_or(carried_to);
        rows.put(WATERMARK, last.0.to_be_bytes().to_vec());
    }
    Ok(())
}

fn put(rows: &mut Rows<'_>, process: ProcessId, carried_to: Option<Position>, beat: u64) {
    let row = ProcessRow {
        carried_to: carried_to.map(|position| position.0),
        beat,
        ..ProcessRow::default()
    };
    rows.put(key(process), encode(&row));
}

fn earlier(one: Option<Position>, other: Option<Position>) -> Option<Position> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
