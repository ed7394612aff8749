//! What drills of a restore have in common: what comes before the disaster, and what a bank
//! must show that was put back to a moment.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::bank::Audit;
use crate::conclusion::{Conclusion, Stage};
use crate::load::{Book, SentAgain};
use crate::observed::Observed;
use crate::report::{Must, Report, Restored, no_alert, served_again};
use crate::timeline::Timeline;
use crate::waiting::{rest, served, standing, was_served};
use crate::{Context, DrillError};

/// How long clients work in each phase.
const QUIET: Duration = Duration::from_secs(4);
/// The phase behind it all.
const AFTER: &str = "after the restore";

/// A moment to which an engine is put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// As the engine is told it.
    pub text: String,
    /// In microseconds since 1970. Engine and clients are on one machine here: one clock.
    pub at_us: i64,
}

/// Lets clients work, makes a backup meanwhile, notes a moment, and lets them work on.
///
/// # Errors
/// The backup's, or the moment's.
pub async fn back_up<B>(
    context: &Context<'_>,
    stage: &mut Stage<'_>,
    (what, backup): (&str, impl Future<Output = Result<B, DrillError>>),
    seen: impl FnOnce(&B) -> String,
    note: impl Future<Output = Result<Moment, DrillError>>,
) -> Result<(B, Moment), DrillError> {
    let done = stage
        .play(async |timeline, observed, _| {
            work(context, timeline, observed, "before the backup").await?;
            observed.phase("backup");
            let backup = timeline.step(what, backup, seen).await?;
            work(context, timeline, observed, "behind the backup").await?;
            let moment = timeline
                .step("note the moment", note, |moment| moment.text.clone())
                .await?;
            work(context, timeline, observed, "behind the moment").await?;
            Ok((backup, moment))
        })
        .await?;
    stage.settle().await?;
    Ok(done)
}

async fn work(
    context: &Context<'_>,
    timeline: &Timeline<'_>,
    observed: &Observed,
    phase: &str,
) -> Result<(), DrillError> {
    observed.phase(phase);
    timeline
        .step("let clients work", rest(context.host, QUIET), |()| {
            standing(observed)
        })
        .await
}

/// Does to the ledger what somebody does by mistake, and looks whether the bank, or its
/// auditor, shows it.
///
/// # Errors
/// It could not be done. A bank that cannot be asked any more shows it.
pub async fn mistake<T>(
    stage: &Stage<'_>,
    statement: &str,
    done: impl Future<Output = Result<T, DrillError>>,
) -> Result<Must, DrillError> {
    let timeline = &stage.clientele.timeline;
    timeline
        .step("empty a table of the ledger's, by mistake", done, |_| {
            statement.to_owned()
        })
        .await?;
    let seen = |audit: &Result<Audit, DrillError>| match audit {
        Ok(audit) => left(audit),
        Err(error) => first_line(&error.to_string()),
    };
    let looking = async { Ok(stage.bank.audit().await) };
    let looked = timeline
        .step("ask the auditor what is left", looking, seen)
        .await?;
    let accounts = stage.clientele.book().accounts.len() as u64;
    let is_whole = |audit: &Audit| audit.clean && audit.accounts == accounts;
    Ok(Must::new(
        "disaster",
        "the ledger is not what it was before it is restored",
        !looked.as_ref().is_ok_and(is_whole),
        seen(&looked),
    ))
}

fn left(audit: &Audit) -> String {
    let clean = if audit.clean { "clean" } else { "not right" };
    format!(
        "{clean}: {} accounts, {} entries",
        audit.accounts, audit.entries
    )
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// What was shown of a bank that was put back.
pub struct Proof {
    restored: Restored,
    verdicts: Vec<Must>,
}

impl Proof {
    /// The report of a drill that showed it, after a disaster.
    pub fn report(
        self,
        disaster: Must,
        conclusion: Conclusion<'_>,
        drill: &'static str,
        engine: String,
        folders: Vec<PathBuf>,
    ) -> Report {
        let mut verdicts = vec![disaster];
        verdicts.extend(self.verdicts);
        verdicts.push(served_again(
            &conclusion.phases,
            AFTER,
            "nobody is refused any more when the ledger is back",
        ));
        verdicts.push(no_alert(&conclusion.alerts));
        Report {
            restored: Some(self.restored),
            ..conclusion.report(drill, engine, verdicts, folders)
        }
    }
}

/// Shows that the bank, put back to the moment, has all that was acknowledged by then and
/// nothing that was asked for later; that what is sent again gets in once; and that clients
/// are served. `book` is what clients knew before the disaster.
///
/// # Errors
/// The bank cannot be asked.
pub async fn prove(
    context: &Context<'_>,
    stage: &mut Stage<'_>,
    book: &Book,
    moment: &Moment,
) -> Result<Proof, DrillError> {
    let audit = stage.audit().await?;
    let then = book.as_of(moment.at_us);
    let what = "compare balances and events with what was acknowledged by then";
    let compared = stage.compare(what, &then).await?;
    let sent = stage.send_again().await?;
    stage
        .play(async |timeline, observed, _| {
            observed.phase("the bank is back");
            let well = served(context.host, observed);
            timeline
                .step("wait until nobody is refused", well, |well| {
                    was_served(*well)
                })
                .await?;
            work(context, timeline, observed, AFTER).await
        })
        .await?;
    let by_then = then.entries.len() as u64;
    let on_their_way = then.in_doubt.len() as u64;
    let restored = Restored {
        moment: moment.text.clone(),
        acknowledged_by_then: by_then,
        on_their_way,
        later: book.entries.len() as u64 - by_then - on_their_way,
        compared,
        audit,
        were_in: sent.were_in.len() as u64,
        got_in: sent.got_in.len() as u64,
    };
    let verdicts = judged(&restored, &then, &sent);
    Ok(Proof { restored, verdicts })
}

fn judged(restored: &Restored, then: &Book, sent: &SentAgain) -> Vec<Must> {
    let Restored {
        acknowledged_by_then,
        on_their_way,
        later,
        compared,
        audit,
        were_in,
        got_in,
        ..
    } = restored;
    let were_in_ids: BTreeSet<&str> = sent.were_in.iter().map(String::as_str).collect();
    let lost = then
        .entries
        .iter()
        .filter(|entry| !were_in_ids.contains(entry.payment.id.as_str()))
        .count();
    vec![
        Must::new(
            "restored",
            "what was acknowledged by the moment is there, and nothing that was asked for later",
            compared.findings_count == 0 && *acknowledged_by_then > 0 && *later > 0,
            format!(
                "{acknowledged_by_then} entries by then, {on_their_way} on their way, {later} \
                 later: {} contradictions{}",
                compared.findings_count,
                compared
                    .findings
                    .first()
                    .map_or(String::new(), |first| format!("; {first}"))
            ),
        ),
        Must::new(
            "restored_clean",
            "the auditor finds nothing in what was restored",
            audit.clean && audit.accounts == compared.accounts,
            audit.findings.first().cloned().unwrap_or(left(audit)),
        ),
        Must::new(
            "sent_again",
            "what is sent again with its id gets in once",
            lost == 0
                && sent.wrong.is_empty()
                && *got_in >= *later
                && were_in + got_in == acknowledged_by_then + on_their_way + later,
            format!(
                "{were_in} were in, {got_in} got in{}",
                sent.wrong
                    .first()
                    .map_or(String::new(), |first| format!("; {first}"))
            ),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Compared;

    fn restored() -> Restored {
        Restored {
            moment: "then".to_owned(),
            acknowledged_by_then: 0,
            on_their_way: 0,
            later: 2,
            compared: Compared {
                accounts: 3,
                ..Compared::default()
            },
            audit: Audit {
                clean: true,
                accounts: 3,
                entries: 5,
                findings: Vec::new(),
            },
            were_in: 0,
            got_in: 2,
        }
    }

    #[test]
    fn a_restore_of_nothing_or_of_too_much_is_none() {
        let sent = SentAgain::default();
        let ok = |restored: &Restored| -> Vec<bool> {
            let verdicts = judged(restored, &Book::default(), &sent);
            verdicts.iter().map(|verdict| verdict.ok).collect()
        };
        // Nothing was acknowledged by then: nothing is shown.
        assert_eq!(ok(&restored()), [false, true, true]);
        let some = Restored {
            acknowledged_by_then: 1,
            were_in: 1,
            ..restored()
        };
        assert_eq!(ok(&some), [true, true, true]);
        // Something of later was there already.
        let more = Restored {
            were_in: 2,
            got_in: 1,
            ..some.clone()
        };
        assert_eq!(ok(&more), [true, true, false]);
        let fewer_accounts = Restored {
            audit: Audit {
                accounts: 2,
                ..some.audit.clone()
            },
            ..some
        };
        assert_eq!(ok(&fewer_accounts), [true, false, true]);
    }
}
