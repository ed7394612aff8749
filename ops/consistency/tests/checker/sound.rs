//! Sound ledgers: whatever breaks below and around them, nothing contradicts.

use std::time::Duration;

use lombard_consistency::nemesis::FaultKind;
use lombard_consistency::{Options, Report};
use lombard_store::simulated::Faults;

use crate::bank::{Plan, assert_consistent, options, through};

/// More of them by hand: `CONSISTENCY_SEEDS=1000..1500 cargo test … sound`.
fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("CONSISTENCY_SEEDS") else {
        return 0..5;
    };
    let (from, to) = text.split_once("..").unwrap();
    from.parse().unwrap()..to.parse().unwrap()
}

/// Operations go on until this much was broken and healed.
fn troubled(seed: u64) -> Options {
    Options {
        faults_min: 4,
        pause_max: Duration::from_millis(60),
        ..options(seed, 400)
    }
}

/// Every seed is consistent, and was troubled.
async fn sound(plan: impl Fn(u64) -> Plan, kinds: &[FaultKind]) {
    for seed in seeds() {
        let report = through(plan(seed), troubled(seed), kinds, true)
            .await
            .report;
        assert_consistent(&report);
        assert!(report.faults.len() >= 4, "{:?}", report.faults);
        assert!(report.audited);
        checked_all(&report);
    }
}

/// A run that checks nothing would be consistent, too.
fn checked_all(report: &Report) {
    let checked = &report.checked;
    let counts = [
        checked.entries,
        checked.reads,
        checked.reads_as_of,
        checked.trial_balance_lines,
        checked.refusals,
        checked.holds,
        checked.answers_again,
    ];
    assert!(counts.iter().all(|count| *count > 0), "{checked:?}");
    let total = report.total();
    assert!(total.attempts > total.ok + total.refused, "{total:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_log_that_is_killed_again_and_again() {
    sound(Plan::one_log, &[FaultKind::Kill]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_ledger_that_is_killed_over_a_database_that_loses_answers() {
    let plan = |seed| Plan {
        replicas: 1,
        ..Plan::replicated(seed)
    };
    sound(plan, &[FaultKind::Kill, FaultKind::RestartInTurn]).await;
}

/// What one of them left behind that is killed, the other finishes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_ledgers_over_a_database_that_loses_answers() {
    sound(Plan::replicated, &[FaultKind::Kill]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_faults_nothing_is_unknown() {
    let plan = Plan {
        faults: Faults::default(),
        ..Plan::one_log(1)
    };
    let report = through(plan, options(1, 500), &[], false).await.report;
    assert_consistent(&report);
    assert_eq!(report.total().unknown, 0, "{:?}", report.reasons);
    assert!(report.faults.is_empty());
}
