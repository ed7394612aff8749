//! Gives the framework's own errors the shape that ours have.
//!
//! The framework answers bad JSON, unknown methods, large bodies and expired
//! deadlines itself, with a code and a sentence. Programs get a reason too.

use connectrpc::{ConnectError, ErrorCode};

use crate::error::Code;
use crate::{Error, reason};

/// The typed form of an error that has no detail of ours.
pub(super) fn typed(error: &ConnectError) -> Error {
    let message = error.message.as_deref().unwrap_or_default();
    match error.code {
        ErrorCode::InvalidArgument if message.starts_with("failed to decode") => decoding(message),
        ErrorCode::InvalidArgument if message.contains("limit") => too_large(message),
        ErrorCode::InvalidArgument => malformed(message),
        ErrorCode::ResourceExhausted if message.contains("exceeds limit") => too_large(message),
        ErrorCode::Internal if message.contains("exceeds limit") => too_large(message),
        ErrorCode::Internal if message.starts_with("failed to read request body") => Error::new(
            Code::Canceled,
            reason::MALFORMED_REQUEST,
            "the connection ended before the request's body did",
        ),
        ErrorCode::Unimplemented if message.starts_with("method not found") => {
            let path = message
                .strip_prefix("method not found: ")
                .unwrap_or_default();
            Error::unimplemented(
                reason::UNKNOWN_METHOD,
                format!("this server has no method {path}; GET / lists those that it has"),
            )
            .with("method", path)
        }
        ErrorCode::Unimplemented => {
            Error::unimplemented(reason::UNSUPPORTED_PROTOCOL, message.to_owned())
        }
        ErrorCode::DeadlineExceeded => Error::deadline_exceeded(
            reason::DEADLINE_EXCEEDED,
            "the call took longer than its deadline allows; nobody knows whether it was done",
        ),
        ErrorCode::Internal | ErrorCode::Unknown | ErrorCode::DataLoss => {
            Error::new(error.code, reason::INTERNAL, message.to_owned())
        }
        code => Error::new(code, code.as_str().to_ascii_uppercase(), message.to_owned()),
    }
}

/// A body that is not the message: the decoder's sentence says where.
fn decoding(message: &str) -> Error {
    let lower = message.to_ascii_lowercase();
    if let Some(field) = between(message, "unknown field `", "`") {
        let error = Error::invalid_argument(reason::UNKNOWN_FIELD, message.to_owned());
        return error.with("field", field);
    }
    if lower.contains("utf-8") || lower.contains("utf8") || lower.contains("unicode") {
        return Error::invalid_argument(reason::INVALID_UTF8, message.to_owned());
    }
    malformed(message)
}

fn malformed(message: &str) -> Error {
    Error::invalid_argument(reason::MALFORMED_REQUEST, message.to_owned())
}

fn too_large(message: &str) -> Error {
    let last = message.rsplit(' ').next().unwrap_or_default();
    let refused =
        |sentence| Error::resource_exhausted(reason::REQUEST_TOO_LARGE, sentence).retryable(false);
    match last.parse::<u64>() {
        Ok(limit) => refused(format!(
            "the request is larger than the {limit} bytes that this server takes; send it in parts"
        ))
        .with("limit_bytes", limit),
        Err(_) => refused(format!(
            "the request is larger than this server takes: {message}"
        )),
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(inside, _)| inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frameworks_sentences_get_reasons() {
        let table = [
            (
                ConnectError::invalid_argument(
                    "failed to decode JSON: unknown field `nmae`, expected one of `id`, `name` at line 1 column 8",
                ),
                "UNKNOWN_FIELD",
            ),
            (
                ConnectError::invalid_argument("failed to decode JSON: expected value at line 1"),
                "MALFORMED_REQUEST",
            ),
            (
                ConnectError::invalid_argument(
                    "failed to decode JSON: invalid unicode code point at line 1 column 9",
                ),
                "INVALID_UTF8",
            ),
            (
                ConnectError::invalid_argument("failed to decode proto request: invalid UTF-8"),
                "INVALID_UTF8",
            ),
            (
                ConnectError::resource_exhausted("request body size exceeds limit 4194304"),
                "REQUEST_TOO_LARGE",
            ),
            (
                ConnectError::unimplemented("method not found: bank.X/Y"),
                "UNKNOWN_METHOD",
            ),
            (
                ConnectError::deadline_exceeded("request timeout"),
                "DEADLINE_EXCEEDED",
            ),
            (ConnectError::not_found("no such thing"), "NOT_FOUND"),
        ];
        for (error, expected) in table {
            let typed = typed(&error);
            assert_eq!(typed.reason, expected, "{error:?}");
        }
        let large = typed(&ConnectError::resource_exhausted(
            "request body size exceeds limit 4194304",
        ));
        assert_eq!(large.metadata["limit_bytes"], "4194304");
        assert!(!large.retryable);
        let unknown = typed(&ConnectError::invalid_argument(
            "failed to decode JSON: unknown field `nmae`, expected `name`",
        ));
        assert_eq!(unknown.metadata["field"], "nmae");
    }
}
