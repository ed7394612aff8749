//! One client: a call, its attempts, the next call.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lombard_service::Host;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;

use super::Options;
use crate::history::{Call, Outcome};
use crate::nemesis::FaultDone;
use crate::recorder::Recorder;
use crate::system::System;
use crate::wire::Wire;
use crate::workload::Workload;

/// The process that gives customers their money, before the others begin.
const FUNDING_PROCESS: u32 = 0;
/// How often an unknown or failed entry is sent again rather than left as it is.
const SENT_AGAIN: f64 = 0.8;
/// How often an acknowledged entry is sent again all the same.
const ASKED_AGAIN: f64 = 0.06;
/// How often an impatient client sends an entry twice at once.
const IMPATIENT: f64 = 0.04;
/// The longest pause before an entry is sent again.
const RETRY_PAUSE_MAX_US: u64 = 40_000;

/// What all clients share.
pub struct Clients<'r> {
    pub host: &'r Host,
    pub system: &'r dyn System,
    pub options: &'r Options,
    pub wire: &'r Wire,
    pub workload: &'r Workload,
    pub recorder: &'r Recorder,
    pub accounts: &'r [String],
    pub begun: AtomicU64,
    pub until_us: u64,
    pub faults: &'r Mutex<Vec<FaultDone>>,
    pub over: &'r watch::Sender<bool>,
}

impl Clients<'_> {
    /// How many operations have begun.
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Gives every customer money.
    pub async fn fund(&self) {
        let mut dice = SmallRng::seed_from_u64(self.options.seed);
        for call in self.workload.funding() {
            self.operation(FUNDING_PROCESS, &call, &mut dice).await;
        }
    }

    /// Works until enough was done.
    pub async fn work(&self, process: u32) {
        let mut dice =
            SmallRng::seed_from_u64(self.options.seed ^ (u64::from(process) + 1).rotate_left(32));
        let pause_max_us = u64::try_from(self.options.pause_max.as_micros()).unwrap_or(u64::MAX);
        while self.goes_on() {
            let call = self.workload.next(&mut dice);
            self.operation(process, &call, &mut dice).await;
            if pause_max_us > 0 {
                let pause = Duration::from_micros(dice.random_range(0..=pause_max_us));
                self.host.sleep(pause).await;
            }
        }
    }

    fn goes_on(&self) -> bool {
        let enough = self.begun() >= self.options.operations
            && self.faults.lock().len() as u64 >= self.options.faults_min;
        !enough && self.in_time()
    }

    /// Within the time, and nobody has given up.
    fn in_time(&self) -> bool {
        self.host.monotonic_us() < self.until_us && !*self.over.borrow()
    }

    async fn operation(&self, process: u32, call: &Call, dice: &mut SmallRng) {
        let operation = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let writes = call.entry_id().is_some();
        let mut attempt = 1;
        if writes && dice.random_bool(IMPATIENT) {
            let (first, second) = (self.address(dice), self.address(dice));
            let (_, outcome) = futures::join!(
                self.attempt(process, operation, 1, call, &first),
                self.attempt(process, operation, 2, call, &second)
            );
            attempt = 2;
            if !self.again(&outcome, dice) {
                return;
            }
            attempt += 1;
        }
        loop {
            let address = self.address(dice);
            let outcome = self
                .attempt(process, operation, attempt, call, &address)
                .await;
            if !writes
                || attempt >= self.options.attempts_max
                || !self.in_time()
                || !self.again(&outcome, dice)
            {
                return;
            }
            let pause = Duration::from_micros(dice.random_range(0..=RETRY_PAUSE_MAX_US));
            self.host.sleep(pause).await;
            attempt += 1;
        }
    }

    /// Whether an entry is sent once more.
    fn again(&self, outcome: &Outcome, dice: &mut SmallRng) -> bool {
        match outcome {
            Outcome::Ok { .. } => dice.random_bool(ASKED_AGAIN),
            Outcome::Refused { .. } => false,
            Outcome::Failed { .. } | Outcome::Unknown { .. } => dice.random_bool(SENT_AGAIN),
        }
    }

    fn address(&self, dice: &mut SmallRng) -> String {
        let mut addresses = self.system.addresses();
        if addresses.is_empty() {
            // Nobody listens just now; the attempt fails and says so.
            return String::new();
        }
        addresses.swap_remove(dice.random_range(0..addresses.len()))
    }

    async fn attempt(
        &self,
        process: u32,
        operation: u64,
        attempt: u32,
        call: &Call,
        address: &str,
    ) -> Outcome {
        self.recorder.invoked(process, operation, attempt, call);
        let outcome = self.wire.perform(address, call, self.accounts).await;
        self.recorder
            .completed(process, operation, attempt, &outcome);
        if let Outcome::Ok { answer } = &outcome {
            self.workload.learn(call, answer);
        }
        outcome
    }
}
