//! The service as it starts in a process: over TCP, ended and started again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is wrong"
)]

use std::sync::Arc;

use lombard_contracts::bank::ledger::v1::*;
use lombard_rpc::Error;
use lombard_rpc::client::{Channel, ChannelOptions};
use lombard_service::{Application, Config, Host, RunningApplication};
use lombard_store::Store;
use lombard_store::simulated::{Kind, Simulated, SimulatedOptions};

struct Bank {
    running: RunningApplication,
    ledger: LedgerServiceClient<Channel>,
}

async fn start(engine: Arc<Simulated>) -> Bank {
    let host = Host::system();
    let store = Store::new(engine, host.store_options());
    let running = Application::new(host.clone(), Config::default(), store)
        .service(lombard_ledger::NAME, lombard_ledger::start)
        .start()
        .await
        .unwrap();
    let addresses = running.book().find(lombard_ledger::NAME).to_vec();
    let channel = host
        .channel("test", addresses, ChannelOptions::default())
        .unwrap();
    let ledger = LedgerServiceClient::new(channel.clone(), channel.config());
    Bank { running, ledger }
}

fn account(id: &str, floor: Option<i64>) -> CreateAccountRequest {
    let floor = floor.map(|minimum_minor| Floor {
        minimum_minor,
        ..Default::default()
    });
    let address = Address {
        address: "customer/main".to_owned(),
        currency: "GBP".to_owned(),
        floor: floor.into(),
        ..Default::default()
    };
    CreateAccountRequest {
        id: id.to_owned(),
        addresses: vec![address],
        ..Default::default()
    }
}

fn payment(id: String, from: &str, to: &str, amount_minor: i64) -> CreateEntryRequest {
    let leg = |account: &str, amount_minor| Leg {
        account: account.to_owned(),
        currency: "GBP".to_owned(),
        amount_minor,
        ..Default::default()
    };
    let entry = Entry {
        id,
        legs: vec![leg(from, -amount_minor), leg(to, amount_minor)],
        ..Default::default()
    };
    CreateEntryRequest {
        entry: Some(entry).into(),
        ..Default::default()
    }
}

impl Bank {
    async fn pay(&self, request: CreateEntryRequest) -> Result<EntryResult, Error> {
        let answer = self
            .ledger
            .create_entry(request)
            .await
            .map_err(|error| Error::from_connect(&error))?;
        Ok(answer.into_owned().result.into_option().unwrap())
    }

    async fn balance(&self, account: &str) -> i64 {
        let request = GetBalancesRequest {
            account: account.to_owned(),
            ..Default::default()
        };
        self.ledger
            .get_balances(request)
            .await
            .unwrap()
            .into_owned()
            .balances[0]
            .balance_minor
    }
}

#[tokio::test]
async fn money_is_there_after_a_restart_and_a_retry_gets_the_first_answer() {
    let engine = Arc::new(Simulated::new(SimulatedOptions::new(Kind::OneLog, 1)));
    let bank = start(engine.clone()).await;
    for request in [
        account("bank", None),
        account("alice", Some(0)),
        account("bob", Some(0)),
    ] {
        bank.ledger.create_account(request).await.unwrap();
    }
    let id = Host::system().id().to_string();
    let first = bank
        .pay(payment(id.clone(), "bank", "alice", 500))
        .await
        .unwrap();
    let refused = bank
        .pay(payment(
            Host::system().id().to_string(),
            "alice",
            "bob",
            501,
        ))
        .await
        .unwrap_err();
    assert_eq!(
        (refused.reason.as_ref(), refused.domain.as_ref()),
        ("FLOOR_BROKEN", "ledger")
    );
    assert_eq!(refused.metadata["balance_minor"], "500");

    let status = bank
        .ledger
        .get_status(GetStatusRequest::default())
        .await
        .unwrap()
        .into_owned();
    assert_eq!(
        (status.engine.as_str(), status.in_flight, status.orphaned),
        ("simulated", 0, 0)
    );
    assert!(bank.running.shutdown().await.is_clean());

    let bank = start(Arc::new(engine.crash())).await;
    assert_eq!(
        (bank.balance("bank").await, bank.balance("alice").await),
        (-500, 500)
    );
    let again = bank.pay(payment(id, "bank", "alice", 500)).await.unwrap();
    assert_eq!(
        again,
        EntryResult {
            replayed: true,
            ..first
        }
    );
    assert!(bank.running.shutdown().await.is_clean());
}

/// A page over all accounts leaves out what the ledger keeps for itself.
#[tokio::test]
async fn the_trial_balance_comes_in_pages_and_sums_to_zero() {
    let bank = start(Arc::new(Simulated::new(SimulatedOptions::new(
        Kind::OneLog,
        1,
    ))))
    .await;
    bank.ledger
        .create_account(account("bank", None))
        .await
        .unwrap();
    let host = Host::system();
    for number in 0..7 {
        bank.ledger
            .create_account(account(&format!("c{number}"), Some(0)))
            .await
            .unwrap();
        bank.pay(payment(
            host.id().to_string(),
            "bank",
            &format!("c{number}"),
            100 + number,
        ))
        .await
        .unwrap();
    }
    let (mut lines, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = TrialBalanceRequest {
            page_token,
            page_size: 3,
            ..Default::default()
        };
        let page = bank
            .ledger
            .trial_balance(request)
            .await
            .unwrap()
            .into_owned();
        lines.extend(
            page.lines
                .into_iter()
                .map(|line| (line.account, line.balance_minor)),
        );
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    lines.sort();
    assert_eq!(lines.len(), 8);
    assert_eq!(lines[0], ("bank".to_owned(), -721));
    assert_eq!(lines.iter().map(|(_, balance)| balance).sum::<i64>(), 0);
    assert!(bank.running.shutdown().await.is_clean());
}

/// Events are numbered without a gap, tell everything, and are the same at every reading.
#[tokio::test]
async fn events_are_listed_from_any_number() {
    let bank = start(Arc::new(Simulated::new(SimulatedOptions::new(
        Kind::OneLog,
        1,
    ))))
    .await;
    bank.ledger
        .create_account(account("bank", None))
        .await
        .unwrap();
    bank.ledger
        .create_account(account("alice", Some(0)))
        .await
        .unwrap();
    let host = Host::system();
    for amount in 1..=40 {
        bank.pay(payment(host.id().to_string(), "bank", "alice", amount))
            .await
            .unwrap();
    }
    let list = async |after_number, page_size| {
        let request = ListEventsRequest {
            account: "alice".to_owned(),
            after_number,
            page_size,
            ..Default::default()
        };
        bank.ledger
            .list_events(request)
            .await
            .unwrap()
            .into_owned()
            .events
    };
    let all = list(0, 1_000).await;
    assert_eq!(
        all.iter().map(|event| event.number).collect::<Vec<_>>(),
        (1..=41).collect::<Vec<_>>()
    );
    for after in 0..=41 {
        for page_size in [1, 5, 1_000] {
            let expected: Vec<Event> = all.iter().skip(after).take(page_size).cloned().collect();
            assert_eq!(
                list(after as u64, page_size as u32).await,
                expected,
                "{after} {page_size}"
            );
        }
    }
    assert_eq!(
        (all[0].r#type.as_str(), all[40].r#type.as_str()),
        ("AccountOpened", "EntryPosted")
    );
    let told: serde_json::Value = serde_json::from_str(&all[40].json).unwrap();
    assert_eq!(told["id"], all[40].id);
    assert_eq!(told["number"], 41);
    assert_eq!(told["model"]["id"], "alice");
    assert_eq!(told["entry"]["home"], "bank");
    assert_eq!(told["postings"][0]["amount_minor"], 40);
    assert_eq!(told["balances"][0]["balance_minor"], 820);
    assert!(bank.running.shutdown().await.is_clean());
}
