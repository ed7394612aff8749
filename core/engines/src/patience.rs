//! Waiting for an engine: the only place here that asks the clock.

use std::time::{Duration, Instant};

/// A moment after which it is no longer waited.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    start: Instant,
    patience: Duration,
}

impl Deadline {
    /// So long from now.
    pub fn after(patience: Duration) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "real processes are waited for in real time"
        )]
        let start = Instant::now();
        Self { start, patience }
    }

    /// How long it has been waited.
    pub fn waited(&self) -> Duration {
        self.start.elapsed()
    }

    /// Whether the moment has passed.
    pub fn has_passed(&self) -> bool {
        self.waited() >= self.patience
    }

    /// Asks, again and again with a pause between, until there is an answer or the
    /// moment has passed.
    pub fn until<T>(&self, pause: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
        loop {
            if let Some(answer) = ask() {
                return Some(answer);
            }
            if self.has_passed() {
                return None;
            }
            sleep(pause);
        }
    }
}

/// Blocks this thread.
pub fn sleep(pause: Duration) {
    #[expect(
        clippy::disallowed_methods,
        reason = "blocking code outside of any runtime, that waits for real processes"
    )]
    std::thread::sleep(pause);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_asked_until_there_is_an_answer() {
        let deadline = Deadline::after(Duration::from_secs(60));
        let mut asked = 0;
        let answer = deadline.until(Duration::from_millis(1), || {
            asked += 1;
            (asked == 3).then_some("yes")
        });
        assert_eq!((answer, asked), (Some("yes"), 3));
    }

    #[test]
    fn a_moment_that_has_passed_is_asked_about_once() {
        let deadline = Deadline::after(Duration::ZERO);
        let mut asked = 0;
        let answer: Option<()> = deadline.until(Duration::from_secs(60), || {
            asked += 1;
            None
        });
        assert_eq!((answer, asked), (None, 1));
    }
}
