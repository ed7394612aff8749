//! A service's keyspace moves from one cluster to another while it serves.
//!
//! Everything is decided partition by partition, by conditional writes to that partition: there
//! is no moment at which all of the keyspace moves, and no process that must not die.
//!
//! **One cluster owns a partition at any version.** Its `version` there is v, greater than
//! zero. The other cluster has nothing of it, or a *copy*: the rows of a version w ≤ v, stored
//! with the version −w. No commit's condition can match a copy, whoever sends it, and reading
//! one is an error wherever no move is configured. A copy that is being *filled*, whose rows
//! are those of no version, has a version below −2^62 (module `decide`).
//!
//! **Hand-over** of a partition at version u is two decisions (module `hand_over`):
//! 1. *release*, at the owner: version := −(u+1) if it is u;
//! 2. *take*, at the other: version := u+1 if it is still −w, together with the rows that it
//!    lacks; none if w = u.
//!
//! A version is never taken twice, and |version| never falls, so what both sides say tells
//! where things stand: both below zero, and the side with the greater number is the released
//! one, which nobody can change until the other has taken. Whoever finds that takes: a read,
//! a commit, a follower or the next sweep. Each step is one decision, so several may try.
//!
//! **What a commit's outcome means** does not change. A commit with the expected version v goes
//! in at the one side that ever has v. If it is not known whether it did, and the partition
//! has moved on, the commit conflicts wherever it is sent again, and the store's row of last
//! commits came along: the rows of v+1 that the release fixed tell whether it is among them.
//!
//! **Copies are kept** by sending each commit to the copy as well, after it is in at the owner:
//! version := −(v+1) if it is −v (module `keep`). Where that fails the copy is behind, which a
//! sweep mends (`fill`): it compares all rows, and writes what differs. What fits into one
//! batch needs no more. Where more is to be written the copy is *claimed* first: from then on,
//! until it is complete, its version is the claim, which nobody else's condition fits.
//!
//! **New partitions** begin at the cluster that the service is configured for (`from`). For two
//! processes that are configured in opposite directions to agree, it is decided in one place:
//! at the cluster whose name sorts first. Before a partition begins at the other one, a claim
//! is put there, so that it cannot begin there any more (`Pair::reserve`).
//!
//! **Followers** read the event indexes of both clusters together (module `follow`): a commit is
//! entered in that of the cluster which owns its partition, before it goes out. Each entry is
//! judged by the partition where it is owned. Entries are copied to the other index by sweeps
//! (module `index`) so that it is complete when it is left alone; an entry that comes late
//! has been read from its own index before.
//!
//! **Positions** come from one clock for both clusters, and a take has a greater one than the
//! release that it follows, so they rise in each partition wherever it is.

mod batch;
mod decide;
mod differences;
mod fill;
mod follow;
mod hand_over;
mod index;
mod keep;
mod listing;
mod mover;
mod pair;
mod record;
mod sweep;

pub(crate) use decide::State;
pub(crate) use pair::{Pair, Tools};
pub(crate) use record::{TABLE, refuse_alone};

pub use mover::{Move, Standing};
pub use sweep::{Progress, Swept};
