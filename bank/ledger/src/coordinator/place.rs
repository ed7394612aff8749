//! The place up to which this process has carried everything, kept where others find it; and
//! the others, of whom one may be gone.
//!
//! A process is gone when its row has not changed for [`Options::gone_after_ms`] by the clock
//! of the one who watches: no two clocks are compared. What it left is looked for at once, and
//! once more [`LOOK_AGAIN_US`] later: a process that only stood still may have gone on a little
//! after it was taken for gone, before it died in earnest. One that goes on for good gives
//! another sign of life, and has its row again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lombard_service::Host;
use lombard_store::{Keyspace, Position, Rows, StoreError};

use super::processes::{self, PARTITION, ProcessId};
use crate::in_flight::InFlight;
use crate::options::Options;
use crate::stamps;

/// Signs of life in the time after which a process is gone.
const BEATS: u64 = 5;
/// Who has been still for so many of them may be gone.
const SILENT_BEATS: u64 = 3;
/// When to look again behind a process that is gone: a call that it was about to carry out when
/// it stood still has passed its deadline by then.
const LOOK_AGAIN_US: u64 = 60_000_000;

/// What this process has carried, and what it knows of the others.
pub struct Place {
    host: Host,
    keyspace: Keyspace,
    in_flight: Arc<InFlight>,
    own: ProcessId,
    /// No other process can be working on the keyspace.
    alone: bool,
    gone_after_us: u64,
    beat: u64,
    beat_us: u64,
    /// The position of the last commit of this process's row.
    saved: Position,
    looked_us: Option<u64>,
    others: HashMap<ProcessId, Seen>,
    /// Behind these there may be something once more, from that moment on.
    again: Vec<(Position, u64)>,
    /// Processes that are gone may have left changes of terms that are not counted.
    others_left: bool,
}

/// Another process's sign of life, when it was first seen here, and whether there was one
/// before it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    beat: u64,
    since_us: u64,
    again: bool,
}

impl Place {
    /// Takes up what nobody has: it counts as left half carried until it was looked at.
    ///
    /// # Errors
    /// The store's failure; a damaged row.
    pub async fn open(
        (keyspace, own): (Keyspace, ProcessId),
        in_flight: Arc<InFlight>,
        host: Host,
        options: &Options,
    ) -> Result<Self, StoreError> {
        let alone = !keyspace.is_remote();
        let join = |rows: &mut Rows<'_>| processes::join(rows, own, alone);
        let joined = keyspace.update(PARTITION, join).await?;
        let mut place = Self {
            gone_after_us: options.gone_after_ms.saturating_mul(1_000),
            beat_us: host.monotonic_us(),
            host,
            keyspace,
            in_flight,
            own,
            alone,
            beat: 0,
            saved: Position::default(),
            looked_us: None,
            others: HashMap::new(),
            again: Vec::new(),
            others_left: true,
        };
        // Nothing is refused here.
        let (from, others) = joined.value.unwrap_or_default();
        if let Some(from) = from {
            place.in_flight.orphan(from);
        }
        place.in_flight.found_silent(others);
        // Before the first call: a row says behind what it will be.
        place.save().await?;
        if !place.alone {
            place.count_left().await?;
        }
        Ok(place)
    }

    /// How long until the next sign of life is due.
    pub fn until_beat(&self) -> Duration {
        let due_us = self.beat_us.saturating_add(self.gone_after_us / BEATS);
        Duration::from_micros(due_us.saturating_sub(self.host.monotonic_us()))
    }

    /// Says up to where everything is carried where that has moved by more than the last commit
    /// that said so, and that this process is alive where that is due.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn save(&mut self) -> Result<(), StoreError> {
        let beat = self.until_beat().is_zero();
        if self.carried_to() > self.saved || (beat && !self.alone) {
            self.renew(&[]).await?;
        } else if beat {
            // There is nobody to be told.
            self.beat_us = self.host.monotonic_us();
        }
        Ok(())
    }

    /// Looks for processes that are gone, and takes over what they left; how many.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn look_around(&mut self) -> Result<usize, StoreError> {
        let now_us = self.host.monotonic_us();
        let due = |(position, due_us): &(Position, u64)| (*due_us <= now_us).then_some(*position);
        for position in self.again.iter().filter_map(due) {
            self.in_flight.orphan(position);
        }
        self.again.retain(|(_, due_us)| *due_us > now_us);
        let pause_us = self.gone_after_us / BEATS;
        let early = |looked_us| now_us.saturating_sub(looked_us) < pause_us;
        if self.alone || self.looked_us.is_some_and(early) {
            return Ok(0);
        }
        let read = self.keyspace.read(PARTITION, processes::all);
        // Nothing is refused here.
        let found = read.await?.value.unwrap_or_default();
        self.looked_us = Some(now_us);
        self.others
            .retain(|process, _| found.iter().any(|(there, _)| there == process));
        let mut gone = Vec::new();
        for (process, row) in found.iter().filter(|(process, _)| *process != self.own) {
            let beat = row.beat;
            let first = Seen {
                beat,
                since_us: now_us,
                again: false,
            };
            let seen = self.others.entry(*process).or_insert(first);
            if seen.beat != beat {
                *seen = Seen {
                    again: true,
                    ..first
                };
            } else if now_us.saturating_sub(seen.since_us) >= self.gone_after_us {
                gone.push((*process, beat));
                if let Some(carried_to) = row.carried_to.map(Position) {
                    // Before its row goes, so that it is in sight all the time.
                    self.in_flight.orphan(carried_to);
                    self.again
                        .push((carried_to, now_us.saturating_add(LOOK_AGAIN_US)));
                }
            }
        }
        let taken_over = match gone.as_slice() {
            [] => 0,
            gone => self.renew(gone).await?,
        };
        self.others_left |= taken_over > 0;
        if self.others_left {
            self.count_left().await?;
        }
        let is_gone = |process: &ProcessId| gone.iter().any(|(gone, _)| gone == process);
        let silent = self.others.iter().filter(|(process, seen)| {
            let long = now_us.saturating_sub(seen.since_us) >= SILENT_BEATS * pause_us;
            (!seen.again || long) && !is_gone(process)
        });
        self.in_flight.found_silent(silent.count());
        Ok(taken_over)
    }

    /// Leaves, if everything that this process began or took over is carried: whoever stays, or
    /// comes next, need not look for it.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn leave(&mut self) -> Result<(), StoreError> {
        if self.in_flight.counts() != (0, 0) || !self.again.is_empty() {
            // Its row says so to those who stay.
            return Ok(());
        }
        let (own, carried_to) = (self.own, self.carried_to());
        let leave = |rows: &mut Rows<'_>| processes::leave(rows, own, carried_to);
        let left = self.keyspace.update(PARTITION, leave).await?;
        left.durable(&self.keyspace).await?.ok();
        Ok(())
    }

    /// Counts the changes of terms that processes have entered which are gone.
    async fn count_left(&mut self) -> Result<(), StoreError> {
        let read = self.keyspace.read(PARTITION, processes::all).await?;
        let living = read.value.unwrap_or_default();
        let living: Vec<ProcessId> = living.into_iter().map(|(process, _)| process).collect();
        self.leave_only(&living).await?;
        self.others_left = false;
        Ok(())
    }

    async fn leave_only(&self, living: &[ProcessId]) -> Result<(), StoreError> {
        let leave_only = |rows: &mut Rows<'_>| stamps::leave_only(rows, living);
        let left = self.keyspace.update(stamps::PARTITION, leave_only).await?;
        // Nothing is refused here.
        left.durable(&self.keyspace).await?.ok();
        Ok(())
    }

    fn carried_to(&self) -> Position {
        let carried_to = self.in_flight.watermark(|| self.keyspace.position());
        let again = self.again.iter().map(|(position, _)| *position);
        again.fold(carried_to, Position::min)
    }

    async fn renew(&mut self, gone: &[(ProcessId, u64)]) -> Result<usize, StoreError> {
        // Whether or not it arrives, the next one is another.
        self.beat += 1;
        let (own, said) = (self.own, (self.carried_to(), self.beat));
        let began_us = self.host.monotonic_us();
        let renew = |rows: &mut Rows<'_>| processes::renew(rows, own, said, gone);
        let renewed = self.keyspace.update(PARTITION, renew).await?;
        self.saved = renewed.position;
        self.beat_us = began_us;
        Ok(renewed.value.unwrap_or_default())
    }
}
