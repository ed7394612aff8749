//! Which parts of the index are merged, and when: by tiers.
//!
//! Each checkpoint adds a sorted run. Sixteen of them are merged into one run of the
//! next tier, eight of those into one of the tier after it, so that a row is
//! rewritten once a tier (O'Neil et al., "The Log-Structured Merge-Tree", 1996, has
//! the cost of merging level by level, which was a fifth of the processor here). A
//! look-up asks at most some two dozen runs, of which filters in memory rule out
//! nearly all.
//!
//! While commits fill one checkpoint after the other, merging waits until there are
//! three times as many: the processor is theirs, and a quiet moment comes.
//!
//! The tree has seven levels. Runs gather in the even ones; a merge goes to the odd
//! one below, which is empty, so that nothing that was merged before is merged along,
//! and what it made then only changes its level. After a crash between the two the
//! move is made up for.

/// Levels of the tree.
pub(super) const LEVELS: usize = 7;
/// Checkpoints that are merged into one run.
const CHECKPOINTS: usize = 16;
/// Runs that are merged into one of the next tier.
const RUNS: usize = 8;
/// As many times more of both are left while there is much to commit.
const PATIENCE: usize = 3;
/// The lowest level: it has one run, and what was deleted ends there.
const LAST: u8 = 6;

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Merge all runs of a level, and those of the level that the result goes to.
    Merge(u8, u8),
    /// Give what a level has to another one.
    Move(u8, u8),
}

/// What else there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Nothing to speak of.
    Quiet,
    /// One checkpoint follows the other.
    Busy,
}

/// What to do next in a tree with so many runs in its levels. None: nothing is worth it.
pub(super) fn next(runs: [usize; LEVELS], pace: Pace) -> Option<Step> {
    let patience = match pace {
        Pace::Quiet => 1,
        Pace::Busy => PATIENCE,
    };
    let [new, merged, tier, tier_merged, high, below_high, _] = runs;
    // Merged and not moved yet; the oldest first, so that no run overtakes an older one.
    if below_high > 0 {
        return Some(Step::Move(5, LAST));
    }
    if tier_merged > 0 {
        return Some(Step::Move(3, 4));
    }
    if merged > 0 {
        return Some(Step::Move(1, 2));
    }
    if new >= CHECKPOINTS * patience {
        return Some(Step::Merge(0, 1));
    }
    if tier >= RUNS * patience {
        return Some(Step::Merge(2, 3));
    }
    (high >= RUNS / 2 * patience).then_some(Step::Merge(4, LAST))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs of each level, by the checkpoints in them.
    type Tree = [Vec<u64>; LEVELS];

    fn take(tree: &mut Tree, step: Step) -> u64 {
        match step {
            Step::Move(from, to) => {
                let runs = std::mem::take(&mut tree[usize::from(from)]);
                tree[usize::from(to)].splice(0..0, runs);
                0
            }
            Step::Merge(from, to) => {
                let runs = std::mem::take(&mut tree[usize::from(from)]);
                let below = std::mem::take(&mut tree[usize::from(to)]);
                let all = runs.iter().chain(&below).sum();
                tree[usize::from(to)].push(all);
                all
            }
        }
    }

    #[test]
    fn runs_stay_few_and_each_checkpoint_is_rewritten_a_few_times() {
        assert!(grown(Pace::Quiet).0 <= 15 + 7 + 3 + 1);
        assert!(grown(Pace::Quiet).1 <= 5 * 1000);
        assert!(grown(Pace::Busy).0 <= 47 + 23 + 11 + 1);
        assert!(grown(Pace::Busy).1 <= 2 * 1000);
    }

    /// After a thousand checkpoints: the most runs that there were, and how many
    /// checkpoints were rewritten, each time counted.
    fn grown(pace: Pace) -> (usize, u64) {
        let mut tree = Tree::default();
        let (mut rewritten, mut most) = (0, 0);
        for checkpoint in 1..=1000_u64 {
            tree[0].insert(0, 1);
            while let Some(step) = next(tree.each_ref().map(Vec::len), pace) {
                // Only into the last level something is merged along.
                if let Step::Merge(_, to) = step {
                    assert!(to == LAST || tree[usize::from(to)].is_empty());
                }
                rewritten += take(&mut tree, step);
            }
            let all = tree.iter().flatten();
            assert_eq!(all.clone().sum::<u64>(), checkpoint, "nothing is lost");
            most = most.max(all.count());
        }
        (most, rewritten)
    }

    #[test]
    fn what_was_merged_before_a_crash_is_moved_first() {
        assert_eq!(
            next([17, 1, 8, 0, 0, 0, 0], Pace::Quiet),
            Some(Step::Move(1, 2))
        );
        assert_eq!(
            next([17, 1, 8, 1, 0, 0, 0], Pace::Busy),
            Some(Step::Move(3, 4))
        );
        assert_eq!(next([0; LEVELS], Pace::Quiet), None);
    }
}
