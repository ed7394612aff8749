//! The accounts that a batch touches beside its homes: each is looked at once, before
//! anything is decided.

use std::collections::BTreeMap;

use futures::FutureExt;
use lombard_store::{Rows, Stop, StoreError};
use smallvec::SmallVec;
use smol_str::SmolStr;

use super::Flow;
use super::plan::{self, Other};
use super::seen::Seen;
use super::waves::at_once;
use crate::refusal::Refusal;
use crate::types::{Entry, HoldStep, Leg, other_accounts};

/// Each other account, and its legal entity, of an entry.
pub(super) type Entities = SmallVec<[(SmolStr, SmolStr); 1]>;

impl Flow {
    /// Looks at every account that a chain touches beside its home, once.
    pub(super) async fn others<'e>(
        &self,
        chains: &'e [Vec<Entry>],
        seen: &mut Seen,
    ) -> Result<BTreeMap<&'e str, Other>, StoreError> {
        let mut others: BTreeMap<&str, Other> = BTreeMap::new();
        let mut asked: BTreeMap<&str, Vec<&[Leg]>> = BTreeMap::new();
        for entry in chains.iter().flatten() {
            for account in other_accounts(&entry.home, &entry.legs) {
                asked.entry(account).or_default().push(&entry.legs);
            }
        }
        let stamps = &self.stamps(seen).await?;
        let look = |(account, legs): (&'e str, Vec<&'e [Leg]>)| {
            async move {
                let mut seen = Seen::default();
                let checked = self.glance(account, stamps, &mut seen, |rows| {
                    let other = plan::other(rows, account)?;
                    for legs in &legs {
                        other.check(account, legs).map_err(Stop::Refused)?;
                    }
                    Ok(other)
                });
                let other = match checked.await? {
                    Ok(other) => Ok(other),
                    // Some entries are refused, and that was read; others are not.
                    Err(_) => {
                        let look = |rows: &Rows<'_>| plan::other(rows, account);
                        self.look(account, &mut seen, look).await?
                    }
                };
                Ok((account, other, seen))
            }
            .boxed()
        };
        for (account, other, saw) in at_once(asked.into_iter().map(look).collect()).await? {
            seen.merge(saw);
            if let Ok(other) = other {
                others.insert(account, other);
            }
        }
        Ok(others)
    }
}

/// How a chain can be worked on.
pub(super) enum Planned {
    Together(Vec<Entities>),
    Refused(usize, Refusal),
    Alone,
}

/// What is known of a chain before its home decides.
pub(super) fn plan_chain(chain: &[Entry], others: &BTreeMap<&str, Other>) -> Planned {
    let own = |entry: &Entry| {
        entry.reverses.is_none() && !matches!(entry.hold, Some(HoldStep::Capture { .. }))
    };
    if !chain.iter().all(own) {
        return Planned::Alone;
    }
    let mut all = Vec::with_capacity(chain.len());
    for (index, entry) in chain.iter().enumerate() {
        let mut entities = Entities::new();
        for account in other_accounts(&entry.home, &entry.legs) {
            let checked = match others.get(account) {
                Some(other) => other.check(account, &entry.legs),
                None => Err(Refusal::AccountNotFound {
                    account: account.to_owned(),
                }),
            };
            match checked {
                Ok(true) => return Planned::Alone,
                Ok(false) => {}
                Err(refusal) => return Planned::Refused(index, refusal),
            }
            let entity = others.get(account).map(Other::entity);
            entities.extend(entity.map(|entity| (account.into(), entity)));
        }
        all.push(entities);
    }
    Planned::Together(all)
}
