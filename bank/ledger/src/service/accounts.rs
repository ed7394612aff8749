//! Administration of accounts.

use std::collections::BTreeMap;

use lombard_contracts::bank::ledger::v1::{
    Account, CreateAccountResponse, GetAccountResponse, ListAccountsResponse,
};
use lombard_store::{Position, Rows, Stop};

use super::{Failure, Ledger};
use crate::admin::{self, NewAddress, OpenAccount};
use crate::book::Book;
use crate::reads;
use crate::refusal::Refusal;
use crate::rows::Head;
use crate::state::State;

/// Partitions of the ledger that are no accounts begin with this.
const INTERNAL: u8 = b'~';

impl Ledger {
    /// Opens an account; the same again gives the first answer.
    ///
    /// # Errors
    /// `ACCOUNT_ID_REUSED` with other content; the store's failure.
    pub async fn open_account(
        &self,
        asked: &OpenAccount,
    ) -> Result<CreateAccountResponse, Failure> {
        let now_us = self.now_us();
        let (head, state, replayed) = self
            .change(&asked.id, |rows| admin::open(rows, now_us, asked))
            .await?;
        Ok(CreateAccountResponse {
            account: Some(reads::account::message(&head, &state)).into(),
            replayed,
            ..CreateAccountResponse::default()
        })
    }

    /// Adds addresses to an account.
    ///
    /// # Errors
    /// As [`admin::add_addresses`]; the store's failure.
    pub async fn add_addresses(
        &self,
        account: &str,
        new: &[NewAddress],
        actor: &str,
    ) -> Result<Account, Failure> {
        self.administer(account, |rows, now_us| {
            admin::add_addresses(rows, now_us, account, new, actor)
        })
        .await
    }

    /// Sets or clears the floor of one address.
    ///
    /// # Errors
    /// As [`admin::set_floor`]; the store's failure.
    pub async fn set_floor(
        &self,
        account: &str,
        address: &NewAddress,
        actor: &str,
    ) -> Result<Account, Failure> {
        self.change_terms(account, |rows, now_us| {
            admin::set_floor(rows, now_us, account, address, actor)
        })
        .await
    }

    /// Sets which directions (debits, credits) are frozen.
    ///
    /// # Errors
    /// As [`admin::freeze`]; the store's failure.
    pub async fn freeze(
        &self,
        account: &str,
        directions: (bool, bool),
        actor: &str,
    ) -> Result<Account, Failure> {
        self.change_terms(account, |rows, now_us| {
            admin::freeze(rows, now_us, account, directions, actor)
        })
        .await
    }

    /// Closes an account for good.
    ///
    /// # Errors
    /// As [`admin::close`]; the store's failure.
    pub async fn close(&self, account: &str, actor: &str) -> Result<Account, Failure> {
        self.change_terms(account, |rows, now_us| {
            admin::close(rows, now_us, account, actor)
        })
        .await
    }

    /// Replaces the metadata of an account.
    ///
    /// # Errors
    /// As [`admin::set_metadata`]; the store's failure.
    pub async fn set_metadata(
        &self,
        account: &str,
        metadata: &BTreeMap<String, String>,
        actor: &str,
    ) -> Result<Account, Failure> {
        self.administer(account, |rows, now_us| {
            admin::set_metadata(rows, now_us, account, metadata, actor)
        })
        .await
    }

    /// A change of what other accounts' entries look at: [`crate::stamps`].
    async fn change_terms(
        &self,
        account: &str,
        rule: impl FnMut(&mut Rows<'_>, i64) -> Result<(Head, State), Stop<Refusal>> + Send,
    ) -> Result<Account, Failure> {
        let entered = self.flow.enter_change(account).await?;
        let changed = self.administer(account, rule).await;
        // What may still come stays entered, as long as this process lives.
        if changed.as_ref().err().is_none_or(Failure::changed_nothing) {
            self.flow.count_change(entered).await?;
        }
        changed
    }

    async fn administer(
        &self,
        account: &str,
        mut rule: impl FnMut(&mut Rows<'_>, i64) -> Result<(Head, State), Stop<Refusal>> + Send,
    ) -> Result<Account, Failure> {
        let now_us = self.now_us();
        let (head, state) = self.change(account, |rows| rule(rows, now_us)).await?;
        Ok(reads::account::message(&head, &state))
    }

    /// An account and its balances now.
    ///
    /// # Errors
    /// `ACCOUNT_NOT_FOUND`; the store's failure.
    pub async fn account(&self, account: &str) -> Result<GetAccountResponse, Failure> {
        let now_us = self.now_us();
        self.read_now(account, now_us, |rows| {
            reads::account::get(rows, account, now_us)
        })
        .await
    }

    /// Accounts behind `after`, in an order that stays.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn accounts(
        &self,
        after: &str,
        page_size: usize,
    ) -> Result<ListAccountsResponse, Failure> {
        let (names, next_page_token) = self.account_page(after, page_size).await?;
        let mut seen = Position::default();
        let mut accounts = Vec::with_capacity(names.len());
        let now_us = self.now_us();
        for name in &names {
            let look = |rows: &Rows<'_>| match Book::load_head(rows)? {
                None => Ok(None),
                Some(_) => reads::current(rows, name, now_us, |_, book| {
                    Ok(Some(reads::account::message(book.head(), &book.state)))
                }),
            };
            let read = self.glance_now(name, now_us, &mut seen, look).await?;
            accounts.extend(read?);
        }
        self.keyspace.durable(seen).await?;
        Ok(ListAccountsResponse {
            accounts,
            next_page_token,
            ..ListAccountsResponse::default()
        })
    }

    /// Names of accounts behind `after`, and the token of the next page.
    pub(super) async fn account_page(
        &self,
        after: &str,
        page_size: usize,
    ) -> Result<(Vec<String>, String), Failure> {
        let after = (!after.is_empty()).then_some(after.as_bytes());
        // One more tells whether there is a next page.
        let mut keys = self.keyspace.partitions(after, page_size + 1).await?;
        let more = keys.len() > page_size;
        keys.truncate(page_size);
        let names: Vec<String> = keys
            .iter()
            .map(|key| String::from_utf8_lossy(key).into_owned())
            .collect();
        let next = if more {
            names.last().cloned().unwrap_or_default()
        } else {
            String::new()
        };
        let accounts = names
            .into_iter()
            .filter(|name| name.as_bytes().first() != Some(&INTERNAL))
            .collect();
        Ok((accounts, next))
    }
}
