//! Where a command finds the bank: at an address, running on the data folder,
//! or in its own process.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lombard_contracts::bank::account::v1::AccountServiceClient;
use lombard_contracts::bank::customer::v1::CustomerServiceClient;
use lombard_contracts::bank::ledger::v1::LedgerServiceClient;
use lombard_rpc::client::{Channel, ChannelOptions};
use lombard_service::{Host, RunningApplication};
use lombard_store::Patience;
use lombard_store::embedded::Embedded;

use crate::Global;
use crate::assembly::{self, Assembled};
use crate::engine;
use crate::failure::Failure;
use crate::running::Running;

/// The name that callees see.
const CALLER: &str = "lombard-cli";

/// The ledger's client.
pub type Ledger = LedgerServiceClient<Channel>;
/// The customer service's client.
pub type Customers = CustomerServiceClient<Channel>;
/// The account service's client.
pub type Accounts = AccountServiceClient<Channel>;

/// A bank that answers calls.
pub struct Bank {
    host: Host,
    addresses: BTreeMap<String, String>,
    /// The application, where it runs in this process for this command only.
    own: Option<(RunningApplication, Option<Arc<Embedded>>)>,
}

impl Bank {
    /// The bank at `--address`, or the one that runs on the data folder, or these
    /// services, and those that they call, in this process.
    ///
    /// # Errors
    /// Nobody ever had a bank there, or it cannot be started on its folder.
    pub async fn reach(global: &Global, services: &[&str]) -> Result<Self, Failure> {
        if let Some(address) = &global.address {
            let address = address.trim_start_matches("http://").trim_end_matches('/');
            let addresses = services
                .iter()
                .map(|name| ((*name).to_owned(), address.to_owned()));
            return Ok(Self::at(Host::system(), addresses.collect()));
        }
        if let Some(running) = Running::find(global.data()) {
            return Ok(Self::at(Host::system(), running.addresses));
        }
        let data = global.data();
        let embedded = engine::is_embedded(&assembly::configuration(global)?)?;
        if embedded && !data.join(engine::STORE_FOLDER).is_dir() {
            return Err(Failure::failed(format!(
                "no bank runs on {} and none was ever there",
                data.display()
            ))
            .advise(
                "`lombard up` starts one; --data names another folder, --address a bank elsewhere",
            ));
        }
        Self::start(global, data, services).await
    }

    /// As [`Bank::reach`], but where there is no bank yet, one is made.
    ///
    /// # Errors
    /// No bank can be started on the data folder.
    pub async fn reach_or_make(global: &Global, services: &[&str]) -> Result<Self, Failure> {
        if global.address.is_some() || Running::find(global.data()).is_some() {
            return Self::reach(global, services).await;
        }
        Self::start(global, global.data(), services).await
    }

    /// These services, and those that they call, in this process, on free ports.
    ///
    /// # Errors
    /// The folder is in use, damaged, or cannot be written to.
    pub async fn start(global: &Global, data: &Path, services: &[&str]) -> Result<Self, Failure> {
        let needed = assembly::with_callees(services);
        let Assembled {
            application,
            embedded,
            ..
        } = assembly::assemble(global, data, &needed, 0, Patience::Once)?;
        let own = application.start().await.map_err(assembly::not_started)?;
        Ok(Self {
            host: own.host().clone(),
            addresses: assembly::addresses(&own),
            own: Some((own, embedded)),
        })
    }

    /// The bank that runs in this process.
    pub fn of_running(running: &RunningApplication) -> Self {
        Self::at(running.host().clone(), assembly::addresses(running))
    }

    fn at(host: Host, addresses: BTreeMap<String, String>) -> Self {
        Self {
            host,
            addresses,
            own: None,
        }
    }

    /// Stops what was started in this process.
    pub async fn leave(self) {
        if let Some((application, embedded)) = self.own {
            application.shutdown().await;
            if let Some(embedded) = embedded {
                embedded.close();
            }
        }
    }

    /// What this process is: its clock, ids and randomness.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// `HOST:PORT` of a service.
    ///
    /// # Errors
    /// The service does not run.
    pub fn address(&self, service: &str) -> Result<&str, Failure> {
        self.addresses.get(service).map(String::as_str).ok_or_else(|| {
            let known: Vec<&str> = self.addresses.keys().map(String::as_str).collect();
            Failure::failed(format!("the service {service} does not run")).advise(format!(
                "here run {}; name another place with --address, or stop the bank and start it with `lombard up`",
                known.join(", ")
            ))
        })
    }

    /// The way to a service.
    ///
    /// # Errors
    /// The service does not run, or its address cannot be read.
    pub fn channel(&self, service: &str) -> Result<Channel, Failure> {
        let address = self.address(service)?;
        self.host
            .channel(CALLER, [address], ChannelOptions::default())
            .map_err(|error| Failure::usage(error.message))
    }

    /// The ledger's client.
    ///
    /// # Errors
    /// The ledger does not run, or its address cannot be read.
    pub fn ledger(&self) -> Result<Ledger, Failure> {
        let channel = self.channel("ledger")?;
        let config = channel.config();
        Ok(Ledger::new(channel, config))
    }

    /// The customer service's client.
    ///
    /// # Errors
    /// It does not run, or its address cannot be read.
    pub fn customers(&self) -> Result<Customers, Failure> {
        let channel = self.channel("customer")?;
        let config = channel.config();
        Ok(Customers::new(channel, config))
    }

    /// The account service's client.
    ///
    /// # Errors
    /// It does not run, or its address cannot be read.
    pub fn accounts(&self) -> Result<Accounts, Failure> {
        let channel = self.channel("account")?;
        let config = channel.config();
        Ok(Accounts::new(channel, config))
    }
}
