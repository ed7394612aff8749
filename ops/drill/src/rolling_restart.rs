//! Every node of a store is restarted, one by one, while clients work.
//!
//! Cassandra: two of three replicas decide, so clients should notice little. PostgreSQL is
//! one server: the bank waits for it, and how long clients are refused is what is shown.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lombard_engines::cassandra::Cluster;
use lombard_service::Host;

use crate::conclusion::Stage;
use crate::observed::Observed;
use crate::report::{Must, Report, no_alert, served_again};
use crate::timeline::Timeline;
use crate::waiting::{rest, served, standing, was_served};
use crate::{Clients, Context, DrillError, blocking, cassandra, postgres};

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
    /// The clients.
    pub clients: Clients,
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
    let cluster = cassandra::three_nodes(&timeline, options.clients.keep).await?;
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
    let keep = options.clients.keep;
    let server = postgres::start(
        &timeline,
        lombard_engines::postgres::Options::default(),
        keep,
    )
    .await?;
    // The server's own folder belongs to another user where we are root.
    let folder = postgres::bank_folder(keep)?;
    let setting = Setting {
        engine: format!("PostgreSQL {}, one server", server.version()),
        config: postgres::configuration(&server),
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
        let (host, clients) = (context.host, options.clients);
        let mut stage = Stage::set(context, timeline, &self.config, &self.bank, clients).await?;
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
        let conclusion = stage.conclude().await?;
        let verdicts = vec![
            Must::new(
                "back",
                "every node comes back, and the bank with it",
                well,
                was_served(well),
            ),
            served_again(
                &conclusion.phases,
                AFTER,
                "nobody is refused any more when all are back",
            ),
            no_alert(&conclusion.alerts),
        ];
        Ok(conclusion.report(NAME, self.engine, verdicts, self.folders))
    }
}
