//! Growing a cluster: what it looks like now, and which step is safe.
//!
//! [`survey()`] asks the nodes; [`plan()`] is a pure function of what they said and of the new
//! node's `cassandra.yaml`. It refuses what would let a node own ranges whose data it does
//! not have, and says why: see [`Refusal`].

mod plan;
mod survey;

pub use plan::{NewNode, Plan, Refusal, Wish, plan, refuse_cleanup};
pub use survey::{NodeState, Survey, SurveyedNode, survey, trust};
