use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::memory::Partition;

/// A made table: under 99-01-xx the last two digits sum to a multiple of 11.
const WEIGHTS: &str = "990100 990199 MOD11 0 0 0 0 0 0 0 0 0 0 0 0 1 1";

fn plain(first: u32) -> Numbering {
    Numbering::new("00-04-04", "LMBD", first, None).unwrap()
}

fn checked(sort_code: &str) -> Numbering {
    let table = ModulusTable::parse(WEIGHTS, "")
        .unwrap()
        .with_version("7.90");
    Numbering::new(sort_code, "LMBD", 10_000_000, Some(table)).unwrap()
}

fn reserve_in(
    partition: &mut Partition,
    account: &str,
    numbering: &Numbering,
) -> Result<(u32, String), Error> {
    let reservation = partition.update(|rows| reserve(rows, account, numbering, 5))?;
    Ok((reservation.account_number, reservation.modulus_check))
}

#[test]
fn numbers_go_up_and_are_kept_by_account() {
    let mut partition = Partition::default();
    let form_only = "form only: no table configured".to_owned();
    for (account, number) in [
        ("a", 10_000_000),
        ("b", 10_000_001),
        ("a", 10_000_000),
        ("c", 10_000_002),
    ] {
        let kept = reserve_in(&mut partition, account, &plain(10_000_000)).unwrap();
        assert_eq!(kept, (number, form_only.clone()), "{account}");
    }
    // A number that was kept once is never given out again.
    partition.update(|rows| settle(rows, "c")).unwrap();
    partition.update(|rows| settle(rows, "c")).unwrap();
    assert_eq!(
        reserve_in(&mut partition, "c", &plain(10_000_000))
            .unwrap()
            .0,
        10_000_003
    );
    // The first number can be raised, and does not go back.
    assert_eq!(
        reserve_in(&mut partition, "d", &plain(20_000_000))
            .unwrap()
            .0,
        20_000_000
    );
    assert_eq!(
        reserve_in(&mut partition, "e", &plain(10_000_000))
            .unwrap()
            .0,
        20_000_001
    );
}

#[test]
fn with_a_table_only_numbers_that_pass_are_given_out() {
    let mut partition = Partition::default();
    let valid = "checked (7.90)".to_owned();
    for (account, number) in [
        ("a", 10_000_000),
        ("b", 10_000_029),
        ("c", 10_000_038),
        ("d", 10_000_047),
    ] {
        let kept = reserve_in(&mut partition, account, &checked("99-01-00")).unwrap();
        assert_eq!(kept, (number, valid.clone()));
    }
    let kept = reserve_in(&mut Partition::default(), "a", &checked("00-04-04")).unwrap();
    assert_eq!(
        kept,
        (
            10_000_000,
            "form only: the sort code is not in the table (7.90)".to_owned()
        )
    );
}

#[test]
fn the_last_number_is_the_last() {
    let mut partition = Partition::default();
    assert_eq!(
        reserve_in(&mut partition, "a", &plain(99_999_999))
            .unwrap()
            .0,
        99_999_999
    );
    let refused = reserve_in(&mut partition, "b", &plain(99_999_999));
    assert!(
        matches!(refused, Err(Error::NumbersExhausted { sort_code }) if sort_code == "00-04-04")
    );
    assert_eq!(
        reserve_in(&mut partition, "a", &plain(99_999_999))
            .unwrap()
            .0,
        99_999_999
    );
}

#[test]
fn what_is_kept_is_unfinished() {
    let mut partition = Partition::default();
    for (account, at) in [("a", 1), ("b", 2), ("c", 3)] {
        partition
            .update(|rows| reserve(rows, account, &plain(1), at))
            .unwrap();
    }
    let mut listed = |begun, limit| {
        partition
            .update(|rows| unfinished(rows, begun, limit))
            .unwrap()
    };
    assert_eq!(listed(2, 10), ["a", "b"]);
    assert_eq!(listed(9, 10), ["a", "b", "c"]);
    assert_eq!(listed(9, 1), ["a"]);
    assert!(listed(0, 10).is_empty());
    partition.update(|rows| settle(rows, "b")).unwrap();
    let left = partition.update(|rows| unfinished(rows, 9, 10)).unwrap();
    assert_eq!(left, ["a", "c"]);
    assert_eq!(partition.rows(), 3, "the counter and two numbers");
}

#[test]
fn a_wrong_option_is_named() {
    let message = |options: &Options| Numbering::load(options).unwrap_err().to_string();
    let default = Options::default;
    for (options, expected) in [
        (
            Options {
                sort_code: "123".into(),
                ..default()
            },
            "account.sort_code: ",
        ),
        (
            Options {
                bank_code: "lmbd".into(),
                ..default()
            },
            "account.bank_code: ",
        ),
        (
            Options {
                account_number_first: 100_000_000,
                ..default()
            },
            "account.account_number_first: ",
        ),
        (
            Options {
                modulus_version: Some("7.90".into()),
                ..default()
            },
            "account.modulus_table: ",
        ),
        (
            Options {
                modulus_table: Some("/nowhere/valacdos.txt".into()),
                ..default()
            },
            "account.modulus_table: /nowhere/valacdos.txt: ",
        ),
    ] {
        let message = message(&options);
        assert!(message.starts_with(expected), "{message}");
    }
    let loaded = Numbering::load(&default()).unwrap();
    assert_eq!(
        loaded.to_string(),
        "LMBD 00-04-04, no modulus check: no table configured"
    );
    assert_eq!(
        checked("99-01-00").to_string(),
        "LMBD 99-01-00, modulus check by 1 lines, version 7.90"
    );
}

proptest! {
    #[test]
    fn no_number_is_given_to_two(accounts in prop::collection::vec("[a-f]{1,2}", 1..60), settles in prop::collection::vec(any::<bool>(), 60)) {
        let mut partition = Partition::default();
        let mut given = std::collections::BTreeMap::<u32, String>::new();
        let mut kept = BTreeSet::new();
        for (account, settles) in accounts.into_iter().zip(settles) {
            let (number, _) = reserve_in(&mut partition, &account, &checked("99-01-07")).unwrap();
            let before = given.insert(number, account.clone());
            prop_assert!(before.is_none_or(|before| before == account));
            kept.insert(account.clone());
            if settles {
                partition.update(|rows| settle(rows, &account)).unwrap();
                kept.remove(&account);
            }
        }
        let left = partition.update(|rows| unfinished(rows, 9, 1_000)).unwrap();
        prop_assert_eq!(left, kept.into_iter().collect::<Vec<_>>());
    }
}
