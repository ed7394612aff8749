//! When "not found" becomes so frequent that something must be wrong.
//!
//! The guard over the ring knows of nodes that joined without their data. Data can be lost
//! in other ways that nobody announces: a disk that was swapped, a `cleanup` at the wrong
//! time, a restore that was cut short. All of them look alike: reads that find no partition,
//! in the token ranges of some nodes.

use std::collections::VecDeque;

use crate::counts::{AbsentCounts, TOKEN_SLICES};
use crate::ring::{self, TokenRange};

/// How many seconds are looked at together.
const WINDOW: usize = 5;
/// How many seconds a partition that is to be begun has for that, after it was not found.
const GRACE: usize = 2;
/// Fewer than this, within the window, are nobody's alarm.
const SUSPICIOUS_MIN: u64 = 20;
/// Nor is a smaller share of all reads.
const SHARE_MIN: f64 = 0.01;
/// So many times what is usual.
const JUMP: f64 = 5.0;
/// How much of what is usual each second brings.
const USUAL_WEIGHT: f64 = 0.02;
/// A partition that is begun was not found before: by the read of the function that began
/// it, and by one that looked whether it is there.
const READS_OF_A_BEGINNING: u64 = 2;

/// What was not found in one keyspace, second by second.
#[derive(Debug)]
pub(crate) struct Absence {
    last: Option<AbsentCounts>,
    seconds: VecDeque<Second>,
    /// The share of all reads, as it usually is.
    usual: f64,
    alerting: bool,
}

/// Of one second: reads, and by slice which partitions were not found and which begun.
#[derive(Debug, Clone)]
struct Second {
    reads: u64,
    not_found: [u64; TOKEN_SLICES],
    begun: [u64; TOKEN_SLICES],
}

/// What there is to say.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// As before.
    Nothing,
    /// It has jumped.
    Jumped {
        not_found: u64,
        reads: u64,
        /// Where.
        ranges: Vec<TokenRange>,
    },
    /// It is as usual again.
    Over,
}

impl Default for Absence {
    fn default() -> Self {
        Self {
            last: None,
            seconds: VecDeque::with_capacity(WINDOW + GRACE + 1),
            usual: 0.0,
            alerting: false,
        }
    }
}

impl Absence {
    /// A second has gone by, and these are the counts now.
    pub fn second(&mut self, now: &AbsentCounts) -> Verdict {
        let Some(last) = self.last.replace(*now) else {
            return Verdict::Nothing;
        };
        self.seconds.push_back(Second::between(&last, now));
        if self.seconds.len() > WINDOW + GRACE {
            self.seconds.pop_front();
        }
        let looked_at = self.seconds.len().saturating_sub(GRACE);
        let reads = self.seconds.iter().take(looked_at);
        let reads: u64 = reads.map(|second| second.reads).sum();
        let by_slice = self.suspicious(looked_at);
        let not_found: u64 = by_slice.iter().sum();
        let share = share(not_found, reads);
        let limit = SHARE_MIN.max(JUMP * self.usual);
        let is_high = not_found >= SUSPICIOUS_MIN && share > limit;
        if is_high && !self.alerting {
            self.alerting = true;
            return Verdict::Jumped {
                not_found,
                reads,
                ranges: ranges(&by_slice),
            };
        }
        if self.alerting {
            if share < limit / 2.0 {
                self.alerting = false;
                return Verdict::Over;
            }
        } else {
            self.usual += USUAL_WEIGHT * (share - self.usual);
        }
        Verdict::Nothing
    }

    /// What was not found in the first seconds and has not been begun since, by slice.
    fn suspicious(&self, looked_at: usize) -> [u64; TOKEN_SLICES] {
        let mut suspicious = [0_u64; TOKEN_SLICES];
        for (slice, count) in suspicious.iter_mut().enumerate() {
            let looked = self.seconds.iter().take(looked_at);
            let not_found: u64 = looked.map(|second| second.not_found[slice]).sum();
            let begun: u64 = self.seconds.iter().map(|second| second.begun[slice]).sum();
            *count = not_found.saturating_sub(READS_OF_A_BEGINNING * begun);
        }
        suspicious
    }

    /// Whether it is still so.
    pub fn is_alerting(&self) -> bool {
        self.alerting
    }
}

impl Second {
    fn between(last: &AbsentCounts, now: &AbsentCounts) -> Self {
        let sum = |counts: &[u64]| counts.iter().sum::<u64>();
        let more = |of: fn(&AbsentCounts) -> &[u64; TOKEN_SLICES]| {
            let (last, now) = (of(last), of(now));
            std::array::from_fn(|slice| now[slice].saturating_sub(last[slice]))
        };
        Self {
            reads: sum(&now.reads).saturating_sub(sum(&last.reads)),
            not_found: more(|counts| &counts.partitions),
            begun: more(|counts| &counts.begun),
        }
    }
}

fn share(part: u64, whole: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a share to compare")]
    let share = part as f64 / whole.max(1) as f64;
    share
}

/// The slices in which anything was not found, neighbours joined.
fn ranges(by_slice: &[u64; TOKEN_SLICES]) -> Vec<TokenRange> {
    let mut ranges: Vec<TokenRange> = Vec::new();
    for (count, slice) in by_slice.iter().zip(ring::slices(TOKEN_SLICES)) {
        if *count > 0 {
            match ranges.last_mut() {
                Some(last) if last.to == slice.after => last.to = slice.to,
                _ => ranges.push(slice),
            }
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> AbsentCounts {
        AbsentCounts {
            rows: [0; TOKEN_SLICES],
            partitions: [0; TOKEN_SLICES],
            begun: [0; TOKEN_SLICES],
            reads: [0; TOKEN_SLICES],
        }
    }

    /// Reads in slice 3 in each second, and what of them was not found or begun.
    fn go(absence: &mut Absence, counts: &mut AbsentCounts, more: (u64, u64, u64)) -> Verdict {
        counts.reads[3] += more.0;
        counts.partitions[3] += more.1;
        counts.begun[3] += more.2;
        absence.second(counts)
    }

    #[test]
    fn a_jump_is_said_once_with_its_ranges_and_its_end_too() {
        let (mut absence, mut counts) = (Absence::default(), nothing());
        for _ in 0..60 {
            assert_eq!(
                go(&mut absence, &mut counts, (1_000, 1, 0)),
                Verdict::Nothing
            );
        }
        let width = 1_i64 << 58;
        // Whoever was to begin them might still be at it.
        for _ in 0..GRACE {
            assert_eq!(
                go(&mut absence, &mut counts, (1_000, 150, 0)),
                Verdict::Nothing
            );
        }
        let jumped = go(&mut absence, &mut counts, (1_000, 150, 0));
        let Verdict::Jumped {
            not_found,
            reads,
            ranges,
        } = jumped
        else {
            panic!("{jumped:?}");
        };
        assert_eq!((not_found, reads), (154, 5_000));
        let after = i64::MIN + 3 * width;
        assert_eq!(
            ranges,
            [TokenRange {
                after,
                to: after + width
            }]
        );
        assert_eq!(
            go(&mut absence, &mut counts, (1_000, 150, 0)),
            Verdict::Nothing
        );
        assert!(absence.is_alerting());
        let mut verdicts = (0..6 + GRACE).map(|_| go(&mut absence, &mut counts, (1_000, 1, 0)));
        assert!(verdicts.any(|verdict| verdict == Verdict::Over));
        drop(verdicts);
        assert!(!absence.is_alerting());
    }

    #[test]
    fn partitions_that_are_begun_are_no_alarm() {
        let (mut absence, mut counts) = (Absence::default(), nothing());
        for _ in 0..20 {
            assert_eq!(
                go(&mut absence, &mut counts, (900, 600, 300)),
                Verdict::Nothing
            );
        }
    }

    #[test]
    fn nor_where_beginning_them_takes_longer_than_a_second() {
        let (mut absence, mut counts) = (Absence::default(), nothing());
        for (reads, not_found, begun) in
            [(0, 0, 0), (64, 64, 0), (64, 64, 20), (0, 0, 30), (0, 0, 14)]
        {
            let more = (reads, not_found, begun);
            assert_eq!(go(&mut absence, &mut counts, more), Verdict::Nothing);
        }
        for _ in 0..2 * WINDOW {
            assert_eq!(go(&mut absence, &mut counts, (10, 0, 0)), Verdict::Nothing);
        }
    }

    #[test]
    fn what_is_usual_is_no_alarm_and_neither_are_a_few() {
        let (mut absence, mut counts) = (Absence::default(), nothing());
        // A few, before there were others.
        assert_eq!(go(&mut absence, &mut counts, (0, 0, 0)), Verdict::Nothing);
        assert_eq!(go(&mut absence, &mut counts, (20, 15, 0)), Verdict::Nothing);
        let mut counts = nothing();
        let mut absence = Absence {
            usual: 0.05,
            ..Absence::default()
        };
        for _ in 0..60 {
            assert_eq!(
                go(&mut absence, &mut counts, (1_000, 60, 0)),
                Verdict::Nothing
            );
        }
    }

    #[test]
    fn all_slices_are_the_whole_ring() {
        let whole = ranges(&[1; TOKEN_SLICES]);
        assert_eq!(
            whole,
            [TokenRange {
                after: i64::MIN,
                to: i64::MIN
            }]
        );
        assert!((whole[0].share() - 1.0).abs() < f64::EPSILON);
    }
}
