//! A cluster grows as it should: each new node fetches its data before it owns anything,
//! and one joins after the other.

use std::sync::Arc;
use std::time::Duration;

use lombard_engines::cassandra::{AddOptions, Cluster};
use lombard_service::Host;

use crate::cassandra;
use crate::conclusion::Stage;
use crate::observed::Observed;
use crate::report::{Must, Report, no_alert, sums};
use crate::timeline::Timeline;
use crate::waiting::{rest, standing};
use crate::{Clients, Context, DrillError, blocking};

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
    /// The clients.
    pub clients: Clients,
    /// How many nodes it grows to: [`NODES`] + 1 to [`NODES_MAX`].
    pub to: u8,
}

/// Runs the drill.
///
/// # Errors
/// It came to no answer: Cassandra or the bank did not do what it must for that.
pub async fn run(context: &Context<'_>, options: &Options) -> Result<Report, DrillError> {
    let timeline = Timeline::new(context);
    let Options { clients, to } = *options;
    let cluster = cassandra::three_nodes(&timeline, clients.keep).await?;
    let folder = cluster.folder().join("bank");
    let config = cassandra::configuration(&cluster);
    let mut stage = Stage::set(context, timeline, &config, &folder, clients).await?;
    let host = context.host;
    let owners = stage
        .play(async |timeline, observed, _| script(host, &cluster, to, timeline, observed).await)
        .await?;
    let conclusion = stage.conclude().await?;
    let sums = sums(&conclusion.phases);
    let verdicts = vec![
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
        no_alert(&conclusion.alerts),
    ];
    let engine = format!("Cassandra {}, three nodes to {to}", cluster.version());
    let folders = vec![cluster.folder().to_owned()];
    Ok(conclusion.report(NAME, engine, verdicts, folders))
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
