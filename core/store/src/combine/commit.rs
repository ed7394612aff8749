//! Sending a lane's batches, one after the other, and finding out what became of each.
//!
//! **Ambiguous outcomes.** A commit that timed out may be in, may not be, or may
//! come in later. It goes in at one version only, so the partition's next version
//! decides: as long as that version has not come, the *same* commit is sent again
//! (if both are taken, the second conflicts); once it has, the store's own row
//! names who made it. Only if the engine cannot be read either, or so many others
//! have committed that the row has forgotten, do callers get
//! [`StoreError::Ambiguous`].

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::lane::{Batch, Lane, LaneState, Seen, Sight};
use super::marker::{self, CommitId, History, Trace};
use super::{Outcome, PAUSE_DOUBLINGS_MAX, Shared, Task};
use crate::error::StoreError;
use crate::port::{Position, Version, Wanted};
use crate::rows::{Change, Changes};

/// Has the pending batch sent: by the task that runs, or by this one.
pub(super) fn request(
    shared: &Arc<Shared>,
    lane: &Arc<Lane>,
    state: &mut LaneState,
) -> Option<Task> {
    if state.committing {
        return None;
    }
    state.committing = true;
    let task = Committer {
        shared: shared.clone(),
        lane: lane.clone(),
        ended: false,
    };
    Some(Box::pin(task.run()))
}

/// The task. `committing` is set while there is one.
struct Committer {
    shared: Arc<Shared>,
    lane: Arc<Lane>,
    /// It said under the lock that it commits no more.
    ended: bool,
}

impl Drop for Committer {
    fn drop(&mut self) {
        if self.ended {
            // By itself; another one may run already.
            return;
        }
        // Cut short (the runtime stops, the engine panicked). What was in flight
        // is unknown, which its waiters learn from the teller's end.
        let mut state = self.lane.state.lock();
        state.committing = false;
        state.in_flight = None;
        state.base = None;
        state.kept = None;
        if let Some(pending) = state.pending.take() {
            let ended = StoreError::Closed("the store's tasks have ended".into());
            pending.outcome.tell(Outcome::Failed(ended));
        }
        state.move_on();
    }
}

/// A batch on its way.
struct Sent {
    changes: Arc<Changes>,
    batch: Batch,
    expected: Version,
    /// The commit's name, and the history that ends with it.
    id: CommitId,
    history: History,
    arrivals: u64,
}

/// What became of it.
enum Fate {
    /// It is in.
    In(Position),
    /// Another commit came first.
    Conflict,
    /// It is not in, and why.
    Failed(StoreError),
    /// Nobody knows, and why.
    Unknown(StoreError),
}

impl Committer {
    async fn run(mut self) {
        loop {
            // What comes while this waits goes along.
            let _admitted = self.shared.admit(&self.lane).await;
            let Some(sent) = self.next() else { break };
            let fate = if sent.changes.is_empty() {
                self.look(sent.expected).await
            } else {
                self.commit(&sent).await
            };
            self.settle(sent, fate);
        }
        self.ended = true;
    }

    /// Takes the pending batch on its way; None, and the task ends, if there is none.
    fn next(&self) -> Option<Sent> {
        let mut state = self.lane.state.lock();
        // Without a base nothing is pending, so the pair is taken or left together.
        let taken = state.pending.take().zip(state.base.as_ref());
        let sent = taken.map(|(mut batch, base)| {
            let expected = base.loaded.version;
            let id = self.shared.commit_id();
            Sent {
                changes: Arc::new(std::mem::take(&mut batch.changes)),
                batch,
                expected,
                id,
                history: base.history.with(expected.next(), id),
                arrivals: state.arrivals,
            }
        });
        match &sent {
            Some(sent) => {
                state.in_flight = Some(sent.changes.clone());
                state.move_on();
            }
            // Said under the lock that a request takes: it will start another task.
            None => {
                state.committing = false;
                state.trim(&self.shared.options);
            }
        }
        sent
    }

    /// Whether the version still stands that operations without changes saw.
    async fn look(&self, expected: Version) -> Fate {
        match self.shared.engine.read(&self.lane.partition, &[]).await {
            Ok(snapshot) if snapshot.version == expected => Fate::In(snapshot.position),
            Ok(_) => Fate::Conflict,
            Err(error) => Fate::Failed(error),
        }
    }

    async fn commit(&self, sent: &Sent) -> Fate {
        let Shared {
            engine, counters, ..
        } = self.shared.as_ref();
        let changes = with_marker(sent);
        let partition = &self.lane.partition;
        match engine.commit(partition, sent.expected, changes).await {
            Ok(Some(position)) => Fate::In(position),
            Ok(None) => Fate::Conflict,
            Err(StoreError::Ambiguous(why)) => {
                counters.ambiguous.add(1);
                let fate = self.resolve(sent, why).await;
                if !matches!(fate, Fate::Unknown(_)) {
                    counters.ambiguous_resolved.add(1);
                }
                fate
            }
            Err(error) => Fate::Failed(error),
        }
    }

    /// Finds out what became of a commit that the engine could not say.
    async fn resolve(&self, sent: &Sent, why: String) -> Fate {
        let Shared {
            engine, options, ..
        } = self.shared.as_ref();
        let partition = &self.lane.partition;
        let wanted = [Wanted::Row(Bytes::from_static(marker::KEY))];
        let mut why = why;
        for attempt in 0..options.resolutions_per_commit_max {
            let factor = 1_u32 << attempt.min(PAUSE_DOUBLINGS_MAX);
            let pause = options.retry_pause.saturating_mul(factor);
            options.spawner.pause(pause).await;
            let snapshot = match engine.read(partition, &wanted).await {
                Ok(snapshot) => snapshot,
                Err(error) => {
                    why = error.to_string();
                    continue;
                }
            };
            if snapshot.version > sent.expected {
                let marker = snapshot.found.first().and_then(|rows| rows.first());
                return match History::read(marker.map(|(_, value)| value)) {
                    Err(error) => Fate::Unknown(error),
                    Ok(history) => match history.trace(sent.expected.next(), sent.id) {
                        Trace::In => Fate::In(snapshot.position),
                        Trace::NotIn => Fate::Conflict,
                        Trace::Lost => Fate::Unknown(StoreError::Ambiguous(
                            "too many commits came since to see whether it is among them".into(),
                        )),
                    },
                };
            }
            // Not in, but it may still come: the same commit, sent again, settles it.
            let changes = with_marker(sent);
            match engine.commit(partition, sent.expected, changes).await {
                Ok(Some(position)) => return Fate::In(position),
                // Either it has come in now or another has: the next look tells.
                Ok(None) => {}
                Err(error) => why = error.to_string(),
            }
        }
        Fate::Unknown(StoreError::Ambiguous(why))
    }

    fn settle(&self, sent: Sent, fate: Fate) {
        let counters = &self.shared.counters;
        let outcome = {
            let mut state = self.lane.state.lock();
            state.in_flight = None;
            state.move_on();
            match fate {
                Fate::In(position) => {
                    if let Some(base) = &mut state.base {
                        if !sent.changes.is_empty() {
                            counters.commits.add(1);
                            counters.combined_operations.add(sent.batch.operations);
                            let version = sent.expected.next();
                            base.loaded.apply(&sent.changes, version);
                            base.history = sent.history.clone();
                        }
                        base.position = base.position.max(position);
                        base.saw(Seen {
                            sight: Sight::Read,
                            arrivals: sent.arrivals,
                            stamp: None,
                        });
                    }
                    state.trim(&self.shared.options);
                    Outcome::In(position)
                }
                Fate::Conflict => {
                    counters.conflicts.add(1);
                    state.base = None;
                    state.rerun_pending();
                    Outcome::Again
                }
                Fate::Failed(error) => {
                    // The base still stands, but not what ran over this batch.
                    state.rerun_pending();
                    Outcome::Failed(error)
                }
                Fate::Unknown(error) => {
                    state.base = None;
                    state.rerun_pending();
                    let error = match error {
                        StoreError::Ambiguous(_) => error,
                        other => StoreError::Ambiguous(other.to_string()),
                    };
                    Outcome::Failed(error)
                }
            }
        };
        sent.batch.outcome.tell(outcome);
    }
}

impl LaneState {
    /// What was in flight is not so: whoever ran over it runs again.
    fn rerun_pending(&mut self) {
        self.kept = None;
        if let Some(pending) = self.pending.take() {
            pending.outcome.tell(Outcome::Again);
        }
    }
}

impl Shared {
    fn commit_id(&self) -> CommitId {
        CommitId {
            instance: self.options.instance,
            number: self.commits.fetch_add(1, Ordering::Relaxed),
        }
    }
}

/// The batch's changes, and the row that names the commit.
fn with_marker(sent: &Sent) -> Changes {
    let mut changes = Changes::clone(&sent.changes);
    let marker = Change::Put(sent.history.to_row());
    changes.rows.insert(Bytes::from_static(marker::KEY), marker);
    changes
}
