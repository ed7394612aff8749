//! Holds: what is captured and given back is what was held, once.

use super::{Checked, Evidence, Line};
use crate::HELD;
use crate::end::{Event, EventKind, Hold};
use crate::history::Call;
use crate::violation::{Violation, ViolationKind};
use crate::words::short;

/// Checks each hold from its events, and against what the ledger says of it at the end.
pub fn check(evidence: &Evidence<'_>, checked: &mut Checked, violations: &mut Vec<Violation>) {
    for (account, line) in &evidence.lines {
        for hold in &line.end.holds {
            checked.holds += 1;
            if let Err((event, expected, seen)) = one(evidence, line, hold) {
                violations.push(violation(evidence, account, hold, event, expected, seen));
            }
        }
        let nobodys = line
            .open_holds(line.last())
            .find(|(id, _)| !line.end.holds.iter().any(|hold| hold.id == *id));
        if let Some((id, remaining)) = nobodys {
            violations.push(Violation {
                kind: ViolationKind::HoldWrong,
                place: evidence.at_the_end(),
                account: Some((*account).to_owned()),
                event_number: None,
                operations: operations(evidence, id),
                expected: format!("a hold …{} of which {remaining} remains", short(id)),
                seen: "no such hold in the list".to_owned(),
            });
        }
        held(evidence, account, line, violations);
    }
}

type Wrong<'e> = (Option<&'e Event>, String, String);

fn one<'e>(evidence: &Evidence<'_>, line: &Line<'e>, hold: &Hold) -> Result<(), Wrong<'e>> {
    let mut remaining = 0_i64;
    let (mut captured, mut released) = (0_i64, 0_i64);
    let mut ended: Option<&Event> = None;
    let own = line
        .end
        .events
        .iter()
        .filter(|event| event.hold.as_deref() == Some(&hold.id));
    for event in own {
        if let Some(end) = ended {
            return Err((
                Some(event),
                format!("nothing of it behind event {}", end.number),
                format!("event {}", event.number),
            ));
        }
        let moved: i64 = event
            .postings
            .iter()
            .filter(|moved| moved.address == HELD)
            .map(|moved| moved.amount_minor)
            .sum();
        remaining = remaining.saturating_add(moved);
        if remaining < 0 {
            return Err((
                Some(event),
                format!("at most {} taken from it", hold.amount_minor),
                format!("{} more", -remaining),
            ));
        }
        let call = event
            .entry
            .as_deref()
            .and_then(|entry| evidence.operations.entry(entry))
            .map(|operation| operation.call);
        match (event.kind, call) {
            (EventKind::Expired, _) => released -= moved,
            (_, Some(Call::PlaceHold { .. })) => {}
            (_, Some(Call::CaptureHold { amount_minor, .. })) => {
                captured += amount_minor;
                released += -moved - amount_minor;
            }
            (_, Some(Call::ReleaseHold { .. })) => released -= moved,
            // Told as invented.
            _ => return Ok(()),
        }
        if remaining == 0 {
            ended = Some(event);
        }
    }
    let told = (
        hold.captured_minor,
        hold.released_minor,
        hold.remaining_minor,
    );
    if told != (captured, released, remaining) || hold.open != (remaining > 0) {
        return Err((
            ended,
            format!("captured {captured}, released {released}, remaining {remaining}"),
            format!(
                "captured {}, released {}, remaining {}, {}",
                told.0,
                told.1,
                told.2,
                if hold.open { "open" } else { "closed" }
            ),
        ));
    }
    Ok(())
}

/// What waits at the held address is what remains of holds.
fn held(evidence: &Evidence<'_>, account: &str, line: &Line<'_>, violations: &mut Vec<Violation>) {
    let remaining: i64 = line.open_holds(line.last()).map(|(_, left)| left).sum();
    let held: i64 = line
        .end
        .balances
        .iter()
        .filter(|balance| balance.address == HELD)
        .map(|balance| balance.balance_minor)
        .sum();
    if remaining != held {
        violations.push(Violation {
            kind: ViolationKind::HoldWrong,
            place: evidence.at_the_end(),
            account: Some(account.to_owned()),
            event_number: None,
            operations: Vec::new(),
            expected: format!("{HELD} {remaining}, as its holds say"),
            seen: held.to_string(),
        });
    }
}

fn violation(
    evidence: &Evidence<'_>,
    account: &str,
    hold: &Hold,
    event: Option<&Event>,
    expected: String,
    seen: String,
) -> Violation {
    let by = event
        .and_then(|event| event.entry.as_deref())
        .and_then(|entry| evidence.operations.entry(entry));
    let mut operations = operations(evidence, &hold.id);
    operations.extend(by.map(|operation| operation.number));
    operations.dedup();
    Violation {
        kind: ViolationKind::HoldWrong,
        place: by
            .and_then(|operation| operation.acknowledged())
            .map_or(evidence.at_the_end(), |(completed, _)| completed.place),
        account: Some(account.to_owned()),
        event_number: event.map(|event| event.number),
        operations,
        expected: format!("hold …{}: {expected}", short(&hold.id)),
        seen,
    }
}

fn operations(evidence: &Evidence<'_>, hold: &str) -> Vec<u64> {
    let placed = evidence.operations.entry(hold);
    placed
        .map(|operation| operation.number)
        .into_iter()
        .collect()
}
