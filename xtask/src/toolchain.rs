//! What the checks need of the toolchain, fetched when it is missing.

use std::process::{Command, Stdio};

use crate::chore::{Failure, cargo};

/// Makes sure that `cargo fmt` and `cargo clippy` are there.
///
/// # Errors
/// They are not, and `rustup` cannot bring them.
pub fn ensure() -> Result<(), Failure> {
    let missing: Vec<&str> = [("fmt", "rustfmt"), ("clippy", "clippy")]
        .into_iter()
        .filter(|(subcommand, _)| !answers(subcommand))
        .map(|(_, component)| component)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" and ");
    anstream::eprintln!("fetching {names}: this toolchain has none");
    let added = Command::new("rustup")
        .args(["component", "add"])
        .args(&missing)
        .status();
    match added {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!(
            "rustup could not add {names}; its message is above"
        )),
        Err(error) => Err(format!(
            "the toolchain has no {names}, and rustup cannot be started ({error}); install them as you installed Rust"
        )),
    }
}

fn answers(subcommand: &str) -> bool {
    cargo(&[subcommand, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
