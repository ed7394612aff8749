//! Entries: each acknowledged one is there once and whole, no other is there that
//! nobody asked for, and all stand in an order that agrees with time.

mod asked;

use std::collections::BTreeMap;

use self::asked::{Effect, differs};
use super::{Checked, Evidence};
use crate::end::{Event, EventKind};
use crate::history::{LegPosted, Outcome, Posted};
use crate::operations::{Fate, Operation};
use crate::violation::{Violation, ViolationKind};
use crate::words;

/// What the ledger has of one entry.
#[derive(Debug, Default)]
struct Found<'e> {
    /// The events by which its legs came in, account by account.
    posted: BTreeMap<&'e str, Vec<&'e Event>>,
    /// Other events of it: what was reserved and given back.
    beside: Vec<(&'e str, &'e Event)>,
    /// What it moved in all, where that is not zero.
    effect: Effect<'e>,
}

type FoundById<'e> = BTreeMap<&'e str, Found<'e>>;

/// Checks every operation that makes an entry, and every entry that is there.
pub fn check(evidence: &Evidence<'_>, checked: &mut Checked, violations: &mut Vec<Violation>) {
    let found = gather(evidence);
    for (id, found) in &found {
        match evidence.operations.entry(id) {
            None => violations.push(invented(evidence, id, found)),
            Some(_) if !found.posted.is_empty() => checked.entries += 1,
            Some(_) => {}
        }
    }
    let nothing = Found::default();
    for operation in evidence.operations.iter() {
        let Some(id) = operation.call.entry_id() else {
            continue;
        };
        let there = found.get(id).unwrap_or(&nothing);
        if operation.fate() == Fate::Unknown && !there.posted.is_empty() {
            checked.unknown_in += 1;
        }
        violations.extend(one(evidence, operation, there, &found));
        violations.extend(answers(evidence, operation, checked));
    }
    order(evidence, violations);
}

fn gather<'a>(evidence: &'a Evidence<'_>) -> FoundById<'a> {
    let mut all = FoundById::new();
    for (account, line) in &evidence.lines {
        for event in &line.end.events {
            let Some(entry) = event.entry.as_deref() else {
                continue;
            };
            if matches!(event.kind, EventKind::Expired | EventKind::Other) {
                continue;
            }
            let found = all.entry(entry).or_default();
            match event.kind {
                EventKind::Posted => found.posted.entry(account).or_default().push(event),
                _ => found.beside.push((account, event)),
            }
            for moved in &event.postings {
                let place = (*account, moved.address.as_str(), moved.currency.as_str());
                *found.effect.entry(place).or_default() += i128::from(moved.amount_minor);
            }
        }
    }
    for found in all.values_mut() {
        found.effect.retain(|_, amount| *amount != 0);
    }
    all
}

fn invented(evidence: &Evidence<'_>, id: &str, found: &Found<'_>) -> Violation {
    let (account, event) = found
        .posted
        .iter()
        .find_map(|(account, events)| Some((*account, *events.first()?)))
        .or_else(|| found.beside.first().copied())
        .unzip();
    Violation {
        kind: ViolationKind::EntryInvented,
        place: evidence.at_the_end(),
        account: account.map(ToOwned::to_owned),
        event_number: event.map(|event| event.number),
        operations: Vec::new(),
        expected: format!("no entry {id}: nobody sent it"),
        seen: event.map_or("it".to_owned(), |event| {
            format!("event {} of it", event.number)
        }),
    }
}

/// What is wrong with one entry, if anything: the gravest.
fn one(
    evidence: &Evidence<'_>,
    operation: &Operation<'_>,
    there: &Found<'_>,
    all: &FoundById<'_>,
) -> Option<Violation> {
    let acknowledged = operation.acknowledged();
    let last_place = operation
        .attempts
        .iter()
        .filter_map(|attempt| attempt.completed)
        .map(|completed| completed.place)
        .max();
    let violation = |kind, account: Option<&str>, event: Option<&Event>, expected, seen| {
        Some(Violation {
            kind,
            place: acknowledged
                .map(|(completed, _)| completed.place)
                .or(last_place)
                .unwrap_or(evidence.at_the_end()),
            account: account.map(ToOwned::to_owned),
            event_number: event.map(|event| event.number),
            operations: vec![operation.number],
            expected,
            seen,
        })
    };
    let named = words::call(operation.call);
    // More than once in one account.
    if let Some((account, events)) = there.posted.iter().find(|(_, events)| events.len() > 1) {
        let numbers: Vec<String> = events
            .iter()
            .map(|event| event.number.to_string())
            .collect();
        return violation(
            ViolationKind::EntryDoubled,
            Some(account),
            events.get(1).copied(),
            format!("{named}: once"),
            format!("events {}", numbers.join(" and ")),
        );
    }
    let first = there
        .posted
        .iter()
        .find_map(|(account, events)| Some((*account, *events.first()?)));
    let fate = operation.fate();
    let Some((account, event)) = first else {
        if fate == Fate::Acknowledged {
            let home = acknowledged.map(|(_, posted)| posted.home.as_str());
            return violation(
                ViolationKind::EntryLost,
                home,
                None,
                format!("{named}: acknowledged, so there"),
                "nothing of it at the end".to_owned(),
            );
        }
        if !there.effect.is_empty() {
            let beside = there.beside.first().copied();
            return violation(
                ViolationKind::EntryInPart,
                beside.map(|(account, _)| account),
                beside.map(|(_, event)| event),
                format!("{named}: not decided, so nothing moved"),
                asked::text(&there.effect),
            );
        }
        return None;
    };
    if matches!(fate, Fate::Refused | Fate::Failed) {
        return violation(
            ViolationKind::RefusedButThere,
            Some(account),
            Some(event),
            format!("{named}: refused or failed each time, so not there"),
            format!("event {}", event.number),
        );
    }
    let touched = asked::accounts(operation.call, |id| {
        all.get(id)
            .map(|found| found.posted.keys().copied().collect())
    });
    if let Some(missing) = touched
        .iter()
        .find(|account| !there.posted.contains_key(*account))
    {
        return violation(
            ViolationKind::EntryInPart,
            Some(missing),
            None,
            format!("{named}: whole"),
            format!("event {} of {account}, and nothing here", event.number),
        );
    }
    let reversed = |id: &str| all.get(id).map(|found| &found.effect);
    if let Some(expected) = differs(operation.call, &there.effect, reversed) {
        return violation(
            ViolationKind::EntryWrong,
            Some(account),
            Some(event),
            expected,
            asked::text(&there.effect),
        );
    }
    None
}

/// What was answered, each time, is what is there; and each time the same.
fn answers(
    evidence: &Evidence<'_>,
    operation: &Operation<'_>,
    checked: &mut Checked,
) -> Option<Violation> {
    let entry = operation.call.entry_id()?;
    let (first_completed, first) = operation.acknowledged()?;
    // What was acknowledged is not refused later.
    let turned_down = operation.attempts.iter().find_map(|attempt| {
        let completed = attempt.completed?;
        let is_refused = matches!(completed.outcome, Outcome::Refused { .. });
        (is_refused && attempt.invoked > first_completed.place).then_some(completed)
    });
    if let Some(completed) = turned_down {
        return Some(Violation {
            kind: ViolationKind::AnswerChanged,
            place: completed.place,
            account: Some(first.home.clone()),
            event_number: None,
            operations: vec![operation.number],
            expected: words::posted(first),
            seen: words::outcome(completed.outcome, None),
        });
    }
    for (completed, posted) in operation.posted() {
        let violation = |kind, account: &str, expected, seen| {
            Some(Violation {
                kind,
                place: completed.place,
                account: Some(account.to_owned()),
                event_number: None,
                operations: vec![operation.number],
                expected,
                seen,
            })
        };
        if completed.place != first_completed.place {
            checked.answers_again += 1;
            let same = |posted: &Posted| Posted {
                replayed: false,
                ..posted.clone()
            };
            if same(posted) != same(first) {
                return violation(
                    ViolationKind::AnswerChanged,
                    &first.home,
                    words::posted(first),
                    words::posted(posted),
                );
            }
        }
        for leg in &posted.legs {
            let line = evidence.lines.get(leg.leg.account.as_str());
            let there = line.is_some_and(|line| is_there(&line.end.events, entry, leg));
            // A lost entry is told as such.
            let any = line.is_some_and(|line| {
                line.end
                    .events
                    .iter()
                    .any(|event| event.entry.as_deref() == Some(entry))
            });
            if any && !there {
                return violation(
                    ViolationKind::EntryWrong,
                    &leg.leg.account,
                    format!(
                        "a posting of {} on {} at {} that leads to {}, as answered",
                        leg.leg.amount_minor, leg.leg.address, leg.booked_us, leg.after_minor
                    ),
                    "no such posting at the end".to_owned(),
                );
            }
        }
    }
    None
}

fn is_there(events: &[Event], entry: &str, leg: &LegPosted) -> bool {
    events
        .iter()
        .filter(|event| event.entry.as_deref() == Some(entry) && event.booked_us == leg.booked_us)
        .flat_map(|event| &event.postings)
        .any(|moved| {
            moved.address == leg.leg.address
                && moved.currency == leg.leg.currency
                && moved.amount_minor == leg.leg.amount_minor
                && moved.balance_minor == leg.after_minor
                && leg.before_minor.checked_add(moved.amount_minor) == Some(leg.after_minor)
        })
}

/// In each account, what was acknowledged before something else was sent stands before it.
fn order(evidence: &Evidence<'_>, violations: &mut Vec<Violation>) {
    for (account, line) in &evidence.lines {
        let posted = line
            .end
            .events
            .iter()
            .filter(|event| event.kind == EventKind::Posted)
            .filter_map(|event| {
                let operation = evidence.operations.entry(event.entry.as_deref()?)?;
                Some((event, operation))
            })
            .collect::<Vec<_>>();
        // From the end on: the earliest acknowledgement of all that stands behind.
        let mut earliest: Option<(usize, &Operation<'_>)> = None;
        for (event, operation) in posted.into_iter().rev() {
            if let Some((place, behind)) = earliest
                && place < operation.invoked()
            {
                violations.push(Violation {
                    kind: ViolationKind::OrderAgainstTime,
                    place: operation.invoked(),
                    account: Some((*account).to_owned()),
                    event_number: Some(event.number),
                    operations: vec![behind.number, operation.number],
                    expected: format!(
                        "{} first, since it was acknowledged before {} was sent",
                        words::call(behind.call),
                        words::call(operation.call)
                    ),
                    seen: format!("event {} before it", event.number),
                });
                break;
            }
            if let Some((completed, _)) = operation.acknowledged()
                && earliest.is_none_or(|(place, _)| completed.place < place)
            {
                earliest = Some((completed.place, operation));
            }
        }
    }
}
