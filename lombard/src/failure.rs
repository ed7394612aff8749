//! Why a command ended without having done what was asked.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// Why a command ended without having done what was asked.
#[derive(Debug)]
pub enum Failure {
    /// The answer is no, and has been printed.
    No,
    /// The work failed. Exit code 1.
    Failed(Report),
    /// It was asked for wrongly. Exit code 2.
    Usage(Report),
    /// Whoever read our output has gone: there is nobody to tell.
    OutputClosed,
    /// This signal ended it. Exit code 128 and its number, as shells have it.
    Interrupted(u8),
}

/// What a person is told: what was wrong and where, and what to do.
#[derive(Debug)]
pub struct Report {
    /// What was wrong, and where.
    pub what: String,
    /// What to do.
    pub advice: Option<String>,
}

impl Failure {
    /// The work failed.
    pub fn failed(what: impl Into<String>) -> Self {
        Self::Failed(Report {
            what: what.into(),
            advice: None,
        })
    }

    /// It was asked for wrongly.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::Usage(Report {
            what: what.into(),
            advice: None,
        })
    }

    /// Adds what to do.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        if let Self::Failed(report) | Self::Usage(report) = &mut self {
            report.advice = Some(advice.into());
        }
        self
    }

    /// Tells a person, on stderr.
    pub fn tell(&self) {
        let (Self::Failed(report) | Self::Usage(report)) = self else {
            return;
        };
        let error = anstyle::AnsiColor::Red.on_default().bold();
        let help = anstyle::AnsiColor::Cyan.on_default().bold();
        anstream::eprintln!("{error}error:{error:#} {}", report.what);
        if let Some(advice) = &report.advice {
            anstream::eprintln!("{help} help:{help:#} {advice}");
        }
    }

    /// 1: the answer is no, or the work failed. 2: wrong usage.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::No | Self::Failed(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
            Self::OutputClosed => ExitCode::SUCCESS,
            Self::Interrupted(signal) => ExitCode::from(128 | signal),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => f.write_str("the answer is no"),
            Self::Failed(report) | Self::Usage(report) => f.write_str(&report.what),
            Self::OutputClosed => f.write_str("the output was closed"),
            Self::Interrupted(_) => f.write_str("interrupted"),
        }
    }
}

/// Writing to stdout: a closed pipe is no failure of ours.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::OutputClosed
        } else {
            Self::failed(format!("cannot write the result: {error}"))
        }
    }
}
