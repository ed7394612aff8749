//! What the standard test harness prints, counted.
//!
//! A test that finds at run time that it cannot be run says so with a line of its
//! own, `SKIPPED name: reason`, written past the harness's capture; where the
//! reason starts with `environment: ` the machine cannot have what it needs, and
//! that is no failure under CI either.

use crate::report::Tally;

const SKIPPED: &str = "SKIPPED ";
const ENVIRONMENT: &str = "environment: ";

/// Reads the output of `cargo test` line by line.
#[derive(Debug, Default)]
pub struct Reader {
    /// What has been counted.
    pub tally: Tally,
    /// The failures of each test binary, as it printed them.
    pub failures: Vec<String>,
    /// What was not run, and why.
    pub skips: Vec<String>,
    /// Skips that the machine cannot help.
    pub skips_of_environment: u64,
    skipped_while_running: u64,
    running: String,
    section: Option<String>,
}

impl Reader {
    /// Takes the next line, without its line end.
    pub fn line(&mut self, line: &str) {
        let plain = anstream::adapter::strip_str(line).to_string();
        let trimmed = plain.trim();
        if let Some(skip) = plain.strip_prefix(SKIPPED) {
            self.skip(skip);
        } else if trimmed.starts_with("Running ") || trimmed.starts_with("Doc-tests ") {
            self.end_section();
            trimmed.clone_into(&mut self.running);
        } else if let Some(result) = plain.strip_prefix("test result: ") {
            self.end_section();
            self.result(result);
        } else if plain == "failures:" && self.section.is_none() {
            self.section = Some(String::new());
        } else if let Some(name) = ignored(&plain) {
            self.skips.push(name.to_owned());
        } else if let Some(section) = &mut self.section {
            section.push_str(&plain);
            section.push('\n');
        }
    }

    /// The counts once the command has ended: a command that failed without saying
    /// which test did (a crash, an error of the compiler) counts as one failure;
    /// under CI a skip is a failure, unless the machine cannot help it.
    pub fn finish(mut self, succeeded: bool, ci: bool) -> Self {
        self.end_section();
        // The harness counts them as passed: they ended without a panic.
        self.tally.passed = self.tally.passed.saturating_sub(self.skipped_while_running);
        self.tally.skipped += self.skipped_while_running;
        if !succeeded && self.tally.failed == 0 {
            self.tally.failed += 1;
            self.failures.push(format!(
                "the command failed outside of a test{}; its output is above",
                if self.running.is_empty() {
                    String::new()
                } else {
                    format!(" (last: {})", self.running)
                }
            ));
        }
        if ci {
            let refused = self.tally.skipped.saturating_sub(self.skips_of_environment);
            if refused > 0 {
                self.tally.skipped -= refused;
                self.tally.failed += refused;
                self.failures.push(format!(
                    "{refused} skipped, and CI skips nothing:\n{}",
                    self.skips.join("\n")
                ));
            }
        }
        self
    }

    fn skip(&mut self, skip: &str) {
        self.skipped_while_running += 1;
        if skip
            .split_once(": ")
            .is_some_and(|(_, reason)| reason.starts_with(ENVIRONMENT))
        {
            self.skips_of_environment += 1;
        }
        self.skips.push(skip.to_owned());
    }

    /// `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
    fn result(&mut self, result: &str) {
        let counts = result.split_once(". ").map_or(result, |(_, counts)| counts);
        for part in counts.split("; ") {
            let Some((count, what)) = part.split_once(' ') else {
                continue;
            };
            let count = count.parse().unwrap_or(0);
            match what {
                "passed" => self.tally.passed += count,
                "failed" => self.tally.failed += count,
                "ignored" => self.tally.skipped += count,
                _ => {}
            }
        }
    }

    fn end_section(&mut self) {
        if let Some(section) = self.section.take() {
            self.failures
                .push(format!("{}\n{}", self.running, section.trim_matches('\n')));
        }
    }
}

/// `test name ... ignored, reason`
fn ignored(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("test ")?;
    let (_, outcome) = rest.split_once(" ... ")?;
    outcome.starts_with("ignored").then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
\u{1b}[1m\u{1b}[92m     Running\u{1b}[0m unittests src/lib.rs (target/release/deps/store-1)

running 4 tests
test a ... ok
SKIPPED b: environment: no such file here
test b ... ok
test c ... ignored, takes an hour
test d ... FAILED

failures:

---- d stdout ----
thread 'd' panicked at src/lib.rs:1:1:
left is not right

failures:
    d

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

     Running tests/one.rs (target/release/deps/one-1)

running 1 test
test e ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    fn read(text: &str, succeeded: bool, ci: bool) -> Reader {
        let mut reader = Reader::default();
        text.lines().for_each(|line| reader.line(line));
        reader.finish(succeeded, ci)
    }

    #[test]
    fn results_of_all_binaries_are_summed_and_failures_kept() {
        let read = read(OUTPUT, false, false);
        assert_eq!(
            read.tally,
            Tally {
                passed: 2,
                failed: 1,
                skipped: 2
            }
        );
        assert_eq!(
            read.skips,
            [
                "b: environment: no such file here",
                "c ... ignored, takes an hour"
            ]
        );
        let [failure] = read.failures.as_slice() else {
            panic!("{:?}", read.failures)
        };
        assert!(
            failure.contains("src/lib.rs (target/release/deps/store-1)"),
            "{failure}"
        );
        assert!(failure.contains("left is not right"), "{failure}");
    }

    #[test]
    fn under_ci_a_skip_is_a_failure_unless_the_machine_cannot_help_it() {
        let read = read(OUTPUT, false, true);
        assert_eq!(
            read.tally,
            Tally {
                passed: 2,
                failed: 2,
                skipped: 1
            }
        );
    }

    #[test]
    fn a_command_that_failed_without_a_failed_test_counts_as_one() {
        let read = read("error: could not compile `x`", false, false);
        assert_eq!(
            read.tally,
            Tally {
                passed: 0,
                failed: 1,
                skipped: 0
            }
        );
    }
}
