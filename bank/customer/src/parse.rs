//! Requests, read into what the rules take. State is not looked at.

use jiff::civil::Date;
use lombard_contracts::bank::customer::v1::__buffa::view::{
    CreateCustomerRequestView, ListCustomersRequestView,
};

use crate::error::Error;
use crate::limits::{
    ACTOR_CHARS_MAX, EMAIL_CHARS_MAX, ID_CHARS_MAX, NAME_CHARS_MAX, PAGE_SIZE_DEFAULT,
    PAGE_SIZE_MAX,
};

/// A customer as he is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCustomer {
    /// Chosen by the client.
    pub id: String,
    /// The person's name.
    pub name: String,
    /// An e-mail address, or empty.
    pub email: String,
    /// When he was born, if he said.
    pub date_of_birth: Option<Date>,
    /// Who asks.
    pub actor: String,
}

/// Characters of a refused text that a message repeats.
const SHOWN_CHARS_MAX: usize = 40;
/// Nobody who lives was born before.
const BORN_YEAR_MIN: i16 = 1870;

/// Reads what creates a customer.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn new_customer(view: &CreateCustomerRequestView<'_>) -> Result<NewCustomer, Error> {
    Ok(NewCustomer {
        id: id(view.id)?.to_owned(),
        name: name(view.name)?.to_owned(),
        email: email(view.email)?.to_owned(),
        date_of_birth: date_of_birth(view.date_of_birth)?,
        actor: actor(view.actor)?.to_owned(),
    })
}

/// A page that is asked for: behind which customer, and how many.
///
/// # Errors
/// `PAGE_TOKEN_INVALID`, `PAGE_SIZE_INVALID`.
pub fn page<'a>(view: &ListCustomersRequestView<'a>) -> Result<(Option<&'a str>, usize), Error> {
    let after = match view.page_token {
        "" => None,
        token => Some(id(token).map_err(|_| {
            Error::invalid(
                "PAGE_TOKEN_INVALID",
                "a page token is what the page before gave",
            )
        })?),
    };
    let size = match view.page_size {
        0 => PAGE_SIZE_DEFAULT,
        size if size <= PAGE_SIZE_MAX => size,
        size => {
            return Err(Error::invalid(
                "PAGE_SIZE_INVALID",
                format!("a page has 1 to {PAGE_SIZE_MAX} customers, not {size}"),
            ));
        }
    };
    // 1,000 fits.
    Ok((after, size as usize))
}

/// A customer's id: 1 to 64 of A–Z a–z 0–9 . _ : -.
///
/// # Errors
/// `CUSTOMER_ID_INVALID`.
pub fn id(text: &str) -> Result<&str, Error> {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
    if (1..=ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(allowed) {
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

fn name(text: &str) -> Result<&str, Error> {
    if text.trim() == text && is_text(text, 1, NAME_CHARS_MAX) {
        return Ok(text);
    }
    Err(Error::invalid(
        "NAME_INVALID",
        format!(
            "a name is 1 to {NAME_CHARS_MAX} characters without control characters or spaces around it, not {}",
            shown(text)
        ),
    ))
}

/// The form only; whether mail arrives there, only mail can tell.
fn email(text: &str) -> Result<&str, Error> {
    let formed = text.split_once('@').is_some_and(|(mailbox, domain)| {
        !mailbox.is_empty() && !domain.is_empty() && !domain.contains('@')
    });
    let printable = |c: char| !c.is_whitespace() && !c.is_control();
    if text.is_empty() || (formed && text.len() <= EMAIL_CHARS_MAX && text.chars().all(printable)) {
        return Ok(text);
    }
    Err(Error::invalid(
        "EMAIL_INVALID",
        format!(
            "an e-mail address is mailbox@domain, at most {EMAIL_CHARS_MAX} characters, not {}",
            shown(text)
        ),
    ))
}

fn date_of_birth(text: &str) -> Result<Option<Date>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let date = if text.len() == "2000-01-31".len() {
        text.parse::<Date>().ok()
    } else {
        None
    };
    match date {
        Some(date) if date.year() >= BORN_YEAR_MIN => Ok(Some(date)),
        _ => Err(Error::invalid(
            "DATE_OF_BIRTH_INVALID",
            format!(
                "a date of birth is an ISO 8601 date from {BORN_YEAR_MIN} on, like 1990-12-31, not {}",
                shown(text)
            ),
        )),
    }
}

fn actor(text: &str) -> Result<&str, Error> {
    if is_text(text, 0, ACTOR_CHARS_MAX) {
        return Ok(text);
    }
    Err(Error::invalid(
        "ACTOR_INVALID",
        format!("an actor is up to {ACTOR_CHARS_MAX} characters without control characters"),
    ))
}

fn is_text(text: &str, chars_min: usize, chars_max: usize) -> bool {
    (chars_min..=chars_max).contains(&text.chars().count()) && !text.chars().any(char::is_control)
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
        name: &'a str,
        email: &'a str,
        born: &'a str,
    ) -> CreateCustomerRequestView<'a> {
        CreateCustomerRequestView {
            id,
            name,
            email,
            date_of_birth: born,
            ..Default::default()
        }
    }

    fn reason(view: &CreateCustomerRequestView<'_>) -> &'static str {
        match new_customer(view) {
            Ok(_) => "",
            Err(Error::Invalid { reason, .. }) => reason,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn each_wrong_field_is_named() {
        let long = "x".repeat(255);
        let long_email = format!("{}@example.com", "x".repeat(250));
        for (id, name, email, born, expected) in [
            ("ada", "Ada Lovelace", "ada@example.com", "1990-12-10", ""),
            ("a.B_c:9-", "Žofie Nováková", "", "", ""),
            ("", "Ada", "", "", "CUSTOMER_ID_INVALID"),
            ("a b", "Ada", "", "", "CUSTOMER_ID_INVALID"),
            ("é", "Ada", "", "", "CUSTOMER_ID_INVALID"),
            (&long[..65], "Ada", "", "", "CUSTOMER_ID_INVALID"),
            (&long[..64], "Ada", "", "", ""),
            ("ada", "", "", "", "NAME_INVALID"),
            ("ada", " Ada", "", "", "NAME_INVALID"),
            ("ada", "A\nda", "", "", "NAME_INVALID"),
            ("ada", &long[..141], "", "", "NAME_INVALID"),
            ("ada", "Ada", "example.com", "", "EMAIL_INVALID"),
            ("ada", "Ada", "@example.com", "", "EMAIL_INVALID"),
            ("ada", "Ada", "ada@", "", "EMAIL_INVALID"),
            ("ada", "Ada", "a@b@c", "", "EMAIL_INVALID"),
            ("ada", "Ada", "a da@example.com", "", "EMAIL_INVALID"),
            ("ada", "Ada", &long_email, "", "EMAIL_INVALID"),
            ("ada", "Ada", "", "1990-02-30", "DATE_OF_BIRTH_INVALID"),
            ("ada", "Ada", "", "10.12.1990", "DATE_OF_BIRTH_INVALID"),
            ("ada", "Ada", "", "19901210", "DATE_OF_BIRTH_INVALID"),
            ("ada", "Ada", "", "1815-12-10", "DATE_OF_BIRTH_INVALID"),
        ] {
            assert_eq!(
                reason(&request(id, name, email, born)),
                expected,
                "{id} {name} {email} {born}"
            );
        }
        let actor = CreateCustomerRequestView {
            actor: "\u{7}",
            ..request("ada", "Ada", "", "")
        };
        assert_eq!(reason(&actor), "ACTOR_INVALID");
    }

    #[test]
    fn a_page_has_its_bounds() {
        let page_of = |page_token, page_size| {
            page(&ListCustomersRequestView {
                page_token,
                page_size,
                ..Default::default()
            })
            .ok()
        };
        assert_eq!(page_of("", 0), Some((None, 100)));
        assert_eq!(page_of("ada", 1_000), Some((Some("ada"), 1_000)));
        assert_eq!(page_of("", 1_001), None);
        assert_eq!(page_of("a b", 1), None);
    }

    proptest! {
        #[test]
        fn any_request_is_read_or_refused(id in "\\PC{0,70}|[a-z]{1,9}", name in "\\PC{0,150}", email in "\\PC{0,30}(@\\PC{0,9})?", born in "\\PC{0,12}|[0-9]{4}-[0-9]{2}-[0-9]{2}") {
            if let Ok(read) = new_customer(&request(&id, &name, &email, &born)) {
                prop_assert_eq!((read.id, read.name, read.email), (id, name, email));
                prop_assert_eq!(read.date_of_birth.map(|date| date.to_string()).unwrap_or_default(), born);
            }
        }
    }
}
