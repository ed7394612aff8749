//! The witness in itself: numbers, running balances, floors, totals.

use std::collections::BTreeMap;

use super::{Evidence, Line};
use crate::end::Event;
use crate::history::Balance;
use crate::violation::{Violation, ViolationKind};

/// Checks every account's events, and all of them together.
pub fn check(evidence: &Evidence<'_>, violations: &mut Vec<Violation>) {
    let mut totals: BTreeMap<&str, i128> = BTreeMap::new();
    for (account, line) in &evidence.lines {
        let found = |kind, event: Option<&Event>, expected: String, seen: String| {
            let operation = event
                .and_then(|event| event.entry.as_deref())
                .and_then(|entry| evidence.operations.entry(entry));
            Violation {
                kind,
                place: operation.map_or(evidence.at_the_end(), |operation| {
                    operation
                        .acknowledged()
                        .map_or(operation.invoked(), |(completed, _)| completed.place)
                }),
                account: Some((*account).to_owned()),
                event_number: event.map(|event| event.number),
                operations: operation
                    .map(|operation| operation.number)
                    .into_iter()
                    .collect(),
                expected,
                seen,
            }
        };
        numbers(line, &found, violations);
        running(line, &found, violations);
        floors(line, &found, violations);
        listed(line, &found, violations);
        for balance in &line.end.balances {
            *totals.entry(&balance.currency).or_default() += i128::from(balance.balance_minor);
        }
    }
    for (currency, total) in totals {
        if total != 0 {
            violations.push(Violation {
                kind: ViolationKind::TotalWrong,
                place: evidence.at_the_end(),
                account: None,
                event_number: None,
                operations: Vec::new(),
                expected: format!("0 {currency} over all accounts"),
                seen: format!("{total} {currency}"),
            });
        }
    }
}

/// How a violation of an account is made.
type Found<'f> = &'f dyn Fn(ViolationKind, Option<&Event>, String, String) -> Violation;

fn numbers(line: &Line<'_>, found: Found<'_>, violations: &mut Vec<Violation>) {
    let mut last_us = i64::MIN;
    for (index, event) in line.end.events.iter().enumerate() {
        let expected = index as u64 + 1;
        if event.number != expected {
            violations.push(found(
                ViolationKind::OrderWrong,
                Some(event),
                format!("event {expected}"),
                format!("event {}", event.number),
            ));
            return;
        }
        if event.booked_us <= last_us {
            violations.push(found(
                ViolationKind::OrderWrong,
                Some(event),
                format!("booked after {last_us}"),
                format!("booked at {}", event.booked_us),
            ));
            return;
        }
        last_us = event.booked_us;
    }
}

/// Running balances follow from amounts; the first that does not is told.
fn running(line: &Line<'_>, found: Found<'_>, violations: &mut Vec<Violation>) {
    let mut balances: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for event in &line.end.events {
        for moved in &event.postings {
            let balance = balances
                .entry((&moved.address, &moved.currency))
                .or_default();
            *balance = balance.saturating_add(moved.amount_minor);
            if *balance != moved.balance_minor {
                violations.push(found(
                    ViolationKind::BalanceWrong,
                    Some(event),
                    format!("{} {balance} {}", moved.address, moved.currency),
                    format!(
                        "{} {} {} behind a posting of {}",
                        moved.address, moved.balance_minor, moved.currency, moved.amount_minor
                    ),
                ));
                return;
            }
        }
        let wrong = event.balances.iter().find(|said| {
            let there = balances.get(&(said.address.as_str(), said.currency.as_str()));
            there.copied().unwrap_or(0) != said.balance_minor
        });
        if let Some(said) = wrong {
            violations.push(found(
                ViolationKind::BalanceWrong,
                Some(event),
                "the sum of the postings".to_owned(),
                text(said),
            ));
            return;
        }
    }
    let wrong = line.end.balances.iter().find(|said| {
        line.balance(line.last(), &said.address, &said.currency) != said.balance_minor
    });
    if let Some(said) = wrong {
        violations.push(found(
            ViolationKind::BalanceWrong,
            line.end.events.last(),
            format!("at the end, {}", line.text(line.last())),
            text(said),
        ));
    }
}

fn floors(line: &Line<'_>, found: Found<'_>, violations: &mut Vec<Violation>) {
    for (index, event) in line.end.events.iter().enumerate() {
        // Legs of one event may cross; where it ends counts, and only what lowers can break a floor.
        let broken = event.postings.iter().find_map(|moved| {
            let floor = line.floor(&moved.address, &moved.currency)?;
            let before = line.balance(index, &moved.address, &moved.currency);
            let after = line.balance(index + 1, &moved.address, &moved.currency);
            (after < floor && after < before).then_some((moved, floor, after))
        });
        if let Some((moved, floor, after)) = broken {
            violations.push(found(
                ViolationKind::FloorBroken,
                Some(event),
                format!(
                    "{} at least {floor} {} after event {}",
                    moved.address, moved.currency, event.number
                ),
                format!("{after}"),
            ));
            return;
        }
    }
}

/// The postings that are listed are those of the events.
fn listed(line: &Line<'_>, found: Found<'_>, violations: &mut Vec<Violation>) {
    let of_events = line
        .end
        .events
        .iter()
        .flat_map(|event| event.postings.iter().map(move |moved| (event, moved)));
    let mut listed = line.end.postings.iter();
    for (event, moved) in of_events {
        let next = listed.next();
        if next.is_none_or(|posting| {
            posting.event_number != event.number
                || posting.booked_us != event.booked_us
                || posting.moved != *moved
                || Some(&posting.entry) != event.entry.as_ref()
        }) {
            violations.push(found(
                ViolationKind::BalanceWrong,
                Some(event),
                format!(
                    "a posting of {} on {} with event {}",
                    moved.amount_minor, moved.address, event.number
                ),
                next.map_or("the end of the postings".to_owned(), |posting| {
                    format!(
                        "a posting of {} on {} with event {}",
                        posting.moved.amount_minor, posting.moved.address, posting.event_number
                    )
                }),
            ));
            return;
        }
    }
    if let Some(posting) = listed.next() {
        violations.push(found(
            ViolationKind::BalanceWrong,
            None,
            format!("no posting behind event {}", line.last()),
            format!(
                "a posting of {} with event {}",
                posting.moved.amount_minor, posting.event_number
            ),
        ));
    }
}

fn text(balance: &Balance) -> String {
    format!(
        "{} {} {}",
        balance.address, balance.balance_minor, balance.currency
    )
}
