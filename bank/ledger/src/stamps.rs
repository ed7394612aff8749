//! Whether an account's terms may have changed since a process saw them. Pure functions over
//! the rows of a partition of its own.
//!
//! What forbids a leg in another account than home (it is closed, it is frozen) and whether it
//! must reserve (it has a floor) is looked at before home decides. Where a look is a round trip,
//! an account that this process has at hand is looked at again only if its *stamp* has risen: a
//! count of changes of the terms of all accounts in its slice. One look at these rows tells all
//! entries that wait for it.
//!
//! | key | value | what |
//! | --- | --- | --- |
//! | `b` | | the partition is there |
//! | `c` slice | count, 8 bytes | changes of terms that are over |
//! | `o` slice, process id, number | | one that has begun and is not known to be over |
//!
//! A change of terms is entered before the account's commit, and counted after that and before
//! its answer. While one is entered, nobody trusts what is at hand of its slice; once it is
//! counted, whoever saw an account under the count before looks again. So who was told that an
//! account is frozen never sees an entry go through that began later, whatever process it went
//! to and whatever died between. What a process leaves entered that is gone is counted by the
//! one that takes over from it.

use bytes::Bytes;
use lombard_store::{Direction, Fault, RowRange, Rows, Stop, StoreError, Wanted};

use crate::coordinator::processes::ProcessId;
use crate::limits::CHANGES_OF_TERMS_MAX;
use crate::refusal::Refusal;

/// The partition of these rows; no account can have its name.
pub const PARTITION: &[u8] = b"~terms";
const BEGUN: &[u8] = b"b";
const COUNT: u8 = b'c';
const OPEN: u8 = b'o';
/// Slices of the accounts. A change of terms costs one more look at each account of its slice.
const SLICES: u8 = 64;

/// What a rule over these rows may end with: nothing is refused here.
type Outcome<T> = Result<T, Stop<Refusal>>;

/// A change of an account's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    slice: u8,
    process: ProcessId,
    number: u64,
}

impl Change {
    /// The change with this number, of all that the process makes, of this account.
    pub fn of(account: &str, process: ProcessId, number: u64) -> Self {
        Self {
            slice: slice(account),
            process,
            number,
        }
    }

    fn key(&self) -> Vec<u8> {
        let mut key = vec![OPEN, self.slice];
        key.extend_from_slice(&self.process);
        key.extend_from_slice(&self.number.to_be_bytes());
        key
    }

    fn from_key(key: &[u8]) -> Option<Self> {
        let (kind, rest) = key.split_first()?;
        let (slice, rest) = rest.split_first()?;
        let (process, number) = rest.split_first_chunk()?;
        (*kind == OPEN).then_some(Self {
            slice: *slice,
            process: *process,
            number: u64::from_be_bytes(number.try_into().ok()?),
        })
    }
}

/// The slice of an account: the same in every process and version.
fn slice(account: &str) -> u8 {
    let slice = crc32c::crc32c(account.as_bytes()) % u32::from(SLICES);
    u8::try_from(slice).unwrap_or_default()
}

/// The stamps of all slices at one moment.
#[derive(Debug, Clone)]
pub struct Stamps([Option<u64>; SLICES as usize]);

impl Stamps {
    /// Nothing at hand is to be trusted.
    pub const NONE: Self = Self([None; SLICES as usize]);

    /// The account's stamp; none while a change in its slice is not known to be over.
    pub fn of(&self, account: &str) -> Option<u64> {
        *self.0.get(usize::from(slice(account)))?
    }
}

/// The stamps as these rows have them.
///
/// # Errors
/// The store's failure; a damaged row.
pub fn read(rows: &Rows<'_>) -> Outcome<Stamps> {
    let open = range(OPEN, CHANGES_OF_TERMS_MAX);
    let counts = range(COUNT, usize::from(SLICES));
    rows.prefetch(&[Wanted::Range(open.clone()), Wanted::Range(counts.clone())])?;
    let open = rows.range(&open)?;
    if open.len() >= CHANGES_OF_TERMS_MAX {
        // There may be more of them.
        return Ok(Stamps::NONE);
    }
    let mut stamps = Stamps([Some(0); SLICES as usize]);
    for (key, value) in rows.range(&counts)? {
        let place = key
            .get(1)
            .and_then(|slice| stamps.0.get_mut(usize::from(*slice)));
        let place = place.ok_or_else(|| damaged(&key))?;
        *place = Some(count(&key, &value)?);
    }
    for (key, _) in open {
        let change = Change::from_key(&key).ok_or_else(|| damaged(&key))?;
        let place = stamps.0.get_mut(usize::from(change.slice));
        *place.ok_or_else(|| damaged(&key))? = None;
    }
    Ok(stamps)
}

/// Enters a change, before the account's commit.
///
/// # Errors
/// None of its own.
pub fn begin(rows: &mut Rows<'_>, change: Change) -> Outcome<()> {
    rows.put(change.key(), Bytes::new());
    Ok(())
}

/// Counts a change that is over: it is in, or can no longer come.
///
/// # Errors
/// The store's failure; a damaged row.
pub fn end(rows: &mut Rows<'_>, change: Change) -> Outcome<()> {
    // Whoever took this process for gone has taken it away. It counts all the same: what was
    // seen since may be of before the account's commit.
    rows.delete(change.key());
    let key = [COUNT, change.slice];
    let before = match rows.get(&key)? {
        Some(value) => count(&key, &value)?,
        None => 0,
    };
    rows.put(
        key.to_vec(),
        before.saturating_add(1).to_be_bytes().to_vec(),
    );
    Ok(())
}

/// Counts what others have entered than these processes: they are gone. How many that are.
///
/// # Errors
/// As [`end`].
pub fn leave_only(rows: &mut Rows<'_>, living: &[ProcessId]) -> Outcome<usize> {
    if rows.get(BEGUN)?.is_none() {
        // Looks that find no partition are counted as what may be lost.
        rows.put(BEGUN.to_vec(), Bytes::new());
    }
    let mut left = 0;
    for (key, _) in rows.range(&range(OPEN, CHANGES_OF_TERMS_MAX))? {
        let change = Change::from_key(&key).ok_or_else(|| damaged(&key))?;
        if !living.contains(&change.process) {
            end(rows, change)?;
            left += 1;
        }
    }
    Ok(left)
}

fn range(kind: u8, limit: usize) -> RowRange {
    RowRange::prefix(&[kind], Direction::Ascending, limit)
}

fn count(key: &[u8], value: &[u8]) -> Result<u64, Fault> {
    let bytes = value.try_into().map_err(|_| damaged(key))?;
    Ok(u64::from_be_bytes(bytes))
}

fn damaged(key: &[u8]) -> Fault {
    Fault::Store(StoreError::Damaged(format!(
        "the row {} of {}",
        key.escape_ascii(),
        PARTITION.escape_ascii()
    )))
}
