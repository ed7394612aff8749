//! Somebody empties a table of the ledger's, and the ledger is put back to a moment before.
//!
//! Cassandra's own way: a snapshot of each node while the bank works, the archived commit log
//! behind it, and fresh nodes with the same tokens that replay it up to the moment. The
//! ledger is then on that cluster, by the bank's configuration; the old one stays as it is,
//! with the keyspaces of all others.

use std::sync::Arc;

use lombard_engines::cassandra::Cluster;
use lombard_service::Host;

use crate::conclusion::Stage;
use crate::report::Report;
use crate::restoring::{self, Moment};
use crate::timeline::Timeline;
use crate::{Clients, Context, DrillError, blocking, cassandra};

/// What it is called.
pub const NAME: &str = "cassandra-restore";
/// The ledger's keyspace, and its snapshot.
const KEYSPACE: &str = "lombard_ledger";
const SNAPSHOT: &str = "drill";
/// What somebody does by mistake.
const DISASTER: &str = "TRUNCATE lombard_ledger.rows";

/// Runs the drill.
///
/// # Errors
/// It came to no answer: Cassandra or the bank did not do what it must for that.
pub async fn run(context: &Context<'_>, clients: Clients) -> Result<Report, DrillError> {
    let timeline = Timeline::new(context);
    let cluster = cassandra::three_archiving_nodes(&timeline, clients.keep).await?;
    let folder = cluster.folder().join("bank");
    let config = cassandra::configuration(&cluster);
    let mut stage = Stage::set(context, timeline, &config, &folder, clients).await?;

    let taking = Arc::clone(&cluster);
    let snapshot = blocking(move || taking.snapshot(KEYSPACE, SNAPSHOT));
    let (snapshot, moment) = restoring::back_up(
        context,
        &mut stage,
        ("take a snapshot of each node", snapshot),
        |snapshot| format!("of {}", snapshot.keyspace),
        async { Ok(now(context.host)) },
    )
    .await?;
    let book = stage.clientele.book();
    let hit = Arc::clone(&cluster);
    let done = blocking(move || hit.query(1, DISASTER));
    let disaster = restoring::mistake(&stage, DISASTER, done).await?;
    let clientele = stage.close().await?;

    let (old, until, keep) = (Arc::clone(&cluster), moment.text.clone(), clients.keep);
    let restoring = blocking(move || {
        let mut restored = old.restored(&snapshot, &until)?;
        if keep {
            restored.cluster.keep_folder();
        }
        Ok(restored)
    });
    let restored = clientele
        .timeline
        .step(
            "start fresh nodes with the same tokens, and replay up to the moment",
            restoring,
            |restored| {
                format!(
                    "{} nodes, {} segments of the commit log",
                    restored.cluster.nodes().len(),
                    restored.segments
                )
            },
        )
        .await?;
    let config = moved(&cluster, &restored.cluster);
    let mut stage = clientele
        .go_to("start the bank, its ledger on them", &config, &folder)
        .await?;
    let proof = restoring::prove(context, &mut stage, &book, &moment).await?;
    let conclusion = stage.conclude().await?;
    let engine = format!(
        "Cassandra {}, three nodes and three more",
        cluster.version()
    );
    let folders = [cluster.as_ref(), &restored.cluster].map(|cluster| cluster.folder().to_owned());
    Ok(proof.report(disaster, conclusion, NAME, engine, folders.into()))
}

/// The moment that is now. Nodes and clients are on one machine: one clock.
fn now(host: &Host) -> Moment {
    let at_us = host.now_us();
    Moment {
        text: cassandra::moment(at_us),
        at_us,
    }
}

/// The configuration of a bank whose ledger is on another cluster than all else.
fn moved(old: &Cluster, restored: &Cluster) -> String {
    format!(
        "{}\n[cassandra.clusters.restored]\ncontact_points = {:?}\n\n[cassandra.services]\n\
         ledger = \"restored\"\n",
        cassandra::configuration(old),
        cassandra::contact_points(restored)
    )
}
