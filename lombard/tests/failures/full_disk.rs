//! A disk that is full.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::bank::{Bank, folder, lombard, skip, up};
use crate::ledger::{Ledger, entry, id};

/// The disk's size; memory, so it is small. The bank's own reserve is set to fit.
const DISK_MIB: u32 = 192;
const RESERVE_MIB: u32 = 32;
const PATIENCE: Duration = Duration::from_secs(30);

/// A bank on a small disk of its own, in a mount namespace of its own, so that the
/// mount goes with the process. Nothing where the system allows no such thing.
fn bank_on_small_disk(data: &Path) -> Option<Bank> {
    let allowed = Command::new("unshare")
        .args(["-Urm", "mount", "-t", "tmpfs", "none"])
        .arg(data)
        .output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let script = format!("mount -t tmpfs -o size={DISK_MIB}m none \"$0\" && exec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["-Urm", "sh", "-c", &script]).arg(data);
    command.arg(lombard(&[]).get_program()).args(up(data));
    command
        .arg("--set")
        .arg(format!("embedded.disk_reserve_bytes={}", RESERVE_MIB << 20));
    Some(Bank::start_by(command, data))
}

#[test]
fn on_a_full_disk_writes_fail_and_reads_go_on_and_space_that_comes_back_is_used() {
    let folder = folder();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let Some(bank) = bank_on_small_disk(&data) else {
        skip(
            "full_disk",
            "environment: no mount namespace of our own (unshare -Urm) is allowed here",
        );
        return;
    };
    let mut ledger = Ledger::of(&bank);
    ledger.open("a", false);
    ledger.open("b", false);
    let mut acknowledged = vec![ledger.post(&[("a", -1), ("b", 1)])];

    // The disk as the bank sees it.
    let ballast = PathBuf::from(format!("/proc/{}/root", bank.pid()))
        .join(data.strip_prefix("/").unwrap())
        .join("ballast");
    let filled = Command::new("dd")
        .args(["if=/dev/zero", "bs=1M"])
        .arg(format!("of={}", ballast.display()))
        .output()
        .unwrap();
    assert!(!filled.status.success(), "the disk must be full now");

    // What fits into what was set aside beforehand may still go through.
    let padding = "x".repeat(1_000);
    let since = Instant::now();
    let (refused, last) = loop {
        let id = id();
        let mut asked = entry(&id, &[("a", -1), ("b", 1)]);
        asked["metadata"] = json!({"padding": padding});
        let answer = ledger.call("CreateEntry", &json!({"entry": asked}));
        if answer.status != 200 {
            break (answer.refused(), (id, asked));
        }
        acknowledged.push(id);
        assert!(
            since.elapsed() < PATIENCE,
            "writes go on, with {} entries",
            acknowledged.len()
        );
    };
    assert_eq!(refused.code, "unavailable", "{refused:?}");
    assert!(refused.retryable, "{refused:?}");
    assert!(
        refused.message.contains("disk") || refused.message.contains("space"),
        "{refused:?}"
    );

    // Reads go on, and the bank says of itself that it is there.
    for id in &acknowledged {
        assert!(ledger.carried(id, "a").is_some());
    }
    let there = |ledger: &mut Ledger| {
        let balance = ledger.balances("b")[&("b".to_owned(), "customer/main".to_owned())];
        usize::try_from(balance).unwrap()
    };
    // Home may have had room for its decision and the other account none: then the answer
    // said that nobody knows, and the other leg may follow at any moment.
    let more = match refused.reason.as_str() {
        "STORE_UNAVAILABLE" => 0,
        "OUTCOME_UNKNOWN" => 1,
        _ => panic!("{refused:?}"),
    };
    let least = acknowledged.len();
    assert!((least..=least + more).contains(&there(&mut ledger)));

    std::fs::remove_file(&ballast).unwrap();
    let since = Instant::now();
    // What was refused is sent again, the same: it goes in, and once.
    let (late, asked) = last;
    while ledger.call("CreateEntry", &json!({"entry": asked})).status != 200 {
        assert!(
            since.elapsed() < PATIENCE,
            "space came back, and writes did not:\n{}",
            bank.log()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    acknowledged.push(late);
    assert_eq!(there(&mut ledger), acknowledged.len());
    bank.check();
    bank.stop();
}
