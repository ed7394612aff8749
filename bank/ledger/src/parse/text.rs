//! The syntax of ids, names, days and free text.

use lombard_money::{Currency, CurrencyError};

use super::Bounds;
use crate::limits::{
    ACCOUNT_ID_CHARS_MAX, ACTOR_CHARS_MAX, ADDRESS_CHARS_MAX, METADATA_BYTES_MAX,
    METADATA_PAIRS_MAX, REFERENCE_CHARS_MAX,
};
use crate::refusal::Refusal;
use crate::types::{DEFAULT_ENTITY, EntryId, MAIN_ADDRESS, parse_day};

/// The namespace of addresses that only the ledger itself moves.
const INTERNAL_NAMESPACE: &str = "internal/";
/// 1900-01-01.
const VALUE_DAY_MIN: i32 = -25_567;
/// 2199-12-31.
const VALUE_DAY_MAX: i32 = 84_005;
/// Characters of a refused text that a message repeats.
const SHOWN_CHARS_MAX: usize = 40;

/// What may stand in account ids and in both parts of an address.
static NAME_BYTE: [bool; 256] = name_bytes();

const fn name_bytes() -> [bool; 256] {
    let mut allowed = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let c = byte as u8;
        allowed[byte] = c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b':' | b'-');
        byte += 1;
    }
    allowed
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| NAME_BYTE[usize::from(byte)])
}

/// The beginning of a text that came from outside, for a message.
pub(super) fn shown(text: &str) -> String {
    let mut chars = text.chars();
    let start: String = chars.by_ref().take(SHOWN_CHARS_MAX).collect();
    if chars.next().is_some() {
        format!("{start:?}…")
    } else {
        format!("{start:?}")
    }
}

/// An account's id: 1 to 64 of A–Z a–z 0–9 . _ : -. Ids of the ledger's own
/// accounts begin with `~` and are not accepted from outside.
///
/// # Errors
/// `ACCOUNT_ID_INVALID`.
pub fn account_id(text: &str) -> Result<&str, Refusal> {
    if text.len() <= ACCOUNT_ID_CHARS_MAX && is_name(text) {
        return Ok(text);
    }
    Err(Refusal::invalid(
        "ACCOUNT_ID_INVALID",
        format!(
            "an account id is 1 to {ACCOUNT_ID_CHARS_MAX} of A-Z a-z 0-9 . _ : -, not {}",
            shown(text)
        ),
    ))
}

/// The page token of a list of accounts: the account that the page before
/// ended with, which can be one of the ledger's own; empty is the first page.
///
/// # Errors
/// `PAGE_TOKEN_INVALID`.
pub fn account_token(text: &str) -> Result<&str, Refusal> {
    let name = text.strip_prefix('~').unwrap_or(text);
    if text.is_empty() || (text.len() <= ACCOUNT_ID_CHARS_MAX && is_name(name)) {
        return Ok(text);
    }
    Err(Refusal::invalid(
        "PAGE_TOKEN_INVALID",
        "a page token is what the page before gave, unchanged",
    ))
}

/// A legal entity's name; empty is "default".
///
/// # Errors
/// `ENTITY_INVALID`.
pub(super) fn entity(text: &str) -> Result<&str, Refusal> {
    match text {
        "" => Ok(DEFAULT_ENTITY),
        text if text.len() <= ACCOUNT_ID_CHARS_MAX && is_name(text) => Ok(text),
        text => Err(Refusal::invalid(
            "ENTITY_INVALID",
            format!(
                "a legal entity is 1 to {ACCOUNT_ID_CHARS_MAX} of A-Z a-z 0-9 . _ : -, not {}",
                shown(text)
            ),
        )),
    }
}

/// An address that a caller may move money on; empty is `customer/main`.
///
/// # Errors
/// `ADDRESS_INVALID`; `ADDRESS_RESERVED` for the ledger's own.
pub fn address(text: &str) -> Result<&str, Refusal> {
    if text.is_empty() {
        return Ok(MAIN_ADDRESS);
    }
    let name = address_name(text)?;
    if name.starts_with(INTERNAL_NAMESPACE) {
        return Err(Refusal::invalid(
            "ADDRESS_RESERVED",
            format!("{name} is moved by the ledger itself; choose another namespace"),
        ));
    }
    Ok(name)
}

/// Any address: "namespace/name".
///
/// # Errors
/// `ADDRESS_INVALID`.
pub fn address_name(text: &str) -> Result<&str, Refusal> {
    let valid = text.len() <= ADDRESS_CHARS_MAX
        && text
            .split_once('/')
            .is_some_and(|(namespace, name)| is_name(namespace) && is_name(name));
    if valid {
        return Ok(text);
    }
    Err(Refusal::invalid(
        "ADDRESS_INVALID",
        format!(
            "an address is namespace/name of A-Z a-z 0-9 . _ : -, at most {ADDRESS_CHARS_MAX} characters, not {}",
            shown(text)
        ),
    ))
}

/// A currency that money can be held in.
///
/// # Errors
/// `UNKNOWN_CURRENCY`.
pub fn currency(text: &str) -> Result<Currency, Refusal> {
    Currency::parse(text)
        .map_err(|error: CurrencyError| Refusal::invalid("UNKNOWN_CURRENCY", error.to_string()))
}

/// The id of a new entry or hold.
///
/// # Errors
/// `ENTRY_ID_INVALID`; `ENTRY_ID_IN_FUTURE` beyond the allowed clock skew.
pub(super) fn new_id(text: &str, bounds: &Bounds) -> Result<EntryId, Refusal> {
    let id = entry_id(text)?;
    if id.time_ms() > bounds.latest_id_ms {
        return Err(Refusal::invalid(
            "ENTRY_ID_IN_FUTURE",
            format!(
                "entry id {id} has the time {} ms, which is {} ms later than this clock and the allowed skew: its first 48 bits are the time of its making (UUIDv7)",
                id.time_ms(),
                id.time_ms() - bounds.latest_id_ms
            ),
        ));
    }
    Ok(id)
}

/// An id that names something that exists.
///
/// # Errors
/// `ENTRY_ID_INVALID`.
pub fn entry_id(text: &str) -> Result<EntryId, Refusal> {
    EntryId::parse(text)
        .filter(|id| id.0 != [0; 16])
        .ok_or_else(|| {
            Refusal::invalid(
                "ENTRY_ID_INVALID",
                format!("an id is a UUID that is not nil, not {}", shown(text)),
            )
        })
}

/// A value date; empty is none.
///
/// # Errors
/// `VALUE_DATE_INVALID`.
pub fn value_date(text: &str) -> Result<Option<i32>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    match parse_day(text) {
        Some(day) if (VALUE_DAY_MIN..=VALUE_DAY_MAX).contains(&day) => Ok(Some(day)),
        Some(_) => Err(Refusal::invalid(
            "VALUE_DATE_INVALID",
            format!(
                "a value date is from 1900-01-01 to 2199-12-31, not {}",
                shown(text)
            ),
        )),
        None => Err(Refusal::invalid(
            "VALUE_DATE_INVALID",
            format!(
                "a value date is a calendar date as 2026-11-21, not {}",
                shown(text)
            ),
        )),
    }
}

/// A reference: up to 140 characters, none of them a control character.
///
/// # Errors
/// `REFERENCE_INVALID`.
pub(super) fn reference(text: &str) -> Result<&str, Refusal> {
    line(
        text,
        REFERENCE_CHARS_MAX,
        "REFERENCE_INVALID",
        "a reference",
    )
}

/// Who caused it.
///
/// # Errors
/// `ACTOR_INVALID`.
pub fn actor(text: &str) -> Result<&str, Refusal> {
    line(text, ACTOR_CHARS_MAX, "ACTOR_INVALID", "an actor")
}

fn line<'a>(
    text: &'a str,
    chars_max: usize,
    reason: &'static str,
    what: &str,
) -> Result<&'a str, Refusal> {
    // As many bytes as characters allowed: nothing to count.
    let short = text.len() <= chars_max || text.chars().count() <= chars_max;
    if short && !text.chars().any(char::is_control) {
        return Ok(text);
    }
    Err(Refusal::invalid(
        reason,
        format!(
            "{what} has up to {chars_max} characters, none of them a control character, not {}",
            shown(text)
        ),
    ))
}

/// Checks pairs of metadata, as they came: up to 16, 1 KiB in all, no empty or repeated key.
///
/// # Errors
/// `METADATA_INVALID`.
pub(super) fn check_metadata<'a>(
    pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> Result<(), Refusal> {
    let refuse = |message: String| Err(Refusal::invalid("METADATA_INVALID", message));
    let (mut count, mut bytes) = (0, 0);
    for (key, value) in pairs.clone() {
        count += 1;
        bytes += key.len() + value.len();
        if key.is_empty() {
            return refuse("a key of metadata is empty".to_owned());
        }
        if key.chars().chain(value.chars()).any(char::is_control) {
            return refuse(format!("metadata {} has a control character", shown(key)));
        }
        if count > METADATA_PAIRS_MAX || bytes > METADATA_BYTES_MAX {
            return refuse(format!(
                "metadata has up to {METADATA_PAIRS_MAX} pairs, {METADATA_BYTES_MAX} bytes in all"
            ));
        }
        if pairs.clone().filter(|(other, _)| *other == key).count() > 1 {
            return refuse(format!("metadata has the key {} twice", shown(key)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::print_day;

    fn reason<T: std::fmt::Debug>(result: Result<T, Refusal>) -> String {
        result.unwrap_err().reason().to_owned()
    }

    #[test]
    fn account_ids_are_what_the_contract_says() {
        for good in ["a", "berka-576", "GB29.NWBK_6016:1331-9", &"x".repeat(64)] {
            assert_eq!(account_id(good), Ok(good));
        }
        for bad in ["", "~suspense", "a b", "a/b", "é", "a\0", &"x".repeat(65)] {
            assert_eq!(reason(account_id(bad)), "ACCOUNT_ID_INVALID", "{bad}");
        }
    }

    #[test]
    fn addresses_are_namespace_and_name() {
        assert_eq!(address(""), Ok("customer/main"));
        for good in ["customer/pot:holiday", "bank/settlement:mastercard", "a/b"] {
            assert_eq!(address(good), Ok(good));
        }
        for bad in [
            "customer",
            "/",
            "customer/",
            "/main",
            "a/b/c",
            "customer/ma in",
            &format!("a/{}", "x".repeat(96)),
        ] {
            assert_eq!(reason(address(bad)), "ADDRESS_INVALID", "{bad}");
        }
        assert_eq!(reason(address("internal/reserved")), "ADDRESS_RESERVED");
        assert_eq!(address_name("internal/reserved"), Ok("internal/reserved"));
    }

    #[test]
    fn ids_from_the_future_are_refused() {
        let bounds = Bounds {
            latest_id_ms: 1_000,
        };
        let id = |ms: u64| {
            format!(
                "{:08x}-{:04x}-7000-8000-000000000001",
                ms >> 16,
                ms & 0xffff
            )
        };
        assert!(new_id(&id(1_000), &bounds).is_ok());
        assert_eq!(reason(new_id(&id(1_001), &bounds)), "ENTRY_ID_IN_FUTURE");
        for bad in [
            "",
            "x",
            "00000000-0000-0000-0000-000000000000",
            "0190a5d8-6c00-7abc-8def-0123456789a",
        ] {
            assert_eq!(reason(new_id(bad, &bounds)), "ENTRY_ID_INVALID", "{bad}");
        }
    }

    #[test]
    fn value_dates_are_sane_days() {
        assert_eq!(value_date(""), Ok(None));
        assert_eq!(value_date("1900-01-01"), Ok(Some(VALUE_DAY_MIN)));
        assert_eq!(value_date("2199-12-31"), Ok(Some(VALUE_DAY_MAX)));
        for bad in [
            "1899-12-31",
            "2200-01-01",
            "2026-02-30",
            "tomorrow",
            "2026-1-1",
        ] {
            assert_eq!(reason(value_date(bad)), "VALUE_DATE_INVALID", "{bad}");
        }
        assert_eq!(print_day(VALUE_DAY_MIN), "1900-01-01");
    }

    #[test]
    fn free_text_has_its_limits() {
        assert!(reference(&"é".repeat(140)).is_ok());
        assert_eq!(reason(reference(&"é".repeat(141))), "REFERENCE_INVALID");
        assert_eq!(reason(reference("line\nfeed")), "REFERENCE_INVALID");
        assert_eq!(reason(actor(&"a".repeat(129))), "ACTOR_INVALID");
        let many: Vec<(String, String)> =
            (0..17).map(|n| (format!("k{n}"), String::new())).collect();
        let pairs = || {
            many.iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
        };
        assert_eq!(check_metadata(pairs().take(16)), Ok(()));
        assert_eq!(reason(check_metadata(pairs())), "METADATA_INVALID");
        assert_eq!(
            reason(check_metadata([("", "x")].into_iter())),
            "METADATA_INVALID"
        );
        assert_eq!(
            reason(check_metadata([("k", "1"), ("k", "2")].into_iter())),
            "METADATA_INVALID"
        );
        let long = "v".repeat(1_024);
        assert_eq!(
            reason(check_metadata([("k", long.as_str())].into_iter())),
            "METADATA_INVALID"
        );
    }
}
