//! Why the service says no.

use connectrpc::ConnectError;
use lombard_store::StoreError;
use thiserror::Error;

/// What can go wrong with a call.
#[derive(Debug, Clone, Error)]
pub enum Error {
    /// A field is wrong in itself.
    #[error("{message}")]
    Invalid {
        /// SCREAMING_SNAKE.
        reason: &'static str,
        /// For a person.
        message: String,
    },
    /// There is no such account.
    #[error("there is no account {account}")]
    NotFound {
        /// The id.
        account: String,
    },
    /// The id is taken by an account with other content.
    #[error("account {account} exists with another {field}; choose another id")]
    ExistsDifferent {
        /// The id.
        account: String,
        /// What differs.
        field: &'static str,
    },
    /// The account is still being opened.
    #[error("account {account} is still being opened; open it again to finish that")]
    NotOpen {
        /// The id.
        account: String,
    },
    /// The account is closed for good.
    #[error("account {account} is closed")]
    Closed {
        /// The id.
        account: String,
    },
    /// The sort code has no free number left.
    #[error("sort code {sort_code} has no account number left")]
    NumbersExhausted {
        /// The bank's sort code.
        sort_code: String,
    },
    /// Another service refused, or could not be asked.
    #[error("{0}")]
    Call(Box<lombard_rpc::Error>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Error {
    pub(crate) fn invalid(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid {
            reason,
            message: message.into(),
        }
    }
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        Self::Call(Box::new(lombard_rpc::Error::from_connect(&error)))
    }
}

impl From<Error> for lombard_rpc::Error {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Invalid { reason, .. } => Self::invalid_argument(reason, message),
            Error::NotFound { account } => {
                Self::not_found("ACCOUNT_NOT_FOUND", message).with("account", account)
            }
            Error::ExistsDifferent { account, field } => {
                Self::already_exists("ACCOUNT_EXISTS_DIFFERENT", message)
                    .with("account", account)
                    .with("field", field)
            }
            Error::NotOpen { account } => {
                Self::failed_precondition("ACCOUNT_NOT_OPEN", message).with("account", account)
            }
            Error::Closed { account } => {
                Self::failed_precondition("ACCOUNT_CLOSED", message).with("account", account)
            }
            Error::NumbersExhausted { sort_code } => {
                Self::resource_exhausted("ACCOUNT_NUMBERS_EXHAUSTED", message)
                    .retryable(false)
                    .with("sort_code", sort_code)
            }
            Error::Call(error) => *error,
            Error::Store(error) => lombard_service::store_error(error),
        }
    }
}

impl From<Error> for ConnectError {
    fn from(error: Error) -> Self {
        lombard_rpc::Error::from(error).into()
    }
}
