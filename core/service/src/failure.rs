//! What a failure of the store says to a caller.

use lombard_rpc::Error;
use lombard_store::StoreError;

/// A store's failure as a call's error: what is retryable is so because nothing was
/// changed, or because the caller's request is idempotent and finds its marker.
pub fn store_error(error: StoreError) -> Error {
    let message = error.to_string();
    match error {
        StoreError::Unavailable(_) => Error::unavailable("STORE_UNAVAILABLE", message),
        StoreError::Misconfigured(_) => Error::unavailable("STORE_MISCONFIGURED", message),
        StoreError::Ambiguous(_) => Error::unavailable("OUTCOME_UNKNOWN", message),
        StoreError::Damaged(_) => Error::data_loss("DATA_DAMAGED", message),
        StoreError::LimitExceeded(_) => {
            Error::resource_exhausted("LIMIT_EXCEEDED", message).retryable(false)
        }
        StoreError::Closed(_) => Error::unavailable("STORE_CLOSED", message),
        StoreError::Contended {
            attempts,
            partition,
        } => Error::aborted("CONTENDED", message)
            .with("attempts", attempts)
            .with("partition", partition),
    }
}
