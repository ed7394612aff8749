//! Reading what the ledger holds at the end.

use std::collections::BTreeSet;
use std::time::Duration;

use lombard_contracts::bank::ledger::v1 as proto;
use lombard_rpc::Error;
use lombard_service::Host;

use crate::end::{AccountEnd, End, Event, EventKind, Posting};
use crate::wire::{self, Ledger, Wire};

/// Items on a page.
const PAGE_SIZE: u32 = 1_000;
/// A call is made so often before it counts as failed.
const ATTEMPTS_MAX: u32 = 20;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(100);

/// Waits until nothing is on its way, at most so long.
///
/// # Errors
/// What is still on its way, or why nobody answers.
pub async fn settle(
    host: &Host,
    wire: &Wire,
    addresses: impl Fn() -> Vec<String>,
    timeout: Duration,
) -> Result<(), String> {
    let until_us = later(host, timeout);
    loop {
        let mut waits_for = None;
        for address in addresses() {
            match status(wire, &address).await {
                Ok([0, 0, 0]) => {}
                Ok([in_flight, orphaned, silent]) => {
                    waits_for = Some(format!(
                        "the ledger at {address} has {in_flight} requests between decision and \
                         last leg, {orphaned} left for its coordinator, and does not know of \
                         {silent} others whether they live"
                    ));
                }
                Err(error) => waits_for = Some(format!("the ledger at {address}: {error}")),
            }
        }
        match waits_for {
            None => return Ok(()),
            Some(what) if host.monotonic_us() >= until_us => return Err(what),
            Some(_) => host.sleep(PAUSE).await,
        }
    }
}

fn later(host: &Host, time: Duration) -> u64 {
    let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    host.monotonic_us().saturating_add(us)
}

async fn status(wire: &Wire, address: &str) -> Result<[u64; 3], Error> {
    let answer = wire
        .ledger(address)?
        .get_status(proto::GetStatusRequest::default())
        .await
        .map_err(|error| Error::from_connect(&error))?
        .into_owned();
    Ok([answer.in_flight, answer.orphaned, answer.silent])
}

/// Reads the accounts until two readings, one behind the other, agree: what both show was
/// so at one moment between them (a double collect: Afek et al., "Atomic Snapshots of
/// Shared Memory", JACM 40(4), 1993). Holds that are still to end change accounts meanwhile; if
/// no two agree in time, each account's longest reading is taken.
///
/// # Errors
/// Some call failed again and again.
pub async fn end(
    host: &Host,
    wire: &Wire,
    addresses: impl Fn() -> Vec<String>,
    accounts: &[String],
    timeout: Duration,
) -> Result<End, Error> {
    let mut longest: Vec<AccountEnd> = Vec::new();
    let mut last: Option<Vec<AccountEnd>> = None;
    let until_us = later(host, timeout);
    let mut readings = 0_usize;
    loop {
        let addresses = addresses();
        let index = readings % addresses.len().max(1);
        readings += 1;
        let address = addresses.get(index).cloned().unwrap_or_default();
        let mut now = Vec::with_capacity(accounts.len());
        for account in accounts {
            now.push(read(host, wire, &address, account).await?);
        }
        if last.as_ref() == Some(&now) {
            return Ok(End {
                accounts: now,
                steady: true,
                ..End::default()
            });
        }
        for account in &now {
            match longest
                .iter_mut()
                .find(|known| known.account == account.account)
            {
                Some(known) if known.events.len() > account.events.len() => {}
                Some(known) => known.clone_from(account),
                None => longest.push(account.clone()),
            }
        }
        last = Some(now);
        if host.monotonic_us() >= until_us {
            break;
        }
        host.sleep(PAUSE).await;
    }
    Ok(End {
        accounts: longest,
        steady: false,
        ..End::default()
    })
}

/// Everything of one account. What the ledger itself says of an account that it cannot
/// read is in [`AccountEnd::unreadable`].
///
/// # Errors
/// A call failed again and again.
pub async fn read(
    host: &Host,
    wire: &Wire,
    address: &str,
    account: &str,
) -> Result<AccountEnd, Error> {
    let mut attempt = 1;
    loop {
        let mut end = AccountEnd {
            account: account.to_owned(),
            ..AccountEnd::default()
        };
        let once = async {
            let ledger = wire.ledger(address)?;
            once(&ledger, &mut end).await
        };
        match once.await {
            Ok(()) => return Ok(end),
            // The ledger's own word, whatever is whole: what was in the account is told as lost.
            Err(error) if error.domain == "ledger" && !error.retryable => {
                end.unreadable = Some(error.to_string());
                return Ok(end);
            }
            Err(error) if attempt >= ATTEMPTS_MAX => return Err(error),
            Err(_) => {
                attempt += 1;
                host.sleep(PAUSE).await;
            }
        }
    }
}

async fn once(ledger: &Ledger, end: &mut AccountEnd) -> Result<(), Error> {
    let from_connect = |error| Error::from_connect(&error);
    let account = end.account.clone();
    loop {
        let request = proto::ListEventsRequest {
            account: account.clone(),
            after_number: end.events.last().map_or(0, |event| event.number),
            page_size: PAGE_SIZE,
            ..Default::default()
        };
        let answer = ledger.list_events(request).await.map_err(from_connect)?;
        let page = answer.into_owned().events;
        let full = page.len() == PAGE_SIZE as usize;
        for event in page {
            end.events.push(wire::event(event)?);
        }
        if !full {
            break;
        }
    }
    let mut page_token = String::new();
    loop {
        let request = proto::ListPostingsRequest {
            account: account.clone(),
            page_token,
            page_size: PAGE_SIZE,
            ..Default::default()
        };
        let answer = ledger.list_postings(request).await.map_err(from_connect)?;
        let page = answer.into_owned();
        end.postings
            .extend(page.postings.into_iter().map(wire::posting));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let mut page_token = String::new();
    let mut seen = BTreeSet::new();
    loop {
        let request = proto::ListHoldsRequest {
            account: account.clone(),
            page_token,
            page_size: PAGE_SIZE,
            ..Default::default()
        };
        let answer = ledger.list_holds(request).await.map_err(from_connect)?;
        let page = answer.into_owned();
        let holds = page.holds.into_iter().map(wire::hold);
        end.holds
            .extend(holds.filter(|hold| seen.insert(hold.id.clone())));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let read = wire::balances(ledger, account, 0).await?;
    end.balances = read.balances;
    end.event_number = read.event_number;
    tell_ends(end);
    Ok(())
}

/// A hold that is over is given back in every read; its event is booked with the next change of
/// the account, or soon. Postings that are listed behind the last event are such ends.
fn tell_ends(end: &mut AccountEnd) {
    let mut last = end.events.last().map_or(0, |event| event.number);
    while let Some(first) = end
        .postings
        .iter()
        .find(|posting| posting.event_number == last + 1)
    {
        let is_end = end.holds.iter().any(|hold| {
            !hold.open && first.hold.as_ref() == Some(&hold.id) && first.entry == hold.id
        });
        if !is_end {
            // What it is, the checks will say.
            return;
        }
        last += 1;
        end.unbooked += 1;
        end.events.push(Event {
            number: last,
            kind: EventKind::Expired,
            name: "HoldExpired (not booked yet)".to_owned(),
            booked_us: first.booked_us,
            entry: Some(first.entry.clone()),
            home: String::new(),
            hold: first.hold.clone(),
            postings: end
                .postings
                .iter()
                .filter(|posting| posting.event_number == last)
                .map(|posting: &Posting| posting.moved.clone())
                .collect(),
            balances: Vec::new(),
        });
    }
}
