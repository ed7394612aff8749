//! Backups of a bank that runs, and what happens to those that are damaged.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::bank::{Bank, folder, lombard};
use crate::ledger::{Ledger, int};
use crate::load::{Client, open_accounts};

const CLIENTS: u64 = 4;

fn backup(arguments: &[&str], folder: &Path, data: Option<&Path>) -> Output {
    let mut command = lombard(&["backup", "--json"]);
    command.args(arguments).arg(folder);
    if let Some(data) = data {
        command.arg("--data").arg(data);
    }
    command.output().unwrap()
}

fn done(output: &Output) -> Value {
    assert!(output.status.success(), "{}", said(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", said(output));
    said(output)
}

fn said(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The files of the log in a store or a backup, first to last.
pub fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(segments(&entry.path()));
        } else if entry
            .path()
            .extension()
            .is_some_and(|ending| ending == "log")
        {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

#[test]
fn a_backup_of_a_running_bank_holds_everything_acknowledged_before_it_began() {
    let folder = folder();
    let [data, copy, restored] = ["data", "copy", "restored"].map(|name| folder.path().join(name));
    let bank = Bank::start(&data);
    let mut ledger = Ledger::of(&bank);
    open_accounts(&mut ledger);
    let stop = AtomicBool::new(false);
    let mut clients: Vec<Client> = (200..200 + CLIENTS).map(Client::new).collect();
    let mut copied = Value::Null;
    let before = std::thread::scope(|scope| {
        let (stop, address) = (&stop, bank.address("ledger"));
        let first: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                scope.spawn(move || {
                    client.run_for(address, Duration::from_millis(500));
                    let acknowledged = client.sent.len();
                    client.run(address, stop);
                    acknowledged
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(700));
        copied = done(&backup(&["make"], &copy, Some(&data)));
        stop.store(true, Ordering::Relaxed);
        first
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect::<Vec<usize>>()
    });
    assert!(int(&copied["bytes"]) > 0, "{copied}");
    // It goes on, and a folder that is there already is left alone.
    ledger.post(&[("funder", -1), ("customer-00", 1)]);
    refused(&backup(&["make"], &copy, Some(&data)));
    bank.stop();

    let verified = done(&backup(&["verify"], &copy, None));
    assert!(int(&verified["commits"]) > 0, "{verified}");
    done(&backup(&["restore"], &copy, Some(&restored)));
    refused(&backup(&["restore"], &copy, Some(&restored)));
    let bank = Bank::start(&restored);
    let mut ledger = Ledger::of(&bank);
    let mut compared = 0;
    for (client, before) in clients.iter().zip(before) {
        for sent in client.sent.get(..before).unwrap() {
            for (asked, result) in sent.asked.iter().zip(sent.results()) {
                let found = ledger.carried(&asked.id, &asked.home);
                assert_eq!(found.is_some(), result.is_some(), "{}", asked.id);
                compared += 1;
            }
        }
    }
    assert!(compared > 100, "{compared} entries are no load");
    ledger.settle();
    bank.check();
    bank.stop();
}

#[test]
fn a_damaged_backup_is_named_and_not_restored() {
    let folder = folder();
    let [data, copy, restored] = ["data", "copy", "restored"].map(|name| folder.path().join(name));
    let bank = Bank::start(&data);
    open_accounts(&mut Ledger::of(&bank));
    bank.stop();
    // Of a stopped bank, by its folder.
    done(&backup(&["make"], &copy, Some(&data)));
    done(&backup(&["verify"], &copy, None));
    let segment = segments(&copy).remove(0);
    let whole = std::fs::read(&segment).unwrap();
    // In the first record, behind the segment's own page.
    for place in [4_096 + 8, 4_096 + 60] {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x10;
        std::fs::write(&segment, damaged).unwrap();
        let said = refused(&backup(&["verify"], &copy, None));
        let name = segment.file_name().unwrap().to_string_lossy().into_owned();
        assert!(said.contains(&name), "which segment? {said}");
        refused(&backup(&["restore"], &copy, Some(&restored)));
        assert!(!restored.join("store").exists(), "half a restore");
    }
    std::fs::write(&segment, &whole).unwrap();
    done(&backup(&["restore"], &copy, Some(&restored)));
    Bank::start(&restored).stop();
    // A backup of which a file is lost.
    std::fs::remove_file(&segment).unwrap();
    refused(&backup(&["verify"], &copy, None));
}
