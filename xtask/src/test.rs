//! `cargo xtask test`: everything that there is to test.

use std::io::IsTerminal;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::chore::{Failure, cargo, stream};
use crate::libtest::Reader;
use crate::report::{self, HEADING, Step, Tally};
use crate::{docs, readme, tidy, toolchain};

/// Runs everything that there is to test: formatting, tidy, clippy, the tests of
/// all crates (unit tests, scenarios, properties, conformance suites, failures with
/// the real binary), documentation, and the commands that the README shows
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Leave out what takes long: tests that start the binary, documentation, the README
    #[arg(long)]
    quick: bool,
    /// Only the tests whose name contains this, and no checks
    filter: Option<String>,
}

/// Runs the chore. The last line that it prints is `N passed, N failed, N skipped`.
///
/// # Errors
/// A command could not be started at all.
pub fn run(options: &Options) -> Result<bool, Failure> {
    let ci = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
    if ci && options.quick {
        return Err("under CI nothing is left out: run it without --quick".to_owned());
    }
    let mut run = Run {
        ci,
        steps: Vec::new(),
    };
    if let Some(filter) = &options.filter {
        run.tests("tests", &["--all-targets"], Some(filter))?;
        run.tests("doc tests", &DOC_TESTS, Some(filter))?;
    } else {
        toolchain::ensure()?;
        run.check("fmt", "cargo fmt --all finds nothing to change", |look| {
            Ok(stream(coloured(cargo(&["fmt", "--all", "--check"])), look)?.success())
        })?;
        run.check("tidy", "cargo xtask tidy", |_| tidy::run())?;
        run.check("clippy", "a warning is an error", |look| {
            let arguments = [
                "clippy",
                "--profile",
                "checks",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ];
            Ok(stream(coloured(cargo(&arguments)), look)?.success())
        })?;
        if options.quick {
            run.tests("tests", &["--lib", "--bins"], None)?;
        } else {
            run.tests("tests", &["--all-targets"], None)?;
            run.tests("doc tests", &DOC_TESTS, None)?;
            run.check("docs", "rustdoc warns of nothing", |look| {
                docs::build(false, look)
            })?;
            run.readme()?;
        }
    }
    anstream::print!("{}", report::summary(&run.steps));
    Ok(run.steps.iter().all(|step| step.tally.failed == 0))
}

/// The examples in generated code are fragments; asked for `--doc`, cargo does not heed
/// that its crate says so.
const DOC_TESTS: [&str; 3] = ["--doc", "--exclude", "lombard-contracts"];

struct Run {
    ci: bool,
    steps: Vec<Step>,
}

impl Run {
    /// A check that passes or fails as one.
    fn check(
        &mut self,
        name: &'static str,
        what: &str,
        check: impl FnOnce(&mut dyn FnMut(&str)) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let started = begin(name);
        let mut failures = Failures::default();
        let passed = check(&mut |line| failures.line(line))?;
        self.steps.push(Step {
            name,
            took: started.elapsed(),
            tally: Tally::one(passed),
            failures: if passed {
                Vec::new()
            } else {
                vec![failures.text(what)]
            },
            skips: Vec::new(),
        });
        Ok(())
    }

    fn tests(
        &mut self,
        name: &'static str,
        targets: &[&str],
        filter: Option<&str>,
    ) -> Result<(), Failure> {
        let started = begin(name);
        let mut arguments = vec![
            "test",
            "--profile",
            "checks",
            "--workspace",
            "--no-fail-fast",
        ];
        arguments.extend(targets);
        arguments.extend(filter);
        let mut reader = Reader::default();
        let status = stream(coloured(cargo(&arguments)), |line| reader.line(line))?;
        let read = reader.finish(status.success(), self.ci);
        self.steps.push(Step {
            name,
            took: started.elapsed(),
            tally: read.tally,
            failures: read.failures,
            skips: read.skips,
        });
        Ok(())
    }

    fn readme(&mut self) -> Result<(), Failure> {
        let started = begin("readme");
        let outcome = readme::run()?;
        self.steps.push(Step {
            name: "readme",
            took: started.elapsed(),
            tally: Tally {
                passed: outcome.passed,
                failed: outcome.failures.len() as u64,
                skipped: 0,
            },
            failures: outcome.failures,
            skips: Vec::new(),
        });
        Ok(())
    }
}

fn begin(name: &str) -> Started {
    anstream::println!("\n{HEADING}── {name}{HEADING:#}");
    Started::now()
}

/// When a step began.
struct Started(Instant);

impl Started {
    #[expect(
        clippy::disallowed_methods,
        reason = "a chore's timing, for people; there is no host here to ask"
    )]
    fn now() -> Self {
        Self(Instant::now())
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Cargo's colours where a person watches: it writes to our pipe, and would leave them out.
fn coloured(mut command: Command) -> Command {
    if std::io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    command
}

/// The end of a failed check's output, to be said again in the summary.
#[derive(Default)]
struct Failures {
    lines: Vec<String>,
}

impl Failures {
    const LINES_MAX: usize = 60;

    fn line(&mut self, line: &str) {
        let plain = anstream::adapter::strip_str(line).to_string();
        let trimmed = plain.trim_start();
        // What cargo does, not what is wrong.
        let progress = [
            "Compiling ",
            "Checking ",
            "Documenting ",
            "Finished ",
            "Downloaded ",
            "Downloading ",
        ];
        if !progress.iter().any(|word| trimmed.starts_with(word)) {
            self.lines.push(plain);
        }
    }

    fn text(&self, what: &str) -> String {
        let from = self.lines.len().saturating_sub(Self::LINES_MAX);
        let mut text = String::from(what);
        if from > 0 {
            text.push_str("\n…");
        }
        for line in self.lines.iter().skip(from) {
            text.push('\n');
            text.push_str(line);
        }
        text
    }
}
