//! Tokens of nodes that start at once.

use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

/// Tokens of each node.
const TOKENS: usize = 16;

/// Random tokens for so many nodes, the same for the same seed: as nodes have them that
/// pick their own without looking at each other.
pub fn random(seed: u64, nodes: u8) -> Vec<Vec<i64>> {
    let mut dice = SmallRng::seed_from_u64(seed ^ 0x746f_6b65_6e73);
    (0..nodes)
        .map(|_| {
            (0..TOKENS)
                .map(|_| i64::from_ne_bytes(dice.next_u64().to_ne_bytes()))
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_tokens_are_the_same_and_a_seed_gives_them_again() {
        let tokens = random(7, 3);
        assert_eq!(tokens, random(7, 3));
        assert_ne!(tokens, random(8, 3));
        let all: BTreeSet<i64> = tokens.iter().flatten().copied().collect();
        assert_eq!(all.len(), 3 * TOKENS);
    }
}
