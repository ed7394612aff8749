//! Fetching what the callers of a lane miss, all of them in one read.

use std::sync::Arc;

use bytes::Bytes;

use super::lane::{Base, Lane, LaneState, Load, Seen, Sight};
use super::marker::{self, History};
use super::tell::Listener;
use super::{Outcome, Shared, Task};
use crate::error::StoreError;
use crate::loaded::Loaded;
use crate::port::{Admitted, Snapshot, Version, Wanted};

/// How often a read that is older than what is known already is made again.
const STALE_READS_MAX: u32 = 8;

/// Asks for rows: they are fetched with the next read, by the task that runs or by this one.
pub(super) fn request(
    shared: &Arc<Shared>,
    lane: &Arc<Lane>,
    state: &mut LaneState,
    wanted: Vec<Wanted>,
    (sight, stamp): (Sight, Option<u64>),
) -> (Listener<Result<(), StoreError>>, Option<Task>) {
    let load = state.wanted.get_or_insert_with(Load::default);
    for wanted in wanted {
        load.wanted.insert(wanted);
    }
    load.sight = load.sight.max(sight);
    load.stamp = load.stamp.max(stamp);
    let done = load.done.listen();
    let task = (!state.loading).then(|| {
        state.loading = true;
        let task = Loader {
            shared: shared.clone(),
            lane: lane.clone(),
            ended: false,
        };
        Box::pin(task.run()) as Task
    });
    (done, task)
}

/// The task. `loading` is set while there is one.
struct Loader {
    shared: Arc<Shared>,
    lane: Arc<Lane>,
    /// It said under the lock that it fetches no more.
    ended: bool,
}

impl Drop for Loader {
    fn drop(&mut self) {
        if self.ended {
            // By itself; another one may run already.
            return;
        }
        // Cut short: whoever waits learns it from the tellers' end.
        let mut state = self.lane.state.lock();
        state.loading = false;
        state.wanted = None;
    }
}

impl Loader {
    async fn run(mut self) {
        loop {
            let admitted = self.shared.admit(&self.lane).await;
            let Some((load, arrivals)) = self.next() else {
                break;
            };
            let seen = Seen {
                sight: load.sight,
                arrivals,
                stamp: load.stamp,
            };
            let done = self.load(load.wanted.list, seen, admitted).await;
            load.done.tell(done);
        }
        self.ended = true;
    }

    fn next(&self) -> Option<(Load, u64)> {
        let mut state = self.lane.state.lock();
        let load = state.wanted.take();
        if load.is_none() {
            // Said under the lock that a request takes: it will start another task.
            state.loading = false;
            // Who is in the lane has asked for these rows and may not have used
            // them yet.
            if state.users == 0 {
                state.trim(&self.shared.options);
            }
        }
        Some((load?, state.arrivals))
    }

    async fn load(
        &self,
        wanted: Vec<Wanted>,
        seen: Seen,
        admitted: Admitted,
    ) -> Result<(), StoreError> {
        let mut admitted = Some(admitted);
        let Shared {
            engine, options, ..
        } = self.shared.as_ref();
        // A base needs the history, and one may be needed at any time.
        let with_marker = |part: &[Wanted]| {
            let mut all = part.to_vec();
            all.push(Wanted::Row(Bytes::from_static(marker::KEY)));
            all
        };
        let parts: Vec<Vec<Wanted>> = if wanted.is_empty() {
            vec![with_marker(&[])]
        } else {
            let parts = wanted.chunks(options.wanted_per_read_max.max(1));
            parts.map(with_marker).collect()
        };
        for part in parts {
            let mut stale = 0;
            loop {
                let snapshot = {
                    // None is held over the wait for the outcome of a commit.
                    let _admitted = match admitted.take() {
                        Some(admitted) => admitted,
                        None => self.shared.admit(&self.lane).await,
                    };
                    // A glance may be older than what another one showed; a read is not.
                    let partition = &self.lane.partition;
                    match seen.sight {
                        Sight::Glance if stale == 0 => engine.glance(partition, &part).await?,
                        _ => engine.read(partition, &part).await?,
                    }
                };
                if self.take_in(&part, snapshot, seen).await? {
                    break;
                }
                stale += 1;
                if stale >= STALE_READS_MAX {
                    return Err(self.lane.contended(stale));
                }
            }
        }
        Ok(())
    }

    /// Adds what was read to what is known. False if it is older than that.
    async fn take_in(
        &self,
        wanted: &[Wanted],
        mut snapshot: Snapshot,
        seen: Seen,
    ) -> Result<bool, StoreError> {
        let marker = snapshot.found.pop().unwrap_or_default();
        let history = History::read(marker.first().map(|(_, value)| value))?;
        loop {
            let moved = {
                let mut state = self.lane.state.lock();
                match state.place(snapshot.version) {
                    Place::Older => return Ok(false),
                    Place::Wait => state.next_move(),
                    Place::Fits => {
                        state.absorb(wanted, snapshot, history, seen);
                        return Ok(true);
                    }
                }
            };
            // What was read may be what this lane is just committing: its
            // outcome says. The lane lives, and with it who tells.
            let _ = moved.await;
        }
    }
}

/// How a read stands to what is known.
enum Place {
    /// It can be taken in, or begins anew.
    Fits,
    /// It is from before what is known.
    Older,
    /// It is newer, and what is in flight may be why.
    Wait,
}

impl LaneState {
    fn place(&mut self, version: Version) -> Place {
        let Some(base) = &self.base else {
            return Place::Fits;
        };
        if version < base.since {
            return Place::Older;
        }
        if version <= base.loaded.version {
            return Place::Fits;
        }
        if self.in_flight.is_some() {
            return Place::Wait;
        }
        // Somebody else has committed: what is known is old, and whoever ran over it runs again.
        self.base = None;
        self.kept = None;
        if let Some(pending) = self.pending.take() {
            pending.outcome.tell(Outcome::Again);
        }
        Place::Fits
    }

    fn absorb(&mut self, wanted: &[Wanted], snapshot: Snapshot, history: History, seen: Seen) {
        let base = self.base.get_or_insert_with(|| Base {
            loaded: Loaded::new(snapshot.version),
            since: snapshot.version,
            history,
            position: snapshot.position,
            confirmed: 0,
            glanced: 0,
            stamp: None,
        });
        base.position = base.position.max(snapshot.position);
        base.saw(seen);
        for (wanted, found) in wanted.iter().zip(snapshot.found) {
            base.loaded.absorb(wanted, found);
        }
    }
}
