//! `tidy.toml`: the lists and the exceptions.

use std::path::Path;

use cargo_metadata::Metadata;
use serde::Deserialize;

use super::source::Source;
use super::{Finding, imports};
use crate::chore::Failure;

/// Where it is, from the workspace's folder.
pub const PATH: &str = "xtask/tidy.toml";

/// The lists and the exceptions.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lists {
    /// Folders, from those that import nothing of ours upwards.
    pub layers: Vec<Vec<String>>,
    /// Folders whose crates are services.
    pub services: Vec<String>,
    /// Crates among the services that are libraries.
    #[serde(default)]
    pub library: Vec<Place>,
    /// Dev-dependencies that run against the layers.
    #[serde(default)]
    pub dev_dependency: Vec<DevDependency>,
    /// Crates of ours that xtask imports.
    #[serde(default)]
    pub xtask_import: Vec<Place>,
    /// Files that may be long.
    #[serde(default)]
    pub long_file: Vec<Place>,
    /// Crates whose dependencies only generated code names.
    #[serde(default)]
    pub generated: Vec<Place>,
    /// Dependencies that may be there twice.
    #[serde(default)]
    pub two_versions: Vec<Named>,
    /// Words that code of a folder must not contain.
    #[serde(default)]
    pub unspoken: Vec<Unspoken>,
    /// Words that nothing may contain.
    #[serde(default)]
    pub banned: Vec<Banned>,
    /// Licences.
    #[serde(default)]
    pub licences: Licences,
}

/// A file or folder with a reason.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// From the workspace's folder.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// An import of tests against the layers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DevDependency {
    /// The crate whose tests import.
    pub from: String,
    /// The crate that they import.
    pub to: String,
    /// Why.
    pub reason: String,
}

/// A package with a reason.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// The package.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// Words that code of a folder must not contain.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unspoken {
    /// The folder.
    pub under: String,
    /// Folders in it that are left out.
    #[serde(default)]
    pub except: Vec<String>,
    /// Compared without case.
    pub words: Vec<String>,
    /// Why.
    pub reason: String,
}

/// Words that nothing may contain.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Banned {
    /// Compared with case.
    pub words: Vec<String>,
    /// Why.
    pub reason: String,
}

/// Licences.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Licences {
    /// SPDX identifiers.
    pub allowed: Vec<String>,
}

impl Lists {
    /// Reads the file.
    ///
    /// # Errors
    /// It is not there or not as it should be.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text)
    }

    /// Reads the text of the file.
    ///
    /// # Errors
    /// It is not as it should be.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        toml::from_str(text).map_err(|error| format!("{PATH}: {error}"))
    }

    /// Whether a crate of a services' folder is a library.
    pub fn is_library(&self, path: &str) -> bool {
        self.library.iter().any(|place| place.path == path)
    }

    /// Exceptions without a reason, and those that nothing needs any more.
    pub fn stale(&self, sources: &[Source], metadata: &Metadata) -> Vec<Finding> {
        let crates = imports::crates(metadata);
        let is_crate = |path: &str| crates.iter().any(|member| member.path == path);
        let needed = |path: &str| {
            let source = sources.iter().find(|source| source.path == path);
            source.is_some_and(|source| source.text.lines().count() > super::files::LINES_MAX)
        };
        let versions = |name: &str| {
            let packages = metadata.packages.iter();
            packages
                .filter(|package| package.name.as_str() == name)
                .count()
        };
        let mut stale = Vec::new();
        let mut look = |what: String, needed: bool, reason: &str| {
            if !needed {
                stale.push(Finding::new(
                    PATH,
                    0,
                    format!("{what} is not needed any more: take it out"),
                ));
            } else if reason.trim().is_empty() {
                stale.push(Finding::new(PATH, 0, format!("{what} has no reason")));
            }
        };
        for place in &self.library {
            look(
                format!("library {}", place.path),
                is_crate(&place.path),
                &place.reason,
            );
        }
        for place in &self.xtask_import {
            let imported = crates.iter().any(|member| {
                member.path == imports::XTASK
                    && member
                        .imports
                        .iter()
                        .any(|import| import.path == place.path)
            });
            look(
                format!("xtask_import {}", place.path),
                imported,
                &place.reason,
            );
        }
        for place in &self.generated {
            look(
                format!("generated {}", place.path),
                is_crate(&place.path),
                &place.reason,
            );
        }
        for place in &self.long_file {
            look(
                format!("long_file {}", place.path),
                needed(&place.path),
                &place.reason,
            );
        }
        for named in &self.two_versions {
            look(
                format!("two_versions {}", named.name),
                versions(&named.name) > 1,
                &named.reason,
            );
        }
        for dev in &self.dev_dependency {
            let there = is_crate(&dev.from) && is_crate(&dev.to);
            look(
                format!("dev_dependency {} to {}", dev.from, dev.to),
                there,
                &dev.reason,
            );
        }
        stale
    }
}
