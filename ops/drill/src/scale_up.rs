//! The July 2019 incident: nodes that join a cluster without the data of what they own.
//!
//! A bank ran 21 nodes with three replicas, all reads and writes at quorum; `auto_bootstrap`
//! stood at false. One node that was added so did no harm, because the two others of each
//! three agreed. Six were added at once: quorums of empty nodes answered "not found", no
//! request failed, and every metric looked healthy.
//! (<https://monzo.com/blog/2019/09/08/why-monzo-wasnt-working-on-july-29th>)
//!
//! Here three nodes join three. The bank must raise its alert, and tell nobody what is not
//! so; then the new nodes are decommissioned, one by one, and everything is there again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lombard_engines::cassandra::{AddOptions, Cluster};
use lombard_service::Host;

use crate::bank::{Alert, Bank};
use crate::cassandra;
use crate::conclusion::{Conclusion, Stage};
use crate::judge::WrongKind;
use crate::load::Book;
use crate::observed::Observed;
use crate::report::{Must, Phase, Report, served_again};
use crate::timeline::Timeline;
use crate::waiting::{PAUSE, later, rest, served, standing, was_served};
use crate::{Clients, Context, DrillError, blocking, tokens};

/// What it is called.
pub const NAME: &str = "cassandra-scale-up";
/// Nodes that join at once.
const NEW_NODES: u8 = 3;
/// How long clients work before anything happens, and after all is well again.
const QUIET: Duration = Duration::from_secs(5);
/// How long clients work while ownership is wrong, at least.
const WRONG_FOR: Duration = Duration::from_secs(12);
/// How long an alert is waited for from when new nodes own ranges.
const ALERT_PATIENCE: Duration = Duration::from_secs(30);

/// The phases.
const BEFORE: &str = "three nodes";
const JOINING: &str = "three more join";
const WRONG: &str = "ownership is wrong";
const BACK: &str = "the way back";
const RECOVERING: &str = "the new nodes are gone";
const AFTER: &str = "three nodes again";

/// What happened.
struct Incident {
    /// When the first was started.
    began_us: u64,
    /// When a new node was first seen to own ranges.
    owned_us: Option<u64>,
    /// Who is in the cluster at the end, and how many own ranges.
    decommissioned: usize,
    owners: usize,
}

/// Runs the drill.
///
/// # Errors
/// It came to no answer: Cassandra or the bank did not do what it must for that.
pub async fn run(context: &Context<'_>, clients: Clients) -> Result<Report, DrillError> {
    let timeline = Timeline::new(context);
    let cluster = cassandra::three_nodes(&timeline, clients.keep).await?;
    let folder = cluster.folder().join("bank");
    let config = cassandra::configuration(&cluster);
    let mut stage = Stage::set(context, timeline, &config, &folder, clients).await?;
    let host = context.host;
    let incident = stage
        .play(async |timeline, observed, bank| {
            script(host, &cluster, clients.seed, timeline, observed, bank).await
        })
        .await?;
    let observed = Arc::clone(&stage.clientele.observed);
    let conclusion = stage.conclude().await?;
    let engine = format!(
        "Cassandra {}, three nodes and three more",
        cluster.version()
    );
    let folders = vec![cluster.folder().to_owned()];
    Ok(reported(engine, &incident, &observed, conclusion, folders))
}

async fn script(
    host: &Host,
    cluster: &Arc<Cluster>,
    seed: u64,
    timeline: &Timeline<'_>,
    observed: &Observed,
    bank: &dyn Bank,
) -> Result<Incident, DrillError> {
    observed.phase(BEFORE);
    timeline
        .step("let clients work", rest(host, QUIET), |()| {
            standing(observed)
        })
        .await?;

    observed.phase(JOINING);
    let began_us = host.monotonic_us();
    let (owned_us, added) = timeline
        .step(
            "add three nodes at once, auto_bootstrap: false",
            join_without_data(host, cluster, seed),
            |(owned_us, added)| match owned_us {
                Some(at_us) => format!(
                    "{} nodes serve; the first owned ranges at {:.1} s",
                    added.len(),
                    timeline.since(*at_us)
                ),
                None => format!("{} nodes serve; none was seen to own ranges", added.len()),
            },
        )
        .await?;

    observed.phase(WRONG);
    let alert = alerted(host, bank, ALERT_PATIENCE);
    timeline
        .step(
            "wait for the bank's alert",
            async { Ok(alert.await) },
            |alert| match alert {
                Some(alert) => format!("at {:.1} s: {}", timeline.since(alert.at_us), alert.text),
                None => format!("none within {} s", ALERT_PATIENCE.as_secs()),
            },
        )
        .await?;
    timeline
        .step(
            "let clients work while ownership is wrong",
            rest(host, WRONG_FOR),
            |()| standing(observed),
        )
        .await?;

    observed.phase(BACK);
    let mut decommissioned = 0;
    // Not `rebuild` or `repair`: rows whose replicas are all new come back by neither. Not
    // `cleanup` on the old nodes: theirs is the only copy.
    for node in added.iter().rev() {
        timeline
            .step(
                format!("decommission node {node}"),
                cassandra::decommission(cluster, *node),
                |()| standing(observed),
            )
            .await?;
        decommissioned += 1;
    }
    observed.phase(RECOVERING);
    let agreed = async {
        cassandra::agree(cluster).await?;
        cassandra::owners(cluster).await
    };
    let owners = timeline
        .step("wait until the old nodes are alone", agreed, |owners| {
            format!("{owners} nodes own all ranges")
        })
        .await?;
    timeline
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
    Ok(Incident {
        began_us,
        owned_us,
        decommissioned,
        owners,
    })
}

/// Adds nodes that do not fetch what they will own. When the first was seen to own ranges,
/// and the numbers of all.
async fn join_without_data(
    host: &Host,
    cluster: &Arc<Cluster>,
    seed: u64,
) -> Result<(Option<u64>, Vec<u8>), DrillError> {
    let tokens = tokens::random(seed, NEW_NODES);
    let without_data = AddOptions {
        auto_bootstrap: false,
    };
    let over = AtomicBool::new(false);
    let adding = async {
        let cluster = Arc::clone(cluster);
        let added = blocking(move || cluster.add_at_once(without_data, &tokens)).await;
        over.store(true, Ordering::Relaxed);
        added
    };
    let watching = async {
        loop {
            let last = over.load(Ordering::Relaxed);
            // A node that is busy may not answer in time: then it is asked again.
            let more = cassandra::owners(cluster)
                .await
                .is_ok_and(|owners| owners > 3);
            if more || last {
                return more.then(|| host.monotonic_us());
            }
            host.sleep(PAUSE).await;
        }
    };
    let (added, owned_us) = futures::join!(adding, watching);
    Ok((owned_us, added?))
}

/// The first alert.
async fn alerted(host: &Host, bank: &dyn Bank, patience: Duration) -> Option<Alert> {
    let until_us = later(host, patience);
    loop {
        let first = bank.alerts().into_iter().next();
        if first.is_some() || host.monotonic_us() >= until_us {
            return first;
        }
        host.sleep(PAUSE).await;
    }
}

fn reported(
    engine: String,
    incident: &Incident,
    observed: &Observed,
    conclusion: Conclusion<'_>,
    folders: Vec<PathBuf>,
) -> Report {
    let first = conclusion.alerts.first();
    let alert_after_ms = match (first, incident.owned_us) {
        // It may hear of them before we do.
        (Some(alert), Some(owned_us)) => Some((alert.at_us as f64 - owned_us as f64) / 1e3),
        _ => None,
    };
    let of = |kind| observed.wrong_of(kind);
    let none = |id, must, kinds: &[WrongKind]| {
        let count: u64 = kinds.iter().map(|kind| of(*kind)).sum();
        Must::new(id, must, count == 0, format!("{count} answers"))
    };
    let verdicts = vec![
        Must::new(
            "alert",
            "the bank raises its alert then, not before, and names its cluster",
            first.is_some_and(|alert| {
                alert.at_us >= incident.began_us && alert.text.contains("cluster main")
            }),
            match (first, alert_after_ms) {
                (Some(alert), _) if alert.at_us < incident.began_us => {
                    format!("before there was a reason: {}", alert.text)
                }
                (Some(_), Some(ms)) if ms < 0.0 => {
                    format!("{:.0} ms before the drill saw a new node own ranges", -ms)
                }
                (Some(_), Some(ms)) => {
                    format!("{ms:.0} ms after the drill saw a new node own ranges")
                }
                (Some(_), None) => "it was raised".to_owned(),
                (None, _) => "there was none".to_owned(),
            },
        ),
        none(
            "balances",
            "no balance is another than what was acknowledged",
            &[WrongKind::Balance, WrongKind::Other],
        ),
        none(
            "not_found",
            "nothing that is there is not found",
            &[WrongKind::NotFound],
        ),
        none(
            "opened_twice",
            "no account is opened a second time",
            &[WrongKind::OpenedTwice],
        ),
        none(
            "applied_twice",
            "no entry is applied a second time",
            &[WrongKind::AppliedTwice, WrongKind::Invented],
        ),
        Must::new(
            "way_back",
            "the new nodes hand back what they own, and go",
            incident.decommissioned == usize::from(NEW_NODES) && incident.owners == 3,
            format!(
                "{} decommissioned; {} nodes own all ranges",
                incident.decommissioned, incident.owners
            ),
        ),
        served_again(
            &conclusion.phases,
            AFTER,
            "nobody is refused any more when they are gone",
        ),
    ];
    let acknowledged = acknowledged_while_wrong(&conclusion.phases, &conclusion.book);
    Report {
        alert_after_ms,
        acknowledged_while_wrong: Some(acknowledged),
        ..conclusion.report(NAME, engine, verdicts, folders)
    }
}

/// How many entries were acknowledged while ownership was wrong: those are compared at the
/// end as all others are. None, where each account may be held by a node without its data.
fn acknowledged_while_wrong(phases: &[Phase], book: &Book) -> u64 {
    let is_wrong = |place: usize| {
        let phase = phases.get(place);
        phase.is_some_and(|phase| [JOINING, WRONG, BACK].contains(&phase.name.as_str()))
    };
    let entries = book.entries.iter();
    let written = entries.filter(|entry| entry.phase.is_some_and(is_wrong));
    written.count() as u64
}
