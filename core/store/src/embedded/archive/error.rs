//! Why an archive was not made longer, or could not be restored from.

use std::path::PathBuf;

use thiserror::Error;

use crate::error::StoreError;

/// Why an archive was not made longer, or could not be restored from.
#[derive(Debug, Clone, Error)]
pub enum ArchiveError {
    /// The folder has other things in it.
    #[error("{} is no archive", .0.display())]
    NotAnArchive(PathBuf),
    /// It is the archive of a store with another number.
    #[error(
        "the archive is of store {archived:016x}, and this is store {store:016x}; what was restored is another store"
    )]
    OtherStore {
        /// The number of the store that it is of.
        archived: u64,
        /// The number of the store that was to be archived.
        store: u64,
    },
    /// The store does not have what it had when it was archived: an older copy of its
    /// folder was put in its place.
    #[error(
        "the archive goes up to position {archived}, and there the store is not what was archived: it was put back to an earlier state"
    )]
    PutBack {
        /// The position that the archive goes up to.
        archived: u64,
    },
    /// Somebody else makes it longer.
    #[error("{0}")]
    InUse(String),
    /// Whoever watched said to stop. What is archived so far counts.
    #[error("stopped before its end; what was archived so far counts")]
    Stopped,
    /// What was asked for lies before the oldest that there is.
    #[error("{asked} lies before the oldest that can be restored, {oldest}")]
    TooEarly {
        /// What was asked for.
        asked: Point,
        /// The oldest that there is.
        oldest: Point,
    },
    /// What was asked for lies behind the newest that there is.
    #[error("{asked} lies behind the newest that can be restored, {newest}")]
    TooLate {
        /// What was asked for.
        asked: Point,
        /// The newest that there is.
        newest: Point,
    },
    /// What was asked for lies where the archive has a gap.
    #[error("{asked} lies in a gap of the archive, between {before} and {after}")]
    InGap {
        /// What was asked for.
        asked: Point,
        /// The last before the gap.
        before: Point,
        /// The first behind it.
        after: Point,
    },
    /// No mark in it says a moment.
    #[error("the store was archived without a clock: no moment is known, only positions")]
    NoMoments,
    /// The store has no such keyspace.
    #[error("there is no keyspace {name:?}: there are {}", .known.join(", "))]
    NoSuchKeyspace {
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// A file is damaged or missing, a disk is full, the store has failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ArchiveError {
    /// For programs, in `SCREAMING_SNAKE`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotAnArchive(_) => "NOT_AN_ARCHIVE",
            Self::OtherStore { .. } => "ARCHIVE_OF_OTHER_STORE",
            Self::PutBack { .. } => "STORE_PUT_BACK",
            Self::InUse(_) => "ARCHIVE_IN_USE",
            Self::Stopped => "STOPPED",
            Self::TooEarly { .. } => "BEFORE_OLDEST",
            Self::TooLate { .. } => "AFTER_NEWEST",
            Self::InGap { .. } => "IN_GAP",
            Self::NoMoments => "NO_MOMENTS",
            Self::NoSuchKeyspace { .. } => "NO_SUCH_KEYSPACE",
            Self::Store(StoreError::Damaged(_)) => "DAMAGED",
            Self::Store(StoreError::Closed(_)) => "STORE_CLOSED",
            Self::Store(_) => "STORE_UNAVAILABLE",
        }
    }

    /// Whether the same can work later, without anyone changing anything: a disk that was
    /// full may have room.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Stopped | Self::InUse(_) => true,
            Self::Store(error) => !matches!(error, StoreError::Damaged(_)),
            _ => false,
        }
    }
}

/// A place in the log, and when it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Point {
    /// Where in the log, if that is known.
    pub position: Option<u64>,
    /// Microseconds since 1970, if the store had a clock then.
    pub moment_us: Option<u64>,
}

impl Point {
    /// A known place.
    pub(super) fn at(position: u64, moment_us: u64) -> Self {
        Self {
            position: Some(position),
            moment_us: (moment_us > 0).then_some(moment_us),
        }
    }
}

/// For logs; people are shown a calendar's date by whoever has a calendar.
impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.position, self.moment_us) {
            (Some(position), Some(us)) => write!(f, "position {position} (moment {us} us)"),
            (Some(position), None) => write!(f, "position {position}"),
            (None, Some(us)) => write!(f, "moment {us} us"),
            (None, None) => f.write_str("the beginning"),
        }
    }
}
