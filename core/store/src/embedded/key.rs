//! A key that stands where it is used: comparing two of them touches no other
//! memory. Nearly all keys of rows and partitions are this short, and memory's
//! answer time is what a look-up costs.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;

/// Longest key that needs no memory of its own.
const INLINE_BYTES: usize = 30;

/// The bytes of a key. They compare as bytes.
#[derive(Clone)]
pub(super) struct SmallKey(Repr);

#[derive(Clone)]
enum Repr {
    Inline(u8, [u8; INLINE_BYTES]),
    Long(Box<[u8]>),
}

impl SmallKey {
    /// A copy of these bytes.
    pub(super) fn new(bytes: &[u8]) -> Self {
        let mut inline = [0; INLINE_BYTES];
        match inline.get_mut(..bytes.len()) {
            Some(into) => {
                into.copy_from_slice(bytes);
                // At most INLINE_BYTES.
                Self(Repr::Inline(bytes.len() as u8, inline))
            }
            None => Self(Repr::Long(bytes.into())),
        }
    }

    /// The bytes.
    pub(super) fn as_slice(&self) -> &[u8] {
        match &self.0 {
            // The length was checked when it was made.
            Repr::Inline(len, bytes) => &bytes[..usize::from(*len)],
            Repr::Long(bytes) => bytes,
        }
    }
}

/// The first bytes as a number that is ordered as they are.
fn first(bytes: &[u8; INLINE_BYTES]) -> u128 {
    bytes
        .first_chunk()
        .map_or(0, |first| u128::from_be_bytes(*first))
}

impl Borrow<[u8]> for SmallKey {
    fn borrow(&self) -> &[u8] {
        self.as_slice()
    }
}

impl PartialEq for SmallKey {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Repr::Inline(len, bytes), Repr::Inline(other_len, other)) => {
                len == other_len && bytes == other
            }
            _ => self.as_slice() == other.as_slice(),
        }
    }
}

impl Eq for SmallKey {}

impl PartialOrd for SmallKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SmallKey {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            // Behind the bytes are zeros, so this is the order of the slices. Nearly all keys
            // differ in what fits two registers; the rest would be a call.
            (Repr::Inline(len, bytes), Repr::Inline(other_len, other)) => first(bytes)
                .cmp(&first(other))
                .then_with(|| bytes.cmp(other))
                .then(len.cmp(other_len)),
            _ => self.as_slice().cmp(other.as_slice()),
        }
    }
}

impl fmt::Debug for SmallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_slice().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_length_keep_their_bytes_and_their_order() {
        assert_eq!(size_of::<SmallKey>(), 32);
        let mut keys: Vec<Vec<u8>> = (0..64).map(|length| vec![7; length]).collect();
        keys.push(vec![6; 40]);
        keys.push(vec![8]);
        let mut small: Vec<SmallKey> = keys.iter().map(|key| SmallKey::new(key)).collect();
        small.sort();
        keys.sort();
        let back: Vec<Vec<u8>> = small.iter().map(|key| key.as_slice().to_vec()).collect();
        assert_eq!(back, keys);
    }
}
