//! A cluster grows as it should: each new node fetches its data before it owns anything,
//! and one joins after the other.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lombard_engines::cassandra::{AddOptions, Cluster};
use lombard_service::Host;

use crate::cassandra;
use crate::conclusion::{Conclusion, Stage};
use crate::observed::Observed;
use crate::report::{Must, Report, always, no_alert, sums};
use crate::timeline::Timeline;
use crate::waiting::{rest, standing};
use crate::{Context, DrillError, blocking};

/// What it is called.
pub const NAME: &str = "cassandra-grow";
/// Nodes to begin with.
pub const NODES: u8 = 3;
/// Nodes that fit on one machine.
pub const NODES_MAX: u8 = 6;
/// How long clients work before the first joins, and after the last.
const QUIET: Duration = Duration::from_secs(8);

/// How it is done.
#[derive(Debug, Clone)]
pub struct Options {
    /// Accounts of the clients.
    pub accounts: u32,
    /// Amounts and choices are drawn from it.
    pub seed: u64,
    /// How many nodes it grows to: [`NODES`] + 1 to [`NODES_MAX`].
    pub to: u8,
    /// Whether the cluster's folder is kept, with the bank's in it.
    pub keep: bool,
}

/// Runs the drill.
///
/// # Errors
/// It came to no answer: Cassandra or the bank did not do what it must for that.
pub async fn run(context: &Context<'_>, options: &Options) -> Result<Report, DrillError> {
    let timeline = Timeline::new(context);
    let cluster = timeline
        .step(
            "start a Cassandra cluster of three nodes",
            cassandra::three_nodes(options.keep),
            |cluster| {
                format!(
                    "{} nodes of version {}",
                    cluster.nodes().len(),
                    cluster.version()
                )
            },
        )
        .await?;
    let folder = cluster.folder().join("bank");
    let config = cassandra::configuration(&cluster);
    let (accounts, seed) = (options.accounts, options.seed);
    let mut stage = Stage::set(context, timeline, &config, &folder, accounts, seed).await?;
    let (host, to) = (context.host, options.to);
    let owners = stage
        .play(async |timeline, observed, _| script(host, &cluster, to, timeline, observed).await)
        .await?;
    let phases = stage.observed.phases();
    let wrong = stage.observed.wrong();
    let Conclusion {
        timeline,
        compared,
        audit,
        alerts,
        ..
    } = stage.conclude().await?;
    let sums = sums(&phases);
    let mut verdicts = vec![
        Must::new(
            "joined",
            "every new node owns its part",
            owners == usize::from(to),
            format!("{owners} nodes own ranges"),
        ),
        Must::new(
            "no_failed_answer",
            "no call fails",
            sums.refused + sums.unanswered == 0,
            format!(
                "of {} calls {} were refused, {} not answered",
                sums.calls, sums.refused, sums.unanswered
            ),
        ),
        no_alert(&alerts),
    ];
    verdicts.extend(always(&phases, &compared, &audit));
    Ok(Report {
        drill: NAME,
        ok: verdicts.iter().all(|verdict| verdict.ok),
        engine: format!("Cassandra {}, three nodes to {to}", cluster.version()),
        accounts,
        seed,
        seconds: timeline.seconds(),
        alerts: timeline.alerts(&alerts),
        alert_after_ms: None,
        acknowledged_while_wrong: None,
        steps: timeline.into_steps(),
        phases,
        wrong,
        compared,
        audit,
        verdicts,
        folders: if options.keep {
            vec![PathBuf::from(cluster.folder())]
        } else {
            Vec::new()
        },
    })
}

async fn script(
    host: &Host,
    cluster: &Arc<Cluster>,
    to: u8,
    timeline: &Timeline<'_>,
    observed: &Observed,
) -> Result<usize, DrillError> {
    observed.phase("three nodes");
    timeline
        .step("let clients work", rest(host, QUIET), |()| {
            standing(observed)
        })
        .await?;
    for number in NODES + 1..=to {
        observed.phase(&format!("node {number} joins"));
        let joining = Arc::clone(cluster);
        timeline
            .step(
                format!("add node {number}, which fetches its data first"),
                blocking(move || joining.add(AddOptions::default())),
                |_| standing(observed),
            )
            .await?;
        // The next one may join only when all know of this one.
        timeline
            .step(
                "wait until all see each other",
                cassandra::agree(cluster),
                |()| standing(observed),
            )
            .await?;
    }
    observed.phase(&format!("{to} nodes"));
    timeline
        .step("let clients work", rest(host, QUIET), |()| {
            standing(observed)
        })
        .await?;
    cassandra::owners(cluster).await
}
