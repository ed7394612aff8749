//! Who waits for which position, and what is durable.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use parking_lot::Mutex;

use crate::error::StoreError;

use super::clock;

/// The durable position, and who waits for it to move.
#[derive(Default)]
pub(super) struct Durability {
    published: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// By position, then by ticket: a flush wakes a prefix.
    waiters: BTreeMap<(u64, u64), Waiter>,
    next_ticket: u64,
    /// The log ended: nothing more becomes durable.
    ended: Option<StoreError>,
}

struct Waiter {
    waker: Waker,
    since: Instant,
    /// Given up for it: the answer.
    answer: Option<StoreError>,
}

impl Durability {
    /// What is durable.
    pub(super) fn position(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// Everything up to here is durable now: wakes who waited for it.
    pub(super) fn publish(&self, position: u64) {
        self.published.store(position, Ordering::Release);
        let woken = {
            let mut waiting = self.waiting.lock();
            let later = waiting.waiters.split_off(&(position.saturating_add(1), 0));
            std::mem::replace(&mut waiting.waiters, later)
        };
        for waiter in woken.into_values() {
            waiter.waker.wake();
        }
    }

    /// Nothing more becomes durable: everyone who waits gets `error`.
    pub(super) fn end(&self, error: StoreError) {
        let woken = {
            let mut waiting = self.waiting.lock();
            waiting.ended = Some(error);
            std::mem::take(&mut waiting.waiters)
        };
        for waiter in woken.into_values() {
            waiter.waker.wake();
        }
    }

    /// Those who have waited since before `since` get `error`.
    pub(super) fn give_up(&self, since: Instant, error: &StoreError) {
        let mut waiting = self.waiting.lock();
        for waiter in waiting.waiters.values_mut() {
            if waiter.since <= since && waiter.answer.is_none() {
                waiter.answer = Some(error.clone());
                waiter.waker.wake_by_ref();
            }
        }
    }

    /// Waits until the position is durable.
    pub(super) fn wait(&self, position: u64) -> Wait<'_> {
        Wait {
            durability: self,
            position,
            ticket: None,
        }
    }
}

/// Resolves when its position is durable, or never will be.
pub(super) struct Wait<'a> {
    durability: &'a Durability,
    position: u64,
    ticket: Option<u64>,
}

impl Future for Wait<'_> {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.durability.position() >= self.position {
            // Whoever published it took our entry out, or is about to.
            self.ticket = None;
            return Poll::Ready(Ok(()));
        }
        let mut waiting = self.durability.waiting.lock();
        // Published between the look above and the lock: nobody would wake us.
        if self.durability.position() >= self.position {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = &waiting.ended {
            return Poll::Ready(Err(error.clone()));
        }
        let ticket = match self.ticket {
            Some(ticket) => ticket,
            None => {
                waiting.next_ticket += 1;
                waiting.next_ticket
            }
        };
        let waiter = waiting
            .waiters
            .entry((self.position, ticket))
            .or_insert_with(|| Waiter {
                waker: context.waker().clone(),
                since: clock::now(),
                answer: None,
            });
        if let Some(error) = &waiter.answer {
            return Poll::Ready(Err(error.clone()));
        }
        waiter.waker.clone_from(context.waker());
        drop(waiting);
        self.ticket = Some(ticket);
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let mut waiting = self.durability.waiting.lock();
            waiting.waiters.remove(&(self.position, ticket));
        }
    }
}
