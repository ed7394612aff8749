//! A ledger's client as an outsider writes it.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::bank::Bank;
use crate::http::{Answer, Connection};

/// What is not carried out within this time never will be.
const PATIENCE: Duration = Duration::from_secs(30);

/// Balances by account and address.
pub type Balances = BTreeMap<(String, String), i64>;

/// A connection to a ledger.
#[derive(Debug)]
pub struct Ledger(Connection);

/// The wall clock in microseconds.
pub fn now_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_micros()).unwrap()
}

/// A new id: UUIDv7.
pub fn id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    let ms = u64::try_from(now_us() / 1_000).unwrap();
    let mut random = [0; 10];
    random[2..].copy_from_slice(&count.to_be_bytes());
    // Processes that run one after the other must not meet either.
    random[..2].copy_from_slice(
        &u16::try_from(std::process::id() & 0xffff)
            .unwrap()
            .to_be_bytes(),
    );
    uuid::Builder::from_unix_timestamp_millis(ms, &random)
        .into_uuid()
        .to_string()
}

/// A leg in GBP.
pub fn leg(account: &str, address: &str, amount_minor: i64) -> Value {
    json!({"account": account, "address": address, "currency": "GBP", "amountMinor": amount_minor.to_string()})
}

/// An entry over customers' main addresses.
pub fn entry(id: &str, legs: &[(&str, i64)]) -> Value {
    let legs: Vec<Value> = legs
        .iter()
        .map(|(account, amount)| leg(account, "customer/main", *amount))
        .collect();
    json!({"id": id, "legs": legs, "actor": "test"})
}

/// An `int64` of JSON: a string, and left out where it is 0.
pub fn int(value: &Value) -> i64 {
    match value {
        Value::Null => 0,
        Value::String(text) => text.parse().unwrap(),
        other => other
            .as_i64()
            .unwrap_or_else(|| panic!("no number: {other}")),
    }
}

/// The field of an object as text; empty where it is left out.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

impl Ledger {
    /// Connects to a bank's ledger.
    pub fn of(bank: &Bank) -> Self {
        Self::at(bank.address("ledger")).unwrap()
    }

    /// Connects to an address.
    pub fn at(address: &str) -> io::Result<Self> {
        Connection::open(address).map(Self)
    }

    /// A call; fails where no whole answer came.
    pub fn try_call(&mut self, method: &str, request: &Value) -> io::Result<Answer> {
        self.0.call(&path(method), request)
    }

    /// A call that is answered.
    pub fn call(&mut self, method: &str, request: &Value) -> Answer {
        self.try_call(method, request)
            .unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Opens an account with `customer/main` and `customer/held`; a customer's has a floor of zero.
    pub fn open(&mut self, account: &str, floor: bool) {
        let mut main = json!({"address": "customer/main", "currency": "GBP"});
        let mut held = json!({"address": "customer/held", "currency": "GBP"});
        if floor {
            main["floor"] = json!({"minimumMinor": "0"});
            held["floor"] = json!({"minimumMinor": "0"});
        }
        let request = json!({"id": account, "addresses": [main, held], "actor": "test"});
        self.call("CreateAccount", &request).ok();
    }

    /// Commits an entry and expects it to be accepted.
    pub fn post(&mut self, legs: &[(&str, i64)]) -> String {
        let id = id();
        self.call("CreateEntry", &json!({"entry": entry(&id, legs)}))
            .ok();
        id
    }

    /// An account's addresses with their balances.
    pub fn balances(&mut self, account: &str) -> Balances {
        let answer = self.call("GetBalances", &json!({"account": account})).ok();
        let balances = answer["balances"].as_array().cloned().unwrap_or_default();
        balances
            .iter()
            .map(|balance| {
                let key = (account.to_owned(), text(&balance["address"]).to_owned());
                (key, int(&balance["balanceMinor"]))
            })
            .collect()
    }

    /// Every balance of every account.
    pub fn all_balances(&mut self) -> Balances {
        let mut all = Balances::new();
        let mut page = String::new();
        loop {
            let answer = self
                .call(
                    "TrialBalance",
                    &json!({"pageToken": page, "pageSize": 1000}),
                )
                .ok();
            for line in answer["lines"].as_array().into_iter().flatten() {
                let key = (
                    text(&line["account"]).to_owned(),
                    text(&line["address"]).to_owned(),
                );
                *all.entry(key).or_default() += int(&line["balanceMinor"]);
            }
            text(&answer["nextPageToken"]).clone_into(&mut page);
            if page.is_empty() {
                return all;
            }
        }
    }

    /// Every posting of an account, in booked order.
    pub fn postings(&mut self, account: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut page = String::new();
        loop {
            let request = json!({"account": account, "pageToken": page, "pageSize": 1000});
            let answer = self.call("ListPostings", &request).ok();
            all.extend(answer["postings"].as_array().cloned().unwrap_or_default());
            text(&answer["nextPageToken"]).clone_into(&mut page);
            if page.is_empty() {
                return all;
            }
        }
    }

    /// An entry as the ledger has it: nothing where it was not decided. Waits until it
    /// is carried to all its accounts.
    pub fn carried(&mut self, id: &str, home: &str) -> Option<Value> {
        let since = Instant::now();
        loop {
            let answer = self.call("GetEntry", &json!({"id": id, "home": home}));
            if answer.status == 404 {
                return None;
            }
            let found = answer.ok();
            if !found["refused"].is_null() {
                return None;
            }
            if found["complete"] == true {
                return Some(found);
            }
            assert!(since.elapsed() < PATIENCE, "half there for ever: {found}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until nothing is between its decision and its last leg, and no
    /// reservation waits for a decision.
    pub fn settle(&mut self) {
        let since = Instant::now();
        loop {
            let status = self.call("GetStatus", &json!({})).ok();
            if int(&status["inFlight"]) == 0 && int(&status["orphaned"]) == 0 {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "in flight for ever: {status}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The path of a ledger's method.
pub fn path(method: &str) -> String {
    format!("/bank.ledger.v1.LedgerService/{method}")
}
