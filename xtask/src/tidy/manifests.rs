//! Versions stand at the root, once; no member goes its own way.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::Metadata;
use toml::{Table, Value};

use super::Finding;
use super::lists::{self, Lists};
use super::source::Source;

const ROOT: &str = "Cargo.toml";
const DEPENDENCIES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
const SHARED: [&str; 4] = ["version", "edition", "rust-version", "license"];
/// Outside the workspace: cargo-fuzz has a toolchain of its own.
const OUTSIDE: &str = "fuzz/Cargo.toml";

/// Members that state a version themselves, root dependencies that nobody uses, and
/// dependencies of ours that are there in two versions.
pub fn check(lists: &Lists, metadata: &Metadata, sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut used = BTreeSet::new();
    let mut root = Table::new();
    for source in sources
        .iter()
        .filter(|source| source.path.ends_with(ROOT) && source.path != OUTSIDE)
    {
        match source.text.parse::<Table>() {
            Ok(manifest) if source.path == ROOT => root = manifest,
            Ok(manifest) => {
                findings.extend(member(&source.path, &manifest, &mut used));
                findings.extend(unused(lists, &source.path, &manifest, sources));
            }
            Err(error) => findings.push(Finding::new(source.path.as_str(), 0, error.to_string())),
        }
    }
    findings.extend(at_root(&root, &used));
    findings.extend(versions(lists, metadata, &used));
    findings
}

/// Dependencies of a member that none of its files names.
fn unused(lists: &Lists, path: &str, manifest: &Table, sources: &[Source]) -> Vec<Finding> {
    let folder = path.trim_end_matches(ROOT);
    let generated = |place: &lists::Place| format!("{}/", place.path) == folder;
    if lists.generated.iter().any(generated) {
        return Vec::new();
    }
    let own = sources
        .iter()
        .filter(|source| source.is_rust() && source.path.starts_with(folder));
    let names = DEPENDENCIES
        .iter()
        .filter_map(|kind| manifest.get(*kind).and_then(Value::as_table))
        .flat_map(Table::keys);
    names
        .filter(|name| {
            let name = name.replace('-', "_");
            !own.clone().any(|source| source.text.contains(&name))
        })
        .map(|name| Finding::new(path, 0, format!("nothing here uses {name}: take it out")))
        .collect()
}

/// A member takes versions, lints and the package's facts from the root.
fn member(path: &str, manifest: &Table, used: &mut BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |what: String| findings.push(Finding::new(path, 0, what));
    let package = manifest.get("package").and_then(Value::as_table);
    for key in SHARED {
        if !package
            .and_then(|package| package.get(key))
            .is_some_and(of_workspace)
        {
            find(format!("write `{key}.workspace = true`"));
        }
    }
    if !manifest.get("lints").is_some_and(of_workspace) {
        find("write `[lints] workspace = true`: they forbid unsafe code".to_owned());
    }
    let targets = manifest
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(Table::values);
    let tables = std::iter::once(manifest).chain(targets.filter_map(Value::as_table));
    for table in tables {
        for dependencies in DEPENDENCIES
            .iter()
            .filter_map(|kind| table.get(*kind).and_then(Value::as_table))
        {
            for (name, dependency) in dependencies {
                used.insert(name.clone());
                if !of_workspace(dependency) {
                    find(format!(
                        "{name}: its version stands at the root; write `{name}.workspace = true`"
                    ));
                }
            }
        }
    }
    findings
}

fn of_workspace(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

/// The root forbids unsafe code, and lists no dependency that nobody uses.
fn at_root(root: &Table, used: &BTreeSet<String>) -> Vec<Finding> {
    let workspace = root.get("workspace");
    let mut findings = Vec::new();
    let lints = workspace.and_then(|workspace| workspace.get("lints"));
    let unsafe_code = lints
        .and_then(|lints| lints.get("rust"))
        .and_then(|rust| rust.get("unsafe_code"));
    if unsafe_code.and_then(Value::as_str) != Some("forbid") {
        findings.push(Finding::new(
            ROOT,
            0,
            "unsafe code must be forbidden: `unsafe_code = \"forbid\"`",
        ));
    }
    let dependencies = workspace
        .and_then(|workspace| workspace.get("dependencies"))
        .and_then(Value::as_table);
    for name in dependencies
        .into_iter()
        .flat_map(Table::keys)
        .filter(|name| !used.contains(*name))
    {
        findings.push(Finding::new(
            ROOT,
            0,
            format!("no crate uses {name}: take it out"),
        ));
    }
    findings
}

/// What we import ourselves is there in one version.
fn versions(lists: &Lists, metadata: &Metadata, used: &BTreeSet<String>) -> Vec<Finding> {
    let mut versions: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for package in &metadata.packages {
        versions
            .entry(package.name.as_str())
            .or_default()
            .push(package.version.to_string());
    }
    versions
        .into_iter()
        .filter(|(name, versions)| versions.len() > 1 && used.contains(*name))
        .filter(|(name, _)| {
            lists
                .two_versions
                .iter()
                .all(|excepted| excepted.name != *name)
        })
        .map(|(name, versions)| {
            Finding::new(
                "Cargo.lock",
                0,
                format!(
                    "{name} is there as {}: agree on one, or give a reason in {}",
                    versions.join(" and "),
                    lists::PATH
                ),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        text.parse().unwrap()
    }

    #[test]
    fn a_member_takes_everything_from_the_root() {
        let good = table(
            "[package]\nversion.workspace = true\nedition.workspace = true\nrust-version.workspace = true\n\
             license.workspace = true\n[lints]\nworkspace = true\n[dependencies]\nserde.workspace = true\n\
             tokio = { workspace = true, features = [\"rt\"] }\n",
        );
        let mut used = BTreeSet::new();
        assert_eq!(member("a/Cargo.toml", &good, &mut used), []);
        assert_eq!(used.into_iter().collect::<Vec<_>>(), ["serde", "tokio"]);
    }

    #[test]
    fn a_version_of_its_own_is_found_wherever_it_stands() {
        let bad = table(
            "[package]\nversion = \"1.0.0\"\nedition.workspace = true\nrust-version.workspace = true\n\
             license.workspace = true\n[dev-dependencies]\na = \"1\"\n[target.'cfg(unix)'.dependencies]\nb = \"1\"\n",
        );
        let found = member("a/Cargo.toml", &bad, &mut BTreeSet::new());
        let whats: Vec<&str> = found.iter().map(|finding| finding.what.as_str()).collect();
        assert_eq!(whats.len(), 4, "{whats:?}");
        assert!(whats[0].contains("version.workspace"));
        assert!(whats[1].contains("[lints]"));
        assert!(whats[2].starts_with("a: "));
        assert!(whats[3].starts_with("b: "));
    }

    #[test]
    fn a_dependency_that_no_file_names_is_found() {
        let manifest = table("[dependencies]\na-b.workspace = true\nc.workspace = true\n");
        let sources = [
            Source::of("x/src/lib.rs", "use a_b::D;"),
            Source::of("y/src/lib.rs", "use c::D;"),
        ];
        let found = unused(&Lists::default(), "x/Cargo.toml", &manifest, &sources);
        assert_eq!(found.len(), 1);
        assert!(found[0].what.contains("uses c:"));
    }

    #[test]
    fn the_root_forbids_unsafe_code_and_lists_nothing_unused() {
        let root = table(
            "[workspace.lints.rust]\nunsafe_code = \"warn\"\n[workspace.dependencies]\na = \"1\"\nb = \"1\"\n",
        );
        let found = at_root(&root, &BTreeSet::from(["a".to_owned()]));
        assert_eq!(found.len(), 2);
        assert!(found[1].what.contains("no crate uses b"));
    }
}
