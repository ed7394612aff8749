//! Every node of a store is restarted, one by one, while clients work.
//!
//! Cassandra: two of three replicas decide, so clients should notice little. PostgreSQL is
//! one server: the bank waits for it, and how long clients are refused is what is shown.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lombard_engines::cassandra::Cluster;
use lombard_engines::postgres::{self, Server};
use lombard_service::Host;

use crate::cassandra;
use crate::conclusion::{Conclusion, Stage};
use crate::observed::Observed;
use crate::report::{Must, Report, always, no_alert, served_again};
use crate::timeline::Timeline;
use crate::waiting::{rest, served, standing, was_served};
use crate::{Context, DrillError, blocking};

/// What it is called.
pub const NAME: &str = "rolling-restart";
/// How long clients work before the first restart, and after the last.
const QUIET: Duration = Duration::from_secs(5);
/// The phases around the restarts.
const BEFORE: &str = "before";
const RECOVERING: &str = "all are back";
const AFTER: &str = "after";

/// What is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// A cluster of three nodes.
    Cassandra,
    /// One server.
    Postgres,
}

/// How it is done.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is restarted.
    pub engine: Engine,
    /// Accounts of the clients.
    pub accounts: u32,
    /// Amounts and choices are drawn from it.
    pub seed: u64,
    /// Whether the engine's folder is kept, and the bank's.
    pub keep: bool,
}

/// Runs the drill.
///
/// # Errors
/// It came to no answer: the engine or the bank did not do what it must for that.
pub async fn run(context: &Context<'_>, options: &Options) -> Result<Report, DrillError> {
    match options.engine {
        Engine::Cassandra => on_cassandra(context, options).await,
        Engine::Postgres => on_postgres(context, options).await,
    }
}

async fn on_cassandra(context: &Context<'_>, options: &Options) -> Result<Report, DrillError> {
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
    let setting = Setting {
        engine: format!("Cassandra {}, three nodes", cluster.version()),
        config: cassandra::configuration(&cluster),
        bank: cluster.folder().join("bank"),
        folders: vec![cluster.folder().to_owned()],
    };
    let host = context.host;
    let nodes = cluster.nodes();
    let script = async |timeline: &Timeline<'_>, observed: &Observed| {
        for node in nodes {
            one_node(host, &cluster, node, timeline, observed).await?;
        }
        Ok(())
    };
    setting.run(context, timeline, options, script).await
}

async fn one_node(
    host: &Host,
    cluster: &Arc<Cluster>,
    node: u8,
    timeline: &Timeline<'_>,
    observed: &Observed,
) -> Result<(), DrillError> {
    observed.phase(&format!("node {node} restarts"));
    let on_cluster = |work: fn(&Cluster, u8) -> Result<(), lombard_engines::Error>| {
        let cluster = Arc::clone(cluster);
        blocking(move || work(&cluster, node))
    };
    let drain = |cluster: &Cluster, node| cluster.nodetool(node, &["drain"]).map(|_| ());
    let seen = |(): &()| standing(observed);
    timeline
        .step(format!("drain node {node}"), on_cluster(drain), seen)
        .await?;
    timeline
        .step(format!("stop node {node}"), on_cluster(Cluster::stop), seen)
        .await?;
    timeline
        .step(
            format!("start node {node}, and wait until it serves"),
            on_cluster(Cluster::start_node),
            seen,
        )
        .await?;
    timeline
        .step(
            "wait until the others see it",
            cassandra::agree(cluster),
            seen,
        )
        .await?;
    // Nothing of one node is left over when the next one goes.
    timeline
        .step(
            "wait until nobody is refused",
            served(host, observed),
            |well| was_served(*well),
        )
        .await?;
    Ok(())
}

async fn on_postgres(context: &Context<'_>, options: &Options) -> Result<Report, DrillError> {
    let timeline = Timeline::new(context);
    let keep = options.keep;
    let starting = blocking(move || {
        let mut server = Server::start(&postgres::Options::default())?;
        if keep {
            server.keep_folder();
        }
        Ok(Arc::new(server))
    });
    let server = timeline
        .step("start a PostgreSQL server", starting, |server| {
            format!("version {} on {}", server.version(), server.address())
        })
        .await?;
    // The server's own folder belongs to another user where we are root.
    let folder = bank_folder(keep)?;
    let setting = Setting {
        engine: format!("PostgreSQL {}, one server", server.version()),
        config: format!(
            "[store]\nengine = \"postgres\"\n\n[postgres]\nurl = \"postgres://lombard@{}/lombard\"\n",
            server.address()
        ),
        bank: folder.path().join("bank"),
        folders: vec![server.folder().to_owned(), folder.path().to_owned()],
    };
    let script = async |timeline: &Timeline<'_>, observed: &Observed| {
        observed.phase("the server restarts");
        let stopping = Arc::clone(&server);
        timeline
            .step("stop the server", blocking(move || stopping.stop()), |()| {
                standing(observed)
            })
            .await?;
        let starting = Arc::clone(&server);
        timeline
            .step(
                "start it, and wait until it serves",
                blocking(move || starting.restart()),
                |()| standing(observed),
            )
            .await
    };
    setting.run(context, timeline, options, script).await
}

/// A folder for the bank, which is removed at the end unless it is to be kept.
fn bank_folder(keep: bool) -> Result<tempfile::TempDir, DrillError> {
    let folder = tempfile::Builder::new().prefix("lombard-drill-").tempdir();
    let mut folder = folder.map_err(|error| DrillError::System {
        doing: "making a temporary folder".to_owned(),
        why: error.to_string(),
    })?;
    folder.disable_cleanup(keep);
    Ok(folder)
}

/// A store that runs, and where the bank is to be.
struct Setting {
    engine: String,
    config: String,
    bank: PathBuf,
    folders: Vec<PathBuf>,
}

impl Setting {
    async fn run<'c>(
        self,
        context: &'c Context<'c>,
        timeline: Timeline<'c>,
        options: &Options,
        script: impl AsyncFnOnce(&Timeline<'c>, &Observed) -> Result<(), DrillError>,
    ) -> Result<Report, DrillError> {
        let (host, accounts, seed) = (context.host, options.accounts, options.seed);
        let bank: &Path = &self.bank;
        let mut stage = Stage::set(context, timeline, &self.config, bank, accounts, seed).await?;
        let well = stage
            .play(async |timeline, observed, _| {
                observed.phase(BEFORE);
                timeline
                    .step("let clients work", rest(host, QUIET), |()| {
                        standing(observed)
                    })
                    .await?;
                script(timeline, observed).await?;
                observed.phase(RECOVERING);
                let well = timeline
                    .step(
                        "wait until nobody is refused",
                        served(host, observed),
                        |well| was_served(*well),
                    )
                    .await?;
                observed.phase(AFTER);
                timeline
                    .step("let clients work", rest(host, QUIET), |()| {
                        standing(observed)
                    })
                    .await?;
                Ok(well)
            })
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
        let mut verdicts = vec![
            Must::new(
                "back",
                "every node comes back, and the bank with it",
                well,
                was_served(well),
            ),
            served_again(
                &phases,
                AFTER,
                "nobody is refused any more when all are back",
            ),
            no_alert(&alerts),
        ];
        verdicts.extend(always(&phases, &compared, &audit));
        Ok(Report {
            drill: NAME,
            ok: verdicts.iter().all(|verdict| verdict.ok),
            engine: self.engine,
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
                self.folders
            } else {
                Vec::new()
            },
        })
    }
}
