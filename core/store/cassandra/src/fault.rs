//! What an error of the driver means for the store: whether something may have been
//! changed, whether it helps to try again, and whether a person has to do something.

use std::error::Error;

use lombard_store::StoreError;
use scylla::errors::{DbError, ExecutionError, PrepareError, RequestAttemptError};

use crate::retry::has_begun_nothing;

/// An error's own words and those of all its causes; and the grant, if one is missing.
pub(crate) fn in_words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Many errors repeat their cause.
        if !words.contains(&more) {
            words.push_str(": ");
            words.push_str(&more);
        }
        cause = error.source();
    }
    if let Some(grant) = missing_grant(&words) {
        words.push_str(": ");
        words.push_str(&grant);
    }
    words
}

/// The statement that gives a role what Cassandra says that it lacks
/// (`User u has no SELECT permission on <table k.t> or any of its parents`).
fn missing_grant(words: &str) -> Option<String> {
    let (role, rest) = words.split_once("User ")?.1.split_once(" has no ")?;
    let (permission, rest) = rest.split_once(" permission on <")?;
    let resource = rest.split_once('>')?.0;
    let on = if let Some(table) = resource.strip_prefix("table ") {
        match table.split_once('.') {
            // Of the nodes' own keyspace no more than is needed.
            Some((keyspace, _)) if keyspace != "system" => format!("KEYSPACE {keyspace}"),
            _ => table.to_owned(),
        }
    } else if let Some(keyspace) = resource.strip_prefix("all tables in ") {
        format!("KEYSPACE {keyspace}")
    } else {
        resource
            .replace("all keyspaces", "ALL KEYSPACES")
            .replace("keyspace ", "KEYSPACE ")
    };
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let role = if role.chars().all(is_plain) {
        role.to_owned()
    } else {
        format!("\"{}\"", role.replace('"', "\"\""))
    };
    Some(format!("GRANT {permission} ON {on} TO {role}"))
}

/// What the database itself said, if it was that.
pub(crate) fn database_error(error: &ExecutionError) -> Option<&DbError> {
    match error {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, _)) => Some(error),
        _ => None,
    }
}

/// Whether nobody knows in time: the kind of failure that is counted as a timeout.
pub(crate) fn is_timeout(error: &ExecutionError) -> bool {
    matches!(error, ExecutionError::RequestTimeout(_))
        || matches!(
            database_error(error),
            Some(DbError::ReadTimeout { .. } | DbError::WriteTimeout { .. })
        )
}

/// Whether only a person can mend it: what is asked for is not allowed, or not there.
fn is_misconfiguration(error: &RequestAttemptError) -> bool {
    match error {
        RequestAttemptError::SerializationError(_)
        | RequestAttemptError::CqlRequestSerialization(_) => true,
        RequestAttemptError::DbError(error, _) => matches!(
            error,
            DbError::Invalid
                | DbError::SyntaxError
                | DbError::Unauthorized
                | DbError::ConfigError
                | DbError::AuthenticationError
                | DbError::ProtocolError
        ),
        _ => false,
    }
}

/// Of a request that changes nothing, or that may be made again without harm.
pub(crate) fn of_read(what: &str, error: &ExecutionError) -> StoreError {
    let words = format!("cassandra: {what}: {}", in_words(error));
    match error {
        ExecutionError::LastAttemptError(error) if is_misconfiguration(error) => {
            StoreError::Misconfigured(words)
        }
        ExecutionError::BadQuery(_) => StoreError::Misconfigured(words),
        _ => StoreError::Unavailable(words),
    }
}

/// Of a commit: nothing was changed, or nobody knows.
pub(crate) fn of_commit(what: &str, error: &ExecutionError) -> StoreError {
    let words = format!("cassandra: {what}: {}", in_words(error));
    match error {
        // Refused as it stands, by whoever looked at it first.
        ExecutionError::LastAttemptError(error) if is_misconfiguration(error) => {
            StoreError::Misconfigured(words)
        }
        ExecutionError::BadQuery(_) => StoreError::Misconfigured(words),
        ExecutionError::LastAttemptError(error) if has_begun_nothing(error) => {
            StoreError::Unavailable(words)
        }
        // No node to send it to.
        ExecutionError::EmptyPlan | ExecutionError::ConnectionPoolError(_) => {
            StoreError::Unavailable(words)
        }
        _ => StoreError::Ambiguous(words),
    }
}

/// Of preparing a statement: its table is not as it should be, or nobody answers.
pub(crate) fn of_prepare(what: &str, error: &PrepareError) -> StoreError {
    let words = format!("cassandra: {what}: {}", in_words(error));
    match error {
        PrepareError::AllAttemptsFailed { first_attempt } if is_misconfiguration(first_attempt) => {
            StoreError::Misconfigured(words)
        }
        _ => StoreError::Unavailable(words),
    }
}

/// Of an answer that is not of the form that was asked for.
pub(crate) fn of_answer(what: &str, error: &dyn Error) -> StoreError {
    StoreError::Misconfigured(format!(
        "cassandra: {what}: the answer is not of the expected form: {}",
        in_words(error)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use scylla::statement::Consistency;
    use std::time::Duration;

    fn attempt(error: DbError) -> ExecutionError {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, "why".into()))
    }

    fn unavailable(consistency: Consistency) -> ExecutionError {
        attempt(DbError::Unavailable {
            consistency,
            required: 2,
            alive: 1,
        })
    }

    #[test]
    fn only_what_cannot_have_been_applied_is_not_ambiguous() {
        let commit = |error| of_commit("commit", &error);
        let ambiguous = [
            ExecutionError::RequestTimeout(Duration::from_secs(1)),
            attempt(DbError::Overloaded),
            attempt(DbError::ServerError),
            unavailable(Consistency::Quorum),
        ];
        for error in ambiguous {
            assert!(matches!(commit(error), StoreError::Ambiguous(_)));
        }
        let untouched = [
            ExecutionError::EmptyPlan,
            unavailable(Consistency::Serial),
            attempt(DbError::IsBootstrapping),
        ];
        for error in untouched {
            assert!(matches!(commit(error), StoreError::Unavailable(_)));
        }
        let refused = commit(attempt(DbError::Invalid));
        assert!(matches!(refused, StoreError::Misconfigured(_)));
        assert!(refused.to_string().contains("why"), "{refused}");
    }

    #[test]
    fn a_grant_that_is_missing_is_named() {
        let grant = |role: &str, resource: &str| {
            missing_grant(&format!(
                "Not authorized: User {role} has no SELECT permission on <{resource}> or any of \
                 its parents"
            ))
        };
        let cases = [
            ("table bank_ledger.rows", "KEYSPACE bank_ledger"),
            (
                "table system.available_ranges_v2",
                "system.available_ranges_v2",
            ),
            ("all tables in bank_ledger", "KEYSPACE bank_ledger"),
            ("keyspace bank_ledger", "KEYSPACE bank_ledger"),
            ("all keyspaces", "ALL KEYSPACES"),
        ];
        for (resource, on) in cases {
            let expected = format!("GRANT SELECT ON {on} TO bank");
            assert_eq!(grant("bank", resource), Some(expected));
        }
        let quoted = grant("The Bank", "all keyspaces").unwrap();
        assert!(quoted.ends_with("TO \"The Bank\""), "{quoted}");
        assert_eq!(missing_grant("You have to be logged in"), None);
    }

    #[test]
    fn a_read_that_failed_can_be_made_again_unless_it_is_not_allowed() {
        let read = |error| of_read("read", &error);
        assert!(matches!(
            read(attempt(DbError::Overloaded)),
            StoreError::Unavailable(_)
        ));
        assert!(matches!(
            read(attempt(DbError::Unauthorized)),
            StoreError::Misconfigured(_)
        ));
    }
}
