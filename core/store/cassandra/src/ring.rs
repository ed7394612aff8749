//! Who owns which part of the ring, and whether each owner was given the data of its part.
//!
//! **The danger.** A node that joins with `auto_bootstrap: false`, or whose disk was replaced
//! behind Cassandra's back, owns ranges and has nothing in them. It answers every request,
//! and its answer is "not found". Where two of a partition's three replicas are such nodes,
//! a quorum of them agrees that a partition never was; a conditional commit "if it does not
//! exist" is then applied to what exists. No request fails. (A bank lost most of an
//! afternoon to it in July 2019: six nodes were added in that way at once.)
//!
//! **Members** are the nodes of which it is on record that they have their data: those that
//! were there when the first of our keyspaces was made, and those of which it was seen since
//! then that they fetched it (module `evidence`). The record is the comment of a table
//! (module `members`): every node has the whole schema, so it is not among the data that
//! can be missing. An owner that is no member is a **stranger**, and no partition that has
//! a stranger among its replicas is read or committed to: it is *unavailable*, and the
//! answer says why.
//!
//! **Why that is enough.** The node that coordinates a request chooses the replicas, and it
//! chooses them from what gossip has told it. Gossip's table (`system_views.gossip_info`)
//! learns of a new owner before the coordinator uses it. So whoever asks *the coordinator of
//! a request, after that request*, which owners it has heard of, learns of all that the
//! request can have met. That costs a second question, so it is asked where the answer
//! matters most and rarely:
//! - after a read that found **no partition**, and after a commit that **began** one.
//!   Nothing is ever taken for new on the word of a stranger;
//! - after **every** read and commit while anybody is in gossip who is no member: a node
//!   that joins is there for seconds before it owns anything.
//!
//! In all other cases a partition was found, by a quorum of which at least one is no
//! stranger. It could be a replica that has missed the newest commit. Then nodes are asked
//! by the clock ([`LOOK_EVERY`]), and whoever was not asked for [`LEASE`] is asked before
//! the answer is given: between a stranger's first appearance in gossip and its first
//! request there would have to be less time than that, and the partition's other replicas
//! would have to lag, for one old answer to be possible. A commit over it is not: it is
//! vouched for in the same way before it is acknowledged.
//!
//! Questions that come together are asked once (module `look`).

mod evidence;
mod guard;
mod known;
mod look;
mod members;
mod ranges;
mod standing;

#[cfg(doc)]
use guard::LEASE;
pub(crate) use guard::{Guard, LOOK_EVERY, seen, trust};
pub use known::Stranger;
pub(crate) use ranges::{TokenRange, in_words, slices};
pub(crate) use standing::Standing;
