//! A keyspace on two clusters: where each of its partitions is, and reads and commits there.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lombard_store::{Changes, PartitionId, Position, Snapshot, StoreError, Version, Wanted};
use parking_lot::Mutex;

use super::batch::{self, Statements, Step, StoredRow};
use super::decide::{Ownership, State, Which, ownership};
use super::{fill, record};
use crate::admission::Permit;
use crate::clock::Clock;
use crate::commit::Done;
use crate::coordinators::Coordinators;
use crate::guarded;
use crate::keyspace::Keyspace;
use crate::options::CassandraOptions;
use crate::read::{HEAD, Looked, Manner, points};
use crate::value;

/// How often both sides are looked at until they say where a partition is.
const LOOKS_MAX: u32 = 40;
/// How long to wait before looking again.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// How often a read follows a partition to the other side.
const READS_MAX: u32 = 8;
/// So many partitions are remembered with the side that they are on.
const BELIEVED_MAX: usize = 1 << 20;

/// What the engine has for all keyspaces.
#[derive(Clone, Copy)]
pub(crate) struct Tools<'a> {
    pub clock: &'a Clock,
    pub options: &'a CassandraOptions,
}

/// What was counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Commits that the copy has, too.
    pub kept: AtomicU64,
    /// Commits that it lacks: a sweep mends that.
    pub missed: AtomicU64,
    /// Hand-overs that this process has ended.
    pub taken: AtomicU64,
}

/// One of the two clusters.
#[derive(Debug)]
pub(crate) struct Side {
    pub keyspace: Arc<Keyspace>,
    pub(super) statements: Statements,
}

/// A keyspace on two clusters.
#[derive(Debug)]
pub(crate) struct Pair {
    from: Side,
    to: Side,
    /// Where it is decided that a partition begins.
    births: Which,
    believed: Mutex<HashMap<Bytes, Which>>,
    pub counts: Counts,
    /// Copies are not kept before this time: their cluster did not answer.
    pub(super) rest_until_us: AtomicU64,
}

/// Where a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    At(Which, u64),
    /// It has never been written. It can begin at this side only, where one is named.
    Nowhere(Option<Which>),
}

/// What one side has of a partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight {
    pub stored: i64,
    pub position: Position,
}

impl Sight {
    pub fn state(self) -> State {
        State::of(self.stored)
    }
}

impl Pair {
    /// Two keyspaces that were opened, the one that the service is configured for first.
    /// Puts the move on record.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`]: the record says otherwise.
    pub async fn open(
        mut from: Keyspace,
        mut to: Keyspace,
        holder: &str,
    ) -> Result<Self, StoreError> {
        record::begin(&from, &to, holder).await?;
        record::share_age(&mut from, &mut to).await?;
        let births = if from.cluster.name <= to.cluster.name {
            Which::From
        } else {
            Which::To
        };
        let from = Side {
            statements: Statements::prepare(&from).await?,
            keyspace: Arc::new(from),
        };
        let to = Side {
            statements: Statements::prepare(&to).await?,
            keyspace: Arc::new(to),
        };
        Ok(Self {
            from,
            to,
            births,
            believed: Mutex::default(),
            counts: Counts::default(),
            rest_until_us: AtomicU64::new(0),
        })
    }

    pub fn side(&self, which: Which) -> &Side {
        match which {
            Which::From => &self.from,
            Which::To => &self.to,
        }
    }

    pub fn keyspace(&self, which: Which) -> &Arc<Keyspace> {
        &self.side(which).keyspace
    }

    pub fn keyspaces(&self) -> [&Arc<Keyspace>; 2] {
        [&self.from.keyspace, &self.to.keyspace]
    }

    /// The cluster that a partition is on, as far as is known.
    pub fn cluster_of(&self, partition: &[u8]) -> &str {
        let which = self.believed(partition).unwrap_or(Which::From);
        &self.keyspace(which).cluster.name
    }

    /// Waits until a read or a commit may be begun, wherever it goes.
    pub async fn admit(&self) -> [Permit; 2] {
        let mut clusters = self.keyspaces().map(|keyspace| &keyspace.cluster);
        clusters.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let [one, other] = clusters;
        [one.admit().await, other.admit().await]
    }

    /// The side of this name.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`]: none has it.
    pub fn which(&self, cluster: &str) -> Result<Which, StoreError> {
        let named = |which: &Which| self.keyspace(*which).cluster.name == cluster;
        Which::BOTH.into_iter().find(named).ok_or_else(|| {
            StoreError::Misconfigured(format!(
                "cassandra: {} moves between {:?} and {:?}, not to {cluster:?}",
                self.from.keyspace.service,
                self.from.keyspace.cluster.name,
                self.to.keyspace.cluster.name
            ))
        })
    }

    /// Where a partition was when it was last looked at.
    pub fn believed(&self, partition: &[u8]) -> Option<Which> {
        self.believed.lock().get(partition).copied()
    }

    pub(super) fn believe(&self, partition: &[u8], which: Which) {
        let mut believed = self.believed.lock();
        if let Some(known) = believed.get_mut(partition) {
            *known = which;
            return;
        }
        if believed.len() >= BELIEVED_MAX {
            believed.clear();
        }
        believed.insert(Bytes::copy_from_slice(partition), which);
    }

    /// What one side has, as it was decided last.
    ///
    /// # Errors
    /// Nobody answers, or who answers is not believed.
    pub(super) async fn look(
        &self,
        tools: Tools<'_>,
        which: Which,
        partition: &[u8],
    ) -> Result<Sight, StoreError> {
        let keyspace = self.keyspace(which);
        keyspace.permit(partition)?;
        let asked = Coordinators::default();
        let statement = &keyspace.statements.points_serially;
        let (seen, _) = points(keyspace, statement, partition, &[HEAD], &asked).await?;
        let is_new = seen.stored == 0;
        let now = tools.clock.now_us();
        keyspace.vouch(partition, &asked, is_new, now).await?;
        tools.clock.saw(seen.position);
        Ok(Sight {
            stored: seen.stored,
            position: seen.position,
        })
    }

    /// One step at one side. See [`batch::decide`].
    pub(super) async fn step(
        &self,
        tools: Tools<'_>,
        which: Which,
        partition: &[u8],
        step: Step,
        rows: &[StoredRow],
    ) -> Result<bool, StoreError> {
        let Side {
            keyspace,
            statements,
        } = self.side(which);
        keyspace.permit(partition)?;
        let asked = Coordinators::default();
        let made = batch::decide(keyspace, statements, partition, step, rows, &asked).await?;
        if made {
            let is_new = step.expected == 0;
            let now = tools.clock.now_us();
            keyspace.vouch(partition, &asked, is_new, now).await?;
        }
        Ok(made)
    }

    /// Where the partition is, after ending a hand-over that was begun.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: one of the clusters does not answer, or others are always
    /// quicker; [`StoreError::Damaged`]: both own it, which nothing here can bring about.
    pub(super) async fn settle(
        &self,
        tools: Tools<'_>,
        partition: &[u8],
    ) -> Result<Place, StoreError> {
        let mut last = None;
        for _ in 0..LOOKS_MAX {
            let look = |which| self.look(tools, which, partition);
            let (from, to) = futures::try_join!(look(Which::From), look(Which::To))?;
            match ownership(from.state(), to.state()) {
                Ownership::Nobody => return Ok(Place::Nowhere(None)),
                Ownership::Reserved(which) => return Ok(Place::Nowhere(Some(which))),
                Ownership::Owner(which, version) => {
                    self.believe(partition, which);
                    return Ok(Place::At(which, version));
                }
                Ownership::Released(which) => {
                    fill::fill(tools, self, partition, which, false).await?;
                    continue;
                }
                Ownership::Unclear => {}
            }
            if from.stored > 0 && to.stored > 0 && last == Some((from.stored, to.stored)) {
                // Each was there while the other was looked at.
                return Err(StoreError::Damaged(format!(
                    "partition {} of keyspace {} is at version {} on cluster {:?} and at version \
                     {} on {:?}: both own it",
                    partition.escape_ascii(),
                    self.from.keyspace.name,
                    from.stored,
                    self.from.keyspace.cluster.name,
                    to.stored,
                    self.to.keyspace.cluster.name
                )));
            }
            last = Some((from.stored, to.stored));
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        Err(StoreError::Unavailable(format!(
            "cassandra: partition {} of keyspace {} is on its way from one cluster to the other",
            partition.escape_ascii(),
            self.from.keyspace.name
        )))
    }

    /// One consistent read, wherever the partition is.
    ///
    /// # Errors
    /// As [`guarded::read`] and [`Self::settle`].
    pub async fn read(
        &self,
        tools: Tools<'_>,
        partition: &PartitionId,
        wanted: &[Wanted],
    ) -> Result<Snapshot, StoreError> {
        let (clock, attempts) = (tools.clock, tools.options.read_attempts_max);
        for _ in 0..READS_MAX {
            let which = self.believed(&partition.key).unwrap_or(Which::From);
            let keyspace = self.keyspace(which);
            let wanted = (wanted, Manner::Serial);
            let looked = guarded::read(keyspace, clock, attempts, partition, wanted).await?;
            match looked {
                Looked::State(seen) if seen.version > Version(0) => {
                    self.believe(&partition.key, which);
                    return Ok(seen);
                }
                Looked::State(nothing) => {
                    // If the other side has nothing now, it had nothing when this one had
                    // nothing: what a side has had of a partition, it keeps.
                    let other = self.look(tools, which.other(), &partition.key).await?;
                    if other.stored == 0 {
                        return Ok(nothing);
                    }
                    let place = self.settle(tools, &partition.key).await?;
                    if matches!(place, Place::Nowhere(_)) {
                        return Ok(nothing);
                    }
                }
                Looked::Copy => {
                    self.settle(tools, &partition.key).await?;
                }
                // A glance's only.
                Looked::Torn => {}
            }
        }
        Err(StoreError::Contended {
            attempts: READS_MAX,
            partition: partition.key.escape_ascii().to_string(),
        })
    }

    /// A commit, wherever the partition is; then the copy is brought along.
    ///
    /// # Errors
    /// As [`guarded::commit`] and [`Self::settle`].
    pub async fn commit(
        &self,
        tools: Tools<'_>,
        partition: &PartitionId,
        expected: Version,
        changes: &Changes,
    ) -> Result<Option<Position>, StoreError> {
        let deadline_us = tools.options.event_index_deadline_ms.saturating_mul(1_000);
        let key = &partition.key;
        let mut which = match self.believed(key) {
            Some(which) => which,
            None => match self.place_of(tools, key, expected).await? {
                Some(which) => which,
                None => return Ok(None),
            },
        };
        for _ in Which::BOTH {
            let side = self.keyspace(which);
            let done =
                guarded::commit(side, tools.clock, deadline_us, partition, expected, changes);
            match done.await? {
                Done::In(position) => {
                    self.believe(key, which);
                    let at = (which, position);
                    self.keep(tools, at, partition, expected, changes).await;
                    return Ok(Some(position));
                }
                Done::Conflict => return Ok(None),
                // It was refused there for certain, and may be sent to where it belongs.
                Done::Copy => match self.place_of(tools, key, expected).await? {
                    Some(now) if now != which => which = now,
                    _ => return Ok(None),
                },
            }
        }
        Ok(None)
    }

    /// Where a commit with this expected version is to be sent; nowhere if it cannot be right.
    async fn place_of(
        &self,
        tools: Tools<'_>,
        partition: &[u8],
        expected: Version,
    ) -> Result<Option<Which>, StoreError> {
        if expected == Version(0) && self.births == Which::From {
            // Whether this side has anything is what the commit's condition tells.
            let other = self.look(tools, Which::To, partition).await?;
            if other.stored == 0 {
                return Ok(Some(Which::From));
            }
        }
        match self.settle(tools, partition).await? {
            Place::At(which, _) => return Ok(Some(which)),
            Place::Nowhere(_) if expected > Version(0) => return Ok(None),
            Place::Nowhere(Some(which)) => return Ok(Some(which)),
            Place::Nowhere(None) if self.births == Which::From => return Ok(Some(Which::From)),
            Place::Nowhere(None) => {}
        }
        self.reserve(tools, partition).await?;
        Ok(match self.settle(tools, partition).await? {
            Place::At(which, _) => Some(which),
            Place::Nowhere(which) => which,
        })
    }

    /// Sees to it that a partition cannot begin where it is decided that it does: it then can
    /// at the other side only. Nothing is done where it is there already.
    async fn reserve(&self, tools: Tools<'_>, partition: &[u8]) -> Result<(), StoreError> {
        let step = Step {
            expected: 0,
            version: State::claim(tools.clock.next().0),
            // Nobody is at it: whoever copies to it need not wait.
            position: Some(Position(0)),
        };
        let head = Bytes::from(value::seal(partition, HEAD, b""));
        let head = [(Bytes::from_static(HEAD), Some(head))];
        self.step(tools, self.births, partition, step, &head)
            .await?;
        Ok(())
    }

    /// The last commit with events that this process made.
    pub fn last_event(&self) -> Position {
        let of = |which| self.keyspace(which).last_event();
        of(Which::From).max(of(Which::To))
    }

    /// Live figures, by name.
    pub fn figures(&self) -> Vec<(String, String)> {
        let service = &self.from.keyspace.service;
        let counts = [
            ("commits copied", &self.counts.kept),
            ("commits not copied yet", &self.counts.missed),
            ("partitions taken over", &self.counts.taken),
        ];
        let figure = |(what, count): (&str, &AtomicU64)| {
            let count = count.load(Ordering::Relaxed).to_string();
            (format!("{service}: {what}"), count)
        };
        counts.into_iter().map(figure).collect()
    }
}
