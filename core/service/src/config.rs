//! Configuration: `lombard.toml`, then `LOMBARD_…` variables, then flags; the later
//! one wins. Every value is known to the options of someone: what nobody knows is an
//! error that says where it stands and what was probably meant.
//!
//! | where | how `max_request_bytes` of section `server` is written |
//! | --- | --- |
//! | `lombard.toml` | `[server]` and below it `max_request_bytes = 1048576` |
//! | environment | `LOMBARD_SERVER__MAX_REQUEST_BYTES=1048576` |
//! | flag | `--set server.max_request_bytes=1048576` |
//!
//! In variables and flags a value is read as TOML (`5`, `true`, `["a", "b"]`), and as
//! plain text where it is none.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::nearest::nearest;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In the file, at this line.
    File(PathBuf, usize),
    /// In an environment variable.
    Variable(String),
    /// In a flag, by its key.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}, line {line}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(key) => write!(f, "flag {key}"),
        }
    }
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file that was named cannot be read.
    #[error("{}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: String,
    },
    /// The file is not TOML.
    #[error("{}: {cause}", path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        cause: String,
    },
    /// Nobody knows this key.
    #[error("{source_}: unknown {what} {key:?}{}", did_you_mean(nearest.as_deref()))]
    Unknown {
        /// Where it stands.
        source_: Source,
        /// "section", "key" or "variable".
        what: &'static str,
        /// As it was written, with its section.
        key: String,
        /// The known one that was probably meant.
        nearest: Option<String>,
    },
    /// The value does not fit.
    #[error("{source_}: {key}: {cause}")]
    BadValue {
        /// Where it stands.
        source_: Source,
        /// Section and key.
        key: String,
        /// Why it does not fit.
        cause: String,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
}

/// `LOMBARD_` variables that are not configuration but the command line's own.
pub const COMMAND_LINE_VARIABLES: [&str; 6] = [
    "LOMBARD_ADDRESS",
    "LOMBARD_CONFIG",
    "LOMBARD_DATA",
    "LOMBARD_LOG",
    "LOMBARD_LOG_FORMAT",
    "LOMBARD_PORT_BASE",
];

/// All that was configured. Cheap to clone; clones know together which sections were asked for.
#[derive(Clone, Default)]
pub struct Config(Arc<Inner>);

#[derive(Default)]
struct Inner {
    sections: BTreeMap<String, Table>,
    /// By dotted key, the section's name included.
    sources: BTreeMap<String, Source>,
    /// Names that someone knows.
    asked: Mutex<BTreeSet<String>>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Config").field(&self.0.sections).finish()
    }
}

impl Config {
    /// Reads all three sources. Without a path `lombard.toml` in the working folder is
    /// read if it is there; a named file must be there. `flags` are dotted keys.
    ///
    /// # Errors
    /// The file cannot be read, or something stands in no section.
    pub fn load(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut inner = Inner::default();
        let default = Path::new("lombard.toml");
        match path {
            Some(path) => inner.read_file(path)?,
            None if default.is_file() => inner.read_file(default)?,
            None => {}
        }
        for (name, value) in environment {
            inner.read_variable(&name, &value)?;
        }
        for (key, value) in flags {
            let source = Source::Flag(key.clone());
            inner.set(&key, &value, source)?;
        }
        Ok(Self(Arc::new(inner)))
    }

    /// A section as someone's options; keys that are not set keep their defaults.
    ///
    /// # Errors
    /// A key that the options do not have (they must carry `deny_unknown_fields`), or a
    /// value that does not fit.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, ConfigError> {
        self.know(name);
        let table = self.0.sections.get(name).cloned().unwrap_or_default();
        serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
            let path = error.path().to_string();
            let path = if path == "." { "" } else { path.as_str() };
            self.explain(name, path, error.inner().message())
        })
    }

    /// Whether anything is configured in a section.
    pub fn has(&self, name: &str) -> bool {
        self.0.sections.contains_key(name)
    }

    /// Says that a section is someone's, though nobody reads it now (a service that
    /// runs elsewhere).
    pub fn know(&self, name: &str) {
        self.0.asked.lock().insert(name.to_owned());
    }

    /// To be called once everyone has read his section.
    ///
    /// # Errors
    /// A section that nobody knows.
    pub fn finish(&self) -> Result<(), ConfigError> {
        let asked = self.0.asked.lock();
        let unknown = self.0.sections.keys().find(|name| !asked.contains(*name));
        match unknown {
            None => Ok(()),
            Some(name) => Err(ConfigError::Unknown {
                source_: self.source(name),
                what: "section",
                key: name.clone(),
                nearest: nearest(name, asked.iter().map(String::as_str)).map(str::to_owned),
            }),
        }
    }

    /// Turns serde's sentence into where and what.
    fn explain(&self, section: &str, path: &str, message: &str) -> ConfigError {
        let parent = match path.rsplit_once('.') {
            Some((parent, _)) => format!("{section}.{parent}"),
            None => section.to_owned(),
        };
        if let Some(unknown) = quoted(message, "unknown field `").next() {
            let key = format!("{parent}.{unknown}");
            let known: Vec<&str> = message
                .split_once("expected")
                .map(|(_, names)| quoted(names, "`").collect())
                .unwrap_or_default();
            return ConfigError::Unknown {
                source_: self.source(&key),
                what: "key",
                nearest: nearest(unknown, known).map(str::to_owned),
                key,
            };
        }
        let key = if path.is_empty() {
            section.to_owned()
        } else {
            format!("{section}.{path}")
        };
        ConfigError::BadValue {
            source_: self.source(&key),
            key,
            cause: message.trim().to_owned(),
        }
    }

    /// Where a key was written last, or the first key below it.
    fn source(&self, key: &str) -> Source {
        let below = format!("{key}.");
        let found = self.0.sources.get(key).or_else(|| {
            let mut under = self.0.sources.range(below.clone()..);
            under
                .next()
                .filter(|(name, _)| name.starts_with(&below))
                .map(|(_, source)| source)
        });
        found
            .cloned()
            .unwrap_or_else(|| Source::Flag(key.to_owned()))
    }
}

impl Inner {
    fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
            path: path.to_owned(),
            cause: error.to_string(),
        })?;
        let table: Table = toml::from_str(&text).map_err(|error| ConfigError::NotToml {
            path: path.to_owned(),
            cause: error.to_string().trim_end().to_owned(),
        })?;
        for (name, value) in table {
            let source = Source::File(path.to_owned(), line_of(&text, &name));
            let Value::Table(section) = value else {
                return Err(no_section(source, &name));
            };
            self.note(&name, &Value::Table(section.clone()), &mut |key| {
                Source::File(path.to_owned(), line_of(&text, key))
            });
            self.sections.insert(name, section);
        }
        Ok(())
    }

    fn read_variable(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let Some(key) = name.strip_prefix("LOMBARD_") else {
            return Ok(());
        };
        if COMMAND_LINE_VARIABLES.contains(&name) {
            return Ok(());
        }
        let source = Source::Variable(name.to_owned());
        if !key.contains("__") {
            return Err(ConfigError::Unknown {
                source_: source,
                what: "variable",
                key: name.to_owned(),
                nearest: nearest(name, COMMAND_LINE_VARIABLES).map(str::to_owned),
            });
        }
        let key = key.to_ascii_lowercase().replace("__", ".");
        self.set(&key, value, source)
    }

    fn set(&mut self, key: &str, text: &str, source: Source) -> Result<(), ConfigError> {
        let Some((section, rest)) = key.split_once('.') else {
            return Err(no_section(source, key));
        };
        let value = read_value(text);
        self.note(key, &value, &mut |_| source.clone());
        let mut table = self.sections.entry(section.to_owned()).or_default();
        let mut steps: Vec<&str> = rest.split('.').collect();
        let Some(last) = steps.pop() else {
            return Err(no_section(source, key));
        };
        for step in steps {
            let inner = table
                .entry(step)
                .or_insert_with(|| Value::Table(Table::new()));
            table = match inner {
                Value::Table(inner) => inner,
                _ => {
                    return Err(ConfigError::BadValue {
                        source_: source,
                        key: key.to_owned(),
                        cause: format!("{step} is a value, not a table"),
                    });
                }
            };
        }
        table.insert(last.to_owned(), value);
        Ok(())
    }

    /// Remembers where a value and all that it holds were written.
    fn note(&mut self, key: &str, value: &Value, source: &mut dyn FnMut(&str) -> Source) {
        self.sources.insert(key.to_owned(), source(key));
        if let Value::Table(table) = value {
            for (name, value) in table {
                self.note(&format!("{key}.{name}"), value, source);
            }
        }
    }
}

fn no_section(source: Source, key: &str) -> ConfigError {
    ConfigError::BadValue {
        source_: source,
        key: key.to_owned(),
        cause: "a key stands in a section: section.key".to_owned(),
    }
}

/// TOML if it is that, else text.
fn read_value(text: &str) -> Value {
    toml::from_str::<Table>(&format!("value = {text}"))
        .ok()
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

/// The line at which a dotted key stands; that of its nearest known parent if it is
/// written in a way that a simple look does not find.
fn line_of(text: &str, key: &str) -> usize {
    let mut section = String::new();
    let mut best = (0, 1);
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let full = if let Some(header) = line.strip_prefix('[') {
            section = header
                .trim_start_matches('[')
                .split(']')
                .next()
                .unwrap_or_default()
                .replace(['"', ' '], "");
            section.clone()
        } else if let Some((name, _)) = line.split_once('=') {
            let name = name.replace(['"', ' '], "");
            if section.is_empty() {
                name
            } else {
                format!("{section}.{name}")
            }
        } else {
            continue;
        };
        let inside = key == full || key.starts_with(&format!("{full}."));
        if inside && full.len() > best.0 {
            best = (full.len(), index + 1);
        }
    }
    best.1
}

/// What stands between a mark and the next backtick, each time.
fn quoted<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, behind) = rest.split_once(mark)?;
        let (name, after) = behind.split_once('`')?;
        rest = after;
        Some(name)
    })
}

#[cfg(test)]
mod tests;
