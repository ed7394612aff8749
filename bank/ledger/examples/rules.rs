//! What an entry costs in the rules alone: decided and carried over partitions
//! in plain memory, without store, network or disk.
//!
//! `cargo run --release -p lombard-ledger --example rules -- ENTRIES ACCOUNTS`

#![expect(
    clippy::expect_used,
    reason = "a measurement stops at the first thing that is wrong"
)]

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use bytes::Bytes;
use lombard_ledger::admin::{self, NewAddress, OpenAccount};
use lombard_ledger::apply::{Carried, apply};
use lombard_ledger::decide::decide;
use lombard_ledger::types::{Entry, EntryId, Leg, MAIN_ADDRESS};
use lombard_money::Currency;
use lombard_store::{Change, Changes, Fault, Row, RowRange, RowSource, Rows, Version};

/// A row key that is compared without following a pointer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key([u8; 32], u8);

impl From<&[u8]> for Key {
    fn from(key: &[u8]) -> Self {
        let mut inline = [0; 32];
        inline[..key.len()].copy_from_slice(key);
        Self(inline, key.len() as u8)
    }
}

#[derive(Default)]
struct Partition(BTreeMap<Key, Bytes>);

impl Partition {
    fn take(&mut self, changes: Changes) {
        for (key, change) in changes.rows {
            match change {
                Change::Put(value) | Change::New(value) | Change::Event(value) => {
                    self.0.insert(Key::from(key.as_ref()), value)
                }
                Change::Delete => self.0.remove(&Key::from(key.as_ref())),
            };
        }
    }
}

impl RowSource for Partition {
    fn version(&self) -> Version {
        Version(u64::from(!self.0.is_empty()))
    }
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        Ok(self.0.get(&Key::from(key)).cloned())
    }
    fn range(&self, range: &RowRange) -> Result<Vec<Row>, Fault> {
        let rows = self
            .0
            .iter()
            .filter(|(key, _)| range.contains(&key.0[..usize::from(key.1)]));
        Ok(rows
            .map(|(key, value)| {
                (
                    Bytes::copy_from_slice(&key.0[..usize::from(key.1)]),
                    value.clone(),
                )
            })
            .take(range.limit)
            .collect())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a measurement is about the real clock"
)]
fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse::<usize>().ok());
    let entries = arguments.next().unwrap_or(500_000);
    let accounts = arguments.next().unwrap_or(1_000);
    let pounds = Currency::parse("GBP").expect("a currency");
    let mut partitions: HashMap<String, Partition> = HashMap::new();
    for number in 0..accounts {
        let id = format!("account-{number}");
        let asked = OpenAccount {
            id: id.clone(),
            entity: "default".to_owned(),
            addresses: vec![NewAddress {
                address: MAIN_ADDRESS.to_owned(),
                currency: "GBP".to_owned(),
                floor: None,
            }],
            metadata: BTreeMap::new(),
            actor: "bench".to_owned(),
        };
        let mut partition = Partition::default();
        let mut rows = Rows::new(&partition);
        admin::open(&mut rows, 1, &asked).expect("opens");
        let changes = rows.into_changes();
        partition.take(changes);
        partitions.insert(id, partition);
    }
    let started = Instant::now();
    for number in 0..entries {
        let from = format!("account-{}", number * 7919 % accounts);
        let to = format!("account-{}", (number * 7919 + 1) % accounts);
        let leg = |account: &str, amount_minor| Leg {
            account: account.into(),
            address: MAIN_ADDRESS.into(),
            currency: pounds,
            amount_minor,
        };
        let mut id = [0; 16];
        id[8..].copy_from_slice(&(number as u64 + 1).to_be_bytes());
        let entry = Entry {
            id: EntryId(id),
            home: from.as_str().into(),
            legs: vec![leg(&from, -100), leg(&to, 100)],
            value_day: None,
            reference: String::new(),
            metadata: BTreeMap::new(),
            actor: String::new(),
            up_to_available: false,
            hold: None,
            reverses: None,
        };
        let now_us = 1_000_000 + number as i64;
        let home = partitions.get_mut(&from).expect("open");
        let mut rows = Rows::new(home);
        let decided = decide(&mut rows, &entry, &entry.legs, &[], now_us).expect("decides");
        let changes = rows.into_changes();
        home.take(changes);
        let other = partitions.get_mut(&to).expect("open");
        let mut rows = Rows::new(other);
        let carried = Carried {
            id: entry.id,
            digest: decided.digest,
            home: &from,
            decided_us: decided.booked_us,
            value_day: decided.value_day,
            reference: "",
            actor: "",
            legs: &decided.legs,
            now_us,
        };
        apply(&mut rows, &to, &carried).expect("applies");
        let changes = rows.into_changes();
        other.take(changes);
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{entries} entries over {accounts} accounts: {:.2} µs an entry",
        seconds * 1e6 / entries as f64
    );
}
