//! A sorted map for rows that mostly come in order: what a partition commits has
//! keys that grow, behind a first byte that tells their kind.
//!
//! A list of chunks for each first byte. A key behind all others of its kind is
//! found to be that by two comparisons and pushed; one that comes a little late
//! is found in the last chunk. Nothing is ever removed.

use std::ops::Bound;

use super::key::SmallKey;

/// Rows of a chunk.
const CHUNK_ROWS: usize = 64;

type Chunk<T> = Vec<(SmallKey, T)>;

/// The map.
#[derive(Debug)]
pub(super) struct Sorted<T> {
    /// By first byte. None of them is empty.
    groups: Vec<Group<T>>,
}

/// Keys with the same first byte.
#[derive(Debug)]
struct Group<T> {
    /// None: the empty key.
    first: Option<u8>,
    /// In order, none of them empty.
    chunks: Vec<Chunk<T>>,
}

/// Where a row stands, or would stand: group, chunk, row.
type At = (usize, usize, usize);

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self { groups: Vec::new() }
    }
}

impl<T> Sorted<T> {
    /// Takes rows that are in order; of several with the same key the last.
    pub(super) fn from_sorted(rows: &mut Vec<(SmallKey, T)>) -> Self {
        // The last of those with the same key comes to stand first, and stays.
        rows.reverse();
        rows.dedup_by(|(a, _), (b, _)| a == b);
        rows.reverse();
        let first = |(key, _): &(SmallKey, T)| key.as_slice().first().copied();
        let lengths: Vec<usize> = rows
            .chunk_by(|a, b| first(a) == first(b))
            .map(<[_]>::len)
            .collect();
        let mut rows = rows.drain(..);
        let group = |length: usize| {
            let mut chunks = Vec::with_capacity(length.div_ceil(CHUNK_ROWS));
            let mut left = length;
            while left > 0 {
                let next = left.min(CHUNK_ROWS);
                chunks.push(rows.by_ref().take(next).collect::<Chunk<T>>());
                left -= next;
            }
            let first = chunks.first().and_then(|chunk| chunk.first());
            Group {
                first: first.and_then(|(key, _)| key.as_slice().first().copied()),
                chunks,
            }
        };
        Self {
            groups: lengths.into_iter().map(group).collect(),
        }
    }

    /// Puts a row; what stood under its key before.
    pub(super) fn insert(&mut self, key: SmallKey, value: T) -> Option<T> {
        let first = key.as_slice().first().copied();
        let at = match self.group(first) {
            Ok(at) => at,
            Err(at) => {
                let chunks = vec![vec![(key, value)]];
                self.groups.insert(at, Group { first, chunks });
                return None;
            }
        };
        let chunks = &mut self.groups[at].chunks;
        let at = chunk_of(chunks, &key);
        let chunk = &mut chunks[at];
        match find(chunk, &key) {
            Ok(row) => Some(std::mem::replace(&mut chunk[row].1, value)),
            Err(row) if chunk.len() < CHUNK_ROWS => {
                chunk.insert(row, (key, value));
                None
            }
            // Where keys come in order, chunks are full.
            Err(row) if row == CHUNK_ROWS => {
                chunks.insert(at + 1, vec![(key, value)]);
                None
            }
            Err(row) => {
                let mut rest = chunk.split_off(CHUNK_ROWS / 2);
                match row.checked_sub(CHUNK_ROWS / 2) {
                    Some(row) => rest.insert(row, (key, value)),
                    None => chunk.insert(row, (key, value)),
                }
                chunks.insert(at + 1, rest);
                None
            }
        }
    }

    /// The value under a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<&T> {
        let (group, chunk, row) = self.find(key)?;
        Some(&self.groups[group].chunks[chunk][row].1)
    }

    /// As [`Self::get`], to be changed.
    pub(super) fn get_mut(&mut self, key: &[u8]) -> Option<&mut T> {
        let (group, chunk, row) = self.find(key)?;
        Some(&mut self.groups[group].chunks[chunk][row].1)
    }

    /// All rows in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&SmallKey, &T)> {
        let chunks = self.groups.iter().flat_map(|group| &group.chunks);
        chunks.flatten().map(|(key, value)| (key, value))
    }

    /// The rows between two keys.
    pub(super) fn range(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Range<'_, T> {
        Range {
            sorted: self,
            front: match from {
                Bound::Included(key) => self.at(key, false),
                Bound::Excluded(key) => self.at(key, true),
                Bound::Unbounded => (0, 0, 0),
            },
            back: match to {
                Bound::Included(key) => self.at(key, true),
                Bound::Excluded(key) => self.at(key, false),
                Bound::Unbounded => (self.groups.len(), 0, 0),
            },
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The group of a first byte, or where it would be. There are a handful.
    fn group(&self, first: Option<u8>) -> Result<usize, usize> {
        for (at, group) in self.groups.iter().enumerate() {
            if group.first >= first {
                return if group.first == first {
                    Ok(at)
                } else {
                    Err(at)
                };
            }
        }
        Err(self.groups.len())
    }

    fn find(&self, key: &[u8]) -> Option<At> {
        let group = self.group(key.first().copied()).ok()?;
        let chunks = &self.groups[group].chunks;
        let key = SmallKey::new(key);
        let chunk = chunk_of(chunks, &key);
        Some((group, chunk, find(&chunks[chunk], &key).ok()?))
    }

    /// Where the first row at a key is, or behind it.
    fn at(&self, key: &[u8], behind: bool) -> At {
        let group = match self.group(key.first().copied()) {
            Ok(group) => group,
            Err(group) => return (group, 0, 0),
        };
        let chunks = &self.groups[group].chunks;
        let key = SmallKey::new(key);
        let chunk = chunk_of(chunks, &key);
        let row = match find(&chunks[chunk], &key) {
            Ok(row) => row + usize::from(behind),
            Err(row) => row,
        };
        self.tidy((group, chunk, row))
    }

    /// Behind the end of a chunk is the begin of the next.
    fn tidy(&self, (group, chunk, row): At) -> At {
        let chunks = &self.groups[group].chunks;
        if row < chunks[chunk].len() {
            (group, chunk, row)
        } else if chunk + 1 < chunks.len() {
            (group, chunk + 1, 0)
        } else {
            (group + 1, 0, 0)
        }
    }

    /// The row before one that is not the first.
    fn before(&self, (group, chunk, row): At) -> At {
        if row > 0 {
            (group, chunk, row - 1)
        } else if chunk > 0 {
            let rows = self.groups[group].chunks[chunk - 1].len();
            (group, chunk - 1, rows - 1)
        } else {
            let chunks = &self.groups[group - 1].chunks;
            let last = chunks.len() - 1;
            (group - 1, last, chunks[last].len() - 1)
        }
    }

    fn row(&self, (group, chunk, row): At) -> (&SmallKey, &T) {
        let (key, value) = &self.groups[group].chunks[chunk][row];
        (key, value)
    }
}

/// The chunk that has the key, if any has: the last one that does not begin behind it.
fn chunk_of<T>(chunks: &[Chunk<T>], key: &SmallKey) -> usize {
    let last = chunks.len() - 1;
    if last == 0 || chunks[last][0].0 <= *key {
        return last;
    }
    // What comes late comes a little late: the search begins at the end, in steps that double.
    let (mut behind, mut step) = (last, 1);
    loop {
        let from = behind.saturating_sub(step);
        if from == 0 || chunks[from][0].0 <= *key {
            let before = chunks[from..behind].partition_point(|chunk| chunk[0].0 <= *key);
            return from + before.saturating_sub(1);
        }
        (behind, step) = (from, 2 * step);
    }
}

fn find<T>(chunk: &[(SmallKey, T)], key: &SmallKey) -> Result<usize, usize> {
    match chunk.last() {
        Some((last, _)) if last < key => Err(chunk.len()),
        _ => chunk.binary_search_by(|(found, _)| found.cmp(key)),
    }
}

/// Rows between two keys.
pub(super) struct Range<'a, T> {
    sorted: &'a Sorted<T>,
    front: At,
    /// Behind the last one.
    back: At,
}

impl<'a, T> Iterator for Range<'a, T> {
    type Item = (&'a SmallKey, &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        let (group, chunk, row) = self.front;
        self.front = self.sorted.tidy((group, chunk, row + 1));
        Some(self.sorted.row((group, chunk, row)))
    }
}

impl<T> DoubleEndedIterator for Range<'_, T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        self.back = self.sorted.before(self.back);
        Some(self.sorted.row(self.back))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::RangeBounds;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            3 => (0..3_u8, 0..400_u16).prop_map(|(first, rest)| {
                let mut key = vec![first];
                key.extend_from_slice(&rest.to_be_bytes());
                key
            }),
            1 => vec(0..3_u8, 0..4),
            1 => vec(250..=255_u8, 28..36),
        ]
    }

    fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
        prop_oneof![
            key().prop_map(Bound::Included),
            key().prop_map(Bound::Excluded),
            Just(Bound::Unbounded),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_sorted_map(
            keys in vec((key(), any::<bool>()), 0..800),
            at_once in 0_usize..800,
            ranges in vec((bound(), bound()), 8),
        ) {
            let in_order = |number: usize| vec![1, 1, (number / 250) as u8, (number % 250) as u8];
            let keys = keys.into_iter().enumerate();
            let mut keys: Vec<_> = keys
                .map(|(number, (key, grows))| if grows { in_order(number) } else { key })
                .collect();
            let later = keys.split_off(at_once.min(keys.len()));
            let mut first: Vec<_> = keys.iter().map(|key| SmallKey::new(key)).zip(0..).collect();
            first.sort_by(|(a, _), (b, _)| a.cmp(b));
            let mut sorted = Sorted::from_sorted(&mut first);
            prop_assert!(first.is_empty());
            let mut map: BTreeMap<Vec<u8>, usize> = keys.into_iter().zip(0..).collect();
            for (number, key) in later.into_iter().enumerate() {
                prop_assert_eq!(
                    sorted.insert(SmallKey::new(&key), number),
                    map.insert(key.clone(), number)
                );
                prop_assert_eq!(sorted.get(&key), Some(&number));
                prop_assert_eq!(sorted.get_mut(&key).copied(), Some(number));
            }
            let all: Vec<_> = sorted.iter().map(|(key, value)| (key.as_slice().to_vec(), *value)).collect();
            prop_assert_eq!(all, map.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!(sorted.is_empty(), map.is_empty());
            for bounds in ranges {
                let (from, to) = (bounds.0.as_ref(), bounds.1.as_ref());
                let range = || sorted
                    .range(from.map(Vec::as_slice), to.map(Vec::as_slice))
                    .map(|(key, _)| key.as_slice().to_vec());
                let expected: Vec<_> = map.keys().filter(|key| bounds.contains(*key)).cloned().collect();
                prop_assert_eq!(range().collect::<Vec<_>>(), expected.clone());
                let backwards: Vec<_> = range().rev().collect();
                prop_assert_eq!(backwards, expected.into_iter().rev().collect::<Vec<_>>());
            }
        }
    }
}
