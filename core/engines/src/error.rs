//! What can go wrong, said so that a person knows what to do.

use std::path::PathBuf;

/// Why an engine is not installed, not started or does not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This machine lacks a program.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// A package manager could not bring what it was asked for.
    #[error("{engine} could not be installed: `{command}` failed ({status}):\n{output}")]
    Fetch {
        /// The engine.
        engine: &'static str,
        /// The command, as it was run.
        command: String,
        /// How it ended.
        status: String,
        /// The last lines that it printed.
        output: String,
    },
    /// What a package manager brought, or what the cache holds, is not what was pinned.
    #[error("{engine} in {}: {what}", folder.display())]
    Damaged {
        /// The engine.
        engine: &'static str,
        /// Its folder.
        folder: PathBuf,
        /// The first thing that is wrong.
        what: String,
    },
    /// It ended, or did not answer in time.
    #[error("{engine} did not start: {why}; the end of {}:\n{tail}", log.display())]
    Start {
        /// The engine, and which of its nodes.
        engine: String,
        /// What was waited for, or how it ended.
        why: String,
        /// Where it writes what it has to say.
        log: PathBuf,
        /// The last lines of that.
        tail: String,
    },
    /// It did not do in time what it was asked for.
    #[error("{engine}: {what}")]
    State {
        /// The engine, and which of its nodes.
        engine: String,
        /// What it did not do, or what it is not.
        what: String,
    },
    /// It refused a statement.
    #[error("{engine} refused {statement:?}: {why}")]
    Refused {
        /// The engine.
        engine: &'static str,
        /// The statement, without secrets.
        statement: String,
        /// Its message.
        why: String,
    },
    /// The system refused something.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, and where.
        doing: String,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// A program that this machine lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{engine} needs {needs}: {found}. Debian, Ubuntu: apt-get install {debian}; {elsewhere}")]
pub struct Missing {
    /// The engine that needs it.
    pub engine: &'static str,
    /// What it needs, e.g. "Java 17".
    pub needs: &'static str,
    /// What was found instead.
    pub found: String,
    /// The package of Debian and Ubuntu.
    pub debian: &'static str,
    /// A hint for other systems.
    pub elsewhere: &'static str,
}

/// Says what was being done when the system refused.
pub(crate) trait Doing<T> {
    /// Adds what was being done, and where.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T, E: Into<std::io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Io {
            doing: what(),
            source: source.into(),
        })
    }
}
