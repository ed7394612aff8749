//! A run from beginning to end: open accounts, let clients work while things break, wait
//! until all is quiet, read the end, check.

mod client;

use std::time::Duration;

use futures::future::join_all;
use lombard_service::Host;
use parking_lot::Mutex;
use tokio::sync::watch;

use self::client::Clients;
use crate::collect;
use crate::end::End;
use crate::history::{FORM, Header, History};
use crate::nemesis::{FaultDone, Nemesis, NemesisError, Timing, misfortune};
use crate::recorder::Recorder;
use crate::report::Report;
use crate::system::System;
use crate::wire::Wire;
use crate::workload::Workload;

/// Between two tells of progress.
const PROGRESS_PAUSE: Duration = Duration::from_millis(100);
/// Between two attempts to open an account.
const OPEN_PAUSE: Duration = Duration::from_millis(100);

/// How a run is made.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Decides what chance decides: calls, faults, retries. Threads and networks
    /// decide the rest, so two runs of one seed are alike and not the same.
    pub seed: u64,
    /// Clients; each makes one call at a time.
    pub processes: u32,
    /// Customers' accounts, besides one that everybody uses and the bank's own.
    pub customers: u32,
    /// Operations in all.
    pub operations: u64,
    /// Operations go on until so many faults were injected and healed, too.
    pub faults_min: u64,
    /// The clients end after this time at the latest.
    pub time_max: Duration,
    /// An answer that takes longer is not waited for.
    pub call_timeout: Duration,
    /// The longest pause of a client between two operations.
    pub pause_max: Duration,
    /// An operation is sent at most so often.
    pub attempts_max: u32,
    /// When things break.
    pub timing: Timing,
    /// How long accounts may take to be opened, and the ledger to become quiet at the end.
    /// What is still on its way then is a violation: be generous.
    pub settle_timeout: Duration,
}

impl Options {
    /// Of this seed: 8 clients, 6 customers, 2,000 operations.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            processes: 8,
            customers: 6,
            operations: 2_000,
            faults_min: 0,
            time_max: Duration::from_secs(600),
            call_timeout: Duration::from_secs(2),
            pause_max: Duration::ZERO,
            attempts_max: 6,
            timing: Timing::default(),
            settle_timeout: Duration::from_secs(60),
        }
    }
}

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Accounts are being opened.
    Opening,
    /// Clients work.
    Working,
    /// Everything is whole again, and what is on its way comes to its end.
    Settling,
    /// The end is read and the history is checked.
    Checking,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Operations that have begun.
    pub operations: u64,
    /// Operations that are wanted.
    pub operations_wanted: u64,
    /// The last fault, and how many there were.
    pub faults: u64,
}

/// What a run has brought.
#[derive(Debug)]
pub struct Run {
    /// What clients did and saw.
    pub history: History,
    /// What the ledger held at the end.
    pub end: End,
    /// Whether that can be true.
    pub report: Report,
}

/// Why a run came to no answer. It says nothing of the system.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The accounts could not be opened.
    #[error("account {account} could not be opened: {reason}")]
    Open {
        /// The account.
        account: String,
        /// What the ledger said last.
        reason: String,
    },
    /// A fault could not be injected or healed.
    #[error("a fault could not be injected or healed: {0}")]
    Nemesis(#[from] NemesisError),
    /// The end could not be read.
    #[error("the ledger could not be read at the end: {0}")]
    End(String),
    /// The auditor could not be asked.
    #[error("the auditor could not be asked: {0}")]
    Audit(String),
}

/// Runs clients against a system while a nemesis breaks it, and checks what came of it.
///
/// Time, ids, randomness and tasks are the host's. `progress` is told now and then.
///
/// # Errors
/// The run came to no answer: see [`RunError`]. That the system is wrong is no error: it
/// is in the [`Report`].
pub async fn run(
    system: &dyn System,
    nemesis: &dyn Nemesis,
    host: &Host,
    options: &Options,
    mut progress: impl FnMut(&Progress) + Send,
) -> Result<Run, RunError> {
    let id = host.id().to_string();
    let tag = format!("check-{}", crate::words::short(&id));
    let workload = Workload::new(host, &tag, options.customers);
    let timeout_ms = u64::try_from(options.call_timeout.as_millis()).unwrap_or(u64::MAX);
    let wire = Wire::new(host, timeout_ms);
    let mut now = Progress {
        phase: Phase::Opening,
        operations: 0,
        operations_wanted: options.operations,
        faults: 0,
    };
    progress(&now);
    let accounts = workload.accounts();
    for account in &accounts {
        open(host, system, &wire, account, options.settle_timeout).await?;
    }

    now.phase = Phase::Working;
    let header = Header {
        form: FORM,
        system: system.name(),
        seed: options.seed,
        began_us: 0,
        tag: format!("{tag}-"),
        accounts,
    };
    let names: Vec<String> = header
        .accounts
        .iter()
        .map(|account| account.id.clone())
        .collect();
    let recorder = Recorder::new(host, header);
    let faults: Mutex<Vec<FaultDone>> = Mutex::default();
    let over = watch::Sender::new(false);
    let clients = Clients {
        host,
        system,
        options,
        wire: &wire,
        workload: &workload,
        recorder: &recorder,
        accounts: &names,
        begun: std::sync::atomic::AtomicU64::new(0),
        until_us: host
            .monotonic_us()
            .saturating_add(u64::try_from(options.time_max.as_micros()).unwrap_or(u64::MAX)),
        faults: &faults,
        over: &over,
    };
    let working = async {
        clients.fund().await;
        join_all((0..options.processes).map(|process| clients.work(process))).await;
        over.send_replace(true);
    };
    let breaking = misfortune(
        host,
        nemesis,
        &options.timing,
        options.seed ^ 0x6e65_6d65_7369_7300,
        &recorder,
        over.subscribe(),
        |fault| faults.lock().push(fault),
    );
    let breaking = async {
        let broke = breaking.await;
        if broke.is_err() {
            // Without its faults the run would prove nothing.
            over.send_replace(true);
        }
        broke
    };
    let telling = async {
        let mut over = over.subscribe();
        loop {
            now.operations = clients.begun();
            now.faults = faults.lock().len() as u64;
            progress(&now);
            tokio::select! {
                () = host.sleep(PROGRESS_PAUSE) => {}
                _ = over.wait_for(|over| *over) => break,
            }
        }
    };
    let ((), broke, ()) = futures::join!(working, breaking, telling);
    broke?;

    now.phase = Phase::Settling;
    now.operations = clients.begun();
    now.faults = faults.lock().len() as u64;
    progress(&now);
    let addresses = || system.addresses();
    let quiet = collect::settle(host, &wire, addresses, options.settle_timeout).await;
    now.phase = Phase::Checking;
    progress(&now);
    let mut end = collect::end(host, &wire, addresses, &names, options.settle_timeout)
        .await
        .map_err(|error| RunError::End(error.to_string()))?;
    end.unquiet = quiet.err();
    end.audit = system.audit().await.map_err(RunError::Audit)?;
    let history = recorder.finish();
    let report = Report::of(&history, &end, faults.into_inner());
    Ok(Run {
        history,
        end,
        report,
    })
}

async fn open(
    host: &Host,
    system: &dyn System,
    wire: &Wire,
    account: &crate::history::Account,
    timeout: Duration,
) -> Result<(), RunError> {
    let until_us = host
        .monotonic_us()
        .saturating_add(u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX));
    loop {
        let reason = match system.addresses().first() {
            Some(address) => match wire.open(address, account).await {
                Ok(()) => return Ok(()),
                Err(error) => error.to_string(),
            },
            None => "the system has no address".to_owned(),
        };
        if host.monotonic_us() >= until_us {
            return Err(RunError::Open {
                account: account.id.clone(),
                reason,
            });
        }
        host.sleep(OPEN_PAUSE).await;
    }
}
