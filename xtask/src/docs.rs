//! `cargo xtask docs`: the documentation of every crate of ours.

use crate::chore::{Failure, cargo, stream};

/// Build the documentation; a warning is an error
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Show it in a browser
    #[arg(long)]
    open: bool,
}

/// Runs the chore.
///
/// # Errors
/// Cargo cannot be started.
pub fn run(options: &Options) -> Result<bool, Failure> {
    build(options.open, |_| {})
}

/// Builds the documentation; a broken link or another warning of rustdoc fails it.
/// The profile is that of clippy, with which it shares the dependencies' metadata.
///
/// # Errors
/// Cargo cannot be started.
pub fn build(open: bool, look: impl FnMut(&str)) -> Result<bool, Failure> {
    let mut command = cargo(&[
        "doc",
        "--profile",
        "checks",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ]);
    if open {
        command.arg("--open");
    }
    // Private rooms are documented too, so links to them lead somewhere.
    let flags = "-D warnings -A rustdoc::private_intra_doc_links";
    command.env("RUSTDOCFLAGS", flags);
    Ok(stream(command, look)?.success())
}
