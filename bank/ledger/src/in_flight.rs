//! Which requests are between their first commit and their last: what the
//! coordinator must not lose sight of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lombard_store::Position;
use parking_lot::Mutex;

/// Requests that run, and those that ended without an end.
#[derive(Debug, Default)]
pub struct InFlight {
    table: Mutex<Table>,
    silent: AtomicUsize,
}

#[derive(Debug, Default)]
struct Table {
    next_ticket: u64,
    running: BTreeMap<u64, Position>,
    /// Positions behind which something may have been left half carried.
    orphaned: Vec<Position>,
    /// Where the coordinator is following from just now.
    following: Option<Position>,
}

/// Held by a request from before its first commit. Dropped without
/// [`Guard::finish`] (the caller went away, a panic, the store failed) it
/// leaves its position to the coordinator.
#[derive(Debug)]
#[must_use = "a request is finished by its guard"]
pub struct Guard {
    in_flight: Arc<InFlight>,
    ticket: u64,
}

impl InFlight {
    /// Registers a request. `position` is asked under the table's lock, so
    /// that no watermark can pass a request that is about to be registered.
    pub fn begin(self: &Arc<Self>, position: impl FnOnce() -> Position) -> Guard {
        let mut table = self.table.lock();
        let ticket = table.next_ticket;
        table.next_ticket += 1;
        let position = position();
        table.running.insert(ticket, position);
        Guard {
            in_flight: self.clone(),
            ticket,
        }
    }

    /// Leaves everything behind a position to the coordinator.
    pub fn orphan(&self, position: Position) {
        self.table.lock().orphaned.push(position);
    }

    /// The earliest position that was left to the coordinator. It stays in
    /// sight until [`Self::followed`].
    pub fn follow(&self) -> Option<Position> {
        let mut table = self.table.lock();
        table.following = table.orphaned.iter().min().copied();
        table.orphaned.clear();
        table.following
    }

    /// What [`Self::follow`] gave is dealt with up to here; the rest is being followed.
    pub fn follows_from(&self, position: Position) {
        let mut table = self.table.lock();
        table.following = table.following.map(|_| position);
    }

    /// What [`Self::follow`] gave is dealt with, but for what lies behind `again`.
    pub fn followed(&self, again: Option<Position>) {
        let mut table = self.table.lock();
        table.following = None;
        table.orphaned.extend(again);
    }

    /// Everything at or before this position is carried to its end.
    pub fn watermark(&self, position: impl FnOnce() -> Position) -> Position {
        let table = self.table.lock();
        let earliest = table
            .running
            .values()
            .chain(&table.orphaned)
            .chain(&table.following)
            .min()
            .copied();
        earliest.unwrap_or_else(position)
    }

    /// So many other processes on the keyspace have given no sign of life of late.
    pub fn found_silent(&self, processes: usize) {
        self.silent.store(processes, Ordering::Release);
    }

    /// Other processes of which it is not known whether they live: what they left half
    /// carried, if they do not, nobody has taken over yet.
    pub fn silent(&self) -> usize {
        self.silent.load(Ordering::Acquire)
    }

    /// How many requests run, and how many positions are left to the coordinator.
    pub fn counts(&self) -> (usize, usize) {
        let table = self.table.lock();
        (
            table.running.len(),
            table.orphaned.len() + usize::from(table.following.is_some()),
        )
    }
}

impl Guard {
    /// The request was carried to its end, whatever the answer.
    pub fn finish(self) {
        self.in_flight.table.lock().running.remove(&self.ticket);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut table = self.in_flight.table.lock();
        if let Some(position) = table.running.remove(&self.ticket) {
            table.orphaned.push(position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_stays_behind_what_runs_and_what_was_left() {
        let in_flight = Arc::new(InFlight::default());
        let first = in_flight.begin(|| Position(5));
        let second = in_flight.begin(|| Position(9));
        assert_eq!(in_flight.watermark(|| Position(20)), Position(5));
        first.finish();
        assert_eq!(in_flight.watermark(|| Position(20)), Position(9));
        drop(second);
        assert_eq!(in_flight.counts(), (0, 1));
        assert_eq!(in_flight.watermark(|| Position(20)), Position(9));
        assert_eq!(in_flight.follow(), Some(Position(9)));
        assert_eq!(in_flight.watermark(|| Position(20)), Position(9));
        assert_eq!(in_flight.counts(), (0, 1));
        in_flight.follows_from(Position(12));
        assert_eq!(in_flight.watermark(|| Position(20)), Position(12));
        in_flight.followed(None);
        in_flight.follows_from(Position(13));
        assert_eq!(in_flight.watermark(|| Position(20)), Position(20));
    }
}
