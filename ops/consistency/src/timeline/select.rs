//! Which records of a history are shown.

use std::collections::BTreeSet;

use crate::check::Evidence;
use crate::history::{Call, Record};
use crate::violation::Violation;

/// Records of the account that are shown before the violation shows.
const BEFORE_MAX: usize = 14;
/// Records that are shown behind it.
const BEHIND_MAX: usize = 4;
/// Records of the operations that it is about: more attempts than these are left out.
const OWN_MAX: usize = 16;

/// Places of records, and the clients that they are of.
pub struct Selection {
    /// In order.
    pub places: Vec<usize>,
    /// Places that could have been shown, in order.
    pub candidates: Vec<usize>,
    /// In order.
    pub lanes: Vec<u32>,
}

/// What is shown around a violation.
pub fn around(evidence: &Evidence<'_>, violation: &Violation) -> Selection {
    let records = &evidence.history.records;
    let is_own = |operation: &u64| violation.operations.contains(operation);
    let candidates: Vec<usize> = records
        .iter()
        .enumerate()
        .filter(|(_, record)| match record {
            Record::Invoked { operation, .. } | Record::Completed { operation, .. } => {
                is_own(operation) || touches(evidence, *operation, violation.account.as_deref())
            }
            Record::Fault { .. } => false,
        })
        .map(|(place, _)| place)
        .collect();
    let own = candidates.iter().copied().filter(|place| {
        matches!(
            records.get(*place),
            Some(Record::Invoked { operation, .. } | Record::Completed { operation, .. })
                if is_own(operation)
        )
    });
    let mut places: BTreeSet<usize> = own.take(OWN_MAX).collect();
    let at = candidates.partition_point(|place| *place <= violation.place);
    let from = at.saturating_sub(BEFORE_MAX);
    let to = candidates.len().min(at + BEHIND_MAX);
    places.extend(candidates.get(from..to).unwrap_or_default());
    // Faults that begin or end among them.
    let span = places.first().copied().zip(places.last().copied());
    if let Some((first, last)) = span {
        places.extend(records.iter().enumerate().filter_map(|(place, record)| {
            let within = (first..=last).contains(&place);
            (within && matches!(record, Record::Fault { .. })).then_some(place)
        }));
    }
    let lanes: BTreeSet<u32> = places
        .iter()
        .filter_map(|place| match records.get(*place)? {
            Record::Invoked { process, .. } | Record::Completed { process, .. } => Some(*process),
            Record::Fault { .. } => None,
        })
        .collect();
    Selection {
        places: places.into_iter().collect(),
        candidates,
        lanes: lanes.into_iter().collect(),
    }
}

/// Whether an operation is about an account.
fn touches(evidence: &Evidence<'_>, operation: u64, account: Option<&str>) -> bool {
    let Some(account) = account else { return false };
    let Some(operation) = evidence.operations.by_number.get(&operation) else {
        return false;
    };
    match operation.call {
        Call::Entry { legs, .. } => legs.iter().any(|leg| leg.account == account),
        Call::Reversal { .. } => operation
            .posted()
            .any(|(_, posted)| posted.legs.iter().any(|leg| leg.leg.account == account)),
        Call::CaptureHold {
            account: of, to, ..
        } => of == account || to == account,
        Call::PlaceHold { account: of, .. }
        | Call::ReleaseHold { account: of, .. }
        | Call::Balances { account: of }
        | Call::BalancesAsOf { account: of, .. } => of == account,
        Call::TrialBalance => false,
    }
}
