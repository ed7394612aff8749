//! `lombard cassandra move`: a service's keyspace moves to another cluster while it serves.

use std::sync::Arc;

use lombard_service::Host;
use lombard_store::StoreError;
use lombard_store_cassandra::moving::{Progress, Standing, Swept};
use lombard_store_cassandra::{Cassandra, CassandraOptions};
use serde::Serialize;

use super::not_asked;
use crate::Global;
use crate::failure::Failure;
use crate::output::{self, Align, Table};

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Step {
    /// Put the move on record, and bring each partition's copy to its version; again: mend copies
    Start,
    /// Compare each partition with its copy, value by value
    Compare,
    /// Who owns how many partitions, and how many copies are behind
    Status,
    /// Hand each partition over to the other cluster
    Switch,
    /// Hand each partition back to the cluster that the service is configured for
    Back,
    /// Put on record that all is on the cluster that the service is configured for
    Finish,
}

/// What a sweep found, in JSON.
#[derive(Debug, Serialize)]
struct Told {
    partitions: u64,
    changed: u64,
    behind: u64,
    different: u64,
    /// Keys of partitions that are different from their copy, printable.
    named: Vec<String>,
}

/// Where it stands, in JSON.
#[derive(Debug, Serialize)]
struct Stands {
    owned: Vec<(String, u64)>,
    behind: u64,
}

/// Does a step of the move.
///
/// # Errors
/// The answer is no, or one of the clusters does not answer.
pub async fn run(
    global: &Global,
    options: CassandraOptions,
    service: &str,
    step: Step,
) -> Result<(), Failure> {
    let Some(moving) = options.moves.get(service) else {
        return Err(
            Failure::usage(format!("the configuration has no move of {service}")).advise(format!(
                "[cassandra.moves.{service}] to = \"<cluster>\": docs/runbooks/cassandra.md"
            )),
        );
    };
    let (to, from) = (moving.to.clone(), options.cluster_of(service).to_owned());
    let host = Host::system();
    // Before 1970 there was no bank.
    let clock = Arc::new(move || u64::try_from(host.now_us()).unwrap_or(0));
    let failed = |error: StoreError| not_asked(&error);
    let engine = Cassandra::connect(options, clock).await.map_err(failed)?;
    let moved = engine.moving(service).await.map_err(failed)?;
    let bar = output::progress(0, "{spinner} {pos} of about {len} partitions");
    let mut watch = |progress: Progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    };
    let swept = match step {
        Step::Start => moved.backfill(&mut watch).await,
        Step::Compare => moved.compare(&mut watch).await,
        Step::Switch => moved.switch(&to, &mut watch).await,
        Step::Back => moved.switch(&from, &mut watch).await,
        Step::Status => {
            let standing = moved.status(&mut watch).await.map_err(failed)?;
            bar.finish_and_clear();
            return tell_standing(global, standing);
        }
        Step::Finish => {
            moved.finish().await.map_err(failed)?;
            bar.finish_and_clear();
            return output::line(format!(
                "{service} is on cluster {from}: [cassandra.moves.{service}] can be removed"
            ));
        }
    };
    bar.finish_and_clear();
    tell(global, swept.map_err(failed)?)
}

fn tell_standing(global: &Global, standing: Standing) -> Result<(), Failure> {
    if global.json {
        return output::json(&Stands {
            owned: standing.owned,
            behind: standing.behind,
        });
    }
    let mut table = Table::new(&[("cluster", Align::Left), ("partitions", Align::Right)]);
    for (cluster, owned) in standing.owned {
        table.row([cluster, output::grouped(owned)]);
    }
    table.print()?;
    output::line(output::count(
        standing.behind,
        "copy is behind",
        "copies are behind",
    ))
}

fn tell(global: &Global, swept: Swept) -> Result<(), Failure> {
    let named = swept.named.iter();
    let told = Told {
        partitions: swept.partitions,
        changed: swept.changed,
        behind: swept.behind,
        different: swept.different,
        named: named.map(|key| key.escape_ascii().to_string()).collect(),
    };
    if global.json {
        output::json(&told)?;
    } else {
        let partitions = output::count(told.partitions, "partition", "partitions");
        output::line(format!(
            "{partitions}: {} changed, {} with a copy that is behind, {} with one that is different",
            output::grouped(told.changed),
            output::grouped(told.behind),
            output::grouped(told.different)
        ))?;
        for key in &told.named {
            output::line(format!("different  {key}"))?;
        }
    }
    if told.different == 0 {
        return Ok(());
    }
    Err(Failure::failed(
        "copies are at the version of their partition and not equal to it: nothing may be handed \
         over before it is known why",
    ))
}
