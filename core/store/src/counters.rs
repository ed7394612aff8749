//! What the store counts about itself.

use crate::count::Count;

/// The store's counters since it was made.
///
/// A jump in `rows_absent` against `reads` is how a cluster that lost the
/// ownership of its rows looks: raise an alert on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreCounters {
    /// Calls of `update` that ran a function over a partition.
    pub updates: u64,
    /// Calls of `read` that ran a function over a partition.
    pub reads: u64,
    /// Look-ups of single rows that found none.
    pub rows_absent: u64,
    /// Commits that met another version than they had read.
    pub conflicts: u64,
    /// Commits that the store's own combining sent and that are in.
    pub commits: u64,
    /// Operations that those commits carried.
    pub combined_operations: u64,
    /// Commits of which an engine could not say whether they are in.
    pub ambiguous: u64,
    /// Those of them of which the store found out.
    pub ambiguous_resolved: u64,
}

/// The live counters behind [`StoreCounters`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub updates: Count,
    pub reads: Count,
    pub rows_absent: Count,
    pub conflicts: Count,
    pub commits: Count,
    pub combined_operations: Count,
    pub ambiguous: Count,
    pub ambiguous_resolved: Count,
}

impl Counters {
    /// All of them, now.
    pub fn snapshot(&self) -> StoreCounters {
        let now = Count::get;
        StoreCounters {
            updates: now(&self.updates),
            reads: now(&self.reads),
            rows_absent: now(&self.rows_absent),
            conflicts: now(&self.conflicts),
            commits: now(&self.commits),
            combined_operations: now(&self.combined_operations),
            ambiguous: now(&self.ambiguous),
            ambiguous_resolved: now(&self.ambiguous_resolved),
        }
    }
}

impl StoreCounters {
    /// By name, for [`crate::EngineInfo::figures`].
    pub fn figures(&self) -> Vec<(String, String)> {
        // One decimal, in whole numbers: exact, and no float to round.
        let tenths = self.combined_operations.saturating_mul(10);
        let tenths = tenths.checked_div(self.commits).unwrap_or(0);
        let per_commit = format!("{}.{}", tenths / 10, tenths % 10);
        [
            ("updates", self.updates.to_string()),
            ("reads", self.reads.to_string()),
            ("reads that found no row", self.rows_absent.to_string()),
            ("conflicts", self.conflicts.to_string()),
            ("combined commits", self.commits.to_string()),
            ("combined operations per commit", per_commit),
            ("ambiguous outcomes", self.ambiguous.to_string()),
            (
                "ambiguous outcomes resolved",
                self.ambiguous_resolved.to_string(),
            ),
        ]
        .into_iter()
        .map(|(name, figure)| (name.to_owned(), figure))
        .collect()
    }
}
