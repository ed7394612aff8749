//! Which parts of the ring some nodes take part in.

use std::collections::BTreeSet;
use std::fmt;

/// A range of tokens: behind `after`, up to `to` and with it. Where `after` is not below
/// `to` it goes over the end of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenRange {
    pub after: i64,
    pub to: i64,
}

impl TokenRange {
    /// Its share of the ring, of 1.
    pub fn share(&self) -> f64 {
        let width = self.to.wrapping_sub(self.after).cast_unsigned();
        if width == 0 {
            return 1.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "a share for people")]
        let share = width as f64 / u64::MAX as f64;
        share
    }
}

impl fmt::Display for TokenRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {}]", self.after, self.to)
    }
}

/// Ranges as a line of text names them: the first of them.
const RANGES_NAMED_MAX: usize = 4;

/// The ranges in which one of `nodes` is a replica, neighbours joined. `ring` has each token
/// in order, with the replicas of the range that ends there.
pub(crate) fn touched(ring: &[(i64, Vec<String>)], nodes: &BTreeSet<String>) -> Vec<TokenRange> {
    let mut ranges: Vec<TokenRange> = Vec::new();
    let mut before = ring.last().map_or(0, |(token, _)| *token);
    for (token, replicas) in ring {
        if replicas.iter().any(|replica| nodes.contains(replica)) {
            match ranges.last_mut() {
                Some(last) if last.to == before => last.to = *token,
                _ => ranges.push(TokenRange {
                    after: before,
                    to: *token,
                }),
            }
        }
        before = *token;
    }
    ranges
}

/// The whole ring in so many equal ranges (a power of two), from the smallest token on.
pub(crate) fn slices(count: usize) -> Vec<TokenRange> {
    let width = (u64::MAX / count as u64 + 1).cast_signed();
    let from = |after: &i64| Some(after.wrapping_add(width));
    let begins = std::iter::successors(Some(i64::MIN), from).take(count);
    let range = |after: i64| TokenRange {
        after,
        to: after.wrapping_add(width),
    };
    begins.map(range).collect()
}

/// Ranges in words: how many, how much of the ring, and the first of them.
pub(crate) fn in_words(ranges: &[TokenRange]) -> String {
    let share: f64 = ranges.iter().map(TokenRange::share).sum();
    let named: Vec<String> = (ranges.iter().take(RANGES_NAMED_MAX))
        .map(TokenRange::to_string)
        .collect();
    let more = match ranges.len().saturating_sub(RANGES_NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "{} token ranges, {:.0} % of the ring: {}{more}",
        ranges.len(),
        share * 100.0,
        named.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(replicas: &[(i64, &[&str])]) -> Vec<(i64, Vec<String>)> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        replicas
            .iter()
            .map(|(token, names)| (*token, owned(names)))
            .collect()
    }

    #[test]
    fn ranges_with_a_node_among_their_replicas_are_found_and_joined() {
        let ring = ring(&[
            (-50, &["a", "n"]),
            (0, &["n", "b"]),
            (20, &["a", "b"]),
            (70, &["n"]),
        ]);
        let nodes = BTreeSet::from(["n".to_owned()]);
        let range = |after, to| TokenRange { after, to };
        assert_eq!(touched(&ring, &nodes), [range(70, 0), range(20, 70)]);
        assert_eq!(touched(&ring, &BTreeSet::new()), []);
        let words = in_words(&touched(&ring, &nodes));
        assert_eq!(
            words,
            "2 token ranges, 100 % of the ring: (70, 0], (20, 70]"
        );
    }

    #[test]
    fn a_range_has_its_share_of_the_ring() {
        let half = TokenRange {
            after: 0,
            to: i64::MAX,
        };
        assert!((half.share() - 0.5).abs() < 1e-9);
        let over_the_end = TokenRange {
            after: i64::MAX,
            to: 0,
        };
        assert!((over_the_end.share() - 0.5).abs() < 1e-9);
        let whole = TokenRange { after: 7, to: 7 };
        assert!((whole.share() - 1.0).abs() < f64::EPSILON);
    }
}
