//! One process to a folder.

use std::process::Output;

use crate::bank::{Bank, folder, lombard, up};
use crate::ledger::Ledger;

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_second_bank_on_the_same_folder_is_refused_and_the_first_goes_on() {
    let folder = folder();
    let data = folder.path().join("data");
    let bank = Bank::start(&data);
    let mut ledger = Ledger::of(&bank);
    ledger.open("a", false);
    let arguments = up(&data);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let said = refused(&lombard(&arguments).output().unwrap());
    assert!(
        said.contains(data.to_str().unwrap()),
        "which folder? {said}"
    );
    // The folder's own lock holds where the note of who runs there is lost.
    std::fs::remove_file(data.join("running.json")).unwrap();
    let said = refused(&lombard(&arguments).output().unwrap());
    assert!(
        said.contains(data.to_str().unwrap()),
        "which folder? {said}"
    );
    ledger.open("b", false);
    bank.stop();
}

/// In a container a process has the same number in each of its lives.
#[test]
fn a_note_that_a_killed_bank_left_stops_nobody_even_if_its_number_is_in_use() {
    let folder = folder();
    let data = folder.path().join("data");
    let bank = Bank::start(&data);
    let killed = bank.pid();
    bank.kill();
    let note = std::fs::read_to_string(data.join("running.json")).unwrap();
    let own = std::process::id().to_string();
    std::fs::write(
        data.join("running.json"),
        note.replace(&killed.to_string(), &own),
    )
    .unwrap();
    let bank = Bank::start(&data);
    Ledger::of(&bank).open("a", false);
    bank.stop();
}
