//! An archive that follows a bank which is loaded and killed; restored to a moment, it is
//! the bank as it was then.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bank::{Bank, check_stopped, folder, lombard};
use crate::ledger::{Balances, Ledger, now_us};
use crate::load::{Client, open_accounts};

const PATIENCE: Duration = Duration::from_secs(60);

/// `lombard backup archive`, as a process. Dropped, it is killed.
struct Follower(Child);

impl Follower {
    fn start(data: &Path, archive: &Path) -> Self {
        let mut command = backup(&["archive", "--every", "100ms"], archive, Some(data));
        let silent = command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(silent.spawn().unwrap())
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _killed = self.0.kill();
        let _waited = self.0.wait();
    }
}

fn backup(arguments: &[&str], folder: &Path, data: Option<&Path>) -> Command {
    let mut command = lombard(&["backup", "--json"]);
    command.args(arguments).arg(folder);
    if let Some(data) = data {
        command.arg("--data").arg(data);
    }
    command
}

fn done(mut command: Command) -> Value {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)))
}

fn refused(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    said(&output)
}

fn said(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The newest moment of the archive, in microseconds; 0 where there is none yet.
fn newest_us(archive: &Path) -> i64 {
    let output = backup(&["list"], archive, None).output().unwrap();
    if !output.status.success() {
        return 0;
    }
    let ranges: Value = serde_json::from_slice(&output.stdout).unwrap();
    let newest = ranges.as_array().unwrap().last().cloned();
    newest.map_or(0, |range| {
        let until: jiff::Timestamp = range["until"].as_str().unwrap().parse().unwrap();
        until.as_microsecond()
    })
}

fn wait_until_archived(archive: &Path, us: i64) {
    let since = Instant::now();
    while newest_us(archive) < us {
        assert!(since.elapsed() < PATIENCE, "the archive does not follow");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn date(us: i64) -> String {
    jiff::Timestamp::from_microsecond(us).unwrap().to_string()
}

/// Everything that a trial balance says, once nothing is on its way.
fn balances(ledger: &mut Ledger) -> Balances {
    ledger.settle();
    let mut all = ledger.all_balances();
    // What was given back stands there as zero, and is there no sooner than it was needed.
    all.retain(|_, balance| *balance != 0);
    all
}

#[test]
fn a_bank_is_restored_to_what_it_was_at_a_moment_between_kills() {
    let folder = folder();
    let [data, archive, restored] =
        ["data", "archive", "restored"].map(|name| folder.path().join(name));
    let mut follower = Follower::start(&data, &archive);
    let mut bank = Bank::start(&data);
    open_accounts(&mut Ledger::of(&bank));
    let mut client = Client::new(700);
    let mut known = Vec::new();
    for round in 0..4 {
        client.run_for(bank.address("ledger"), Duration::from_millis(400));
        let mut ledger = Ledger::of(&bank);
        let then = balances(&mut ledger);
        // Nothing is asked for around this moment.
        known.push((now_us(), then));
        ledger.post(&[("funder", -1), ("customer-00", 1)]);
        match round {
            0 => {
                bank.kill();
                bank = Bank::start(&data);
            }
            1 => {
                follower.kill();
                client.run_for(bank.address("ledger"), Duration::from_millis(200));
                follower = Follower::start(&data, &archive);
            }
            2 => {
                // Both, in the middle of it.
                client.run_for(bank.address("ledger"), Duration::from_millis(200));
                follower.kill();
                bank.kill();
                bank = Bank::start(&data);
                follower = Follower::start(&data, &archive);
            }
            _ => {}
        }
    }
    assert!(
        client.sent.len() > 50,
        "{} requests are no load",
        client.sent.len()
    );
    let end = now_us();
    wait_until_archived(&archive, end);
    assert!(!follower.has_ended(), "it follows until it is stopped");
    let second = refused(backup(&["archive", "--once"], &archive, Some(&data)));
    assert!(second.contains("in use by another process"), "{second}");
    follower.kill();
    bank.kill();

    done(backup(&["verify"], &archive, None));
    let ranges = done(backup(&["list"], &archive, None));
    let ranges = ranges.as_array().unwrap();
    assert_eq!(ranges.len(), 1, "one base, no gap: {ranges:?}");
    for (us, then) in &known {
        let until = date(*us);
        let asked = ["restore", "--until", until.as_str()];
        let found = done(backup(&asked, &archive, Some(&restored)));
        assert!(
            found["moment"].as_str().unwrap() <= date(*us + 1).as_str(),
            "{found}"
        );
        assert!(found["left_out_bytes"].as_u64().unwrap() > 0, "{found}");
        check_stopped(&restored);
        let bank = Bank::start(&restored);
        assert_eq!(&balances(&mut Ledger::of(&bank)), then, "at {until}");
        bank.check();
        // What was restored is another bank: the archive does not take it.
        let other = refused(backup(&["archive", "--once"], &archive, Some(&restored)));
        assert!(other.contains("ARCHIVE_OF_OTHER_STORE"), "{other}");
        bank.stop();
        std::fs::remove_dir_all(&restored).unwrap();
    }

    // What it does not have is refused, and nothing is left behind.
    let range = &ranges[0];
    let before = "2001-01-01T00:00:00Z";
    let why = refused(backup(
        &["restore", "--until", before],
        &archive,
        Some(&restored),
    ));
    assert!(why.contains(range["from"].as_str().unwrap()), "{why}");
    let after = date(now_us() + 60_000_000);
    let asked = ["restore", "--until", after.as_str()];
    let why = refused(backup(&asked, &archive, Some(&restored)));
    let newest = range["until"].as_str().unwrap();
    assert!(why.contains(newest) && why.contains("--latest"), "{why}");
    assert!(!restored.join("store").exists());
    let asked = ["restore", "--latest", "--until", after.as_str()];
    let found = done(backup(&asked, &archive, Some(&restored)));
    assert_eq!(
        (&found["moment"], &found["left_out_bytes"]),
        (&range["until"], &0.into())
    );
    refused(backup(&["restore", "--latest"], &archive, Some(&restored)));
    check_stopped(&restored);

    // One service alone.
    let only = folder.path().join("only");
    let asked = ["restore", "--latest", "--keyspace", "ledger"];
    done(backup(&asked, &archive, Some(&only)));
    check_stopped(&only);

    // The bank that was killed goes on with its archive, by its folder.
    let pass = done(backup(&["archive", "--once"], &archive, Some(&data)));
    assert_eq!(pass["new_base"], Value::Null, "{pass}");
}

#[test]
fn an_archive_asks_up_to_when_and_a_backup_does_not() {
    let folder = folder();
    let [data, archive, copy, restored] =
        ["data", "archive", "copy", "restored"].map(|name| folder.path().join(name));
    let bank = Bank::start(&data);
    open_accounts(&mut Ledger::of(&bank));
    let pass = done(backup(&["archive", "--once"], &archive, Some(&data)));
    assert_eq!(pass["new_base"], "first", "{pass}");
    done(backup(&["make"], &copy, Some(&data)));
    bank.stop();
    let usage = |arguments: &[&str], from: &Path| {
        let output = backup(arguments, from, Some(&restored)).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        said(&output)
    };
    assert!(usage(&["restore"], &archive).contains("up to when?"));
    assert!(usage(&["restore", "--until", "2026-11-22"], &copy).contains("no archive"));
    assert!(usage(&["restore", "--until", "yesterday"], &archive).contains("not a time"));
    assert!(usage(&["archive", "--every", "soon"], &archive).contains("10s"));
    let no_archive = refused(backup(&["list"], &copy, None));
    assert!(no_archive.contains("is no archive"), "{no_archive}");
    let in_the_way = refused(backup(&["archive", "--once"], &copy, Some(&data)));
    assert!(in_the_way.contains("is no archive"), "{in_the_way}");

    // A damaged archive is named, and not restored from.
    let segment = crate::backup::segments(&archive).remove(0);
    let mut damaged = std::fs::read(&segment).unwrap();
    damaged[4_096 + 60] ^= 0x10;
    std::fs::write(&segment, damaged).unwrap();
    let name = segment.file_name().unwrap().to_string_lossy().into_owned();
    for arguments in [&["verify"][..], &["restore", "--latest"]] {
        let why = refused(backup(arguments, &archive, Some(&restored)));
        assert!(why.contains(&name), "{why}");
    }
    assert!(!restored.join("store").exists(), "half a restore");
}
