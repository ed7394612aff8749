//! A ledger over the simulated engine, called as RPC calls it, without a network.

#![allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "each test uses a part of it"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use buffa::Message as _;
use bytes::Bytes;
use connectrpc::{CodecFormat, Encodable as _};
use lombard_contracts::bank::ledger::v1::{
    Account, Address, AddressBalance, CreateAccountRequest, CreateEntriesRequest,
    CreateEntriesResponse, Entry, Floor, GetBalancesRequest, GetEntryRequest, GetEntryResponse,
    Leg,
};
use lombard_ledger::audit::{Report, RowsPage, Source, check};
use lombard_ledger::coordinator::{Coordinator, Pass};
use lombard_ledger::decide::decide;
use lombard_ledger::service::Failure;
use lombard_ledger::types::{self, EntryId};
use lombard_ledger::{Ledger, NAME, Options};
use lombard_money::Currency;
use lombard_service::{Host, SimulatedClock};
use lombard_store::simulated::{Faults, Kind, Simulated, SimulatedOptions, TurnSpawner};
use lombard_store::{Store, StoreError, StoreOptions};
use tokio::sync::Mutex;

/// 2026-01-05 09:00:00 UTC, a Monday.
pub const MONDAY_US: i64 = 1_767_603_600_000_000;
pub const SECOND_US: i64 = 1_000_000;

/// Calls a handler as the server does, with a message that was encoded and decoded in place.
macro_rules! call {
    ($bank:expr, $method:ident($Request:ty), $message:expr) => {{
        let message: $Request = $message;
        let body = bytes::Bytes::from(buffa::Message::encode_to_vec(&message));
        let view = <$Request as buffa::HasMessageView>::decode_view(&body).unwrap();
        let request = connectrpc::ServiceRequest::<$Request>::from_parts(&view, &body);
        let context = connectrpc::RequestContext::new(http::HeaderMap::new());
        let called = lombard_contracts::bank::ledger::v1::LedgerService::$method(
            &$bank.ledger,
            context,
            request,
        );
        called
            .await
            .map(|answer| answer.body)
            .map_err(|error| lombard_rpc::Error::from_connect(&error))
    }};
}
pub(crate) use call;

/// As `call!`: a batch's answer comes encoded.
pub async fn create_entries(
    ledger: &Ledger,
    message: CreateEntriesRequest,
) -> Result<CreateEntriesResponse, lombard_rpc::Error> {
    struct Seat {
        ledger: Ledger,
    }
    let seat = Seat {
        ledger: ledger.clone(),
    };
    let answer = call!(seat, create_entries(CreateEntriesRequest), message)?;
    let encoded = answer.encode(CodecFormat::Proto).unwrap();
    Ok(CreateEntriesResponse::decode_from_slice(&encoded).unwrap())
}

/// A ledger, its engine and its clock.
pub struct Bank {
    pub engine: Arc<Simulated>,
    pub ledger: Ledger,
    pub host: Host,
    pub clock: SimulatedClock,
    options: Options,
    lives: u64,
    /// What finishes what calls leave behind; none until it could be opened.
    coordinator: Mutex<Option<Coordinator>>,
}

impl Bank {
    /// Without faults.
    pub async fn new() -> Self {
        Self::with(Kind::OneLog, 1, Options::default()).await
    }

    pub async fn with(kind: Kind, seed: u64, options: Options) -> Self {
        let (host, clock) = Host::simulated(seed, MONDAY_US);
        let engine = Arc::new(Simulated::new(SimulatedOptions::new(kind, seed)));
        let ledger = ledger(engine.clone(), &host, &options, 1).await;
        Self {
            engine,
            ledger,
            host,
            clock,
            options,
            lives: 1,
            coordinator: Mutex::new(None),
        }
    }

    pub fn now_us(&self) -> i64 {
        self.host.now_us()
    }

    pub fn advance_us(&self, us: i64) {
        self.clock
            .advance(std::time::Duration::from_micros(us.unsigned_abs()));
    }

    /// Pulls the plug and starts again over what was durable.
    pub async fn crash(&mut self) {
        self.engine = Arc::new(self.engine.crash());
        self.lives += 1;
        self.ledger = ledger(self.engine.clone(), &self.host, &self.options, self.lives).await;
        *self.coordinator.lock().await = None;
    }

    /// Another process of the ledger on the same store.
    pub async fn beside(&self) -> Self {
        let (engine, lives) = (self.engine.clone(), self.lives + 1);
        Self {
            ledger: ledger(engine.clone(), &self.host, &self.options, lives).await,
            engine,
            host: self.host.clone(),
            clock: self.clock.clone(),
            options: self.options.clone(),
            lives,
            coordinator: Mutex::new(None),
        }
    }

    /// The process ends in order.
    pub async fn leave(&self) {
        self.pass().await.unwrap();
        if let Some(coordinator) = self.coordinator.lock().await.as_mut() {
            coordinator.leave().await.unwrap();
        }
    }

    /// Decides an entry at home and does nothing more, as if the process had died there.
    pub async fn decide_only(&self, number: u64, from: &str, to: &str, amount_minor: i64) {
        let leg = |account: &str, amount_minor| types::Leg {
            account: account.into(),
            address: "customer/main".into(),
            currency: Currency::parse("GBP").unwrap(),
            amount_minor,
        };
        let entry = types::Entry {
            id: EntryId::parse(&id(MONDAY_US, number)).unwrap(),
            home: from.into(),
            legs: vec![leg(from, -amount_minor), leg(to, amount_minor)],
            value_day: None,
            reference: String::new(),
            metadata: BTreeMap::new(),
            actor: String::new(),
            up_to_available: false,
            hold: None,
            reverses: None,
        };
        let entities = [(to.into(), "default".into())];
        let now_us = self.now_us();
        let keyspace = self.ledger.keyspace();
        let decided = keyspace
            .update(from.as_bytes(), |rows| {
                decide(rows, &entry, &entry.legs, &entities, now_us)
            })
            .await
            .unwrap();
        decided.durable(keyspace).await.unwrap().unwrap();
    }

    /// What is known of an entry of alice's.
    pub async fn entry(&self, number: u64) -> GetEntryResponse {
        let request = GetEntryRequest {
            id: id(MONDAY_US, number),
            home: "alice".to_owned(),
            ..Default::default()
        };
        call!(self, get_entry(GetEntryRequest), request).unwrap()
    }

    /// What finishes what calls leave behind.
    pub async fn open_coordinator(&self) -> Result<Coordinator, StoreError> {
        let (flow, in_flight) = (self.ledger.flow().clone(), self.ledger.in_flight().clone());
        Coordinator::open(flow, in_flight, self.host.clone(), &self.options).await
    }

    /// What the service does beside its calls: finishes what was left half carried.
    pub async fn pass(&self) -> Result<Pass, StoreError> {
        let mut coordinator = self.coordinator.lock().await;
        if coordinator.is_none() {
            *coordinator = Some(self.open_coordinator().await?);
        }
        match coordinator.as_mut() {
            Some(coordinator) => coordinator.pass(|| true).await,
            None => Ok(Pass::default()),
        }
    }

    /// Finishes all that was left, without faults from now on: no entry is in flight then.
    pub async fn settle(&mut self) {
        self.engine.set_faults(Faults::default());
        if self.pass().await.is_err() {
            // A failed flush had closed the engine.
            self.crash().await;
            self.engine.set_faults(Faults::default());
        }
        for _ in 0..4 {
            self.pass().await.unwrap();
            self.advance_us(i64::try_from(self.options.reservation_timeout_ms).unwrap() * 1_000);
        }
        assert_eq!(self.ledger.in_flight().counts(), (0, 0));
        assert_eq!(self.ledger.in_flight().silent(), 0);
    }

    /// The auditor's report.
    pub async fn check(&self) -> Report {
        check(&Stored(&self.ledger), i64::MAX, |_| {})
            .await
            .unwrap()
    }

    /// Nothing is wrong and nothing is on its way.
    pub async fn assert_right(&self, what: &str) -> Report {
        let report = self.check().await;
        assert!(report.findings.is_empty(), "{what}: {:#?}", report.findings);
        assert_eq!((report.in_flight, report.reserved), (0, 0), "{what}");
        assert!(
            report.sums.values().all(|sum| *sum == 0),
            "{what}: {:?}",
            report.sums
        );
        report
    }

    /// Opens an account; each address is "namespace/name CUR" or "namespace/name CUR floor".
    pub async fn open(&self, id: &str, addresses: &[&str]) -> Account {
        self.open_in("", id, addresses).await
    }

    pub async fn open_in(&self, entity: &str, id: &str, addresses: &[&str]) -> Account {
        let answer = call!(
            self,
            create_account(CreateAccountRequest),
            CreateAccountRequest {
                id: id.to_owned(),
                entity: entity.to_owned(),
                addresses: addresses.iter().map(|text| address(text)).collect(),
                ..Default::default()
            }
        );
        answer.unwrap().account.into_option().unwrap()
    }

    /// Balances now, as "namespace/name CUR amount".
    pub async fn balances(&self, account: &str) -> Vec<String> {
        let request = GetBalancesRequest {
            account: account.to_owned(),
            ..Default::default()
        };
        let answer = call!(self, get_balances(GetBalancesRequest), request).unwrap();
        answer.balances.iter().map(line).collect()
    }
}

fn line(balance: &AddressBalance) -> String {
    format!(
        "{} {} {}",
        balance.address, balance.currency, balance.balance_minor
    )
}

async fn ledger(engine: Arc<Simulated>, host: &Host, options: &Options, instance: u64) -> Ledger {
    let store_options = StoreOptions {
        spawner: Arc::new(TurnSpawner),
        ..StoreOptions::new(instance)
    };
    let store = Store::new(engine, store_options);
    loop {
        // The engine may be unavailable at the start, too.
        if let Ok(keyspace) = store.keyspace(NAME).await {
            return Ledger::new(keyspace, host.clone(), options.clone());
        }
    }
}

/// "customer/main GBP 0" as an address with a floor of 0, without a number as one without a floor.
pub fn address(text: &str) -> Address {
    let mut words = text.split(' ');
    let mut next = || words.next().unwrap_or_default();
    let (address, currency, floor) = (next(), next(), next());
    let minimum = (!floor.is_empty()).then(|| Floor {
        minimum_minor: floor.parse().unwrap(),
        ..Default::default()
    });
    Address {
        address: address.to_owned(),
        currency: currency.to_owned(),
        floor: minimum.into(),
        ..Default::default()
    }
}

/// A leg in pounds on the main address.
pub fn leg(account: &str, amount_minor: i64) -> Leg {
    leg_on(account, "", "GBP", amount_minor)
}

pub fn leg_on(account: &str, address: &str, currency: &str, amount_minor: i64) -> Leg {
    Leg {
        account: account.to_owned(),
        address: address.to_owned(),
        currency: currency.to_owned(),
        amount_minor,
        ..Default::default()
    }
}

/// An id of that millisecond, told from others by a number.
pub fn id(now_us: i64, number: u64) -> String {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&(now_us / 1_000).to_be_bytes()[2..]);
    id[6] = 0x70;
    id[8..].copy_from_slice(&(number | 1 << 63).to_be_bytes());
    EntryId(id).to_string()
}

/// From one account to another, in pounds.
pub fn payment(id: &str, from: &str, to: &str, amount_minor: i64) -> Entry {
    Entry {
        id: id.to_owned(),
        legs: vec![leg(from, -amount_minor), leg(to, amount_minor)],
        ..Default::default()
    }
}

/// The auditor's eyes: the rows as they are stored.
pub struct Stored<'a>(pub &'a Ledger);

impl Source for Stored<'_> {
    type Error = Failure;

    async fn accounts(&self, after: &str, limit: usize) -> Result<Vec<String>, Failure> {
        let page = self.0.accounts(after, limit).await?;
        Ok(page
            .accounts
            .into_iter()
            .map(|account| account.id)
            .collect())
    }

    async fn rows(&self, account: &str, after_key: &[u8]) -> Result<RowsPage, Failure> {
        let page = self.0.rows(account, after_key, 100).await?;
        Ok(RowsPage {
            rows: page
                .rows
                .into_iter()
                .map(|row| (Bytes::from(row.key), Bytes::from(row.value)))
                .collect(),
            more: page.more,
            version: page.version,
        })
    }
}
