//! What is read before home decides: what forbids a leg elsewhere, and who must reserve.

use std::borrow::Cow;

use lombard_store::{Rows, Stop, StoreError};
use smallvec::SmallVec;
use smol_str::SmolStr;

use super::Flow;
use super::seen::Seen;
use crate::book::Book;
use crate::hold;
use crate::refusal::Refusal;
use crate::reversal::{self, Mirrored};
use crate::stamps::Stamps;
use crate::state::State;
use crate::terms::Terms;
use crate::types::{Entry, EntryId, HoldStep, Leg, SUSPENSE_ADDRESS, other_accounts};

/// What is known of an entry before home decides.
pub(super) struct Plan<'a> {
    pub entry: &'a Entry,
    pub legs: Cow<'a, [Leg]>,
    /// Each other account and its legal entity, in key order.
    pub entities: SmallVec<[(SmolStr, SmolStr); 1]>,
    /// The other accounts that must reserve, in key order.
    pub reserving: Vec<SmolStr>,
}

impl Flow {
    /// Reads what forbids a leg elsewhere, before home decides.
    pub(super) async fn plan<'a>(
        &self,
        entry: &'a Entry,
        (now_us, dry_run): (i64, bool),
        stamps: &Stamps,
        seen: &mut Seen,
    ) -> Result<Result<Plan<'a>, Refusal>, StoreError> {
        let legs = match (&entry.reverses, &entry.hold) {
            (Some(reverses), _) => {
                if !dry_run {
                    // Where its legs went is known once all of them are carried.
                    let carried = self.resume(&entry.home, reverses.entry, now_us).await?;
                    seen.read(carried);
                }
                match self.mirrored(&entry.home, reverses.entry, seen).await? {
                    Ok(legs) => Cow::Owned(legs),
                    Err(refusal) => return Ok(Err(refusal)),
                }
            }
            (None, Some(HoldStep::Capture { .. })) => {
                let legs = self.look(&entry.home, seen, |rows| {
                    let book = Book::require(rows, &entry.home)?;
                    hold::legs(rows, &book, entry)
                });
                match legs.await? {
                    Ok(legs) => Cow::Owned(legs),
                    Err(refusal) => return Ok(Err(refusal)),
                }
            }
            _ => Cow::Borrowed(entry.legs.as_slice()),
        };
        let mut plan = Plan {
            entry,
            entities: SmallVec::new(),
            reserving: Vec::new(),
            legs,
        };
        let legs = &plan.legs;
        for account in other_accounts(&entry.home, legs) {
            let checked = self.glance(account, stamps, seen, |rows| {
                let book = look(rows, account)?;
                let reserves = check(book.terms(), &book.state, account, legs);
                Ok((
                    book.terms().entity.clone(),
                    reserves.map_err(Stop::Refused)?,
                ))
            });
            match checked.await? {
                Ok((entity, reserves)) => {
                    plan.entities.push((account.into(), entity));
                    if reserves {
                        plan.reserving.push(account.into());
                    }
                }
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        if !plan.reserving.is_empty() {
            // A refusal may have to be written there: it must exist.
            let home = self.look(&entry.home, seen, |rows| {
                Book::require(rows, &entry.home).map(|_| ())
            });
            if let Err(refusal) = home.await? {
                return Ok(Err(refusal));
            }
        }
        Ok(Ok(plan))
    }

    /// The legs of an entry's mirror image, each from where the entry's own went: an
    /// account that could not take its legs does not give them back, suspense does.
    async fn mirrored(
        &self,
        home: &str,
        entry: EntryId,
        seen: &mut Seen,
    ) -> Result<Result<Vec<Leg>, Refusal>, StoreError> {
        let mirrored = self.look(home, seen, |rows| reversal::mirrored(rows, home, entry));
        let Mirrored { mut legs, digest } = match mirrored.await? {
            Ok(mirrored) => mirrored,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let others = other_accounts(home, &legs).into_iter().map(SmolStr::from);
        for account in others.collect::<Vec<_>>() {
            let diverted = self.look(&account, seen, |rows| {
                Ok(reversal::diverted_to(rows, home, entry, digest)?)
            });
            let suspense = match diverted.await? {
                Ok(Some(suspense)) => suspense,
                Ok(None) => continue,
                Err(refusal) => return Ok(Err(refusal)),
            };
            for leg in legs.iter_mut().filter(|leg| leg.account == account) {
                leg.account = suspense.as_str().into();
                leg.address = SUSPENSE_ADDRESS.into();
            }
        }
        Ok(Ok(legs))
    }
}

/// Another account than home, as it was looked at before.
pub(super) struct Other {
    terms: Terms,
    state: State,
}

/// Looks at another account than home.
///
/// # Errors
/// [`Refusal::AccountNotFound`]; a fault of the store.
pub(super) fn other(rows: &Rows<'_>, account: &str) -> Result<Other, Stop<Refusal>> {
    let book = look(rows, account)?;
    Ok(Other {
        terms: book.terms().clone(),
        state: book.state.clone(),
    })
}

impl Other {
    /// What forbids its legs, and whether it must reserve.
    pub(super) fn check(&self, account: &str, legs: &[Leg]) -> Result<bool, Refusal> {
        check(&self.terms, &self.state, account, legs)
    }

    /// Its legal entity.
    pub(super) fn entity(&self) -> SmolStr {
        self.terms.entity.clone()
    }
}

fn look<'r>(rows: &'r Rows<'_>, account: &str) -> Result<Cow<'r, Book>, Stop<Refusal>> {
    Book::look(rows)?.ok_or_else(|| {
        Stop::Refused(Refusal::AccountNotFound {
            account: account.to_owned(),
        })
    })
}

fn check(terms: &Terms, state: &State, account: &str, legs: &[Leg]) -> Result<bool, Refusal> {
    let reserves = check_other(terms, account, legs)?;
    check_range(terms, state, account, legs)?;
    Ok(reserves)
}

/// What forbids a leg of another account than home, and whether it must reserve.
fn check_other(terms: &Terms, account: &str, legs: &[Leg]) -> Result<bool, Refusal> {
    if terms.closed {
        return Err(Refusal::Closed {
            account: account.to_owned(),
        });
    }
    let mut reserves = false;
    for leg in legs.iter().filter(|leg| leg.account == account) {
        let index = terms
            .address(&leg.address, leg.currency.code())
            .ok_or_else(|| Refusal::AddressNotFound {
                account: account.to_owned(),
                address: leg.address.to_string(),
                currency: leg.currency.code().to_owned(),
            })?;
        let debits = leg.amount_minor < 0;
        if (debits && terms.debits_frozen) || (!debits && terms.credits_frozen) {
            return Err(Refusal::Frozen {
                account: account.to_owned(),
                debits,
            });
        }
        reserves |= debits && terms.floor(index).is_some();
    }
    Ok(reserves)
}

/// Refuses what would take a balance of another account than home out of 64 bits.
/// What others move there before the leg is applied is not known yet: should that
/// fill it, the decided leg goes to suspense, as wherever it can no longer be applied.
fn check_range(terms: &Terms, state: &State, account: &str, legs: &[Leg]) -> Result<(), Refusal> {
    let mut moved: SmallVec<[(usize, i64); 2]> = SmallVec::new();
    for leg in legs.iter().filter(|leg| leg.account == account) {
        let Some(index) = terms.address(&leg.address, leg.currency.code()) else {
            continue;
        };
        let earlier = moved.iter().rfind(|(place, _)| *place == index);
        let before = earlier.map_or_else(
            || state.balances.get(index).copied().unwrap_or(0),
            |(_, after)| *after,
        );
        let Some(after) = before.checked_add(leg.amount_minor) else {
            return Err(Refusal::Overflow {
                account: account.to_owned(),
                address: leg.address.to_string(),
            });
        };
        moved.push((index, after));
    }
    Ok(())
}
