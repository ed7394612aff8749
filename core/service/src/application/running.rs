//! An application that answers, and how it ends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use lombard_rpc::server::Serving;

use super::context::{AddressBook, Running};
use super::signals::StopSignals;
use super::{HostOptions, StartError};
use crate::Host;

/// Signals within this time of the first are the same one.
const SAME_WORD_US: u64 = 500_000;

/// How often readiness is asked for while starting.
const READY_POLL: Duration = Duration::from_millis(1);

/// Services that answer. Dropping it cuts everything off; see [`RunningApplication::wait`].
pub struct RunningApplication {
    host: Host,
    addresses: BTreeMap<String, SocketAddr>,
    book: AddressBook,
    ready_ms: u64,
    task_timeout: Duration,
    signals: StopSignals,
    services: Vec<Started>,
}

struct Started {
    name: &'static str,
    serving: Serving,
    service: Running,
}

/// What ended an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The code asked for it.
    Asked,
    /// This signal.
    Signal(&'static str),
}

/// How an application ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// What ended it.
    pub reason: StopReason,
    /// Connections that were cut off because they were not done in time.
    pub cut_off: usize,
    /// Tasks that did not end in time.
    pub tasks_left: Vec<&'static str>,
    /// A second signal ended the drain.
    pub forced: bool,
}

impl Stopped {
    /// Whether every accepted call was answered and every task ended: exit code 0.
    pub fn is_clean(&self) -> bool {
        self.cut_off == 0 && self.tasks_left.is_empty() && !self.forced
    }
}

impl RunningApplication {
    pub(super) fn new(
        host: Host,
        options: &HostOptions,
        addresses: BTreeMap<String, SocketAddr>,
        book: AddressBook,
    ) -> Self {
        Self {
            host,
            addresses,
            book,
            ready_ms: 0,
            task_timeout: Duration::from_millis(options.task_timeout_ms),
            signals: StopSignals::listen(),
            services: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, name: &'static str, serving: Serving, service: Running) {
        self.services.push(Started {
            name,
            serving,
            service,
        });
    }

    /// Ends when the process is told to stop.
    pub(super) async fn stop_signal(&mut self) {
        self.signals.next().await;
    }

    pub(super) async fn wait_until_ready(&mut self, timeout: Duration) -> Result<(), StartError> {
        let asked = async {
            loop {
                let waiting = self.services.iter().find_map(|started| {
                    let waiting_for = (started.service.ready)().err()?;
                    Some((started.name, waiting_for))
                });
                match waiting {
                    None => return,
                    Some(_) => tokio::time::sleep(READY_POLL).await,
                }
            }
        };
        let in_time = tokio::select! {
            in_time = tokio::time::timeout(timeout, asked) => in_time.is_ok(),
            _ = self.signals.next() => return Err(StartError::Interrupted),
        };
        if in_time {
            self.ready_ms = self.host.monotonic_us() / 1_000;
            return Ok(());
        }
        let waiting = self.services.iter().find_map(|started| {
            let waiting_for = (started.service.ready)().err()?;
            Some(StartError::NotReady {
                service: started.name,
                waiting_for,
                timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            })
        });
        // It may have become ready between the two looks.
        waiting.map_or(Ok(()), Err)
    }

    /// Where each service of this process listens.
    pub fn addresses(&self) -> &BTreeMap<String, SocketAddr> {
        &self.addresses
    }

    /// Where all services are, also those elsewhere.
    pub fn book(&self) -> &AddressBook {
        &self.book
    }

    /// Milliseconds from the making of the host until all were ready.
    pub fn ready_ms(&self) -> u64 {
        self.ready_ms
    }

    /// The host that it runs on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Calls in progress in all services.
    pub fn calls_in_progress(&self) -> usize {
        let calls = self.services.iter();
        calls
            .map(|started| started.serving.calls_in_progress())
            .sum()
    }

    /// Runs until SIGTERM or SIGINT, then stops as [`RunningApplication::shutdown`] does;
    /// a second signal, half a second later or more, ends that at once.
    pub async fn wait(mut self) -> Stopped {
        let signal = self.signals.next().await;
        tracing::info!(signal, "draining");
        self.stop(StopReason::Signal(signal)).await
    }

    /// Runs until a signal comes or `other` ends, then stops in the same way.
    pub async fn wait_or(mut self, other: impl Future<Output = ()>) -> Stopped {
        let reason = tokio::select! {
            signal = self.signals.next() => StopReason::Signal(signal),
            () = other => StopReason::Asked,
        };
        self.stop(reason).await
    }

    /// Stops: services in reverse order stop accepting, answer the calls that they have,
    /// and run their drain hooks; then tasks are told to end; then stop hooks run.
    pub async fn shutdown(self) -> Stopped {
        self.stop(StopReason::Asked).await
    }

    async fn stop(self, reason: StopReason) -> Stopped {
        let Self {
            host,
            task_timeout,
            mut signals,
            services,
            ..
        } = self;
        let drain = drain(&host, services, task_timeout, reason);
        tokio::select! {
            stopped = drain => stopped,
            signal = second(&host, &mut signals) => {
                tracing::warn!(signal, "stopped at once by a second signal");
                host.shutdown().request();
                Stopped { reason, cut_off: 0, tasks_left: Vec::new(), forced: true }
            }
        }
    }
}

/// A second signal. What comes right behind the first is the same word told twice:
/// whoever stops a process together with its group (`timeout`, some supervisors)
/// tells it so.
async fn second(host: &Host, signals: &mut StopSignals) -> &'static str {
    let first_us = host.monotonic_us();
    loop {
        let signal = signals.next().await;
        if host.monotonic_us().saturating_sub(first_us) >= SAME_WORD_US {
            return signal;
        }
    }
}

async fn drain(
    host: &Host,
    services: Vec<Started>,
    task_timeout: Duration,
    reason: StopReason,
) -> Stopped {
    let mut cut_off = 0;
    let mut stop_hooks = Vec::new();
    for Started {
        name,
        serving,
        mut service,
    } in services.into_iter().rev()
    {
        let drained = serving.drain().await;
        cut_off += drained.cut_off;
        if drained.cut_off > 0 {
            tracing::warn!(service = name, connections = drained.cut_off, "cut off");
        }
        if let Some(hook) = service.drain.take() {
            hook().await;
        }
        if let Some(hook) = service.stop.take() {
            stop_hooks.push(hook);
        }
        tracing::debug!(service = name, "drained");
    }
    host.shutdown().request();
    let tasks_left = host.tasks().stop(task_timeout).await;
    if !tasks_left.is_empty() {
        tracing::warn!(tasks = ?tasks_left, "did not end in time");
    }
    for hook in stop_hooks {
        hook().await;
    }
    Stopped {
        reason,
        cut_off,
        tasks_left,
        forced: false,
    }
}

impl std::fmt::Debug for RunningApplication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(&self.addresses).finish()
    }
}
