//! Several processes of the ledger on one store, of which one dies.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is wrong"
)]

mod harness;

use harness::{Bank, MONDAY_US, SECOND_US, call, id, payment};
use lombard_contracts::bank::ledger::v1::*;
use lombard_ledger::Options;
use lombard_ledger::limits::PROCESSES_MAX;
use lombard_store::simulated::Kind;

/// Two processes on one store, both at work.
async fn two() -> (Bank, Bank) {
    let one = Bank::with(Kind::Replicated, 7, Options::default()).await;
    for account in ["alice", "bob", "carol"] {
        one.open(account, &["customer/main GBP"]).await;
    }
    let other = one.beside().await;
    one.pass().await.unwrap();
    other.pass().await.unwrap();
    (one, other)
}

async fn pay(bank: &Bank, number: u64) {
    let request = CreateEntryRequest {
        entry: Some(payment(&id(MONDAY_US, number), "carol", "bob", 1)).into(),
        ..Default::default()
    };
    call!(bank, create_entry(CreateEntryRequest), request).unwrap();
}

/// Passes of one process over so many seconds, in which it has work of its own; how many
/// processes it took over.
async fn work(bank: &Bank, seconds: u64, first: u64) -> u64 {
    let mut taken_over = 0;
    for number in first..first + seconds {
        pay(bank, number).await;
        taken_over += bank.pass().await.unwrap().taken_over;
        bank.advance_us(SECOND_US);
    }
    taken_over
}

#[tokio::test]
async fn what_a_process_left_half_carried_is_finished_by_another() {
    let (dies, lives) = two().await;
    dies.decide_only(1, "alice", "bob", 100).await;
    // The other one is busy, and has carried all that it began itself, later than that.
    assert_eq!(work(&lives, 9, 100).await, 0);
    assert!(!lives.entry(1).await.complete);
    assert_eq!(work(&lives, 5, 200).await, 1);
    assert!(lives.entry(1).await.complete);
    lives.assert_right("one is gone").await;
}

#[tokio::test]
async fn who_gives_signs_of_life_is_left_alone() {
    let (one, other) = two().await;
    one.decide_only(1, "alice", "bob", 100).await;
    for number in 0..60 {
        assert_eq!(work(&one, 1, 100 + number).await, 0);
        // It has nothing to do, and says so.
        assert_eq!(other.pass().await.unwrap().taken_over, 0);
        one.advance_us(SECOND_US);
    }
    // Nobody was told that anything of it was left.
    assert!(!one.entry(1).await.complete);
}

/// A process that stood still was taken for gone. It decides one more entry, and dies.
#[tokio::test]
async fn what_was_decided_after_it_was_taken_for_gone_is_found_as_well() {
    let (stands_still, lives) = two().await;
    assert_eq!(work(&lives, 14, 100).await, 1);
    stands_still.decide_only(1, "alice", "bob", 100).await;
    assert_eq!(work(&lives, 40, 200).await, 0);
    assert!(!lives.entry(1).await.complete);
    work(&lives, 20, 300).await;
    assert!(lives.entry(1).await.complete);
    lives.assert_right("it is gone").await;
}

#[tokio::test]
async fn who_was_taken_for_gone_and_goes_on_has_its_place_again() {
    let (stands_still, lives) = two().await;
    assert_eq!(work(&lives, 14, 100).await, 1);
    assert_eq!(stands_still.pass().await.unwrap().taken_over, 0);
    assert_eq!(work(&lives, 70, 200).await, 1);
    stands_still.pass().await.unwrap();
    stands_still.decide_only(1, "alice", "bob", 100).await;
    assert_eq!(work(&lives, 14, 300).await, 1);
    assert!(lives.entry(1).await.complete);
    lives.assert_right("it is gone in earnest").await;
}

#[tokio::test]
async fn who_ended_in_order_is_not_looked_for() {
    let (one, other) = two().await;
    pay(&one, 1).await;
    one.leave().await;
    assert_eq!(work(&other, 20, 100).await, 0);
    other.leave().await;
    // Whoever comes then begins where the last one ended, and not with the first event.
    let next = other.beside().await;
    assert_eq!(next.pass().await.unwrap().events, 0);
    next.decide_only(2, "alice", "bob", 100).await;
    // It dies, and has no successor for a while.
    next.advance_us(3_600 * SECOND_US);
    let last = next.beside().await;
    assert_eq!(work(&last, 14, 200).await, 1);
    assert!(last.entry(2).await.complete);
    last.assert_right("after all").await;
}

#[tokio::test]
async fn where_no_other_can_be_what_was_left_is_taken_up_at_once() {
    let mut bank = Bank::with(Kind::OneLog, 7, Options::default()).await;
    for account in ["alice", "bob"] {
        bank.open(account, &["customer/main GBP"]).await;
    }
    bank.pass().await.unwrap();
    bank.decide_only(1, "alice", "bob", 100).await;
    bank.crash().await;
    assert_eq!(bank.pass().await.unwrap().resumed, 1);
    assert!(bank.entry(1).await.complete);
    bank.assert_right("after the start").await;
}

#[tokio::test]
async fn processes_that_die_one_after_the_other_at_their_start_hold_nobody_up() {
    let first = Bank::with(Kind::Replicated, 7, Options::default()).await;
    for account in ["alice", "bob"] {
        first.open(account, &["customer/main GBP"]).await;
    }
    first.pass().await.unwrap();
    first.decide_only(1, "alice", "bob", 100).await;
    let mut last = first.beside().await;
    for _ in 0..2 * PROCESSES_MAX {
        last = last.beside().await;
        // It dies before the others have been silent for long enough.
        last.pass().await.unwrap();
    }
    assert!(last.entry(1).await.complete);
    last.assert_right("after many").await;
}

/// Who has taken over from another, and ends before it has looked there again, leaves that to
/// those who stay.
#[tokio::test]
async fn what_is_to_be_looked_at_again_is_not_forgotten_by_who_ends() {
    let (stands_still, ends) = two().await;
    let stays = ends.beside().await;
    for number in 0..14 {
        // It is the first to see that one is gone.
        work(&ends, 1, 100 + number).await;
        stays.pass().await.unwrap();
    }
    stands_still.decide_only(1, "alice", "bob", 100).await;
    ends.leave().await;
    let mut taken_over = 0;
    for number in 0..90 {
        taken_over += work(&stays, 1, 200 + number).await;
    }
    assert!(taken_over > 0 && stays.entry(1).await.complete);
    stays.assert_right("both are gone").await;
}
