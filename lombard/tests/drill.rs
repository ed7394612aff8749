//! The real binary's drills, on real engines: each must find that everything is as it must
//! be, and leave nothing behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on says so by its panic"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "processes and engines live on real time"
)]

mod support;

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use lombard_engines::cassandra::Cassandra;
use lombard_engines::postgres::Postgres;
use lombard_engines::{Cache, Progress, testing};
use serde_json::Value;
use support::{lombard, refused, run};

/// Six nodes at a time are enough for one machine.
static CLUSTER: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// A folder for what a drill does not use: it has folders of its own.
fn unused() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    (folder, data)
}

/// Whether this machine has what Cassandra takes; if so, nobody else runs a cluster.
fn alone_with_cassandra(test: &str) -> Option<std::sync::MutexGuard<'static, ()>> {
    let one = CLUSTER
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let cache = Cache::of_user().unwrap();
    testing::started(test, Cassandra.ensure(&cache, &Progress::ignore)).map(|_| one)
}

fn has_postgres(test: &str) -> bool {
    let cache = Cache::of_user().unwrap();
    testing::started(test, Postgres.ensure(&cache, &Progress::ignore)).is_some()
}

/// Runs a drill to its end. Its report, in which each verdict is yes.
fn drilled(arguments: &[&str]) -> Value {
    let (_folder, data) = unused();
    let output = run(&data, &[&["drill"], arguments, &["--json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}\n{said}", output.status));
    let verdicts = report["verdicts"].as_array().unwrap();
    let not_ok: Vec<&Value> = verdicts
        .iter()
        .filter(|verdict| verdict["ok"] != true)
        .collect();
    assert!(not_ok.is_empty(), "{not_ok:#?}\n{report:#}");
    assert_eq!(report["ok"], true);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(report["wrong"], Value::Array(Vec::new()));
    assert!(report["audit"]["clean"].as_bool().unwrap());
    assert!(report["compared"]["entries"].as_u64().unwrap() > 0);
    report
}

fn ids(report: &Value) -> Vec<&str> {
    let verdicts = report["verdicts"].as_array().unwrap();
    let ids = verdicts.iter().map(|verdict| verdict["id"].as_str());
    ids.map(Option::unwrap).collect()
}

/// The right answers of each phase.
fn right_answers(report: &Value) -> Vec<(&str, u64)> {
    let phases = report["phases"].as_array().unwrap();
    let right = phases.iter().map(|phase| {
        let name = phase["name"].as_str().unwrap();
        (name, phase["right"].as_u64().unwrap())
    });
    right.collect()
}

#[test]
fn nobody_is_told_a_lie_while_nodes_own_what_they_do_not_have_and_all_comes_back() {
    let Some(_one) = alone_with_cassandra("cassandra_scale_up") else {
        return;
    };
    let report = drilled(&["cassandra-scale-up", "--accounts", "60"]);
    assert_eq!(
        ids(&report),
        [
            "alert",
            "balances",
            "not_found",
            "opened_twice",
            "applied_twice",
            "way_back",
            "served_again",
            "no_wrong_answer",
            "everything_there",
            "audit_clean"
        ]
    );
    // All accounts, and the one that gave them their money.
    assert_eq!(report["compared"]["accounts"], 61);
    let alert = report["alerts"][0]["text"].as_str().unwrap();
    assert!(alert.starts_with("cassandra: cluster main: "), "{alert}");
    // The incident was one: some were refused, with the reason.
    let phases = report["phases"].as_array().unwrap();
    let answers = phases.iter().flat_map(|phase| phase["answers"].as_array());
    let refused = answers
        .flatten()
        .filter(|answer| answer["reason"] == "STORE_UNAVAILABLE");
    let refused: u64 = refused
        .map(|answer| answer["count"].as_u64().unwrap())
        .sum();
    assert!(refused > 0, "{report:#}");
}

#[test]
fn a_cluster_grows_under_load_with_no_failed_and_no_wrong_answer() {
    let Some(_one) = alone_with_cassandra("cassandra_grow") else {
        return;
    };
    let report = drilled(&["cassandra-grow", "--to", "4", "--accounts", "40"]);
    let phases = right_answers(&report);
    let names: Vec<&str> = phases.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["three nodes", "node 4 joins", "4 nodes"]);
    assert!(phases.iter().all(|(_, right)| *right > 0), "{phases:?}");
}

#[test]
fn every_cassandra_node_is_restarted_under_load() {
    let Some(_one) = alone_with_cassandra("rolling_restart_cassandra") else {
        return;
    };
    let report = drilled(&[
        "rolling-restart",
        "--engine",
        "cassandra",
        "--accounts",
        "40",
    ]);
    let phases = right_answers(&report);
    let names: Vec<&str> = phases.iter().map(|(name, _)| *name).collect();
    let restarts = ["node 1 restarts", "node 2 restarts", "node 3 restarts"];
    assert_eq!(names[1..4], restarts, "{names:?}");
    // While a node is away the other two answer.
    assert!(phases.iter().all(|(_, right)| *right > 0), "{phases:?}");
}

#[test]
fn a_postgres_server_is_restarted_under_load() {
    if !has_postgres("rolling_restart_postgres") {
        return;
    }
    let report = drilled(&[
        "rolling-restart",
        "--engine",
        "postgres",
        "--accounts",
        "40",
    ]);
    let phases = report["phases"].as_array().unwrap();
    let restart = phases
        .iter()
        .find(|phase| phase["name"] == "the server restarts");
    assert!(restart.unwrap()["longest_pause_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_ledger_on_postgres_is_put_back_to_the_moment_before_a_mistake() {
    if !has_postgres("postgres_restore") {
        return;
    }
    let report = drilled(&["postgres-restore", "--accounts", "40"]);
    restored_as_it_must_be(&report, 40);
}

#[test]
fn a_ledger_on_cassandra_is_put_back_to_the_moment_before_a_mistake() {
    let Some(_one) = alone_with_cassandra("cassandra_restore") else {
        return;
    };
    let report = drilled(&["cassandra-restore", "--accounts", "12"]);
    restored_as_it_must_be(&report, 12);
}

/// What every restore shows, besides its verdicts.
fn restored_as_it_must_be(report: &Value, accounts: u64) {
    assert_eq!(
        ids(report),
        [
            "disaster",
            "restored",
            "restored_clean",
            "sent_again",
            "served_again",
            "no_alert",
            "no_wrong_answer",
            "everything_there",
            "audit_clean"
        ]
    );
    let restored = &report["restored"];
    let count = |name: &str| restored[name].as_u64().unwrap();
    assert!(count("acknowledged_by_then") > accounts, "{restored:#}");
    assert!(count("later") > 0 && count("got_in") >= count("later"));
    assert_eq!(restored["compared"]["accounts"], accounts + 1);
}

#[test]
fn a_drill_that_is_killed_leaves_no_bank_behind() {
    if !has_postgres("a_drill_that_is_killed") {
        return;
    }
    for signal in ["KILL", "INT"] {
        let (_folder, data) = unused();
        let arguments = ["drill", "rolling-restart", "--engine", "postgres"];
        let mut drill = lombard(&data, &arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(drill.stderr.take().unwrap()).lines();
        let listens = "its ledger listens on ";
        let address = lines
            .find_map(|line| Some(line.unwrap().split_once(listens)?.1.to_owned()))
            .unwrap();
        TcpStream::connect(&address).unwrap();
        let pid = drill.id().to_string();
        let sent = std::process::Command::new("kill")
            .args([&format!("-{signal}"), &pid])
            .status();
        assert!(sent.unwrap().success());
        drill.wait().unwrap();
        let gone = (0..600).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            TcpStream::connect(&address).is_err()
        });
        assert!(gone, "{signal}: the bank still listens on {address}");
    }
}

#[test]
fn what_cannot_be_drilled_is_wrong_usage() {
    let (_folder, data) = unused();
    for (arguments, says) in [
        (
            &["drill", "cassandra-scale-up", "--way-back", "cleanup"][..],
            "the only copy",
        ),
        (
            &["drill", "cassandra-scale-up", "--way-back", "rebuild"],
            "do not come back by it",
        ),
        (
            &["drill", "cassandra-scale-up", "--accounts", "3"],
            "--accounts",
        ),
        (&["drill", "cassandra-grow", "--to", "7"], "--to"),
        (&["drill", "rolling-restart"], "--engine"),
        (
            &["drill", "rolling-restart", "--engine", "embedded"],
            "cassandra, postgres",
        ),
    ] {
        let said = refused(&data, arguments, 2);
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}
