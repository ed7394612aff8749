//! Bringing one partition's copy to what its source has; and where the source was released,
//! taking it with the last of that.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use lombard_store::StoreError;

use super::batch::{Step, StoredRow};
use super::decide::{State, Which};
use super::differences::{Differences, Trouble};
use super::pair::{Pair, Sight, Tools};
use crate::read::HEAD;
use crate::value;

/// How often the differences are gone over because the source has moved on meanwhile.
const ROUNDS_MAX: u32 = 6;
/// A claim that was renewed within this time is somebody's who works on it.
const CLAIM_US: u64 = 3_000_000;
/// How long to wait before looking again at a copy that somebody else fills.
const CLAIMED_PAUSE: Duration = Duration::from_millis(100);
/// How often to look.
const CLAIMED_LOOKS_MAX: u32 = 100;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filled {
    /// The copy is as its source was.
    Copied,
    /// It is the partition now: the source had been released.
    Taken,
    /// Nothing was to be done.
    Equal,
    /// Things are no more as they were: look again.
    Moved,
    /// The source was changed again whenever it had been read.
    Unsettled,
}

/// Brings the copy of what `source` has to its state. With `freeze`, a source that is changed
/// too often is released before the last round, so that the other side takes it.
///
/// # Errors
/// One of the clusters does not answer; or a row of the source is damaged.
pub(super) async fn fill(
    tools: Tools<'_>,
    pair: &Pair,
    partition: &[u8],
    source: Which,
    freeze: bool,
) -> Result<Filled, StoreError> {
    let mut claim = None;
    let (mut rounds, mut looks) = (0, 0);
    while rounds < ROUNDS_MAX {
        // The copy first: then the source is no older than what it was copied from.
        let copy = pair.look(tools, source.other(), partition).await?;
        let of = pair.look(tools, source, partition).await?;
        if is_over(copy, of) {
            return Ok(Filled::Moved);
        }
        if of.stored > 0 && copy.stored == -of.stored {
            return Ok(Filled::Equal);
        }
        if is_anothers(tools, copy, claim) && looks < CLAIMED_LOOKS_MAX {
            looks += 1;
            tokio::time::sleep(CLAIMED_PAUSE).await;
            continue;
        }
        rounds += 1;
        if of.stored > 0 && freeze && rounds == ROUNDS_MAX {
            // Released, it is not changed any more; what happens next is for the next look.
            pair.release(tools, source, partition, of).await?;
            rounds -= 1;
            let of = pair.look(tools, source, partition).await?;
            if of.stored > 0 {
                continue;
            }
            if is_over(copy, of) {
                return Ok(Filled::Moved);
            }
            let mut work = Work::new(tools, pair, partition, source, claim);
            return work
                .round(copy, of)
                .await
                .map(|done| done.unwrap_or(Filled::Moved));
        }
        let mut work = Work::new(tools, pair, partition, source, claim);
        let done = work.round(copy, of).await?;
        claim = work.claim;
        if let Some(done) = done {
            return Ok(done);
        }
    }
    Ok(Filled::Unsettled)
}

/// Whether there is nothing to fill: the copy is none, or the source is none.
fn is_over(copy: Sight, of: Sight) -> bool {
    match (copy.state(), of.state()) {
        (State::Owner(_), _) | (_, State::Absent | State::Filling(_)) => true,
        // What was released is ahead of every copy of it.
        (copy, State::Copy(released)) => copy.version().0 >= released,
        (copy, State::Owner(version)) => copy.version().0 > version,
    }
}

/// Whether somebody else is filling it, and has been at it lately.
fn is_anothers(tools: Tools<'_>, copy: Sight, claim: Option<i64>) -> bool {
    let since = tools.clock.now_us().saturating_sub(copy.position.0);
    matches!(copy.state(), State::Filling(_)) && Some(copy.stored) != claim && since < CLAIM_US
}

struct Work<'a> {
    tools: Tools<'a>,
    pair: &'a Pair,
    partition: &'a [u8],
    source: Which,
    /// The version of the copy that we have claimed.
    claim: Option<i64>,
}

impl<'a> Work<'a> {
    fn new(
        tools: Tools<'a>,
        pair: &'a Pair,
        partition: &'a [u8],
        source: Which,
        claim: Option<i64>,
    ) -> Self {
        Self {
            tools,
            pair,
            partition,
            source,
            claim,
        }
    }

    /// Goes over the differences once; none if the source has moved on.
    async fn round(&mut self, copy: Sight, of: Sight) -> Result<Option<Filled>, StoreError> {
        let bytes_max = self.tools.options.batch_bytes_max;
        let mut is = copy.stored;
        if of.stored < 0 && copy.stored < 0 && copy.stored == of.stored + 1 {
            // A copy of the version that was released: the release changed no row.
            return self.last(is, of, &[]).await.map(Some);
        }
        let source = self.pair.keyspace(self.source);
        let target = self.pair.keyspace(self.source.other());
        let mut differences =
            Differences::new(self.partition, (source, of.stored), (target, copy.stored));
        loop {
            let (rows, is_all) = match differences.batch(bytes_max).await {
                Ok(batch) => batch,
                Err(Trouble::SourceMoved) => return Ok(None),
                Err(Trouble::TargetMoved) => return Ok(Some(Filled::Moved)),
                Err(Trouble::Failed(error)) => return Err(error),
            };
            if is_all {
                return self.last(is, of, &rows).await.map(Some);
            }
            if !self.write(&mut is, rows).await? {
                return Ok(Some(Filled::Moved));
            }
            differences.claimed(is);
        }
    }

    /// Writes a part of the differences to the copy, which is claimed with the first.
    async fn write(&mut self, is: &mut i64, mut rows: Vec<StoredRow>) -> Result<bool, StoreError> {
        let now = self.tools.clock.next();
        let claimed = match self.claim {
            Some(claim) if claim == *is => claim,
            _ => State::claim(now.0),
        };
        if *is == 0 {
            // Without it whoever looks finds nothing.
            let head = Bytes::from(value::seal(self.partition, HEAD, b""));
            rows.retain(|(key, _)| key.as_ref() != HEAD);
            rows.push((Bytes::from_static(HEAD), Some(head)));
        }
        let step = Step {
            expected: *is,
            version: claimed,
            position: Some(now),
        };
        let other = self.source.other();
        let step = self
            .pair
            .step(self.tools, other, self.partition, step, &rows);
        if !step.await? {
            return Ok(false);
        }
        self.claim = Some(claimed);
        *is = claimed;
        Ok(true)
    }

    /// Writes the last of the differences: the copy is now as the source, or takes over.
    async fn last(&self, is: i64, of: Sight, rows: &[StoredRow]) -> Result<Filled, StoreError> {
        let takes = of.stored < 0;
        let step = Step {
            expected: is,
            version: -of.stored,
            // Greater than what either side had: both were seen.
            position: takes.then(|| self.tools.clock.next()),
        };
        let other = self.source.other();
        let step = self
            .pair
            .step(self.tools, other, self.partition, step, rows);
        if !step.await? {
            return Ok(Filled::Moved);
        }
        if !takes {
            return Ok(Filled::Copied);
        }
        self.pair.believe(self.partition, other);
        self.pair.counts.taken.fetch_add(1, Ordering::Relaxed);
        Ok(Filled::Taken)
    }
}
