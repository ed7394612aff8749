//! Clients that work while a drill goes on, and remember what they were told.
//!
//! Each client has accounts of its own that nobody else touches, and does one thing at a
//! time: it knows what every answer must be. A small steady load, not a benchmark.

mod client;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use lombard_consistency::history::Posted;
use lombard_consistency::wire::Ledger;
use lombard_service::Host;

use crate::DrillError;
use crate::judge::Standing;
use crate::observed::Observed;

use self::client::Client;

/// Where an account's money is.
pub const ADDRESS: &str = "customer/main";
/// What it is in.
pub const CURRENCY: &str = "GBP";
/// What each account is given to begin with, in minor units.
const FUNDS_MINOR: i64 = 10_000;
/// The account that it comes from. It has no floor.
const TREASURY: &str = "drill-treasury";
/// Clients; each does one thing at a time.
pub const CLIENTS: u32 = 6;
/// Accounts at least: each client pays from one of its own to another.
pub const ACCOUNTS_MIN: u32 = 2 * CLIENTS;
/// Between two calls of a client, at most.
const PAUSE_MAX: Duration = Duration::from_millis(80);

/// An account that a client has opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: String,
    /// When it was opened, as the ledger said first.
    pub opened_us: i64,
    /// What may be read of it.
    pub standing: Standing,
}

/// An entry from one account to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Its id.
    pub id: String,
    /// Who pays.
    pub from: String,
    /// Who is paid.
    pub to: String,
    /// What, in minor units.
    pub amount_minor: i64,
}

/// An entry that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// The entry.
    pub payment: Payment,
    /// The first answer.
    pub first: Posted,
    /// In which phase, from 0; none: before the first.
    pub phase: Option<usize>,
}

/// Clients, and what they know.
pub struct Load {
    clients: Vec<Client>,
}

/// All that clients know, at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Book {
    /// Every account; one that none of them owns, which gave the money, is the last.
    pub accounts: Vec<Account>,
    /// Every entry that was acknowledged.
    pub entries: Vec<Acknowledged>,
    /// Every entry of which nobody knows whether it is in.
    pub in_doubt: Vec<Payment>,
}

impl Load {
    /// Opens so many accounts, and gives each some money.
    ///
    /// # Errors
    /// An account could not be opened, or not be given its money.
    pub async fn open(
        host: &Host,
        ledger: &Ledger,
        accounts: u32,
        seed: u64,
        observed: &Arc<Observed>,
    ) -> Result<Self, DrillError> {
        let client = |number| Client::new(number, host, ledger, seed, observed);
        client(CLIENTS).open(TREASURY, None).await?;
        let opened = (0..CLIENTS).map(|number| async move {
            let mut client = client(number);
            for account in (number..accounts).step_by(CLIENTS as usize) {
                client.take(&format!("drill-{account:06}")).await?;
            }
            Ok::<_, DrillError>(client)
        });
        Ok(Self {
            clients: try_join_all(opened).await?,
        })
    }

    /// Lets the clients work until it is over. None leaves a call unfinished.
    pub async fn work(&mut self, over: &AtomicBool) {
        join_all(self.clients.iter_mut().map(|client| client.work(over))).await;
    }

    /// Sends what is in doubt again until it is known, at most for so long. How many are
    /// left.
    pub async fn settle(&mut self, patience: Duration) -> usize {
        let settled = self
            .clients
            .iter_mut()
            .map(|client| client.settle(patience));
        join_all(settled).await.into_iter().sum()
    }

    /// All that the clients know.
    pub fn book(&self) -> Book {
        let mut book = Book::default();
        for client in &self.clients {
            client.tell(&mut book);
        }
        let given: i64 = book
            .entries
            .iter()
            .filter(|entry| entry.payment.from == TREASURY)
            .map(|entry| entry.payment.amount_minor)
            .sum();
        book.accounts.push(Account {
            id: TREASURY.to_owned(),
            opened_us: 0,
            standing: Standing {
                acknowledged_minor: -given,
                in_doubt_minor: None,
            },
        });
        book
    }
}
