//! Going over all partitions, in the order of their tokens, from where the last one stopped.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use lombard_store::{KeyspaceId, PartitionId, StoreError};

use super::decide::{Ownership, State, Which, ownership};
use super::differences::{Differences, Trouble};
use super::fill::{self, Filled};
use super::hand_over::Handed;
use super::pair::{Pair, Place, Tools};
use super::record;
use crate::lanes::Lanes;

/// Partitions between two entries in the record.
const PAGE: usize = 64;
/// Partitions that are worked on at once.
const AT_ONCE: usize = 8;
/// How often a partition is tried.
const TRIES_MAX: u32 = 5;
/// How long to wait before trying again.
const PAUSE: Duration = Duration::from_millis(200);
/// How often two sides are compared because the partition was changed meanwhile.
const COMPARES_MAX: u32 = 5;
/// How often a copy is begun anew because somebody else was at it.
const COPIES_MAX: u32 = 4;
/// So many partitions are named.
const NAMED_MAX: usize = 100;

/// What there is to do with each partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Bring its copy to its version.
    Backfill,
    /// See whether its copy is equal.
    Compare,
    /// Hand it over.
    Switch(Which),
    /// See who owns it, and whether its copy is at its version.
    Count,
}

impl Work {
    /// The line of the record that says how far it came; none where that is not kept.
    fn line(self, pair: &Pair) -> Option<String> {
        match self {
            Self::Backfill => Some("backfill".into()),
            Self::Compare => Some("compare".into()),
            Self::Switch(to) => {
                let to = &pair.keyspace(to).cluster.name;
                Some(format!("switch to {to}"))
            }
            Self::Count => None,
        }
    }
}

/// How far a sweep has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Partitions that it is done with.
    pub done: u64,
    /// How many there are, about: from the part of the ring that is done.
    pub total: u64,
}

/// What a sweep found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Partitions that it went over, also before it was taken up again.
    pub partitions: u64,
    /// Those where something was to be done, and was done.
    pub changed: u64,
    /// Those whose copy was at an older version than the partition.
    pub behind: u64,
    /// Those whose copy is at the same version, and not equal: nothing of ours does that.
    pub different: u64,
    /// The keys of the first of these.
    pub named: Vec<Bytes>,
    /// By cluster, in the order of configuration: who owns how many.
    pub owned: [u64; 2],
}

/// What was found of one partition.
enum Found {
    Nothing,
    Changed,
    Behind,
    Different,
}

/// What a sweep works with.
pub(super) struct Sweep<'a> {
    pub tools: Tools<'a>,
    pub lanes: &'a Lanes,
    pub pair: &'a Pair,
    pub id: KeyspaceId,
}

/// Called with how far it has come, after each page.
pub type Watcher<'a> = &'a mut (dyn FnMut(Progress) + Send);

impl Sweep<'_> {
    /// Goes over all partitions behind where the record says that it came, and puts on record
    /// where it is.
    ///
    /// # Errors
    /// One of the clusters does not answer. It goes on from the record when it is called again.
    pub async fn over_all(&self, work: Work, watcher: Watcher<'_>) -> Result<Swept, StoreError> {
        let line = work.line(self.pair);
        // One place for it, whichever way round the clusters are configured.
        let keeper = self.pair.keyspaces();
        let keeper = match keeper[0].cluster.name <= keeper[1].cluster.name {
            true => keeper[0],
            false => keeper[1],
        };
        let (cluster, ks) = (&keeper.cluster, &keeper.name);
        let mut swept = Swept::default();
        let mut after: Option<Bytes> = None;
        if let Some(line) = &line
            && let Some(text) = record::value(cluster, ks, line).await?
            && let Some(cursor) = Cursor::of_text(&text)
        {
            (swept.partitions, swept.changed) = (cursor.done, cursor.changed);
            after = Some(cursor.key);
        }
        loop {
            let page = self.pair.partitions(after.as_deref(), PAGE).await?;
            let Some(last) = page.last().cloned() else {
                break;
            };
            let found: Vec<(Bytes, Found, Option<Which>)> = stream::iter(page)
                .map(|key| self.patiently(work, key))
                .buffer_unordered(AT_ONCE)
                .try_collect()
                .await?;
            for (key, found, owner) in found {
                swept.add(key, &found, owner);
            }
            if let Some(line) = &line {
                let cursor = Cursor {
                    key: last.clone(),
                    done: swept.partitions,
                    changed: swept.changed,
                };
                record::set(cluster, ks, line, &cursor.to_text()).await?;
            }
            let token = keeper.token(&last);
            watcher(Progress {
                done: swept.partitions,
                total: estimate(swept.partitions, token),
            });
            after = Some(last);
        }
        if let Some(line) = &line {
            record::set(cluster, ks, line, "").await?;
        }
        watcher(Progress {
            done: swept.partitions,
            total: swept.partitions,
        });
        Ok(swept)
    }

    async fn patiently(
        &self,
        work: Work,
        key: Bytes,
    ) -> Result<(Bytes, Found, Option<Which>), StoreError> {
        let mut tries = 1;
        loop {
            match self.one(work, &key).await {
                Ok((found, owner)) => return Ok((key, found, owner)),
                Err(StoreError::Unavailable(_) | StoreError::Contended { .. })
                    if tries < TRIES_MAX =>
                {
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn one(&self, work: Work, key: &Bytes) -> Result<(Found, Option<Which>), StoreError> {
        let Self { tools, pair, .. } = *self;
        if let Work::Switch(to) = work {
            let partition = PartitionId {
                keyspace: self.id,
                key: key.clone(),
            };
            // Our own commits to it wait, for a moment.
            let turn = self.lanes.commit(&partition).await;
            let handed = pair.hand_over(tools, key, to).await?;
            drop(turn);
            let found = match handed {
                Handed::Over => Found::Changed,
                Handed::Nothing => Found::Nothing,
            };
            return Ok((found, Some(to)));
        }
        let Place::At(owner, version) = pair.settle(tools, key).await? else {
            return Ok((Found::Nothing, None));
        };
        let found = match work {
            Work::Backfill => self.backfill(key, owner).await?,
            Work::Compare => self.compare(key).await?,
            Work::Count | Work::Switch(_) => {
                let copy = pair.look(tools, owner.other(), key).await?;
                if copy.state().version().0 < version {
                    Found::Behind
                } else {
                    Found::Nothing
                }
            }
        };
        Ok((found, Some(owner)))
    }

    async fn backfill(&self, key: &[u8], owner: Which) -> Result<Found, StoreError> {
        let Self { tools, pair, .. } = *self;
        let mut owner = owner;
        for _ in 0..COPIES_MAX {
            match fill::fill(tools, pair, key, owner, false).await? {
                Filled::Equal => return Ok(Found::Nothing),
                Filled::Copied => return Ok(Found::Changed),
                // Somebody else was at it, or it was handed over.
                Filled::Taken | Filled::Moved => {}
                // Large, and committed to all the time: it is handed over, which leaves a
                // copy where it was, and back.
                Filled::Unsettled => {
                    pair.hand_over(tools, key, owner.other()).await?;
                    pair.hand_over(tools, key, owner).await?;
                    return Ok(Found::Changed);
                }
            }
            match pair.settle(tools, key).await? {
                Place::At(now, _) => owner = now,
                Place::Nowhere(_) => return Ok(Found::Nothing),
            }
        }
        Ok(Found::Behind)
    }

    /// Reads both sides, row by row.
    async fn compare(&self, key: &[u8]) -> Result<Found, StoreError> {
        let Self { tools, pair, .. } = *self;
        for _ in 0..COMPARES_MAX {
            let to = pair.look(tools, Which::To, key).await?;
            let from = pair.look(tools, Which::From, key).await?;
            let Ownership::Owner(owner, version) = ownership(from.state(), to.state()) else {
                pair.settle(tools, key).await?;
                continue;
            };
            let (of, copy) = match owner {
                Which::From => (from, to),
                Which::To => (to, from),
            };
            if copy.state() != State::Copy(version) {
                return Ok(Found::Behind);
            }
            let of = (pair.keyspace(owner).as_ref(), of.stored);
            let copy = (pair.keyspace(owner.other()).as_ref(), copy.stored);
            let mut differences = Differences::new(key, of, copy);
            match differences.batch(1).await {
                Ok((rows, _)) if rows.is_empty() => return Ok(Found::Nothing),
                Ok((rows, _)) => {
                    let row = rows.first().map(|(key, _)| key.escape_ascii().to_string());
                    tracing::error!(
                        keyspace = pair.keyspace(owner).name,
                        partition = %key.escape_ascii(),
                        version,
                        row,
                        alert = "a copy is at the version of its partition, and not equal to it",
                        "a copy is different"
                    );
                    return Ok(Found::Different);
                }
                Err(Trouble::SourceMoved | Trouble::TargetMoved) => {}
                Err(Trouble::Failed(error)) => return Err(error),
            }
        }
        // Committed to all the time: what its copy had was never seen at rest.
        Ok(Found::Behind)
    }
}

impl Swept {
    fn add(&mut self, key: Bytes, found: &Found, owner: Option<Which>) {
        self.partitions += 1;
        match owner {
            Some(Which::From) => self.owned[0] += 1,
            Some(Which::To) => self.owned[1] += 1,
            None => {}
        }
        match found {
            Found::Nothing => {}
            Found::Changed => self.changed += 1,
            Found::Behind => self.behind += 1,
            Found::Different => {
                self.different += 1;
                if self.named.len() < NAMED_MAX {
                    self.named.push(key);
                }
            }
        }
    }
}

/// How many there are, if the rest of the ring is as what is done.
fn estimate(done: u64, token: i64) -> u64 {
    let part = u128::from(token.wrapping_sub(i64::MIN).cast_unsigned()) + 1;
    let all = (u128::from(done) << 64) / part;
    u64::try_from(all).unwrap_or(u64::MAX).max(done)
}

/// Where a sweep is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor {
    /// It is done with all up to this one.
    key: Bytes,
    done: u64,
    changed: u64,
}

impl Cursor {
    fn to_text(&self) -> String {
        let key: String = self.key.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{key} {} {}", self.done, self.changed)
    }

    /// None where no sweep is on its way.
    fn of_text(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (key, done, changed) = (words.next()?, words.next()?, words.next()?);
        let digits: Option<Vec<u8>> = (0..key.len() / 2)
            .map(|place| u8::from_str_radix(key.get(2 * place..2 * place + 2)?, 16).ok())
            .collect();
        Some(Self {
            key: digits?.into(),
            done: done.parse().ok()?,
            changed: changed.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back() {
        let cursor = Cursor {
            key: Bytes::from_static(b"\x00a \xff"),
            done: 77,
            changed: 5,
        };
        assert_eq!(Cursor::of_text(&cursor.to_text()), Some(cursor));
        assert_eq!(Cursor::of_text(""), None);
    }

    #[test]
    fn the_whole_is_estimated_from_the_part_of_the_ring() {
        assert_eq!(estimate(100, -1), 200);
        assert_eq!(estimate(100, i64::MAX), 100);
        assert_eq!(estimate(3, i64::MIN), u64::MAX);
    }
}
