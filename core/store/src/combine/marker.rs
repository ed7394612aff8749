//! The store's own row in each partition: which commits made its last versions.
//!
//! It is how the store finds out whether a commit is in of which the engine
//! could not say so. Every commit that the store sends replaces it, naming
//! itself and the few before it; so the answer is there even if others have
//! committed since.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::error::StoreError;
use crate::port::Version;

/// The row's key, among those that services never see.
pub(super) const KEY: &[u8] = crate::limits::COMMIT_MARKER_KEY;
/// How many commits the row names.
const COMMITS_MAX: usize = 8;
/// The first byte of the row: the form of what follows.
const FORM: u8 = 1;
/// Version, instance and number, 8 bytes each, big end first.
const COMMIT_BYTES: usize = 24;

/// A commit's name: no two commits in the world share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CommitId {
    /// The store that sent it.
    pub instance: u64,
    /// Its number there.
    pub number: u64,
}

/// The last commits of a partition, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct History(Vec<(Version, CommitId)>);

/// What a history says about a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trace {
    /// It is in.
    In,
    /// It is not in, and never will be: its version has passed.
    NotIn,
    /// Too many others have committed since: the history does not reach back.
    Lost,
}

impl History {
    /// The history that a read found; empty where there is no row.
    pub fn read(row: Option<&Bytes>) -> Result<Self, StoreError> {
        let Some(row) = row else {
            return Ok(Self::default());
        };
        let damaged = || {
            StoreError::Damaged(format!(
                "the store's own row {} has {} bytes of no known form",
                KEY.escape_ascii(),
                row.len()
            ))
        };
        let mut left = row.clone();
        if !left.has_remaining() || left.get_u8() != FORM || left.len() % COMMIT_BYTES != 0 {
            return Err(damaged());
        }
        let mut commits = Vec::with_capacity(COMMITS_MAX);
        while left.has_remaining() {
            let version = Version(left.get_u64());
            let (instance, number) = (left.get_u64(), left.get_u64());
            commits.push((version, CommitId { instance, number }));
        }
        Ok(Self(commits))
    }

    /// The history after this commit.
    pub fn with(&self, version: Version, id: CommitId) -> Self {
        let newest = std::iter::once((version, id));
        Self(
            newest
                .chain(self.0.iter().copied())
                .take(COMMITS_MAX)
                .collect(),
        )
    }

    /// As a row's value.
    pub fn to_row(&self) -> Bytes {
        let mut row = BytesMut::with_capacity(1 + self.0.len() * COMMIT_BYTES);
        row.put_u8(FORM);
        for (version, id) in &self.0 {
            row.put_u64(version.0);
            row.put_u64(id.instance);
            row.put_u64(id.number);
        }
        row.freeze()
    }

    /// Whether the commit that would have made `version` is in, where the
    /// partition has that version already, or a later one.
    pub fn trace(&self, version: Version, id: CommitId) -> Trace {
        if self.0.contains(&(version, id)) {
            return Trace::In;
        }
        // It would have named itself here, and only later commits push it out.
        let reaches_back = self.0.len() < COMMITS_MAX
            || self.0.last().is_some_and(|(oldest, _)| *oldest <= version);
        if reaches_back {
            Trace::NotIn
        } else {
            Trace::Lost
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> CommitId {
        CommitId {
            instance: 7,
            number,
        }
    }

    #[test]
    fn a_history_names_the_last_commits_and_knows_what_it_lost() {
        let mut history = History::default();
        for number in 1..=20 {
            history = history.with(Version(number), id(number));
        }
        let history = History::read(Some(&history.to_row())).unwrap();
        assert_eq!(history.0.len(), COMMITS_MAX);
        assert_eq!(history.trace(Version(20), id(20)), Trace::In);
        assert_eq!(history.trace(Version(13), id(13)), Trace::In);
        assert_eq!(history.trace(Version(13), id(99)), Trace::NotIn);
        assert_eq!(history.trace(Version(12), id(12)), Trace::Lost);
    }

    #[test]
    fn a_short_history_is_whole() {
        let history = History::default().with(Version(3), id(1));
        assert_eq!(history.trace(Version(2), id(2)), Trace::NotIn);
        assert_eq!(History::default().trace(Version(1), id(1)), Trace::NotIn);
    }

    #[test]
    fn a_row_of_no_known_form_is_damage() {
        for row in [&b""[..], b"\x02", b"\x01short"] {
            let read = History::read(Some(&Bytes::from_static(row)));
            assert!(matches!(read, Err(StoreError::Damaged(_))), "{row:?}");
        }
        assert_eq!(History::read(None).unwrap(), History::default());
    }
}
