//! The beginning and the end that all drills have: clients with accounts, and everything
//! that was acknowledged against what is there.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lombard_consistency::collect;
use lombard_consistency::wire::Wire;

use crate::bank::{Alert, Audit, Bank};
use crate::compare::{Compared, compare};
use crate::load::{Book, Load};
use crate::observed::Observed;
use crate::timeline::Timeline;
use crate::{Context, DrillError};

/// A call without an answer for so long is given up.
const CALL_TIMEOUT_MS: u64 = 10_000;
/// How long it may take until nothing is on its way or in doubt any more.
const SETTLE_PATIENCE: Duration = Duration::from_secs(60);

/// A bank with clients.
pub struct Stage<'c> {
    context: &'c Context<'c>,
    /// What was done when.
    pub timeline: Timeline<'c>,
    /// What clients were answered.
    pub observed: Arc<Observed>,
    /// The bank.
    pub bank: Box<dyn Bank>,
    wire: Wire,
    load: Load,
}

/// What there was at the end.
pub struct Conclusion<'c> {
    /// What was done when.
    pub timeline: Timeline<'c>,
    /// All that clients know.
    pub book: Book,
    /// That, against what is there.
    pub compared: Compared,
    /// The auditor's word.
    pub audit: Audit,
    /// The bank's alerts.
    pub alerts: Vec<Alert>,
}

impl<'c> Stage<'c> {
    /// Starts a bank of this configuration, and opens accounts.
    ///
    /// # Errors
    /// The bank does not start, or an account cannot be opened.
    pub async fn set(
        context: &'c Context<'c>,
        timeline: Timeline<'c>,
        config: &str,
        folder: &Path,
        accounts: u32,
        seed: u64,
    ) -> Result<Self, DrillError> {
        let bank = timeline
            .step(
                "start the bank on it",
                context.banks.start(config, folder),
                |bank| format!("its ledger listens on {}", bank.ledger()),
            )
            .await?;
        let wire = Wire::new(context.host, CALL_TIMEOUT_MS);
        let observed = Arc::new(Observed::new(context.host));
        let ledger = wire
            .ledger(bank.ledger())
            .map_err(|error| DrillError::Ledger {
                doing: format!("calling the ledger at {}", bank.ledger()),
                why: error.to_string(),
            })?;
        let load = timeline
            .step(
                format!("open {accounts} accounts and give each money"),
                Load::open(context.host, &ledger, accounts, seed, &observed),
                |load| format!("{} entries acknowledged", load.book().entries.len()),
            )
            .await?;
        Ok(Self {
            context,
            timeline,
            observed,
            bank,
            wire,
            load,
        })
    }

    /// Lets the clients work while something is done.
    ///
    /// # Errors
    /// What is done failed.
    pub async fn play<T>(
        &mut self,
        script: impl AsyncFnOnce(&Timeline<'c>, &Observed, &dyn Bank) -> Result<T, DrillError>,
    ) -> Result<T, DrillError> {
        let over = AtomicBool::new(false);
        let (timeline, observed, bank) = (&self.timeline, &self.observed, self.bank.as_ref());
        let acted = async {
            let done = script(timeline, observed, bank).await;
            over.store(true, Ordering::Relaxed);
            done
        };
        let working = self.load.work(&over);
        let telling = timeline.live(observed, bank, &over);
        let (done, (), ()) = futures::join!(acted, working, telling);
        observed.end();
        done
    }

    /// Compares everything that was acknowledged with what is there, asks the auditor, and
    /// stops the bank.
    ///
    /// # Errors
    /// The ledger cannot be read, the auditor not be asked, or the bank does not stop.
    pub async fn conclude(mut self) -> Result<Conclusion<'c>, DrillError> {
        let host = self.context.host;
        let address = self.bank.ledger().to_owned();
        let (timeline, wire, load) = (&self.timeline, &self.wire, &mut self.load);
        let settling = async {
            let left = load.settle(SETTLE_PATIENCE).await;
            let addresses = || vec![address.clone()];
            let quiet = collect::settle(host, wire, addresses, SETTLE_PATIENCE).await;
            let quiet = quiet.map_or_else(|what| what, |()| "nothing is on its way".to_owned());
            Ok(format!("{left} entries are left in doubt; {quiet}"))
        };
        timeline
            .step(
                "send again what is in doubt, and wait until all is quiet",
                settling,
                String::clone,
            )
            .await?;
        let book = self.load.book();
        let compared = timeline
            .step(
                "compare balances and events with what was acknowledged",
                compare(host, wire, &address, &book),
                |compared| {
                    format!(
                        "{} accounts, {} entries, {} events: {} contradictions",
                        compared.accounts,
                        compared.entries,
                        compared.events,
                        compared.findings_count
                    )
                },
            )
            .await?;
        let audit = timeline
            .step(
                "ask the auditor: lombard check",
                self.bank.audit(),
                |audit| {
                    let clean = if audit.clean { "clean" } else { "not right" };
                    format!(
                        "{clean}: {} accounts, {} entries",
                        audit.accounts, audit.entries
                    )
                },
            )
            .await?;
        let alerts = self.bank.alerts();
        let bank = self.bank;
        self.timeline
            .step("stop the bank", bank.stop(), |()| "drained".to_owned())
            .await?;
        Ok(Conclusion {
            timeline: self.timeline,
            book,
            compared,
            audit,
            alerts,
        })
    }
}
