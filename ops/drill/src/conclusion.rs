//! The beginning and the end that all drills have: clients with accounts, everything that
//! was acknowledged against what is there, and the report.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lombard_consistency::collect;
use lombard_consistency::wire::{Ledger, Wire};

use crate::bank::{Alert, Audit, Bank};
use crate::compare::{Compared, compare};
use crate::judge::Wrong;
use crate::load::{Book, Load, SentAgain};
use crate::observed::Observed;
use crate::report::{Must, Phase, Report, always};
use crate::timeline::Timeline;
use crate::{Clients, Context, DrillError};

/// A call without an answer for so long is given up.
const CALL_TIMEOUT_MS: u64 = 10_000;
/// How long it may take until nothing is on its way or in doubt any more.
const SETTLE_PATIENCE: Duration = Duration::from_secs(60);

/// Clients, and what they know: all of a drill but the engine and the bank.
pub struct Clientele<'c> {
    context: &'c Context<'c>,
    clients: Clients,
    /// What was done when.
    pub timeline: Timeline<'c>,
    /// What clients were answered.
    pub observed: Arc<Observed>,
    wire: Wire,
    load: Load,
}

/// A bank with clients.
pub struct Stage<'c> {
    /// Its clients.
    pub clientele: Clientele<'c>,
    /// The bank.
    pub bank: Box<dyn Bank>,
}

/// What there was at the end.
pub struct Conclusion<'c> {
    clients: Clients,
    timeline: Timeline<'c>,
    wrong: Vec<Wrong>,
    compared: Compared,
    audit: Audit,
    /// What clients were answered.
    pub phases: Vec<Phase>,
    /// All that clients know.
    pub book: Book,
    /// The bank's alerts.
    pub alerts: Vec<Alert>,
}

impl<'c> Clientele<'c> {
    /// Starts a bank for them.
    ///
    /// # Errors
    /// The bank does not start.
    pub async fn go_to(
        mut self,
        what: &str,
        config: &str,
        folder: &Path,
    ) -> Result<Stage<'c>, DrillError> {
        let bank = start(self.context, &self.timeline, what, config, folder).await?;
        self.load.reach(&reached(&self.wire, bank.as_ref())?);
        Ok(Stage {
            clientele: self,
            bank,
        })
    }

    /// All that the clients know.
    pub fn book(&self) -> Book {
        self.load.book()
    }
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
        clients: Clients,
    ) -> Result<Self, DrillError> {
        let bank = start(context, &timeline, "start the bank on it", config, folder).await?;
        let wire = Wire::new(context.host, CALL_TIMEOUT_MS);
        let observed = Arc::new(Observed::new(context.host));
        let ledger = reached(&wire, bank.as_ref())?;
        let Clients { accounts, seed, .. } = clients;
        let load = timeline
            .step(
                format!("open {accounts} accounts and give each money"),
                Load::open(context.host, &ledger, accounts, seed, &observed),
                |load| format!("{} entries acknowledged", load.book().entries.len()),
            )
            .await?;
        Ok(Self {
            clientele: Clientele {
                context,
                clients,
                timeline,
                observed,
                wire,
                load,
            },
            bank,
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
        let Clientele {
            timeline,
            observed,
            load,
            ..
        } = &mut self.clientele;
        let (timeline, observed, bank) = (&*timeline, &**observed, self.bank.as_ref());
        let acted = async {
            let done = script(timeline, observed, bank).await;
            over.store(true, Ordering::Relaxed);
            done
        };
        let working = load.work(&over);
        let telling = timeline.live(observed, bank, &over);
        let (done, (), ()) = futures::join!(acted, working, telling);
        observed.end();
        done
    }

    /// Sends again what is in doubt, and waits until nothing is on its way.
    ///
    /// # Errors
    /// None; what is left is told.
    pub async fn settle(&mut self) -> Result<(), DrillError> {
        let Clientele {
            context,
            timeline,
            wire,
            load,
            ..
        } = &mut self.clientele;
        let address = self.bank.ledger().to_owned();
        let settling = async {
            let left = load.settle(SETTLE_PATIENCE).await;
            let addresses = || vec![address.clone()];
            let quiet = collect::settle(context.host, wire, addresses, SETTLE_PATIENCE).await;
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
        Ok(())
    }

    /// Compares what the bank has with what must be there.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn compare(&self, what: &str, book: &Book) -> Result<Compared, DrillError> {
        let Clientele {
            context,
            timeline,
            wire,
            ..
        } = &self.clientele;
        timeline
            .step(
                what,
                compare(context.host, wire, self.bank.ledger(), book),
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
            .await
    }

    /// Asks the bank's auditor.
    ///
    /// # Errors
    /// It could not be asked.
    pub async fn audit(&self) -> Result<Audit, DrillError> {
        self.clientele
            .timeline
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
            .await
    }

    /// Sends every entry again that was ever acknowledged, each client its own in their
    /// order, as those do who hear that something was lost.
    ///
    /// # Errors
    /// One is refused, or not answered again and again.
    pub async fn send_again(&mut self) -> Result<SentAgain, DrillError> {
        let Clientele { timeline, load, .. } = &mut self.clientele;
        timeline
            .step(
                "send every acknowledged entry again, with its id",
                load.send_again(),
                |sent| {
                    format!(
                        "{} were in, {} got in",
                        sent.were_in.len(),
                        sent.got_in.len()
                    )
                },
            )
            .await
    }

    /// Stops the bank; its clients wait.
    ///
    /// # Errors
    /// It does not stop, or says that it was not clean.
    pub async fn close(self) -> Result<Clientele<'c>, DrillError> {
        let stopping = self.bank.stop();
        let timeline = &self.clientele.timeline;
        timeline
            .step("stop the bank", stopping, |()| "drained".to_owned())
            .await?;
        Ok(self.clientele)
    }

    /// Compares everything that was acknowledged with what is there, asks the auditor, and
    /// stops the bank.
    ///
    /// # Errors
    /// The ledger cannot be read, the auditor not be asked, or the bank does not stop.
    pub async fn conclude(mut self) -> Result<Conclusion<'c>, DrillError> {
        self.settle().await?;
        let book = self.clientele.book();
        let what = "compare balances and events with what was acknowledged";
        let compared = self.compare(what, &book).await?;
        let audit = self.audit().await?;
        let alerts = self.bank.alerts();
        let clientele = self.close().await?;
        Ok(Conclusion {
            clients: clientele.clients,
            timeline: clientele.timeline,
            wrong: clientele.observed.wrong(),
            compared,
            audit,
            phases: clientele.observed.phases(),
            book,
            alerts,
        })
    }
}

impl Conclusion<'_> {
    /// The report of a drill: its own verdicts, and those that all have. `folders` are named
    /// in it where they were to be kept.
    pub fn report(
        self,
        drill: &'static str,
        engine: String,
        mut verdicts: Vec<Must>,
        folders: Vec<PathBuf>,
    ) -> Report {
        verdicts.extend(always(&self.phases, &self.compared, &self.audit));
        Report {
            drill,
            ok: verdicts.iter().all(|verdict| verdict.ok),
            engine,
            accounts: self.clients.accounts,
            seed: self.clients.seed,
            seconds: self.timeline.seconds(),
            alerts: self.timeline.alerts(&self.alerts),
            alert_after_ms: None,
            acknowledged_while_wrong: None,
            restored: None,
            steps: self.timeline.into_steps(),
            phases: self.phases,
            wrong: self.wrong,
            compared: self.compared,
            audit: self.audit,
            verdicts,
            folders: if self.clients.keep {
                folders
            } else {
                Vec::new()
            },
        }
    }
}

async fn start<'c>(
    context: &'c Context<'c>,
    timeline: &Timeline<'c>,
    what: &str,
    config: &str,
    folder: &Path,
) -> Result<Box<dyn Bank>, DrillError> {
    timeline
        .step(what, context.banks.start(config, folder), |bank| {
            format!("its ledger listens on {}", bank.ledger())
        })
        .await
}

fn reached(wire: &Wire, bank: &dyn Bank) -> Result<Ledger, DrillError> {
    wire.ledger(bank.ledger())
        .map_err(|error| DrillError::Ledger {
            doing: format!("calling the ledger at {}", bank.ledger()),
            why: error.to_string(),
        })
}
