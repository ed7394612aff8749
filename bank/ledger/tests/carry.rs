//! What a process leaves behind that dies between the decision and the last leg.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is wrong"
)]

mod harness;

use harness::{Bank, MONDAY_US, SECOND_US, call, id, payment};
use lombard_contracts::bank::ledger::v1::*;
use lombard_ledger::types::EntryId;

async fn bank() -> Bank {
    let bank = Bank::new().await;
    for account in ["alice", "bob", "carol"] {
        bank.open(account, &["customer/main GBP"]).await;
    }
    bank
}

#[tokio::test]
async fn a_retry_finishes_what_was_left() {
    let bank = bank().await;
    bank.decide_only(1, "alice", "bob", 100).await;
    assert!(!bank.entry(1).await.complete);
    let report = bank.check().await;
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert_eq!(report.in_flight, 1);

    let again = payment(&id(MONDAY_US, 1), "alice", "bob", 100);
    let request = CreateEntryRequest {
        entry: Some(again).into(),
        ..Default::default()
    };
    let answer = call!(bank, create_entry(CreateEntryRequest), request).unwrap();
    assert!(answer.result.replayed);
    assert_eq!(answer.result.legs.len(), 2);
    assert!(bank.entry(1).await.complete);
    bank.assert_right("after a retry").await;
}

#[tokio::test]
async fn the_coordinator_finishes_what_was_left() {
    let mut bank = bank().await;
    bank.decide_only(1, "alice", "bob", 100).await;
    bank.decide_only(2, "alice", "carol", 50).await;
    bank.crash().await;
    bank.settle().await;
    assert_eq!(bank.balances("bob").await, ["customer/main GBP 100"]);
    assert_eq!(bank.balances("carol").await, ["customer/main GBP 50"]);
    assert!(bank.entry(1).await.complete && bank.entry(2).await.complete);
    bank.assert_right("after the coordinator").await;
}

/// Entry 1 is decided, and bob, who is to get its money, has closed his account since.
async fn decided_for_who_has_left() -> Bank {
    let mut bank = bank().await;
    bank.decide_only(1, "alice", "bob", 100).await;
    let close = CloseAccountRequest {
        account: "bob".to_owned(),
        ..Default::default()
    };
    call!(bank, close_account(CloseAccountRequest), close).unwrap();
    bank.crash().await;
    bank
}

/// A decided leg is always applied: where the account has closed since, to suspense.
#[tokio::test]
async fn what_an_account_cannot_take_any_more_goes_to_suspense() {
    let mut bank = decided_for_who_has_left().await;
    bank.settle().await;
    assert_eq!(bank.balances("bob").await, ["customer/main GBP 0"]);
    let suspense = lombard_ledger::apply::suspense_account("default");
    assert_eq!(bank.balances(&suspense).await, ["bank/suspense GBP 100"]);
    assert!(bank.entry(1).await.complete);
    let request = ListEventsRequest {
        account: "bob".to_owned(),
        ..Default::default()
    };
    let events = call!(bank, list_events(ListEventsRequest), request)
        .unwrap()
        .events;
    assert_eq!(events.last().unwrap().r#type, "LegsDiverted");
    bank.assert_right("after a diversion").await;
}

async fn reverse(bank: &Bank, number: u64, reversed: u64) -> EntryResult {
    let request = ReverseEntryRequest {
        id: id(MONDAY_US, number),
        entry_id: id(MONDAY_US, reversed),
        home: "alice".to_owned(),
        ..Default::default()
    };
    let answer = call!(bank, reverse_entry(ReverseEntryRequest), request).unwrap();
    answer.result.into_option().unwrap()
}

/// An account that never had the money does not give it back.
#[tokio::test]
async fn a_reversal_takes_from_suspense_what_went_there() {
    let mut bank = decided_for_who_has_left().await;
    let suspense = lombard_ledger::apply::suspense_account("default");
    // Nobody has carried it yet: the reversal does so first.
    let reversed = reverse(&bank, 2, 1).await;
    let from: Vec<_> = reversed
        .legs
        .iter()
        .map(|leg| leg.leg.account.clone())
        .collect();
    assert_eq!(from, ["alice", suspense.as_str()]);
    for account in ["alice", "bob"] {
        assert_eq!(bank.balances(account).await, ["customer/main GBP 0"]);
    }
    assert_eq!(bank.balances(&suspense).await, ["bank/suspense GBP 0"]);
    let again = reverse(&bank, 2, 1).await;
    assert!(again.replayed && bank.entry(1).await.complete);
    bank.settle().await;
    bank.assert_right("after the reversal of a diversion").await;
}

#[tokio::test]
async fn a_reversal_finishes_first_what_was_left_of_its_entry() {
    let bank = bank().await;
    bank.decide_only(1, "alice", "bob", 100).await;
    reverse(&bank, 2, 1).await;
    assert!(bank.entry(1).await.complete && bank.entry(2).await.complete);
    for account in ["alice", "bob"] {
        assert_eq!(bank.balances(account).await, ["customer/main GBP 0"]);
    }
    bank.assert_right("after the reversal of what was left")
        .await;
}

#[tokio::test]
async fn a_long_way_is_not_gone_twice() {
    const LEFT: u64 = 1_500;
    let mut bank = bank().await;
    for number in 1..=LEFT {
        bank.decide_only(number, "alice", "bob", 1).await;
    }
    bank.crash().await;
    // A process that is told to stop gets through one page of the journal.
    let mut coordinator = bank.open_coordinator().await.unwrap();
    let first = coordinator.pass(|| false).await.unwrap();
    assert!((1..LEFT).contains(&first.resumed), "{first:?}");
    // Nobody waits for the watermark itself to be durable: an older one does no harm.
    let keyspace = bank.ledger.keyspace();
    keyspace.durable(keyspace.position()).await.unwrap();
    bank.crash().await;
    // The next one goes on behind it.
    let mut coordinator = bank.open_coordinator().await.unwrap();
    let second = coordinator.pass(|| true).await.unwrap();
    assert_eq!(first.resumed + second.resumed, LEFT, "{second:?}");
    let report = bank.assert_right("after both").await;
    assert_eq!(report.in_flight, 0);
}

/// A change may have been begun before a hold's second, and be carried after somebody has
/// read that the hold has expired.
#[tokio::test]
async fn what_was_read_as_expired_stays_before_what_is_carried_later() {
    let bank = Bank::new().await;
    for account in ["alice", "bob"] {
        bank.open(account, &["customer/main GBP", "customer/held GBP 0"])
            .await;
    }
    let hold = PlaceHoldRequest {
        id: id(MONDAY_US, 1),
        account: "bob".to_owned(),
        currency: "GBP".to_owned(),
        amount_minor: 500,
        expires_us: MONDAY_US + 60 * SECOND_US,
        ..Default::default()
    };
    call!(bank, place_hold(PlaceHoldRequest), hold).unwrap();
    bank.decide_only(2, "alice", "bob", 70).await;
    let begun_us = bank.now_us();
    bank.advance_us(90 * SECOND_US);
    let read = || GetBalancesRequest {
        account: "bob".to_owned(),
        ..Default::default()
    };
    let seen = call!(bank, get_balances(GetBalancesRequest), read()).unwrap();
    let minor = |balances: &[AddressBalance]| -> Vec<i64> {
        balances.iter().map(|line| line.balance_minor).collect()
    };
    assert_eq!(minor(&seen.balances), [0, 0]);
    let late = EntryId::parse(&id(MONDAY_US, 2)).unwrap();
    let carried = bank.ledger.flow().resume("alice", late, begun_us);
    carried.await.unwrap();
    let now = call!(bank, get_balances(GetBalancesRequest), read()).unwrap();
    assert_eq!(minor(&now.balances), [70, 0]);
    assert_eq!(now.event_number, seen.event_number + 1);
    let behind = ListEventsRequest {
        account: "bob".to_owned(),
        after_number: seen.event_number,
        ..Default::default()
    };
    let behind = call!(bank, list_events(ListEventsRequest), behind).unwrap();
    assert_eq!(behind.events.len(), 1, "{behind:?}");
    assert_eq!(behind.events[0].r#type, "EntryPosted");
    bank.assert_right("all is carried").await;
}
