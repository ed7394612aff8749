//! A batch over a store without one log in this process, where a commit takes a round
//! trip: what need not wait for each other goes out together.
//!
//! Chains are decided and carried in *waves*. A wave of decisions takes, for each home,
//! all its chains that can be tried in one commit; a wave of carrying takes, for each
//! account, all legs that came to it. A thousand accounts in eight thousand entries cost
//! about two commits each, and not two for each entry.
//!
//! The answers are those of the chains one after the other:
//! - at one home they are decided in order;
//! - money that an earlier chain brings is there for a later one: what a floor refuses is
//!   tried again when all that earlier chains bring to that home is in, and refused only
//!   then; those behind it wait;
//! - money that a later chain brings is not: a leg waits until all earlier chains of its
//!   account are decided.
//!
//! Each of these waits for earlier chains only, so the first that is undecided can always
//! go on. A chain whose legs are not its own (captures, reversals), or that must reserve
//! elsewhere, goes alone, when all before it are done.

use std::collections::{BTreeMap, VecDeque};

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use lombard_store::{Rows, Sequenced, Stop, StoreError};
use smol_str::SmolStr;

use super::others::{Entities, Planned, plan_chain};
use super::seen::Seen;
use super::{Answers, Flow, Posted, in_order};
use crate::apply::Carried;
use crate::decide::{self, Decided};
use crate::doubt;
use crate::limits::ENTRIES_PER_BATCH_MAX;
use crate::refusal::Refusal;
use crate::types::{Entry, LegOutcome};

/// Commits and reads of a wave that are under way at once: all of a batch. The engine takes as
/// many as it can ([`lombard_store::Engine::admit`]), and what waits for it is combined with
/// what other batches bring to the same accounts.
const AT_ONCE: usize = ENTRIES_PER_BATCH_MAX;
/// What an entry's rows in one account take, about, in bytes.
const ENTRY_BYTES: usize = 640;
/// Entries that one commit carries, at most.
const ENTRIES_PER_COMMIT_MAX: usize = 1_024;

/// A chain in work.
struct Job<'e> {
    chain: &'e [Entry],
    entities: Vec<Entities>,
    state: State,
}

enum State {
    Undecided,
    /// Each entry, and what came of its legs elsewhere so far.
    Decided(Vec<(Decided, BTreeMap<SmolStr, Vec<LegOutcome>>)>),
    Answered(Answers),
}

/// What is to be done at an account, in the batch's order.
#[derive(Default)]
struct Account {
    /// Chains that are decided here.
    deciding: VecDeque<usize>,
    /// Legs that come here: the chain, and which of its entries.
    arriving: VecDeque<(usize, usize)>,
    /// The first of `deciding` waits for what earlier chains bring.
    waits: bool,
}

/// What one try at a home came to.
enum Tried {
    Decided(Vec<Decided>),
    Refused(usize, Refusal),
    /// A floor refuses it, and there may be more money.
    Waits,
}

impl Flow {
    /// Commits chains with the answers that they would give one after the other.
    ///
    /// # Errors
    /// The store's failure: nobody knows which of them are in.
    pub async fn run_all(
        &self,
        chains: &[Vec<Entry>],
        now_us: impl Fn() -> i64,
    ) -> Result<Sequenced<Vec<Answers>>, StoreError> {
        let mut seen = Seen::default();
        match self.segments(chains, &now_us, &mut seen).await {
            Ok(value) => Ok(Sequenced {
                value,
                position: seen.position,
            }),
            Err(error) => Err(seen.failed(error)),
        }
    }

    async fn segments(
        &self,
        chains: &[Vec<Entry>],
        now_us: &impl Fn() -> i64,
        seen: &mut Seen,
    ) -> Result<Vec<Answers>, StoreError> {
        let others = self.others(chains, seen).await?;
        let mut answers = Vec::with_capacity(chains.len());
        let mut wave: Vec<Job<'_>> = Vec::new();
        for chain in chains {
            let planned = plan_chain(chain, &others);
            if matches!(planned, Planned::Alone) {
                answers.extend(self.waves(std::mem::take(&mut wave), now_us, seen).await?);
                let run = self.run(chain, now_us(), false).await;
                answers.push(run.map(|run| {
                    seen.changed(run.position);
                    run.value
                })?);
                continue;
            }
            let (entities, state) = match planned {
                Planned::Together(entities) => (entities, State::Undecided),
                Planned::Refused(index, refusal) => {
                    // It may have been decided before, and then that is its answer.
                    let refused = (index, refusal);
                    let first = self.first_answers(chain, refused, now_us(), seen).await?;
                    (Vec::new(), State::Answered(first))
                }
                Planned::Alone => continue,
            };
            wave.push(Job {
                chain,
                entities,
                state,
            });
        }
        answers.extend(self.waves(wave, now_us, seen).await?);
        Ok(answers)
    }

    async fn waves(
        &self,
        mut jobs: Vec<Job<'_>>,
        now_us: &impl Fn() -> i64,
        seen: &mut Seen,
    ) -> Result<Vec<Answers>, StoreError> {
        let mut accounts: BTreeMap<SmolStr, Account> = BTreeMap::new();
        for (index, job) in jobs.iter().enumerate() {
            if let (State::Undecided, Some(first)) = (&job.state, job.chain.first()) {
                let home = accounts.entry(first.home.clone()).or_default();
                home.deciding.push_back(index);
                for (place, entities) in job.entities.iter().enumerate() {
                    for (account, _) in entities {
                        let other = accounts.entry(account.clone()).or_default();
                        other.arriving.push_back((index, place));
                    }
                }
            }
        }
        loop {
            let decided = self
                .decide_wave(&mut jobs, &mut accounts, now_us, seen)
                .await?;
            let carried = self
                .carry_wave(&mut jobs, &mut accounts, now_us, seen)
                .await?;
            if !decided && !carried {
                break;
            }
        }
        jobs.into_iter().map(Job::answers).collect()
    }

    /// Decides what can be tried. Whether anything was.
    async fn decide_wave<'e>(
        &self,
        jobs: &mut [Job<'e>],
        accounts: &mut BTreeMap<SmolStr, Account>,
        now_us: &impl Fn() -> i64,
        seen: &mut Seen,
    ) -> Result<bool, StoreError> {
        let most = self.entries_per_commit();
        let mut steps = Vec::new();
        for (home, account) in accounts.iter_mut() {
            let first = account.deciding.front().copied();
            let brought = account
                .arriving
                .front()
                .map_or(usize::MAX, |(index, _)| *index);
            if first.is_none_or(|first| account.waits && brought < first) {
                continue;
            }
            let mut entries = 0;
            let tries: Vec<(usize, bool)> = account
                .deciding
                .iter()
                .take_while(|index| {
                    entries += jobs.get(**index).map_or(0, |job| job.chain.len());
                    entries <= most || **index == first.unwrap_or_default()
                })
                .map(|index| (*index, brought > *index))
                .collect();
            steps.push((home.clone(), tries));
        }
        let any = !steps.is_empty();
        let done: Vec<_> = {
            let (jobs, now_us) = (&*jobs, now_us());
            let decide = |(home, tries): (SmolStr, Vec<(usize, bool)>)| {
                async move {
                    let mut seen = Seen::default();
                    let tried = self
                        .decide_at(&home, jobs, &tries, now_us, &mut seen)
                        .await?;
                    Ok((home, tries, tried, seen))
                }
                .boxed()
            };
            at_once(steps.into_iter().map(decide).collect()).await?
        };
        let mut refused = Vec::new();
        for (home, tries, tried, saw) in done {
            seen.merge(saw);
            for ((index, _), tried) in tries.into_iter().zip(tried) {
                let Some(job) = jobs.get_mut(index) else {
                    continue;
                };
                let account = accounts.entry(home.clone()).or_default();
                account.waits = matches!(tried, Tried::Waits);
                if account.waits {
                    break;
                }
                account.deciding.pop_front();
                match tried {
                    Tried::Decided(decided) => {
                        let decided = decided.into_iter().map(|one| (one, BTreeMap::new()));
                        job.state = State::Decided(decided.collect());
                    }
                    Tried::Refused(place, refusal) => {
                        refused.push((index, job.chain, (place, refusal)));
                        // What would have come elsewhere does not.
                        for (other, _) in job.entities.iter().flatten() {
                            if let Some(other) = accounts.get_mut(other) {
                                other.arriving.retain(|(of, _)| *of != index);
                            }
                        }
                    }
                    Tried::Waits => {}
                }
            }
        }
        let now_us = now_us();
        let first = |(index, chain, refused): (usize, &'e [Entry], (usize, Refusal))| {
            async move {
                let mut seen = Seen::default();
                let first = self
                    .first_answers(chain, refused, now_us, &mut seen)
                    .await?;
                Ok((index, first, seen))
            }
            .boxed()
        };
        for (index, first, saw) in at_once(refused.into_iter().map(first).collect()).await? {
            seen.merge(saw);
            if let Some(job) = jobs.get_mut(index) {
                job.state = State::Answered(first);
            }
        }
        Ok(any)
    }

    /// One commit at a home. What follows a chain that waits is not tried.
    async fn decide_at(
        &self,
        home: &str,
        jobs: &[Job<'_>],
        tries: &[(usize, bool)],
        now_us: i64,
        seen: &mut Seen,
    ) -> Result<Vec<Tried>, StoreError> {
        let done = self.change(home, seen, |rows| {
            if self.keyspace.is_remote() {
                let tried = tries.iter().filter_map(|(index, _)| jobs.get(*index));
                let entries = tried.flat_map(|job| job.chain);
                doubt::entries(rows, entries.map(|entry| entry.id))?;
            }
            let mut tried = Vec::with_capacity(tries.len());
            for (index, last) in tries {
                let Some(job) = jobs.get(*index) else { break };
                let before = rows.savepoint();
                match decide_chain(rows, job, now_us) {
                    Ok(decided) => tried.push(Tried::Decided(decided)),
                    Err((_, Stop::Fault(fault))) => return Err(Stop::Fault(fault)),
                    Err((place, Stop::Refused(refusal))) => {
                        rows.roll_back(before);
                        if matches!(refusal, Refusal::FloorBroken { .. }) && !last {
                            tried.push(Tried::Waits);
                            break;
                        }
                        tried.push(Tried::Refused(place, refusal));
                    }
                }
            }
            Ok::<_, Stop<Refusal>>(tried)
        });
        done.await?.map_err(|refusal| super::never(&refusal))
    }

    /// Carries what is decided to where it may go. Whether anything was.
    async fn carry_wave(
        &self,
        jobs: &mut [Job<'_>],
        accounts: &mut BTreeMap<SmolStr, Account>,
        now_us: &impl Fn() -> i64,
        seen: &mut Seen,
    ) -> Result<bool, StoreError> {
        let most = self.entries_per_commit();
        let mut steps = Vec::new();
        for (name, account) in accounts.iter_mut() {
            let undecided = account.deciding.front().copied().unwrap_or(usize::MAX);
            let mut ready = Vec::new();
            account.arriving.retain(|(index, place)| {
                let decided = jobs
                    .get(*index)
                    .is_some_and(|job| matches!(job.state, State::Decided(_)));
                let goes = decided && *index < undecided && ready.len() < most;
                if goes {
                    ready.push((*index, *place));
                }
                !goes
            });
            if !ready.is_empty() {
                steps.push((name.clone(), ready));
            }
        }
        let any = !steps.is_empty();
        let done: Vec<_> = {
            let (jobs, now_us) = (&*jobs, now_us());
            let carry = |(account, ready): (SmolStr, Vec<(usize, usize)>)| {
                async move {
                    let mut seen = Seen::default();
                    let carried: Vec<Carried<'_>> = ready
                        .iter()
                        .filter_map(|(index, place)| jobs.get(*index)?.carried(*place, now_us))
                        .collect();
                    let outcomes = self.apply_all(&account, &carried, &mut seen).await?;
                    Ok((account, ready, outcomes, seen))
                }
                .boxed()
            };
            at_once(steps.into_iter().map(carry).collect()).await?
        };
        for (account, ready, outcomes, saw) in done {
            seen.merge(saw);
            for ((index, place), outcomes) in ready.into_iter().zip(outcomes) {
                if let Some(State::Decided(entries)) = jobs.get_mut(index).map(|job| &mut job.state)
                    && let Some((_, elsewhere)) = entries.get_mut(place)
                {
                    elsewhere.insert(account.clone(), outcomes);
                }
            }
        }
        Ok(any)
    }

    fn entries_per_commit(&self) -> usize {
        (self.keyspace.combined_bytes_max() / ENTRY_BYTES).clamp(1, ENTRIES_PER_COMMIT_MAX)
    }
}

impl Job<'_> {
    fn carried(&self, place: usize, now_us: i64) -> Option<Carried<'_>> {
        let State::Decided(entries) = &self.state else {
            return None;
        };
        let (entry, (decided, _)) = self.chain.get(place).zip(entries.get(place))?;
        Some(Carried {
            id: entry.id,
            digest: decided.digest,
            home: &entry.home,
            decided_us: decided.booked_us,
            value_day: decided.value_day,
            reference: &entry.reference,
            actor: &entry.actor,
            legs: &decided.legs,
            now_us,
        })
    }

    fn answers(self) -> Result<Answers, StoreError> {
        let entries = match self.state {
            State::Answered(answers) => return Ok(answers),
            State::Decided(entries) => entries,
            State::Undecided => {
                return Err(StoreError::Closed(
                    "a chain of the batch was left undecided".into(),
                ));
            }
        };
        let posted = |(entry, (decided, elsewhere)): (&Entry, (Decided, BTreeMap<_, Vec<_>>))| {
            let mut outcomes = decided.outcomes;
            outcomes.extend(elsewhere.into_values().flatten());
            Ok(Posted {
                id: entry.id,
                home: entry.home.clone(),
                booked_us: decided.booked_us,
                value_day: decided.value_day,
                legs: in_order(&decided.legs, outcomes),
                replayed: decided.replayed,
                hold: decided.hold,
            })
        };
        Ok(self.chain.iter().zip(entries).map(posted).collect())
    }
}

/// What all of them come to, in any order.
pub(super) async fn at_once<T>(
    all: Vec<BoxFuture<'_, Result<T, StoreError>>>,
) -> Result<Vec<T>, StoreError> {
    stream::iter(all)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

fn decide_chain(
    rows: &mut Rows<'_>,
    job: &Job<'_>,
    now_us: i64,
) -> Result<Vec<Decided>, (usize, Stop<Refusal>)> {
    let mut decided = Vec::with_capacity(job.chain.len());
    for (place, (entry, entities)) in job.chain.iter().zip(&job.entities).enumerate() {
        let one = decide::decide(rows, entry, &entry.legs, entities, now_us);
        decided.push(one.map_err(|stop| (place, stop))?);
    }
    Ok(decided)
}
