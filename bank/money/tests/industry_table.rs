//! The specification's own test cases over the industry's table.
//!
//! The table is not ours to ship: the test reads it where it lies beside the
//! checkout, or where LOMBARD_UK_MODULUS says, and else says that it is left out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::path::{Path, PathBuf};

use lombard_money::modulus::{Checked, ModulusTable};
use lombard_money::{AccountNumber, SortCode};

/// From "Validating account numbers: UK modulus checking", test cases:
/// sort code, account number, whether it is valid, and what the case is for.
const CASES: [(&str, &str, bool, &str); 34] = [
    ("089999", "66374958", true, "passes modulus 10"),
    ("107999", "88837491", true, "passes modulus 11"),
    (
        "202959",
        "63748472",
        true,
        "passes modulus 11 and double alternate",
    ),
    (
        "871427",
        "46238510",
        true,
        "10 and 11: the first passes, the second fails",
    ),
    (
        "872427",
        "46238510",
        true,
        "10 and 11: the first fails, the second passes",
    ),
    ("871427", "09123496", true, "10: a b is 09 and g is 9"),
    ("871427", "99123496", true, "10: a b is 99 and g is 9"),
    (
        "820000",
        "73688637",
        true,
        "3: c is 6, the second check is left out",
    ),
    (
        "827999",
        "73988638",
        true,
        "3: c is 9, the second check is left out",
    ),
    ("827101", "28748352", true, "3: c is neither, both pass"),
    (
        "134020",
        "63849203",
        true,
        "4: the remainder is the check digit",
    ),
    ("118765", "64371389", true, "1: 27 is added"),
    ("200915", "41011166", true, "6: a foreign currency account"),
    ("938611", "07806039", true, "5: both pass"),
    (
        "938600",
        "42368003",
        true,
        "5: both pass with the substituted sort code",
    ),
    ("938063", "55065200", true, "5: both leave remainder 0"),
    ("772798", "99345694", true, "7: would fail without"),
    (
        "086090",
        "06774744",
        true,
        "8: passes with the substituted sort code",
    ),
    ("309070", "02355688", true, "2 and 9: the first passes"),
    (
        "309070",
        "12345668",
        true,
        "2 and 9: the first fails, the second passes",
    ),
    ("309070", "12345677", true, "2: a is not 0 and g is not 9"),
    ("309070", "99345694", true, "2: a is not 0 and g is 9"),
    (
        "938063",
        "15764273",
        false,
        "5: the first passes, the second fails",
    ),
    (
        "938063",
        "15764264",
        false,
        "5: the first fails, the second passes",
    ),
    (
        "938063",
        "15763217",
        false,
        "5: the first leaves remainder 1",
    ),
    ("118765", "64371388", false, "1: fails"),
    (
        "203099",
        "66831036",
        false,
        "modulus 11 passes, double alternate fails",
    ),
    (
        "203099",
        "58716970",
        false,
        "modulus 11 fails, double alternate passes",
    ),
    ("089999", "66374959", false, "modulus 10 fails"),
    ("107999", "88837493", false, "modulus 11 fails"),
    ("074456", "12345112", true, "12 and 13: the first passes"),
    (
        "070116",
        "34012583",
        true,
        "12 and 13: the first passes, the second fails",
    ),
    (
        "074456",
        "11104102",
        true,
        "12 and 13: the first fails, the second passes",
    ),
    (
        "180002",
        "00000190",
        true,
        "14: the first try fails, the shifted number passes",
    ),
];

fn folder() -> PathBuf {
    match std::env::var_os("LOMBARD_UK_MODULUS") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/uk-modulus"),
    }
}

fn table() -> Option<ModulusTable> {
    let folder = folder();
    let weights = folder.join("valacdos.txt");
    if !weights.exists() {
        eprintln!(
            "left out: no {}; set LOMBARD_UK_MODULUS to the folder of the industry's files",
            weights.display()
        );
        return None;
    }
    let weights = std::fs::read_to_string(weights).unwrap();
    let substitutions = std::fs::read_to_string(folder.join("scsubtab.txt")).unwrap();
    Some(
        ModulusTable::parse(&weights, &substitutions)
            .unwrap()
            .with_version("7.90"),
    )
}

#[test]
fn the_specification_s_cases_hold() {
    let Some(table) = table() else { return };
    let wrong: Vec<_> = CASES
        .iter()
        .filter(|(sort_code, number, valid, _)| {
            let expected = if *valid {
                Checked::Valid
            } else {
                Checked::Invalid
            };
            let sort_code = SortCode::parse(sort_code).unwrap();
            table.check(sort_code, AccountNumber::parse(number).unwrap()) != expected
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_table_reads_whole() {
    let Some(table) = table() else { return };
    assert!(table.len() > 1_000, "{} lines", table.len());
    assert_eq!(table.version(), Some("7.90"));
    let unknown = SortCode::parse("99-99-99").unwrap();
    assert_eq!(
        table.check(unknown, AccountNumber::parse("12345678").unwrap()),
        Checked::NotInTable
    );
}

/// A check digit that let everything through would be worth nothing: a modulus
/// of 10 or 11 leaves about one number in ten.
#[test]
fn about_one_number_in_ten_is_valid() {
    let Some(table) = table() else { return };
    let sort_code = SortCode::parse("08-99-99").unwrap();
    let valid = (0..100_000)
        .step_by(7)
        .filter_map(AccountNumber::from_number)
        .filter(|number| table.check(sort_code, *number) == Checked::Valid)
        .count();
    assert!((1_300..1_560).contains(&valid), "{valid}");
}
