//! How the ledger starts, what runs beside its calls, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use connectrpc::Router;
use lombard_contracts::bank::ledger::v1::LedgerServiceExt;
use lombard_service::{Failure, Host, Running, ServiceContext};
use lombard_store::StoreError;
use lombard_telemetry::Event;
use tokio::sync::Mutex;

use super::Ledger;
use super::metrics::{LeftUndone, Metrics, Resumed};
use crate::coordinator::Coordinator;
use crate::options::Options;

/// The service's name: of its section, keyspace and metrics.
pub const NAME: &str = "ledger";

/// Between two looks of the coordinator and the sweeper.
const PAUSE: Duration = Duration::from_millis(500);
/// For how long the end of the process waits for what calls left behind, between two pages of
/// events. What is left after that is finished by the next start.
const DRAIN_US: u64 = 3_000_000;

/// Starts the ledger: its calls, the coordinator that finishes what a crash
/// left, the sweeper that books expiries.
///
/// # Errors
/// Its options are wrong, or the store failed.
pub async fn start(context: ServiceContext) -> Result<Running, Failure> {
    let options: Options = context.options()?;
    options.validate()?;
    let keyspace = context.store.keyspace(NAME).await?;
    let metrics = Metrics::new(&context.registry);
    let ledger = Ledger::measured(keyspace, context.host.clone(), options, metrics);
    let coordinator = Coordinator::open(
        ledger.flow().clone(),
        ledger.in_flight().clone(),
        context.host.clone(),
        ledger.options(),
    )
    .await?;
    let coordinator = Arc::new(Mutex::new(coordinator));

    let (host, carrying, beside) = (context.host.clone(), coordinator.clone(), ledger.clone());
    context
        .host
        .tasks()
        .spawn("ledger coordinator", async move {
            let goes_on = || !host.shutdown().is_requested();
            every_pause(&host, || carry(&beside, &carrying, goes_on)).await;
        });
    let (host, beside) = (context.host.clone(), ledger.clone());
    context.host.tasks().spawn("ledger sweeper", async move {
        let mut stop = host.shutdown().subscribe();
        let scanned = tokio::select! {
            () = scan(&host, &beside) => true,
            _ = stop.wait_for(|requested| *requested) => false,
        };
        if scanned {
            every_pause(&host, || sweep(&host, &beside)).await;
        }
    });

    let last = ledger.clone();
    let router = Arc::new(ledger).register(Router::new());
    // What calls left behind is finished before the process ends.
    let host = context.host.clone();
    Ok(Running::new(router).on_drain(move || async move {
        let until_us = host.monotonic_us() + DRAIN_US;
        carry(&last, &coordinator, || host.monotonic_us() < until_us).await;
        if let Err(error) = coordinator.lock().await.leave().await {
            report(&last, "leaving the keyspace in order", &error);
        }
    }))
}

async fn every_pause<F: Future<Output = ()>>(host: &Host, mut work: impl FnMut() -> F) {
    let mut stop = host.shutdown().subscribe();
    loop {
        work().await;
        tokio::select! {
            () = host.sleep(PAUSE) => {}
            _ = stop.wait_for(|requested| *requested) => return,
        }
    }
}

async fn carry(
    ledger: &Ledger,
    coordinator: &Mutex<Coordinator>,
    goes_on: impl Fn() -> bool + Send,
) {
    let mut coordinator = coordinator.lock().await;
    match coordinator.pass(goes_on).await {
        Ok(pass) => {
            Resumed { pass: &pass }.emit(&ledger.metrics);
            if pass.taken_over > 0 {
                // Nobody else knows which of its accounts have holds.
                ledger.sweeper.scan_again();
            }
        }
        Err(error) => report(ledger, "carrying entries", &error),
    }
    let (in_flight, orphaned) = ledger.in_flight().counts();
    ledger.metrics.at(in_flight, orphaned);
}

/// Finds the holds that are open, however often the store fails.
async fn scan(host: &Host, ledger: &Ledger) {
    while let Err(error) = ledger.sweeper.scan().await {
        report(ledger, "looking for holds", &error);
        host.sleep(PAUSE).await;
    }
}

async fn sweep(host: &Host, ledger: &Ledger) {
    if ledger.sweeper.is_to_scan() {
        let mut stop = host.shutdown().subscribe();
        tokio::select! {
            () = scan(host, ledger) => {}
            _ = stop.wait_for(|requested| *requested) => return,
        }
    }
    if let Err(error) = ledger.sweeper.sweep(ledger.now_us()).await {
        report(ledger, "expiring holds", &error);
    }
}

fn report(ledger: &Ledger, what: &'static str, error: &StoreError) {
    LeftUndone { what, error }.emit(&ledger.metrics);
}
