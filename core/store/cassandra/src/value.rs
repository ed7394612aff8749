//! How a row's value is stored: with a checksum, since Cassandra keeps none that reaches
//! from the writer to the reader.
//!
//! ```text
//! 1 byte   the form of what follows: 1
//! …        the value
//! 4 bytes  CRC-32C, big end first, over: length of the partition's key (4 bytes, big end
//!          first), that key, length of the row's key, that key, and all bytes before
//! ```
//!
//! The keys are in it, so that a value cannot be taken for that of another row.

use bytes::{BufMut, Bytes};
use lombard_store::StoreError;

/// The form that this version writes.
const FORM: u8 = 1;
const CHECKSUM_BYTES: usize = 4;

/// The value as it is stored.
pub(crate) fn seal(partition: &[u8], key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(1 + value.len() + CHECKSUM_BYTES);
    stored.put_u8(FORM);
    stored.put_slice(value);
    let checksum = checksum(partition, key, &stored);
    stored.put_u32(checksum);
    stored
}

/// The value out of what is stored.
///
/// # Errors
/// [`StoreError::Damaged`] names the row and says what is wrong with it.
pub(crate) fn open(partition: &[u8], key: &[u8], stored: &Bytes) -> Result<Bytes, StoreError> {
    let damaged = |what: &str| {
        Err(StoreError::Damaged(format!(
            "row {} of partition {}: {what} ({} bytes stored)",
            key.escape_ascii(),
            partition.escape_ascii(),
            stored.len()
        )))
    };
    let Some((sealed, end)) = stored.split_last_chunk::<CHECKSUM_BYTES>() else {
        return damaged("too short for a value and its checksum");
    };
    if u32::from_be_bytes(*end) != checksum(partition, key, sealed) {
        return damaged("the checksum does not fit");
    }
    match sealed.first() {
        Some(&FORM) => Ok(stored.slice(1..sealed.len())),
        Some(form) => damaged(&format!("of the unknown form {form}")),
        None => damaged("without a form"),
    }
}

fn checksum(partition: &[u8], key: &[u8], sealed: &[u8]) -> u32 {
    let mut checksum = 0;
    for part in [partition, key] {
        // Keys are some hundred bytes at most.
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        checksum = crc32c::crc32c_append(checksum, &length.to_be_bytes());
        checksum = crc32c::crc32c_append(checksum, part);
    }
    crc32c::crc32c_append(checksum, sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_and_any_flipped_bit_is_found() {
        let stored = seal(b"p", b"key", b"some value");
        let value = open(b"p", b"key", &Bytes::from(stored.clone())).unwrap();
        assert_eq!(value, &b"some value"[..]);
        for bit in 0..stored.len() * 8 {
            let mut damaged = stored.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let opened = open(b"p", b"key", &Bytes::from(damaged));
            assert!(matches!(opened, Err(StoreError::Damaged(_))), "bit {bit}");
        }
    }

    #[test]
    fn a_value_belongs_to_its_row() {
        let stored = Bytes::from(seal(b"p", b"key", b"value"));
        for (partition, key) in [(&b"q"[..], &b"key"[..]), (b"p", b"kex"), (b"pk", b"ey")] {
            let opened = open(partition, key, &stored);
            assert!(matches!(opened, Err(StoreError::Damaged(_))));
        }
    }

    #[test]
    fn what_is_no_value_is_damage_with_the_rows_name() {
        for stored in [&b""[..], b"abc", b"\0\0\0\0", b"\x02abcd"] {
            let error = open(b"p", b"k\xff", &Bytes::from_static(stored)).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(r"row k\xff of partition p"), "{text}");
        }
    }

    #[test]
    fn an_empty_value_is_a_value() {
        let stored = Bytes::from(seal(b"p", b"key", b""));
        assert_eq!(open(b"p", b"key", &stored).unwrap(), Bytes::new());
    }
}
