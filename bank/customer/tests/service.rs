//! The service as its callers see it: over RPC, on the simulated engine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::collections::BTreeMap;
use std::sync::Arc;

use lombard_contracts::bank::customer::v1::{
    CreateCustomerRequest, CustomerServiceClient, GetCustomerRequest, ListCustomersRequest,
};
use lombard_rpc::Error;
use lombard_rpc::client::{Channel, ChannelOptions};
use lombard_service::{Application, Config, Host, RunningApplication};
use lombard_store::simulated::{Faults, Kind, Simulated, SimulatedOptions};
use lombard_store::{Store, StoreOptions};

struct Bank {
    running: RunningApplication,
    customers: CustomerServiceClient<Channel>,
}

async fn start(engine: Arc<Simulated>) -> Bank {
    let host = Host::system();
    let store = Store::new(engine, StoreOptions::new(1));
    let running = Application::new(host.clone(), Config::default(), store)
        .service(lombard_customer::NAME, lombard_customer::start)
        .start()
        .await
        .unwrap();
    let addresses = running.book().find(lombard_customer::NAME).to_vec();
    let channel = host
        .channel("test", addresses, ChannelOptions::default())
        .unwrap();
    let customers = CustomerServiceClient::new(channel.clone(), channel.config());
    Bank { running, customers }
}

fn request(id: &str, name: &str) -> CreateCustomerRequest {
    CreateCustomerRequest {
        id: id.to_owned(),
        name: name.to_owned(),
        ..Default::default()
    }
}

impl Bank {
    async fn create(&self, id: &str, name: &str) -> Result<bool, Error> {
        let answer = self.customers.create_customer(request(id, name)).await;
        answer
            .map(|answer| answer.view().replayed)
            .map_err(|error| Error::from_connect(&error))
    }

    async fn get(&self, id: &str) -> Result<String, Error> {
        let request = GetCustomerRequest {
            id: id.to_owned(),
            ..Default::default()
        };
        let answer = self.customers.get_customer(request).await;
        let answer = answer
            .map_err(|error| Error::from_connect(&error))?
            .into_owned();
        Ok(answer.customer.into_option().unwrap().name)
    }

    /// All customers, in pages of this size.
    async fn list(&self, page_size: u32) -> BTreeMap<String, String> {
        let (mut listed, mut page_token) = (BTreeMap::new(), String::new());
        loop {
            let request = ListCustomersRequest {
                page_token,
                page_size,
                ..Default::default()
            };
            let page = self
                .customers
                .list_customers(request)
                .await
                .unwrap()
                .into_owned();
            assert!(page.customers.len() <= page_size as usize);
            for customer in page.customers {
                assert_eq!(
                    listed.insert(customer.id, customer.name),
                    None,
                    "listed twice"
                );
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return listed;
            }
        }
    }
}

#[tokio::test]
async fn customers_are_created_found_and_listed() {
    let bank = start(Arc::new(Simulated::new(SimulatedOptions::new(
        Kind::OneLog,
        1,
    ))))
    .await;
    assert!(bank.list(10).await.is_empty());
    let names: BTreeMap<String, String> = (0..25)
        .map(|n| (format!("c{n}"), format!("Customer {n}")))
        .collect();
    for (id, name) in &names {
        assert_eq!(bank.create(id, name).await, Ok(false));
    }
    assert_eq!(bank.create("c7", "Customer 7").await, Ok(true));
    assert_eq!(bank.get("c7").await.unwrap(), "Customer 7");
    for page_size in [1, 7, 25, 100] {
        assert_eq!(bank.list(page_size).await, names);
    }

    let refused = bank.create("c7", "Someone else").await.unwrap_err();
    assert_eq!(
        (refused.reason.as_ref(), refused.domain.as_ref()),
        ("CUSTOMER_EXISTS_DIFFERENT", "customer")
    );
    assert_eq!(refused.metadata["field"], "name");
    let refused = bank.get("nobody").await.unwrap_err();
    assert_eq!(
        (
            refused.reason.as_ref(),
            refused.metadata["customer"].as_str()
        ),
        ("CUSTOMER_NOT_FOUND", "nobody")
    );
    let refused = bank.create("not an id", "Ada").await.unwrap_err();
    assert_eq!(refused.reason, "CUSTOMER_ID_INVALID");
    assert!(bank.running.shutdown().await.is_clean());
}

/// Whatever the engine does, a customer that was acknowledged is there once, and a client that
/// sends again gets there.
#[tokio::test]
async fn faults_neither_lose_nor_double_a_customer() {
    for (seed, kind) in (0..8).zip([Kind::OneLogShared, Kind::Replicated].into_iter().cycle()) {
        let mut options = SimulatedOptions::new(kind, seed);
        options.faults = match kind {
            Kind::Replicated => Faults::replicated(),
            _ => Faults::one_log(),
        };
        let engine = Arc::new(Simulated::new(options));
        let bank = start(engine.clone()).await;
        for n in 0..20 {
            let (id, name) = (format!("c{n}"), format!("Customer {n}"));
            while let Err(error) = bank.create(&id, &name).await {
                assert!(error.retryable, "{error}");
            }
        }
        engine.set_faults(Faults::default());
        let listed = bank.list(7).await;
        assert_eq!(listed.len(), 20, "seed {seed}");
        assert!(bank.running.shutdown().await.is_clean());
    }
}
