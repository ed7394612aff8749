//! When things break: whole for a while, broken for a while, as a seed says.

use std::ops::RangeInclusive;
use std::time::Duration;

use lombard_service::Host;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngCore, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{FaultKind, Nemesis, NemesisError};
use crate::history::FaultMark;
use crate::recorder::Recorder;

/// How long things are whole, and how long broken, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// Before each fault.
    pub whole_ms: RangeInclusive<u64>,
    /// Between a fault and its healing.
    pub broken_ms: RangeInclusive<u64>,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            whole_ms: 1_000..=4_000,
            broken_ms: 1_000..=5_000,
        }
    }
}

/// A fault that was injected and healed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultDone {
    /// What kind.
    pub kind: FaultKind,
    /// What was done, in words.
    pub what: String,
    /// Microseconds since the run began.
    pub begun_us: u64,
    /// When all was whole again.
    pub healed_us: u64,
}

/// Breaks and heals until `over`, by each of its kinds in turn, in an order that the seed says;
/// then leaves everything whole. `done` is told of each fault.
pub(crate) async fn misfortune(
    host: &Host,
    nemesis: &dyn Nemesis,
    timing: &Timing,
    seed: u64,
    recorder: &Recorder,
    mut over: watch::Receiver<bool>,
    mut done: impl FnMut(FaultDone),
) -> Result<(), NemesisError> {
    let mut dice = SmallRng::seed_from_u64(seed);
    let kinds = nemesis.can();
    let mut deck = Vec::new();
    let mut result = Ok(());
    while !kinds.is_empty() && result.is_ok() {
        if wait(host, &mut dice, &timing.whole_ms, &mut over).await {
            break;
        }
        // None comes again before all others have come: a run of so many faults as there
        // are kinds has had each.
        if deck.is_empty() {
            deck.clone_from(&kinds);
            deck.shuffle(&mut dice);
        }
        let (Some(kind), chance) = (deck.pop(), dice.next_u64()) else {
            break;
        };
        let begun_us = recorder.fault(FaultMark::Begun, &kind.to_string());
        match nemesis.inject(kind, chance).await {
            Ok(what) => {
                wait(host, &mut dice, &timing.broken_ms, &mut over).await;
                result = nemesis.heal().await;
                let healed_us = recorder.fault(FaultMark::Healed, &what);
                done(FaultDone {
                    kind,
                    what,
                    begun_us,
                    healed_us,
                });
            }
            Err(error) => result = Err(error),
        }
    }
    // Nothing stays broken, whatever went wrong.
    result.and(nemesis.heal().await)
}

/// Waits as long as the dice say; true: it is over.
async fn wait(
    host: &Host,
    dice: &mut SmallRng,
    range_ms: &RangeInclusive<u64>,
    over: &mut watch::Receiver<bool>,
) -> bool {
    let pause = Duration::from_millis(dice.random_range(range_ms.clone()));
    tokio::select! {
        () = host.sleep(pause) => {}
        _ = over.wait_for(|over| *over) => {}
    }
    *over.borrow()
}
