//! What is remembered of a ring.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::look::View;
use super::members::Members;
use super::standing::Heard;

/// A node that owns ranges, and of which nothing says that it has their data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// Its identity.
    pub host_id: String,
    /// Where it is.
    pub address: String,
    /// What it lacks, in words.
    pub why: String,
}

/// A node, and what is known of it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub heard: Heard,
    /// It is on record that it has its data.
    pub member: bool,
    /// Why it is a stranger, if it is one.
    pub lacks: Option<String>,
}

/// All that is known of a ring.
#[derive(Debug)]
pub(crate) struct Sight {
    pub nodes: Vec<Seen>,
    /// Whether it was ever put on record who has their data.
    pub recorded: bool,
}

/// What was heard, and what follows from it.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Who has its data.
    pub members: Members,
    /// Of each node that was asked, what it said last.
    pub views: BTreeMap<String, View>,
    /// Who was seen to fetch its data.
    pub seen_joining: BTreeSet<String>,
    pub strangers: Arc<Vec<Stranger>>,
    /// Somebody is in gossip who is no member.
    pub unsettled: bool,
}

impl Known {
    /// Everyone that anyone has heard of, by identity, as the one says who knows most.
    pub fn heard(&self) -> BTreeMap<String, Heard> {
        let mut all: BTreeMap<String, Heard> = BTreeMap::new();
        for heard in self.views.values().flat_map(|view| view.iter()) {
            match all.get_mut(&heard.host_id) {
                Some(known) if known.standing >= heard.standing => {}
                Some(known) => *known = heard.clone(),
                None => {
                    all.insert(heard.host_id.clone(), heard.clone());
                }
            }
        }
        all
    }
}
