//! On the embedded engine: what breaks is the bank itself.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lombard_consistency::end::Audit;
use lombard_consistency::nemesis::{FaultKind, NemesisError, NodeFaults, Nodes};
use lombard_consistency::{Options, System};
use tokio::runtime::Runtime;

use super::{audit, judge, options};
use crate::support::Up;

/// So often it is killed, and so often it stands still.
const ROUNDS: u64 = 5;

/// The bank's process; none while it is dead.
struct Process {
    data: PathBuf,
    up: Mutex<Option<Up>>,
    /// Where it listens, or did: clients are not told that it dies.
    ledger: Mutex<String>,
}

impl Process {
    fn up(&self) -> MutexGuard<'_, Option<Up>> {
        self.up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self) {
        let up = Up::start(&self.data, &[]);
        let ledger = up.ready["addresses"]["ledger"].as_str().unwrap();
        *self.ledger.lock().unwrap() = ledger.to_owned();
        *self.up() = Some(up);
    }

    fn signal(&self, name: &str) -> Result<(), NemesisError> {
        match self.up().as_ref() {
            Some(up) => {
                up.signal(name);
                Ok(())
            }
            None => Err(NemesisError("the bank does not run".to_owned())),
        }
    }
}

struct Bank(Arc<Process>);

#[async_trait]
impl System for Bank {
    fn name(&self) -> String {
        "the bank on one log".to_owned()
    }

    fn addresses(&self) -> Vec<String> {
        vec![self.0.ledger.lock().unwrap().clone()]
    }

    async fn audit(&self) -> Result<Option<Audit>, String> {
        audit(self.0.data.clone()).await.map(Some)
    }
}

struct Processes(Arc<Process>);

#[async_trait]
impl Nodes for Processes {
    fn count(&self) -> usize {
        1
    }

    fn name(&self, _: usize) -> String {
        "the bank".to_owned()
    }

    async fn kill(&self, _: usize) -> Result<(), NemesisError> {
        self.0.signal("KILL")?;
        let up = self.0.up().take();
        up.map(Up::wait);
        Ok(())
    }

    async fn start(&self, _: usize) -> Result<(), NemesisError> {
        let process = self.0.clone();
        let started = tokio::task::spawn_blocking(move || process.start()).await;
        started.map_err(|error| NemesisError(error.to_string()))
    }

    async fn pause(&self, _: usize) -> Result<(), NemesisError> {
        self.0.signal("STOP")
    }

    async fn resume(&self, _: usize) -> Result<(), NemesisError> {
        self.0.signal("CONT")
    }
}

#[test]
fn what_clients_saw_can_be_true_while_the_bank_is_killed_again_and_again() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = folder.path().join("data");
    let process = Arc::new(Process {
        data,
        up: Mutex::default(),
        ledger: Mutex::default(),
    });
    process.start();
    let kinds = [FaultKind::Kill, FaultKind::Pause];
    let nemesis = NodeFaults::new(Processes(process.clone()), &kinds);
    let runtime = Runtime::new().unwrap();
    let options = Options {
        // A call takes a millisecond: some must be on their way when it dies.
        pause_max: Duration::from_millis(4),
        ..options(&nemesis, ROUNDS)
    };
    judge(&runtime, &Bank(process.clone()), &nemesis, &options);
    let up = process.up().take();
    up.unwrap().stop();
}
