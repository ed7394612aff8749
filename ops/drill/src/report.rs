//! What a drill has brought. Its JSON is what programs rely on.

use std::path::PathBuf;

use serde::Serialize;

use crate::bank::{Alert, Audit};
use crate::compare::Compared;
use crate::judge::Wrong;
use crate::observed::{Operation, Worth};

/// What a drill has brought.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Which drill.
    pub drill: &'static str,
    /// Whether everything was as it must be: every one of the verdicts.
    pub ok: bool,
    /// What it ran on, in words.
    pub engine: String,
    /// Accounts of the clients.
    pub accounts: u32,
    /// What tokens, amounts and choices were drawn from.
    pub seed: u64,
    /// All of it.
    pub seconds: f64,
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// What clients were answered, phase by phase.
    pub phases: Vec<Phase>,
    /// The bank's alerts.
    pub alerts: Vec<AlertSeen>,
    /// Milliseconds from the moment at which a new node was first seen to own ranges to
    /// the first alert, where both were.
    pub alert_after_ms: Option<f64>,
    /// Entries that were acknowledged while nodes owned, or came to own, what they did not
    /// have; in the drill of that.
    pub acknowledged_while_wrong: Option<u64>,
    /// What a moment was restored with; in the drills of that.
    pub restored: Option<Restored>,
    /// The first wrong answers.
    pub wrong: Vec<Wrong>,
    /// Everything that was acknowledged, against balances and events at the end.
    pub compared: Compared,
    /// What the bank's own auditor says at the end.
    pub audit: Audit,
    /// What must be, and whether it was.
    pub verdicts: Vec<Must>,
    /// The engine's folder and the bank's, where they were to be kept.
    pub folders: Vec<PathBuf>,
}

/// A restore to a moment, by what clients had been told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The moment, as the engine was told it.
    pub moment: String,
    /// Entries that were acknowledged by then: all are there.
    pub acknowledged_by_then: u64,
    /// Entries that were on their way then: each may be there.
    pub on_their_way: u64,
    /// Entries that were asked for later: none is there.
    pub later: u64,
    /// What was there behind the restore, against that.
    pub compared: Compared,
    /// The auditor's word of it.
    pub audit: Audit,
    /// All sent again with their ids: how many were in.
    pub were_in: u64,
    /// How many got in.
    pub got_in: u64,
}

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// When it began, in seconds since the drill did.
    pub at_s: f64,
    /// How long it took, in seconds.
    pub took_s: f64,
    /// What was done.
    pub what: String,
    /// What was seen.
    pub seen: String,
}

/// What clients were answered in a phase.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phase {
    /// What went on.
    pub name: String,
    /// How long.
    pub seconds: f64,
    /// Calls that ended in it.
    pub calls: u64,
    /// Right answers.
    pub right: u64,
    /// Answers that said that there is none now, and that nothing was done.
    pub refused: u64,
    /// Calls of which nobody knows what came of them.
    pub unanswered: u64,
    /// Wrong answers.
    pub wrong: u64,
    /// Of all calls, 0 to 1, those that did not get a right answer.
    pub error_rate: f64,
    /// Half of the calls took at most so long.
    pub p50_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// All.
    pub max_ms: f64,
    /// The longest time in which no client got a right answer.
    pub longest_pause_ms: f64,
    /// By what was asked, what the answer is worth, its code and reason.
    pub answers: Vec<AnswerCount>,
}

/// How often something was answered so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AnswerCount {
    /// What was asked.
    pub operation: Operation,
    /// What the answer is worth.
    pub worth: Worth,
    /// The code of the field; `ok`.
    pub code: String,
    /// The reason in SCREAMING_SNAKE; empty with `ok`.
    pub reason: String,
    /// How often.
    pub count: u64,
    /// What the first of them told a person; empty with `ok`.
    pub example: String,
}

/// An alert of the bank.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlertSeen {
    /// When, in seconds since the drill began.
    pub at_s: f64,
    /// What it says.
    pub text: String,
}

/// Something that must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Must {
    /// For programs.
    pub id: &'static str,
    /// In words.
    pub must: &'static str,
    /// Whether it was.
    pub ok: bool,
    /// What was seen.
    pub seen: String,
}

impl Must {
    /// Something that must be, whether it was, and what was seen.
    pub fn new(id: &'static str, must: &'static str, ok: bool, seen: impl Into<String>) -> Self {
        Self {
            id,
            must,
            ok,
            seen: seen.into(),
        }
    }
}

/// The phases' sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// Calls.
    pub calls: u64,
    /// Refusals.
    pub refused: u64,
    /// Calls without an answer.
    pub unanswered: u64,
    /// Wrong answers.
    pub wrong: u64,
}

/// The sums of these phases.
pub fn sums(phases: &[Phase]) -> Sums {
    phases.iter().fold(Sums::default(), |sums, phase| Sums {
        calls: sums.calls + phase.calls,
        refused: sums.refused + phase.refused,
        unanswered: sums.unanswered + phase.unanswered,
        wrong: sums.wrong + phase.wrong,
    })
}

/// What all drills must show: nothing wrong was told, and everything is there at the end.
pub fn always(phases: &[Phase], compared: &Compared, audit: &Audit) -> Vec<Must> {
    let sums = sums(phases);
    vec![
        Must::new(
            "no_wrong_answer",
            "no client is told what is not so",
            sums.wrong == 0 && sums.calls > 0,
            format!("{} of {} answers were wrong", sums.wrong, sums.calls),
        ),
        Must::new(
            "everything_there",
            "every balance and event is what was acknowledged",
            compared.findings_count == 0 && compared.accounts > 0,
            format!(
                "{} accounts, {} acknowledged entries, {} events: {} contradictions",
                compared.accounts, compared.entries, compared.events, compared.findings_count
            ),
        ),
        Must::new(
            "audit_clean",
            "the auditor finds nothing",
            audit.clean,
            match audit.findings.first() {
                None => format!("{} accounts, {} entries", audit.accounts, audit.entries),
                Some(first) => first.clone(),
            },
        ),
    ]
}

/// In the last phase every answer is right.
pub fn served_again(phases: &[Phase], name: &str, must: &'static str) -> Must {
    let after = phases.iter().find(|phase| phase.name == name);
    Must::new(
        "served_again",
        must,
        after.is_some_and(|after| after.right > 0 && after.right == after.calls),
        after.map_or("there was no such phase".to_owned(), |after| {
            format!("{} of {} answers were right", after.right, after.calls)
        }),
    )
}

/// Nothing was done that an alert would be right for.
pub fn no_alert(alerts: &[Alert]) -> Must {
    Must::new(
        "no_alert",
        "the bank raises no alert",
        alerts.is_empty(),
        alerts
            .first()
            .map_or("there was none".to_owned(), |alert| alert.text.clone()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(calls: u64, wrong: u64) -> Phase {
        Phase {
            name: "p".to_owned(),
            seconds: 1.0,
            calls,
            right: calls - wrong,
            refused: 0,
            unanswered: 0,
            wrong,
            error_rate: 0.0,
            p50_ms: 1.0,
            p99_ms: 1.0,
            max_ms: 1.0,
            longest_pause_ms: 1.0,
            answers: Vec::new(),
        }
    }

    fn ids_not_ok(verdicts: &[Must]) -> Vec<&str> {
        let not_ok = verdicts.iter().filter(|verdict| !verdict.ok);
        not_ok.map(|verdict| verdict.id).collect()
    }

    #[test]
    fn a_last_phase_without_right_answers_serves_nobody() {
        assert!(
            served_again(&[phase(5, 1), phase(5, 0)], "p", "m")
                .seen
                .starts_with('4')
        );
        assert!(!served_again(&[phase(5, 1)], "p", "m").ok);
        assert!(served_again(&[phase(5, 0)], "p", "m").ok);
        assert!(!served_again(&[phase(0, 0)], "p", "m").ok);
        assert!(!served_again(&[phase(5, 0)], "other", "m").ok);
        let text = "cassandra: cluster main".to_owned();
        assert!(!no_alert(&[Alert { at_us: 1, text }]).ok);
        assert!(no_alert(&[]).ok);
    }

    #[test]
    fn a_wrong_answer_a_contradiction_or_a_finding_is_not_as_it_must_be() {
        let compared = Compared {
            accounts: 3,
            ..Compared::default()
        };
        let audit = Audit {
            clean: true,
            accounts: 3,
            entries: 2,
            findings: Vec::new(),
        };
        let right = always(&[phase(5, 0), phase(7, 0)], &compared, &audit);
        assert_eq!(ids_not_ok(&right), [""; 0]);
        assert_eq!(right[0].seen, "0 of 12 answers were wrong");
        let wrong = always(&[phase(5, 0), phase(7, 1)], &compared, &audit);
        assert_eq!(ids_not_ok(&wrong), ["no_wrong_answer"]);
        // Nothing asked, nothing shown.
        let nothing = always(&[], &Compared::default(), &audit);
        assert_eq!(
            ids_not_ok(&nothing),
            ["no_wrong_answer", "everything_there"]
        );
        let lost = Compared {
            findings_count: 1,
            ..compared.clone()
        };
        let found = Audit {
            clean: false,
            findings: vec!["a: 5 is not 6".to_owned()],
            ..audit
        };
        let bad = always(&[phase(5, 0)], &lost, &found);
        assert_eq!(ids_not_ok(&bad), ["everything_there", "audit_clean"]);
        assert_eq!(bad[2].seen, "a: 5 is not 6");
    }
}
