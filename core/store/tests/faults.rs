//! Thousands of seeds: whatever goes wrong, an acknowledged increment is in exactly once.
#![expect(
    clippy::disallowed_methods,
    reason = "the callers are tasks, and the test waits for them"
)]
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use lombard_store::simulated::{
    FaultCounts, Faults, Kind, Simulated, SimulatedOptions, TurnSpawner,
};
use lombard_store::{
    Direction, EventRow, Keyspace, Position, RowRange, Rows, Stop, Store, StoreCounters,
    StoreError, StoreOptions,
};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const HOT: &[u8] = b"hot";
const CALLERS: u64 = 5;
const INCREMENTS_EACH: u64 = 5;

fn number(value: Option<Bytes>) -> u64 {
    value.map_or(0, |value| {
        u64::from_be_bytes(value.as_ref().try_into().unwrap())
    })
}

fn bytes_of(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn row(prefix: &[u8], number: u64) -> Vec<u8> {
    [prefix, &number.to_be_bytes()].concat()
}

/// What one run did, and what callers were told.
#[derive(Clone, Default)]
struct Told {
    /// Operations that were said to be in.
    acknowledged: BTreeSet<u64>,
    /// The greatest count that anybody was told.
    greatest: u64,
    /// Operations of which nobody could say.
    unknown: BTreeSet<u64>,
    /// Operations that were said not to be in.
    refused: BTreeSet<u64>,
}

/// Adds one to the counter, with a marker and an event of its own. The rule does not
/// look for the marker: if the store ran it twice, the counter would show it.
async fn increment(keyspace: &Keyspace, id: u64) -> Result<Result<u64, ()>, StoreError> {
    let rule = |rows: &mut Rows<'_>| -> Result<u64, Stop<()>> {
        let count = number(rows.get(b"count")?) + 1;
        rows.put(&b"count"[..], bytes_of(count));
        rows.put(&b"twin"[..], bytes_of(count));
        rows.append(row(b"event/", count), bytes_of(id));
        rows.put(row(b"marker/", id), bytes_of(count));
        // Some say no in the end, for a reason that depends on what they saw.
        if count % 7 == 3 && id.is_multiple_of(3) {
            return Err(Stop::Refused(()));
        }
        Ok(count)
    };
    keyspace.update(HOT, rule).await?.durable(keyspace).await
}

/// How somebody looks at the counter.
#[derive(Clone, Copy)]
enum Look {
    /// By an update that says no.
    Update,
    Read,
    ReadAhead,
    /// By a glance: what it shows.
    Glance,
    /// By a glance that says no.
    GlanceRefused,
}

impl Look {
    /// Whether nobody may see less after it: a glance may show what is on its way.
    fn counts(self) -> bool {
        !matches!(self, Self::Glance)
    }
}

/// The counter and its twin.
async fn look(keyspace: &Keyspace, how: Look) -> Result<(u64, u64), StoreError> {
    if matches!(how, Look::Update) {
        let refuse = |rows: &mut Rows<'_>| -> Result<(), Stop<(u64, u64)>> {
            // A row that is not at hand must be fetched: what was read before is
            // then from before that, and must not be mixed with it.
            rows.get(b"marker/absent")?;
            let seen = (number(rows.get(b"count")?), number(rows.get(b"twin")?));
            Err(Stop::Refused(seen))
        };
        let refused = keyspace.update(HOT, refuse).await?;
        return Ok(refused.durable(keyspace).await?.unwrap_err());
    }
    let see = |rows: &Rows<'_>| -> Result<(u64, u64), Stop<()>> {
        Ok((number(rows.get(b"count")?), number(rows.get(b"twin")?)))
    };
    if matches!(how, Look::GlanceRefused) {
        let refuse = |rows: &Rows<'_>| -> Result<(), Stop<(u64, u64)>> {
            let seen = (number(rows.get(b"count")?), number(rows.get(b"twin")?));
            Err(Stop::Refused(seen))
        };
        let refused = keyspace.glance(HOT, refuse).await?;
        return Ok(refused.durable(keyspace).await?.unwrap_err());
    }
    let seen = match how {
        Look::Glance => keyspace.glance(HOT, see).await?,
        Look::ReadAhead => keyspace.read_ahead(HOT, see).await?,
        _ => keyspace.read(HOT, see).await?,
    };
    Ok(seen.durable(keyspace).await?.unwrap())
}

async fn callers(keyspaces: &[Keyspace], round: u64, seed: u64, told: &Arc<Mutex<Told>>) {
    let caller = |caller: u64| {
        let keyspace = keyspaces[caller as usize % keyspaces.len()].clone();
        let told = told.clone();
        let mut dice = StdRng::seed_from_u64(seed ^ (caller << 32) ^ round);
        tokio::spawn(async move {
            for turn in 0..INCREMENTS_EACH {
                let id = (round * CALLERS + caller) * INCREMENTS_EACH + turn;
                if dice.random_bool(0.1) {
                    // A caller that goes away: nobody is told, the operation may be in.
                    told.lock().unknown.insert(id);
                    let going = increment(&keyspace, id);
                    let polls = dice.random_range(0..6);
                    give_up_after(polls, going).await;
                    continue;
                }
                if dice.random_bool(0.3) {
                    let told_before = told.lock().greatest;
                    let how = match dice.random_range(0..10) {
                        0..3 => Look::Update,
                        3..5 => Look::Read,
                        5..7 => Look::ReadAhead,
                        7..9 => Look::Glance,
                        _ => Look::GlanceRefused,
                    };
                    if let Ok((count, twin)) = look(&keyspace, how).await {
                        assert_eq!(count, twin, "seed {seed}: one state is seen");
                        assert!(count >= told_before, "seed {seed}: {count} is stale");
                        if how.counts() {
                            let mut told = told.lock();
                            told.greatest = told.greatest.max(count);
                        }
                    }
                }
                let answer = increment(&keyspace, id).await;
                let mut told = told.lock();
                match answer {
                    Ok(Ok(count)) => {
                        told.greatest = told.greatest.max(count);
                        told.acknowledged.insert(id)
                    }
                    Ok(Err(())) => told.refused.insert(id),
                    Err(StoreError::Unavailable(_) | StoreError::Contended { .. }) => {
                        told.refused.insert(id)
                    }
                    Err(StoreError::Ambiguous(_)) => told.unknown.insert(id),
                    Err(error) => panic!("seed {seed}: {error}"),
                };
            }
        })
    };
    let callers: Vec<_> = (0..CALLERS).map(caller).collect();
    for caller in callers {
        caller.await.unwrap();
    }
}

/// Polls a future so often, letting others run in between, and drops it.
async fn give_up_after(polls: u32, future: impl Future + Send) {
    let mut future = Box::pin(future);
    for _ in 0..polls {
        if futures::poll!(future.as_mut()).is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn insist<T, F: Future<Output = Result<T, StoreError>>>(mut call: impl FnMut() -> F) -> T {
    loop {
        match call().await {
            Ok(value) => return value,
            Err(StoreError::Unavailable(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// The counter, the markers' ids, and the events, all of one moment: a commit that was given
/// up before the crash may still come in while one looks.
async fn contents(keyspace: &Keyspace) -> (u64, BTreeSet<u64>, Vec<EventRow>) {
    let mut seen = counted(keyspace).await;
    loop {
        let events = events(keyspace).await;
        let again = counted(keyspace).await;
        if again == seen {
            return (seen.0, seen.1, events);
        }
        seen = again;
    }
}

async fn counted(keyspace: &Keyspace) -> (u64, BTreeSet<u64>) {
    let markers = RowRange::prefix(b"marker/", Direction::Ascending, usize::MAX);
    let look = |rows: &Rows<'_>| -> Result<_, Stop<()>> {
        let ids = rows.range(&markers)?.into_iter();
        let ids = ids.map(|(key, _)| number(Some(key.slice(b"marker/".len()..))));
        Ok((number(rows.get(b"count")?), ids.collect::<BTreeSet<u64>>()))
    };
    let sequenced = insist(|| keyspace.read(HOT, look)).await;
    sequenced.durable(keyspace).await.unwrap().unwrap()
}

async fn events(keyspace: &Keyspace) -> Vec<EventRow> {
    let mut events = Vec::new();
    let mut after = Position(0);
    loop {
        let page = insist(|| keyspace.events(after, 7)).await;
        after = page.next;
        events.extend(page.events);
        if !page.more {
            return events;
        }
    }
}

async fn check(seed: u64, keyspace: &Keyspace, told: &Told) {
    let (count, ids, events) = contents(keyspace).await;
    assert_eq!(
        count,
        ids.len() as u64,
        "seed {seed}: one increment a marker"
    );
    let lost: Vec<_> = told.acknowledged.difference(&ids).collect();
    assert!(
        lost.is_empty(),
        "seed {seed}: acknowledged and lost: {lost:?}"
    );
    let ghosts: Vec<_> = told.refused.intersection(&ids).collect();
    assert!(ghosts.is_empty(), "seed {seed}: refused and in: {ghosts:?}");
    assert_eq!(
        events.len() as u64,
        count,
        "seed {seed}: one event an increment"
    );
    for (event, number) in events.iter().zip(1..) {
        assert_eq!(event.key, row(b"event/", number), "seed {seed}: no gap");
    }
}

fn store(engine: &Arc<Simulated>, instance: u64, combined_max: u64) -> Store {
    let mut options = StoreOptions::new(instance);
    options.spawner = Arc::new(TurnSpawner);
    options.operations_per_commit_max = combined_max;
    options.lane_idle_bytes_max = 200;
    options.lane_busy_bytes_max = 300;
    options.conflicts_per_operation_max = 200;
    Store::new(engine.clone(), options)
}

/// Some rounds of callers over two stores, with a crash of the engine (and of all that
/// runs over it) between. Gives what it came to, to compare and to sum up.
fn run(kind: Kind, seed: u64) -> (u64, FaultCounts, StoreCounters, usize) {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
    };
    let mut options = SimulatedOptions::new(kind, seed);
    options.faults = match kind {
        Kind::Replicated => Faults::replicated(),
        Kind::OneLog | Kind::OneLogShared => Faults::one_log(),
    };
    // Few turns and many: what comes first is different then.
    options.faults.delay_turns_max = [1, 4, 40][(seed % 3) as usize];
    let faults = options.faults;
    let mut engine = Arc::new(Simulated::new(options));
    let told = Arc::new(Mutex::new(Told::default()));
    let mut summed = StoreCounters::default();
    for round in 0..3 {
        // A crash takes the tasks of the process along: each round has its own runtime.
        runtime().block_on(async {
            engine.set_faults(faults);
            let combined_max = 1 + seed % 5;
            let mut keyspaces = Vec::new();
            let stores = [0, 1].map(|index| store(&engine, round * 2 + index, combined_max));
            for store in &stores {
                keyspaces.push(insist(|| store.keyspace("faults")).await);
            }
            callers(&keyspaces, round, seed, &told).await;
            for store in &stores {
                let counters = store.counters();
                summed.ambiguous += counters.ambiguous;
                summed.ambiguous_resolved += counters.ambiguous_resolved;
                summed.commits += counters.commits;
                summed.combined_operations += counters.combined_operations;
                summed.conflicts += counters.conflicts;
            }
        });
        engine = Arc::new(engine.crash());
        runtime().block_on(async {
            engine.set_faults(Faults::default());
            let store = store(&engine, 99, 1);
            let keyspace = insist(|| store.keyspace("faults")).await;
            let so_far = told.lock().clone();
            check(seed, &keyspace, &so_far).await;
        });
    }
    let unknown = told.lock().unknown.len();
    (engine.fingerprint(), engine.fault_counts(), summed, unknown)
}

fn seeds(kind: Kind, seeds: std::ops::Range<u64>) -> (FaultCounts, StoreCounters) {
    let mut faults = FaultCounts::default();
    let mut counters = StoreCounters::default();
    for seed in seeds {
        let (_, met, counted, _) = run(kind, seed);
        faults.conflicts += met.conflicts;
        faults.timeouts_before += met.timeouts_before;
        faults.timeouts_after += met.timeouts_after;
        faults.late_arrivals += met.late_arrivals;
        faults.unavailable += met.unavailable;
        faults.torn_tails += met.torn_tails;
        faults.commits_lost += met.commits_lost;
        faults.old_glances += met.old_glances;
        counters.ambiguous += counted.ambiguous;
        counters.ambiguous_resolved += counted.ambiguous_resolved;
        counters.commits += counted.commits;
        counters.combined_operations += counted.combined_operations;
        counters.conflicts += counted.conflicts;
    }
    println!("{kind:?}: {faults:?} {counters:?}");
    (faults, counters)
}

#[test]
fn nothing_acknowledged_is_lost_over_a_network_with_faults() {
    let (faults, counters) = seeds(Kind::Replicated, 0..3_000);
    // The faults were there, or the test shows nothing.
    assert!(faults.timeouts_before > 1_000);
    assert!(faults.timeouts_after > 1_000);
    assert!(faults.late_arrivals > 100);
    assert!(faults.conflicts > 1_000);
    assert!(faults.old_glances > 1_000);
    assert!(
        counters.combined_operations > counters.commits,
        "combining combines"
    );
    // Nearly every ambiguous outcome is found out.
    assert!(counters.ambiguous_resolved * 100 > counters.ambiguous * 95);
}

#[test]
fn nothing_acknowledged_is_lost_behind_one_log_that_crashes() {
    let (faults, _) = seeds(Kind::OneLog, 0..3_000);
    assert!(faults.commits_lost > 100, "crashes took something away");
    assert!(faults.torn_tails > 100);
    assert!(faults.unavailable > 1_000);
}

#[test]
fn nothing_acknowledged_is_lost_combining_over_one_log_that_crashes() {
    let (faults, counters) = seeds(Kind::OneLogShared, 0..3_000);
    assert!(faults.commits_lost > 100, "crashes took something away");
    assert!(
        counters.combined_operations > counters.commits,
        "combining combines"
    );
}

#[test]
fn a_run_repeats_from_its_seed() {
    for kind in [Kind::OneLog, Kind::OneLogShared, Kind::Replicated] {
        let mut fingerprints = BTreeSet::new();
        for seed in 0..50 {
            let (fingerprint, faults, counters, unknown) = run(kind, seed);
            let again = run(kind, seed);
            assert_eq!(
                again,
                (fingerprint, faults, counters, unknown),
                "seed {seed}"
            );
            fingerprints.insert(fingerprint);
        }
        assert!(fingerprints.len() > 40, "seeds differ");
    }
}
