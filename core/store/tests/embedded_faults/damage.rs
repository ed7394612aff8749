//! Damaged files: found when opened or read, named, never skipped; backups.

use std::fs;
use std::path::{Path, PathBuf};

use futures::executor::block_on;
use lombard_store::embedded::{
    Embedded, EmbeddedOptions, Inspected, inspect, restore, verify_backup,
};
use lombard_store::{Engine, KeyspaceId, Position, StoreError};

use super::work::Model;
use super::{cramped, figure, folder, wait_until};

fn open(folder: &Path, options: EmbeddedOptions) -> (Embedded, KeyspaceId) {
    let (engine, _) = Embedded::open(folder, options).unwrap();
    let keyspace = block_on(engine.keyspace("ledger")).unwrap();
    (engine, keyspace)
}

/// Everything stays in the log's tail.
fn no_checkpoints() -> EmbeddedOptions {
    EmbeddedOptions {
        checkpoint_bytes: 100 << 20,
        memtable_bytes_max: 200 << 20,
        ..cramped()
    }
}

fn segment(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("log/{number:010}.log"))
}

fn flip(path: &Path, offset: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[usize::try_from(offset).unwrap()] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

/// Segment and offset of each commit.
fn commits(folder: &Path) -> Vec<(String, u64, u32)> {
    inspect(folder, Position(0))
        .unwrap()
        .filter_map(|found| match found.unwrap() {
            Inspected::Commit(commit) => Some((commit.segment, commit.offset, commit.bytes)),
            _ => None,
        })
        .collect()
}

#[test]
fn damage_before_the_tail_is_named_when_opening() {
    let folder = folder();
    let mut model = Model::default();
    {
        let (engine, keyspace) = open(folder.path(), no_checkpoints());
        model.work(&engine, keyspace, 600).unwrap();
    }
    let commits = commits(folder.path());
    assert_eq!(commits.len(), 600);
    let sound = fs::read(segment(folder.path(), 1)).unwrap();
    for at in [0, 1, 100, 598, 599] {
        let (name, offset, bytes) = &commits[at];
        let path = folder.path().join("log").join(name);
        let before = fs::read(&path).unwrap();
        for inside in [0, 5, 9, 31, u64::from(*bytes) / 2, u64::from(*bytes) - 1] {
            flip(&path, offset + inside);
            let error = Embedded::open(folder.path(), no_checkpoints()).unwrap_err();
            let StoreError::Damaged(why) = &error else {
                panic!("{error}")
            };
            assert!(
                why.contains(name.as_str()) && why.contains(&format!("offset {offset}")),
                "{why}"
            );
            let looked = inspect(folder.path(), Position(0))
                .unwrap()
                .find_map(Result::err);
            assert!(matches!(looked, Some(StoreError::Damaged(_))), "{looked:?}");
            fs::write(&path, &before).unwrap();
        }
    }
    assert_eq!(fs::read(segment(folder.path(), 1)).unwrap(), sound);
    let (engine, keyspace) = open(folder.path(), no_checkpoints());
    model.check(&engine, keyspace);
}

#[test]
fn a_hole_in_the_log_is_damage_and_not_its_end() {
    let folder = folder();
    {
        let (engine, keyspace) = open(folder.path(), no_checkpoints());
        Model::default().work(&engine, keyspace, 100).unwrap();
    }
    let (name, offset, _) = commits(folder.path())[50].clone();
    let path = folder.path().join("log").join(&name);
    let mut bytes = fs::read(&path).unwrap();
    let at = usize::try_from(offset).unwrap();
    bytes[at..at + 512].fill(0);
    fs::write(&path, bytes).unwrap();
    let error = Embedded::open(folder.path(), no_checkpoints()).unwrap_err();
    assert!(
        matches!(&error, StoreError::Damaged(why) if why.contains(&format!("offset {offset}"))),
        "{error}"
    );
}

#[test]
fn an_unfinished_tail_is_cut_and_reported() {
    let folder = folder();
    let mut model = Model::default();
    {
        let (engine, keyspace) = open(folder.path(), no_checkpoints());
        model.work(&engine, keyspace, 30).unwrap();
    }
    // As if the process had died in the middle of its next write.
    let path = segment(folder.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    // The last bytes of a record may be zeros: a mark's are not, its kind is the last.
    bytes[end..end + 700].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    let looked = inspect(folder.path(), Position(0))
        .unwrap()
        .last()
        .unwrap()
        .unwrap();
    let Inspected::TornTail(torn) = looked else {
        panic!("{looked:?}")
    };
    assert_eq!((torn.offset, torn.bytes), (end as u64, 700));

    let (engine, report) = Embedded::open(folder.path(), no_checkpoints()).unwrap();
    assert_eq!(report.torn_tail, Some(torn));
    assert!(
        report
            .to_string()
            .contains("cut 700 unfinished bytes off 0000000001.log"),
        "{report}"
    );
    let keyspace = block_on(engine.keyspace("ledger")).unwrap();
    model.check(&engine, keyspace);
    model.work(&engine, keyspace, 30).unwrap();
    drop(engine);
    let (engine, report) = Embedded::open(folder.path(), no_checkpoints()).unwrap();
    assert_eq!(report.torn_tail, None);
    model.check(&engine, keyspace);
}

#[test]
fn a_missing_segment_is_named() {
    let folder = folder();
    {
        let (engine, keyspace) = open(folder.path(), no_checkpoints());
        Model::default().work(&engine, keyspace, 1_500).unwrap();
        assert!(figure(&engine, "log_segments") > 3);
    }
    for number in [1, 2, 3] {
        let path = segment(folder.path(), number);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let error = Embedded::open(folder.path(), no_checkpoints()).unwrap_err();
        let StoreError::Damaged(why) = &error else {
            panic!("{error}")
        };
        assert!(why.contains("missing") && why.contains(".log"), "{why}");
        fs::write(&path, bytes).unwrap();
    }
    // The last one, with all that came after the seal.
    let last = commits(folder.path()).last().unwrap().0.clone();
    let files = fs::read_dir(folder.path().join("log")).unwrap();
    for file in files {
        let file = file.unwrap();
        if file.file_name().to_str().unwrap() >= last.as_str() {
            fs::remove_file(file.path()).unwrap();
        }
    }
    let error = Embedded::open(folder.path(), no_checkpoints()).unwrap_err();
    assert!(
        matches!(&error, StoreError::Damaged(why) if why.contains(&last)),
        "{error}"
    );
}

#[test]
fn a_damaged_row_behind_the_checkpoint_is_named_when_read() {
    let folder = folder();
    let options = EmbeddedOptions {
        inline_bytes_max: 0,
        rewrite_live_percent: 0,
        ..cramped()
    };
    {
        let (engine, keyspace) = open(folder.path(), options.clone());
        Model::default().work(&engine, keyspace, 600).unwrap();
        wait_until("checkpoints", || {
            figure(&engine, "checkpoint_position") > 40_000
        });
    }
    // Every event is live, so the last byte of a commit's first row is read.
    for number in 1..=1 {
        let path = segment(folder.path(), number);
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes
            .windows(13)
            .position(|window| window == b"event of step")
            .unwrap();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    let (engine, keyspace) = open(folder.path(), options);
    let error = (0..5)
        .find_map(|number| {
            let id = lombard_store::PartitionId {
                keyspace,
                key: format!("partition-{number}").into(),
            };
            let all = lombard_store::Wanted::Range(lombard_store::RowRange::prefix(
                b"j",
                lombard_store::Direction::Ascending,
                1_000,
            ));
            block_on(Engine::read(&engine, &id, &[all])).err()
        })
        .expect("the damaged row is read");
    let StoreError::Damaged(why) = &error else {
        panic!("{error}")
    };
    assert!(
        why.contains("0000000001.log at offset") && why.contains("checksum"),
        "{why}"
    );
    assert!(why.contains("partition-"), "{why}");
}

#[test]
fn a_lost_index_is_made_anew_from_a_rewritten_log() {
    let folder = folder();
    let mut model = Model::default();
    {
        let (engine, keyspace) = open(folder.path(), cramped());
        for _ in 0..10 {
            model.work(&engine, keyspace, 400).unwrap();
            block_on(engine.durable(engine.position())).unwrap();
        }
        wait_until("rewriting", || figure(&engine, "segments_rewritten") > 0);
        model.check(&engine, keyspace);
    }
    fs::remove_dir_all(folder.path().join("index")).unwrap();
    let (engine, report) = Embedded::open(folder.path(), cramped()).unwrap();
    assert!(report.index_rebuilt);
    let keyspace = block_on(engine.keyspace("ledger")).unwrap();
    model.check(&engine, keyspace);
}

#[test]
fn a_backup_taken_while_commits_go_on_is_whole_and_restores() {
    let folder = folder();
    let places = super::folder();
    let (backup, restored) = (places.path().join("backup"), places.path().join("restored"));
    let mut model = Model::default();
    let (engine, keyspace) = open(folder.path(), cramped());
    model.work(&engine, keyspace, 3_000).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    // Others commit meanwhile, to another keyspace.
    let other = block_on(engine.keyspace("other")).unwrap();
    let acknowledged = std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut busy = Model::default();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                busy.work(&engine, other, 10).unwrap();
            }
        });
        let report = block_on(engine.backup(&backup)).unwrap();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        worker.join().unwrap();
        report.position
    });
    assert!(acknowledged > 0);
    let verified = verify_backup(&backup).unwrap();
    assert!(
        verified.commits > 0 && verified.partitions >= 5,
        "{verified:?}"
    );
    assert_eq!(verified.position, acknowledged);
    let error = block_on(engine.backup(&backup)).unwrap_err();
    assert!(error.to_string().contains("exists"), "{error}");
    drop(engine);

    restore(&backup, &restored).unwrap();
    let (engine, keyspace) = open(&restored, cramped());
    model.check(&engine, keyspace);
    model.work(&engine, keyspace, 100).unwrap();
    drop(engine);

    // A check finds every flipped byte of the log's records.
    let (name, offset, bytes) = commits(&backup)[20].clone();
    let path = backup.join("log").join(name);
    for inside in (0..u64::from(bytes)).step_by(7) {
        flip(&path, offset + inside);
        assert!(
            matches!(verify_backup(&backup), Err(StoreError::Damaged(_))),
            "byte {inside}"
        );
        flip(&path, offset + inside);
    }
    verify_backup(&backup).unwrap();
    assert!(restore(&backup, &restored).is_err());
}

#[test]
fn a_store_in_use_is_not_inspected_and_a_stopped_one_is_record_by_record() {
    let folder = folder();
    {
        let (engine, keyspace) = open(folder.path(), no_checkpoints());
        Model::default().work(&engine, keyspace, 9).unwrap();
        assert!(matches!(
            inspect(folder.path(), Position(0)),
            Err(StoreError::Unavailable(_))
        ));
    }
    let found: Vec<Inspected> = inspect(folder.path(), Position(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let commits: Vec<_> = found
        .iter()
        .filter_map(|found| match found {
            Inspected::Commit(commit) => Some(commit),
            _ => None,
        })
        .collect();
    assert_eq!(commits.len(), 9);
    assert_eq!(commits[0].keyspace, "ledger");
    assert_eq!(commits[0].version, 1);
    assert!(
        commits
            .iter()
            .all(|commit| commit.rows.iter().all(|row| row.intact))
    );
    let marks = found
        .iter()
        .filter(|found| matches!(found, Inspected::FrameEnd { .. }))
        .count();
    assert!(marks >= 3, "frames end with marks");
    let rest = inspect(folder.path(), commits[4].position).unwrap();
    let rest = rest
        .filter(|found| matches!(found, Ok(Inspected::Commit(_))))
        .count();
    assert_eq!(rest, 4);
}
