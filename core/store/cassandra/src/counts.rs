//! What is looked for and not found, by slice of the ring.

use std::sync::atomic::{AtomicU64, Ordering};

/// Into how many equal parts the ring is cut to count what is not found.
pub const TOKEN_SLICES: usize = 64;
/// A token's highest bits are the number of its slice.
const TOKEN_SLICE_BITS: u32 = TOKEN_SLICES.trailing_zeros();

/// Look-ups that found nothing, by slice of the ring. Slice 0 begins at the smallest token,
/// and each is 2^64 / [`TOKEN_SLICES`] tokens wide.
///
/// A cluster whose nodes own ranges that they have no data of answers without any error:
/// this is where it shows, and the slices are those of the ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbsentCounts {
    /// Rows that a read asked for by key and that are not there.
    pub rows: [u64; TOKEN_SLICES],
    /// Reads of partitions that have never been written.
    pub partitions: [u64; TOKEN_SLICES],
    /// Partitions that this process has begun: each was not found before.
    pub begun: [u64; TOKEN_SLICES],
    /// All reads.
    pub reads: [u64; TOKEN_SLICES],
}

/// The slice that a token lies in: its place between the smallest and the greatest token.
pub(crate) fn slice_of(token: i64) -> usize {
    let from_smallest = token.wrapping_sub(i64::MIN).cast_unsigned();
    (from_smallest >> (u64::BITS - TOKEN_SLICE_BITS)) as usize
}

#[derive(Debug)]
pub(crate) struct Slices([AtomicU64; TOKEN_SLICES]);

impl Default for Slices {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; TOKEN_SLICES])
    }
}

impl Slices {
    /// Adds to a slice's count.
    pub fn add(&self, slice: usize, by: u64) {
        if by > 0
            && let Some(count) = self.0.get(slice)
        {
            count.fetch_add(by, Ordering::Relaxed);
        }
    }

    /// All counts.
    pub fn get(&self) -> [u64; TOKEN_SLICES] {
        std::array::from_fn(|slice| self.0[slice].load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cut_the_ring_into_equal_parts() {
        assert_eq!(slice_of(i64::MIN), 0);
        assert_eq!(slice_of(-1), TOKEN_SLICES / 2 - 1);
        assert_eq!(slice_of(0), TOKEN_SLICES / 2);
        assert_eq!(slice_of(i64::MAX), TOKEN_SLICES - 1);
    }
}
