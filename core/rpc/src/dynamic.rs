//! Calls by name, with JSON: what `lombard call` makes.

use connectrpc::client::{ClientTransport, full_body};
use connectrpc::{ConnectError, ErrorCode};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};

use crate::client::Channel;
use crate::{Error, Method, Service, services};

/// Finds a service by its short name (`ledger`), its name (`LedgerService`) or its
/// full name, and a method of it by name, with any case.
///
/// # Errors
/// `NO_SUCH_SERVICE` or `NO_SUCH_METHOD`, with the names that there are.
pub fn find(service: &str, method: &str) -> Result<(&'static Service, &'static Method), Error> {
    let found = services().iter().find(|candidate| {
        candidate.name.eq_ignore_ascii_case(service)
            || candidate.short_name().eq_ignore_ascii_case(service)
            || candidate
                .name
                .rsplit('.')
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case(service))
    });
    let Some(found) = found else {
        let names: Vec<&str> = services().iter().map(Service::short_name).collect();
        return Err(Error::not_found(
            "NO_SUCH_SERVICE",
            format!("no service {service:?}; there are {}", names.join(", ")),
        ));
    };
    let named = found
        .methods
        .iter()
        .find(|candidate| candidate.name.eq_ignore_ascii_case(method));
    match named {
        Some(named) => Ok((found, named)),
        None => {
            let names: Vec<&str> = found.methods.iter().map(|m| m.name.as_str()).collect();
            Err(Error::not_found(
                "NO_SUCH_METHOD",
                format!(
                    "{} has no method {method:?}; it has {}",
                    found.name,
                    names.join(", ")
                ),
            ))
        }
    }
}

/// Calls a unary method with a JSON body and returns the JSON answer.
///
/// # Errors
/// What the callee answered, or that it could not be reached.
pub async fn call(channel: &Channel, method: &Method, body: String) -> Result<String, Error> {
    let config = channel.config();
    let timeout = config.default_timeout().unwrap_or_default();
    let uri = format!(
        "{}{}",
        config.base_uri().to_string().trim_end_matches('/'),
        method.path
    );
    let request = Request::post(uri)
        .header(http::header::CONTENT_TYPE, "application/json")
        .header("connect-protocol-version", "1")
        .header(crate::client::TIMEOUT, timeout.as_millis().to_string())
        .body(full_body(body.into()))
        .map_err(|error| Error::invalid_argument("BAD_REQUEST", error.to_string()))?;
    let answered = tokio::time::timeout(timeout, async {
        let response = channel
            .send(request)
            .await
            .map_err(|error| Error::from_connect(&error))?;
        let status = response.status();
        let bytes_max = config.default_max_message_size().unwrap_or(usize::MAX);
        let body = Limited::new(response.into_body(), bytes_max)
            .collect()
            .await
            .map_err(|error| Error::unavailable(crate::reason::UNREACHABLE, error.to_string()))?
            .to_bytes();
        Ok((status, body))
    });
    let (status, body) = answered.await.unwrap_or_else(|_| {
        Err(Error::deadline_exceeded(
            crate::reason::DEADLINE_EXCEEDED,
            format!("no answer within {} ms", timeout.as_millis()),
        ))
    })?;
    let text = String::from_utf8_lossy(&body).into_owned();
    if status == StatusCode::OK {
        return Ok(text);
    }
    Err(match serde_json::from_slice::<ConnectError>(&body) {
        Ok(error) => Error::from_connect(&error),
        Err(_) => Error::new(
            ErrorCode::Unknown,
            "NOT_RPC",
            format!("the answer was HTTP status {status}: {text}"),
        ),
    })
}
