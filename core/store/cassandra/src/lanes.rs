//! Within this process, one commit to a partition at a time, and no read meanwhile.
//!
//! Cassandra decides without a leader: rivals for one partition undo one another's promises,
//! and each has to begin again until its time is up. One after the other they are done
//! sooner. This only makes things faster: whoever has waited long enough goes ahead, since
//! what holds it up may be a node that does not answer.
//!
//! **Rivals in one process** (two stores over one engine). Who has just committed knows the
//! partition and can commit again at once; who has lost must read first, and would lose again
//! and again. So after a conflict a commit gives way, for a moment, to whoever has read since:
//! a read leaves a token, and the first commit that comes after it takes that and goes first.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lombard_store::PartitionId;
use parking_lot::Mutex;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// How long a read waits for a commit.
const READ_WAIT_MAX: Duration = Duration::from_millis(500);
/// How long a commit waits for reads and for another commit.
const COMMIT_WAIT_MAX: Duration = Duration::from_secs(1);
/// A conflict is remembered for so many commits.
const CONFLICT_MEMORY: u8 = 16;
/// How long, and how often, a commit gives way before it looks whether it still has to.
const GIVE_WAY: Duration = Duration::from_millis(3);
/// See [`GIVE_WAY`].
const GIVE_WAY_MAX: u32 = 10;
/// Lanes that nobody uses and that still remember a conflict, at most about so many.
const LANES_REMEMBERED_MAX: usize = 4_096;

/// The partitions in use.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    by_partition: Mutex<HashMap<PartitionId, Arc<Lane>>>,
}

#[derive(Debug, Default)]
struct Lane {
    gate: Arc<RwLock<()>>,
    rivals: Mutex<Rivals>,
}

/// What is remembered of a partition's rivals.
#[derive(Debug, Default, Clone, Copy)]
struct Rivals {
    /// Counts down from the last conflict.
    remembered: u8,
    /// Somebody has read, and no commit has come since.
    token: bool,
    /// How many commits are done.
    commits: u64,
}

/// A turn in a partition's lane; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    lanes: &'a Lanes,
    partition: &'a PartitionId,
    lane: Option<Arc<Lane>>,
    /// None where the wait was too long.
    guard: Option<Guard>,
}

#[derive(Debug)]
enum Guard {
    Read(#[expect(dead_code, reason = "held, not looked at")] OwnedRwLockReadGuard<()>),
    Commit(#[expect(dead_code, reason = "held, not looked at")] OwnedRwLockWriteGuard<()>),
}

impl Lanes {
    /// A turn beside other reads.
    pub async fn read<'a>(&'a self, partition: &'a PartitionId) -> Turn<'a> {
        let (mut turn, lane) = self.turn(partition);
        let gate = lane.gate.clone().read_owned();
        let guard = tokio::time::timeout(READ_WAIT_MAX, gate).await;
        turn.guard = guard.ok().map(Guard::Read);
        turn
    }

    /// A turn for a glance, which does not disturb a commit. Where rivals have met, what a
    /// commit is just replacing is of no use, and it waits as a read does.
    pub async fn glance<'a>(&'a self, partition: &'a PartitionId) -> Turn<'a> {
        let (turn, lane) = self.turn(partition);
        let rivals = *lane.rivals.lock();
        drop(lane);
        if rivals.remembered > 0 {
            return self.read(partition).await;
        }
        turn
    }

    /// A turn alone.
    pub async fn commit<'a>(&'a self, partition: &'a PartitionId) -> Turn<'a> {
        let (mut turn, lane) = self.turn(partition);
        lane.give_way().await;
        let gate = lane.gate.clone().write_owned();
        let guard = tokio::time::timeout(COMMIT_WAIT_MAX, gate).await;
        turn.guard = guard.ok().map(Guard::Commit);
        turn
    }

    fn turn<'a>(&'a self, partition: &'a PartitionId) -> (Turn<'a>, Arc<Lane>) {
        let lane = {
            let mut lanes = self.by_partition.lock();
            if lanes.len() > LANES_REMEMBERED_MAX {
                lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
            }
            lanes.entry(partition.clone()).or_default().clone()
        };
        let turn = Turn {
            lanes: self,
            partition,
            lane: Some(lane.clone()),
            guard: None,
        };
        (turn, lane)
    }
}

impl Lane {
    /// Lets those go first who have read since a conflict.
    async fn give_way(&self) {
        let seen = {
            let mut rivals = self.rivals.lock();
            let goes_first = std::mem::take(&mut rivals.token);
            if goes_first || rivals.remembered == 0 {
                return;
            }
            *rivals
        };
        for _ in 0..GIVE_WAY_MAX {
            tokio::time::sleep(GIVE_WAY).await;
            if self.rivals.lock().commits != seen.commits {
                return;
            }
        }
    }
}

impl Turn<'_> {
    /// The read is done.
    pub fn has_read(&self) {
        if let Some(lane) = &self.lane {
            lane.rivals.lock().token = true;
        }
    }

    /// The commit is done, or somebody else's had come first.
    pub fn has_committed(&self, conflict: bool) {
        if let Some(lane) = &self.lane {
            let mut rivals = lane.rivals.lock();
            if conflict {
                rivals.remembered = CONFLICT_MEMORY;
            } else {
                rivals.remembered = rivals.remembered.saturating_sub(1);
                rivals.commits += 1;
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.guard = None;
        self.lane = None;
        let mut lanes = self.lanes.by_partition.lock();
        // Under the map's lock nobody can begin to use a lane that only the map holds.
        let unused = lanes.get(self.partition);
        if unused
            .is_some_and(|lane| Arc::strong_count(lane) == 1 && lane.rivals.lock().remembered == 0)
        {
            lanes.remove(self.partition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures::FutureExt;
    use lombard_store::KeyspaceId;

    fn partition(key: &'static [u8]) -> PartitionId {
        PartitionId {
            keyspace: KeyspaceId(0),
            key: Bytes::from_static(key),
        }
    }

    fn gate(lanes: &Lanes, partition: &PartitionId) -> Arc<RwLock<()>> {
        lanes.by_partition.lock()[partition].gate.clone()
    }

    #[tokio::test]
    async fn a_commit_is_alone_in_its_lane_and_an_unused_lane_is_gone() {
        let lanes = Lanes::default();
        let (p, q) = (partition(b"p"), partition(b"q"));
        {
            let _one = lanes.read(&p).await;
            let _beside = lanes.read(&p).await;
            let _elsewhere = lanes.commit(&q).await;
            assert_eq!(lanes.by_partition.lock().len(), 2);
            let gate = gate(&lanes, &p);
            assert!(gate.try_write().is_err() && gate.try_read().is_ok());
        }
        let alone = lanes.commit(&p).await;
        assert!(gate(&lanes, &p).try_read().is_err());
        alone.has_committed(false);
        drop(alone);
        assert!(lanes.by_partition.lock().is_empty());
    }

    #[tokio::test]
    async fn a_glance_waits_for_a_commit_only_where_rivals_have_met() {
        let lanes = Lanes::default();
        let p = partition(b"p");
        let commit = lanes.commit(&p).await;
        let beside = lanes.glance(&p).now_or_never();
        assert!(beside.is_some_and(|turn| turn.guard.is_none()));
        commit.has_committed(true);
        assert!(lanes.glance(&p).now_or_never().is_none());
        drop(commit);
        assert!(lanes.glance(&p).await.guard.is_some());
    }

    #[tokio::test]
    async fn whoever_waited_long_enough_goes_ahead() {
        let lanes = Lanes::default();
        let p = partition(b"p");
        let stuck = lanes.commit(&p).await;
        let ahead = lanes.read(&p).await;
        assert!(ahead.guard.is_none());
        drop(stuck);
        drop(ahead);
        assert!(lanes.by_partition.lock().is_empty());
    }

    #[tokio::test]
    async fn after_a_conflict_whoever_has_read_goes_first() {
        let lanes = Lanes::default();
        let p = partition(b"p");
        lanes.commit(&p).await.has_committed(true);
        let order = Mutex::new(Vec::new());
        let winner = async {
            let turn = lanes.commit(&p).await;
            order.lock().push("winner");
            turn.has_committed(true);
        };
        let loser = async {
            let read = lanes.read(&p).await;
            read.has_read();
            drop(read);
            let turn = lanes.commit(&p).await;
            order.lock().push("loser");
            turn.has_committed(false);
        };
        // The winner of before asks first, and gives way.
        futures::join!(winner, loser);
        assert_eq!(*order.lock(), ["loser", "winner"]);
    }
}
