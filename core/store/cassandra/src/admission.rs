//! How many reads and commits may be on their way to a cluster at once.
//!
//! A cluster that is asked for more than it can do does no more for it: requests wait within
//! it, each until its time is up, and what the cluster then does is done for nobody. So they
//! wait here, in the order in which they came, and the time of a request begins when it is
//! sent.
//!
//! How many is found out, since it is another number for each cluster and each hour: one
//! more for every round of answers that came soon, a quarter less when one came late
//! (additive increase, multiplicative decrease: Chiu and Jain, *Analysis of the Increase and
//! Decrease Algorithms for Congestion Avoidance*, 1989; RFC 5681, section 3.1). A late answer
//! to a request that was sent before the last decrease says nothing new.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is allowed at first, before anything was answered.
const FIRST: usize = 32;
/// What is always allowed: a cluster that is slow for other reasons must not stand still.
const LEAST: usize = 8;

/// The way in.
#[derive(Debug)]
pub(crate) struct Admission {
    permits: Arc<Semaphore>,
    pace: Mutex<Pace>,
}

/// A permit for one operation, with all requests that it needs; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    /// None only while it is dropped, and where the way in is closed, which it never is.
    permit: Option<OwnedSemaphorePermit>,
}

/// How many, and how that changes.
#[derive(Debug)]
struct Pace {
    most: usize,
    /// An answer that takes longer than this is late.
    late_after: Duration,
    limit: usize,
    /// Permits that are still held and that the limit does not allow any more.
    owed: usize,
    /// Answers in time since the last change, while as many were on their way as may be.
    in_time: usize,
    /// When the limit was last lowered.
    lowered: Option<Instant>,
}

impl Admission {
    /// At most `most` at once; an answer that takes longer than `late_after` is late.
    pub fn new(most: usize, late_after: Duration) -> Arc<Self> {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        let limit = FIRST.min(most);
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(limit)),
            pace: Mutex::new(Pace {
                most,
                late_after,
                limit,
                owed: 0,
                in_time: 0,
                lowered: None,
            }),
        })
    }

    /// How many are allowed now.
    pub fn limit(&self) -> usize {
        self.pace.lock().limit
    }

    /// Waits for its turn.
    pub async fn admit(self: &Arc<Self>) -> Permit {
        Permit {
            admission: self.clone(),
            permit: self.permits.clone().acquire_owned().await.ok(),
        }
    }

    /// Takes note of a request that was sent at `sent` and whose answer, or failure, came at
    /// `now`.
    pub fn answered(&self, sent: Instant, now: Instant) {
        let mut pace = self.pace.lock();
        let all_used = self.permits.available_permits() == 0;
        let before = pace.limit;
        pace.answered(sent, now, all_used);
        if pace.limit > before {
            let more = pace.limit - before;
            let paid = more.min(pace.owed);
            pace.owed -= paid;
            self.permits.add_permits(more - paid);
        } else {
            let less = before - pace.limit;
            pace.owed += less - self.permits.forget_permits(less);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut pace = self.admission.pace.lock();
        if pace.owed > 0
            && let Some(permit) = self.permit.take()
        {
            pace.owed -= 1;
            permit.forget();
        }
    }
}

impl Pace {
    fn answered(&mut self, sent: Instant, now: Instant, all_used: bool) {
        if now.saturating_duration_since(sent) > self.late_after {
            self.in_time = 0;
            if self.lowered.is_none_or(|lowered| sent >= lowered) {
                let least = LEAST.min(self.most);
                self.limit = (self.limit - self.limit / 4).max(least);
                self.lowered = Some(now);
            }
        } else if all_used && self.limit < self.most {
            self.in_time += 1;
            if self.in_time >= self.limit {
                self.in_time = 0;
                self.limit += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = Duration::from_millis(250);

    #[expect(clippy::disallowed_methods, reason = "some moment to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    #[tokio::test]
    async fn a_round_of_answers_in_time_makes_room_for_one_more() {
        let admission = Admission::new(40, LATE);
        let at = start();
        // Nobody waits: more would change nothing.
        for _ in 0..100 {
            admission.answered(at, at);
        }
        assert_eq!(admission.limit(), FIRST);
        let mut held = Vec::new();
        for limit in FIRST..40 {
            while held.len() < limit {
                held.push(admission.admit().await);
            }
            for _ in 0..limit {
                admission.answered(at, at + LATE);
            }
            assert_eq!(admission.limit(), limit + 1);
        }
        held.push(admission.admit().await);
        for _ in 0..100 {
            admission.answered(at, at);
        }
        assert_eq!(admission.limit(), 40, "the most that is allowed");
        drop(held);
        assert_eq!(admission.permits.available_permits(), 40);
    }

    #[tokio::test]
    async fn a_late_answer_lowers_it_once_for_all_that_were_sent_before() {
        let admission = Admission::new(1_024, LATE);
        let at = start();
        let mut held = Vec::new();
        for _ in 0..FIRST {
            held.push(admission.admit().await);
        }
        let late = at + LATE * 2;
        for _ in 0..FIRST {
            admission.answered(at, late);
        }
        assert_eq!(admission.limit(), 24);
        // What is too much now is taken back as it ends.
        for _ in 0..FIRST - 24 {
            held.pop();
            assert_eq!(admission.permits.available_permits(), 0);
        }
        held.pop();
        assert_eq!(admission.permits.available_permits(), 1);
        // It stays in use at least a little, however late answers are.
        let mut now = late;
        for _ in 0..20 {
            admission.answered(now, now + LATE * 2);
            now += LATE * 2;
        }
        assert_eq!(admission.limit(), LEAST);
        held.clear();
        assert_eq!(admission.permits.available_permits(), LEAST);
    }

    #[tokio::test]
    async fn room_that_is_made_while_permits_are_owed_pays_them_first() {
        let admission = Admission::new(1_024, LATE);
        let at = start();
        let mut held = Vec::new();
        for _ in 0..FIRST {
            held.push(admission.admit().await);
        }
        admission.answered(at, at + LATE * 2);
        for _ in 0..24 {
            admission.answered(at, at);
        }
        assert_eq!(admission.limit(), 25);
        assert_eq!(admission.permits.available_permits(), 0);
        held.clear();
        assert_eq!(admission.permits.available_permits(), 25);
    }
}
