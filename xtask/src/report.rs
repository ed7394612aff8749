//! What `cargo xtask test` says at the end.

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

/// A heading.
pub const HEADING: Style = Style::new().bold();
/// What went well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What did not.
pub const BAD: Style = AnsiColor::Red.on_default().bold();

/// How many tests ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests and checks that passed.
    pub passed: u64,
    /// Tests and checks that failed.
    pub failed: u64,
    /// Tests that were not run.
    pub skipped: u64,
}

impl Tally {
    /// One check.
    pub fn one(passed: bool) -> Self {
        Self {
            passed: passed.into(),
            failed: (!passed).into(),
            skipped: 0,
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

/// How one step ended.
#[derive(Debug)]
pub struct Step {
    /// E.g. "clippy".
    pub name: &'static str,
    /// What it took.
    pub took: Duration,
    /// What it counts.
    pub tally: Tally,
    /// What failed, said again at the end.
    pub failures: Vec<String>,
    /// What was not run, and why.
    pub skips: Vec<String>,
}

/// The summary: each step with its time, what was skipped, what failed, and as
/// the last line `N passed, N failed, N skipped`.
pub fn summary(steps: &[Step]) -> String {
    let mut text = format!("\n{HEADING}summary{HEADING:#}\n");
    let mut total = Tally::default();
    for step in steps {
        total += step.tally;
        let (style, word) = if step.tally.failed == 0 {
            (GOOD, "ok    ")
        } else {
            (BAD, "FAILED")
        };
        text.push_str(&format!(
            "  {:<10} {style}{word}{style:#} {:>7.1} s  {}\n",
            step.name,
            step.took.as_secs_f64(),
            step.tally
        ));
    }
    for (step, skip) in steps
        .iter()
        .flat_map(|step| step.skips.iter().map(move |skip| (step, skip)))
    {
        text.push_str(&format!("\nskipped in {}: {skip}\n", step.name));
    }
    for (step, failure) in steps
        .iter()
        .flat_map(|step| step.failures.iter().map(move |failure| (step, failure)))
    {
        text.push_str(&format!(
            "\n{BAD}failed in {}{BAD:#}\n{failure}\n",
            step.name
        ));
    }
    text.push_str(&format!("\n{total}\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_sum_of_all_steps_and_nothing_else() {
        let step = |name, tally| Step {
            name,
            took: Duration::from_millis(1_500),
            tally,
            failures: Vec::new(),
            skips: Vec::new(),
        };
        let mut tests = step(
            "tests",
            Tally {
                passed: 40,
                failed: 1,
                skipped: 2,
            },
        );
        tests.failures.push("a_test panicked".to_owned());
        let text = summary(&[step("fmt", Tally::one(true)), tests]);
        assert_eq!(text.lines().last(), Some("41 passed, 1 failed, 2 skipped"));
        assert!(text.contains("1.5 s"), "{text}");
        assert!(text.contains("a_test panicked"), "{text}");
    }
}
