//! Reads: each has a place in its account's order that agrees with time.

use std::collections::BTreeMap;

use super::{CLOCK_SKEW_US, Checked, Evidence, Line, Moment};
use crate::end::EventKind;
use crate::history::{Answer, Balance, Balances, Call, FloorSeen, OpenHold, Outcome, Record};
use crate::violation::{Violation, ViolationKind};
use crate::words;
use crate::{HELD, MAIN};

/// What a read of an account must show: so many events, because of that operation.
#[derive(Debug, Clone, Copy)]
struct Known {
    prefix: usize,
    operation: u64,
}

/// By account.
type Knowledge<'a> = BTreeMap<&'a str, Known>;

/// An attempt that has not completed yet: when it left, and what was known then.
struct Begun<'a> {
    at_us: u64,
    known: Knowledge<'a>,
}

/// A read, and between which places and times it was made.
#[derive(Clone, Copy)]
struct Read<'a> {
    operation: u64,
    account: &'a str,
    line: &'a Line<'a>,
    known: Option<Known>,
    /// Nothing behind this prefix had been sent when the read ended …
    last: usize,
    /// … but this operation.
    next: Option<u64>,
    place: usize,
    moment: Moment,
    balances: &'a [Balance],
    holds: Option<&'a [OpenHold]>,
}

impl Read<'_> {
    fn lowest(&self) -> usize {
        self.known.map_or(0, |known| known.prefix)
    }
}

/// The prefix that a read is given, or what is wrong with it.
type Placed = Result<usize, Box<Violation>>;

/// Walks through the history in its order and gives every read its place.
pub fn check(evidence: &Evidence<'_>, checked: &mut Checked, violations: &mut Vec<Violation>) {
    let sent: BTreeMap<&str, Sent> = evidence
        .lines
        .iter()
        .map(|(account, line)| (*account, Sent::new(evidence, line)))
        .collect();
    let calls = |operation: u64| {
        let found = evidence.operations.by_number.get(&operation);
        found.map(|operation| operation.call)
    };
    let mut known = Knowledge::new();
    let mut begun: BTreeMap<(u64, u32), Begun<'_>> = BTreeMap::new();
    for (place, record) in evidence.history.records.iter().enumerate() {
        match record {
            Record::Invoked {
                at_us,
                operation,
                attempt,
                ..
            } => {
                let begin = Begun {
                    at_us: *at_us,
                    known: known.clone(),
                };
                begun.insert((*operation, *attempt), begin);
            }
            Record::Completed {
                at_us,
                operation,
                attempt,
                outcome,
                ..
            } => {
                let Some(begin) = begun.remove(&(*operation, *attempt)) else {
                    continue;
                };
                let read = |account: &'_ str, balances, holds| {
                    let (account, line) = evidence.lines.get_key_value(account)?;
                    let (last, next) = sent
                        .get(account)
                        .map_or((line.last(), None), |sent| sent.before(place, line));
                    let wall = |at_us: u64| {
                        let at_us = i64::try_from(at_us).unwrap_or(i64::MAX);
                        evidence.history.header.began_us.saturating_add(at_us)
                    };
                    Some(Read {
                        operation: *operation,
                        account,
                        line,
                        known: begin.known.get(account).copied(),
                        last,
                        next,
                        place,
                        moment: Moment {
                            from_us: Some(wall(begin.at_us) - CLOCK_SKEW_US),
                            to_us: wall(*at_us) + CLOCK_SKEW_US,
                        },
                        balances,
                        holds,
                    })
                };
                let mut learn = |account: &str, found: Placed| match found {
                    Ok(prefix) => {
                        if let Some((account, _)) = evidence.lines.get_key_value(account) {
                            learn(&mut known, account, prefix, *operation);
                        }
                    }
                    Err(violation) => violations.push(*violation),
                };
                match (outcome, calls(*operation)) {
                    (
                        Outcome::Ok {
                            answer: Answer::Balances(answer),
                        },
                        Some(Call::Balances { account }),
                    ) => {
                        checked.reads += 1;
                        let read = read(account, &answer.balances, answer.holds.as_deref());
                        if let Some(read) = read {
                            learn(account, now(&read, answer));
                        }
                    }
                    (
                        Outcome::Ok {
                            answer: Answer::Balances(answer),
                        },
                        Some(Call::BalancesAsOf { account, booked_us }),
                    ) => {
                        checked.reads_as_of += 1;
                        if let Some(read) = read(account, &answer.balances, None) {
                            learn(account, as_of(&read, answer, *booked_us));
                        }
                    }
                    (
                        Outcome::Ok {
                            answer: Answer::TrialBalance { accounts },
                        },
                        _,
                    ) => {
                        for line in accounts {
                            checked.trial_balance_lines += 1;
                            if let Some(read) = read(&line.account, &line.balances, None) {
                                learn(&line.account, unnumbered(&read));
                            }
                        }
                    }
                    (
                        Outcome::Ok {
                            answer: Answer::Posted(_),
                        },
                        Some(call),
                    ) => {
                        for (account, line) in &evidence.lines {
                            if let Some(prefix) = posted_at(line, call.entry_id()) {
                                learn(account, Ok(prefix));
                            }
                        }
                    }
                    (
                        Outcome::Refused {
                            floor: Some(floor), ..
                        },
                        _,
                    ) => {
                        checked.refusals += 1;
                        if let Some(read) = read(&floor.account, &[], None) {
                            violations.extend(refusal(&read, floor).map(|found| *found));
                        }
                    }
                    _ => {}
                }
            }
            Record::Fault { .. } => {}
        }
    }
}

fn learn<'a>(known: &mut Knowledge<'a>, account: &'a str, prefix: usize, operation: u64) {
    let entry = known.entry(account).or_insert(Known { prefix, operation });
    if prefix > entry.prefix {
        *entry = Known { prefix, operation };
    }
}

/// The prefix that ends with an entry's own event.
fn posted_at(line: &Line<'_>, entry: Option<&str>) -> Option<usize> {
    // Acknowledged entries are near the end of what is known: looked for from there.
    let at =
        line.end.events.iter().rposition(|event| {
            event.kind == EventKind::Posted && event.entry.as_deref() == entry
        })?;
    Some(at + 1)
}

/// When the events of an account were sent.
struct Sent {
    /// By the place of their invocation: the first event of all that was sent there or later.
    firsts: Vec<(usize, usize, u64)>,
}

impl Sent {
    fn new(evidence: &Evidence<'_>, line: &Line<'_>) -> Self {
        let mut firsts: Vec<(usize, usize, u64)> = line
            .caused()
            .filter_map(|(prefix, _, entry)| {
                let operation = evidence.operations.entry(entry)?;
                Some((operation.invoked(), prefix, operation.number))
            })
            .collect();
        firsts.sort_unstable();
        let mut first = (usize::MAX, 0);
        for (_, prefix, operation) in firsts.iter_mut().rev() {
            if *prefix < first.0 {
                first = (*prefix, *operation);
            }
            (*prefix, *operation) = first;
        }
        Self { firsts }
    }

    /// The last prefix without an event that was sent behind this place, and what comes next.
    fn before(&self, place: usize, line: &Line<'_>) -> (usize, Option<u64>) {
        let behind = self
            .firsts
            .partition_point(|(invoked, _, _)| *invoked <= place);
        match self.firsts.get(behind) {
            Some((_, prefix, operation)) => (prefix - 1, Some(*operation)),
            None => (line.last(), None),
        }
    }
}

/// A read of the present, which names its event.
fn now(read: &Read<'_>, answer: &Balances) -> Placed {
    below_floor(read)?;
    let named = usize::try_from(answer.event_number).unwrap_or(usize::MAX);
    // Its event may be the end of a hold that is not booked yet.
    let most = read
        .line
        .due(named.min(read.line.last()), read.moment.to_us);
    let place = (0..=most.len().max(1)).find_map(|expired| {
        let prefix = named.checked_sub(expired)?;
        let shows = read
            .line
            .shows(prefix, expired, read.moment, read.balances, read.holds);
        shows.then_some(prefix)
    });
    match place {
        Some(prefix) => timely(read, prefix, read.lowest(), read.last),
        None => Err(impossible(read, Some(answer.event_number))),
    }
}

/// A read as of a booked moment: what was booked by then, or less if the read itself
/// was made before all of it had happened.
fn as_of(read: &Read<'_>, answer: &Balances, booked_us: i64) -> Placed {
    below_floor(read)?;
    let by_then = read.line.booked_at(booked_us);
    let named = usize::try_from(answer.event_number).unwrap_or(usize::MAX);
    let moment = Moment {
        from_us: None,
        to_us: read.moment.to_us.min(booked_us),
    };
    let most = read.line.due(named.min(read.line.last()), moment.to_us);
    let place = (0..=most.len().max(1)).find_map(|expired| {
        let prefix = named.checked_sub(expired)?;
        let shows = read
            .line
            .shows(prefix, expired, moment, read.balances, None);
        shows.then_some(prefix)
    });
    match place {
        Some(prefix) => timely(
            read,
            prefix,
            read.lowest().min(by_then),
            read.last.min(by_then),
        ),
        None => Err(impossible(read, Some(answer.event_number))),
    }
}

/// A line of a trial balance: it names no event, so the first that fits is taken.
fn unnumbered(read: &Read<'_>) -> Placed {
    below_floor(read)?;
    let shows = |prefix: usize| {
        let most = read.line.due(prefix, read.moment.to_us).len();
        (0..=most).any(|expired| {
            read.line
                .shows(prefix, expired, read.moment, read.balances, None)
        })
    };
    if let Some(prefix) = (read.lowest()..=read.last).find(|prefix| shows(*prefix)) {
        return Ok(prefix);
    }
    let before = (0..read.lowest()).rev().find(|prefix| shows(*prefix));
    let behind = || (read.last + 1..=read.line.last()).find(|prefix| shows(*prefix));
    match before.or_else(behind) {
        Some(prefix) => timely(read, prefix, read.lowest(), read.last),
        None => Err(impossible(read, None)),
    }
}

/// A refusal names a balance: one that was there while the call was on its way.
fn refusal(read: &Read<'_>, floor: &FloorSeen) -> Option<Box<Violation>> {
    let terms = read.line.floor(&floor.address, &floor.currency);
    let breaks = terms == Some(floor.minimum_minor)
        && floor
            .balance_minor
            .checked_sub(floor.asked_minor)
            .is_none_or(|after| after < floor.minimum_minor);
    let there = |prefix: usize| {
        let mut balance = read.line.balance(prefix, &floor.address, &floor.currency);
        if balance == floor.balance_minor {
            return true;
        }
        // Holds that are over give back one behind the other, before events tell of it.
        let due = read.line.due(prefix, read.moment.to_us);
        due.iter()
            .filter(|due| due.currency == floor.currency)
            .any(|due| {
                match floor.address.as_str() {
                    MAIN => balance += due.remaining_minor,
                    HELD => balance -= due.remaining_minor,
                    _ => {}
                }
                balance == floor.balance_minor
            })
    };
    if breaks && (read.lowest()..=read.last).any(there) {
        return None;
    }
    let earlier = (0..read.lowest()).rev().find(|prefix| there(*prefix));
    let expected = if breaks {
        format!(
            "a balance that {} had between {} and {}",
            floor.address,
            event(read.lowest()),
            event(read.last)
        )
    } else {
        format!("to be accepted: the floor is {terms:?}")
    };
    let seen = match earlier {
        Some(prefix) => format!("{}, as it was after {}", floor.balance_minor, event(prefix)),
        None => floor.balance_minor.to_string(),
    };
    Some(violation(
        read,
        ViolationKind::RefusalWrong,
        earlier,
        read.known,
        expected,
        seen,
    ))
}

/// Whether a place agrees with time.
fn timely(read: &Read<'_>, prefix: usize, low: usize, high: usize) -> Placed {
    if prefix < low {
        let expected = format!(
            "{} or later, known since operation {} ended: {}",
            event(low),
            read.known.map_or(0, |known| known.operation),
            read.line.text(low)
        );
        return Err(violation(
            read,
            ViolationKind::ReadStale,
            Some(prefix),
            read.known,
            expected,
            format!("{}: {}", event(prefix), read.line.text(prefix)),
        ));
    }
    if prefix > high {
        let next = read.next.map(|operation| Known {
            prefix: high,
            operation,
        });
        return Err(violation(
            read,
            ViolationKind::ReadAhead,
            Some(prefix),
            next,
            format!("{} at most: {}", event(high), read.line.text(high)),
            format!("{}: {}", event(prefix), read.line.text(prefix)),
        ));
    }
    Ok(prefix)
}

fn below_floor(read: &Read<'_>) -> Result<(), Box<Violation>> {
    let low = read.balances.iter().find_map(|balance| {
        let floor = read.line.floor(&balance.address, &balance.currency)?;
        (balance.balance_minor < floor).then_some((balance, floor))
    });
    match low {
        None => Ok(()),
        Some((balance, floor)) => Err(violation(
            read,
            ViolationKind::FloorBroken,
            None,
            None,
            format!("{} at least {floor} {}", balance.address, balance.currency),
            balance.balance_minor.to_string(),
        )),
    }
}

fn impossible(read: &Read<'_>, named: Option<u64>) -> Box<Violation> {
    let like = read
        .line
        .shown_at_or_before(read.line.last(), read.moment, read.balances);
    let expected = match named {
        Some(number) => {
            let at = usize::try_from(number).unwrap_or(usize::MAX);
            if at > read.line.last() {
                format!(
                    "event {} at most: there are no others at the end",
                    read.line.last()
                )
            } else {
                format!("event {number}: {}", read.line.text(at))
            }
        }
        None => format!(
            "the account as it was between {} and {}",
            event(read.lowest()),
            event(read.last)
        ),
    };
    let seen = format!(
        "{}{}",
        words::balances(read.balances.iter()),
        match like {
            Some(prefix) => format!(", as it was after {}", event(prefix)),
            None => ", as it never was".to_owned(),
        }
    );
    let at = named.and_then(|number| usize::try_from(number).ok());
    violation(
        read,
        ViolationKind::ReadImpossible,
        at.or(like),
        None,
        expected,
        seen,
    )
}

fn event(prefix: usize) -> String {
    format!("event {prefix}")
}

fn violation(
    read: &Read<'_>,
    kind: ViolationKind,
    prefix: Option<usize>,
    because: Option<Known>,
    expected: String,
    seen: String,
) -> Box<Violation> {
    let mut operations: Vec<u64> = because.map(|known| known.operation).into_iter().collect();
    operations.push(read.operation);
    Box::new(Violation {
        kind,
        place: read.place,
        account: Some(read.account.to_owned()),
        event_number: prefix.map(|prefix| prefix as u64),
        operations,
        expected,
        seen,
    })
}
