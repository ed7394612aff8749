//! `cargo xtask tidy`: the rules of the house that no compiler checks.
//!
//! Each rule is a function from what it looks at to what it found; `tidy.toml`
//! holds the lists and the exceptions, each with its reason. Advisories are not
//! looked at: their database would have to be fetched, and this runs without a
//! network. `cargo audit` does that, where there is one.

mod attributes;
mod documents;
mod files;
mod imports;
mod licences;
mod lists;
mod manifests;
mod source;
mod words;

use std::fmt;

use cargo_metadata::{Metadata, MetadataCommand};

use crate::chore::{Failure, cargo, root};
use crate::report::{BAD, GOOD};
use lists::Lists;
use source::Source;

/// One thing that is not as it should be.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, relative to the workspace, with `/`.
    path: String,
    /// From 1; 0 is the whole file.
    line: usize,
    /// What is wrong, and what to do.
    what: String,
}

impl Finding {
    fn new(path: impl Into<String>, line: usize, what: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// Runs the chore.
///
/// # Errors
/// The workspace cannot be read.
pub fn run() -> Result<bool, Failure> {
    let root = root();
    let lists = Lists::read(&root.join(lists::PATH))?;
    let metadata = metadata()?;
    let sources = source::all(&root)?;
    let findings = check(&lists, &metadata, &sources, &|path| {
        root.join(path).exists()
    });
    for finding in &findings {
        anstream::println!("{BAD}tidy:{BAD:#} {finding}");
    }
    if findings.is_empty() {
        let crates = metadata.workspace_members.len();
        let others = metadata.packages.len() - crates;
        anstream::println!(
            "{GOOD}tidy{GOOD:#}: {} files of {crates} crates and the licences of {others} dependencies are as they should be",
            sources.len()
        );
    }
    Ok(findings.is_empty())
}

fn check(
    lists: &Lists,
    metadata: &Metadata,
    sources: &[Source],
    exists: &dyn Fn(&str) -> bool,
) -> Vec<Finding> {
    let crates = imports::crates(metadata);
    let mut findings = Vec::new();
    findings.extend(imports::directions(lists, &crates));
    findings.extend(manifests::check(lists, metadata, sources));
    findings.extend(licences::check(lists, metadata));
    findings.extend(files::sizes(lists, sources));
    findings.extend(words::check(lists, sources));
    findings.extend(attributes::check(sources));
    findings.extend(documents::crates_in_map(&crates, sources));
    findings.extend(documents::links(sources, exists));
    findings.extend(lists.stale(sources, metadata));
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    findings
}

/// The packages as they are built on this machine: without the filter, cargo would
/// download those of every platform.
fn metadata() -> Result<Metadata, Failure> {
    let output = cargo(&["-vV"])
        .output()
        .map_err(|error| format!("cargo -vV: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    let mut command = MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml"));
    if let Some(host) = host {
        command.other_options(["--filter-platform".to_owned(), host.to_owned()]);
    }
    command.exec().map_err(|error| error.to_string())
}
