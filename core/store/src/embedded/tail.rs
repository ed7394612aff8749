//! A partition's last event, known by its key: what most functions begin with is
//! the greatest row of a kind, and to seek for it would ask every sorted run of
//! the index, where to get a row by its key asks few (filters rule out the rest).
//!
//! The *tail* is the greatest key among the rows that begin with the same byte as
//! the first event of the partition's first commit. It is kept from that commit
//! on, and stands in the index beside the partition's version. Where it cannot be
//! known (the first commit had no event; a row of this kind was deleted) there is
//! none, and whoever wants the last row seeks for it.

use std::ops::Bound;

use crate::rows::{Direction, RowRange};

use super::key::SmallKey;
use super::table::Table;

/// What is known of it.
#[derive(Debug, Clone, Default)]
pub(super) enum Tail {
    /// The index was not asked yet.
    #[default]
    Unread,
    /// It cannot be known.
    None,
    /// No key that begins with the same byte is greater, and the row is there.
    At(SmallKey),
}

/// A row of a commit: its key, and whether it is an event, and deleted.
pub(super) struct Noted<'a> {
    pub(super) key: &'a [u8],
    pub(super) is_event: bool,
    pub(super) deleted: bool,
}

impl Tail {
    /// After a partition's first commit, with all its rows.
    pub(super) fn first<'a>(rows: impl Iterator<Item = Noted<'a>> + Clone) -> Self {
        let Some(event) = rows.clone().find(|row| row.is_event) else {
            return Self::None;
        };
        let alike = rows.filter(|row| !row.deleted && row.key.first() == event.key.first());
        match alike.map(|row| row.key).max() {
            Some(key) if !key.is_empty() => Self::At(SmallKey::new(key)),
            _ => Self::None,
        }
    }

    /// As the index has it, with what was written since over it.
    pub(super) fn read(stored: Option<&[u8]>, newer: &[&Table]) -> Self {
        let Some(first) = stored.and_then(<[u8]>::first) else {
            return Self::None;
        };
        if newer.iter().any(|table| table.has_deleted(*first)) {
            return Self::None;
        }
        let newer = newer.iter().filter_map(|table| table.greatest(*first));
        match newer.chain(stored).max() {
            Some(key) => Self::At(SmallKey::new(key)),
            None => Self::None,
        }
    }

    /// A row of a later commit.
    pub(super) fn note(&mut self, row: &Noted<'_>) {
        let Self::At(key) = self else {
            return;
        };
        let tail = key.as_slice();
        if row.key.first() != tail.first() {
            return;
        }
        if row.deleted {
            *self = Self::None;
        } else if row.key > tail {
            *key = SmallKey::new(row.key);
        }
    }

    /// The key, if it is known.
    pub(super) fn key(&self) -> Option<&[u8]> {
        match self {
            Self::At(key) => Some(key.as_slice()),
            Self::Unread | Self::None => None,
        }
    }

    /// The key of the one row that the range asks for, if that is this one.
    pub(super) fn answers(&self, range: &RowRange) -> Option<&[u8]> {
        let tail = self.key()?;
        if range.limit != 1 || range.direction != Direction::Descending || !range.contains(tail) {
            return None;
        }
        // Rows behind the tail begin with a greater byte: they must lie outside.
        let first = tail.first()?;
        let ends = match &range.to {
            Bound::Included(to) => to.first() == Some(first),
            Bound::Excluded(to) => {
                to.first() == Some(first)
                    || first
                        .checked_add(1)
                        .is_some_and(|next| to.as_ref() == [next])
            }
            Bound::Unbounded => *first == u8::MAX,
        };
        ends.then_some(tail)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn row(key: &str, is_event: bool) -> Noted<'_> {
        Noted {
            key: key.as_bytes(),
            is_event,
            deleted: false,
        }
    }

    fn first(rows: &[(&'static str, bool)]) -> Tail {
        Tail::first(rows.iter().map(|(key, is_event)| row(key, *is_event)))
    }

    fn last_at(tail: &Tail, from: &'static str, to: Bound<&'static str>) -> Option<Vec<u8>> {
        let range = RowRange {
            from: Bound::Included(Bytes::from(from)),
            to: to.map(Bytes::from),
            direction: Direction::Descending,
            limit: 1,
        };
        tail.answers(&range).map(<[u8]>::to_vec)
    }

    #[test]
    fn it_follows_the_greatest_row_of_the_first_events_kind() {
        let mut tail = first(&[("a", false), ("j5", true), ("j9", false), ("k", false)]);
        assert_eq!(tail.key(), Some(&b"j9"[..]));
        tail.note(&row("j7", true));
        tail.note(&row("z", true));
        assert_eq!(tail.key(), Some(&b"j9"[..]));
        tail.note(&row("ja", false));
        assert_eq!(tail.key(), Some(&b"ja"[..]));
        tail.note(&Noted {
            deleted: true,
            ..row("b", false)
        });
        assert_eq!(tail.key(), Some(&b"ja"[..]));
        tail.note(&Noted {
            deleted: true,
            ..row("j5", false)
        });
        assert_eq!(tail.key(), None);
    }

    #[test]
    fn there_is_none_without_an_event_in_the_first_commit() {
        let mut tail = first(&[("a", false), ("j5", false)]);
        tail.note(&row("j6", true));
        assert_eq!(tail.key(), None);
        assert_eq!(Tail::read(None, &[]).key(), None);
        assert_eq!(Tail::read(Some(b""), &[]).key(), None);
        assert_eq!(Tail::read(Some(b"j5"), &[]).key(), Some(&b"j5"[..]));
    }

    #[test]
    fn it_answers_for_the_last_row_of_its_kind_only() {
        let tail = first(&[("j5", true)]);
        let found = Some(b"j5".to_vec());
        assert_eq!(last_at(&tail, "j", Bound::Included("j9")), found);
        assert_eq!(last_at(&tail, "j", Bound::Excluded("k")), found);
        assert_eq!(last_at(&tail, "a", Bound::Included("j9")), found);
        // Before it, behind it, and where other kinds may lie behind it.
        assert_eq!(last_at(&tail, "j", Bound::Included("j4")), None);
        assert_eq!(last_at(&tail, "j6", Bound::Included("j9")), None);
        assert_eq!(last_at(&tail, "j", Bound::Included("k")), None);
        assert_eq!(last_at(&tail, "j", Bound::Unbounded), None);
    }
}
