//! Calls as they go over the wire, and what comes back.

mod answers;

use std::collections::BTreeMap;

use lombard_contracts::bank::ledger::v1::{self as proto, LedgerServiceClient};
use lombard_rpc::client::{Channel, ChannelOptions};
use lombard_rpc::{Code, Error};
use lombard_service::Host;
use parking_lot::Mutex;

use crate::history::{AccountBalances, Address, Answer, Balances, Call, FloorSeen, Outcome};

pub use answers::{event, hold, posted, posting};

/// The generated client over our channel.
pub type Ledger = LedgerServiceClient<Channel>;

/// Addresses that are remembered; a system that starts again and again has new ones.
const ADDRESSES_MAX: usize = 64;
/// Accounts on a page of a trial balance.
const TRIAL_PAGE_SIZE: u32 = 1_000;
/// A trial balance reads so many pages at most: the ledger may have other accounts.
const TRIAL_PAGES_MAX: usize = 32;
/// Reasons by which the ledger says that this call has changed nothing.
const NOTHING_CHANGED: [&str; 3] = ["STORE_UNAVAILABLE", "OVERLOADED", "DRAINING"];

/// The way to the ledger.
pub struct Wire {
    host: Host,
    timeout_ms: u64,
    clients: Mutex<BTreeMap<String, Ledger>>,
}

impl Wire {
    /// Calls wait for their answers at most this long, and are sent once: what is sent
    /// again is an attempt of its own in the history.
    pub fn new(host: &Host, timeout_ms: u64) -> Self {
        Self {
            host: host.clone(),
            timeout_ms,
            clients: Mutex::default(),
        }
    }

    /// A client of the ledger at `HOST:PORT`.
    ///
    /// # Errors
    /// The address cannot be read.
    pub fn ledger(&self, address: &str) -> Result<Ledger, Error> {
        let mut clients = self.clients.lock();
        if let Some(found) = clients.get(address) {
            return Ok(found.clone());
        }
        if clients.len() >= ADDRESSES_MAX {
            clients.clear();
        }
        let options = ChannelOptions {
            attempts_max: 1,
            timeout_default_ms: self.timeout_ms,
            connect_timeout_ms: self.timeout_ms,
            ..ChannelOptions::default()
        };
        let channel = self.host.channel("consistency", [address], options)?;
        let ledger = Ledger::new(channel.clone(), channel.config());
        clients.insert(address.to_owned(), ledger.clone());
        Ok(ledger)
    }

    /// Makes a call once. `accounts` are those of the run: a trial balance shows no others.
    pub async fn perform(&self, address: &str, call: &Call, accounts: &[String]) -> Outcome {
        let answered = match self.ledger(address) {
            Ok(ledger) => ask(&ledger, call, accounts).await,
            Err(error) => Err(error),
        };
        match answered {
            Ok(answer) => Outcome::Ok { answer },
            Err(error) => failed(error, call.entry_id().is_some()),
        }
    }

    /// Opens an account; the same again is the same.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn open(
        &self,
        address: &str,
        account: &crate::history::Account,
    ) -> Result<(), Error> {
        let terms = |terms: &Address| proto::Address {
            address: terms.address.clone(),
            currency: terms.currency.clone(),
            floor: terms
                .floor_minor
                .map(|minimum_minor| proto::Floor {
                    minimum_minor,
                    ..Default::default()
                })
                .into(),
            ..Default::default()
        };
        let request = proto::CreateAccountRequest {
            id: account.id.clone(),
            addresses: account.addresses.iter().map(terms).collect(),
            actor: "consistency".to_owned(),
            ..Default::default()
        };
        let answer = self.ledger(address)?.create_account(request).await;
        answer
            .map(|_| ())
            .map_err(|error| Error::from_connect(&error))
    }
}

async fn ask(ledger: &Ledger, call: &Call, accounts: &[String]) -> Result<Answer, Error> {
    macro_rules! posted {
        ($method:ident, $request:expr) => {{
            let answer = ledger.$method($request).await;
            let answer = answer.map_err(|error| Error::from_connect(&error))?;
            Ok(Answer::Posted(answers::posted(answer.into_owned().result)?))
        }};
    }
    match call.clone() {
        Call::Entry {
            id,
            legs,
            up_to_available,
        } => {
            let leg = |leg: crate::history::Leg| proto::Leg {
                account: leg.account,
                address: leg.address,
                currency: leg.currency,
                amount_minor: leg.amount_minor,
                ..Default::default()
            };
            let entry = proto::Entry {
                id,
                legs: legs.into_iter().map(leg).collect(),
                up_to_available,
                ..Default::default()
            };
            let request = proto::CreateEntryRequest {
                entry: Some(entry).into(),
                ..Default::default()
            };
            posted!(create_entry, request)
        }
        Call::Reversal { id, entry, home } => {
            let request = proto::ReverseEntryRequest {
                id,
                entry_id: entry,
                home,
                ..Default::default()
            };
            posted!(reverse_entry, request)
        }
        Call::PlaceHold {
            id,
            account,
            currency,
            amount_minor,
            expires_us,
        } => {
            let request = proto::PlaceHoldRequest {
                id,
                account,
                currency,
                amount_minor,
                expires_us,
                ..Default::default()
            };
            posted!(place_hold, request)
        }
        Call::CaptureHold {
            id,
            account,
            hold,
            amount_minor,
            to,
            last,
        } => {
            let request = proto::CaptureHoldRequest {
                id,
                account,
                hold_id: hold,
                amount_minor,
                to_account: to,
                r#final: last,
                ..Default::default()
            };
            posted!(capture_hold, request)
        }
        Call::ReleaseHold {
            id,
            account,
            hold,
            amount_minor,
        } => {
            let request = proto::ReleaseHoldRequest {
                id,
                account,
                hold_id: hold,
                amount_minor,
                ..Default::default()
            };
            posted!(release_hold, request)
        }
        Call::Balances { account } => balances(ledger, account, 0).await.map(Answer::Balances),
        Call::BalancesAsOf { account, booked_us } => balances(ledger, account, booked_us)
            .await
            .map(Answer::Balances),
        Call::TrialBalance => trial_balance(ledger, accounts).await,
    }
}

/// The balances of an account; as of a booked moment, where it is not 0.
///
/// # Errors
/// The ledger's.
pub async fn balances(
    ledger: &Ledger,
    account: String,
    as_of_booked_us: i64,
) -> Result<Balances, Error> {
    let request = proto::GetBalancesRequest {
        account,
        as_of_booked_us,
        with_holds: as_of_booked_us == 0,
        ..Default::default()
    };
    let answer = ledger.get_balances(request).await;
    let answer = answer.map_err(|error| Error::from_connect(&error))?;
    Ok(answers::balances(answer.into_owned(), as_of_booked_us == 0))
}

async fn trial_balance(ledger: &Ledger, accounts: &[String]) -> Result<Answer, Error> {
    let mut found: BTreeMap<String, Vec<crate::history::Balance>> = BTreeMap::new();
    let mut page_token = String::new();
    for page in 1.. {
        let request = proto::TrialBalanceRequest {
            page_token,
            page_size: TRIAL_PAGE_SIZE,
            ..Default::default()
        };
        let answer = ledger.trial_balance(request).await;
        let answer = answer
            .map_err(|error| Error::from_connect(&error))?
            .into_owned();
        for line in answer.lines {
            if accounts.contains(&line.account) {
                let lines = found.entry(line.account).or_default();
                lines.push(crate::history::Balance {
                    address: line.address,
                    currency: line.currency,
                    balance_minor: line.balance_minor,
                });
            }
        }
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            // All accounts were opened before the first call: one that is missing has nothing.
            for account in accounts {
                found.entry(account.clone()).or_default();
            }
            break;
        }
        if page >= TRIAL_PAGES_MAX {
            break;
        }
    }
    let accounts = found
        .into_iter()
        .map(|(account, balances)| AccountBalances { account, balances })
        .collect();
    Ok(Answer::TrialBalance { accounts })
}

/// What a failure says of what was done.
fn failed(error: Error, writes: bool) -> Outcome {
    let by_rule = matches!(
        error.code,
        Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::ResourceExhausted
    );
    let reason = error.reason.clone().into_owned();
    if by_rule && !error.retryable && error.domain == "ledger" {
        let floor = (reason == "FLOOR_BROKEN").then(|| floor(&error)).flatten();
        return Outcome::Refused {
            reason,
            message: error.message,
            floor,
        };
    }
    let message = error.message;
    if !writes || NOTHING_CHANGED.contains(&reason.as_str()) {
        Outcome::Failed { reason, message }
    } else {
        Outcome::Unknown { reason, message }
    }
}

/// The figures of a refusal by a floor; a first answer given again has none.
fn floor(error: &Error) -> Option<FloorSeen> {
    let text = |key: &str| error.metadata.get(key).cloned();
    let number = |key: &str| error.metadata.get(key)?.parse().ok();
    Some(FloorSeen {
        account: text("account")?,
        address: text("address")?,
        currency: text("currency")?,
        balance_minor: number("balance_minor")?,
        minimum_minor: number("minimum_minor")?,
        asked_minor: number("asked_minor")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_ledger(code: Code, reason: &'static str, retryable: bool) -> Error {
        let mut error = Error::new(code, reason, "no").retryable(retryable);
        error.domain = "ledger".into();
        error
    }

    #[test]
    fn only_what_the_ledger_says_is_certain() {
        let refused = failed(of_ledger(Code::NotFound, "HOLD_NOT_FOUND", false), true);
        assert!(matches!(refused, Outcome::Refused { .. }), "{refused:?}");
        let nothing = of_ledger(Code::Unavailable, "STORE_UNAVAILABLE", true);
        let nothing = failed(nothing, true);
        assert!(matches!(nothing, Outcome::Failed { .. }), "{nothing:?}");
        for (code, reason) in [
            (Code::Unavailable, "OUTCOME_UNKNOWN"),
            (Code::Unavailable, "STORE_CLOSED"),
            (Code::Unavailable, "UNREACHABLE"),
            (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            (Code::Internal, "INTERNAL"),
        ] {
            let unknown = failed(of_ledger(code, reason, true), true);
            assert!(matches!(unknown, Outcome::Unknown { .. }), "{unknown:?}");
            // A read changes nothing, whatever became of it.
            let read = failed(of_ledger(code, reason, true), false);
            assert!(matches!(read, Outcome::Failed { .. }), "{read:?}");
        }
        // A proxy between says nothing of the ledger.
        let elsewhere = failed(Error::not_found("UNKNOWN_METHOD", "no"), true);
        assert!(
            matches!(elsewhere, Outcome::Unknown { .. }),
            "{elsewhere:?}"
        );
    }

    #[test]
    fn a_refusal_by_a_floor_tells_its_figures() {
        let error = of_ledger(Code::FailedPrecondition, "FLOOR_BROKEN", false)
            .with("account", "a")
            .with("address", "customer/main")
            .with("currency", "GBP")
            .with("balance_minor", 5)
            .with("minimum_minor", 0)
            .with("asked_minor", 7);
        let Outcome::Refused {
            floor: Some(floor), ..
        } = failed(error, true)
        else {
            panic!("it is a refusal with its figures")
        };
        assert_eq!(
            (floor.balance_minor, floor.minimum_minor, floor.asked_minor),
            (5, 0, 7)
        );
        let before = of_ledger(Code::FailedPrecondition, "FLOOR_BROKEN", false);
        assert!(matches!(
            failed(before, true),
            Outcome::Refused { floor: None, .. }
        ));
    }
}
