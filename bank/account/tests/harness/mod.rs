//! A bank of three real services in one process, and what a client does with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lombard_account::Numbering;
use lombard_account::opening::Openings;
use lombard_contracts::bank::account::v1::{
    AccountServiceClient, AccountState, CloseAccountRequest, CurrentAccount, FreezeAccountRequest,
    GetAccountRequest, GetStatementRequest, ListAccountsRequest, OpenAccountRequest,
};
use lombard_contracts::bank::customer::v1::{CreateCustomerRequest, CustomerServiceClient};
use lombard_contracts::bank::ledger::v1 as ledger;
use lombard_rpc::Error;
use lombard_rpc::client::{Channel, ChannelOptions};
use lombard_service::{Application, Config, Host, RunningApplication};
use lombard_store::simulated::{Faults, Kind, Simulated, SimulatedOptions};
use lombard_store::{Keyspace, Store, StoreOptions};

pub struct Bank {
    running: RunningApplication,
    accounts: AccountServiceClient<Channel>,
    customers: CustomerServiceClient<Channel>,
    ledger: ledger::LedgerServiceClient<Channel>,
}

pub fn engine(kind: Kind, seed: u64) -> Arc<Simulated> {
    Arc::new(Simulated::new(SimulatedOptions::new(kind, seed)))
}

pub fn faulty(kind: Kind, seed: u64) -> Arc<Simulated> {
    let faults = faults_of(kind);
    Arc::new(Simulated::new(SimulatedOptions {
        faults,
        ..SimulatedOptions::new(kind, seed)
    }))
}

pub fn faults_of(kind: Kind) -> Faults {
    match kind {
        Kind::Replicated => Faults::replicated(),
        _ => Faults::one_log(),
    }
}

type Flags<const N: usize> = [(&'static str, &'static str); N];

fn application<const N: usize>(engine: Arc<Simulated>, flags: Flags<N>) -> Application {
    let flags = flags.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let config = Config::load(None, [], flags).unwrap();
    let store = Store::new(engine, StoreOptions::new(1));
    Application::new(Host::system(), config, store)
        .service(lombard_customer::NAME, lombard_customer::start)
}

fn channel(running: &RunningApplication, name: &str) -> Channel {
    let addresses = running.book().find(name).to_vec();
    let options = ChannelOptions::default();
    running.host().channel("test", addresses, options).unwrap()
}

impl Bank {
    pub async fn start<const N: usize>(engine: Arc<Simulated>, flags: Flags<N>) -> Self {
        let application = application(engine, flags);
        Self::run(application.service(lombard_ledger::NAME, lombard_ledger::start)).await
    }

    pub async fn start_without_ledger<const N: usize>(
        engine: Arc<Simulated>,
        flags: Flags<N>,
    ) -> Self {
        Self::run(application(engine, flags)).await
    }

    async fn run(application: Application) -> Self {
        let application = application.service(lombard_account::NAME, lombard_account::start);
        let running = application.start().await.unwrap();
        let channel = |name: &str| channel(&running, name);
        let (accounts, customers) = (channel("account"), channel("customer"));
        let ledger = channel("ledger");
        Self {
            accounts: AccountServiceClient::new(accounts.clone(), accounts.config()),
            customers: CustomerServiceClient::new(customers.clone(), customers.config()),
            ledger: ledger::LedgerServiceClient::new(ledger.clone(), ledger.config()),
            running,
        }
    }

    /// The flow of openings over a keyspace of the caller's, with this bank's other services.
    pub fn openings(&self, keyspace: Keyspace) -> Openings {
        let numbering = Numbering::new("00-04-04", "LMBD", 10_000_000, None).unwrap();
        Openings::new(
            keyspace,
            self.ledger.clone(),
            self.customers.clone(),
            numbering,
        )
    }

    pub async fn stop(self) {
        let stopped = self.running.shutdown().await;
        assert!(stopped.is_clean(), "{stopped:?}");
    }

    pub async fn customer(&self, id: &str) {
        let request = CreateCustomerRequest {
            id: id.to_owned(),
            name: "Ada Lovelace".to_owned(),
            ..Default::default()
        };
        self.customers.create_customer(request).await.unwrap();
    }

    /// An account of the bank's own, with no floor, straight in the ledger.
    pub async fn cash(&self, id: &str) {
        let address = ledger::Address {
            address: "customer/main".to_owned(),
            currency: "GBP".to_owned(),
            ..Default::default()
        };
        let request = ledger::CreateAccountRequest {
            id: id.to_owned(),
            addresses: vec![address],
            ..Default::default()
        };
        self.ledger.create_account(request).await.unwrap();
    }

    pub async fn pay(&self, from: &str, to: &str, amount_minor: i64) -> Result<(), Error> {
        let leg = |account: &str, amount_minor| ledger::Leg {
            account: account.to_owned(),
            currency: "GBP".to_owned(),
            amount_minor,
            ..Default::default()
        };
        let entry = ledger::Entry {
            id: self.running.host().id().to_string(),
            legs: vec![leg(from, -amount_minor), leg(to, amount_minor)],
            ..Default::default()
        };
        let request = ledger::CreateEntryRequest {
            entry: entry.into(),
            ..Default::default()
        };
        let answer = self.ledger.create_entry(request).await;
        answer
            .map(|_| ())
            .map_err(|error| Error::from_connect(&error))
    }

    pub async fn open(
        &self,
        id: &str,
        customer: &str,
        overdraft_minor: i64,
    ) -> Result<(CurrentAccount, bool), Error> {
        let request = OpenAccountRequest {
            id: id.to_owned(),
            customer_id: customer.to_owned(),
            overdraft_minor,
            actor: "test".to_owned(),
            ..Default::default()
        };
        let answer = self.accounts.open_account(request).await;
        let answer = answer
            .map_err(|error| Error::from_connect(&error))?
            .into_owned();
        Ok((answer.account.into_option().unwrap(), answer.replayed))
    }

    /// The account, and its balances by definition.
    pub async fn get(&self, id: &str) -> Result<(CurrentAccount, BTreeMap<String, i64>), Error> {
        let request = GetAccountRequest {
            id: id.to_owned(),
            ..Default::default()
        };
        let answer = self.accounts.get_account(request).await;
        let answer = answer
            .map_err(|error| Error::from_connect(&error))?
            .into_owned();
        let balances = answer
            .balances
            .into_iter()
            .map(|b| (b.definition, b.balance_minor));
        Ok((answer.account.into_option().unwrap(), balances.collect()))
    }

    /// The account once the coordinator has opened it.
    pub async fn until_open(&self, id: &str) -> CurrentAccount {
        for _ in 0..1_000 {
            let (account, _) = self.get(id).await.unwrap();
            if account.state == AccountState::Open {
                return account;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{id} is still not open");
    }

    /// The ids of a customer's accounts, read in pages of this size.
    pub async fn list(&self, customer: &str, page_size: u32) -> Vec<String> {
        let (mut ids, mut page_token) = (Vec::new(), String::new());
        loop {
            let customer_id = customer.to_owned();
            let request = ListAccountsRequest {
                customer_id,
                page_token,
                page_size,
                ..Default::default()
            };
            let page = self
                .accounts
                .list_accounts(request)
                .await
                .unwrap()
                .into_owned();
            assert!(page.accounts.len() <= page_size as usize);
            ids.extend(page.accounts.into_iter().map(|account| account.id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return ids;
            }
        }
    }

    /// Amounts and running balances, read in pages of this size.
    pub async fn statement(&self, id: &str, page_size: u32, descending: bool) -> Vec<(i64, i64)> {
        let (mut lines, mut page_token) = (Vec::new(), String::new());
        loop {
            let id = id.to_owned();
            let request = GetStatementRequest {
                id,
                page_token,
                page_size,
                descending,
                ..Default::default()
            };
            let page = self
                .accounts
                .get_statement(request)
                .await
                .unwrap()
                .into_owned();
            assert!(page.lines.len() <= page_size as usize);
            assert_eq!(page.currency, "GBP");
            lines.extend(
                page.lines
                    .iter()
                    .map(|line| (line.amount_minor, line.balance_minor)),
            );
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return lines;
            }
        }
    }

    pub async fn freeze(
        &self,
        id: &str,
        debits: bool,
        credits: bool,
    ) -> Result<CurrentAccount, Error> {
        let request = FreezeAccountRequest {
            id: id.to_owned(),
            debits,
            credits,
            ..Default::default()
        };
        let answer = self.accounts.freeze_account(request).await;
        let answer = answer
            .map_err(|error| Error::from_connect(&error))?
            .into_owned();
        Ok(answer.account.into_option().unwrap())
    }

    pub async fn close(&self, id: &str) -> Result<CurrentAccount, Error> {
        let request = CloseAccountRequest {
            id: id.to_owned(),
            ..Default::default()
        };
        let answer = self.accounts.close_account(request).await;
        let answer = answer
            .map_err(|error| Error::from_connect(&error))?
            .into_owned();
        Ok(answer.account.into_option().unwrap())
    }
}
