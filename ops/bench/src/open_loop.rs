//! Requests at fixed times, whatever the answers do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// Lets requests go at a fixed rate. Who is late is late by his own latency:
/// the time that counts is the one at which a request was meant to go.
pub struct Pace {
    start: Instant,
    interval: Duration,
    due: Arc<Semaphore>,
    stopped: Arc<AtomicBool>,
}

impl Pace {
    /// `requests_per_s` from now on. The times are kept by a thread of its own:
    /// the runtime's timer has a grain of a millisecond, which would show in the latencies.
    pub fn start(requests_per_s: f64) -> Self {
        let start = Instant::now();
        let interval = Duration::from_secs_f64(1.0 / requests_per_s);
        let due = Arc::new(Semaphore::new(0));
        let stopped = Arc::new(AtomicBool::new(false));
        let pace = Self {
            start,
            interval,
            due: Arc::clone(&due),
            stopped: Arc::clone(&stopped),
        };
        std::thread::spawn(move || {
            let mut released = 0_u64;
            while !stopped.load(Ordering::Relaxed) {
                let elapsed = start.elapsed().as_secs_f64();
                let owed = (elapsed * requests_per_s) as u64 + 1;
                if owed > released {
                    // Far behind means that nobody asks: the semaphore's own limit is its bound.
                    let batch = (owed - released).min(1 << 16);
                    if due.available_permits() < Semaphore::MAX_PERMITS / 2 {
                        due.add_permits(batch as usize);
                    }
                    released += batch;
                }
                let next = start + interval.mul_f64(released as f64);
                std::thread::sleep(
                    next.saturating_duration_since(Instant::now())
                        .min(Duration::from_millis(50)),
                );
            }
        });
        pace
    }

    /// Waits until the next request is due.
    pub async fn turn(&self) {
        if let Ok(permit) = self.due.acquire().await {
            permit.forget();
        }
    }

    /// When the request of this number was meant to go.
    pub fn intended(&self, number: u64) -> Instant {
        self.start + self.interval.mul_f64(number as f64)
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}
