//! Imports run one way: lombard → edge, ops → bank → platform → core; a service
//! never imports another service.

use cargo_metadata::{DependencyKind, Metadata};

use super::Finding;
use super::lists::{self, Lists};

/// The folder of the project's own chores.
pub const XTASK: &str = "xtask";

/// A crate of the workspace and what it imports of the workspace.
#[derive(Debug)]
pub struct Crate {
    /// Its folder from the workspace's, with `/`.
    pub path: String,
    /// The folders of the crates that it imports; whether only its tests do.
    pub imports: Vec<Import>,
}

/// One import.
#[derive(Debug)]
pub struct Import {
    /// The folder of the imported crate.
    pub path: String,
    /// Whether only tests import it.
    pub dev: bool,
}

/// All crates of the workspace.
pub fn crates(metadata: &Metadata) -> Vec<Crate> {
    let root = metadata.workspace_root.as_path();
    let folder = |path: &cargo_metadata::camino::Utf8Path| {
        let inside = path.strip_prefix(root).ok()?;
        Some(inside.as_str().replace('\\', "/"))
    };
    metadata
        .workspace_packages()
        .into_iter()
        .filter_map(|package| {
            let imports = package
                .dependencies
                .iter()
                .filter_map(|dependency| {
                    Some(Import {
                        path: folder(dependency.path.as_deref()?)?,
                        dev: dependency.kind == DependencyKind::Development,
                    })
                })
                .collect();
            Some(Crate {
                path: folder(package.manifest_path.parent()?)?,
                imports,
            })
        })
        .collect()
}

/// Imports against the direction, and of services by services.
pub fn directions(lists: &Lists, crates: &[Crate]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in crates {
        let manifest = format!("{}/Cargo.toml", member.path);
        let Some(height) = height(lists, &member.path) else {
            if member.path != XTASK {
                if !member.imports.is_empty() {
                    let what = format!("its folder is in no layer of {}", lists::PATH);
                    findings.push(Finding::new(manifest, 0, what));
                }
                continue;
            }
            for import in &member.imports {
                if !lists
                    .xtask_import
                    .iter()
                    .any(|place| place.path == import.path)
                {
                    let what =
                        format!("xtask imports {}: it must stay quick to build", import.path);
                    findings.push(Finding::new(manifest.as_str(), 0, what));
                }
            }
            continue;
        };
        for import in &member.imports {
            let excepted = lists
                .dev_dependency
                .iter()
                .any(|dev| import.dev && dev.from == member.path && dev.to == import.path);
            if excepted || import.path == member.path {
                continue;
            }
            let what = if self::height(lists, &import.path).is_none_or(|other| other > height) {
                "imports run the other way: lombard → edge, ops → bank → platform → core"
            } else if is_service(lists, &member.path) && is_service(lists, &import.path) {
                "a service never imports another service: it calls it through core/contracts"
            } else if top(&member.path) != top(&import.path)
                && self::height(lists, &import.path) == Some(height)
            {
                "folders of one layer do not import each other"
            } else {
                continue;
            };
            findings.push(Finding::new(
                manifest.as_str(),
                0,
                format!("{} imports {}: {what}", member.path, import.path),
            ));
        }
    }
    findings
}

fn top(path: &str) -> &str {
    path.split('/').next().unwrap_or(path)
}

fn height(lists: &Lists, path: &str) -> Option<usize> {
    let top = top(path);
    lists
        .layers
        .iter()
        .position(|layer| layer.iter().any(|folder| folder == top))
}

fn is_service(lists: &Lists, path: &str) -> bool {
    lists.services.iter().any(|folder| folder == top(path)) && !lists.is_library(path)
}

#[cfg(test)]
impl Crate {
    /// A crate for tests.
    pub fn of(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            imports: Vec::new(),
        }
    }

    fn importing(mut self, path: &str, dev: bool) -> Self {
        self.imports.push(Import {
            path: path.to_owned(),
            dev,
        });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists() -> Lists {
        Lists::parse(
            r#"
            layers = [["core"], ["platform"], ["bank"], ["edge", "ops"], ["lombard"]]
            services = ["platform", "bank", "edge"]
            [[library]]
            path = "bank/money"
            reason = "values"
            [[dev_dependency]]
            from = "core/store"
            to = "bank/ledger"
            reason = "for the test"
            [[xtask_import]]
            path = "core/engines"
            reason = "for the test"
            "#,
        )
        .unwrap()
    }

    fn found(crates: &[Crate]) -> Vec<String> {
        directions(&lists(), crates)
            .into_iter()
            .map(|finding| finding.what)
            .collect()
    }

    #[test]
    fn what_the_house_allows_passes() {
        let crates = [
            Crate::of("core/store"),
            Crate::of("core/service").importing("core/store", false),
            Crate::of("bank/ledger")
                .importing("core/service", false)
                .importing("bank/money", false),
            Crate::of("ops/bench").importing("bank/ledger", false),
            Crate::of("lombard")
                .importing("ops/bench", false)
                .importing("bank/ledger", false),
            Crate::of("xtask").importing("core/engines", false),
        ];
        assert_eq!(found(&crates), Vec::<String>::new());
    }

    #[test]
    fn an_import_upwards_is_found() {
        let found = found(&[Crate::of("core/store").importing("bank/money", false)]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("core/store imports bank/money: imports run the other way"));
    }

    #[test]
    fn a_service_that_imports_a_service_is_found_also_in_its_tests() {
        for dev in [false, true] {
            let found = found(&[Crate::of("bank/account").importing("bank/ledger", dev)]);
            assert_eq!(found.len(), 1);
            assert!(found[0].contains("a service never imports another service"));
        }
    }

    #[test]
    fn folders_of_one_layer_and_xtask_keep_apart() {
        assert_eq!(
            found(&[Crate::of("ops/bench").importing("edge/public", false)]).len(),
            1
        );
        assert_eq!(
            found(&[Crate::of("xtask").importing("core/store", false)]).len(),
            1
        );
        assert_eq!(
            found(&[Crate::of("attic/x").importing("core/store", false)]).len(),
            1
        );
    }

    #[test]
    fn a_listed_exception_is_for_tests_only() {
        assert_eq!(
            found(&[Crate::of("core/store").importing("bank/ledger", true)]).len(),
            0
        );
        assert_eq!(
            found(&[Crate::of("core/store").importing("bank/ledger", false)]).len(),
            1
        );
    }
}
