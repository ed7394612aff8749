//! The partitions of both clusters, each once, in the order of their tokens: the same on both.

use bytes::Bytes;
use lombard_store::StoreError;

use super::decide::Which;
use super::pair::Pair;
use crate::partitions;

impl Pair {
    /// Keys of partitions behind `after`, at most `limit`.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn partitions(
        &self,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        let of = |which| partitions::list(self.keyspace(which), after, limit);
        let (from, to) = futures::try_join!(of(Which::From), of(Which::To))?;
        let keyspace = self.keyspace(Which::From);
        Ok(merged(from, to, limit, |key| keyspace.token(key)))
    }
}

/// Two lists as one: what is in both comes once.
fn merged(
    one: Vec<Bytes>,
    other: Vec<Bytes>,
    limit: usize,
    token: impl Fn(&[u8]) -> i64,
) -> Vec<Bytes> {
    let mut all: Vec<(i64, Bytes)> = (one.into_iter().chain(other))
        .map(|key| (token(&key), key))
        .collect();
    all.sort_unstable();
    all.dedup();
    // Each list has all that lies before its last key, so the first ones are all there are.
    all.truncate(limit);
    all.into_iter().map(|(_, key)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lists_are_one_without_doubles_and_nothing_is_passed_over() {
        let keys = |keys: &[u8]| -> Vec<Bytes> {
            keys.iter().map(|key| Bytes::from(vec![*key])).collect()
        };
        let token = |key: &[u8]| -i64::from(key[0]);
        // In the order of tokens: 9, 8, 7 …; each list is cut at three.
        let merged = merged(keys(&[9, 7, 6]), keys(&[8, 7, 5]), 3, token);
        assert_eq!(merged, keys(&[9, 8, 7]));
    }
}
