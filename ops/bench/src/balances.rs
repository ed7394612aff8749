//! `bench balances`: how long it takes to read the balances of one account that
//! has a history, now or as of moments anywhere in it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use buffa::Message;
use bytes::Bytes;
use lombard_contracts::bank::ledger::v1;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::BenchError;
use crate::connection::{Answer, Connection};
use crate::figures::{Live, Measured, ms};
use crate::shape::{ENTRIES_PER_BATCH_MAX, HttpVersion};
use crate::wire::{CURRENCY, EntryId};

/// The days that postings are valued on, from 2020-01-01: ten years.
const VALUE_DAYS: u64 = 3_652;
const FIRST_DAY_MS: u64 = 1_577_836_800_000;
const PEER: &str = "bench-history-peer";

/// What balances are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AsOf {
    /// As they are.
    Now,
    /// As of a moment of booking.
    Booked,
    /// As of a value date.
    Value,
}

/// What is measured.
#[derive(Debug, Clone)]
pub struct BalancesShape {
    /// Postings of the account; those that are missing are made first.
    pub postings: u64,
    /// What is asked for.
    pub as_of: AsOf,
    /// Requests in flight.
    pub clients: u32,
    /// How long.
    pub time: Duration,
    /// Of the moments that are asked for.
    pub seed: u64,
}

/// The result. Its JSON is what programs rely on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BalancesFigures {
    /// Requests in flight at any time.
    pub clients: u32,
    /// Postings of the account.
    pub postings: u64,
    /// "now", "booked" or "value".
    pub as_of: AsOf,
    /// How long was measured.
    pub seconds: f64,
    /// Reads that were answered.
    pub requests: u64,
    /// Reads a second.
    pub rate_per_s: f64,
    /// Half were faster.
    pub p50_ms: f64,
    /// 99 % were faster.
    pub p99_ms: f64,
    /// 99.9 % were faster.
    pub p999_ms: f64,
    /// The slowest.
    pub max_ms: f64,
    /// Reads that failed.
    pub errors: u64,
    /// The engine that the ledger ran on.
    pub engine: String,
    /// What "durable" means there.
    pub durability: String,
}

impl fmt::Display for BalancesFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let as_of = match self.as_of {
            AsOf::Now => "now",
            AsOf::Booked => "as of a moment of booking",
            AsOf::Value => "as of a value date",
        };
        writeln!(
            f,
            "{} reads of the balances of one account, {as_of}: {:.0} a second",
            self.requests, self.rate_per_s
        )?;
        writeln!(
            f,
            "  shape       {} clients, {} postings on the account",
            self.clients, self.postings
        )?;
        writeln!(f, "  engine      {}, {}", self.engine, self.durability)?;
        writeln!(
            f,
            "  latency     p50 {:.3} ms   p99 {:.3} ms   p99.9 {:.3} ms   max {:.3} ms",
            self.p50_ms, self.p99_ms, self.p999_ms, self.max_ms
        )?;
        write!(f, "  errors      {}", self.errors)
    }
}

/// Runs the reads on the ledger at `HOST:PORT`.
///
/// # Errors
/// Nobody answers, or the account's history cannot be made.
pub async fn run(
    address: &str,
    shape: &BalancesShape,
    live: &Live,
) -> Result<BalancesFigures, BenchError> {
    let account = Arc::new(format!("bench-history-{}", shape.postings));
    let booked = history(address, &account, shape.postings, live).await?;
    live.phase_begins(false);
    let started = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..u64::from(shape.clients) {
        let connection = Connection::open(address, HttpVersion::Http1).await?;
        let reader = Reader {
            account: Arc::clone(&account),
            as_of: shape.as_of,
            booked,
            chance: SmallRng::seed_from_u64(shape.seed ^ client << 32),
        };
        clients.spawn(read(connection, reader, started + shape.time, live.clone()));
    }
    let mut measured = Measured::default();
    while let Some(client) = clients.join_next().await {
        measured.add(client.map_err(|error| unreadable("GetBalances", error.to_string()))?);
    }
    let seconds = started.elapsed().as_secs_f64();
    let status = crate::ledger::status(address).await?;
    let latency = &measured.latency_us;
    Ok(BalancesFigures {
        clients: shape.clients,
        postings: shape.postings,
        as_of: shape.as_of,
        seconds,
        requests: measured.requests,
        rate_per_s: measured.requests as f64 / seconds,
        p50_ms: ms(latency.value_at_quantile(0.5)),
        p99_ms: ms(latency.value_at_quantile(0.99)),
        p999_ms: ms(latency.value_at_quantile(0.999)),
        max_ms: ms(latency.max()),
        errors: measured.errors.values().sum(),
        engine: status.engine.clone(),
        durability: status.durability.clone(),
    })
}

struct Reader {
    account: Arc<String>,
    as_of: AsOf,
    /// Of the first posting and of the last one.
    booked: (i64, i64),
    chance: SmallRng,
}

impl Reader {
    fn next(&mut self) -> Bytes {
        let mut request = v1::GetBalancesRequest {
            account: self.account.to_string(),
            ..Default::default()
        };
        match self.as_of {
            AsOf::Now => {}
            AsOf::Booked => {
                request.as_of_booked_us = self.chance.random_range(self.booked.0..=self.booked.1);
            }
            AsOf::Value => {
                request.as_of_value_date = value_date(self.chance.random_range(0..VALUE_DAYS));
            }
        }
        request.encode_to_vec().into()
    }
}

async fn read(
    mut connection: Connection,
    mut reader: Reader,
    end: Instant,
    live: Live,
) -> Measured {
    let mut measured = Measured::default();
    loop {
        let body = reader.next();
        let begun = Instant::now();
        if begun >= end {
            return measured;
        }
        match connection.call("GetBalances", body).await {
            Answer::Accepted(_) => {
                measured.answered(begun.elapsed().as_micros() as u64, 1);
                live.answered(1, 0);
            }
            Answer::Refused { code, .. } => measured.failed(code, 1),
            Answer::Lost(reason) => {
                measured.failed(reason, 1);
                return measured;
            }
        }
    }
}

/// Makes the account and its postings, where they are not there yet: the ids are numbers.
/// When the first and the last one were booked.
async fn history(
    address: &str,
    account: &str,
    postings: u64,
    live: &Live,
) -> Result<(i64, i64), BenchError> {
    let mut connection = Connection::open(address, HttpVersion::Http1).await?;
    for name in [account, PEER] {
        let body = crate::setup::account(name, false).encode_to_vec();
        crate::setup::opened(name, connection.call("CreateAccount", body.into()).await)?;
    }
    live.opening(postings);
    let mut booked = (i64::MAX, 0);
    let mut from = 0;
    while from < postings {
        let to = postings.min(from + u64::from(ENTRIES_PER_BATCH_MAX));
        let request = v1::CreateEntriesRequest {
            entries: (from..to).map(|number| entry(account, number)).collect(),
            brief: true,
            ..Default::default()
        };
        let answer = connection
            .call("CreateEntries", request.encode_to_vec().into())
            .await;
        let failed = |reason: String| BenchError::Account {
            account: account.to_owned(),
            reason,
        };
        let body = match answer {
            Answer::Accepted(body) => body,
            Answer::Refused { code, message } => return Err(failed(format!("{code}: {message}"))),
            Answer::Lost(reason) => return Err(failed(reason)),
        };
        let answer = v1::CreateEntriesResponse::decode_from_slice(&body)
            .map_err(|error| unreadable("CreateEntries", error.to_string()))?;
        for outcome in &answer.outcomes {
            match &outcome.outcome {
                Some(v1::entry_outcome::Outcome::Accepted(result)) => {
                    booked = (
                        booked.0.min(result.booked_us),
                        booked.1.max(result.booked_us),
                    );
                    live.opened();
                }
                Some(v1::entry_outcome::Outcome::Refused(refusal)) => {
                    return Err(failed(refusal.message.clone()));
                }
                None => return Err(unreadable("CreateEntries", "an empty outcome".to_owned())),
            }
        }
        from = to;
    }
    Ok((booked.0.min(booked.1), booked.1))
}

fn entry(account: &str, number: u64) -> v1::Entry {
    let leg = |account: &str, amount_minor| v1::Leg {
        account: account.to_owned(),
        currency: CURRENCY.to_owned(),
        amount_minor,
        ..Default::default()
    };
    let amount_minor = i64::try_from(number % 1_000).unwrap_or(0) + 1;
    // Another account's entries have other ids, though they are as many.
    let random = u128::from(number) << 32 | account.len() as u128;
    let id = EntryId::new(FIRST_DAY_MS, random).text();
    v1::Entry {
        id: String::from_utf8_lossy(&id).into_owned(),
        legs: vec![leg(account, -amount_minor), leg(PEER, amount_minor)],
        value_date: value_date(number.wrapping_mul(2_654_435_761) % VALUE_DAYS),
        ..Default::default()
    }
}

/// The day so many days after 2020-01-01.
fn value_date(day: u64) -> String {
    let date = jiff::civil::date(2020, 1, 1);
    let days = jiff::Span::new().days(i64::try_from(day).unwrap_or(0));
    date.saturating_add(days).to_string()
}

fn unreadable(method: &'static str, reason: String) -> BenchError {
    BenchError::Answer { method, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_is_the_same_each_time_and_has_ten_years_of_value_dates() {
        assert_eq!(entry("a", 7), entry("a", 7));
        assert_ne!(entry("a", 7).id, entry("a", 8).id);
        assert_eq!(value_date(0), "2020-01-01");
        assert_eq!(value_date(VALUE_DAYS), "2029-12-31");
    }
}
