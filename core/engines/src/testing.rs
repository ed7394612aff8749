//! For tests that need an engine: where this machine lacks what it takes, they say so
//! and are skipped; under `CI=true` they fail.

use std::io::Write;

use crate::error::Error;

/// What was started, or `None` if this machine lacks what it takes: then a line
/// `SKIPPED test: reason` goes to stderr, past the harness's capture, and the test
/// returns.
///
/// ```no_run
/// use lombard_engines::{postgres, testing};
/// let options = postgres::Options::default();
/// let Some(server) = testing::started("the_test", postgres::Server::start(&options)) else {
///     return;
/// };
/// # drop(server);
/// ```
///
/// # Panics
/// It was not started for another reason; or the variable `CI` is `true`.
pub fn started<T>(test: &str, result: Result<T, Error>) -> Option<T> {
    let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    match judge(result, ci) {
        Ok(started) => Some(started),
        Err(Verdict::Skip(reason)) => {
            // If nobody reads it, nobody counts it.
            let _written = writeln!(std::io::stderr(), "\nSKIPPED {test}: {reason}");
            None
        }
        Err(Verdict::Fail(reason)) => panic!("{reason}"),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Skip(String),
    Fail(String),
}

fn judge<T>(result: Result<T, Error>, ci: bool) -> Result<T, Verdict> {
    result.map_err(|error| match error {
        Error::Missing(missing) if !ci => Verdict::Skip(missing.to_string()),
        other => Verdict::Fail(other.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Missing;

    fn missing() -> Result<(), Error> {
        Err(Missing {
            engine: "cassandra",
            needs: "Java 17",
            found: "there is none".to_owned(),
            debian: "openjdk-17-jre-headless",
            elsewhere: "elsewhere: a JDK 17",
        }
        .into())
    }

    #[test]
    fn what_is_missing_skips_a_test_and_fails_it_under_ci() {
        let Err(Verdict::Skip(reason)) = judge(missing(), false) else {
            panic!("not skipped")
        };
        assert_eq!(
            reason,
            "cassandra needs Java 17: there is none. Debian, Ubuntu: apt-get install openjdk-17-jre-headless; elsewhere: a JDK 17"
        );
        assert_eq!(judge(missing(), true), Err(Verdict::Fail(reason)));
        assert_eq!(judge(Ok(1), true), Ok(1));
    }

    #[test]
    fn any_other_error_fails_a_test() {
        let error: Result<(), Error> = Err(Error::State {
            engine: "postgres".to_owned(),
            what: "it is odd".to_owned(),
        });
        let failed = judge(error, false);
        assert_eq!(failed, Err(Verdict::Fail("postgres: it is odd".to_owned())));
    }
}
