//! The embedded engine on a disk that fails: crashes at every step, full disks,
//! failing syncs, damage.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is wrong"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "the engine's own threads and disk are real here, and so is the time they take"
)]

mod archive;
mod damage;
mod disk;
mod flushes;
mod work;
mod world;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use disk::{FaultDisk, Full};
use futures::executor::block_on;
use lombard_store::embedded::{Embedded, EmbeddedOptions, OpenReport};
use lombard_store::{Change, Changes, Engine, KeyspaceId, PartitionId, StoreError, Version};
use work::Model;

/// So small that everything happens all the time.
fn cramped() -> EmbeddedOptions {
    EmbeddedOptions {
        segment_bytes: 64 << 10,
        checkpoint_bytes: 12_000,
        checkpoint_interval_ms: 0,
        inline_bytes_max: 16,
        cache_bytes: 1 << 20,
        partitions_idle_max: 2,
        wait_for_room_ms: 20_000,
        stalled_ms_max: 100,
        disk_reserve_bytes: 0,
        rewrite_live_percent: 60,
        ..EmbeddedOptions::default()
    }
}

fn open(disk: &FaultDisk, folder: &Path) -> Result<(Embedded, KeyspaceId, OpenReport), StoreError> {
    let (engine, report) = Embedded::open_on(Arc::new(disk.clone()), folder, cramped())?;
    let keyspace = block_on(engine.keyspace("ledger"))?;
    Ok((engine, keyspace, report))
}

/// For the index; in memory where there is such a folder, for these tests sync it all the time.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn figure(engine: &Embedded, name: &str) -> u64 {
    let figures = engine.info().figures;
    let (_, value) = figures.iter().find(|(found, _)| found == name).unwrap();
    value.parse().unwrap()
}

fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is() {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "waited in vain: {what}"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// `LOMBARD_SEED` gives other chances than the usual ones.
fn seeds_from() -> u64 {
    let given = std::env::var("LOMBARD_SEED").ok();
    given.and_then(|seed| seed.parse().ok()).unwrap_or(0)
}

/// How many seeds a property is tried with: `PROPTEST_CASES`, or the usual number.
fn cases(usual: u64) -> u64 {
    let given = std::env::var("PROPTEST_CASES").ok();
    given.and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}

/// One life of a store: work on a disk that crashes, then again on what the crash
/// left, then a last time without one. Each time what was acknowledged is there.
fn lives(crashes_at: &[u64], seed: u64) {
    let seed = seed + seeds_from();
    let folder = folder();
    let mut model = Model::default();
    let mut disk = FaultDisk::new(crashes_at.first().copied());
    for life in 0..=crashes_at.len() {
        match open(&disk, folder.path()) {
            Ok((engine, keyspace, _)) => {
                model.check(&engine, keyspace);
                let worked = model.work(&engine, keyspace, 400);
                assert!(worked.is_ok() || life < crashes_at.len(), "{worked:?}");
                drop(engine);
            }
            Err(error) => assert!(
                life < crashes_at.len() && error.to_string().contains("crashed"),
                "life {life} with crashes at {crashes_at:?}, seed {seed}: {error}"
            ),
        }
        disk = disk.after_crash(seed + life as u64, crashes_at.get(life + 1).copied());
    }
    // All that was sequenced before the engine was dropped in order is there.
    let (engine, keyspace, report) = open(&disk, folder.path()).unwrap();
    assert_eq!(report.torn_tail, None);
    model.check(&engine, keyspace);
}

#[test]
fn without_a_crash_the_work_meets_segments_checkpoints_and_rewriting() {
    let folder = folder();
    let disk = FaultDisk::new(None);
    let mut model = Model::default();
    let (engine, keyspace, _) = open(&disk, folder.path()).unwrap();
    for _ in 0..8 {
        model.work(&engine, keyspace, 400).unwrap();
        let seen = figure(&engine, "checkpoints");
        wait_until("a checkpoint", || {
            figure(&engine, "checkpoints") > seen || figure(&engine, "memtable_bytes") < 12_000
        });
    }
    model.check(&engine, keyspace);
    wait_until("rewriting", || figure(&engine, "segments_rewritten") > 0);
    model.check(&engine, keyspace);
    drop(engine);
    let (engine, keyspace, report) = open(&disk, folder.path()).unwrap();
    assert_eq!(report.torn_tail, None);
    model.check(&engine, keyspace);
}

#[test]
fn a_crash_at_any_step_loses_nothing_that_was_acknowledged() {
    // How many steps there are differs a little from run to run: threads.
    for at in 1..420 {
        lives(&[at], at);
    }
}

#[test]
fn what_a_killed_process_wrote_last_is_durable_before_anything_behind_it() {
    for at in 1..60 {
        let folder = folder();
        let disk = FaultDisk::new(None);
        let (engine, keyspace, _) = open(&disk, folder.path()).unwrap();
        disk.crash_in(at);
        // Nobody waits for any of it: each flush fills a segment and goes on in the next.
        let many = |engine: &Embedded, from: u64, count: u64| {
            let id = PartitionId {
                keyspace,
                key: "one".into(),
            };
            for version in from..from + count {
                let mut changes = Changes::default();
                let value = Change::Put(format!("{version:0500}").into());
                changes.rows.insert("row".into(), value);
                let position = block_on(engine.commit(&id, Version(version), changes));
                if position.is_err() {
                    break;
                }
            }
            let _crashed = block_on(engine.durable(engine.position()));
            block_on(engine.read(&id, &[])).unwrap().version.0
        };
        many(&engine, 0, 400);
        drop(engine);
        let disk = disk.after_kill(None);
        // Once it has to write a checkpoint while it reads the log, once it has not.
        let options = EmbeddedOptions {
            checkpoint_bytes: if at % 2 == 0 { 12_000 } else { 64 << 20 },
            ..cramped()
        };
        let (engine, _) =
            Embedded::open_on(Arc::new(disk.clone()), folder.path(), options).unwrap();
        let found = many(&engine, 0, 0);
        assert_eq!(many(&engine, found, 1), found + 1);
        let disk = disk.after_crash(at, None);
        drop(engine);
        let (engine, _, _) = open(&disk, folder.path()).unwrap();
        assert_eq!(many(&engine, 0, 0), found + 1, "killed at step {at}");
    }
}

#[test]
fn a_crash_while_segments_are_rewritten_loses_nothing() {
    let mut rewritten = 0;
    for at in (1..160).step_by(2) {
        let folder = folder();
        let mut model = Model::default();
        let disk = FaultDisk::new(None);
        // Much that is superseded, and no rewriting yet.
        let patient = EmbeddedOptions {
            rewrite_live_percent: 0,
            ..cramped()
        };
        let (engine, _) =
            Embedded::open_on(Arc::new(disk.clone()), folder.path(), patient).unwrap();
        let keyspace = block_on(engine.keyspace("ledger")).unwrap();
        model.work(&engine, keyspace, 900).unwrap();
        drop(engine);
        let disk = disk.after_crash(at, Some(at));
        if let Ok((engine, keyspace, _)) = open(&disk, folder.path()) {
            model.check(&engine, keyspace);
            let _crashed = model.work(&engine, keyspace, 400);
            rewritten += figure(&engine, "segments_rewritten");
        }
        let disk = disk.after_crash(at, None);
        let (engine, keyspace, _) = open(&disk, folder.path()).unwrap();
        model.check(&engine, keyspace);
        model.work(&engine, keyspace, 300).unwrap();
        drop(engine);
        // And the log alone says the same.
        std::fs::remove_dir_all(folder.path().join("index")).unwrap();
        let (engine, keyspace, _) = open(&disk, folder.path()).unwrap();
        model.check(&engine, keyspace);
    }
    assert!(rewritten > 0, "some got as far as that");
}

#[test]
fn crashes_while_recovering_from_crashes_lose_nothing_either() {
    for seed in 0..60 {
        let first = 100 + seed * 5;
        // Opening takes few steps: crash in the first of them, and some after.
        lives(&[first, 1 + seed % 12, 1 + seed % 7, 60 + seed], seed);
    }
}

#[test]
fn a_spare_that_opening_removes_is_not_missed_after_a_crash() {
    // What of the removal the crash leaves is a matter of chance.
    for (at, chance) in (1..40).flat_map(|at| (0..4).map(move |chance| (at, chance))) {
        let folder = folder();
        let disk = FaultDisk::new(None);
        let mut model = Model::default();
        // No checkpoint while it runs, so that opening writes one, which lists the spare.
        let patient = EmbeddedOptions {
            checkpoint_bytes: 64 << 20,
            ..cramped()
        };
        let (engine, _) =
            Embedded::open_on(Arc::new(disk.clone()), folder.path(), patient).unwrap();
        let keyspace = block_on(engine.keyspace("ledger")).unwrap();
        model.work(&engine, keyspace, 400).unwrap();
        drop(engine);
        let disk = disk.after_crash(at, Some(at));
        // Of another size than wanted, so it is removed.
        let larger = EmbeddedOptions {
            segment_bytes: 128 << 10,
            checkpoint_bytes: 60_000,
            ..cramped()
        };
        drop(Embedded::open_on(
            Arc::new(disk.clone()),
            folder.path(),
            larger,
        ));
        let (engine, keyspace, _) = open(&disk.after_crash(chance, None), folder.path()).unwrap();
        model.check(&engine, keyspace);
    }
}

#[test]
fn short_writes_are_finished() {
    let folder = folder();
    let disk = FaultDisk::new(None);
    disk.faults(|faults| faults.short_writes = true);
    let mut model = Model::default();
    let (engine, keyspace, _) = open(&disk, folder.path()).unwrap();
    model.work(&engine, keyspace, 500).unwrap();
    drop(engine);
    let disk = disk.after_crash(0, None);
    let (engine, keyspace, _) = open(&disk, folder.path()).unwrap();
    model.check(&engine, keyspace);
}

#[test]
fn a_full_disk_refuses_writes_before_they_are_sequenced_and_goes_on_with_space() {
    let folder = folder();
    let disk = FaultDisk::new(None);
    let mut model = Model::default();
    let (engine, keyspace, _) = open(&disk, folder.path()).unwrap();
    model.work(&engine, keyspace, 100).unwrap();
    disk.faults(|faults| faults.full = Full::ForFiles);
    // What has its room already still goes through.
    let refused = model.work(&engine, keyspace, 100_000).unwrap_err();
    let StoreError::Unavailable(why) = &refused else {
        panic!("{refused}")
    };
    assert!(why.contains("full") && why.contains("reads go on"), "{why}");
    // Nothing that was sequenced is in doubt, and everything can be read.
    model.check(&engine, keyspace);
    let again = Instant::now();
    assert!(matches!(
        model.work(&engine, keyspace, 1),
        Err(StoreError::Unavailable(_))
    ));
    assert!(
        again.elapsed() < Duration::from_millis(400),
        "refused at once"
    );
    disk.faults(|faults| faults.full = Full::No);
    for _ in 0..300 {
        wait_until("writes go on", || model.work(&engine, keyspace, 1).is_ok());
    }
    drop(engine);
    let (engine, keyspace, report) = open(&disk.after_crash(1, None), folder.path()).unwrap();
    assert_eq!(report.torn_tail, None);
    model.check(&engine, keyspace);
}

#[test]
fn a_disk_that_takes_no_writes_leaves_callers_in_doubt_but_not_the_log() {
    let folder = folder();
    let disk = FaultDisk::new(None);
    let mut model = Model::default();
    let (engine, keyspace, _) = open(&disk, folder.path()).unwrap();
    // The next commit is one that is waited for: no other one can find the fault first.
    model.work(&engine, keyspace, 101).unwrap();
    block_on(engine.durable(engine.position())).unwrap();
    disk.faults(|faults| faults.full = Full::ForWrites);
    let in_doubt = model.work(&engine, keyspace, 1).unwrap_err();
    assert!(matches!(in_doubt, StoreError::Ambiguous(_)), "{in_doubt}");
    let refused = model.work(&engine, keyspace, 1).unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
    disk.faults(|faults| faults.full = Full::No);
    // What was in doubt becomes durable.
    block_on(engine.durable(engine.position())).unwrap();
    model.work(&engine, keyspace, 50).unwrap();
    block_on(engine.durable(engine.position())).unwrap();
    let disk = disk.after_crash(1, None);
    drop(engine);
    let (engine, keyspace, _) = open(&disk, folder.path()).unwrap();
    model.check(&engine, keyspace);
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_any_more() {
    let folder = folder();
    let disk = FaultDisk::new(None);
    let mut model = Model::default();
    let (engine, keyspace, _) = open(&disk, folder.path()).unwrap();
    // The next commit is one that is waited for: no other one can find the fault first.
    model.work(&engine, keyspace, 101).unwrap();
    block_on(engine.durable(engine.position())).unwrap();
    disk.faults(|faults| faults.sync_fails = true);
    let in_doubt = model.work(&engine, keyspace, 1).unwrap_err();
    assert!(matches!(in_doubt, StoreError::Ambiguous(_)), "{in_doubt}");
    // Even if the disk says that all is well again.
    disk.faults(|faults| faults.sync_fails = false);
    let refused = model.work(&engine, keyspace, 1).unwrap_err();
    assert!(matches!(refused, StoreError::Closed(_)), "{refused}");
    let waited = block_on(engine.durable(engine.position())).unwrap_err();
    assert!(matches!(waited, StoreError::Ambiguous(_)), "{waited}");
    drop(engine);
    let (engine, keyspace, _) = open(&disk.after_crash(3, None), folder.path()).unwrap();
    model.check(&engine, keyspace);
    model.work(&engine, keyspace, 100).unwrap();
}
