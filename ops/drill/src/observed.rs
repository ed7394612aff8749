//! What clients were answered, phase by phase.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use lombard_service::Host;
use parking_lot::Mutex;
use serde::Serialize;

use crate::judge::{Verdict, Wrong, WrongKind};
use crate::report::{AnswerCount, Phase};

/// Wrong answers of which it is kept what they said.
const WRONG_KEPT_MAX: usize = 50;

/// What a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// The balance of an account.
    Read,
    /// An entry.
    Entry,
    /// An entry of which nobody knew whether it is in.
    EntryInDoubt,
    /// An entry that was acknowledged, sent again.
    EntryAgain,
    /// To open an account that is open.
    OpenAgain,
    /// To open an account that is open, with other content.
    OpenOtherwise,
    /// The balance of an account that never was.
    ReadAbsent,
}

impl Operation {
    /// As people read it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Read => "read a balance",
            Self::Entry => "post an entry",
            Self::EntryInDoubt => "send an entry in doubt again",
            Self::EntryAgain => "send an acknowledged entry again",
            Self::OpenAgain => "open an open account again",
            Self::OpenOtherwise => "open it with other content",
            Self::ReadAbsent => "read an account that never was",
        }
    }
}

/// What answers are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Worth {
    /// They tell what is so.
    Right,
    /// They tell that there is none now.
    Refused,
    /// They did not come, or tell that nobody knows.
    Unanswered,
    /// They tell what is not so.
    Wrong,
}

impl Worth {
    fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Right => Self::Right,
            Verdict::Refused => Self::Refused,
            Verdict::Unanswered => Self::Unanswered,
            Verdict::Wrong(_) => Self::Wrong,
        }
    }
}

/// How an answer came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// To what.
    pub operation: Operation,
    /// The code of the field; `ok`.
    pub code: &'static str,
    /// The reason in SCREAMING_SNAKE; empty with `ok`.
    pub reason: String,
    /// What a person was told; empty with `ok`.
    pub message: String,
    /// What it is worth.
    pub verdict: Verdict,
    /// How long it took.
    pub took_us: u64,
}

/// Counts answers.
#[derive(Debug)]
pub struct Observed {
    host: Host,
    tally: Mutex<Tally>,
}

#[derive(Debug)]
struct Tally {
    phases: Vec<Counted>,
    wrong: Vec<Wrong>,
    wrong_by_kind: BTreeMap<WrongKind, u64>,
    last_right_us: u64,
}

#[derive(Debug)]
struct Counted {
    name: String,
    began_us: u64,
    ended_us: Option<u64>,
    right: u64,
    refused: u64,
    unanswered: u64,
    wrong: u64,
    took: Histogram<u64>,
    longest_pause_us: u64,
    answers: BTreeMap<(Operation, Worth, &'static str, String), (u64, String)>,
}

impl Counted {
    fn new(name: &str, began_us: u64) -> Option<Self> {
        Some(Self {
            name: name.to_owned(),
            began_us,
            ended_us: None,
            right: 0,
            refused: 0,
            unanswered: 0,
            wrong: 0,
            took: Histogram::new(3).ok()?,
            longest_pause_us: 0,
            answers: BTreeMap::new(),
        })
    }
}

/// How it stands in the phase that is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// Right answers.
    pub right: u64,
    /// Refusals.
    pub refused: u64,
    /// Calls without an answer.
    pub unanswered: u64,
    /// Wrong answers, in all phases.
    pub wrong: u64,
}

impl Observed {
    /// Nothing yet. The first phase begins with [`Observed::phase`].
    pub fn new(host: &Host) -> Self {
        Self {
            host: host.clone(),
            tally: Mutex::new(Tally {
                phases: Vec::new(),
                wrong: Vec::new(),
                wrong_by_kind: BTreeMap::new(),
                last_right_us: host.monotonic_us(),
            }),
        }
    }

    /// A phase begins; the one before ends.
    pub fn phase(&self, name: &str) {
        let now_us = self.host.monotonic_us();
        let mut tally = self.tally.lock();
        tally.end_phase(now_us);
        if tally.phases.is_empty() {
            // Nobody asked for anything before.
            tally.last_right_us = now_us;
        }
        tally.phases.extend(Counted::new(name, now_us));
    }

    /// The last phase ends; what is answered behind it is not counted.
    pub fn end(&self) {
        let now_us = self.host.monotonic_us();
        self.tally.lock().end_phase(now_us);
    }

    /// The number of the phase that is now, from 0.
    pub fn phase_now(&self) -> usize {
        self.tally.lock().phases.len().saturating_sub(1)
    }

    /// Counts an answer in the phase that is now.
    pub fn count(&self, answer: Answer) {
        let now_us = self.host.monotonic_us();
        self.tally.lock().count(answer, now_us);
    }

    /// How it stands.
    pub fn now(&self) -> Now {
        let tally = self.tally.lock();
        let wrong = tally.wrong_by_kind.values().sum();
        tally.phases.last().map_or(Now::default(), |phase| Now {
            right: phase.right,
            refused: phase.refused,
            unanswered: phase.unanswered,
            wrong,
        })
    }

    /// How many wrong answers of this kind there were.
    pub fn wrong_of(&self, kind: WrongKind) -> u64 {
        let tally = self.tally.lock();
        tally.wrong_by_kind.get(&kind).copied().unwrap_or(0)
    }

    /// The first wrong answers.
    pub fn wrong(&self) -> Vec<Wrong> {
        self.tally.lock().wrong.clone()
    }

    /// All phases, as they are reported.
    pub fn phases(&self) -> Vec<Phase> {
        let now_us = self.host.monotonic_us();
        let tally = self.tally.lock();
        tally
            .phases
            .iter()
            .map(|phase| phase.report(now_us))
            .collect()
    }
}

impl Tally {
    fn end_phase(&mut self, now_us: u64) {
        let waited_us = now_us.saturating_sub(self.last_right_us);
        if let Some(phase) = self.phases.last_mut()
            && phase.ended_us.is_none()
        {
            phase.ended_us = Some(now_us);
            // A pause that has not ended belongs to the phase nevertheless.
            let of_phase = waited_us.min(now_us.saturating_sub(phase.began_us));
            phase.longest_pause_us = phase.longest_pause_us.max(of_phase);
        }
    }

    fn count(&mut self, answer: Answer, now_us: u64) {
        let Some(phase) = self
            .phases
            .last_mut()
            .filter(|phase| phase.ended_us.is_none())
        else {
            return;
        };
        // It grows by itself; only a time that no clock has would not fit.
        let _fits = phase.took.record(answer.took_us);
        match &answer.verdict {
            Verdict::Right => {
                phase.right += 1;
                let waited_us = now_us.saturating_sub(self.last_right_us);
                phase.longest_pause_us = phase.longest_pause_us.max(waited_us);
                self.last_right_us = now_us;
            }
            Verdict::Refused => phase.refused += 1,
            Verdict::Unanswered => phase.unanswered += 1,
            Verdict::Wrong(wrong) => {
                phase.wrong += 1;
                *self.wrong_by_kind.entry(wrong.kind).or_default() += 1;
                if self.wrong.len() < WRONG_KEPT_MAX {
                    self.wrong.push(wrong.clone());
                }
            }
        }
        let worth = Worth::of(&answer.verdict);
        let key = (answer.operation, worth, answer.code, answer.reason);
        let (count, _) = phase
            .answers
            .entry(key)
            .or_insert_with(|| (0, answer.message));
        *count += 1;
    }
}

impl Counted {
    fn report(&self, now_us: u64) -> Phase {
        let ended_us = self.ended_us.unwrap_or(now_us);
        let ms = |us: u64| us as f64 / 1e3;
        let calls = self.right + self.refused + self.unanswered + self.wrong;
        let failed = self.refused + self.unanswered + self.wrong;
        Phase {
            name: self.name.clone(),
            seconds: ended_us.saturating_sub(self.began_us) as f64 / 1e6,
            calls,
            right: self.right,
            refused: self.refused,
            unanswered: self.unanswered,
            wrong: self.wrong,
            error_rate: if calls == 0 {
                0.0
            } else {
                failed as f64 / calls as f64
            },
            p50_ms: ms(self.took.value_at_quantile(0.5)),
            p99_ms: ms(self.took.value_at_quantile(0.99)),
            max_ms: ms(self.took.max()),
            longest_pause_ms: ms(self.longest_pause_us),
            answers: self
                .answers
                .iter()
                .map(
                    |((operation, worth, code, reason), (count, message))| AnswerCount {
                        operation: *operation,
                        worth: *worth,
                        code: (*code).to_owned(),
                        reason: reason.clone(),
                        count: *count,
                        example: message.clone(),
                    },
                )
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::judge;

    fn answer(verdict: Verdict) -> Answer {
        let (code, reason) = match &verdict {
            Verdict::Right => ("ok", ""),
            _ => ("unavailable", "STORE_UNAVAILABLE"),
        };
        Answer {
            operation: Operation::Read,
            code,
            reason: reason.to_owned(),
            message: "said".to_owned(),
            verdict,
            took_us: 3_000_000,
        }
    }

    #[test]
    fn answers_are_counted_in_their_phase_by_code_and_reason() {
        let (host, clock) = Host::simulated(1, 0);
        let observed = Observed::new(&host);
        // Before the first phase nothing is counted.
        observed.count(answer(Verdict::Right));
        observed.phase("before");
        clock.advance(Duration::from_secs(1));
        observed.count(answer(Verdict::Right));
        observed.count(answer(Verdict::Right));
        observed.phase("during");
        clock.advance(Duration::from_secs(3));
        observed.count(answer(Verdict::Refused));
        observed.count(answer(Verdict::Unanswered));
        observed.count(answer(judge::wrong(WrongKind::NotFound, "gone")));
        observed.count(answer(Verdict::Right));
        clock.advance(Duration::from_secs(5));
        observed.end();
        observed.count(answer(Verdict::Right));

        let [before, during] = &observed.phases()[..] else {
            panic!("two phases")
        };
        assert_eq!((before.right, before.calls), (2, 2));
        assert_eq!(before.error_rate, 0.0);
        assert_eq!(before.longest_pause_ms, 1_000.0);
        assert_eq!(
            (
                during.right,
                during.refused,
                during.unanswered,
                during.wrong
            ),
            (1, 1, 1, 1)
        );
        assert_eq!(during.error_rate, 0.75);
        // Longer than the three seconds before the only right answer.
        assert_eq!(during.longest_pause_ms, 5_000.0);
        assert_eq!(during.seconds, 8.0);
        for took_ms in [during.p50_ms, during.p99_ms, during.max_ms] {
            assert!((took_ms / 3_000.0 - 1.0).abs() < 0.001, "{took_ms}");
        }
        let counts: Vec<(Worth, &str, u64)> = during
            .answers
            .iter()
            .map(|answer| (answer.worth, answer.reason.as_str(), answer.count))
            .collect();
        assert_eq!(
            counts,
            [
                (Worth::Right, "", 1),
                (Worth::Refused, "STORE_UNAVAILABLE", 1),
                (Worth::Unanswered, "STORE_UNAVAILABLE", 1),
                (Worth::Wrong, "STORE_UNAVAILABLE", 1),
            ]
        );
        assert_eq!(observed.wrong_of(WrongKind::NotFound), 1);
        assert_eq!(observed.wrong_of(WrongKind::Balance), 0);
        assert_eq!(observed.wrong()[0].what, "gone");
        assert_eq!(observed.now().wrong, 1);
    }
}
