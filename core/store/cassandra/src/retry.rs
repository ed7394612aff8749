//! When the driver may try again by itself.

use scylla::errors::{DbError, RequestAttemptError};
use scylla::frame::types::Consistency;
use scylla::policies::retry::{RequestInfo, RetryDecision, RetryPolicy, RetrySession};

/// How often a request is tried again at another node.
const RETRIES_MAX: u32 = 2;

/// For reads, which may run as often as one likes: tries another node unless the request
/// itself is at fault.
#[derive(Debug)]
pub(crate) struct ReadRetry;

/// For commits: tries another node only where this one has begun nothing.
#[derive(Debug)]
pub(crate) struct CommitRetry;

struct Tries {
    left: u32,
    may_retry: fn(&RequestAttemptError) -> bool,
}

impl RetryPolicy for ReadRetry {
    fn new_session(&self) -> Box<dyn RetrySession> {
        Box::new(Tries {
            left: RETRIES_MAX,
            may_retry: is_the_nodes_fault,
        })
    }
}

impl RetryPolicy for CommitRetry {
    fn new_session(&self) -> Box<dyn RetrySession> {
        Box::new(Tries {
            left: RETRIES_MAX,
            may_retry: has_begun_nothing,
        })
    }
}

impl RetrySession for Tries {
    fn decide_should_retry(&mut self, request: RequestInfo<'_>) -> RetryDecision {
        if self.left == 0 || !(self.may_retry)(request.error) {
            return RetryDecision::DontRetry;
        }
        self.left -= 1;
        RetryDecision::RetryNextTarget(None)
    }

    fn reset(&mut self) {
        self.left = RETRIES_MAX;
    }
}

fn is_the_nodes_fault(error: &RequestAttemptError) -> bool {
    match error {
        RequestAttemptError::BrokenConnectionError(_)
        | RequestAttemptError::UnableToAllocStreamId => true,
        RequestAttemptError::DbError(error, _) => matches!(
            error,
            DbError::Unavailable { .. }
                | DbError::Overloaded
                | DbError::IsBootstrapping
                | DbError::ReadTimeout { .. }
                | DbError::ReadFailure { .. }
                // What a serial read says that has met rivals for too long.
                | DbError::WriteTimeout { .. }
                | DbError::WriteFailure { .. }
                | DbError::ServerError
        ),
        _ => false,
    }
}

/// Whether the node refused before anything of the commit could reach a replica.
pub(crate) fn has_begun_nothing(error: &RequestAttemptError) -> bool {
    match error {
        // The request has not left this process.
        RequestAttemptError::UnableToAllocStreamId
        | RequestAttemptError::SerializationError(_)
        | RequestAttemptError::CqlRequestSerialization(_) => true,
        RequestAttemptError::DbError(error, _) => match error {
            // Too few replicas live for the decision itself. Once it has been made the
            // server speaks of the consistency of the write, or of a timeout.
            DbError::Unavailable { consistency, .. } => {
                matches!(consistency, Consistency::Serial | Consistency::LocalSerial)
            }
            DbError::IsBootstrapping => true,
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable(consistency: Consistency) -> RequestAttemptError {
        let error = DbError::Unavailable {
            consistency,
            required: 2,
            alive: 1,
        };
        RequestAttemptError::DbError(error, String::new())
    }

    #[test]
    fn a_commit_is_tried_again_only_where_nothing_has_begun() {
        assert!(has_begun_nothing(&unavailable(Consistency::Serial)));
        assert!(!has_begun_nothing(&unavailable(Consistency::Quorum)));
        for error in [DbError::Overloaded, DbError::ServerError] {
            let error = RequestAttemptError::DbError(error, String::new());
            assert!(!has_begun_nothing(&error), "{error}");
            assert!(is_the_nodes_fault(&error), "{error}");
        }
        let wrong = RequestAttemptError::DbError(DbError::Invalid, String::new());
        assert!(!is_the_nodes_fault(&wrong));
    }
}
