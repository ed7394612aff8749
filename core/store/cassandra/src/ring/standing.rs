//! What gossip says of a node, and what that means for who owns what.

/// How a node stands to the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// It has left, and owns nothing.
    Gone,
    /// It is known of, and owns nothing yet.
    Announced,
    /// It fetches the data of what it will own.
    Joining,
    /// It owns ranges, and gives them to others.
    Leaving,
    /// It owns ranges: requests are sent to it.
    Owner,
}

/// A node, as another one's gossip tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Its identity, in lower case with hyphens.
    pub host_id: String,
    pub address: String,
    pub standing: Standing,
}

impl Standing {
    /// By gossip's word (`NORMAL,-1921535841011411633`, `BOOT,…`, `shutdown,true`), if there
    /// is one. `listed` says whether the node is among the peers, which are owners.
    ///
    /// The words are those of Cassandra's `VersionedValue`. A node that was shut down, or
    /// waits to be replaced, loses the word that told whether it owns anything.
    pub fn of(status: Option<&str>, listed: bool) -> Self {
        let word = status.and_then(|status| status.split(',').next());
        match word.unwrap_or_default() {
            "NORMAL" => Self::Owner,
            "LEAVING" | "MOVING" | "removing" => Self::Leaving,
            "BOOT" | "BOOT_REPLACE" => Self::Joining,
            "LEFT" | "removed" => Self::Gone,
            _ if listed => Self::Owner,
            _ => Self::Announced,
        }
    }

    /// Whether requests are sent to it.
    pub fn owns(self) -> bool {
        matches!(self, Self::Leaving | Self::Owner)
    }

    /// Whether the word alone tells.
    pub fn is_told_by(status: Option<&str>) -> bool {
        Self::of(status, true) == Self::of(status, false)
    }
}

#[cfg(test)]
mod tests {
    use super::Standing::{self, Announced, Gone, Joining, Leaving, Owner};

    #[test]
    fn gossips_words_say_who_owns_something() {
        // As a cluster of 5.0.9 said them.
        let cases = [
            (Some("NORMAL,-1921535841011411633"), Owner),
            (Some("BOOT,-9031218452753634646"), Joining),
            (Some("BOOT_REPLACE,127.0.0.9"), Joining),
            (Some("LEAVING,-1537228672809129308"), Leaving),
            (Some("LEFT,-1537228672809129308,1763"), Gone),
            (None, Announced),
        ];
        for (status, standing) in cases {
            assert_eq!(Standing::of(status, false), standing, "{status:?}");
            assert_eq!(standing.owns(), matches!(standing, Leaving | Owner));
        }
    }

    #[test]
    fn where_the_word_is_lost_a_peer_is_an_owner() {
        for status in [None, Some("shutdown,true"), Some("hibernate,true")] {
            assert!(!Standing::is_told_by(status));
            assert_eq!(Standing::of(status, true), Owner);
            assert_eq!(Standing::of(status, false), Announced);
        }
        assert!(Standing::is_told_by(Some("NORMAL,1")));
        assert!(Standing::is_told_by(Some("LEFT,1,2")));
    }
}
