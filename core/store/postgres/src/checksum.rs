//! What is stored of a row's value: the value, and four bytes that tell whether it is
//! the one that was written under this key.

use bytes::{BufMut, Bytes, BytesMut};
use lombard_store::StoreError;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

/// Of the checksum.
const BYTES: usize = 4;

/// CRC-32C (Castagnoli) over the partition's key, the row's key and the value; the keys
/// with their lengths, so that no byte can move from one to the other.
fn checksum(partition: &[u8], key: &[u8], value: &[u8]) -> u32 {
    let mut crc = 0;
    for part in [partition, key] {
        crc = crc32c::crc32c_append(crc, &(part.len() as u64).to_be_bytes());
        crc = crc32c::crc32c_append(crc, part);
    }
    crc32c::crc32c_append(crc, value)
}

/// A value as it is stored: a parameter of a statement.
#[derive(Debug)]
pub struct Sealed<'a> {
    value: &'a [u8],
    checksum: u32,
}

impl<'a> Sealed<'a> {
    /// The row's value.
    pub fn new(partition: &[u8], key: &[u8], value: &'a [u8]) -> Self {
        Self {
            value,
            checksum: checksum(partition, key, value),
        }
    }
}

impl ToSql for Sealed<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.put_slice(self.value);
        out.put_u32(self.checksum);
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::BYTEA
    }

    to_sql_checked!();
}

/// The value of what is stored.
///
/// # Errors
/// [`StoreError::Damaged`] names the row.
pub fn open(partition: &[u8], key: &[u8], stored: &[u8]) -> Result<Bytes, StoreError> {
    let damaged = |what: &str| {
        StoreError::Damaged(format!(
            "row {} of partition {}: {what}",
            key.escape_ascii(),
            partition.escape_ascii()
        ))
    };
    let Some((value, sum)) = stored.split_last_chunk::<BYTES>() else {
        return Err(damaged("too short to hold its checksum"));
    };
    if checksum(partition, key, value) != u32::from_be_bytes(*sum) {
        return Err(damaged("its checksum does not match"));
    }
    Ok(Bytes::copy_from_slice(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(partition: &[u8], key: &[u8], value: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        Sealed::new(partition, key, value)
            .to_sql(&Type::BYTEA, &mut out)
            .unwrap();
        out
    }

    #[test]
    fn a_value_is_found_as_it_was_stored_and_under_its_own_key_only() {
        let row = stored(b"p", b"k", b"value");
        assert_eq!(open(b"p", b"k", &row).unwrap(), &b"value"[..]);
        for (partition, key) in [
            (&b"q"[..], &b"k"[..]),
            (b"p", b"l"),
            (b"pk", b""),
            (b"", b"pk"),
        ] {
            let opened = open(partition, key, &row);
            assert!(matches!(opened, Err(StoreError::Damaged(_))), "{opened:?}");
        }
    }

    #[test]
    fn every_bit_counts() {
        let row = stored(b"p", b"k", b"value");
        for bit in 0..row.len() * 8 {
            let mut flipped = row.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let opened = open(b"p", b"k", &flipped);
            assert!(matches!(opened, Err(StoreError::Damaged(_))), "bit {bit}");
        }
        for length in 0..row.len() {
            assert!(open(b"p", b"k", &row[..length]).is_err(), "cut to {length}");
        }
    }
}
