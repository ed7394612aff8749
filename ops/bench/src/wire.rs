//! The few messages of a load as protobuf bytes, written and read by hand.
//!
//! A batch of 8,192 entries as structs is 60,000 small strings; as bytes it is
//! one buffer. A test holds these bytes against the generated messages, so that
//! the contract cannot move away from under them.

use bytes::{BufMut, Bytes, BytesMut};

const LENGTH_DELIMITED: u32 = 2;
const VARINT: u32 = 0;

/// An entry's id: UUIDv7 with the time of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryId(pub u128);

impl EntryId {
    /// Milliseconds since the Unix epoch in front, `random` behind.
    pub fn new(unix_ms: u64, random: u128) -> Self {
        let time = u128::from(unix_ms & 0xffff_ffff_ffff) << 80;
        let rest = random & 0x0fff_3fff_ffff_ffff_ffff;
        Self(time | (0x7 << 76) | (0x2 << 62) | rest)
    }

    /// The usual text: 8-4-4-4-12 hexadecimal digits.
    pub fn text(self) -> [u8; 36] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let mut place = 0;
        for (number, byte) in self.0.to_be_bytes().into_iter().enumerate() {
            if matches!(number, 4 | 6 | 8 | 10) {
                place += 1;
            }
            // 32 digits and 4 dashes: `place` stays below 36.
            text[place] = DIGITS[usize::from(byte >> 4)];
            text[place + 1] = DIGITS[usize::from(byte & 15)];
            place += 2;
        }
        text
    }
}

/// One movement of money between two accounts of the load.
#[derive(Debug, Clone, Copy)]
pub struct Movement<'a> {
    /// Unique.
    pub id: EntryId,
    /// Whose balance falls: the entry's home.
    pub debtor: &'a str,
    /// Whose balance rises.
    pub creditor: &'a str,
    /// More than zero.
    pub amount_minor: i64,
}

/// The currency of all loads.
pub const CURRENCY: &str = "GBP";

/// `CreateEntryRequest`.
pub fn create_entry(movement: &Movement<'_>) -> Bytes {
    let mut out = BytesMut::with_capacity(192);
    entry(&mut out, movement);
    out.freeze()
}

/// `CreateEntriesRequest` with `brief`: adds one entry.
pub fn add_to_batch(out: &mut BytesMut, movement: &Movement<'_>) {
    entry(out, movement);
}

/// `CreateEntriesRequest` with `brief`: the end.
pub fn finish_batch(mut out: BytesMut) -> Bytes {
    tag(&mut out, 2, VARINT);
    varint(&mut out, 1);
    out.freeze()
}

/// `PlaceHoldRequest`.
pub fn place_hold(id: EntryId, account: &str, amount_minor: i64) -> Bytes {
    let mut out = BytesMut::with_capacity(128);
    text(&mut out, 1, &id.text());
    text(&mut out, 2, account.as_bytes());
    text(&mut out, 3, b"customer/main");
    text(&mut out, 5, CURRENCY.as_bytes());
    int64(&mut out, 6, amount_minor);
    out.freeze()
}

/// `CaptureHoldRequest`, final.
pub fn capture_hold(
    id: EntryId,
    account: &str,
    hold: EntryId,
    amount_minor: i64,
    to: &str,
) -> Bytes {
    let mut out = BytesMut::with_capacity(192);
    text(&mut out, 1, &id.text());
    text(&mut out, 2, account.as_bytes());
    text(&mut out, 3, &hold.text());
    int64(&mut out, 4, amount_minor);
    text(&mut out, 5, to.as_bytes());
    tag(&mut out, 7, VARINT);
    varint(&mut out, 1);
    out.freeze()
}

/// `ReleaseHoldRequest` of all that remains.
pub fn release_hold(id: EntryId, account: &str, hold: EntryId) -> Bytes {
    let mut out = BytesMut::with_capacity(128);
    text(&mut out, 1, &id.text());
    text(&mut out, 2, account.as_bytes());
    text(&mut out, 3, &hold.text());
    out.freeze()
}

/// Field 1 of both requests: an `Entry` with two legs on `customer/main`.
fn entry(out: &mut BytesMut, movement: &Movement<'_>) {
    let debit = -movement.amount_minor;
    let debtor = leg_length(movement.debtor, debit);
    let creditor = leg_length(movement.creditor, movement.amount_minor);
    let inside = 2 + 36 + delimited_length(debtor) + delimited_length(creditor);
    tag(out, 1, LENGTH_DELIMITED);
    varint(out, inside as u64);
    text(out, 1, &movement.id.text());
    leg(out, debtor, movement.debtor, debit);
    leg(out, creditor, movement.creditor, movement.amount_minor);
}

fn leg(out: &mut BytesMut, length: usize, account: &str, amount_minor: i64) {
    tag(out, 2, LENGTH_DELIMITED);
    varint(out, length as u64);
    text(out, 1, account.as_bytes());
    text(out, 3, CURRENCY.as_bytes());
    int64(out, 4, amount_minor);
}

fn leg_length(account: &str, amount_minor: i64) -> usize {
    delimited_length(account.len())
        + delimited_length(CURRENCY.len())
        + 1
        + varint_length(amount_minor as u64)
}

/// Of a field with a tag of one byte.
fn delimited_length(length: usize) -> usize {
    1 + varint_length(length as u64) + length
}

fn tag(out: &mut BytesMut, field: u32, kind: u32) {
    varint(out, u64::from(field << 3 | kind));
}

fn text(out: &mut BytesMut, field: u32, value: &[u8]) {
    tag(out, field, LENGTH_DELIMITED);
    varint(out, value.len() as u64);
    out.put_slice(value);
}

fn int64(out: &mut BytesMut, field: u32, value: i64) {
    tag(out, field, VARINT);
    // Protobuf's int64: a negative number is its two's complement.
    varint(out, value as u64);
}

fn varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value as u8) | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn varint_length(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// What a `CreateEntriesResponse` says, without reading what was accepted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcomes<'a> {
    /// How many entries were accepted.
    pub accepted: u64,
    /// The `Refusal` of each that was not.
    pub refused: Vec<&'a [u8]>,
}

/// Reads a `CreateEntriesResponse`; none if it is damaged.
pub fn outcomes(mut body: &[u8]) -> Option<Outcomes<'_>> {
    let mut found = Outcomes::default();
    while !body.is_empty() {
        let (field, outcome) = delimited(&mut body)?;
        if field != 1 {
            continue;
        }
        let mut inside = outcome;
        match delimited(&mut inside)? {
            (1, _) => found.accepted += 1,
            (2, refusal) => found.refused.push(refusal),
            _ => return None,
        }
    }
    Some(found)
}

/// Takes one length-delimited field off the front.
fn delimited<'a>(body: &mut &'a [u8]) -> Option<(u64, &'a [u8])> {
    let key = read_varint(body)?;
    if key & 7 != u64::from(LENGTH_DELIMITED) {
        return None;
    }
    let length = usize::try_from(read_varint(body)?).ok()?;
    let (value, rest) = body.split_at_checked(length)?;
    *body = rest;
    Some((key >> 3, value))
}

fn read_varint(body: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = body.split_first()?;
        *body = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use buffa::Message;
    use lombard_contracts::bank::ledger::v1;

    fn id() -> EntryId {
        EntryId::new(1_700_000_000_000, u128::MAX)
    }

    fn id_text() -> String {
        String::from_utf8(id().text().to_vec()).unwrap()
    }

    fn movement(amount_minor: i64) -> Movement<'static> {
        Movement {
            id: id(),
            debtor: "bench-0000001",
            creditor: "bench-0000002",
            amount_minor,
        }
    }

    fn expected_entry(amount_minor: i64) -> v1::Entry {
        let leg = |account: &str, amount_minor| v1::Leg {
            account: account.to_owned(),
            currency: CURRENCY.to_owned(),
            amount_minor,
            ..Default::default()
        };
        v1::Entry {
            id: id_text(),
            legs: vec![
                leg("bench-0000001", -amount_minor),
                leg("bench-0000002", amount_minor),
            ],
            ..Default::default()
        }
    }

    #[test]
    fn an_id_is_a_uuid_of_version_7() {
        assert_eq!(id_text(), "018bcfe5-6800-7fff-bfff-ffffffffffff");
    }

    #[test]
    fn requests_are_what_the_contract_says() {
        for amount_minor in [1, 127, 128, 16_384, i64::MAX] {
            let one =
                v1::CreateEntryRequest::decode_from_slice(&create_entry(&movement(amount_minor)))
                    .unwrap();
            assert_eq!(one.entry.as_option(), Some(&expected_entry(amount_minor)));
            let mut batch = BytesMut::new();
            add_to_batch(&mut batch, &movement(amount_minor));
            add_to_batch(&mut batch, &movement(amount_minor));
            let many = v1::CreateEntriesRequest::decode_from_slice(&finish_batch(batch)).unwrap();
            assert!(many.brief);
            assert_eq!(
                many.entries,
                [expected_entry(amount_minor), expected_entry(amount_minor)]
            );
        }
    }

    #[test]
    fn holds_are_what_the_contract_says() {
        let place = v1::PlaceHoldRequest::decode_from_slice(&place_hold(id(), "a", 300)).unwrap();
        assert_eq!(
            place,
            v1::PlaceHoldRequest {
                id: id_text(),
                account: "a".to_owned(),
                address: "customer/main".to_owned(),
                currency: CURRENCY.to_owned(),
                amount_minor: 300,
                ..Default::default()
            }
        );
        let other = EntryId::new(1, 1);
        let capture =
            v1::CaptureHoldRequest::decode_from_slice(&capture_hold(other, "a", id(), 300, "b"))
                .unwrap();
        assert_eq!(capture.hold_id, id_text());
        assert_eq!(capture.to_account, "b");
        assert_eq!((capture.amount_minor, capture.r#final), (300, true));
        let release =
            v1::ReleaseHoldRequest::decode_from_slice(&release_hold(other, "a", id())).unwrap();
        assert_eq!((release.hold_id, release.amount_minor), (id_text(), 0));
    }

    #[test]
    fn outcomes_are_counted_and_refusals_kept() {
        let accepted = v1::EntryOutcome {
            outcome: v1::EntryResult {
                id: id_text(),
                ..Default::default()
            }
            .into(),
            ..Default::default()
        };
        let refusal = v1::Refusal {
            reason: "FLOOR_BROKEN".to_owned(),
            ..Default::default()
        };
        let refused = v1::EntryOutcome {
            outcome: refusal.clone().into(),
            ..Default::default()
        };
        let body = v1::CreateEntriesResponse {
            outcomes: vec![accepted.clone(), refused, accepted],
            ..Default::default()
        }
        .encode_to_vec();
        let found = outcomes(&body).unwrap();
        assert_eq!(found.accepted, 2);
        assert_eq!(
            v1::Refusal::decode_from_slice(found.refused[0]).unwrap(),
            refusal
        );
        assert_eq!(outcomes(&body[..body.len() - 1]), None);
    }
}
