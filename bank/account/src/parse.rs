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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request<'a>(
        id: &'a str,
        customer_id: &'a str,
        currency: &'a str,
        overdraft_minor: i64,
    ) -> OpenAccountRequestView<'a> {
        OpenAccountRequestView {
            id,
            customer_id,
            currency,
            overdraft_minor,
            ..Default::default()
        }
    }

    fn reason<T>(read: Result<T, Error>) -> &'static str {
        match read {
            Ok(_) => "",
            Err(Error::Invalid { reason, .. }) => reason,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn each_wrong_field_is_named() {
        let long = "x".repeat(65);
        for (id, customer, currency, overdraft, expected) in [
            ("a1", "ada", "", 0, ""),
            ("a.B_c:9-", "ada", "JPY", i64::MAX, ""),
            ("", "ada", "", 0, "ACCOUNT_ID_INVALID"),
            ("a/1", "ada", "", 0, "ACCOUNT_ID_INVALID"),
            (&long, "ada", "", 0, "ACCOUNT_ID_INVALID"),
            ("a1", "", "", 0, "CUSTOMER_ID_INVALID"),
            ("a1", "~ada", "", 0, "CUSTOMER_ID_INVALID"),
            ("a1", "ada", "gbp", 0, "UNKNOWN_CURRENCY"),
            ("a1", "ada", "XAU", 0, "UNKNOWN_CURRENCY"),
            ("a1", "ada", "", -1, "OVERDRAFT_INVALID"),
            ("a1", "ada", "", i64::MIN, "OVERDRAFT_INVALID"),
        ] {
            let read = opening(&request(id, customer, currency, overdraft));
            assert_eq!(
                reason(read),
                expected,
                "{id} {customer} {currency} {overdraft}"
            );
        }
        let (read, _) = opening(&request("a1", "ada", "", 0)).unwrap();
        assert_eq!(read.currency, "GBP");
        assert_eq!(reason(actor("\n")), "ACTOR_INVALID");
        assert_eq!(reason(page_size(1_001)), "PAGE_SIZE_INVALID");
        assert_eq!(page_size(0).ok(), Some(PAGE_SIZE_DEFAULT));
        assert_eq!(reason(account_token("a b")), "PAGE_TOKEN_INVALID");
        assert_eq!(reason(ledger_token(&"x".repeat(513))), "PAGE_TOKEN_INVALID");
    }

    proptest! {
        #[test]
        fn any_request_is_read_or_refused(id in "\\PC{0,70}|[a-z0-9]{1,9}", customer in "\\PC{0,9}|[a-z]{1,9}", currency in "\\PC{0,4}|GBP|JPY", overdraft: i64) {
            if let Ok((read, _)) = opening(&request(&id, &customer, &currency, overdraft)) {
                prop_assert_eq!((read.id, read.customer_id, read.overdraft_minor), (id, customer, overdraft));
                prop_assert!(currency.is_empty() || read.currency == currency);
            }
        }
    }
}
