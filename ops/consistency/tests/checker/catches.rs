//! Broken engines: each is found out, for every seed, within so many operations, and the
//! report shows where.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lombard_consistency::broken::{Broken, Forgetful, Hasty, Stale, Unconditional};
use lombard_consistency::nemesis::FaultKind;
use lombard_consistency::timeline::Styles;
use lombard_consistency::violation::ViolationKind;
use lombard_consistency::{Options, Report};
use lombard_store::simulated::{Faults, Kind};

use crate::bank::{Plan, options, through};

const SEEDS: std::ops::Range<u64> = 0..4;
const OPERATIONS: u64 = 400;

/// What is broken may never become quiet: that is not waited for.
fn short(seed: u64) -> Options {
    Options {
        settle_timeout: Duration::from_secs(5),
        ..options(seed, OPERATIONS)
    }
}

/// Every seed is caught, by one of these kinds at least; what was found in all.
async fn caught(
    plan: impl Fn(u64) -> Plan,
    options: impl Fn(u64) -> Options,
    faults: &[FaultKind],
    kinds: &[ViolationKind],
) -> BTreeSet<ViolationKind> {
    let mut all = BTreeSet::new();
    for seed in SEEDS {
        let run = through(plan(seed), options(seed), faults, false).await;
        let report = run.report;
        let text = report.text(&Styles::plain());
        println!("{text}");
        assert!(!report.consistent, "seed {seed} was not caught: {text}");
        let found: BTreeSet<ViolationKind> = report
            .violations
            .iter()
            .map(|violation| violation.kind)
            .collect();
        assert!(
            kinds.iter().any(|kind| found.contains(kind)),
            "seed {seed}: none of {kinds:?}: {text}"
        );
        tells(&report, &text);
        all.extend(found);
    }
    all
}

/// The timeline shows the operations in question, and the order that they contradict.
fn tells(report: &Report, text: &str) {
    let timeline = report.timeline.as_ref().unwrap();
    let violation = &timeline.violation;
    assert!(!violation.expected.is_empty() && !violation.seen.is_empty());
    if !violation.operations.is_empty() {
        assert!(timeline.rows.iter().any(|row| row.of_violation), "{text}");
    }
    for row in &timeline.rows {
        assert_eq!(
            row.lanes.chars().count(),
            3 * timeline.lanes.len(),
            "{text}"
        );
    }
    assert!(
        timeline.rows.is_sorted_by_key(|row| row.at_us),
        "time goes down: {text}"
    );
    assert!(timeline.rows.len() < 40, "no one reads so much: {text}");
    assert!(!text.contains('\u{1b}'), "plain is plain");
    assert!(report.text(&Styles::coloured()).contains('\u{1b}'));
    let json = serde_json::to_string(report).unwrap();
    let back: Report = serde_json::from_str(&json).unwrap();
    assert_eq!(back, *report);
}

fn quiet_replicas(seed: u64) -> Plan {
    Plan {
        faults: Faults {
            delay_turns_max: 20,
            ..Faults::default()
        },
        ..Plan::replicated(seed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_from_a_replica_that_lags_behind() {
    let plan = |seed| {
        quiet_replicas(seed)
            .broken(move |engine| Arc::new(Broken::new(engine, Stale::new(0.25, seed))))
    };
    let kinds = [ViolationKind::ReadStale, ViolationKind::RefusalWrong];
    let all = caught(plan, short, &[], &kinds).await;
    assert!(all.contains(&ViolationKind::ReadStale), "{all:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_without_their_condition() {
    let plan = |seed| {
        quiet_replicas(seed)
            .broken(move |engine| Arc::new(Broken::new(engine, Unconditional::new(0.5, seed))))
    };
    let kinds = [
        ViolationKind::EntryLost,
        ViolationKind::EntryInPart,
        ViolationKind::EntryWrong,
        ViolationKind::BalanceWrong,
        ViolationKind::OrderWrong,
    ];
    caught(plan, short, &[], &kinds).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_before_durable() {
    let plan = |seed| {
        let plan = Plan {
            kind: Kind::OneLogShared,
            ..Plan::one_log(seed)
        };
        plan.broken(move |engine| Arc::new(Broken::new(engine, Hasty::new(0.9, seed))))
    };
    let options = |seed| Options {
        // A crash may come when all is durable, or leave what is not.
        faults_min: 8,
        ..short(seed)
    };
    let kinds = [
        ViolationKind::EntryLost,
        ViolationKind::EntryInPart,
        ViolationKind::EntryWrong,
        ViolationKind::ReadStale,
    ];
    caught(plan, options, &[FaultKind::Kill], &kinds).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_is_applied_twice_when_it_is_sent_again() {
    let plan = |seed| {
        Plan::replicated(seed)
            .broken(move |engine| Arc::new(Broken::new(engine, Forgetful::new(0.2, seed))))
    };
    let kinds = [ViolationKind::EntryDoubled];
    caught(plan, short, &[], &kinds).await;
}
