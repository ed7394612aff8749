//! Who owns a partition, given what both clusters have of it.

use lombard_store::Version;

/// A version below the negative of this is that of a copy that is being filled; what is left
/// is the claim's number. Commits are counted far below it.
const FILLING: i64 = 1 << 62;

/// What a cluster has of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing.
    Absent,
    /// The partition, at this version.
    Owner(u64),
    /// The rows that it had, or will have, at this version.
    Copy(u64),
    /// Rows of no version; by the claim of this number.
    Filling(u64),
}

impl State {
    /// Out of the version as it is stored; zero for none.
    pub fn of(stored: i64) -> Self {
        match stored {
            0 => Self::Absent,
            stored if stored > 0 => Self::Owner(stored.unsigned_abs()),
            stored if stored <= -FILLING => {
                Self::Filling(stored.unsigned_abs() - FILLING.unsigned_abs())
            }
            stored => Self::Copy(stored.unsigned_abs()),
        }
    }

    /// The version that the rows are of; zero where they are of none.
    pub fn version(self) -> Version {
        match self {
            Self::Owner(version) | Self::Copy(version) => Version(version),
            Self::Absent | Self::Filling(_) => Version(0),
        }
    }

    /// The version that a claim of this number stores.
    pub fn claim(number: u64) -> i64 {
        // Numbers are times in microseconds: the sum stays in range for 146,000 years.
        -FILLING.saturating_add(i64::try_from(number).unwrap_or(0))
    }
}

/// One of the two clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Which {
    /// The one that the service is configured for.
    From,
    /// The other.
    To,
}

impl Which {
    pub const BOTH: [Self; 2] = [Self::From, Self::To];

    pub fn other(self) -> Self {
        match self {
            Self::From => Self::To,
            Self::To => Self::From,
        }
    }
}

/// What both sides together mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// It has never been written.
    Nobody,
    /// The same, and it can begin at this side only.
    Reserved(Which),
    Owner(Which, u64),
    /// This side has released it, and the other is to take it.
    Released(Which),
    /// The two looks cannot be of one moment: look again.
    Unclear,
}

/// Who owns it. The two sides are looked at one after the other, so what they say may be of
/// two moments; every step that follows is conditional on what was seen.
pub(crate) fn ownership(from: State, to: State) -> Ownership {
    use Ownership::{Nobody, Owner, Released, Reserved, Unclear};
    use State::{Absent, Copy, Filling};
    match (from, to) {
        (Absent, Absent) => Nobody,
        (State::Owner(_), State::Owner(_)) => Unclear,
        (State::Owner(version), of) | (of, State::Owner(version)) => {
            // A copy is never ahead of its owner.
            if of.version().0 > version {
                return Unclear;
            }
            let which = if matches!(from, State::Owner(_)) {
                Which::From
            } else {
                Which::To
            };
            Owner(which, version)
        }
        (Copy(from), Copy(to)) if from > to => Released(Which::From),
        (Copy(from), Copy(to)) if from < to => Released(Which::To),
        (Copy(_), Absent | Filling(_)) => Released(Which::From),
        (Absent | Filling(_), Copy(_)) => Released(Which::To),
        // Something is filled from what there is, so this is not filled: it was put there so
        // that nothing begins there.
        (Filling(_), Absent) => Reserved(Which::To),
        (Absent, Filling(_)) => Reserved(Which::From),
        (Copy(_), Copy(_)) | (Filling(_), Filling(_)) => Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_tells_a_partition_a_copy_and_a_claim() {
        assert_eq!(State::of(0), State::Absent);
        assert_eq!(State::of(7), State::Owner(7));
        assert_eq!(State::of(-7), State::Copy(7));
        let now = 1_800_000_000_000_000;
        assert_eq!(State::of(State::claim(now)), State::Filling(now));
        assert_eq!(State::of(i64::MIN).version(), Version(0));
        assert_eq!(State::of(-7).version(), Version(7));
    }

    #[test]
    fn who_owns_a_partition_follows_from_what_both_sides_say() {
        use State::{Absent, Copy, Filling, Owner};
        let table = [
            (Absent, Absent, Ownership::Nobody),
            (Owner(3), Absent, Ownership::Owner(Which::From, 3)),
            (Owner(3), Copy(3), Ownership::Owner(Which::From, 3)),
            (Owner(3), Copy(1), Ownership::Owner(Which::From, 3)),
            (Owner(3), Filling(9), Ownership::Owner(Which::From, 3)),
            // Released at 3: what the other has is older.
            (Copy(4), Copy(3), Ownership::Released(Which::From)),
            (Copy(4), Absent, Ownership::Released(Which::From)),
            (Copy(4), Filling(9), Ownership::Released(Which::From)),
            // It is to begin at the other.
            (Filling(9), Absent, Ownership::Reserved(Which::To)),
            // Of two moments.
            (Owner(3), Copy(4), Ownership::Unclear),
            (Owner(3), Owner(4), Ownership::Unclear),
            (Copy(4), Copy(4), Ownership::Unclear),
            (Filling(9), Filling(8), Ownership::Unclear),
        ];
        for (from, to, meant) in table {
            assert_eq!(ownership(from, to), meant, "{from:?} {to:?}");
            let mirrored = match meant {
                Ownership::Owner(which, version) => Ownership::Owner(which.other(), version),
                Ownership::Released(which) => Ownership::Released(which.other()),
                Ownership::Reserved(which) => Ownership::Reserved(which.other()),
                same => same,
            };
            assert_eq!(ownership(to, from), mirrored, "{to:?} {from:?}");
        }
    }

    /// All that can happen to one partition, step by step and in every order, with finishers
    /// that act on what they saw at any earlier moment.
    #[test]
    fn at_any_version_one_side_owns_whatever_the_order_of_steps() {
        fn steps(at: [i64; 2], seen: [i64; 2]) -> Vec<[i64; 2]> {
            let mut next = Vec::new();
            for (this, other) in [(0, 1), (1, 0)] {
                if at[this] > 0 {
                    let version = at[this];
                    let mut commit = at;
                    commit[this] = version + 1;
                    next.push(commit);
                    let mut release = at;
                    release[this] = -(version + 1);
                    next.push(release);
                }
                // Who copies: what it read of the owner may be old as well.
                let is_copy = seen[other] <= 0 && seen[other] >= -seen[this];
                if seen[this] > 0 && is_copy && at[other] == seen[other] {
                    let mut copy = at;
                    copy[other] = -seen[this];
                    next.push(copy);
                }
            }
            // A finisher: what it saw may be old, its condition is what it saw of the taker.
            let which = ownership(State::of(seen[0]), State::of(seen[1]));
            if let Ownership::Released(which) = which {
                let (released, taker) = match which {
                    Which::From => (0, 1),
                    Which::To => (1, 0),
                };
                if at[taker] == seen[taker] {
                    let mut taken = at;
                    taken[taker] = seen[released].abs();
                    next.push(taken);
                }
            }
            next
        }
        // Who has ever owned which version.
        fn walk(at: [i64; 2], past: &mut Vec<[i64; 2]>, owners: &mut [Option<usize>; 16]) -> u64 {
            assert!(!(at[0] > 0 && at[1] > 0), "two owners: {past:?} {at:?}");
            let mut walked = 1;
            let mine = (0..2).find(|side| at[*side] > 0);
            let place = mine.map(|side| at[side].unsigned_abs() as usize);
            let mut before = None;
            if let (Some(side), Some(place)) = (mine, place) {
                assert!(
                    owners[place].is_none_or(|owner| owner == side),
                    "{place} owned by both: {past:?}"
                );
                before = Some((place, owners[place]));
                owners[place] = Some(side);
            }
            if past.len() < 8 {
                past.push(at);
                let mut seen: Vec<[i64; 2]> = Vec::new();
                // Each side may have been seen at another moment.
                for one in past.iter() {
                    for two in past.iter() {
                        seen.push([one[0], two[1]]);
                    }
                }
                seen.sort_unstable();
                seen.dedup();
                let mut next: Vec<[i64; 2]> =
                    seen.into_iter().flat_map(|seen| steps(at, seen)).collect();
                next.sort_unstable();
                next.dedup();
                for at in next {
                    walked += walk(at, past, owners);
                }
                past.pop();
            }
            if let Some((place, owner)) = before {
                owners[place] = owner;
            }
            walked
        }
        let walked = walk([1, 0], &mut Vec::new(), &mut [None; 16]);
        assert!(walked > 5_000, "{walked}");
    }
}
