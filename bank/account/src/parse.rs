//! Requests, read into what the rules take. State is not looked at.

use lombard_contracts::bank::account::v1::__buffa::view::OpenAccountRequestView;
use lombard_money::Currency;

use crate::error::Error;
use crate::limits::{
    ACTOR_CHARS_MAX, ID_CHARS_MAX, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, PAGE_TOKEN_CHARS_MAX,
};
use crate::rules::Opening;

/// Characters of a refused text that a message repeats.
const SHOWN_CHARS_MAX: usize = 40;

/// Reads what opens an account, and who asks.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn opening(view: &OpenAccountRequestView<'_>) -> Result<(Opening, String), Error> {
    let currency = match view.currency {
        "" => Currency::GBP,
        code => Currency::parse(code)
            .map_err(|error| Error::invalid("UNKNOWN_CURRENCY", error.to_string()))?,
    };
    if view.overdraft_minor < 0 {
        return Err(Error::invalid(
            "OVERDRAFT_INVALID",
            format!(
                "an overdraft limit is 0 or more minor units, not {}",
                view.overdraft_minor
            ),
        ));
    }
    let opening = Opening {
        id: account_id(view.id)?.to_owned(),
        customer_id: customer_id(view.customer_id)?.to_owned(),
        currency: currency.code().to_owned(),
        overdraft_minor: view.overdraft_minor,
    };
    Ok((opening, actor(view.actor)?.to_owned()))
}

/// An account's id: 1 to 64 of A–Z a–z 0–9 . _ : -, as the ledger has it.
///
/// # Errors
/// `ACCOUNT_ID_INVALID`.
pub fn account_id(text: &str) -> Result<&str, Error> {
    if is_id(text) {
        return Ok(text);
    }
    Err(Error::invalid(
        "ACCOUNT_ID_INVALID",
        format!(
            "an account id is 1 to {ID_CHARS_MAX} of A-Z a-z 0-9 . _ : -, not {}",
            shown(text)
        ),
    ))
}

/// A customer's id: 1 to 64 of A–Z a–z 0–9 . _ : -.
///
/// # Errors
/// `CUSTOMER_ID_INVALID`.
pub fn customer_id(text: &str) -> Result<&str, Error> {
    if is_id(text) {
        return Ok(text);
    }
    Err(Error::invalid(
        "CUSTOMER_ID_INVALID",
        format!(
            "a customer id is 1 to {ID_CHARS_MAX} of A-Z a-z 0-9 . _ : -, not {}",
            shown(text)
        ),
    ))
}

/// Who asks; may be empty.
///
/// # Errors
/// `ACTOR_INVALID`.
pub fn actor(text: &str) -> Result<&str, Error> {
    if text.chars().count() <= ACTOR_CHARS_MAX && !text.chars().any(char::is_control) {
        return Ok(text);
    }
    Err(Error::invalid(
        "ACTOR_INVALID",
        format!("an actor is up to {ACTOR_CHARS_MAX} characters without control characters"),
    ))
}

/// How many accounts or lines a page shall have.
///
/// # Errors
/// `PAGE_SIZE_INVALID`.
pub fn page_size(size: u32) -> Result<u32, Error> {
    match size {
        0 => Ok(PAGE_SIZE_DEFAULT),
        size if size <= PAGE_SIZE_MAX => Ok(size),
        size => Err(Error::invalid(
            "PAGE_SIZE_INVALID",
            format!("a page has 1 to {PAGE_SIZE_MAX} items, not {size}"),
        )),
    }
}

/// Behind which account a page of accounts begins.
///
/// # Errors
/// `PAGE_TOKEN_INVALID`.
pub fn account_token(token: &str) -> Result<Option<&str>, Error> {
    match token {
        "" => Ok(None),
        token if is_id(token) => Ok(Some(token)),
        _ => Err(page_token_invalid()),
    }
}

/// A page token that is the ledger's to read.
///
/// # Errors
/// `PAGE_TOKEN_INVALID`.
pub fn ledger_token(token: &str) -> Result<&str, Error> {
    if token.len() <= PAGE_TOKEN_CHARS_MAX {
        Ok(token)
    } else {
        Err(page_token_invalid())
    }
}

fn page_token_invalid() -> Error {
    Error::invalid(
        "PAGE_TOKEN_INVALID",
        "a page token is what the page before gave",
    )
}

fn is_id(text: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
    (1..=ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

/// The beginning of a text that came from outside, for a message.
fn shown(text: &str) -> String {
    let mut chars = text.chars();
    let start: String = chars.by_ref().take(SHOWN_CHARS_MAX).collect();
    if chars.next().is_some() {
        format!("{start:?}…")
    } else {
        format!("{start:?}")
    }
}
