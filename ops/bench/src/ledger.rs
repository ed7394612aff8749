//! `bench ledger`: opens accounts, and keeps clients asking for entries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use buffa::Message;
use bytes::Bytes;
use lombard_contracts::bank::ledger::v1;
use tokio::task::JoinSet;

use crate::BenchError;
use crate::connection::{Answer, Connection};
use crate::figures::{Figures, Live, Measured, ms};
use crate::open_loop::Pace;
use crate::shape::{Extent, HttpVersion, Shape};
use crate::wire;
use crate::work::{Request, Work};

/// A client that gets no answer this often in a row gives up.
const LOST_IN_A_ROW_MAX: u32 = 20;
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// Runs the load on the ledger at `HOST:PORT`.
///
/// # Errors
/// The shape makes no sense, nobody answers, or the accounts cannot be opened.
/// What is refused during the load is no error of this call: it is in the figures.
pub async fn run(address: &str, shape: &Shape, live: &Live) -> Result<Figures, BenchError> {
    shape.check()?;
    let accounts = crate::setup::accounts(address, shape, live).await?;
    if !shape.warmup.is_zero() {
        live.phase_begins(true);
        let warmup = Shape {
            extent: Extent::Time(shape.warmup),
            // Another stream than the measured one, or every id would depend on the clock alone.
            seed: !shape.seed,
            ..shape.clone()
        };
        load(address, &accounts, &warmup, live).await?;
    }
    live.phase_begins(false);
    let loaded = load(address, &accounts, shape, live).await?;
    let status = status(address).await?;
    Ok(figures(shape, loaded, &status))
}

pub(crate) async fn status(address: &str) -> Result<v1::GetStatusResponse, BenchError> {
    let mut connection = Connection::open(address, HttpVersion::Http1).await?;
    let failed = |reason: String| BenchError::Answer {
        method: "GetStatus",
        reason,
    };
    match connection.call("GetStatus", Bytes::new()).await {
        Answer::Accepted(body) => v1::GetStatusResponse::decode_from_slice(&body)
            .map_err(|error| failed(error.to_string())),
        Answer::Refused { code, message } => Err(failed(format!("{code}: {message}"))),
        Answer::Lost(reason) => Err(failed(reason)),
    }
}

/// A connection for each client, or one for several.
async fn connect(address: &str, shape: &Shape) -> Result<Vec<Connection>, BenchError> {
    let mut connections: Vec<Connection> = Vec::new();
    for client in 0..shape.clients as usize {
        let shared = match connections.get(client % shape.connections() as usize) {
            Some(connection) => connection.share(),
            None => None,
        };
        connections.push(match shared {
            Some(connection) => connection,
            None => Connection::open(address, shape.http).await?,
        });
    }
    Ok(connections)
}

/// What all clients of one phase share.
struct Shared {
    start: Instant,
    /// Requests are not begun after this.
    end: Option<Instant>,
    /// Entries that may still be asked for.
    left: AtomicU64,
    /// Nanoseconds from the start to the last acknowledgement, and the longest time between two.
    last_acknowledged_ns: AtomicU64,
    longest_pause_ns: AtomicU64,
    /// The number of the next request, for the open loop.
    next: AtomicU64,
    pace: Option<Pace>,
    live: Live,
}

impl Shared {
    /// Takes up to a batch of entries from what is left.
    fn take(&self, batch: u64) -> u64 {
        let mut taken = 0;
        // `fetch_update` always succeeds with a `Some`.
        let _before = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                taken = left.min(batch);
                Some(left - taken)
            });
        taken
    }

    fn acknowledged(&self, now: Instant) {
        let now_ns = (now - self.start).as_nanos() as u64;
        let before_ns = self
            .last_acknowledged_ns
            .fetch_max(now_ns, Ordering::Relaxed);
        let pause_ns = now_ns.saturating_sub(before_ns);
        if pause_ns > self.longest_pause_ns.load(Ordering::Relaxed) {
            self.longest_pause_ns.fetch_max(pause_ns, Ordering::Relaxed);
        }
    }
}

/// What one phase measured.
struct Loaded {
    measured: Measured,
    elapsed: Duration,
    longest_pause: Duration,
}

async fn load(
    address: &str,
    accounts: &Arc<Vec<String>>,
    shape: &Shape,
    live: &Live,
) -> Result<Loaded, BenchError> {
    let connections = connect(address, shape).await?;
    let start = Instant::now();
    let (end, left) = match shape.extent {
        Extent::Time(time) => (Some(start + time), u64::MAX),
        Extent::Count(count) => (None, count),
    };
    let shared = Arc::new(Shared {
        start,
        end,
        left: AtomicU64::new(left),
        last_acknowledged_ns: AtomicU64::new(0),
        longest_pause_ns: AtomicU64::new(0),
        next: AtomicU64::new(0),
        pace: shape
            .rate
            .map(|rate| Pace::start(rate / f64::from(shape.batch))),
        live: live.clone(),
    });
    let mut clients = JoinSet::new();
    for (client, connection) in (0..).zip(connections) {
        let work = Work::new(shape, client, Arc::clone(accounts));
        clients.spawn(ask(
            connection,
            work,
            u64::from(shape.batch),
            Arc::clone(&shared),
        ));
    }
    let mut measured = Measured::default();
    while let Some(client) = clients.join_next().await {
        let client = client.map_err(|error| BenchError::Answer {
            method: "CreateEntry",
            reason: error.to_string(),
        })??;
        measured.add(client);
    }
    let elapsed = start.elapsed();
    shared.acknowledged(Instant::now());
    Ok(Loaded {
        measured,
        elapsed,
        longest_pause: Duration::from_nanos(shared.longest_pause_ns.load(Ordering::Relaxed)),
    })
}

/// One client: asks, waits for the answer, asks again.
async fn ask(
    mut connection: Connection,
    mut work: Work,
    batch: u64,
    shared: Arc<Shared>,
) -> Result<Measured, BenchError> {
    let mut measured = Measured::default();
    let mut lost_in_a_row = 0;
    loop {
        let begun = match &shared.pace {
            Some(pace) => {
                pace.turn().await;
                pace.intended(shared.next.fetch_add(1, Ordering::Relaxed))
            }
            None => Instant::now(),
        };
        if shared.end.is_some_and(|end| begun >= end) {
            return Ok(measured);
        }
        let limit = shared.take(batch);
        if limit == 0 {
            return Ok(measured);
        }
        let request = work.next(unix_ms(), limit);
        let entries = u64::from(request.entries);
        let begun = if shared.pace.is_some() {
            begun
        } else {
            Instant::now()
        };
        let answer = connection.call(request.method, request.body.clone()).await;
        let now = Instant::now();
        let latency_us = now.saturating_duration_since(begun).as_micros() as u64;
        let acknowledged = match answer {
            Answer::Accepted(body) => accepted(&request, &body, &mut measured)?,
            Answer::Refused { code, message } => {
                // Our messages begin with the reason; the rest names accounts and amounts.
                let reason = message.split_once(": ").map_or("", |(reason, _)| reason);
                measured.failed(format!("{code} {reason}"), entries);
                0
            }
            Answer::Lost(reason) => {
                lost_in_a_row += 1;
                if lost_in_a_row >= LOST_IN_A_ROW_MAX {
                    return Err(BenchError::Unreachable {
                        address: connection.address().to_owned(),
                        reason,
                    });
                }
                measured.failed(format!("no answer: {reason}"), entries);
                shared.live.answered(0, entries);
                work.not_placed();
                tokio::time::sleep(RECONNECT_PAUSE).await;
                if let Ok(fresh) =
                    Connection::open(connection.address(), connection.version()).await
                {
                    connection = fresh;
                }
                continue;
            }
        };
        lost_in_a_row = 0;
        if acknowledged > 0 {
            shared.acknowledged(now);
        } else if request.method == "PlaceHold" {
            work.not_placed();
        }
        measured.answered(latency_us, acknowledged);
        shared.live.answered(acknowledged, entries - acknowledged);
    }
}

/// How many entries of the request were accepted; the others are counted by reason.
fn accepted(request: &Request, body: &[u8], measured: &mut Measured) -> Result<u64, BenchError> {
    if request.method != "CreateEntries" {
        return Ok(1);
    }
    let unreadable = |reason: String| BenchError::Answer {
        method: "CreateEntries",
        reason,
    };
    let outcomes = wire::outcomes(body).ok_or_else(|| unreadable("it is damaged".to_owned()))?;
    for refusal in &outcomes.refused {
        let refusal = v1::Refusal::decode_from_slice(refusal)
            .map_err(|error| unreadable(error.to_string()))?;
        measured.failed(refusal.reason, 1);
    }
    let answered = outcomes.accepted + outcomes.refused.len() as u64;
    if answered != u64::from(request.entries) {
        return Err(unreadable(format!(
            "{answered} outcomes for {} entries",
            request.entries
        )));
    }
    Ok(outcomes.accepted)
}

fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_millis() as u64)
}

fn figures(shape: &Shape, loaded: Loaded, status: &v1::GetStatusResponse) -> Figures {
    let Loaded {
        measured,
        elapsed,
        longest_pause,
    } = loaded;
    let latency = &measured.latency_us;
    let quantile = |share| ms(latency.value_at_quantile(share));
    let seconds = elapsed.as_secs_f64();
    Figures {
        clients: shape.clients,
        http: shape.http.to_string(),
        connections: shape.connections(),
        batch: shape.batch,
        accounts: shape.accounts,
        hot: shape.hot,
        holds: shape.holds,
        floors: shape.floors,
        seed: shape.seed,
        r#loop: if shape.rate.is_some() {
            "open"
        } else {
            "closed"
        },
        asked_rate_per_s: shape.rate,
        seconds,
        requests: measured.requests,
        acknowledged: measured.acknowledged,
        rate_per_s: measured.acknowledged as f64 / seconds,
        p50_ms: quantile(0.5),
        p90_ms: quantile(0.9),
        p99_ms: quantile(0.99),
        p999_ms: quantile(0.999),
        max_ms: ms(latency.max()),
        longest_pause_ms: longest_pause.as_secs_f64() * 1_000.0,
        errors: measured.errors.values().sum(),
        error_reasons: measured.errors,
        engine: status.engine.clone(),
        durability: status.durability.clone(),
    }
}
