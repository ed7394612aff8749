//! Histories of clients of the real binary, while what it keeps its state in is killed,
//! stands still, is cut off and slow: they must be ones that can be true.

mod cassandra;
mod embedded;
mod postgres;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lombard_consistency::end::Audit;
use lombard_consistency::nemesis::{NemesisError, Timing};
use lombard_consistency::proxy::FaultProxy;
use lombard_consistency::timeline::Styles;
use lombard_consistency::{Nemesis, Options, System, run};
use lombard_service::Host;
use tokio::runtime::Runtime;

use crate::support::{self, Up};

/// Operations of a run, at least: it goes on until each kind of fault was there.
const OPERATIONS: u64 = 500;

/// The real binary, and its auditor.
struct Bank {
    name: &'static str,
    ledger: String,
    data: PathBuf,
}

#[async_trait]
impl System for Bank {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn addresses(&self) -> Vec<String> {
        vec![self.ledger.clone()]
    }

    async fn audit(&self) -> Result<Option<Audit>, String> {
        audit(self.data.clone()).await.map(Some)
    }
}

/// What `lombard check` finds in the bank that runs on a folder.
async fn audit(data: PathBuf) -> Result<Audit, String> {
    let checked = tokio::task::spawn_blocking(move || {
        let output = support::run(&data, &["check", "--json"]);
        serde_json::from_slice::<serde_json::Value>(&output.stdout)
    });
    let checked = checked.await.map_err(|error| error.to_string())?;
    let checked = checked.map_err(|error| error.to_string())?;
    let findings = checked["findings"].as_array().into_iter().flatten();
    Ok(Audit {
        findings: findings.map(ToString::to_string).collect(),
    })
}

/// Blocking work on an engine, as a nemesis asks for it.
async fn blocking<T: Send + Sync + 'static>(
    on: &Arc<T>,
    work: impl FnOnce(&T) -> Result<(), lombard_engines::Error> + Send + 'static,
) -> Result<(), NemesisError> {
    let on = on.clone();
    let done = tokio::task::spawn_blocking(move || work(&on).map_err(|error| error.to_string()));
    done.await
        .map_err(|error| error.to_string())
        .flatten()
        .map_err(NemesisError)
}

/// A proxy that listens here and passes on to there.
fn proxy(
    runtime: &Runtime,
    host: &Host,
    listen: SocketAddr,
    target: SocketAddr,
) -> Arc<FaultProxy> {
    let started = runtime.block_on(FaultProxy::start(host, listen, target.to_string()));
    Arc::new(started.unwrap())
}

/// A run in which each kind of fault comes so often.
fn options(nemesis: &impl Nemesis, rounds: u64) -> Options {
    Options {
        operations: OPERATIONS,
        // None comes again before all others have come.
        faults_min: nemesis.can().len() as u64 * rounds,
        pause_max: Duration::from_millis(20),
        call_timeout: Duration::from_secs(5),
        time_max: Duration::from_secs(300),
        settle_timeout: Duration::from_secs(120),
        timing: Timing {
            whole_ms: 500..=1_500,
            broken_ms: 500..=2_000,
        },
        ..Options::new(11)
    }
}

/// Runs clients; what they did and saw can be true, and each kind of fault was there.
fn judge(runtime: &Runtime, system: &impl System, nemesis: &impl Nemesis, options: &Options) {
    let host = Host::system();
    let outcome = runtime.block_on(run(system, nemesis, &host, options, |_| {}));
    let report = outcome.unwrap().report;
    let text = report.text(&Styles::plain());
    println!("{text}");
    assert!(report.consistent, "{text}");
    assert!(report.audited);
    for kind in nemesis.can() {
        let came = report.faults.iter().any(|fault| fault.kind == kind);
        assert!(came, "nothing of this kind came: {kind}\n{text}");
    }
}

fn bank(name: &'static str, up: &Up, data: &Path) -> Bank {
    Bank {
        name,
        ledger: up.ready["addresses"]["ledger"].as_str().unwrap().to_owned(),
        data: data.to_owned(),
    }
}
