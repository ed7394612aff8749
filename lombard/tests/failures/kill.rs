//! `kill -9` under load, again and again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::bank::{Bank, check_stopped, folder};
use crate::ledger::{Balances, Ledger, int, text};
use crate::load::{CUSTOMERS, Client, FUNDER, Sent, customer, open_accounts};

const ROUNDS: u32 = 20;
const CLIENTS: u64 = 6;
/// Answered requests of each client and round that are sent once more.
const RETRIES_PER_CLIENT: usize = 40;

#[test]
fn after_kill_9_every_acknowledged_entry_is_there_once_and_no_other_is_half_there() {
    let folder = folder();
    let data = folder.path().join("data");
    let mut random = SmallRng::seed_from_u64(9);
    let mut clients: Vec<Client> = (0..CLIENTS).map(Client::new).collect();
    let mut known = Known::new();
    let mut bank = Bank::start(&data);
    for (id, legs) in open_accounts(&mut Ledger::of(&bank)) {
        known.add(&id, &legs);
    }
    for round in 0..ROUNDS {
        let stop = AtomicBool::new(false);
        let address = bank.address("ledger").to_owned();
        std::thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(|| client.run(&address, &stop));
            }
            std::thread::sleep(Duration::from_millis(random.random_range(150..700)));
            bank.kill();
            stop.store(true, Ordering::Relaxed);
        });
        bank = Bank::start(&data);
        let mut ledger = Ledger::of(&bank);
        for client in &mut clients {
            for sent in std::mem::take(&mut client.sent) {
                known.learn(&mut ledger, &sent);
            }
        }
        assert_eq!(balances(&mut ledger), known.balances, "round {round}");
        bank.check();
        known.send_unanswered_again(&mut ledger);
        assert_eq!(
            balances(&mut ledger),
            known.balances,
            "round {round}, after retries"
        );
    }
    let mut ledger = Ledger::of(&bank);
    known.compare_postings(&mut ledger);
    assert!(
        known.accepted > 1_000,
        "{} entries are no load",
        known.accepted
    );
    assert!(known.unanswered > 0, "nothing was killed on its way");
    bank.kill();
    check_stopped(&data);
}

/// What the clients know the ledger must hold.
struct Known {
    balances: Balances,
    /// What each entry moves, by its id.
    entries: BTreeMap<String, Balances>,
    unanswered_requests: Vec<Sent>,
    accepted: u64,
    unanswered: u64,
}

impl Known {
    fn new() -> Self {
        let mut balances = Balances::new();
        for account in accounts() {
            for address in ["customer/main", "customer/held"] {
                balances.insert((account.clone(), address.to_owned()), 0);
            }
        }
        Self {
            balances,
            entries: BTreeMap::new(),
            unanswered_requests: Vec::new(),
            accepted: 0,
            unanswered: 0,
        }
    }

    /// Compares what was told with what is there, and takes in what was not told.
    fn learn(&mut self, ledger: &mut Ledger, sent: &Sent) {
        let Some(answer) = &sent.answer else {
            self.unanswered += 1;
            for asked in &sent.asked {
                // Whole or not at all.
                if let Some(found) = ledger.carried(&asked.id, &asked.home) {
                    self.add(&asked.id, found["result"]["legs"].as_array().unwrap());
                }
            }
            self.unanswered_requests.push(sent.clone());
            return;
        };
        let results = sent.results();
        for (asked, result) in sent.asked.iter().zip(&results) {
            match result {
                Some(result) => {
                    let found = ledger.carried(&asked.id, &asked.home);
                    let found = found.unwrap_or_else(|| panic!("acknowledged and lost: {result}"));
                    assert_eq!(first(&found["result"]), first(result));
                    self.add(&asked.id, result["legs"].as_array().unwrap());
                }
                None => assert_eq!(
                    ledger.carried(&asked.id, &asked.home),
                    None,
                    "refused, and there: {answer}"
                ),
            }
        }
        if results.iter().any(Option::is_some)
            && self.accepted.is_multiple_of(RETRIES_PER_CLIENT as u64 / 10)
        {
            self.same_again(ledger, sent, &results);
        }
    }

    /// The same request gets the first answers. What was refused by the state of that
    /// moment may be accepted now.
    fn same_again(&mut self, ledger: &mut Ledger, sent: &Sent, results: &[Option<Value>]) {
        let again = Sent {
            answer: Some(ledger.call(sent.method, &sent.request)),
            ..sent.clone()
        };
        for ((asked, before), now) in sent.asked.iter().zip(results).zip(again.results()) {
            match (before, now) {
                (Some(before), Some(now)) => {
                    assert_eq!(now["replayed"], true, "{now}");
                    assert_eq!(first(&now), first(before));
                }
                (Some(before), None) => panic!("accepted, and now refused: {before}"),
                (None, Some(now)) => self.add(&asked.id, now["legs"].as_array().unwrap()),
                (None, None) => {}
            }
        }
    }

    fn send_unanswered_again(&mut self, ledger: &mut Ledger) {
        for mut sent in std::mem::take(&mut self.unanswered_requests) {
            sent.answer = Some(ledger.call(sent.method, &sent.request));
            for (asked, result) in sent.asked.iter().zip(sent.results()) {
                let Some(result) = result else {
                    assert!(
                        !self.entries.contains_key(&asked.id),
                        "there, and refused: {:?}",
                        sent.answer
                    );
                    continue;
                };
                let legs = result["legs"].as_array().unwrap();
                assert_eq!(
                    result["replayed"] == true,
                    self.entries.contains_key(&asked.id),
                    "{result}"
                );
                match self.entries.get(&asked.id) {
                    Some(moved) => assert_eq!(*moved, moves(legs)),
                    None => self.add(&asked.id, legs),
                }
            }
        }
    }

    fn add(&mut self, id: &str, legs: &[Value]) {
        let moved = moves(legs);
        for (place, amount) in &moved {
            *self
                .balances
                .get_mut(place)
                .unwrap_or_else(|| panic!("no such address: {place:?}")) += amount;
        }
        assert!(
            self.entries.insert(id.to_owned(), moved).is_none(),
            "{id} twice"
        );
        self.accepted += 1;
    }

    /// Each entry's postings are there, once, and no others.
    fn compare_postings(&self, ledger: &mut Ledger) {
        let mut found: BTreeMap<String, Balances> = BTreeMap::new();
        for account in accounts() {
            for posting in ledger.postings(&account) {
                let place = (account.clone(), text(&posting["address"]).to_owned());
                let moved = found
                    .entry(text(&posting["entryId"]).to_owned())
                    .or_default();
                *moved.entry(place).or_default() += int(&posting["amountMinor"]);
            }
        }
        // What a refused entry had reserved was given back: it moved nothing.
        for moved in found.values_mut() {
            moved.retain(|_, amount| *amount != 0);
        }
        found.retain(|_, moved| !moved.is_empty());
        assert_eq!(found.len(), self.entries.len());
        for (id, moved) in &self.entries {
            assert_eq!(found.get(id), Some(moved), "{id}");
        }
    }
}

fn accounts() -> impl Iterator<Item = String> {
    (0..CUSTOMERS).map(customer).chain([FUNDER.to_owned()])
}

/// All balances, once nothing is reserved any more.
fn balances(ledger: &mut Ledger) -> Balances {
    ledger.settle();
    let mut balances = ledger.all_balances();
    balances.retain(|(account, address), balance| {
        let internal = address == "internal/reserved";
        assert!(
            !internal || *balance == 0,
            "{account} has {balance} reserved for nobody"
        );
        !internal
    });
    balances
}

/// What an entry moves, by account and address.
fn moves(legs: &[Value]) -> Balances {
    let mut moves = Balances::new();
    for result in legs {
        let leg = &result["leg"];
        let place = (
            text(&leg["account"]).to_owned(),
            text(&leg["address"]).to_owned(),
        );
        *moves.entry(place).or_default() += int(&leg["amountMinor"]);
    }
    moves.retain(|_, amount| *amount != 0);
    moves
}

/// A result as it was given first.
fn first(result: &Value) -> Value {
    let mut result = result.clone();
    if let Some(fields) = result.as_object_mut() {
        fields.remove("replayed");
    }
    if result.is_null() { json!({}) } else { result }
}
