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
    /// When it was first asked for, by the clients' clock, in microseconds since 1970.
    pub asked_us: i64,
}

/// An entry that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// The entry.
    pub payment: Payment,
    /// The first answer.
    pub first: Posted,
    /// When that came, by the clients' clock, in microseconds since 1970.
    pub acknowledged_us: i64,
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

/// What came of sending every acknowledged entry again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SentAgain {
    /// The ids of those that were in: they got their first answer again.
    pub were_in: Vec<String>,
    /// The ids of those that were not, and are now.
    pub got_in: Vec<String>,
    /// Answers that cannot be, in words.
    pub wrong: Vec<String>,
}

impl Book {
    /// What of this must be there where the bank stands as at a moment (microseconds since
    /// 1970): what was acknowledged by then. What was on its way then may be, and nothing
    /// that was asked for later.
    pub fn as_of(&self, moment_us: i64) -> Self {
        let entries = self.entries.iter();
        let (must, later): (Vec<_>, Vec<_>) =
            entries.partition(|entry| entry.acknowledged_us <= moment_us);
        let on_their_way = later.iter().map(|entry| &entry.payment);
        let in_doubt = on_their_way
            .chain(&self.in_doubt)
            .filter(|payment| payment.asked_us <= moment_us);
        let in_doubt: Vec<Payment> = in_doubt.cloned().collect();
        let moves = |payment: &Payment, account: &str| match account {
            _ if payment.from == account => -payment.amount_minor,
            _ if payment.to == account => payment.amount_minor,
            _ => 0,
        };
        let accounts: Vec<Account> = self
            .accounts
            .iter()
            .map(|account| {
                let of = |payment: &Payment| moves(payment, &account.id);
                let mut doubts = in_doubt.iter().map(of).filter(|amount| *amount != 0);
                let mut account = account.clone();
                account.standing = Standing {
                    acknowledged_minor: must.iter().map(|entry| of(&entry.payment)).sum(),
                    // A client does one thing at a time, and nothing with an account in doubt.
                    in_doubt_minor: doubts.next(),
                };
                account
            })
            .collect();
        Self {
            accounts,
            entries: must.into_iter().cloned().collect(),
            in_doubt,
        }
    }
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

    /// From now on the clients call this ledger.
    pub fn reach(&mut self, ledger: &Ledger) {
        for client in &mut self.clients {
            client.reach(ledger);
        }
    }

    /// Sends every entry again that was acknowledged, each client its own in their order.
    ///
    /// # Errors
    /// One is refused, or not answered again and again.
    pub async fn send_again(&mut self) -> Result<SentAgain, DrillError> {
        let sent = self.clients.iter_mut().map(Client::send_again);
        let mut all = SentAgain::default();
        for mut sent in try_join_all(sent).await? {
            all.were_in.append(&mut sent.were_in);
            all.got_in.append(&mut sent.got_in);
            all.wrong.append(&mut sent.wrong);
        }
        Ok(all)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn payment(id: &str, asked_us: i64) -> Payment {
        Payment {
            id: id.to_owned(),
            from: "a".to_owned(),
            to: "b".to_owned(),
            amount_minor: 7,
            asked_us,
        }
    }

    fn acknowledged(id: &str, asked_us: i64, acknowledged_us: i64) -> Acknowledged {
        Acknowledged {
            payment: payment(id, asked_us),
            first: Posted {
                home: "a".to_owned(),
                booked_us: 1,
                legs: Vec::new(),
                replayed: false,
            },
            acknowledged_us,
            phase: None,
        }
    }

    #[test]
    fn at_a_moment_there_is_what_was_acknowledged_by_then_and_perhaps_what_was_on_its_way() {
        let account = |id: &str, acknowledged_minor| Account {
            id: id.to_owned(),
            opened_us: 1,
            standing: Standing {
                acknowledged_minor,
                in_doubt_minor: None,
            },
        };
        let book = Book {
            accounts: vec![account("a", -21), account("b", 21), account("c", 5)],
            entries: vec![
                acknowledged("before", 10, 20),
                acknowledged("between", 29, 31),
                acknowledged("behind", 31, 32),
            ],
            in_doubt: vec![payment("in doubt behind", 40)],
        };
        let then = book.as_of(30);
        let ids: Vec<&str> = then
            .entries
            .iter()
            .map(|entry| entry.payment.id.as_str())
            .collect();
        assert_eq!(ids, ["before"]);
        let perhaps: Vec<&str> = then
            .in_doubt
            .iter()
            .map(|payment| payment.id.as_str())
            .collect();
        assert_eq!(perhaps, ["between"]);
        let stands = |place: usize| {
            let standing = then.accounts[place].standing;
            (standing.acknowledged_minor, standing.in_doubt_minor)
        };
        assert_eq!(
            [stands(0), stands(1), stands(2)],
            [(-7, Some(-7)), (7, Some(7)), (0, None)]
        );
    }
}
