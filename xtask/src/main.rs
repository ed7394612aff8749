//! The project's own chores: `cargo xtask test`, `tidy`, `docs`, `readme`, `engines`.

mod chore;
mod docs;
mod engines;
mod libtest;
mod readme;
mod report;
mod test;
mod tidy;
mod toolchain;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own chores
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    after_help = "\
Examples:
  cargo xtask test                everything that there is to test; what CI runs
  cargo xtask test --quick        formatting, tidy, clippy and the crates' own tests: minutes less
  cargo xtask test refuses_       only the tests whose name contains refuses_, no checks
  cargo xtask tidy                the rules of the house that no compiler checks
  cargo xtask readme              the README's commands, as a stranger would run them
  cargo xtask docs --open         the documentation of every crate of ours, in a browser
  cargo xtask engines start       a real Cassandra and a real PostgreSQL on this machine

Everything is built in the profile `checks`, which is `release` without its slow linking,
so that dependencies compile once.
The exit code is 1 if anything failed."
)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Run everything that there is to test
    Test(test::Options),
    /// Check the rules of the house: imports, sizes, words, versions, licences, documents
    Tidy,
    /// Build the documentation; a warning is an error
    Docs(docs::Options),
    /// Run the commands that README.md shows, and compare what they print
    Readme,
    /// Install, start and stop real engines on this machine: Cassandra, PostgreSQL
    Engines(engines::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.chore {
        Chore::Test(options) => test::run(&options),
        Chore::Tidy => tidy::run(),
        Chore::Docs(options) => docs::run(&options),
        Chore::Readme => readme::run().map(|outcome| outcome.failures.is_empty()),
        Chore::Engines(options) => engines::run(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            anstream::eprintln!("{}error:{:#} {error}", report::BAD, report::BAD);
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
