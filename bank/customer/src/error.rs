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
    /// There is no such customer.
    #[error("there is no customer {customer}")]
    NotFound {
        /// The id.
        customer: String,
    },
    /// The id is taken by a customer with other content.
    #[error("customer {customer} exists with another {field}; choose another id")]
    ExistsDifferent {
        /// The id.
        customer: String,
        /// The first field that differs.
        field: &'static str,
    },
    /// The customer is too young.
    #[error("a customer is at least {age_years_min} years old")]
    TooYoung {
        /// The least age, in whole years.
        age_years_min: u16,
    },
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

impl From<Error> for lombard_rpc::Error {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Invalid { reason, .. } => Self::invalid_argument(reason, message),
            Error::NotFound { customer } => {
                Self::not_found("CUSTOMER_NOT_FOUND", message).with("customer", customer)
            }
            Error::ExistsDifferent { customer, field } => {
                Self::already_exists("CUSTOMER_EXISTS_DIFFERENT", message)
                    .with("customer", customer)
                    .with("field", field)
            }
            Error::TooYoung { age_years_min } => {
                Self::failed_precondition("CUSTOMER_TOO_YOUNG", message)
                    .with("age_years_min", age_years_min)
            }
            Error::Store(error) => lombard_service::store_error(error),
        }
    }
}

impl From<Error> for ConnectError {
    fn from(error: Error) -> Self {
        lombard_rpc::Error::from(error).into()
    }
}
