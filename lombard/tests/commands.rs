//! Commands, their exit codes and what they print, with the real binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on says so by its panic"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "clients of a real process live on real time and real threads"
)]

mod support;

use std::io::Read;
use std::process::Stdio;

use serde_json::json as value;
use support::{Up, json, lombard, refused, run, sample, sums};

#[test]
fn wrong_usage_is_exit_code_2_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let table: [(&[&str], &str); 8] = [
        (&["upp"], "similar subcommand"),
        (&["call", "ledgr", "GetBalances"], "did you mean `ledger`?"),
        (
            &["call", "ledger", "GetBalnces"],
            "did you mean `GetBalances`?",
        ),
        (&["call", "ledger"], "which method"),
        (&["run", "leger"], "did you mean `ledger`?"),
        (
            &["bench", "ledger", "--hot", "2"],
            "--hot: 2 is not a share",
        ),
        (
            &["report", "trial-balance", "--as-of", "yesterday"],
            "not a time",
        ),
        (
            &["run", "ledger", "--set", "ledger.clock_skew=5"],
            "clock_skew_ms",
        ),
    ];
    for (arguments, expected) in table {
        let said = refused(&data, arguments, 2);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

#[test]
fn methods_are_listed_and_described() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let list = json(&data, &["call", "--list"]);
    let names: Vec<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["method"].as_str())
        .collect();
    for name in ["CreateEntry", "OpenAccount", "ListCustomers"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let described = run(&data, &["call", "ledger", "createentry", "--describe"]);
    let text = String::from_utf8(described.stdout).unwrap();
    assert!(text.contains("\"amountMinor\": 0"), "{text}");
    let completions = run(&data, &["completions", "bash"]);
    let script = String::from_utf8(completions.stdout).unwrap();
    assert!(script.contains("TrialBalance") && script.contains("--value-date"));
    // Nothing of this needs a bank, or makes one.
    assert!(!data.exists());
}

#[test]
fn a_call_gives_the_answer_or_the_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let up = Up::start(&data, &[]);
    for (id, floor) in [
        ("alice", value!({"minimumMinor": "0"})),
        ("world", value!(null)),
    ] {
        let request = value!({"id": id, "addresses": [{"address": "customer/main", "currency": "GBP", "floor": floor}]});
        json(
            &data,
            &["call", "ledger", "CreateAccount", &request.to_string()],
        );
    }
    let pay = |id: u32, from: &str, to: &str, amount: i64| {
        value!({"entry": {"id": format!("01890000-0000-7000-8000-{id:012}"), "legs": [
            {"account": from, "currency": "GBP", "amountMinor": (-amount).to_string()},
            {"account": to, "currency": "GBP", "amountMinor": amount.to_string()},
        ]}})
        .to_string()
    };
    let paid = json(
        &data,
        &[
            "call",
            "ledger",
            "CreateEntry",
            &pay(1, "world", "alice", 500),
        ],
    );
    assert_eq!(paid["result"]["home"], "world");
    let again = json(
        &data,
        &[
            "call",
            "ledger",
            "CreateEntry",
            &pay(1, "world", "alice", 500),
        ],
    );
    assert_eq!(again["result"]["replayed"], true);
    let said = refused(
        &data,
        &[
            "call",
            "ledger",
            "CreateEntry",
            &pay(2, "alice", "world", 501),
        ],
        1,
    );
    assert!(
        said.contains("500") && said.contains("501") && said.contains("alice"),
        "{said}"
    );
    let said = refused(
        &data,
        &["call", "ledger", "GetBalances", r#"{"acount":"alice"}"#],
        1,
    );
    assert!(
        said.contains("acount") && said.contains("--describe"),
        "{said}"
    );
    let balances = json(
        &data,
        &["call", "ledger", "GetBalances", r#"{"account":"alice"}"#],
    );
    assert_eq!(balances["balances"][0]["balanceMinor"], "500");
    up.stop();
}

#[test]
fn what_was_acknowledged_is_there_after_any_end() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let sample = sample();
    let up = Up::start(&data, &[]);
    assert_eq!(up.ready["event"], "ready");
    assert!(up.ready["ready_ms"].as_u64().unwrap() < 60_000);
    json(
        &data,
        &["import", sample.to_str().unwrap(), "--format", "berka"],
    );
    let before = json(&data, &["report", "trial-balance"]);
    up.stop();
    // Without a bank, on its folder.
    assert_eq!(json(&data, &["report", "trial-balance"]), before);
    let up = Up::start(&data, &[]);
    assert_eq!(json(&data, &["report", "trial-balance"]), before);
    up.kill();
    assert_eq!(json(&data, &["report", "trial-balance"]), before);
    assert_eq!(json(&data, &["check"])["ok"], true);
}

#[test]
fn a_second_bank_on_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let up = Up::start(&data, &[]);
    let said = refused(&data, &["up", "--port-base", "0"], 1);
    assert!(
        said.contains("runs on") && said.contains("--data"),
        "{said}"
    );
    // The lock says so too, where the announcement is gone.
    std::fs::remove_file(data.join("running.json")).unwrap();
    let said = refused(&data, &["up", "--port-base", "0"], 1);
    assert!(
        said.contains("in use") || said.contains("another process"),
        "{said}"
    );
    up.stop();
}

#[test]
fn a_bench_says_what_it_measured() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let singles = json(
        &data,
        &[
            "bench",
            "ledger",
            "--count",
            "600",
            "--clients",
            "8",
            "--accounts",
            "20",
            "--holds",
            "0.3",
            "--hot",
            "0.5",
        ],
    );
    assert_eq!(
        (&singles["acknowledged"], &singles["errors"]),
        (&value!(600), &value!(0)),
        "{singles}"
    );
    let batches = json(
        &data,
        &[
            "bench",
            "ledger",
            "--count",
            "5000",
            "--clients",
            "2",
            "--batch",
            "1000",
            "--accounts",
            "20",
            "--floors",
        ],
    );
    assert_eq!(
        (&batches["acknowledged"], &batches["errors"]),
        (&value!(5_000), &value!(0)),
        "{batches}"
    );
    let paced = json(
        &data,
        &[
            "bench",
            "ledger",
            "--seconds",
            "0.5",
            "--rate",
            "200",
            "--clients",
            "4",
            "--accounts",
            "20",
            "--warmup",
            "0.1",
        ],
    );
    assert_eq!(paced["loop"], "open");
    for key in [
        "clients",
        "batch",
        "seconds",
        "acknowledged",
        "rate_per_s",
        "p50_ms",
        "p99_ms",
        "p999_ms",
        "max_ms",
        "errors",
        "engine",
        "durability",
        "longest_pause_ms",
    ] {
        assert!(!paced[key].is_null(), "{key} is missing: {paced}");
    }
    let checked = json(&data, &["check"]);
    assert_eq!(checked["ok"], true, "{checked}");
    assert!(
        sums(&json(&data, &["report", "trial-balance"]))
            .values()
            .all(|sum| *sum == 0)
    );
}

#[test]
fn the_demonstration_moves_money_and_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut entries = 0;
    for _ in 0..2 {
        let up = Up::start(&data, &["--demo", "--customers", "5", "--rate", "200"]);
        std::thread::sleep(std::time::Duration::from_millis(2_500));
        let running = json(&data, &["check"]);
        assert_eq!(running["ok"], true, "{running}");
        up.stop();
        let stopped = json(&data, &["check"]);
        assert_eq!(stopped["ok"], true, "{stopped}");
        let now = stopped["entries"].as_u64().unwrap();
        assert!(now > entries + 50, "{now} entries after {entries}");
        entries = now;
    }
    assert!(
        sums(&json(&data, &["report", "trial-balance"]))
            .values()
            .all(|sum| *sum == 0)
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut child = lombard(&data, &["call", "--list"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    let status = child.wait().unwrap();
    assert!(status.success() && said.is_empty(), "{status}: {said}");
}

#[test]
fn a_backup_of_a_running_bank_is_restored_whole() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let backup = folder.path().join("backup");
    let to = backup.to_str().unwrap();
    let sample = sample();
    let up = Up::start(&data, &[]);
    json(
        &data,
        &["import", sample.to_str().unwrap(), "--format", "berka"],
    );
    let balances = json(&data, &["report", "trial-balance"]);
    let made = json(&data, &["backup", "make", to]);
    assert!(made["position"].as_u64().unwrap() > 0);
    let said = refused(&data, &["backup", "make", to], 1);
    assert!(said.contains("exists"), "{said}");
    // What comes after the backup is not in it.
    let request =
        value!({"id": "late", "addresses": [{"address": "customer/main", "currency": "GBP"}]});
    json(
        &data,
        &["call", "ledger", "CreateAccount", &request.to_string()],
    );
    up.stop();

    let verified = json(&data, &["backup", "verify", to]);
    assert_eq!(verified["position"], made["position"]);
    assert!(verified["commits"].as_u64().unwrap() > 100);
    let said = refused(&data, &["backup", "restore", to], 1);
    assert!(said.contains("has a state already"), "{said}");
    let restored = folder.path().join("restored");
    json(&restored, &["backup", "restore", to]);
    assert_eq!(json(&restored, &["report", "trial-balance"]), balances);
    assert_eq!(json(&restored, &["check"])["ok"], true);

    // One bit anywhere, and it is not verified any more.
    let segment = std::fs::read_dir(backup.join("log"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[9_000] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let said = refused(&data, &["backup", "verify", to], 1);
    assert!(said.contains("take another backup"), "{said}");
    let elsewhere = folder.path().join("elsewhere");
    refused(&elsewhere, &["backup", "restore", to], 1);
    assert!(!elsewhere.join("store").exists());
}

#[test]
fn the_log_is_shown_record_by_record() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let sample = sample();
    json(
        &data,
        &["import", sample.to_str().unwrap(), "--format", "berka"],
    );
    let shown = run(
        &data,
        &[
            "log",
            "inspect",
            "--json",
            "--rows",
            "--partition",
            "berka-9001",
        ],
    );
    assert!(shown.status.success());
    let commits: Vec<serde_json::Value> = String::from_utf8(shown.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(!commits.is_empty());
    for (commit, version) in commits.iter().zip(1..) {
        assert_eq!(
            (&commit["keyspace"], &commit["version"]),
            (&value!("ledger"), &value!(version))
        );
        let rows = commit["rows"].as_array().unwrap();
        assert!(rows.iter().all(|row| row["intact"] == true));
    }
    let text = run(&data, &["log", "inspect", "--limit", "3"]);
    assert_eq!(String::from_utf8(text.stdout).unwrap().lines().count(), 3);
    let up = Up::start(&data, &[]);
    let said = refused(&data, &["log", "inspect"], 1);
    assert!(said.contains("in use"), "{said}");
    up.stop();
}
