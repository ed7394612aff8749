//! Clients that move money with every kind of request, remember what they were
//! told, and send again what they were not told.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::http::Answer;
use crate::ledger::{Ledger, entry, id, int, text};

/// Customers' accounts, each with a floor of zero.
pub const CUSTOMERS: u32 = 12;
/// What each begins with, in pence.
pub const FUNDS_MINOR: i64 = 1_000_000;
/// The account that funds them, without a floor.
pub const FUNDER: &str = "funder";
const ENTRIES_PER_BATCH: usize = 40;

/// The account of a customer.
pub fn customer(number: u32) -> String {
    format!("customer-{number:02}")
}

/// Opens all accounts and funds them: each entry's id with the legs of its result.
pub fn open_accounts(ledger: &mut Ledger) -> Vec<(String, Vec<Value>)> {
    ledger.open(FUNDER, false);
    let mut funded = Vec::new();
    for number in 0..CUSTOMERS {
        let account = customer(number);
        ledger.open(&account, true);
        let legs = [(FUNDER, -FUNDS_MINOR), (account.as_str(), FUNDS_MINOR)];
        let id = id();
        let answer = ledger
            .call("CreateEntry", &json!({"entry": entry(&id, &legs)}))
            .ok();
        funded.push((
            id,
            answer["result"]["legs"]
                .as_array()
                .cloned()
                .unwrap_or_default(),
        ));
    }
    funded
}

/// One entry that was asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Its id.
    pub id: String,
    /// The account that decides.
    pub home: String,
}

/// One request, and what became of it.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The method.
    pub method: &'static str,
    /// The request as it was sent.
    pub request: Value,
    /// The entries that it asks for.
    pub asked: Vec<Asked>,
    /// What was answered; nothing where no whole answer came.
    pub answer: Option<Answer>,
}

impl Sent {
    /// For each entry asked for: its result if it was accepted, nothing if it was refused.
    pub fn results(&self) -> Vec<Option<Value>> {
        let Some(answer) = &self.answer else {
            panic!("no answer came");
        };
        if answer.status != 200 {
            return vec![None; self.asked.len()];
        }
        match self.method {
            "CreateEntries" => {
                let outcomes = answer.body["outcomes"].as_array().unwrap();
                assert_eq!(outcomes.len(), self.asked.len());
                outcomes
                    .iter()
                    .map(|outcome| outcome.get("accepted").cloned())
                    .collect()
            }
            _ => vec![Some(answer.body["result"].clone())],
        }
    }
}

/// One client: what it asked for, and what it was told.
#[derive(Debug)]
pub struct Client {
    random: SmallRng,
    /// Everything that it sent, in order.
    pub sent: Vec<Sent>,
    /// Holds that it was told of: account, hold, what remains.
    holds: Vec<(String, String, i64)>,
}

impl Client {
    /// A client whose requests are those of its seed.
    pub fn new(seed: u64) -> Self {
        Self {
            random: SmallRng::seed_from_u64(seed),
            sent: Vec::new(),
            holds: Vec::new(),
        }
    }

    /// Sends request after request until told to stop, or no answer comes.
    pub fn run(&mut self, address: &str, stop: &AtomicBool) {
        let Ok(mut ledger) = Ledger::at(address) else {
            return;
        };
        while !stop.load(Ordering::Relaxed) {
            let next = self.next();
            if self.send(&mut ledger, next).is_err() {
                return;
            }
        }
    }

    /// Sends request after request for so long.
    pub fn run_for(&mut self, address: &str, time: Duration) {
        let mut ledger = Ledger::at(address).unwrap();
        let since = Instant::now();
        while since.elapsed() < time {
            let next = self.next();
            self.send(&mut ledger, next).unwrap();
        }
    }

    fn send(&mut self, ledger: &mut Ledger, mut sent: Sent) -> io::Result<()> {
        match ledger.try_call(sent.method, &sent.request) {
            Ok(answer) => {
                assert_ne!(answer.status, 500, "{answer}");
                sent.answer = Some(answer);
                self.learn(&sent);
                self.sent.push(sent);
                Ok(())
            }
            Err(error) => {
                self.sent.push(sent);
                Err(error)
            }
        }
    }

    /// Holds that it may capture or release.
    fn learn(&mut self, sent: &Sent) {
        if let ("PlaceHold", Some(Some(_))) = (sent.method, sent.results().first()) {
            let (account, amount) = (&sent.request["account"], &sent.request["amountMinor"]);
            self.holds.push((
                text(account).to_owned(),
                sent.asked[0].id.clone(),
                int(amount),
            ));
        }
    }

    fn next(&mut self) -> Sent {
        match self.random.random_range(0..100) {
            0..40 => self.single(),
            40..50 => self.batch(),
            50..75 => self.reserving(),
            75..85 => self.place(),
            _ => self.finish_hold(),
        }
    }

    fn pair(&mut self) -> (String, String) {
        let from = self.random.random_range(0..CUSTOMERS);
        let to = (from + self.random.random_range(1..CUSTOMERS)) % CUSTOMERS;
        (customer(from), customer(to))
    }

    /// From one to another. One in eight asks for more than anybody has.
    fn transfer(&mut self) -> (Asked, Value) {
        let (from, to) = self.pair();
        let amount = match self.random.random_range(0..8) {
            0 => FUNDS_MINOR * i64::from(CUSTOMERS) + 1,
            _ => self.random.random_range(1..5_000),
        };
        let id = id();
        let entry = entry(&id, &[(from.as_str(), -amount), (to.as_str(), amount)]);
        (Asked { id, home: from }, entry)
    }

    fn single(&mut self) -> Sent {
        let (asked, entry) = self.transfer();
        sent("CreateEntry", json!({"entry": entry}), vec![asked])
    }

    /// Some of them in pairs: all or none.
    fn batch(&mut self) -> Sent {
        let mut asked = Vec::new();
        let mut entries = Vec::new();
        while entries.len() < ENTRIES_PER_BATCH {
            let (first, mut entry) = self.transfer();
            if self.random.random_bool(0.2) {
                entry["linked"] = json!(true);
                let mut second = entry.clone();
                let id = id();
                second["id"] = json!(id);
                second["linked"] = json!(false);
                entries.extend([entry, second]);
                asked.extend([
                    first.clone(),
                    Asked {
                        id,
                        home: first.home,
                    },
                ]);
            } else {
                entries.push(entry);
                asked.push(first);
            }
        }
        sent("CreateEntries", json!({"entries": entries}), asked)
    }

    /// Lowers up to four accounts that have floors.
    fn reserving(&mut self) -> Sent {
        let first = self.random.random_range(0..CUSTOMERS);
        let payers = self.random.random_range(2..=4);
        let mut legs = Vec::new();
        let mut sum = 0;
        for offset in 0..payers {
            let amount = self.random.random_range(1..5_000);
            sum += amount;
            legs.push((customer((first + offset * 2) % CUSTOMERS), -amount));
        }
        legs.push((customer((first + 1) % CUSTOMERS), sum));
        let id = id();
        let legs: Vec<(&str, i64)> = legs
            .iter()
            .map(|(account, amount)| (account.as_str(), *amount))
            .collect();
        let entry = entry(&id, &legs);
        sent(
            "CreateEntry",
            json!({"entry": entry}),
            vec![Asked {
                id,
                home: customer(first),
            }],
        )
    }

    fn place(&mut self) -> Sent {
        let (account, _) = self.pair();
        let id = id();
        let amount: i64 = self.random.random_range(1..5_000);
        let request = json!({
            "id": id, "account": account, "address": "customer/main", "currency": "GBP",
            "amountMinor": amount.to_string(), "actor": "test",
        });
        sent("PlaceHold", request, vec![Asked { id, home: account }])
    }

    /// Captures a part or all of a hold, or releases it.
    fn finish_hold(&mut self) -> Sent {
        if self.holds.is_empty() {
            return self.place();
        }
        let place = self.random.random_range(0..self.holds.len());
        let (account, hold, amount) = self.holds.swap_remove(place);
        let id = id();
        let asked = vec![Asked {
            id: id.clone(),
            home: account.clone(),
        }];
        if self.random.random_bool(0.3) {
            let request = json!({"id": id, "account": account, "holdId": hold, "actor": "test"});
            return sent("ReleaseHold", request, asked);
        }
        let (part, last) = (
            self.random.random_range(1..=amount),
            self.random.random_bool(0.7),
        );
        let request = json!({
            "id": id, "account": account, "holdId": hold, "amountMinor": part.to_string(),
            "toAccount": FUNDER, "final": last, "actor": "test",
        });
        sent("CaptureHold", request, asked)
    }
}

fn sent(method: &'static str, request: Value, asked: Vec<Asked>) -> Sent {
    Sent {
        method,
        request,
        asked,
        answer: None,
    }
}
