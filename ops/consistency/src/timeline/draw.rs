//! Rows and lanes.

use super::select::Selection;
use super::{EventRow, Row, RowMark};
use crate::check::Evidence;
use crate::end::Event;
use crate::history::{FaultMark, Record};
use crate::violation::Violation;
use crate::words;

/// Events that are shown before and behind the place in question.
const EVENTS_AROUND: usize = 4;

/// The rows of a selection.
pub fn rows(evidence: &Evidence<'_>, violation: &Violation, selection: &Selection) -> Vec<Row> {
    let records = &evidence.history.records;
    let mut rows = Vec::with_capacity(selection.places.len());
    let mut last = None;
    for place in &selection.places {
        let Some(record) = records.get(*place) else {
            continue;
        };
        let (mark, text, own) = match record {
            Record::Invoked {
                process,
                operation,
                attempt,
                call,
                ..
            } => {
                let again = match attempt {
                    1 => String::new(),
                    attempt => format!(" (attempt {attempt})"),
                };
                let text = format!("{process} → #{operation} {}{again}", words::call(call));
                (
                    RowMark::Invoked,
                    text,
                    violation.operations.contains(operation),
                )
            }
            Record::Completed {
                process,
                operation,
                outcome,
                ..
            } => {
                let outcome = words::outcome(outcome, violation.account.as_deref());
                let text = format!("{process} ← #{operation} {outcome}");
                (
                    RowMark::Completed,
                    text,
                    violation.operations.contains(operation),
                )
            }
            Record::Fault { mark, what, .. } => {
                let text = match mark {
                    FaultMark::Begun => format!("fault: {what}"),
                    FaultMark::Healed => format!("healed: {what}"),
                };
                (RowMark::Fault, text, false)
            }
        };
        let left_out = last.map_or(0, |last| {
            let between = |candidate: &&usize| **candidate > last && **candidate < *place;
            selection.candidates.iter().filter(between).count()
        });
        rows.push(Row {
            at_us: record.at_us(),
            lanes: lanes(evidence, selection, *place, record),
            mark,
            text,
            of_violation: own,
            left_out: left_out as u64,
        });
        last = Some(*place);
    }
    rows
}

/// One sign for each lane: what its client is doing at this place, as far as it is about this.
fn lanes(evidence: &Evidence<'_>, selection: &Selection, place: usize, record: &Record) -> String {
    let mut drawn = String::new();
    for lane in &selection.lanes {
        let sign = match record {
            Record::Fault { .. } => "══",
            Record::Invoked { process, .. } if process == lane => " ┌",
            Record::Completed { process, .. } if process == lane => " └",
            _ if is_busy(evidence, selection, place, *lane) => " │",
            _ => " ·",
        };
        let before = if matches!(record, Record::Fault { .. }) {
            "═"
        } else {
            " "
        };
        drawn.push_str(before);
        drawn.push_str(sign);
    }
    drawn
}

fn is_busy(evidence: &Evidence<'_>, selection: &Selection, place: usize, lane: u32) -> bool {
    let own = evidence
        .operations
        .iter()
        .filter(|operation| operation.process == lane);
    own.flat_map(|operation| &operation.attempts)
        .any(|attempt| {
            let ended = attempt
                .completed
                .map_or(usize::MAX, |completed| completed.place);
            attempt.invoked < place
                && place < ended
                && selection.candidates.binary_search(&attempt.invoked).is_ok()
        })
}

/// The account's events around the one that the violation is about.
pub fn events(evidence: &Evidence<'_>, violation: &Violation) -> Vec<EventRow> {
    let line = violation
        .account
        .as_deref()
        .and_then(|account| evidence.lines.get(account));
    let Some(line) = line else {
        return Vec::new();
    };
    let own = |event: &Event| {
        let operation = event
            .entry
            .as_deref()
            .and_then(|entry| evidence.operations.entry(entry));
        Some(event.number) == violation.event_number
            || operation.is_some_and(|operation| violation.operations.contains(&operation.number))
    };
    let events = &line.end.events;
    let center = violation
        .event_number
        .and_then(|number| events.iter().position(|event| event.number == number))
        .or_else(|| events.iter().position(own))
        .unwrap_or(events.len());
    let from = center.saturating_sub(EVENTS_AROUND);
    let to = events.len().min(center + EVENTS_AROUND + 1);
    let around = from..to;
    events
        .iter()
        .enumerate()
        .filter(|(index, event)| around.contains(index) || own(event))
        .map(|(index, event)| EventRow {
            number: event.number,
            booked_us: event
                .booked_us
                .saturating_sub(evidence.history.header.began_us),
            text: text(evidence, event),
            balances: line.text(index + 1),
            of_violation: own(event),
        })
        .collect()
}

fn text(evidence: &Evidence<'_>, event: &Event) -> String {
    let of = event.entry.as_deref().map_or(String::new(), |entry| {
        match evidence.operations.entry(entry) {
            Some(operation) => format!(" #{} …{}", operation.number, words::short(entry)),
            None => format!(" …{}", words::short(entry)),
        }
    });
    let moved = event
        .postings
        .iter()
        .map(|moved| {
            format!(
                "{} {:+} {}",
                moved.address, moved.amount_minor, moved.currency
            )
        })
        .collect::<Vec<_>>()
        .join(", ");
    format!("{}{of}  {moved}", event.name)
}
