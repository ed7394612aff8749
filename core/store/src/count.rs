//! A counter that many threads add to all the time.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Places that threads share out among themselves.
const STRIPES: usize = 8;

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static STRIPE: Cell<usize> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES);
}

/// One place each for a few threads: one place for all would go from processor to
/// processor with every count.
#[derive(Debug, Default)]
pub(crate) struct Count {
    stripes: [Stripe; STRIPES],
}

/// Two cache lines, which some processors fetch together.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

impl Count {
    /// Adds to it.
    pub fn add(&self, by: u64) {
        if by == 0 {
            return;
        }
        // While a thread ends, its stripe may be gone: any will do.
        let stripe = STRIPE.try_with(Cell::get).unwrap_or(0);
        self.stripes[stripe].0.fetch_add(by, Ordering::Relaxed);
    }

    /// What was added so far.
    pub fn get(&self) -> u64 {
        let stripes = self.stripes.iter();
        stripes.map(|stripe| stripe.0.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_count_together() {
        let count = Count::default();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| (0..1_000).for_each(|_| count.add(3)));
            }
        });
        assert_eq!(count.get(), 60_000);
    }
}
