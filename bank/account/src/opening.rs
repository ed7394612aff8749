//! How an account opens: a number is kept, the account is asked for, the ledger confirms, the
//! customer's list has it, and it is open.
//!
//! Every step is idempotent. Where a process dies between two of them, the client's retry or the
//! coordinator goes on from there: the number that is kept says which openings are unfinished.

use buffa::Message;
use lombard_contracts::bank::customer::v1::{CustomerServiceClient, GetCustomerRequest};
use lombard_contracts::bank::ledger::v1 as ledger;
use lombard_rpc::Code;
use lombard_rpc::client::Channel;
use lombard_store::{Keyspace, Position, Rows, Stop};

use crate::error::Error;
use crate::limits::OPENINGS_PER_PASS_MAX;
use crate::numbers::{self, Numbering};
use crate::rows::{self, AccountRow, OpeningState, OwnedRow};
use crate::rules::{self, Cause, LedgerState, Opening};

/// The ledger's address of money that the customer can spend.
pub const MAIN_ADDRESS: &str = "customer/main";
/// The ledger's address of money that is held.
pub const HELD_ADDRESS: &str = "customer/held";

/// Accounts whose opening was taken up, and what became of each.
pub type Finished = Vec<(String, Result<(), Error>)>;

/// Opens accounts over a keyspace.
pub struct Openings {
    keyspace: Keyspace,
    ledger: ledger::LedgerServiceClient<Channel>,
    customers: CustomerServiceClient<Channel>,
    numbering: Numbering,
}

impl Openings {
    /// Over the service's keyspace, with the services that it calls.
    pub fn new(
        keyspace: Keyspace,
        ledger: ledger::LedgerServiceClient<Channel>,
        customers: CustomerServiceClient<Channel>,
        numbering: Numbering,
    ) -> Self {
        Self {
            keyspace,
            ledger,
            customers,
            numbering,
        }
    }

    /// Opens the account, or finds the one that the same request opened before: then the second
    /// is true.
    ///
    /// # Errors
    /// [`Error`]; what is not a refusal is finished by a retry.
    pub async fn open(
        &self,
        opening: &Opening,
        cause: &Cause,
    ) -> Result<(AccountRow, bool), Error> {
        let partition = rows::account_partition(&opening.id);
        let found = self
            .keyspace
            .read(&partition, |rows| rules::find_same(rows, opening));
        let requested = match found.await?.durable(&self.keyspace).await?? {
            Some(row) if row.opening == OpeningState::Open => return Ok((row, true)),
            Some(row) => row,
            None => self.request(opening, cause).await?,
        };
        Ok((self.carry(opening, &requested, cause).await?, false))
    }

    /// Keeps a number and asks for the account. Durable when it returns.
    async fn request(&self, opening: &Opening, cause: &Cause) -> Result<AccountRow, Error> {
        let id = opening.customer_id.clone();
        self.customers
            .get_customer(GetCustomerRequest {
                id,
                ..Default::default()
            })
            .await?;

        let kept = self.change(self.numbers_partition(), |rows| {
            numbers::reserve(rows, &opening.id, &self.numbering, cause.now_us)
        });
        let (reservation, kept) = kept.await?;
        let requested = self.change(rows::account_partition(&opening.id), |rows| {
            rules::request(rows, opening, &self.numbering, &reservation, cause)
        });
        let (row, requested) = requested.await?;
        self.keyspace.durable(kept.max(requested)).await?;
        Ok(row)
    }

    /// Carries an account that was asked for to where it is open. Durable when it returns.
    async fn carry(
        &self,
        opening: &Opening,
        requested: &AccountRow,
        cause: &Cause,
    ) -> Result<AccountRow, Error> {
        let partition = rows::account_partition(&opening.id);
        let state = match self.create_in_ledger(opening, requested).await {
            Ok(state) => state,
            Err(error) if is_final(&error) => {
                let reason = error.reason.clone().into_owned();
                let refused = self.change(partition.clone(), |rows| {
                    rules::refuse(rows, opening, &reason, cause)
                });
                let ((), refused) = refused.await?;
                let settled = self.settle(&opening.id).await?;
                self.keyspace.durable(refused.max(settled)).await?;
                return Err(refusal(opening, error));
            }
            Err(error) => return Err(Error::Call(Box::new(error))),
        };
        // The list comes first: whatever is open is listed.
        let listed = self.change(rows::customer_partition(&opening.customer_id), |rows| {
            let key = rows::owned_key(&opening.id);
            if rows.get(&key)?.is_none() {
                let row = OwnedRow {
                    opened_us: requested.opened_us,
                    ..OwnedRow::default()
                };
                rows.put(key, row.encode_to_vec());
            }
            Ok::<_, Stop<Error>>(())
        });
        let ((), listed) = listed.await?;
        let confirmed = self.change(partition.clone(), |rows| {
            rules::confirm(rows, opening, state, cause)
        });
        let (row, confirmed) = confirmed.await?;
        // Whoever finds the number gone must find the account open.
        self.keyspace.durable(listed.max(confirmed)).await?;
        self.settle(&opening.id).await?;
        Ok(row)
    }

    /// Takes up openings that began at or before a moment and are not finished: each account, and
    /// what became of it.
    ///
    /// # Errors
    /// The list of unfinished openings cannot be read.
    pub async fn finish(&self, begun_us_max: i64, cause: &Cause) -> Result<Finished, Error> {
        let partition = self.numbers_partition();
        let found = self.keyspace.read(&partition, |rows| {
            numbers::unfinished(rows, begun_us_max, OPENINGS_PER_PASS_MAX)
        });
        let accounts = found.await?.durable(&self.keyspace).await??;
        let mut finished = Vec::with_capacity(accounts.len());
        for account in accounts {
            let outcome = self.finish_one(&account, cause).await;
            finished.push((account, outcome));
        }
        Ok(finished)
    }

    async fn finish_one(&self, account: &str, cause: &Cause) -> Result<(), Error> {
        let found = self
            .keyspace
            .read(&rows::account_partition(account), rules::find)
            .await?;
        match found.durable(&self.keyspace).await?? {
            Some(row) if row.opening == OpeningState::Opening => {
                self.carry(&Opening::of(account, &row), &row, cause).await?;
            }
            // Open, or never asked for: the number is in the row, or in nobody's.
            _ => {
                let settled = self.settle(account).await?;
                self.keyspace.durable(settled).await?;
            }
        }
        Ok(())
    }

    async fn create_in_ledger(
        &self,
        opening: &Opening,
        requested: &AccountRow,
    ) -> Result<LedgerState, lombard_rpc::Error> {
        let address = |address: &str, minimum_minor| ledger::Address {
            address: address.to_owned(),
            currency: opening.currency.clone(),
            floor: ledger::Floor {
                minimum_minor,
                ..Default::default()
            }
            .into(),
            ..Default::default()
        };
        // Made of what is stored alone, so that every retry sends the same.
        let request = ledger::CreateAccountRequest {
            id: opening.id.clone(),
            addresses: vec![
                // An overdraft is 0 or more: its opposite fits.
                address(MAIN_ADDRESS, -opening.overdraft_minor),
                address(HELD_ADDRESS, 0),
            ],
            metadata: [("customer".to_owned(), opening.customer_id.clone())]
                .into_iter()
                .collect(),
            actor: requested.opened_by.clone(),
            ..Default::default()
        };
        let answer = self.ledger.create_account(request).await;
        let answer = answer.map_err(|error| lombard_rpc::Error::from_connect(&error))?;
        state_of(answer.view().account.as_option()).ok_or_else(no_account)
    }

    async fn settle(&self, account: &str) -> Result<Position, Error> {
        let settled = self.change(self.numbers_partition(), |rows| {
            numbers::settle(rows, account)
        });
        let ((), position) = settled.await?;
        Ok(position)
    }

    fn numbers_partition(&self) -> Vec<u8> {
        rows::numbers_partition(self.numbering.sort_code())
    }

    async fn change<T: Send>(
        &self,
        partition: Vec<u8>,
        rule: impl FnMut(&mut Rows<'_>) -> Result<T, Stop<Error>> + Send,
    ) -> Result<(T, Position), Error> {
        let done = self.keyspace.update(&partition, rule).await?;
        match done.value {
            Ok(value) => Ok((value, done.position)),
            Err(error) => {
                // A "no" rests on what was read, too.
                self.keyspace.durable(done.position).await?;
                Err(error)
            }
        }
    }
}

/// What the ledger said of an account.
pub(crate) fn state_of(
    account: Option<&ledger::__buffa::view::AccountView<'_>>,
) -> Option<LedgerState> {
    account.map(|account| LedgerState {
        debits_frozen: account.debits_frozen,
        credits_frozen: account.credits_frozen,
        closed: account.closed,
        event_number: account.event_number,
    })
}

/// The ledger's answer lacks the account that it is about.
pub(crate) fn no_account() -> lombard_rpc::Error {
    lombard_rpc::Error::internal(
        "LEDGER_ANSWER_INCOMPLETE",
        "the ledger's answer has no account",
    )
}

/// Whether the ledger will say the same to the same request for ever.
fn is_final(error: &lombard_rpc::Error) -> bool {
    matches!(
        error.code,
        Code::InvalidArgument | Code::AlreadyExists | Code::FailedPrecondition | Code::OutOfRange
    ) && !error.retryable
}

fn refusal(opening: &Opening, error: lombard_rpc::Error) -> Error {
    match error.code {
        Code::AlreadyExists => Error::ExistsDifferent {
            account: opening.id.clone(),
            field: "account in the ledger",
        },
        _ => Error::Call(Box::new(error)),
    }
}
