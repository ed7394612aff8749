//! A log that a crash tore, and one that a disk damaged.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::backup::segments;
use crate::bank::{Bank, check_stopped, folder, lombard, up};
use crate::ledger::{Ledger, int, text};

fn inspect(data: &Path) -> Output {
    lombard(&["log", "inspect", "--json", "--data"])
        .arg(data)
        .output()
        .unwrap()
}

fn records(output: &Output) -> Vec<Value> {
    let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A bank's folder with some entries, after `kill -9`; and its last acknowledged balance of `b`.
fn killed_bank(folder: &Path) -> (PathBuf, i64) {
    let data = folder.join("data");
    let bank = Bank::start(&data);
    let mut ledger = Ledger::of(&bank);
    ledger.open("a", false);
    ledger.open("b", false);
    for _ in 0..20 {
        ledger.post(&[("a", -5), ("b", 5)]);
    }
    bank.kill();
    (data, 100)
}

fn balance(bank: &Bank) -> i64 {
    Ledger::of(bank).balances("b")[&("b".to_owned(), "customer/main".to_owned())]
}

/// The segment and the offset where a record ends, or begins.
fn place(data: &Path, record: &Value, bytes: i64) -> (PathBuf, u64) {
    let name = text(&record["segment"]);
    let found = segments(data)
        .into_iter()
        .find(|segment| segment.ends_with(name));
    (
        found.unwrap(),
        u64::try_from(int(&record["offset"]) + bytes).unwrap(),
    )
}

#[test]
fn the_log_can_be_read_record_by_record_while_nobody_runs() {
    let folder = folder();
    let (data, _) = killed_bank(folder.path());
    let output = inspect(&data);
    assert!(output.status.success(), "{output:?}");
    let records = records(&output);
    let commits = |partition: &str| {
        let of = |record: &&Value| record["record"] == "commit" && record["partition"] == partition;
        records.iter().filter(of).count()
    };
    // Opening and twenty entries; entries that wait for one another may share a commit.
    assert!((2..=21).contains(&commits("a")), "{}", commits("a"));
    assert!((2..=21).contains(&commits("b")), "{}", commits("b"));
    let positions: Vec<i64> = records
        .iter()
        .map(|record| int(&record["position"]))
        .collect();
    assert!(positions.is_sorted());

    let bank = Bank::start(&data);
    assert_eq!(
        inspect(&data).status.code(),
        Some(1),
        "it reads what is being written"
    );
    bank.stop();
}

#[test]
fn a_torn_tail_is_cut_at_the_last_whole_record_and_said() {
    let folder = folder();
    let (data, last) = killed_bank(folder.path());
    let output = inspect(&data);
    let records = records(&output);
    let commit = records
        .iter()
        .rfind(|record| record["record"] == "commit")
        .unwrap();
    let end = records.last().unwrap();
    let (segment, at) = place(&data, end, 0);
    // What a write that never ended would have left behind the last whole frame: the
    // beginning of a record like the last one.
    let length = usize::try_from(int(&commit["bytes"])).unwrap();
    let (from, begins) = place(&data, commit, 0);
    let mut torn = vec![0; length - 10];
    OpenOptions::new()
        .read(true)
        .open(from)
        .unwrap()
        .read_exact_at(&mut torn, begins)
        .unwrap();
    let file = OpenOptions::new().write(true).open(&segment).unwrap();
    file.write_all_at(&torn, at + 32).unwrap();
    drop(file);

    let bank = Bank::start(&data);
    assert!(
        bank.log().contains("cut"),
        "nothing is said of the cut:\n{}",
        bank.log()
    );
    assert_eq!(balance(&bank), last);
    Ledger::of(&bank).post(&[("a", -5), ("b", 5)]);
    bank.kill();
    let bank = Bank::start(&data);
    assert_eq!(balance(&bank), last + 5);
    bank.stop();
    check_stopped(&data);
}

#[test]
fn damage_before_the_tail_is_named_and_nothing_is_skipped() {
    let folder = folder();
    let (data, _) = killed_bank(folder.path());
    let records = records(&inspect(&data));
    let commit = records
        .iter()
        .find(|record| record["record"] == "commit" && record["partition"] == "b")
        .unwrap();
    // A bit of a row in the middle of an early record.
    let (segment, at) = place(&data, commit, int(&commit["bytes"]) / 2);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&segment)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    drop(file);

    let name = segment.file_name().unwrap().to_string_lossy().into_owned();
    let arguments = up(&data);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    for output in [lombard(&arguments).output().unwrap(), inspect(&data)] {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&name), "where? {said}");
    }
    // Nothing was changed by the attempt: with the bit back, all is there.
    let file = OpenOptions::new().write(true).open(&segment).unwrap();
    file.write_all_at(&byte, at).unwrap();
    drop(file);
    let bank = Bank::start(&data);
    assert_eq!(balance(&bank), 100);
    bank.stop();
    check_stopped(&data);
}
