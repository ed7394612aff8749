//! An account that a process has at hand is looked at again only where its terms may have
//! changed; and then it is, whatever process changed them and whatever died meanwhile.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is wrong"
)]

mod harness;

use harness::{Bank, MONDAY_US, SECOND_US, call, id, leg, payment};
use lombard_contracts::bank::ledger::v1::*;
use lombard_ledger::{Options, admin, stamps};
use lombard_store::simulated::{Faults, Kind};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Two processes on one store; the second one has bob at hand.
async fn two() -> (Bank, Bank) {
    let one = Bank::with(Kind::Replicated, 7, Options::default()).await;
    for account in ["alice", "bob", "carol"] {
        one.open(account, &["customer/main GBP"]).await;
    }
    let other = one.beside().await;
    one.pass().await.unwrap();
    other.pass().await.unwrap();
    assert_eq!(pay(&other, 1).await, "");
    // It has seen the account and its own commit there.
    assert_eq!(pay(&other, 2).await, "");
    (one, other)
}

/// Pays a penny from alice to bob; the reason if that is refused.
async fn pay(bank: &Bank, number: u64) -> String {
    let request = CreateEntryRequest {
        entry: Some(payment(&id(MONDAY_US, number), "alice", "bob", 1)).into(),
        ..Default::default()
    };
    match call!(bank, create_entry(CreateEntryRequest), request) {
        Ok(_) => String::new(),
        Err(error) => error.reason.to_string(),
    }
}

/// Freezes what comes in, and nothing more.
async fn freeze_only(bank: &Bank) {
    let (keyspace, now_us) = (bank.ledger.keyspace(), bank.now_us());
    let freeze = |rows: &mut lombard_store::Rows<'_>| {
        admin::freeze(rows, now_us, "bob", (false, true), "a test")
    };
    let frozen = keyspace.update(b"bob", freeze).await.unwrap();
    frozen.durable(keyspace).await.unwrap().unwrap();
}

/// Bob's stamp, as this process reads it.
async fn stamp(bank: &Bank) -> Option<u64> {
    let read = bank.ledger.keyspace().read(stamps::PARTITION, stamps::read);
    read.await.unwrap().value.unwrap().of("bob")
}

#[tokio::test]
async fn an_account_at_hand_is_not_looked_at_again() {
    let (one, other) = two().await;
    // Past what a change of terms must do, so nobody is told of it.
    freeze_only(&one).await;
    assert_eq!(pay(&other, 3).await, "");
    assert_eq!(stamp(&other).await, Some(0));
}

#[tokio::test]
async fn who_was_told_that_it_is_frozen_sees_no_entry_go_through_elsewhere() {
    let (one, other) = two().await;
    one.ledger.freeze("bob", (false, true), "").await.unwrap();
    assert_eq!(pay(&other, 3).await, "CREDITS_FROZEN");
    one.ledger.freeze("bob", (false, false), "").await.unwrap();
    assert_eq!(pay(&other, 4).await, "");
    assert_eq!(stamp(&other).await, Some(2));
    // A batch looks in the same way.
    one.ledger.freeze("bob", (false, true), "").await.unwrap();
    let entry = |number| payment(&id(MONDAY_US, number), "alice", "bob", 1);
    let request = CreateEntriesRequest {
        entries: vec![entry(5), entry(6)],
        ..Default::default()
    };
    let answer = harness::create_entries(&other.ledger, request).await;
    let outcomes = answer.unwrap().outcomes;
    let refused = |one: &EntryOutcome| match &one.outcome {
        Some(entry_outcome::Outcome::Refused(refusal)) => refusal.reason == "CREDITS_FROZEN",
        _ => false,
    };
    assert!(outcomes.len() == 2 && outcomes.iter().all(refused));
    other.assert_right("all was refused or carried").await;
}

#[tokio::test]
async fn a_floor_and_an_end_are_seen_elsewhere_as_well() {
    let (one, other) = two().await;
    let floor = admin::NewAddress {
        address: "customer/main".to_owned(),
        currency: "GBP".to_owned(),
        floor: Some(0),
    };
    let back = |number| CreateEntryRequest {
        // Its home is carol: bob is lowered as another account.
        entry: Some(Entry {
            id: id(MONDAY_US, number),
            legs: vec![leg("carol", -1), leg("bob", -10), leg("alice", 11)],
            ..Default::default()
        })
        .into(),
        ..Default::default()
    };
    let send = async |number| call!(other, create_entry(CreateEntryRequest), back(number)).err();
    assert!(send(3).await.is_none());
    one.ledger.set_floor("bob", &floor, "").await.unwrap();
    assert_eq!(send(4).await.unwrap().reason, "FLOOR_BROKEN");
}

/// It dies when the account is frozen and nobody was told, or before.
#[tokio::test]
async fn a_change_that_a_dead_process_left_is_seen_and_does_not_cost_for_ever() {
    for commits in [false, true] {
        let (dies, lives) = two().await;
        dies.ledger.flow().enter_change("bob").await.unwrap();
        assert_eq!(stamp(&lives).await, None);
        if commits {
            freeze_only(&dies).await;
        }
        let expected = if commits { "CREDITS_FROZEN" } else { "" };
        assert_eq!(pay(&lives, 3).await, expected);
        let mut taken_over = 0;
        for _ in 0..14 {
            taken_over += lives.pass().await.unwrap().taken_over;
            lives.advance_us(SECOND_US);
        }
        assert_eq!(taken_over, 1);
        assert_eq!(stamp(&lives).await, Some(1));
        assert_eq!(pay(&lives, 4).await, expected);
    }
}

/// It stood still for so long that what it had entered was taken away, and goes on.
#[tokio::test]
async fn a_change_that_was_taken_for_left_counts_when_it_is_over() {
    let (stands_still, lives) = two().await;
    let entered = stands_still
        .ledger
        .flow()
        .enter_change("bob")
        .await
        .unwrap();
    for _ in 0..14 {
        lives.pass().await.unwrap();
        lives.advance_us(SECOND_US);
    }
    assert_eq!(stamp(&lives).await, Some(1));
    assert_eq!(pay(&lives, 3).await, "");
    freeze_only(&stands_still).await;
    stands_still
        .ledger
        .flow()
        .count_change(entered)
        .await
        .unwrap();
    assert_eq!(pay(&lives, 4).await, "CREDITS_FROZEN");
}

#[tokio::test]
async fn what_is_refused_leaves_nothing_entered() {
    let (one, other) = two().await;
    let refused = one.ledger.freeze("nobody", (true, true), "").await;
    assert!(refused.is_err());
    let refused = one.ledger.close("bob", "").await;
    assert!(refused.unwrap_err().changed_nothing());
    assert_eq!(stamp(&other).await, Some(1));
}

#[tokio::test]
async fn where_a_look_costs_nothing_no_rows_are_kept_of_it() {
    let bank = Bank::new().await;
    for account in ["alice", "bob"] {
        bank.open(account, &["customer/main GBP"]).await;
    }
    bank.pass().await.unwrap();
    bank.ledger.freeze("bob", (false, true), "").await.unwrap();
    assert_eq!(pay(&bank, 1).await, "CREDITS_FROZEN");
    let keys = bank.ledger.keyspace().partitions(None, 10).await.unwrap();
    assert!(keys.iter().all(|key| key != stamps::PARTITION));
}

/// Two processes over a store that fails, of which now and then one dies.
#[tokio::test]
async fn whatever_fails_what_was_told_of_a_freeze_holds_in_every_process() {
    let mut told = 0;
    for seed in 0..200 {
        told += histories(seed).await;
    }
    // Faults leave enough of it.
    assert!(told > 1_000, "{told}");
}

/// How many answers were compared with what was told before.
async fn histories(seed: u64) -> u32 {
    let mut random = SmallRng::seed_from_u64(seed);
    let first = Bank::with(Kind::Replicated, seed, Options::default()).await;
    for account in ["alice", "bob"] {
        first.open(account, &["customer/main GBP"]).await;
    }
    let mut last = first.beside().await;
    let mut banks = vec![first];
    banks.push(last.beside().await);
    for bank in &banks {
        bank.pass().await.unwrap();
    }
    last.engine.set_faults(Faults::replicated());
    let (mut frozen, mut compared) = (Some(false), 0);
    for number in 0..60 {
        let bank = &banks[random.random_range(0..banks.len())];
        match random.random_range(0..10) {
            0..2 => {
                let freeze = random.random_bool(0.5);
                match bank.ledger.freeze("bob", (false, freeze), "").await {
                    Ok(_) => frozen = Some(freeze),
                    Err(failure) if failure.changed_nothing() => {}
                    // Nobody knows, until somebody is told again.
                    Err(_) => frozen = None,
                }
            }
            2..9 => {
                let reason = pay(bank, number).await;
                if !reason.starts_with("STORE_") && reason != "OUTCOME_UNKNOWN" {
                    assert!(
                        ["", "CREDITS_FROZEN"].contains(&reason.as_str()),
                        "{reason}"
                    );
                    let refused = !reason.is_empty();
                    assert!(
                        frozen.is_none_or(|frozen| frozen == refused),
                        "seed {seed}, {number}"
                    );
                    compared += 1;
                }
            }
            _ => {
                bank.advance_us(SECOND_US * 4);
                // It may fail, and is made again.
                let _ = bank.pass().await;
                if random.random_bool(0.3) {
                    last = last.beside().await;
                    let dies = random.random_range(0..banks.len());
                    banks[dies] = last.beside().await;
                    let _ = banks[dies].pass().await;
                }
            }
        }
    }
    compared
}
