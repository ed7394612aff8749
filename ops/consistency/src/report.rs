//! What a run has shown, for a person and for a program.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::check::{Checked, Evidence, check};
use crate::end::End;
use crate::history::{History, Outcome};
use crate::nemesis::FaultDone;
use crate::operations::Fate;
use crate::timeline::{Styles, Timeline};
use crate::violation::Violation;

/// Violations that are kept; more are only counted.
const VIOLATIONS_MAX: usize = 20;

/// Whether a history can be true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What was tested.
    pub system: String,
    /// From which it was drawn.
    pub seed: u64,
    /// What the names of the run's accounts begin with: left out in the text.
    pub tag: String,
    /// Whether nothing contradicts.
    pub consistent: bool,
    /// From the first record to the last, in milliseconds.
    pub took_ms: u64,
    /// What became of operations, by kind.
    pub operations: BTreeMap<String, Counts>,
    /// What made outcomes unknown, and what failed, by reason; attempts.
    pub reasons: BTreeMap<String, u64>,
    /// What was broken, and healed.
    pub faults: Vec<FaultDone>,
    /// What was checked.
    pub checked: Checked,
    /// Whether the ledger's auditor was asked, too.
    pub audited: bool,
    /// How many contradictions there are.
    pub violation_count: u64,
    /// The first of them, by where they show in the history.
    pub violations: Vec<Violation>,
    /// What happened around the first.
    pub timeline: Option<Timeline>,
}

/// What became of the operations of a kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Acknowledged, or answered.
    pub ok: u64,
    /// Refused by the ledger's rules.
    pub refused: u64,
    /// Failed without a change.
    pub failed: u64,
    /// Nobody knows.
    pub unknown: u64,
    /// How often they were sent.
    pub attempts: u64,
}

impl Report {
    /// Judges a history by what the ledger held at its end: just now, or from files, later.
    pub fn of(history: &History, end: &End, faults: Vec<FaultDone>) -> Self {
        let evidence = Evidence::new(history, end);
        let (checked, violations) = check(&evidence);
        Self::new(&evidence, checked, violations, faults)
    }

    fn new(
        evidence: &Evidence<'_>,
        checked: Checked,
        violations: Vec<Violation>,
        faults: Vec<FaultDone>,
    ) -> Self {
        let mut operations: BTreeMap<String, Counts> = BTreeMap::new();
        let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
        for operation in evidence.operations.iter() {
            let counts = operations
                .entry(operation.call.kind().to_owned())
                .or_default();
            counts.attempts += operation.attempts.len() as u64;
            match operation.fate() {
                Fate::Acknowledged => counts.ok += 1,
                Fate::Refused => counts.refused += 1,
                Fate::Failed => counts.failed += 1,
                Fate::Unknown => counts.unknown += 1,
            }
            for attempt in &operation.attempts {
                if let Some(Outcome::Failed { reason, .. } | Outcome::Unknown { reason, .. }) =
                    attempt.completed.map(|completed| completed.outcome)
                {
                    *reasons.entry(reason.clone()).or_default() += 1;
                }
            }
        }
        let took_us = evidence
            .history
            .records
            .last()
            .map_or(0, |last| last.at_us());
        Self {
            system: evidence.history.header.system.clone(),
            seed: evidence.history.header.seed,
            tag: evidence.history.header.tag.clone(),
            consistent: violations.is_empty(),
            took_ms: took_us / 1_000,
            operations,
            reasons,
            faults,
            checked,
            audited: evidence.end.audit.is_some(),
            violation_count: violations.len() as u64,
            timeline: violations
                .first()
                .map(|first| Timeline::new(evidence, first)),
            violations: violations.into_iter().take(VIOLATIONS_MAX).collect(),
        }
    }

    /// All operations together.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for counts in self.operations.values() {
            total.ok += counts.ok;
            total.refused += counts.refused;
            total.failed += counts.failed;
            total.unknown += counts.unknown;
            total.attempts += counts.attempts;
        }
        total
    }

    /// As text for a person, with these styles.
    pub fn text(&self, styles: &Styles) -> String {
        let Styles {
            heading,
            dim,
            wrong,
            right,
            ..
        } = styles;
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{}, seed {}, {}.{:03} s",
            self.system,
            self.seed,
            self.took_ms / 1_000,
            self.took_ms % 1_000
        );
        let _ = writeln!(
            out,
            "\n{heading}{:<30}{:>8}{:>9}{:>8}{:>9}{:>10}{heading:#}",
            "operations", "ok", "refused", "failed", "unknown", "attempts"
        );
        let total = self.total();
        let all = ("all".to_owned(), total);
        for (kind, counts) in self
            .operations
            .iter()
            .map(|(kind, counts)| (kind.clone(), *counts))
            .chain([all])
        {
            let _ = writeln!(
                out,
                "{kind:<30}{:>8}{:>9}{:>8}{:>9}{:>10}",
                counts.ok, counts.refused, counts.failed, counts.unknown, counts.attempts
            );
        }
        for (reason, count) in &self.reasons {
            let _ = writeln!(out, "{dim}  {reason:<28}{count:>8} attempts{dim:#}");
        }
        if !self.faults.is_empty() {
            let _ = writeln!(out, "\n{heading}faults{heading:#}");
        }
        for fault in &self.faults {
            let _ = writeln!(
                out,
                "{dim}{:>9} ms{dim:#}  {}, for {} ms",
                fault.begun_us / 1_000,
                fault.what,
                fault.healed_us.saturating_sub(fault.begun_us) / 1_000
            );
        }
        let checked = &self.checked;
        let _ = writeln!(
            out,
            "\n{heading}checked{heading:#} {} entries ({} of them unknown to every client), \
             {} reads, {} as of a moment, {} lines of trial balances, {} refusals, \
             {} holds ({} ends not booked yet), \
             {} repeated answers, {} events of {} accounts{}",
            checked.entries,
            checked.unknown_in,
            checked.reads,
            checked.reads_as_of,
            checked.trial_balance_lines,
            checked.refusals,
            checked.holds,
            checked.ends_unbooked,
            checked.answers_again,
            checked.events,
            checked.accounts,
            if self.audited {
                ", and the auditor was asked"
            } else {
                ""
            }
        );
        if self.consistent {
            let _ = writeln!(
                out,
                "\n{right}consistent{right:#}: nothing contradicts anything"
            );
            return out;
        }
        let mut found = String::new();
        let _ = writeln!(
            out,
            "\n{wrong}not consistent{wrong:#}: {} contradictions; the first:",
            self.violation_count
        );
        if let Some(timeline) = &self.timeline {
            timeline.write(&mut found, styles);
        }
        for violation in self.violations.iter().skip(1) {
            let _ = writeln!(found, "\n{violation}");
        }
        let _ = writeln!(out, "{dim}(accounts: {}…){dim:#}\n", self.tag);
        out.push_str(&match self.tag.as_str() {
            "" => found,
            tag => found.replace(tag, ""),
        });
        out
    }
}
