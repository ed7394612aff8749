//! How an entry commits over several accounts: reserve where others are
//! lowered to a floor, decide at home in one commit, carry to the rest.
//!
//! Every step is idempotent by marker. A process that dies between them leaves
//! what a retry by the client or the [`crate::coordinator`] finishes.

mod first;
mod others;
mod plan;
mod seen;
mod stamped;
mod waves;

use std::sync::Arc;

use lombard_store::{Keyspace, Position, Sequenced, Stop, StoreError};
use smol_str::SmolStr;

use self::plan::Plan;
use self::seen::Seen;
pub(crate) use self::seen::in_doubt;
pub use self::stamped::Identity;
use crate::apply::{self, Applied, Carried};
use crate::book::Book;
use crate::coordinator::processes::ProcessId;
use crate::decide::{self, Decided};
use crate::doubt;
use crate::refusal::Refusal;
use crate::reserve;
use crate::rows::HoldRow;
use crate::types::{Entry, EntryId, Leg, LegOutcome, SUSPENSE_ADDRESS, other_accounts};

/// An entry that is in: what is answered.
#[derive(Debug, Clone)]
pub struct Posted {
    /// The entry.
    pub id: EntryId,
    /// Who decided.
    pub home: SmolStr,
    /// When home decided.
    pub booked_us: i64,
    /// From which day the money counts.
    pub value_day: i32,
    /// What each leg did, in the order of the decided legs.
    pub legs: Vec<LegOutcome>,
    /// Whether this is the first answer given again.
    pub replayed: bool,
    /// The hold that it placed, captured or released, as it is now.
    pub hold: Option<Box<(EntryId, HoldRow)>>,
}

/// One answer for each entry of a chain.
pub type Answers = Vec<Result<Posted, Refusal>>;

/// Commits entries over a keyspace.
#[derive(Clone)]
pub struct Flow {
    keyspace: Keyspace,
    identity: Arc<Identity>,
}

/// Why a run that must not change anything, or cannot, was given up.
enum Discarded<T> {
    Dry(T),
    Refused(usize, Refusal),
}

impl Flow {
    /// Over the ledger's keyspace, in a process with this id.
    pub fn new(keyspace: Keyspace, process: ProcessId) -> Self {
        Self {
            keyspace,
            identity: Arc::new(Identity::new(process)),
        }
    }

    /// The process's id.
    pub fn process(&self) -> ProcessId {
        self.identity.process
    }

    /// The ledger's keyspace.
    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// Commits one entry, or a linked chain (all or none; all share a home).
    /// Nothing of the answer may be told before its position is durable.
    ///
    /// # Errors
    /// The store's failure; a refusal is an answer.
    pub async fn run(
        &self,
        chain: &[Entry],
        now_us: i64,
        dry_run: bool,
    ) -> Result<Sequenced<Answers>, StoreError> {
        let mut seen = Seen::default();
        match self.answers(chain, now_us, dry_run, &mut seen).await {
            Ok(value) => Ok(Sequenced {
                value,
                position: seen.position,
            }),
            Err(error) => Err(seen.failed(error)),
        }
    }

    async fn answers(
        &self,
        chain: &[Entry],
        now_us: i64,
        dry_run: bool,
        seen: &mut Seen,
    ) -> Result<Answers, StoreError> {
        let mut plans = Vec::with_capacity(chain.len());
        let stamps = self.stamps(seen).await?;
        for (index, entry) in chain.iter().enumerate() {
            match self.plan(entry, (now_us, dry_run), &stamps, seen).await? {
                Ok(plan) => plans.push(plan),
                Err(refusal) => {
                    return self
                        .first_answers(chain, (index, refusal), now_us, seen)
                        .await;
                }
            }
        }
        if let Err(refused) = self.reserve(&plans, now_us, dry_run, seen).await? {
            return self.first_answers(chain, refused, now_us, seen).await;
        }
        match self.decide(&plans, now_us, dry_run, seen).await? {
            Ok(decided) => {
                let mut answers = Vec::with_capacity(chain.len());
                for (entry, decided) in chain.iter().zip(decided) {
                    answers.push(Ok(self
                        .carry(entry, decided, now_us, dry_run, seen)
                        .await?));
                }
                Ok(answers)
            }
            Err(refused) => {
                if !dry_run && plans.iter().any(|plan| !plan.reserving.is_empty()) {
                    self.refuse_for_good(&plans, &refused, now_us, seen).await?;
                }
                self.first_answers(chain, refused, now_us, seen).await
            }
        }
    }

    /// Carries a decided entry to its other accounts again: what is in stays as it is.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn resume(
        &self,
        home: &str,
        id: EntryId,
        now_us: i64,
    ) -> Result<Position, StoreError> {
        let mut seen = Seen::default();
        let found = self.look(home, &mut seen, |rows| {
            let Some(book) = Book::load(rows)? else {
                return Ok(None);
            };
            let Some(row) = decide::load_entry(rows, id)? else {
                return Ok(None);
            };
            match decide::replay(rows, &book, id, &row, None) {
                Ok(decided) => Ok(Some((decided, row.reference, row.actor))),
                Err(Stop::Refused(_)) => Ok(None),
                Err(fault) => Err(fault),
            }
        });
        if let Ok(Some((decided, reference, actor))) = found.await? {
            let carried = Carried {
                id,
                digest: decided.digest,
                home,
                decided_us: decided.booked_us,
                value_day: decided.value_day,
                reference: &reference,
                actor: &actor,
                legs: &decided.legs,
                now_us,
            };
            for account in other_accounts(home, &decided.legs) {
                self.apply(account, &carried, false, &mut seen).await?;
            }
        }
        Ok(seen.position)
    }

    /// Settles a reservation that was found undecided: writes the refusal at
    /// home first, and only then releases. If home accepted, carries instead.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn settle_reservation(
        &self,
        account: &str,
        home: &str,
        id: EntryId,
        digest: &[u8],
        now_us: i64,
    ) -> Result<Position, StoreError> {
        let mut seen = Seen::default();
        let (reason, message) = (
            "RESERVATION_EXPIRED",
            "its reservation was not decided in time",
        );
        let refused = self
            .change(home, &mut seen, |rows| {
                decide::refuse(rows, home, id, digest, reason, message, now_us)
            })
            .await?;
        match refused {
            Ok(Some(_)) => {
                let carried = self.resume(home, id, now_us).await?;
                Ok(seen.position.max(carried))
            }
            Ok(None) => {
                let released = self.change(account, &mut seen, |rows| {
                    reserve::release(rows, account, home, (id, digest), now_us)
                });
                released.await?.map_err(|refusal| never(&refusal))?;
                Ok(seen.position)
            }
            Err(refusal) => Err(never(&refusal)),
        }
    }

    async fn reserve(
        &self,
        plans: &[Plan<'_>],
        now_us: i64,
        dry_run: bool,
        seen: &mut Seen,
    ) -> Result<Result<(), (usize, Refusal)>, StoreError> {
        let mut reserved = false;
        for (index, plan) in plans.iter().enumerate() {
            if plan.reserving.is_empty() {
                continue;
            }
            let digest = plan.entry.digest();
            for account in &plan.reserving {
                let done = self.change(account, seen, |rows| {
                    match reserve::reserve(rows, account, plan.entry, &digest, &plan.legs, now_us) {
                        Ok(()) if dry_run => Err(Stop::Refused(Discarded::Dry(()))),
                        Ok(()) => Ok(()),
                        Err(stop) => Err(discard(index, stop)),
                    }
                });
                match done.await? {
                    Ok(()) => reserved = true,
                    Err(Discarded::Dry(())) => {}
                    Err(Discarded::Refused(index, refusal)) => {
                        let refused = (index, refusal);
                        if reserved {
                            self.refuse_for_good(plans, &refused, now_us, seen).await?;
                        }
                        return Ok(Err(refused));
                    }
                }
            }
        }
        Ok(Ok(()))
    }

    async fn decide(
        &self,
        plans: &[Plan<'_>],
        now_us: i64,
        dry_run: bool,
        seen: &mut Seen,
    ) -> Result<Result<Vec<Decided>, (usize, Refusal)>, StoreError> {
        let Some(first) = plans.first() else {
            return Ok(Ok(Vec::new()));
        };
        let done = self.change(&first.entry.home, seen, |rows| {
            if self.keyspace.is_remote() {
                doubt::entries(rows, plans.iter().map(|plan| plan.entry.id))?;
            }
            let mut decided = Vec::with_capacity(plans.len());
            for (index, plan) in plans.iter().enumerate() {
                match decide::decide(rows, plan.entry, &plan.legs, &plan.entities, now_us) {
                    Ok(one) => decided.push(one),
                    Err(stop) => return Err(discard(index, stop)),
                }
            }
            if dry_run {
                Err(Stop::Refused(Discarded::Dry(decided)))
            } else {
                Ok(decided)
            }
        });
        Ok(match done.await? {
            Ok(decided) | Err(Discarded::Dry(decided)) => Ok(decided),
            Err(Discarded::Refused(index, refusal)) => Err((index, refusal)),
        })
    }

    /// Home says no for good, then what was reserved is given back.
    async fn refuse_for_good(
        &self,
        plans: &[Plan<'_>],
        (_, refusal): &(usize, Refusal),
        now_us: i64,
        seen: &mut Seen,
    ) -> Result<(), StoreError> {
        let (reason, message) = (refusal.reason().to_owned(), refusal.to_string());
        for plan in plans.iter().filter(|plan| !plan.reserving.is_empty()) {
            let (entry, digest) = (plan.entry, plan.entry.digest());
            let refused = self.change(&entry.home, seen, |rows| {
                decide::refuse(
                    rows,
                    &entry.home,
                    entry.id,
                    &digest,
                    &reason,
                    &message,
                    now_us,
                )
            });
            if let Ok(Some(_)) = refused.await? {
                // Another run of the same entry was faster, and home accepted it.
                continue;
            }
            for account in &plan.reserving {
                let released = self.change(account, seen, |rows| {
                    reserve::release(rows, account, &entry.home, (entry.id, &digest), now_us)
                });
                released.await?.map_err(|refusal| never(&refusal))?;
            }
        }
        Ok(())
    }

    async fn carry(
        &self,
        entry: &Entry,
        decided: Decided,
        now_us: i64,
        dry_run: bool,
        seen: &mut Seen,
    ) -> Result<Posted, StoreError> {
        let carried = Carried {
            id: entry.id,
            digest: decided.digest,
            home: &entry.home,
            decided_us: decided.booked_us,
            value_day: decided.value_day,
            reference: &entry.reference,
            actor: &entry.actor,
            legs: &decided.legs,
            now_us,
        };
        let mut outcomes = decided.outcomes;
        for account in other_accounts(&entry.home, &decided.legs) {
            outcomes.extend(self.apply(account, &carried, dry_run, seen).await?);
        }
        Ok(Posted {
            id: entry.id,
            home: entry.home.clone(),
            booked_us: decided.booked_us,
            value_day: decided.value_day,
            legs: in_order(&decided.legs, outcomes),
            replayed: decided.replayed,
            hold: decided.hold,
        })
    }

    async fn apply(
        &self,
        account: &str,
        carried: &Carried<'_>,
        dry_run: bool,
        seen: &mut Seen,
    ) -> Result<Vec<LegOutcome>, StoreError> {
        let done = self.change(account, seen, |rows| {
            if self.keyspace.is_remote() {
                doubt::legs(rows, [carried])?;
            }
            match apply::apply(rows, account, carried) {
                Ok(applied) if dry_run => Err(Stop::Refused(Discarded::Dry(applied))),
                Ok(applied) => Ok(applied),
                Err(stop) => Err(discard(0, stop)),
            }
        });
        match done.await? {
            Ok(applied) => self.settle(account, carried, applied, seen).await,
            Err(Discarded::Dry(Applied::Posted(outcomes))) => Ok(outcomes),
            Err(Discarded::Dry(Applied::Diverted { .. })) => Ok(Vec::new()),
            Err(Discarded::Refused(_, refusal)) => Err(never(&refusal)),
        }
    }

    /// Applies the legs of several entries in one commit, in this order.
    async fn apply_all(
        &self,
        account: &str,
        all: &[Carried<'_>],
        seen: &mut Seen,
    ) -> Result<Vec<Vec<LegOutcome>>, StoreError> {
        let done = self.change(account, seen, |rows| {
            if self.keyspace.is_remote() {
                doubt::legs(rows, all)?;
            }
            let applied = all
                .iter()
                .map(|carried| apply::apply(rows, account, carried));
            applied.collect::<Result<Vec<Applied>, Stop<Refusal>>>()
        });
        let applied = done.await?.map_err(|refusal| never(&refusal))?;
        let mut outcomes = Vec::with_capacity(all.len());
        for (carried, applied) in all.iter().zip(applied) {
            outcomes.push(self.settle(account, carried, applied, seen).await?);
        }
        Ok(outcomes)
    }

    /// What became of an account's legs; what it could not take goes to suspense.
    async fn settle(
        &self,
        account: &str,
        carried: &Carried<'_>,
        applied: Applied,
        seen: &mut Seen,
    ) -> Result<Vec<LegOutcome>, StoreError> {
        let entity = match applied {
            Applied::Posted(outcomes) => return Ok(outcomes),
            Applied::Diverted { entity } => entity,
        };
        let suspense = apply::suspense_account(&entity);
        let taken = self.change(&suspense, seen, |rows| {
            apply::apply_diverted(rows, &suspense, &entity, account, carried)
        });
        taken.await?.map_err(|refusal| never(&refusal))?;
        let own = carried.legs.iter().filter(|leg| leg.account == account);
        Ok(own
            .map(|leg| LegOutcome {
                leg: Leg {
                    account: suspense.as_str().into(),
                    address: SUSPENSE_ADDRESS.into(),
                    ..leg.clone()
                },
                before_minor: 0,
                after_minor: 0,
                booked_us: carried.decided_us,
            })
            .collect())
    }
}

/// Outcomes in the order of the decided legs; diverted ones, which no leg names, at the end.
fn in_order(legs: &[Leg], outcomes: Vec<LegOutcome>) -> Vec<LegOutcome> {
    if legs.len() == outcomes.len()
        && legs
            .iter()
            .zip(&outcomes)
            .all(|(leg, outcome)| *leg == outcome.leg)
    {
        return outcomes;
    }
    let mut rest: Vec<Option<LegOutcome>> = outcomes.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(legs.len());
    for leg in legs {
        let found = rest
            .iter_mut()
            .find(|outcome| outcome.as_ref().is_some_and(|outcome| outcome.leg == *leg));
        ordered.extend(found.and_then(Option::take));
    }
    ordered.extend(rest.into_iter().flatten());
    ordered
}

fn discard<T>(index: usize, stop: Stop<Refusal>) -> Stop<Discarded<T>> {
    match stop {
        Stop::Fault(fault) => Stop::Fault(fault),
        Stop::Refused(refusal) => Stop::Refused(Discarded::Refused(index, refusal)),
    }
}

/// A step that cannot be refused was: the data contradicts itself, and is named.
fn never(refusal: &Refusal) -> StoreError {
    StoreError::Damaged(format!("a decided entry could not be carried: {refusal}"))
}
