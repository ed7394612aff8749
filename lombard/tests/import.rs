//! `lombard import` and what is seen of it afterwards, with the real binary.
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

use support::{Up, json, public_journal, refused, run, sample, sums};

const SAMPLE_ENTRIES: u64 = 101;

fn import(file: &str) -> [&str; 4] {
    ["import", file, "--format", "berka"]
}

#[test]
fn the_same_file_twice_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let sample = sample();
    let file = sample.to_str().unwrap();
    let first = json(&data, &import(file));
    assert_eq!(first["entries_new"], SAMPLE_ENTRIES);
    assert_eq!(first["accounts"], 6);
    assert_eq!(first["accounts_new"], 6);
    assert_eq!(first["accounts_as_in_file"], 6);
    let balances = json(&data, &["report", "trial-balance"]);
    assert_eq!(
        sums(&balances).into_iter().collect::<Vec<_>>(),
        [("CZK".to_owned(), 0)]
    );

    let second = json(&data, &import(file));
    assert_eq!(second["entries_new"], 0);
    assert_eq!(second["entries_already_there"], SAMPLE_ENTRIES);
    assert_eq!(second["accounts_new"], 0);
    assert_eq!(json(&data, &["report", "trial-balance"]), balances);
    let checked = json(&data, &["check"]);
    assert_eq!(checked["ok"], true);
    assert_eq!(checked["entries"], SAMPLE_ENTRIES);
}

#[test]
fn a_statement_runs_as_the_bank_booked() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let sample = sample();
    let summary = json(&data, &import(sample.to_str().unwrap()));
    let lines = json(&data, &["report", "statement", "berka-9001"]);
    let lines = lines.as_array().unwrap();
    assert_eq!(lines[0]["reference"], "Cash deposit");
    assert_eq!(lines[0]["value_date"], "1995-01-02");
    let mut balance = 0;
    for line in lines {
        balance += line["amount_minor"].as_i64().unwrap();
        assert_eq!(line["balance_minor"], balance);
    }
    // By value date, the account stood elsewhere in between.
    let then = json(
        &data,
        &["report", "trial-balance", "--value-date", "1995-01-02"],
    );
    let line = then
        .as_array()
        .unwrap()
        .iter()
        .find(|line| line["account"] == "berka-9001")
        .unwrap();
    assert_eq!(line["balance_minor"], lines[0]["amount_minor"]);
    assert!(sums(&then).values().all(|sum| *sum == 0));
    assert!(summary["distance_max_minor"].as_i64().unwrap() <= 30);
}

#[test]
fn a_broken_line_stops_the_import_or_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let broken = folder.path().join("broken.asc");
    let mut text = std::fs::read_to_string(sample()).unwrap();
    text.push_str("1;2;950230;\"PRIJEM\";\"VKLAD\";1.00;1.00;\"\";;\n");
    std::fs::write(&broken, text).unwrap();
    let file = broken.to_str().unwrap();

    let said = refused(&data, &import(file), 1);
    assert!(said.contains("line 103: date: `950230`"), "{said}");
    assert!(said.contains("nothing was brought in"), "{said}");
    let said = refused(&data, &["report", "trial-balance"], 1);
    assert!(said.contains("none was ever there"), "{said}");

    let summary = json(
        &data,
        &[&import(file)[..], &["--on-error", "skip"]].concat(),
    );
    assert_eq!(summary["lines_broken"], 1);
    assert_eq!(summary["entries_new"], SAMPLE_ENTRIES);
}

#[test]
fn the_same_key_with_another_amount_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let file = folder.path().join("journal.asc");
    let line = |amount: &str| format!("1;2;950130;\"PRIJEM\";\"VKLAD\";{amount};{amount};\"\";;\n");
    std::fs::write(&file, line("1.00")).unwrap();
    json(&data, &import(file.to_str().unwrap()));
    std::fs::write(&file, line("2.00")).unwrap();
    let said = refused(&data, &import(file.to_str().unwrap()), 1);
    assert!(said.contains("line 1: "), "{said}");
    let balances = json(&data, &["report", "trial-balance"]);
    assert!(
        balances
            .as_array()
            .unwrap()
            .iter()
            .any(|line| line["balance_minor"] == 100)
    );
}

#[test]
fn an_import_that_was_cut_off_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let sample = sample();
    let file = sample.to_str().unwrap();
    let up = Up::start(&data, &[]);
    let cut_off = support::lombard(&data, &[&import(file)[..], &["--batch", "3"]].concat())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn();
    std::thread::sleep(std::time::Duration::from_millis(30));
    up.kill();
    cut_off.unwrap().wait().unwrap();

    let up = Up::start(&data, &[]);
    let rest = json(&data, &import(file));
    let (new, there) = (
        rest["entries_new"].as_u64().unwrap(),
        rest["entries_already_there"].as_u64().unwrap(),
    );
    assert_eq!(new + there, SAMPLE_ENTRIES);
    assert_eq!(rest["accounts_as_in_file"], 6);
    assert_eq!(json(&data, &["check"])["ok"], true);
    up.stop();
}

#[test]
fn the_public_journal_comes_in_whole() {
    let Some(journal) = public_journal() else {
        eprintln!("skipped: the public data set is not beside the checkout");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let summary = json(&data, &import(journal.to_str().unwrap()));
    assert_eq!(summary["transactions"], 14_125);
    assert_eq!(summary["entries_new"], 14_125);
    assert_eq!(summary["accounts"], 858);
    assert_eq!(summary["accounts_as_in_file"], 858);
    assert_eq!(summary["accounts_as_recorded"], 577);
    assert_eq!(summary["distance_max_minor"], 30);
    let balances = json(&data, &["report", "trial-balance"]);
    assert!(sums(&balances).values().all(|sum| *sum == 0));
    assert_eq!(json(&data, &["check"])["ok"], true);
    let csv = run(&data, &["report", "trial-balance", "--csv"]);
    let csv = String::from_utf8(csv.stdout).unwrap();
    assert!(
        csv.starts_with("account,address,currency,balance_minor\r\n"),
        "{csv}"
    );
    assert_eq!(csv.lines().count(), balances.as_array().unwrap().len() + 1);
}
