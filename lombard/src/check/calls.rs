//! A ledger, read through its calls: what the auditor sees.
//!
//! The first pages of the next accounts are fetched ahead, so that the bank
//! reads while the auditor recomputes.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use lombard_contracts::bank::ledger::v1;
use lombard_ledger::audit::{RowsPage, Source};
use lombard_service::Host;
use tokio::sync::oneshot;

use crate::bank::Ledger;
use crate::failure::Failure;

/// Rows or accounts in one call.
const PAGE_SIZE: u32 = 1_000;
/// First pages that are fetched ahead: at most about 1 MiB each.
const AHEAD_MAX: usize = 16;

type Page = Result<RowsPage, Failure>;

/// A ledger, read through its calls.
pub struct Calls {
    ledger: Ledger,
    host: Host,
    ahead: Mutex<Ahead>,
}

#[derive(Default)]
struct Ahead {
    /// Accounts that will be asked for, in this order.
    names: VecDeque<String>,
    /// First pages that are on their way.
    pages: VecDeque<(String, oneshot::Receiver<Page>)>,
}

impl Calls {
    /// Reads through this client, in tasks of this host.
    pub fn new(ledger: Ledger, host: Host) -> Self {
        Self {
            ledger,
            host,
            ahead: Mutex::default(),
        }
    }

    /// The first page of an account, if it was fetched ahead; more are sent for.
    fn fetched(&self, account: &str) -> Option<oneshot::Receiver<Page>> {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match ahead.pages.front() {
            Some((name, _)) if name == account => ahead.pages.pop_front().map(|(_, page)| page),
            // Somebody reads in another order (an account once more): what was fetched stays.
            _ => None,
        };
        while ahead.pages.len() < AHEAD_MAX {
            let Some(name) = ahead.names.pop_front() else {
                break;
            };
            if name == account && found.is_none() {
                continue;
            }
            let (send, receive) = oneshot::channel();
            let (ledger, wanted) = (self.ledger.clone(), name.clone());
            self.host.tasks().spawn("check reads ahead", async move {
                // Nobody waits for it any more where the check has ended early.
                let _unwanted = send.send(page(&ledger, &wanted, &[]).await);
            });
            ahead.pages.push_back((name, receive));
        }
        found
    }
}

impl Source for Calls {
    type Error = Failure;

    async fn accounts(&self, after: &str, limit: usize) -> Result<Vec<String>, Failure> {
        let request = v1::ListAccountsRequest {
            page_token: after.to_owned(),
            page_size: u32::try_from(limit).unwrap_or(PAGE_SIZE).min(PAGE_SIZE),
            ..Default::default()
        };
        let page = self
            .ledger
            .list_accounts(request)
            .await
            .map_err(|error| unreadable("the accounts", &error))?;
        let accounts = page.into_owned().accounts;
        let names: Vec<String> = accounts.into_iter().map(|account| account.id).collect();
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.pages.clear();
        ahead.names = names.iter().cloned().collect();
        Ok(names)
    }

    async fn rows(&self, account: &str, after_key: &[u8]) -> Page {
        if after_key.is_empty()
            && let Some(fetched) = self.fetched(account)
            && let Ok(page) = fetched.await
        {
            return page;
        }
        page(&self.ledger, account, after_key).await
    }
}

async fn page(ledger: &Ledger, account: &str, after_key: &[u8]) -> Page {
    let request = v1::ReadRowsRequest {
        account: account.to_owned(),
        after_key: after_key.to_vec(),
        page_size: PAGE_SIZE,
        ..Default::default()
    };
    let page = ledger
        .read_rows(request)
        .await
        .map_err(|error| unreadable(&format!("account {account}"), &error))?
        .into_owned();
    let rows = page.rows.into_iter();
    Ok(RowsPage {
        rows: rows
            .map(|row| (Bytes::from(row.key), Bytes::from(row.value)))
            .collect(),
        more: page.more,
        version: page.version,
    })
}

fn unreadable(what: &str, error: &connectrpc::ConnectError) -> Failure {
    Failure::failed(format!(
        "cannot read {what}: {}",
        lombard_rpc::Error::from_connect(error)
    ))
}
