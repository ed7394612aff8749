//! A password that does not show itself.

use std::fmt;
use std::fs;
use std::path::Path;

/// A password. It prints as `***`, whoever prints it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// The first line of a file.
    ///
    /// # Errors
    /// Why it cannot be read, in words, without its contents.
    pub fn from_file(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        match text.lines().next() {
            Some(line) if !line.is_empty() => Ok(Self(line.to_owned())),
            _ => Err(format!("the first line of {} is empty", path.display())),
        }
    }

    /// The value of an environment variable.
    ///
    /// # Errors
    /// It is not set, or not text.
    pub fn from_variable(name: &str) -> Result<Self, String> {
        match std::env::var(name) {
            Ok(value) if !value.is_empty() => Ok(Self(value)),
            _ => Err(format!("the environment variable {name} is not set")),
        }
    }

    /// The password itself, for the log-in and nothing else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print_itself() {
        let secret = Secret("hunter2".into());
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "*** Some(***)");
        assert_eq!(secret.reveal(), "hunter2");
    }

    #[test]
    fn a_missing_secret_is_named() {
        let missing = Secret::from_file(Path::new("/nowhere/password")).unwrap_err();
        assert!(missing.contains("/nowhere/password"));
        let missing = Secret::from_variable("LOMBARD_NO_SUCH_VARIABLE").unwrap_err();
        assert!(missing.contains("LOMBARD_NO_SUCH_VARIABLE"));
    }
}
