//! The one shape of an error, the same in every service.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use buffa::{Message, MessageName};
use connectrpc::{ConnectError, ErrorDetail};
use lombard_contracts::rpc::v1::ErrorInfo;

use crate::context;

pub use connectrpc::ErrorCode as Code;

/// Reasons that the stack itself gives. Services add their own.
pub mod reason {
    /// The body is not what its content type says, or does not fit the message.
    pub const MALFORMED_REQUEST: &str = "MALFORMED_REQUEST";
    /// A JSON body names a field that the message does not have.
    pub const UNKNOWN_FIELD: &str = "UNKNOWN_FIELD";
    /// Text in the body is not UTF-8.
    pub const INVALID_UTF8: &str = "INVALID_UTF8";
    /// The body is larger than the server takes.
    pub const REQUEST_TOO_LARGE: &str = "REQUEST_TOO_LARGE";
    /// The server has no such method.
    pub const UNKNOWN_METHOD: &str = "UNKNOWN_METHOD";
    /// The content type or the HTTP method is not one of RPC.
    pub const UNSUPPORTED_PROTOCOL: &str = "UNSUPPORTED_PROTOCOL";
    /// The time that the caller gave was over.
    pub const DEADLINE_EXCEEDED: &str = "DEADLINE_EXCEEDED";
    /// The server has as many calls in progress as it takes.
    pub const OVERLOADED: &str = "OVERLOADED";
    /// The server is starting, and waits for something.
    pub const STARTING: &str = "STARTING";
    /// The server is stopping; another replica, or it again, will answer.
    pub const DRAINING: &str = "DRAINING";
    /// A defect of ours; `metadata.id` is in the log too.
    pub const INTERNAL: &str = "INTERNAL";
    /// No connection to the callee, or it broke before the answer.
    pub const UNREACHABLE: &str = "UNREACHABLE";
}

/// Why a call did not succeed.
///
/// Over the wire it is a Connect error with a `rpc.v1.ErrorInfo` detail. Handlers
/// return it through `?`: `From<Error> for ConnectError` attaches the detail.
///
/// ```
/// use lombard_rpc::{Code, Error};
/// let error = Error::failed_precondition("FLOOR_BROKEN", "alice has 1.00 GBP, 2.00 was asked for")
///     .with("account", "alice")
///     .with("available_minor", 100);
/// assert_eq!(error.code, Code::FailedPrecondition);
/// let wire = connectrpc::ConnectError::from(error.clone());
/// assert_eq!(Error::from_connect(&wire), error);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// How a program should react.
    pub code: Code,
    /// Why, in SCREAMING_SNAKE: stable, for programs.
    pub reason: Cow<'static, str>,
    /// A sentence for a person: what was wrong, where, what to do.
    pub message: String,
    /// Figures and names of the case.
    pub metadata: BTreeMap<String, String>,
    /// Whether the same request may succeed when it is sent again unchanged.
    pub retryable: bool,
    /// The service that refused. Empty means the one that is running.
    pub domain: Cow<'static, str>,
}

impl Error {
    /// An error of any code. `retryable` is set for `unavailable`, `aborted`,
    /// `resource_exhausted` and `deadline_exceeded`; change it with [`Error::retryable`].
    pub fn new(
        code: Code,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code,
            reason: reason.into(),
            message: message.into(),
            metadata: BTreeMap::new(),
            retryable: matches!(
                code,
                Code::Unavailable
                    | Code::Aborted
                    | Code::ResourceExhausted
                    | Code::DeadlineExceeded
            ),
            domain: Cow::Borrowed(""),
        }
    }

    /// The request can never be right, whatever the state.
    pub fn invalid_argument(
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Code::InvalidArgument, reason, message)
    }

    /// What the request names does not exist.
    pub fn not_found(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, reason, message)
    }

    /// The id is in use, with other content.
    pub fn already_exists(
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Code::AlreadyExists, reason, message)
    }

    /// The state forbids it: the caller must change something first.
    pub fn failed_precondition(
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Code::FailedPrecondition, reason, message)
    }

    /// Others changed the same thing at the same time; try again.
    pub fn aborted(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Code::Aborted, reason, message)
    }

    /// A position or number behind the end of what there is.
    pub fn out_of_range(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Code::OutOfRange, reason, message)
    }

    /// Who calls is known, and may not.
    pub fn permission_denied(
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Code::PermissionDenied, reason, message)
    }

    /// Who calls is not known.
    pub fn unauthenticated(
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Code::Unauthenticated, reason, message)
    }

    /// A limit or quota is used up.
    pub fn resource_exhausted(
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Code::ResourceExhausted, reason, message)
    }

    /// Not just now; nothing was changed.
    pub fn unavailable(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, reason, message)
    }

    /// The time was over; nobody knows whether it was done.
    pub fn deadline_exceeded(
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Code::DeadlineExceeded, reason, message)
    }

    /// There is no such method, or not with these options.
    pub fn unimplemented(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Code::Unimplemented, reason, message)
    }

    /// A defect of ours.
    pub fn internal(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Code::Internal, reason, message)
    }

    /// Stored data cannot be read.
    pub fn data_loss(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Code::DataLoss, reason, message)
    }

    /// Adds a figure or name of the case.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.metadata.insert(key.into(), value.to_string());
        self
    }

    /// Says whether sending it again unchanged may help.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.retryable = retryable;
        self
    }

    /// The detail as it travels.
    fn info(&self) -> ErrorInfo {
        let domain = if self.domain.is_empty() {
            context::with(|call| call.service.to_owned()).unwrap_or_default()
        } else {
            self.domain.clone().into_owned()
        };
        ErrorInfo {
            reason: self.reason.clone().into_owned(),
            domain,
            metadata: self.metadata.clone().into_iter().collect(),
            retryable: self.retryable,
            ..ErrorInfo::default()
        }
    }

    /// What a received Connect error says. Without a detail of ours (another
    /// server, a broken connection) the reason is made from the code.
    pub fn from_connect(error: &ConnectError) -> Self {
        let message = error.message.clone().unwrap_or_default();
        let info = error
            .details
            .iter()
            .filter(|detail| type_name(&detail.type_url) == ErrorInfo::FULL_NAME)
            .find_map(decode_detail);
        let Some(info) = info else {
            let reason = match error.code {
                Code::Unavailable => reason::UNREACHABLE.into(),
                Code::DeadlineExceeded => reason::DEADLINE_EXCEEDED.into(),
                code => Cow::Owned(code.as_str().to_ascii_uppercase()),
            };
            return Self::new(error.code, reason, message);
        };
        let message = message
            .strip_prefix(&info.reason)
            .and_then(|rest| rest.strip_prefix(": "))
            .map(str::to_owned)
            .unwrap_or(message);
        Self {
            code: error.code,
            reason: info.reason.into(),
            message,
            metadata: info.metadata.into_iter().collect(),
            retryable: info.retryable,
            domain: info.domain.into(),
        }
    }

    /// Whether a Connect error already carries our detail.
    pub(crate) fn is_typed(error: &ConnectError) -> bool {
        error
            .details
            .iter()
            .any(|detail| type_name(&detail.type_url) == ErrorInfo::FULL_NAME)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)?;
        for (index, (key, value)) in self.metadata.iter().enumerate() {
            let before = if index == 0 { " (" } else { ", " };
            write!(f, "{before}{key}: {value}")?;
        }
        if !self.metadata.is_empty() {
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<Error> for ConnectError {
    /// The reason stands in the message, for people, and in the detail, for programs;
    /// the detail has its readable form too, because `curl` decodes no protobuf.
    fn from(error: Error) -> Self {
        let info = error.info();
        let mut detail = ErrorDetail::from_message(ErrorInfo::FULL_NAME, &info);
        detail.debug = serde_json::to_value(&info).ok();
        ConnectError::new(error.code, format!("{}: {}", error.reason, error.message))
            .with_detail(detail)
    }
}

/// `type.googleapis.com/rpc.v1.ErrorInfo` and `rpc.v1.ErrorInfo` are the same type.
fn type_name(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

fn decode_detail(detail: &ErrorDetail) -> Option<ErrorInfo> {
    let value = detail.value.as_deref()?;
    let bytes = STANDARD_NO_PAD
        .decode(value)
        .or_else(|_| STANDARD.decode(value))
        .ok()?;
    ErrorInfo::decode_from_slice(&bytes).ok()
}
