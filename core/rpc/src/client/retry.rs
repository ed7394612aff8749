//! The retry layer's rules: how many, how soon, and what for.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use connectrpc::ConnectError;

use super::ChannelOptions;
use crate::Error;

/// A thousandth of a retry.
const ONE_RETRY: i64 = 1_000;

/// How many retries a channel may still make: each call puts in a share of one,
/// each retry takes a whole one. When the callee fails everything, retries add
/// at most that share to its load instead of multiplying it.
/// (Finagle's `RetryBudget`; without its time decay, because the balance is capped.)
#[derive(Debug)]
pub(super) struct RetryBudget {
    balance: AtomicI64,
    deposit: i64,
    cap: i64,
}

impl RetryBudget {
    pub(super) fn new(options: &ChannelOptions) -> Self {
        let cap = i64::from(options.retry_burst) * ONE_RETRY;
        Self {
            balance: AtomicI64::new(cap),
            deposit: i64::from(options.retry_percent) * ONE_RETRY / 100,
            cap,
        }
    }

    /// A call was made.
    pub(super) fn deposit(&self) {
        // A full budget, the usual case, is only read: callers on many threads share it.
        if self.balance.load(Ordering::Relaxed) < self.cap {
            let _ = self
                .balance
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |balance| {
                    Some((balance + self.deposit).min(self.cap))
                });
        }
    }

    /// Takes one retry, if there is one.
    pub(super) fn withdraw(&self) -> bool {
        self.balance
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |balance| {
                (balance >= ONE_RETRY).then_some(balance - ONE_RETRY)
            })
            .is_ok()
    }
}

/// The pause before retry number `retry` (1, 2, …): exponential, drawn from the
/// upper half so that callers who failed together do not come back together.
pub(super) fn backoff(options: &ChannelOptions, retry: u32, random: u64) -> Duration {
    let factor = 1u64 << (retry - 1).min(16);
    let ceiling_us = options
        .backoff_first_ms
        .saturating_mul(factor)
        .min(options.backoff_max_ms)
        .saturating_mul(1_000);
    let half = ceiling_us / 2;
    Duration::from_micros(half + if half == 0 { 0 } else { random % half })
}

/// Whether an error's body says that sending it again may help.
pub(super) fn says_retryable(status: http::StatusCode, body: &Bytes) -> bool {
    match serde_json::from_slice::<ConnectError>(body) {
        Ok(error) => Error::from_connect(&error).retryable,
        // Not one of ours: a proxy in between, perhaps.
        Err(_) => status == http::StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_bounds_retries_to_a_share_of_calls() {
        let options = ChannelOptions {
            retry_percent: 20,
            retry_burst: 10,
            ..ChannelOptions::default()
        };
        let budget = RetryBudget::new(&options);
        let mut retries = 0;
        for _ in 0..1_000 {
            budget.deposit();
            // A callee that fails everything: each call would like three retries.
            retries += (0..3).filter(|_| budget.withdraw()).count();
        }
        assert!((200..=210).contains(&retries), "{retries}");
    }

    #[test]
    fn pauses_grow_to_a_ceiling_and_are_spread() {
        let options = ChannelOptions {
            backoff_first_ms: 10,
            backoff_max_ms: 40,
            ..ChannelOptions::default()
        };
        for (retry, low_ms, high_ms) in [(1, 5, 10), (2, 10, 20), (3, 20, 40), (9, 20, 40)] {
            for random in [0, 1, u64::MAX / 2, u64::MAX] {
                let pause = backoff(&options, retry, random);
                assert!(pause >= Duration::from_millis(low_ms), "{retry} {pause:?}");
                assert!(pause <= Duration::from_millis(high_ms), "{retry} {pause:?}");
            }
        }
    }

    #[test]
    fn only_an_error_that_says_so_is_retried() {
        let no = ConnectError::from(Error::failed_precondition("FLOOR_BROKEN", "no"));
        let yes = ConnectError::from(Error::unavailable("DISK_FULL", "not now"));
        let never = ConnectError::from(
            Error::resource_exhausted("REQUEST_TOO_LARGE", "never").retryable(false),
        );
        for (error, expected) in [(no, false), (yes, true), (never, false)] {
            let body = Bytes::from(serde_json::to_vec(&error).unwrap());
            assert_eq!(says_retryable(http::StatusCode::OK, &body), expected);
        }
        let page = Bytes::from_static(b"<html>no healthy upstream</html>");
        assert!(says_retryable(http::StatusCode::SERVICE_UNAVAILABLE, &page));
        assert!(!says_retryable(http::StatusCode::NOT_FOUND, &page));
    }
}
