//! What can go wrong in the simulated engine, and how often it did.

/// How often each thing goes wrong: probabilities from 0 to 1 for each call.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Faults {
    /// A commit is told that the version has changed although it has not.
    pub conflict: f64,
    /// A commit times out and is not in …
    pub timeout_before: f64,
    /// … but with this probability comes in later, if the version still allows it.
    pub late_arrival: f64,
    /// A commit is in, but its answer times out.
    pub timeout_after: f64,
    /// A call is refused; nothing was changed.
    pub unavailable: f64,
    /// Waiting for durability fails, and the engine with it: as with a broken disk.
    /// What was not durable may or may not be there after [`super::Simulated::crash`].
    pub flush_failure: f64,
    /// A crash leaves the first part of what was not flushed, up to a torn record.
    pub torn_tail: f64,
    /// Calls wait up to so many turns before, and after, they do their work.
    pub delay_turns_max: u32,
}

impl Faults {
    /// Every fault that an engine with one log can have, often.
    pub fn one_log() -> Self {
        Self {
            unavailable: 0.02,
            torn_tail: 0.5,
            delay_turns_max: 4,
            ..Self::default()
        }
    }

    /// Every fault that a database on the network can have, often.
    pub fn replicated() -> Self {
        Self {
            conflict: 0.05,
            timeout_before: 0.05,
            late_arrival: 0.5,
            timeout_after: 0.05,
            unavailable: 0.02,
            delay_turns_max: 4,
            ..Self::default()
        }
    }
}

/// How often what went wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Conflicts without a cause.
    pub conflicts: u64,
    /// Timeouts of commits that were not in.
    pub timeouts_before: u64,
    /// Those of them that came in later.
    pub late_arrivals: u64,
    /// Timeouts of commits that were in.
    pub timeouts_after: u64,
    /// Calls that were refused.
    pub unavailable: u64,
    /// Flushes that failed.
    pub flush_failures: u64,
    /// Crashes.
    pub crashes: u64,
    /// Crashes that tore the log's tail.
    pub torn_tails: u64,
    /// Commits that crashes took away.
    pub commits_lost: u64,
    /// Glances that did not show a commit on its way.
    pub old_glances: u64,
}

impl FaultCounts {
    /// By name, for [`crate::EngineInfo::figures`].
    pub(super) fn figures(&self) -> impl Iterator<Item = (String, String)> {
        [
            ("conflicts without a cause", self.conflicts),
            ("timeouts before the commit", self.timeouts_before),
            ("late arrivals", self.late_arrivals),
            ("timeouts after the commit", self.timeouts_after),
            ("calls refused", self.unavailable),
            ("flushes failed", self.flush_failures),
            ("crashes", self.crashes),
            ("torn tails", self.torn_tails),
            ("commits lost", self.commits_lost),
            ("old glances", self.old_glances),
        ]
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count.to_string()))
    }
}
