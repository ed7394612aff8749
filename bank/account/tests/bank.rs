//! Accounts as callers see them: the real services over RPC, on the simulated engine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod harness;

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use harness::{Bank, engine, faulty};
use lombard_account::rules::{Cause, Opening};
use lombard_contracts::bank::account::v1::AccountState;
use lombard_store::simulated::{Faults, Kind, Simulated};
use lombard_store::{Keyspace, Store, StoreOptions};

const NO_FLAGS: [(&str, &str); 0] = [];

#[tokio::test]
async fn an_account_is_opened_read_and_listed() {
    let bank = Bank::start(engine(Kind::OneLog, 1), NO_FLAGS).await;
    bank.customer("ada").await;
    let (account, replayed) = bank.open("a1", "ada", 500).await.unwrap();
    assert!(!replayed);
    assert_eq!(
        (account.sort_code.as_str(), account.account_number.as_str()),
        ("00-04-04", "10000000")
    );
    assert_eq!(account.iban, "GB92LMBD00040410000000");
    assert_eq!(
        (account.state, account.currency.as_str()),
        (AccountState::Open.into(), "GBP")
    );
    assert_eq!(account.modulus_check, "form only: no table configured");

    assert_eq!(
        bank.open("a1", "ada", 500).await.unwrap(),
        (account.clone(), true)
    );
    let refused = bank.open("a1", "ada", 501).await.unwrap_err();
    assert_eq!(
        (refused.reason.as_ref(), refused.metadata["field"].as_str()),
        ("ACCOUNT_EXISTS_DIFFERENT", "overdraft_minor")
    );
    let refused = bank.open("a2", "nobody", 0).await.unwrap_err();
    assert_eq!(
        (refused.reason.as_ref(), refused.domain.as_ref()),
        ("CUSTOMER_NOT_FOUND", "customer")
    );
    let refused = bank.get("a2").await.unwrap_err();
    assert_eq!(refused.reason, "ACCOUNT_NOT_FOUND");

    let (read, balances) = bank.get("a1").await.unwrap();
    assert_eq!(read, account);
    assert_eq!(balances["available"], 0);

    for n in 2..=7 {
        bank.open(&format!("a{n}"), "ada", 0).await.unwrap();
    }
    for page_size in [1, 3, 7, 100] {
        assert_eq!(
            bank.list("ada", page_size).await,
            ["a1", "a2", "a3", "a4", "a5", "a6", "a7"]
        );
    }
    assert!(bank.list("bob", 10).await.is_empty());
    bank.stop().await;
}

#[tokio::test]
async fn what_the_ledger_refuses_is_no_account() {
    let bank = Bank::start(engine(Kind::OneLog, 1), NO_FLAGS).await;
    bank.customer("ada").await;
    bank.cash("till").await;
    let refused = bank.open("till", "ada", 0).await.unwrap_err();
    assert_eq!(refused.reason, "ACCOUNT_EXISTS_DIFFERENT");
    assert_eq!(
        bank.get("till").await.unwrap_err().reason,
        "ACCOUNT_NOT_FOUND"
    );
    assert!(bank.list("ada", 10).await.is_empty());
    assert!(!bank.open("other", "ada", 0).await.unwrap().1);
    bank.stop().await;
}

#[tokio::test]
async fn a_statement_is_the_ledger_s_postings_in_pages() {
    let bank = Bank::start(engine(Kind::OneLog, 1), NO_FLAGS).await;
    bank.customer("ada").await;
    bank.cash("till").await;
    bank.open("a1", "ada", 0).await.unwrap();
    for n in 1..=10 {
        bank.pay("till", "a1", n * 100).await.unwrap();
    }
    bank.pay("a1", "till", 1_500).await.unwrap();
    let expected: Vec<(i64, i64)> = (1..=10)
        .map(|n| (n * 100, n * (n + 1) / 2 * 100))
        .chain([(-1_500, 4_000)])
        .collect();
    for page_size in [1, 4, 11, 100] {
        assert_eq!(bank.statement("a1", page_size, false).await, expected);
        let newest_first: Vec<_> = expected.iter().rev().copied().collect();
        assert_eq!(bank.statement("a1", page_size, true).await, newest_first);
    }
    assert_eq!(bank.get("a1").await.unwrap().1["available"], 4_000);
    bank.stop().await;
}

#[tokio::test]
async fn an_overdraft_is_the_ledger_s_floor() {
    let bank = Bank::start(engine(Kind::OneLog, 1), NO_FLAGS).await;
    bank.customer("ada").await;
    bank.cash("till").await;
    bank.open("a1", "ada", 500).await.unwrap();
    bank.pay("a1", "till", 500).await.unwrap();
    assert_eq!(
        bank.pay("a1", "till", 1).await.unwrap_err().reason,
        "FLOOR_BROKEN"
    );
    assert_eq!(bank.get("a1").await.unwrap().1["available"], -500);
    bank.stop().await;
}

#[tokio::test]
async fn freezing_and_closing_hold_in_the_ledger() {
    let bank = Bank::start(engine(Kind::OneLog, 1), NO_FLAGS).await;
    bank.customer("ada").await;
    bank.cash("till").await;
    bank.open("a1", "ada", 0).await.unwrap();
    bank.pay("till", "a1", 100).await.unwrap();

    let frozen = bank.freeze("a1", true, false).await.unwrap();
    assert_eq!(frozen.state, AccountState::Frozen);
    assert_eq!(bank.freeze("a1", true, false).await.unwrap(), frozen);
    assert_eq!(bank.get("a1").await.unwrap().0, frozen);
    assert!(bank.pay("a1", "till", 100).await.is_err());
    bank.pay("till", "a1", 100).await.unwrap();
    assert_eq!(
        bank.freeze("a1", false, false).await.unwrap().state,
        AccountState::Open
    );

    let refused = bank.close("a1").await.unwrap_err();
    assert_eq!(refused.domain, "ledger");
    bank.pay("a1", "till", 200).await.unwrap();
    let closed = bank.close("a1").await.unwrap();
    assert_eq!(closed.state, AccountState::Closed);
    assert_eq!(bank.close("a1").await.unwrap(), closed);
    assert_eq!(
        bank.freeze("a1", true, true).await.unwrap_err().reason,
        "ACCOUNT_CLOSED"
    );
    assert!(bank.pay("till", "a1", 1).await.is_err());
    assert_eq!(
        bank.close("a2").await.unwrap_err().reason,
        "ACCOUNT_NOT_FOUND"
    );
    bank.stop().await;
}

/// The ledger is away while accounts are opened; when it is back, the coordinator finishes what
/// no client asks for again.
#[tokio::test]
async fn an_opening_that_was_left_behind_is_finished() {
    let engine = engine(Kind::OneLog, 1);
    let away = [("addresses.ledger", "[\"127.0.0.1:1\"]")];
    let bank = Bank::start_without_ledger(engine.clone(), away).await;
    bank.customer("ada").await;
    let unreachable = bank.open("a1", "ada", 0).await.unwrap_err();
    assert!(unreachable.retryable, "{unreachable}");
    let (account, balances) = bank.get("a1").await.unwrap();
    assert_eq!(
        (account.state, balances.len()),
        (AccountState::Opening.into(), 0)
    );
    assert_eq!(
        bank.freeze("a1", true, true).await.unwrap_err().reason,
        "ACCOUNT_NOT_OPEN"
    );
    assert!(bank.list("ada", 10).await.is_empty());
    bank.stop().await;

    let bank = Bank::start(engine, [("account.opening_timeout_ms", "0")]).await;
    let opened = bank.until_open("a1").await;
    assert_eq!(
        (opened.account_number, opened.iban),
        (account.account_number, account.iban)
    );
    assert_eq!(bank.list("ada", 10).await, ["a1"]);
    assert!(bank.open("a1", "ada", 0).await.unwrap().1);
    bank.stop().await;
}

/// The process dies after every step of an opening in turn. Then the coordinator finishes what was
/// begun, and a retry finds or makes the one account.
#[tokio::test]
async fn an_opening_survives_a_death_at_every_step() {
    let bank = Bank::start(engine(Kind::OneLog, 1), NO_FLAGS).await;
    bank.customer("ada").await;
    let mut accounts = engine(Kind::OneLog, 2);
    let mut numbers = BTreeSet::new();
    let (mut left_behind, mut steps) = (0, 0);
    loop {
        let opening = Opening {
            id: format!("a{steps:03}"),
            customer_id: "ada".to_owned(),
            currency: "GBP".to_owned(),
            overdraft_minor: 0,
        };
        let cause = Cause {
            now_us: 1,
            actor: String::new(),
            trace: String::new(),
        };
        let openings = bank.openings(keyspace(&accounts).await);
        let done = {
            let mut open = pin!(openings.open(&opening, &cause));
            let mut done = false;
            for _ in 0..steps {
                done = futures::poll!(open.as_mut()).is_ready();
                if done {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            done
        };
        accounts = Arc::new(accounts.crash());

        let openings = bank.openings(keyspace(&accounts).await);
        let finished = openings.finish(i64::MAX, &cause).await.unwrap();
        // That a number is no longer kept for an open account is not waited for: the one before
        // can be found again.
        left_behind += finished.iter().filter(|(id, _)| *id == opening.id).count();
        assert!(
            finished.iter().all(|(_, outcome)| outcome.is_ok()),
            "{finished:?}"
        );
        assert!(openings.finish(i64::MAX, &cause).await.unwrap().is_empty());

        let (row, replayed) = openings.open(&opening, &cause).await.unwrap();
        assert!(replayed || !done, "{steps} steps: it was acknowledged");
        assert!(
            numbers.insert(row.account_number),
            "{steps} steps: a number twice"
        );
        assert_eq!(openings.open(&opening, &cause).await.unwrap(), (row, true));
        steps += 1;
        if done {
            break;
        }
    }
    // To look, to ask for the customer, to ask the ledger: it waits at least there.
    assert!(
        steps > 3 && left_behind > 0,
        "{steps} steps, {left_behind} left behind"
    );
    bank.stop().await;
}

async fn keyspace(engine: &Arc<Simulated>) -> Keyspace {
    let store = Store::new(engine.clone(), StoreOptions::new(1));
    store.keyspace(lombard_account::NAME).await.unwrap()
}

#[tokio::test]
async fn a_configured_table_decides_which_numbers_are_given_out() {
    let table = concat!(
        "\"",
        env!("CARGO_MANIFEST_DIR"),
        "/../money/testdata/weights.txt\""
    );
    let flags = [
        ("account.sort_code", "99-01-00"),
        ("account.modulus_table", table),
        ("account.modulus_version", "\"7.90\""),
    ];
    let bank = Bank::start(engine(Kind::OneLog, 1), flags).await;
    bank.customer("ada").await;
    // The made table wants g + h to be a multiple of 11 there.
    for (id, number) in [("a1", "10000000"), ("a2", "10000029"), ("a3", "10000038")] {
        let (account, _) = bank.open(id, "ada", 0).await.unwrap();
        assert_eq!(
            (
                account.account_number.as_str(),
                account.modulus_check.as_str()
            ),
            (number, "checked (7.90)")
        );
    }
    bank.stop().await;
}

/// Whatever the engine does, a client that sends again gets there: every account once, each with
/// its own number, in the ledger, and on its customer's list.
#[tokio::test]
async fn faults_neither_lose_nor_double_an_account() {
    for (seed, kind) in (0..6).zip([Kind::OneLogShared, Kind::Replicated].into_iter().cycle()) {
        let engine = faulty(kind, seed);
        let bank = Bank::start(engine.clone(), NO_FLAGS).await;
        engine.set_faults(Faults::default());
        bank.customer("ada").await;
        engine.set_faults(harness::faults_of(kind));
        let mut numbers = BTreeSet::new();
        let mut ids: Vec<String> = (0..12).map(|n| format!("a{n:02}")).collect();
        for id in &ids {
            let account = loop {
                match bank.open(id, "ada", 0).await {
                    Ok((account, _)) => break account,
                    Err(error) => assert!(error.retryable, "seed {seed}: {error}"),
                }
            };
            assert!(
                numbers.insert(account.account_number),
                "seed {seed}: a number twice"
            );
        }
        engine.set_faults(Faults::default());
        for id in &ids {
            let (account, balances) = bank.get(id).await.unwrap();
            assert_eq!(
                (account.state, balances["available"]),
                (AccountState::Open.into(), 0)
            );
        }
        ids.sort();
        assert_eq!(bank.list("ada", 5).await, ids, "seed {seed}");
        bank.stop().await;
    }
}
