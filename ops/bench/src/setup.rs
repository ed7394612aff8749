//! The accounts that a load runs over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use buffa::Message;
use bytes::{Bytes, BytesMut};
use lombard_contracts::bank::ledger::v1;
use tokio::task::JoinSet;

use crate::BenchError;
use crate::connection::{Answer, Connection};
use crate::figures::Live;
use crate::shape::{ENTRIES_PER_BATCH_MAX, HttpVersion, Shape};
use crate::wire::{self, CURRENCY, EntryId, Movement};

/// Accounts that are being opened at the same time.
const OPENING_MAX: usize = 64;
/// What an account with a floor is given to begin with: enough for a long walk.
const FUNDS_MINOR: i64 = 1_000_000_000;
/// Where that money comes from.
const FUNDING_ACCOUNT: &str = "bench-funding";

/// Opens the accounts of this shape, where they are not open yet.
pub async fn accounts(
    address: &str,
    shape: &Shape,
    live: &Live,
) -> Result<Arc<Vec<String>>, BenchError> {
    let kind = if shape.floors { "bench-floor" } else { "bench" };
    let names: Arc<Vec<String>> = Arc::new(
        (0..shape.accounts)
            .map(|number| format!("{kind}-{number:07}"))
            .collect(),
    );
    let next = Arc::new(AtomicUsize::new(0));
    let floors = shape.floors;
    live.opening(names.len() as u64);
    let mut openers = JoinSet::new();
    for _ in 0..OPENING_MAX.min(names.len()) {
        let mut connection = Connection::open(address, HttpVersion::Http1).await?;
        let (names, next, live) = (Arc::clone(&names), Arc::clone(&next), live.clone());
        openers.spawn(async move {
            while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                let body = Bytes::from(account(name, floors).encode_to_vec());
                opened(name, connection.call("CreateAccount", body).await)?;
                live.opened();
            }
            Ok::<(), BenchError>(())
        });
    }
    while let Some(opener) = openers.join_next().await {
        opener.map_err(|error| BenchError::Answer {
            method: "CreateAccount",
            reason: error.to_string(),
        })??;
    }
    if floors {
        fund(address, &names).await?;
    }
    Ok(names)
}

pub fn opened(name: &str, answer: Answer) -> Result<(), BenchError> {
    let reason = match answer {
        Answer::Accepted(_) => return Ok(()),
        Answer::Refused { code, message } => format!("{code}: {message}"),
        Answer::Lost(reason) => reason,
    };
    Err(BenchError::Account {
        account: name.to_owned(),
        reason,
    })
}

pub fn account(name: &str, floors: bool) -> v1::CreateAccountRequest {
    let address = |address: &str, floor: bool| v1::Address {
        address: address.to_owned(),
        currency: CURRENCY.to_owned(),
        floor: if floor {
            v1::Floor::default().into()
        } else {
            None.into()
        },
        ..Default::default()
    };
    v1::CreateAccountRequest {
        id: name.to_owned(),
        addresses: vec![
            address("customer/main", floors),
            address("customer/held", floors),
        ],
        actor: "bench".to_owned(),
        ..Default::default()
    }
}

/// Gives every account money, once however often this is done: the ids are the accounts' numbers.
async fn fund(address: &str, names: &[String]) -> Result<(), BenchError> {
    let mut connection = Connection::open(address, HttpVersion::Http1).await?;
    let body = Bytes::from(account(FUNDING_ACCOUNT, false).encode_to_vec());
    opened(
        FUNDING_ACCOUNT,
        connection.call("CreateAccount", body).await,
    )?;
    for (chunk, names) in names.chunks(ENTRIES_PER_BATCH_MAX as usize).enumerate() {
        let mut batch = BytesMut::new();
        for (place, name) in names.iter().enumerate() {
            let number = (chunk * ENTRIES_PER_BATCH_MAX as usize + place) as u128;
            let funding = Movement {
                // A fixed day, so that the ids are the same each time.
                id: EntryId::new(1_577_836_800_000, number),
                debtor: FUNDING_ACCOUNT,
                creditor: name,
                amount_minor: FUNDS_MINOR,
            };
            wire::add_to_batch(&mut batch, &funding);
        }
        let failed = |reason: String| BenchError::Account {
            account: FUNDING_ACCOUNT.to_owned(),
            reason,
        };
        match connection
            .call("CreateEntries", wire::finish_batch(batch))
            .await
        {
            Answer::Accepted(body) => {
                let outcomes = wire::outcomes(&body)
                    .ok_or_else(|| failed("the answer cannot be read".to_owned()))?;
                if let Some(refusal) = outcomes.refused.first() {
                    let refusal = v1::Refusal::decode_from_slice(refusal).unwrap_or_default();
                    return Err(failed(refusal.message));
                }
            }
            Answer::Refused { code, message } => return Err(failed(format!("{code}: {message}"))),
            Answer::Lost(reason) => return Err(failed(reason)),
        }
    }
    Ok(())
}
