//! The handlers.

use connectrpc::{RequestContext, Response, ServiceRequest, ServiceResult};
use futures::{StreamExt, TryStreamExt, stream};
use lombard_contracts::bank::account::v1 as contract;
use lombard_contracts::bank::account::v1::{AccountService, CurrentAccount};
use lombard_contracts::bank::customer::v1::CustomerServiceClient;
use lombard_contracts::bank::ledger::v1 as ledger;
use lombard_money::{AccountNumber, SortCode};
use lombard_rpc::client::Channel;
use lombard_rpc::context;
use lombard_service::Host;
use lombard_store::Keyspace;

use crate::error::Error;
use crate::limits::READS_PER_PAGE_MAX;
use crate::numbers::Numbering;
use crate::opening::{self, Finished, MAIN_ADDRESS, Openings};
use crate::parse;
use crate::rows::{self, AccountRow, OpeningState};
use crate::rules::{self, Cause, LedgerState};

/// The service of current accounts over its keyspace.
pub struct Service {
    keyspace: Keyspace,
    ledger: ledger::LedgerServiceClient<Channel>,
    openings: Openings,
    host: Host,
}

impl Service {
    /// Over this keyspace, with channels to the ledger and to the customers.
    pub fn new(
        keyspace: Keyspace,
        ledger: &Channel,
        customers: &Channel,
        numbering: Numbering,
        host: Host,
    ) -> Self {
        let ledger = ledger::LedgerServiceClient::new(ledger.clone(), ledger.config());
        let customers = CustomerServiceClient::new(customers.clone(), customers.config());
        let openings = Openings::new(keyspace.clone(), ledger.clone(), customers, numbering);
        Self {
            keyspace,
            ledger,
            openings,
            host,
        }
    }

    /// Finishes openings that began longer ago than this and were left behind: one pass of the
    /// coordinator.
    ///
    /// # Errors
    /// The list of unfinished openings cannot be read.
    pub async fn finish_openings(&self, timeout_ms: u64) -> Result<Finished, Error> {
        let cause = self.cause("account/coordinator");
        let timeout_us = i64::try_from(timeout_ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
        let begun_us_max = cause.now_us.saturating_sub(timeout_us);
        self.openings.finish(begun_us_max, &cause).await
    }

    fn cause(&self, actor: &str) -> Cause {
        let trace = context::with(|call| format!("{:032x}", call.trace.trace_id));
        Cause {
            now_us: self.host.now_us(),
            actor: actor.to_owned(),
            trace: trace.unwrap_or_default(),
        }
    }

    async fn row(&self, id: &str) -> Result<AccountRow, Error> {
        let partition = rows::account_partition(id);
        let found = self
            .keyspace
            .read(&partition, |rows| rules::get(rows, id))
            .await?;
        found.durable(&self.keyspace).await?
    }

    async fn open_row(&self, id: &str) -> Result<AccountRow, Error> {
        let partition = rows::account_partition(id);
        let found = self
            .keyspace
            .read(&partition, |rows| rules::get_open(rows, id))
            .await?;
        found.durable(&self.keyspace).await?
    }

    async fn record(&self, id: &str, state: LedgerState, actor: &str) -> Result<AccountRow, Error> {
        let cause = self.cause(actor);
        let partition = rows::account_partition(id);
        let recorded = self
            .keyspace
            .update(&partition, |rows| rules::record(rows, id, state, &cause));
        recorded.await?.durable(&self.keyspace).await?
    }

    async fn balances(&self, id: &str) -> Result<Vec<contract::Balance>, Error> {
        let request = ledger::GetBalancesRequest {
            account: id.to_owned(),
            ..Default::default()
        };
        let answer = self.ledger.get_balances(request).await?;
        let balances = answer
            .view()
            .definitions
            .iter()
            .map(|balance| contract::Balance {
                definition: balance.definition.to_owned(),
                currency: balance.currency.to_owned(),
                balance_minor: balance.balance_minor,
                ..Default::default()
            });
        Ok(balances.collect())
    }

    async fn list(
        &self,
        customer: &str,
        after: Option<&str>,
        size: usize,
    ) -> Result<contract::ListAccountsResponse, Error> {
        // One more than the page tells whether another page follows.
        let range = rows::owned_behind(after, size + 1);
        let partition = rows::customer_partition(customer);
        let found = self.keyspace.read(&partition, |rows| {
            Ok::<_, lombard_store::Stop<Error>>(rows.range(&range)?)
        });
        let owned = found.await?.durable(&self.keyspace).await??;
        let more = owned.len() > size;
        let read = owned.into_iter().take(size).map(|(key, _)| async move {
            let id = rows::account_of(&key)?;
            Ok::<_, Error>(current_account(id, self.row(id).await?))
        });
        let accounts: Vec<CurrentAccount> = stream::iter(read)
            .buffered(READS_PER_PAGE_MAX)
            .try_collect()
            .await?;
        let last = accounts.last().filter(|_| more);
        let next_page_token = last.map(|account| account.id.clone()).unwrap_or_default();
        Ok(contract::ListAccountsResponse {
            accounts,
            next_page_token,
            ..Default::default()
        })
    }

    async fn statement(
        &self,
        id: &str,
        page_token: &str,
        page_size: u32,
        descending: bool,
    ) -> Result<contract::GetStatementResponse, Error> {
        let currency = self.open_row(id).await?.currency;
        let request = ledger::ListPostingsRequest {
            account: id.to_owned(),
            address: MAIN_ADDRESS.to_owned(),
            currency: currency.clone(),
            descending,
            page_token: page_token.to_owned(),
            page_size,
            ..Default::default()
        };
        let answer = self.ledger.list_postings(request).await?;
        let page = answer.view();
        let lines = page.postings.iter().map(|posting| contract::StatementLine {
            entry_id: posting.entry_id.to_owned(),
            booked_us: posting.booked_us,
            value_date: posting.value_date.to_owned(),
            reference: posting.reference.to_owned(),
            amount_minor: posting.amount_minor,
            balance_minor: posting.balance_minor,
            ..Default::default()
        });
        Ok(contract::GetStatementResponse {
            lines: lines.collect(),
            next_page_token: page.next_page_token.to_owned(),
            currency,
            ..Default::default()
        })
    }

    async fn freeze(
        &self,
        id: &str,
        debits: bool,
        credits: bool,
        actor: &str,
    ) -> Result<CurrentAccount, Error> {
        let row = self.open_row(id).await?;
        if row.closed {
            return Err(Error::Closed {
                account: id.to_owned(),
            });
        }
        let request = ledger::FreezeAccountRequest {
            account: id.to_owned(),
            debits,
            credits,
            actor: actor.to_owned(),
            ..Default::default()
        };
        let answer = self.ledger.freeze_account(request).await?;
        let state = opening::state_of(answer.view().account.as_option());
        let state = state.ok_or_else(|| Error::Call(Box::new(opening::no_account())))?;
        Ok(current_account(id, self.record(id, state, actor).await?))
    }

    async fn close(&self, id: &str, actor: &str) -> Result<CurrentAccount, Error> {
        let row = self.open_row(id).await?;
        if row.closed {
            return Ok(current_account(id, row));
        }
        let request = ledger::CloseAccountRequest {
            account: id.to_owned(),
            actor: actor.to_owned(),
            ..Default::default()
        };
        let answer = self.ledger.close_account(request).await?;
        let state = opening::state_of(answer.view().account.as_option());
        let state = state.ok_or_else(|| Error::Call(Box::new(opening::no_account())))?;
        Ok(current_account(id, self.record(id, state, actor).await?))
    }
}

fn current_account(id: &str, row: AccountRow) -> CurrentAccount {
    let state = match row.opening.as_known() {
        Some(OpeningState::Open) if row.closed => contract::AccountState::Closed,
        Some(OpeningState::Open) if row.debits_frozen || row.credits_frozen => {
            contract::AccountState::Frozen
        }
        Some(OpeningState::Open) => contract::AccountState::Open,
        _ => contract::AccountState::Opening,
    };
    let sort_code = SortCode::from_number(row.sort_code);
    let account_number = AccountNumber::from_number(row.account_number);
    CurrentAccount {
        id: id.to_owned(),
        customer_id: row.customer_id,
        currency: row.currency,
        sort_code: sort_code.map(|code| code.to_string()).unwrap_or_default(),
        account_number: account_number
            .map(|number| number.to_string())
            .unwrap_or_default(),
        iban: row.iban,
        state: state.into(),
        overdraft_minor: row.overdraft_minor,
        opened_us: row.opened_us,
        modulus_check: row.modulus_check,
        ..CurrentAccount::default()
    }
}

#[allow(refining_impl_trait, reason = "a handler answers with its message")]
impl AccountService for Service {
    async fn open_account(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, contract::OpenAccountRequest>,
    ) -> ServiceResult<contract::OpenAccountResponse> {
        let (opening, actor) = parse::opening(&request)?;
        let (row, replayed) = self.openings.open(&opening, &self.cause(&actor)).await?;
        let account = current_account(&opening.id, row).into();
        Response::ok(contract::OpenAccountResponse {
            account,
            replayed,
            ..Default::default()
        })
    }

    async fn get_account(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, contract::GetAccountRequest>,
    ) -> ServiceResult<contract::GetAccountResponse> {
        let id = parse::account_id(request.id)?;
        let row = self.row(id).await?;
        let balances = match row.opening.as_known() {
            Some(OpeningState::Open) => self.balances(id).await?,
            _ => Vec::new(),
        };
        let account = current_account(id, row).into();
        Response::ok(contract::GetAccountResponse {
            account,
            balances,
            ..Default::default()
        })
    }

    async fn list_accounts(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, contract::ListAccountsRequest>,
    ) -> ServiceResult<contract::ListAccountsResponse> {
        let customer = parse::customer_id(request.customer_id)?;
        let after = parse::account_token(request.page_token)?;
        // 1,000 fits.
        let size = parse::page_size(request.page_size)? as usize;
        Response::ok(self.list(customer, after, size).await?)
    }

    async fn get_statement(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, contract::GetStatementRequest>,
    ) -> ServiceResult<contract::GetStatementResponse> {
        let id = parse::account_id(request.id)?;
        let token = parse::ledger_token(request.page_token)?;
        let size = parse::page_size(request.page_size)?;
        Response::ok(self.statement(id, token, size, request.descending).await?)
    }

    async fn freeze_account(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, contract::FreezeAccountRequest>,
    ) -> ServiceResult<contract::FreezeAccountResponse> {
        let id = parse::account_id(request.id)?;
        let actor = parse::actor(request.actor)?;
        let account = self
            .freeze(id, request.debits, request.credits, actor)
            .await?
            .into();
        Response::ok(contract::FreezeAccountResponse {
            account,
            ..Default::default()
        })
    }

    async fn close_account(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, contract::CloseAccountRequest>,
    ) -> ServiceResult<contract::CloseAccountResponse> {
        let id = parse::account_id(request.id)?;
        let account = self.close(id, parse::actor(request.actor)?).await?.into();
        Response::ok(contract::CloseAccountResponse {
            account,
            ..Default::default()
        })
    }
}
