//! What an engine's installation and start tell a person meanwhile.

use std::fmt;

/// One thing that is being done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The engine.
    pub engine: &'static str,
    /// What is being done.
    pub what: String,
}

impl Progress {
    /// Tells nobody.
    pub fn ignore(_progress: &Self) {}

    /// Tells whoever reads stderr.
    pub fn to_stderr(progress: &Self) {
        use std::io::Write;
        // If nobody reads it, nobody is told.
        let _written = writeln!(std::io::stderr(), "{progress}");
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.engine, self.what)
    }
}

/// Who is told.
pub type Tell<'a> = &'a dyn Fn(&Progress);

/// Telling in one word.
pub(crate) trait Tells {
    /// Tells what is being done now.
    fn tell(&self, engine: &'static str, what: String);
}

impl Tells for dyn Fn(&Progress) + '_ {
    fn tell(&self, engine: &'static str, what: String) {
        self(&Progress { engine, what });
    }
}
