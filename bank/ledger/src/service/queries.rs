//! What is asked about balances, postings, events and the ledger itself.

use lombard_contracts::bank::ledger::v1::{
    GetBalancesResponse, GetStatusResponse, ListEventsResponse, ListPostingsResponse,
    ReadRowsResponse, TrialBalanceResponse,
};
use lombard_store::{Position, Rows};

use super::{Failure, Ledger};
use crate::book::Book;
use crate::reads::{self, balances::AsOf, postings::Query};

impl Ledger {
    /// Balances of one account in one consistent read.
    ///
    /// # Errors
    /// As [`reads::balances::get`]; the store's failure.
    pub async fn balances(
        &self,
        account: &str,
        as_of: AsOf,
        with_holds: bool,
    ) -> Result<GetBalancesResponse, Failure> {
        let now_us = self.now_us();
        let definitions = &self.options.balances;
        self.read_now(account, now_us, |rows| {
            reads::balances::get(rows, account, as_of, with_holds, now_us, definitions)
        })
        .await
    }

    /// A page of postings.
    ///
    /// # Errors
    /// As [`reads::postings::list`]; the store's failure.
    pub async fn postings(
        &self,
        account: &str,
        query: &Query,
    ) -> Result<ListPostingsResponse, Failure> {
        let now_us = self.now_us();
        self.read_now(account, now_us, |rows| {
            reads::postings::list(rows, account, query, now_us)
        })
        .await
    }

    /// Events with a number above `after_number`.
    ///
    /// # Errors
    /// `ACCOUNT_NOT_FOUND`; the store's failure.
    pub async fn events(
        &self,
        account: &str,
        after_number: u64,
        page_size: usize,
    ) -> Result<ListEventsResponse, Failure> {
        self.read(account, |rows| {
            reads::events::list(rows, account, after_number, page_size)
        })
        .await
    }

    /// A page of balances over all accounts. Each account is read in one
    /// consistent state; an entry on its way between two of them can be in one
    /// and not yet in the other.
    ///
    /// # Errors
    /// As [`reads::balances::of`]; the store's failure.
    pub async fn trial_balance(
        &self,
        page_token: &str,
        page_size: usize,
        as_of: AsOf,
    ) -> Result<TrialBalanceResponse, Failure> {
        let (names, next_page_token) = self.account_page(page_token, page_size).await?;
        let now_us = self.now_us();
        let mut seen = Position::default();
        let mut lines = Vec::new();
        for name in &names {
            let look = |rows: &Rows<'_>| match Book::load_head(rows)? {
                None => Ok(Vec::new()),
                Some(_) => reads::balances::trial(rows, name, as_of, now_us),
            };
            let read = self.glance_now(name, now_us, &mut seen, look).await?;
            lines.extend(read?);
        }
        self.keyspace.durable(seen).await?;
        Ok(TrialBalanceResponse {
            lines,
            next_page_token,
            ..TrialBalanceResponse::default()
        })
    }

    /// A page of an account's rows, as they are stored.
    ///
    /// # Errors
    /// The store's failure. An account that does not exist has no rows.
    pub async fn rows(
        &self,
        account: &str,
        after_key: &[u8],
        page_size: usize,
    ) -> Result<ReadRowsResponse, Failure> {
        self.read(account, |rows| {
            Ok(reads::raw::page(rows, after_key, page_size)?)
        })
        .await
    }

    /// What was decided and not yet carried out, and the engine's own state.
    pub fn status(&self) -> GetStatusResponse {
        let (in_flight, orphaned) = self.in_flight.counts();
        let info = self.keyspace.store().info();
        GetStatusResponse {
            engine: info.name,
            durability: info.durability,
            in_flight: in_flight as u64,
            orphaned: orphaned as u64,
            silent: self.in_flight.silent() as u64,
            figures: info.figures.into_iter().collect(),
            ..GetStatusResponse::default()
        }
    }
}
