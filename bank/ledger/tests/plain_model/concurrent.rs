//! Many clients at once, while the engine fails and the plug is pulled: every
//! acknowledged entry is there exactly once, and nothing else is.

use std::cell::RefCell;
use std::collections::BTreeMap;

use futures::future::join_all;
use lombard_contracts::bank::ledger::v1::*;
use lombard_ledger::{Ledger, Options};
use lombard_rpc::Error;
use lombard_store::simulated::{Faults, Kind};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Mutex;

use crate::harness::{Bank, MONDAY_US, SECOND_US, call, create_entries, id, leg};
use crate::rules::{HELD, MAIN};
use crate::{KINDS, seeds};

const SEEDS: u64 = 300;
const CLIENTS: u64 = 6;
const STEPS: u64 = 12;
const ACCOUNTS: [(&str, Option<i64>); 6] = [
    ("a", Some(0)),
    ("b", Some(0)),
    ("c", Some(-300)),
    ("d", Some(0)),
    ("hot", None),
    ("bank", None),
];

/// A client's seat at the bank: the ledger as it is now.
struct Seat {
    ledger: Ledger,
}

/// What the clients were told is in: for each entry what its legs moved in each account.
type Acknowledged = RefCell<BTreeMap<(String, String), Vec<(String, i64)>>>;

#[test]
fn what_many_clients_were_told_is_what_is_there() {
    for seed in seeds(SEEDS) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(through(seed));
    }
}

async fn through(seed: u64) {
    let kind = KINDS[usize::try_from(seed % 3).unwrap()];
    let bank = Bank::with(kind, seed, Options::default()).await;
    for (account, floor) in ACCOUNTS {
        let main = floor.map_or(format!("{MAIN} GBP"), |floor| format!("{MAIN} GBP {floor}"));
        bank.open(account, &[&main, &format!("{HELD} GBP 0")]).await;
    }
    bank.engine.set_faults(match kind {
        Kind::Replicated => Faults::replicated(),
        _ => Faults {
            flush_failure: 0.002,
            ..Faults::one_log()
        },
    });
    let bank = Mutex::new(bank);
    let acknowledged = Acknowledged::default();
    let clients = (0..CLIENTS).map(|number| Client::new(seed, number, &bank, &acknowledged).work());
    let (_, ()) = futures::join!(join_all(clients), misfortune(seed, &bank));

    let mut bank = bank.into_inner();
    bank.settle().await;
    bank.assert_right(&format!("seed {seed}")).await;
    let acknowledged = acknowledged.into_inner();
    let mut moved: BTreeMap<String, i64> = BTreeMap::new();
    for ((home, entry), legs) in &acknowledged {
        let request = GetEntryRequest {
            id: entry.clone(),
            home: home.clone(),
            ..Default::default()
        };
        let found = call!(bank, get_entry(GetEntryRequest), request).unwrap();
        assert!(found.complete, "seed {seed}: {entry}");
        assert_eq!(&amounts(&found.result), legs, "seed {seed}: {entry}");
        for (account, amount) in legs {
            *moved.entry(account.clone()).or_default() += amount;
        }
    }
    for (account, floor) in ACCOUNTS {
        let request = GetBalancesRequest {
            account: account.to_owned(),
            ..Default::default()
        };
        let balances = call!(bank, get_balances(GetBalancesRequest), request)
            .unwrap()
            .balances;
        // What expires stays in its account.
        let there: i64 = balances.iter().map(|balance| balance.balance_minor).sum();
        assert_eq!(
            there,
            moved.get(account).copied().unwrap_or(0),
            "seed {seed}: {account}"
        );
        let request = ListPostingsRequest {
            account: account.to_owned(),
            page_size: 1_000,
            ..Default::default()
        };
        let postings = call!(bank, list_postings(ListPostingsRequest), request)
            .unwrap()
            .postings;
        // An entry's own legs may cross; where it ends counts.
        let ends: BTreeMap<u64, &Posting> = postings
            .iter()
            .filter(|posting| posting.address == MAIN)
            .map(|posting| (posting.event_number, posting))
            .collect();
        let broken = |posting: &&&Posting| floor.is_some_and(|floor| posting.balance_minor < floor);
        assert_eq!(ends.values().find(broken), None, "seed {seed}");
    }
}

/// Pulls the plug now and then, moves the clock, and lets the coordinator look around.
async fn misfortune(seed: u64, bank: &Mutex<Bank>) {
    let mut dice = SmallRng::seed_from_u64(seed ^ 0xbad);
    for _ in 0..12 {
        for _ in 0..dice.random_range(1..80) {
            tokio::task::yield_now().await;
        }
        let mut bank = bank.lock().await;
        bank.advance_us(dice.random_range(1_000..4 * SECOND_US));
        match dice.random_range(0..4) {
            0 => bank.crash().await,
            // What fails is done again by the next pass.
            _ => drop(bank.pass().await),
        }
    }
}

struct Client<'a> {
    seed: u64,
    number: u64,
    bank: &'a Mutex<Bank>,
    acknowledged: &'a Acknowledged,
    dice: SmallRng,
    ids: u64,
    holds: Vec<(String, String)>,
}

impl<'a> Client<'a> {
    fn new(seed: u64, number: u64, bank: &'a Mutex<Bank>, acknowledged: &'a Acknowledged) -> Self {
        let dice = SmallRng::seed_from_u64(seed * CLIENTS + number);
        Self {
            seed,
            number,
            bank,
            acknowledged,
            dice,
            ids: 0,
            holds: Vec::new(),
        }
    }

    async fn work(mut self) {
        for _ in 0..STEPS {
            match self.dice.random_range(0..8) {
                0 => self.hold().await,
                1 if !self.holds.is_empty() => self.capture().await,
                2 => self.batch().await,
                _ => self.pay().await,
            }
        }
    }

    async fn next_id(&mut self) -> String {
        self.ids += 1;
        id(
            self.bank.lock().await.now_us(),
            self.number * 1_000 + self.ids,
        )
    }

    fn account(&mut self) -> &'static str {
        ACCOUNTS[self.dice.random_range(0..ACCOUNTS.len())].0
    }

    fn legs(&mut self) -> Vec<Leg> {
        let amount = self.dice.random_range(1..200);
        let (from, to) = (self.account(), self.account());
        match self.dice.random_range(0..4) {
            0 => {
                let second = self.account();
                vec![
                    leg(from, -amount),
                    leg(second, -amount),
                    leg(to, 2 * amount),
                ]
            }
            1 => vec![leg("hot", -amount), leg(to, amount)],
            2 => vec![leg(from, -amount), leg("hot", amount)],
            _ => vec![leg("bank", -amount), leg(to, amount)],
        }
    }

    async fn pay(&mut self) {
        let id = if self.dice.random_bool(0.2) {
            // Others use it too: at other homes that is another entry, at the same one refused.
            id(MONDAY_US, self.dice.random_range(0..30))
        } else {
            self.next_id().await
        };
        let entry = Entry {
            id,
            legs: self.legs(),
            ..Default::default()
        };
        let request = CreateEntryRequest {
            entry: Some(entry.clone()).into(),
            ..Default::default()
        };
        // An impatient client sends it twice at once.
        let twice = self.dice.random_bool(0.2);
        let send = || {
            self.until_answered(async |seat| {
                call!(seat, create_entry(CreateEntryRequest), request.clone())
            })
        };
        let (first, second) = if twice {
            let (first, second) = futures::join!(send(), send());
            (first, Some(second))
        } else {
            (send().await, None)
        };
        if let Some(second) = second {
            match (&first, &second) {
                (Ok(first), Ok(second)) => {
                    assert_eq!(first.result.legs, second.result.legs, "seed {}", self.seed)
                }
                // Refused, the money may be there a moment later: then the other one is in.
                (Ok(answer), Err(_)) | (Err(_), Ok(answer)) => self.note(&answer.result),
                (Err(_), Err(_)) => {}
            }
        }
        if let Ok(answer) = first {
            self.note(&answer.result);
        }
    }

    async fn batch(&mut self) {
        let mut entries = Vec::new();
        for _ in 0..self.dice.random_range(2..12) {
            entries.push(Entry {
                id: self.next_id().await,
                legs: self.legs(),
                ..Default::default()
            });
        }
        let request = CreateEntriesRequest {
            entries,
            ..Default::default()
        };
        let send = async |seat: &Seat| create_entries(&seat.ledger, request.clone()).await;
        let answer = self.until_answered(send).await.unwrap();
        for outcome in answer.outcomes {
            if let Some(entry_outcome::Outcome::Accepted(result)) = outcome.outcome {
                self.note(&result);
            }
        }
    }

    async fn hold(&mut self) {
        let request = PlaceHoldRequest {
            id: self.next_id().await,
            account: self.account().to_owned(),
            currency: "GBP".to_owned(),
            amount_minor: self.dice.random_range(1..100),
            expires_us: self.bank.lock().await.now_us()
                + self.dice.random_range(SECOND_US..20 * SECOND_US),
            ..Default::default()
        };
        let send = async |seat: &Seat| call!(seat, place_hold(PlaceHoldRequest), request.clone());
        if let Ok(answer) = self.until_answered(send).await {
            self.note(&answer.result);
            self.holds.push((request.account, request.id));
        }
    }

    async fn capture(&mut self) {
        let (account, hold_id) = self.holds[self.dice.random_range(0..self.holds.len())].clone();
        let request = CaptureHoldRequest {
            id: self.next_id().await,
            account,
            hold_id,
            amount_minor: self.dice.random_range(1..100),
            to_account: self.account().to_owned(),
            r#final: self.dice.random_bool(0.5),
            allow_over: self.dice.random_bool(0.3),
            ..Default::default()
        };
        let send =
            async |seat: &Seat| call!(seat, capture_hold(CaptureHoldRequest), request.clone());
        if let Ok(answer) = self.until_answered(send).await {
            self.note(&answer.result);
        }
    }

    fn note(&self, result: &EntryResult) {
        let key = (result.home.clone(), result.id.clone());
        self.acknowledged.borrow_mut().insert(key, amounts(result));
    }

    /// Sends it again, the same, until there is an answer that is not a failure.
    async fn until_answered<T>(
        &self,
        send: impl AsyncFn(&Seat) -> Result<T, Error>,
    ) -> Result<T, Error> {
        loop {
            let seat = Seat {
                ledger: self.bank.lock().await.ledger.clone(),
            };
            match send(&seat).await {
                Err(error) if error.retryable => self.restart(&error).await,
                answer => return answer,
            }
            tokio::task::yield_now().await;
        }
    }

    /// Nobody but a client notices that a flush has failed.
    async fn restart(&self, error: &Error) {
        if matches!(error.reason.as_ref(), "STORE_CLOSED" | "OUTCOME_UNKNOWN") {
            let mut bank = self.bank.lock().await;
            let closed = bank
                .ledger
                .balances("bank", lombard_ledger::reads::balances::AsOf::Now, false)
                .await;
            if closed.is_err_and(|failure| Error::from(failure).reason == "STORE_CLOSED") {
                bank.crash().await;
            }
        }
    }
}

/// Account and amount of each leg, in order.
fn amounts(result: &EntryResult) -> Vec<(String, i64)> {
    result
        .legs
        .iter()
        .map(|outcome| (outcome.leg.account.clone(), outcome.leg.amount_minor))
        .collect()
}
