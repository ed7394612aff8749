//! What happened around a violation, as a drawing that a person can read.
//!
//! Time goes from top to bottom. Each client has a lane: `┌` where its call leaves, `└`
//! where the answer is in, `│` between. Faults go across. Below stand the account's own
//! events around the place in question, which is the order that everything is compared to.

mod draw;
mod select;

use std::fmt::Write as _;

use anstyle::Style;
use serde::{Deserialize, Serialize};

use crate::check::Evidence;
use crate::violation::Violation;

/// A violation, and what happened around it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// What is broken.
    pub violation: Violation,
    /// The clients in the drawing, from left to right.
    pub lanes: Vec<u32>,
    /// From top to bottom.
    pub rows: Vec<Row>,
    /// The account's events around the place in question.
    pub events: Vec<EventRow>,
}

/// A row of the drawing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Microseconds since the run began.
    pub at_us: u64,
    /// The lanes, one sign each.
    pub lanes: String,
    /// What it is.
    pub mark: RowMark,
    /// What happened, in words.
    pub text: String,
    /// Whether it is part of the violation itself.
    pub of_violation: bool,
    /// Records of this account that were left out before this row.
    pub left_out: u64,
}

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowMark {
    /// A call leaves.
    Invoked,
    /// An answer is in, or will not come.
    Completed,
    /// A fault begins, or all is whole again.
    Fault,
}

/// An event of the account, as it is at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRow {
    /// Its number in the account.
    pub number: u64,
    /// Microseconds between the run's beginning and the moment at which it was booked.
    pub booked_us: i64,
    /// What it is, and what moved.
    pub text: String,
    /// The balances after it.
    pub balances: String,
    /// Whether the violation is about it.
    pub of_violation: bool,
}

/// How a report is styled. [`Styles::plain`] has no styles: for files and pipes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Styles {
    /// Headings.
    pub heading: Style,
    /// What matters less.
    pub dim: Style,
    /// What is wrong.
    pub wrong: Style,
    /// What is right.
    pub right: Style,
    /// Faults.
    pub fault: Style,
}

impl Styles {
    /// None.
    pub fn plain() -> Self {
        Self::default()
    }

    /// For a terminal.
    pub fn coloured() -> Self {
        use anstyle::AnsiColor;
        Self {
            heading: Style::new().bold(),
            dim: Style::new().dimmed(),
            wrong: AnsiColor::Red.on_default().bold(),
            right: AnsiColor::Green.on_default().bold(),
            fault: AnsiColor::Yellow.on_default(),
        }
    }
}

impl Timeline {
    /// What happened around a violation.
    pub fn new(evidence: &Evidence<'_>, violation: &Violation) -> Self {
        let selection = select::around(evidence, violation);
        Self {
            violation: violation.clone(),
            rows: draw::rows(evidence, violation, &selection),
            lanes: selection.lanes,
            events: draw::events(evidence, violation),
        }
    }

    /// As text, with these styles.
    pub fn text(&self, styles: &Styles) -> String {
        let mut out = String::new();
        self.write(&mut out, styles);
        out
    }

    pub(crate) fn write(&self, out: &mut String, styles: &Styles) {
        let Styles {
            heading,
            dim,
            wrong,
            fault,
            ..
        } = styles;
        let violation = &self.violation;
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{wrong}broken: {}{wrong:#}{}",
            violation.kind.rule(),
            violation
                .account
                .as_ref()
                .map_or(String::new(), |account| format!(" (account {account})"))
        );
        let _ = writeln!(out, "  expected  {}", violation.expected);
        let _ = writeln!(out, "  seen      {wrong}{}{wrong:#}", violation.seen);
        if !self.rows.is_empty() {
            let lanes: String = self.lanes.iter().map(|lane| format!("{lane:>3}")).collect();
            let _ = writeln!(out, "\n{heading}{:>12} {lanes}{heading:#}", "ms");
        }
        for row in &self.rows {
            if row.left_out > 0 {
                let _ = writeln!(out, "{dim}{:>12}  … {} more …{dim:#}", "", row.left_out);
            }
            let style = match (row.mark, row.of_violation) {
                (RowMark::Fault, _) => *fault,
                (_, true) => *wrong,
                (_, false) => Style::new(),
            };
            let pointer = if row.of_violation { "▶" } else { " " };
            let _ = writeln!(
                out,
                "{dim}{:>12}{dim:#} {} {pointer}{style}{}{style:#}",
                ms(i128::from(row.at_us)),
                row.lanes,
                row.text
            );
        }
        if !self.events.is_empty() {
            let _ = writeln!(
                out,
                "\n{heading}{:>12} events of {} at the end{heading:#}",
                "booked, ms",
                violation.account.as_deref().unwrap_or("the account")
            );
        }
        for event in &self.events {
            let style = if event.of_violation {
                *wrong
            } else {
                Style::new()
            };
            let pointer = if event.of_violation { "▶" } else { " " };
            let _ = writeln!(
                out,
                "{dim}{:>12}{dim:#} {pointer}{style}{:>5}  {}{style:#}  {dim}{}{dim:#}",
                ms(i128::from(event.booked_us)),
                event.number,
                event.text,
                event.balances
            );
        }
    }
}

fn ms(us: i128) -> String {
    let sign = if us < 0 { "-" } else { "" };
    let us = us.unsigned_abs();
    format!("{sign}{}.{:03}", us / 1_000, us % 1_000)
}
