//! The RPC handlers: parse, call the operation, answer.

use connectrpc::{
    ConnectError, PreEncoded, RequestContext, Response, ServiceRequest, ServiceResult,
};
use lombard_contracts::bank::ledger::v1::*;
use lombard_rpc::Error;

use super::{Failure, Ledger};
use crate::admin::NewAddress;
use crate::parse;
use crate::reads::balances::AsOf;
use crate::reads::postings::Query;
use crate::refusal::Refusal;

fn answer<T>(result: Result<T, Failure>) -> ServiceResult<T> {
    match result {
        Ok(body) => Response::ok(body),
        Err(failure) => Err(ConnectError::from(Error::from(failure))),
    }
}

/// Parses with `?`, then answers.
macro_rules! answering {
    ($body:block) => {
        answer(async { $body }.await)
    };
}

#[allow(
    refining_impl_trait,
    reason = "the handlers' answers are plain messages"
)]
impl LedgerService for Ledger {
    async fn create_account(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, CreateAccountRequest>,
    ) -> ServiceResult<CreateAccountResponse> {
        answering!({ self.open_account(&parse::open_account(&request)?).await })
    }

    async fn get_account(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, GetAccountRequest>,
    ) -> ServiceResult<GetAccountResponse> {
        answering!({ self.account(parse::account_id(request.account)?).await })
    }

    async fn list_accounts(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, ListAccountsRequest>,
    ) -> ServiceResult<ListAccountsResponse> {
        answering!({
            self.accounts(
                parse::account_token(request.page_token)?,
                parse::page_size(request.page_size)?,
            )
            .await
        })
    }

    async fn add_addresses(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, AddAddressesRequest>,
    ) -> ServiceResult<AddAddressesResponse> {
        answering!({
            let (account, actor) = (
                parse::account_id(request.account)?,
                parse::actor(request.actor)?,
            );
            let addresses = parse::addresses(&request.addresses)?;
            let account = Ledger::add_addresses(self, account, &addresses, actor).await?;
            Ok(AddAddressesResponse {
                account: Some(account).into(),
                ..AddAddressesResponse::default()
            })
        })
    }

    async fn set_floor(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, SetFloorRequest>,
    ) -> ServiceResult<SetFloorResponse> {
        answering!({
            let (account, actor) = (
                parse::account_id(request.account)?,
                parse::actor(request.actor)?,
            );
            let address = NewAddress {
                address: parse::address(request.address)?.to_owned(),
                currency: parse::currency(request.currency)?.code().to_owned(),
                floor: request.floor.as_option().map(|floor| floor.minimum_minor),
            };
            let account = Ledger::set_floor(self, account, &address, actor).await?;
            Ok(SetFloorResponse {
                account: Some(account).into(),
                ..SetFloorResponse::default()
            })
        })
    }

    async fn freeze_account(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, FreezeAccountRequest>,
    ) -> ServiceResult<FreezeAccountResponse> {
        answering!({
            let (account, actor) = (
                parse::account_id(request.account)?,
                parse::actor(request.actor)?,
            );
            let account = self
                .freeze(account, (request.debits, request.credits), actor)
                .await?;
            Ok(FreezeAccountResponse {
                account: Some(account).into(),
                ..FreezeAccountResponse::default()
            })
        })
    }

    async fn close_account(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, CloseAccountRequest>,
    ) -> ServiceResult<CloseAccountResponse> {
        answering!({
            let account = self
                .close(
                    parse::account_id(request.account)?,
                    parse::actor(request.actor)?,
                )
                .await?;
            Ok(CloseAccountResponse {
                account: Some(account).into(),
                ..CloseAccountResponse::default()
            })
        })
    }

    async fn set_metadata(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, SetMetadataRequest>,
    ) -> ServiceResult<SetMetadataResponse> {
        answering!({
            let (account, actor) = (
                parse::account_id(request.account)?,
                parse::actor(request.actor)?,
            );
            let metadata = parse::account_metadata(&request.metadata)?;
            let account = Ledger::set_metadata(self, account, &metadata, actor).await?;
            Ok(SetMetadataResponse {
                account: Some(account).into(),
                ..SetMetadataResponse::default()
            })
        })
    }

    async fn create_entry(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, CreateEntryRequest>,
    ) -> ServiceResult<CreateEntryResponse> {
        answering!({
            let view = request
                .entry
                .as_option()
                .ok_or_else(|| Refusal::invalid("NO_ENTRY", "the request has no entry"))?;
            if view.linked {
                let message =
                    "a single entry has no next one to be linked to; send the chain as a batch";
                return Err(Refusal::invalid("LINKED_CHAIN_OPEN", message).into());
            }
            Ledger::create_entry(self, &parse::entry(view, &self.bounds())?, request.dry_run).await
        })
    }

    async fn create_entries(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, CreateEntriesRequest>,
    ) -> ServiceResult<PreEncoded<CreateEntriesResponse>> {
        answering!({
            Ledger::create_entries(
                self,
                parse::Batch::new(&request.entries, self.bounds())?,
                request.brief,
            )
            .await
        })
    }

    async fn reverse_entry(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, ReverseEntryRequest>,
    ) -> ServiceResult<ReverseEntryResponse> {
        answering!({
            Ledger::reverse_entry(self, &parse::reversal(&request, &self.bounds())?).await
        })
    }

    async fn get_entry(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, GetEntryRequest>,
    ) -> ServiceResult<GetEntryResponse> {
        answering!({
            self.entry(
                parse::account_id(request.home)?,
                parse::entry_id(request.id)?,
            )
            .await
        })
    }

    async fn place_hold(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, PlaceHoldRequest>,
    ) -> ServiceResult<PlaceHoldResponse> {
        answering!({ Ledger::place_hold(self, &parse::place(&request, &self.bounds())?).await })
    }

    async fn capture_hold(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, CaptureHoldRequest>,
    ) -> ServiceResult<CaptureHoldResponse> {
        answering!({ Ledger::capture_hold(self, &parse::capture(&request, &self.bounds())?).await })
    }

    async fn release_hold(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, ReleaseHoldRequest>,
    ) -> ServiceResult<ReleaseHoldResponse> {
        answering!({ Ledger::release_hold(self, &parse::release(&request, &self.bounds())?).await })
    }

    async fn get_hold(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, GetHoldRequest>,
    ) -> ServiceResult<GetHoldResponse> {
        answering!({
            self.hold(
                parse::account_id(request.account)?,
                parse::entry_id(request.hold_id)?,
            )
            .await
        })
    }

    async fn list_holds(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, ListHoldsRequest>,
    ) -> ServiceResult<ListHoldsResponse> {
        answering!({
            let account = parse::account_id(request.account)?;
            self.holds(
                account,
                request.open_only,
                request.page_token,
                parse::page_size(request.page_size)?,
            )
            .await
        })
    }

    async fn get_balances(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, GetBalancesRequest>,
    ) -> ServiceResult<GetBalancesResponse> {
        answering!({
            let as_of = AsOf::parse(request.as_of_booked_us, request.as_of_value_date)?;
            self.balances(
                parse::account_id(request.account)?,
                as_of,
                request.with_holds,
            )
            .await
        })
    }

    async fn list_postings(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, ListPostingsRequest>,
    ) -> ServiceResult<ListPostingsResponse> {
        answering!({
            let account = parse::account_id(request.account)?;
            let address = match request.address {
                "" => "",
                address => parse::address_name(address)?,
            };
            let query = Query {
                address: address.to_owned(),
                currency: request.currency.to_owned(),
                booked_from_us: request.booked_from_us,
                booked_to_us: request.booked_to_us,
                value_from: parse::value_date(request.value_from)?,
                value_to: parse::value_date(request.value_to)?,
                descending: request.descending,
                page_token: request.page_token.to_owned(),
                page_size: parse::page_size(request.page_size)?,
            };
            self.postings(account, &query).await
        })
    }

    async fn list_events(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, ListEventsRequest>,
    ) -> ServiceResult<ListEventsResponse> {
        answering!({
            let account = parse::account_id(request.account)?;
            self.events(
                account,
                request.after_number,
                parse::page_size(request.page_size)?,
            )
            .await
        })
    }

    async fn trial_balance(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, TrialBalanceRequest>,
    ) -> ServiceResult<TrialBalanceResponse> {
        answering!({
            let as_of = AsOf::parse(request.as_of_booked_us, request.as_of_value_date)?;
            let after = parse::account_token(request.page_token)?;
            Ledger::trial_balance(self, after, parse::page_size(request.page_size)?, as_of).await
        })
    }

    async fn read_rows(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, ReadRowsRequest>,
    ) -> ServiceResult<ReadRowsResponse> {
        answering!({
            let account = parse::account_id(request.account)?;
            self.rows(
                account,
                request.after_key,
                parse::page_size(request.page_size)?,
            )
            .await
        })
    }

    async fn get_status(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, GetStatusRequest>,
    ) -> ServiceResult<GetStatusResponse> {
        answer(Ok(self.status()))
    }
}
