//! Reading what will probably be changed next: the rows stay at hand for that.
//!
//! A look sees the base, which is what the engine was seen to stand at after the look
//! began, and nothing that is only on its way. Looks that come together share one read.

use std::sync::Arc;

use super::lane::{Lane, Operation, Sight, WantedSet};
use super::tell::Listener;
use super::{Combiner, LaneUse, Shared, load};
use crate::error::{Stop, StoreError};
use crate::fetch::VERSION_GUESSED;
use crate::loaded::{Loaded, LoadedSource};
use crate::port::PartitionId;
use crate::rows::Rows;
use crate::store::{Sequenced, looked};

/// Where one run of a function that only looks leads.
enum Look<T, E> {
    Seen(Result<Sequenced<Result<T, E>>, StoreError>),
    /// Rows are missing, or what is known is older than the look.
    Load(Listener<Result<(), StoreError>>),
}

impl Combiner {
    /// Runs `look` over a state that the partition was in after this call began, seen so
    /// surely at least; with a stamp, also over one that was seen under that stamp or a later
    /// one. A refusal is always of a state that was read.
    pub async fn look<T, E, F>(
        &self,
        partition: PartitionId,
        (sight, stamp): (Sight, Option<u64>),
        look: &mut F,
    ) -> Result<Sequenced<Result<T, E>>, StoreError>
    where
        F: FnMut(&Rows<'_>) -> Result<T, Stop<E>> + Send,
        T: Send,
        E: Send,
    {
        let shared = &self.shared;
        let lane = shared.lane(partition);
        let _use = LaneUse::enter(shared, &lane);
        let mut operation = Operation {
            arrived: lane.arrive(),
            stamp,
            asked: WantedSet::default(),
        };
        for _ in 0..shared.options.loads_per_operation_max {
            match lane.look(shared, &mut operation, sight, look) {
                Look::Seen(seen) => return seen,
                Look::Load(loaded) => match loaded.await {
                    Ok(loaded) => loaded?,
                    Err(_) => {
                        return Err(StoreError::Closed(
                            "the task that fetched the rows has ended".into(),
                        ));
                    }
                },
            }
        }
        Err(lane.contended(shared.options.loads_per_operation_max))
    }
}

impl Lane {
    fn look<T, E, F>(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        operation: &mut Operation,
        sight: Sight,
        look: &mut F,
    ) -> Look<T, E>
    where
        F: FnMut(&Rows<'_>) -> Result<T, Stop<E>>,
    {
        let (loaded, task) = {
            let mut state = self.state.lock();
            let guess = Loaded::new(VERSION_GUESSED);
            let kept = state.take_kept_of_base();
            let base = state.base.as_ref();
            let source = LoadedSource::new(base.map_or(&guess, |base| &base.loaded));
            let rows = Rows::with_kept(&source, kept);
            let ran = looked(look(&rows));
            let absent = rows.absent();
            let kept = rows.into_kept(false);
            let missing = source.missing();
            let needed = match &ran {
                Ok(Err(_)) if missing.is_empty() && base.is_some() => Sight::Read,
                _ => sight,
            };
            let seen_since = base.filter(|base| base.is_seen(needed, operation));
            let settled = (seen_since.filter(|_| missing.is_empty())).map(|base| base.position);
            let anew = base.is_none();
            state.kept = kept.or(state.kept.take());
            if let Some(position) = settled {
                shared.counters.rows_absent.add(absent);
                return Look::Seen(ran.map(|value| Sequenced { value, position }));
            }
            let wanted = operation.ask(missing, anew);
            let sight = (needed, operation.stamp);
            load::request(shared, self, &mut state, wanted, sight)
        };
        // Outside the lock: a runtime that stops drops the task at once, and its end takes it.
        if let Some(task) = task {
            shared.options.spawner.spawn(task);
        }
        Look::Load(loaded)
    }
}
