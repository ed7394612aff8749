//! Operations: the attempts of a history that belong together.

use std::collections::BTreeMap;

use crate::history::{Call, History, Outcome, Posted, Record};

/// A call, and every time that it was sent.
#[derive(Debug, Clone)]
pub struct Operation<'h> {
    /// Its number in the history.
    pub number: u64,
    /// The client.
    pub process: u32,
    /// What was asked, the same in every attempt.
    pub call: &'h Call,
    /// In the order in which they left.
    pub attempts: Vec<Attempt<'h>>,
}

/// One time that it was sent.
#[derive(Debug, Clone)]
pub struct Attempt<'h> {
    /// Its place among the history's records.
    pub invoked: usize,
    /// When.
    pub invoked_us: u64,
    /// The place of its completion, and what it was; none: the run ended before.
    pub completed: Option<Completed<'h>>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
pub struct Completed<'h> {
    /// Its place among the history's records.
    pub place: usize,
    /// When.
    pub at_us: u64,
    /// What came of it.
    pub outcome: &'h Outcome,
}

/// What an operation may have done, by all of its attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// An attempt was acknowledged: it is in, once.
    Acknowledged,
    /// The ledger said no each time, or failed and said that nothing was changed: it is not in.
    Refused,
    /// It failed each time, and each time it was said that nothing was changed: it is not in.
    Failed,
    /// Nobody knows: it is in once, or not at all.
    Unknown,
}

impl<'h> Operation<'h> {
    /// What it may have done. An attempt of which nobody knows may still come in
    /// after a later one was refused: then only the acknowledgement tells.
    pub fn fate(&self) -> Fate {
        let outcomes = || {
            self.attempts
                .iter()
                .map(|attempt| attempt.completed.map(|completed| completed.outcome))
        };
        if outcomes().any(|outcome| matches!(outcome, Some(Outcome::Ok { .. }))) {
            Fate::Acknowledged
        } else if outcomes().any(|outcome| matches!(outcome, None | Some(Outcome::Unknown { .. })))
        {
            Fate::Unknown
        } else if outcomes().any(|outcome| matches!(outcome, Some(Outcome::Refused { .. }))) {
            Fate::Refused
        } else {
            Fate::Failed
        }
    }

    /// Where it first left: nothing of it can have been there before.
    pub fn invoked(&self) -> usize {
        self.attempts.first().map_or(0, |attempt| attempt.invoked)
    }

    /// When it first left.
    pub fn invoked_us(&self) -> u64 {
        self.attempts
            .first()
            .map_or(0, |attempt| attempt.invoked_us)
    }

    /// The first acknowledgement: everything of it must be there from this place on.
    pub fn acknowledged(&self) -> Option<(Completed<'h>, &'h Posted)> {
        self.posted().next()
    }

    /// Every acknowledgement of an entry, in the order in which the attempts left.
    pub fn posted(&self) -> impl Iterator<Item = (Completed<'h>, &'h Posted)> + '_ {
        self.attempts.iter().filter_map(|attempt| {
            let completed = attempt.completed?;
            match completed.outcome {
                Outcome::Ok {
                    answer: crate::history::Answer::Posted(posted),
                } => Some((completed, posted)),
                _ => None,
            }
        })
    }
}

/// The operations of a history, by their numbers.
#[derive(Debug)]
pub struct Operations<'h> {
    /// In order.
    pub by_number: BTreeMap<u64, Operation<'h>>,
    by_entry: BTreeMap<&'h str, u64>,
}

impl<'h> Operations<'h> {
    /// Puts the attempts of a history together. What completes without having
    /// been invoked is left out: a history of ours has none.
    pub fn of(history: &'h History) -> Self {
        let mut by_number: BTreeMap<u64, Operation<'h>> = BTreeMap::new();
        let mut by_entry = BTreeMap::new();
        for (place, record) in history.records.iter().enumerate() {
            match record {
                Record::Invoked {
                    at_us,
                    process,
                    operation,
                    call,
                    ..
                } => {
                    if let Some(entry) = call.entry_id() {
                        by_entry.insert(entry, *operation);
                    }
                    let found = by_number.entry(*operation).or_insert_with(|| Operation {
                        number: *operation,
                        process: *process,
                        call,
                        attempts: Vec::new(),
                    });
                    found.attempts.push(Attempt {
                        invoked: place,
                        invoked_us: *at_us,
                        completed: None,
                    });
                }
                Record::Completed {
                    at_us,
                    operation,
                    attempt,
                    outcome,
                    ..
                } => {
                    let index = (*attempt as usize).wrapping_sub(1);
                    let found = by_number.get_mut(operation);
                    if let Some(attempt) = found.and_then(|found| found.attempts.get_mut(index)) {
                        attempt.completed = Some(Completed {
                            place,
                            at_us: *at_us,
                            outcome,
                        });
                    }
                }
                Record::Fault { .. } => {}
            }
        }
        Self {
            by_number,
            by_entry,
        }
    }

    /// The operation that makes this entry.
    pub fn entry(&self, id: &str) -> Option<&Operation<'h>> {
        self.by_number.get(self.by_entry.get(id)?)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Operation<'h>> {
        self.by_number.values()
    }
}
