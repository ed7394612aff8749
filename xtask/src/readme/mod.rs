//! The commands that README.md shows, run as a stranger would run them: in order, in
//! one shell, in a fresh folder, with the real binary and real `curl`; where a block
//! is followed by one with what it prints, that is compared.

mod blocks;
mod shell;
mod shown;

use crate::chore::{Failure, root};
use crate::report::{BAD, GOOD};
use blocks::{Block, Way};
use shell::Shell;

/// How it went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Blocks that did what the README says.
    pub passed: u64,
    /// What the others did instead.
    pub failures: Vec<String>,
}

/// Runs the README's blocks.
///
/// # Errors
/// The README cannot be read, or no shell be started.
pub fn run() -> Result<Outcome, Failure> {
    let path = root().join("README.md");
    let text =
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let blocks = blocks::find(&text)?;
    let mut shell = Shell::start()?;
    let mut outcome = Outcome::default();
    for block in &blocks {
        let name = format!("README.md:{}: {}", block.line, block.title());
        let done = match block.way {
            Way::InTurn => shell.run(block),
            Way::UntilInterrupted => shell.run_until_shown(block),
            Way::Elsewhere => {
                anstream::println!("{name} … run elsewhere");
                continue;
            }
        };
        match done {
            Ok(()) => {
                anstream::println!("{name} … {GOOD}ok{GOOD:#}");
                outcome.passed += 1;
            }
            Err(what) => {
                anstream::println!("{name} … {BAD}FAILED{BAD:#}\n{what}");
                outcome.failures.push(format!("{name}\n{what}"));
            }
        }
    }
    Ok(outcome)
}

impl Block {
    /// Its first command, for people.
    fn title(&self) -> &str {
        self.commands
            .lines()
            .find(|line| !line.is_empty() && !line.starts_with('#'))
            .unwrap_or_default()
    }
}
