//! `lombard cassandra`: what a cluster's nodes own, and which step is safe.

mod moving;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lombard_service::Host;
use lombard_store::StoreError;
use lombard_store_cassandra::CassandraOptions;
use lombard_store_cassandra::growth::{self, NewNode, NodeState, Refusal, Survey, Wish};
use saphyr::{LoadableYamlNode, Yaml};
use serde::Serialize;

use crate::Global;
use crate::assembly;
use crate::engine;
use crate::failure::Failure;
use crate::output::{self, Align, Table};

/// Most nodes that a plan is made for.
const NODES_ADDED_MAX: i64 = 1_000;

/// A Cassandra cluster: its nodes, and which step is safe.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  lombard cassandra nodes --config lombard.toml
  lombard cassandra plan-scale-up --add 3 --yaml new-node/cassandra.yaml --config lombard.toml
  lombard cassandra plan-cleanup --config lombard.toml
  lombard cassandra move ledger status --config lombard.toml

A node that joins without fetching its data owns ranges that it has nothing of,
and answers \"not found\" for them: these commands find out before, and say so
after. They change nothing in the cluster, but `trust`, which changes the record,
and `move`, which moves a service's keyspace to another cluster while it serves.
Exit code 1: the answer is no.")]
pub enum Cassandra {
    /// Each node: what it owns, whether it has the data, its clock
    Nodes {
        #[command(flatten)]
        which: Which,
    },
    /// Whether nodes can be added safely, and how; refuses what is not safe
    PlanScaleUp {
        #[command(flatten)]
        which: Which,
        /// How many nodes are to be added
        #[arg(long, default_value_t = 1, value_name = "N",
              value_parser = clap::value_parser!(u32).range(1..=NODES_ADDED_MAX))]
        add: u32,
        /// How many of them at the same time
        #[arg(long, default_value_t = 1, value_name = "N",
              value_parser = clap::value_parser!(u32).range(1..=NODES_ADDED_MAX))]
        at_once: u32,
        /// The cassandra.yaml that the new node will start with
        #[arg(long, value_name = "FILE")]
        yaml: Option<PathBuf>,
    },
    /// Whether `nodetool cleanup` may be run; refuses it where it would destroy the only copy
    PlanCleanup {
        #[command(flatten)]
        which: Which,
    },
    /// Put a node on record as having its data, on your word: after a restore by hand
    Trust {
        #[command(flatten)]
        which: Which,
        /// The node's address or host id, as `nodes` shows it
        node: String,
        /// That you know that it has the data of all ranges that it owns
        #[arg(long, required = true)]
        it_has_its_data: bool,
    },
    /// Move a service's keyspace to another cluster while it serves; each step can be repeated
    Move {
        /// The service that moves, as the configuration names it
        service: String,
        /// What is to be done
        #[arg(value_enum)]
        step: moving::Step,
    },
}

/// Which cluster of the configuration.
#[derive(Debug, Clone, clap::Args)]
pub struct Which {
    /// The cluster's name in the configuration [default: its default cluster]
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
}

/// What `plan-cleanup` answers in JSON.
#[derive(Debug, Serialize)]
struct Cleanup {
    refusals: Vec<Refusal>,
}

/// Runs the command.
///
/// # Errors
/// The answer is no, or nobody answers.
pub async fn run(global: &Global, command: Cassandra) -> Result<(), Failure> {
    let config = assembly::configuration(global)?;
    let options: CassandraOptions = engine::section(&config, engine::CASSANDRA)?;
    if options
        .clusters
        .values()
        .all(|cluster| cluster.contact_points.is_empty())
    {
        return Err(
            Failure::usage("the configuration names no node of a Cassandra cluster")
                .advise("name the file with --config: [cassandra.clusters.main] contact_points"),
        );
    }
    let look = async |which: &Which| -> Result<Survey, Failure> {
        let host = Host::system();
        // Before 1970 there was no bank.
        let clock = Arc::new(move || u64::try_from(host.now_us()).unwrap_or(0));
        let survey = growth::survey(&options, which.cluster.as_deref(), clock).await;
        survey.map_err(|error| not_asked(&error))
    };
    match command {
        Cassandra::Nodes { which } => nodes(global, &look(&which).await?),
        Cassandra::PlanScaleUp {
            which,
            add,
            at_once,
            yaml,
        } => {
            let new_node = yaml.as_deref().map(new_node).transpose()?;
            let wish = Wish {
                add,
                at_once,
                new_node,
            };
            let plan = growth::plan(&look(&which).await?, &wish);
            if global.json {
                output::json(&plan)?;
            } else {
                tell_plan(&plan)?;
            }
            answer(&plan.refusals, "the cluster cannot grow like this")
        }
        Cassandra::PlanCleanup { which } => {
            let refusals = growth::refuse_cleanup(&look(&which).await?);
            if global.json {
                output::json(&Cleanup {
                    refusals: refusals.clone(),
                })?;
            } else {
                tell_refusals(&refusals)?;
                if refusals.is_empty() {
                    output::line("every node has the data of what it owns: cleanup may be run")?;
                }
            }
            answer(&refusals, "cleanup must not be run now")
        }
        Cassandra::Trust { which, node, .. } => {
            let trusted = growth::trust(&options, which.cluster.as_deref(), &node).await;
            let trusted = trusted.map_err(|error| not_asked(&error))?;
            output::line(format!("on record as having its data: {trusted}"))
        }
        Cassandra::Move { service, step } => moving::run(global, options, &service, step).await,
    }
}

fn not_asked(error: &StoreError) -> Failure {
    match error {
        StoreError::Misconfigured(_) => Failure::usage(error.to_string()),
        _ => Failure::failed(error.to_string()),
    }
}

fn answer(refusals: &[Refusal], no: &str) -> Result<(), Failure> {
    match refusals.len() {
        0 => Ok(()),
        1 => Err(Failure::failed(format!("{no}: {}", refusals[0].reason))),
        reasons => Err(Failure::failed(format!("{no}, for {reasons} reasons"))),
    }
}

fn tell_refusals(refusals: &[Refusal]) -> Result<(), Failure> {
    for refusal in refusals {
        output::line(format!("refused  {refusal}"))?;
    }
    Ok(())
}

fn tell_plan(plan: &growth::Plan) -> Result<(), Failure> {
    tell_refusals(&plan.refusals)?;
    for warning in &plan.warnings {
        output::line(format!("look at  {warning}"))?;
    }
    for (number, step) in plan.steps.iter().enumerate() {
        output::line(format!("step {:>2}  {step}", number + 1))?;
    }
    Ok(())
}

fn nodes(global: &Global, survey: &Survey) -> Result<(), Failure> {
    if global.json {
        output::json(survey)?;
    } else {
        let mut table = Table::new(&[
            ("node", Align::Left),
            ("state", Align::Left),
            ("has its data", Align::Left),
            ("clock apart", Align::Right),
            ("host id", Align::Left),
        ]);
        for node in &survey.nodes {
            let state = match node.state {
                NodeState::Gone => "gone",
                NodeState::Announced => "announced",
                NodeState::Joining => "joining",
                NodeState::Leaving => "leaving",
                NodeState::Normal if node.answers => "up",
                NodeState::Normal => "does not answer",
            };
            let data = match (&node.lacks, node.member) {
                (Some(why), _) => format!("no: {why}"),
                (None, true) => "yes".to_owned(),
                (None, false) if survey.recorded => "owns nothing".to_owned(),
                (None, false) => "not on record".to_owned(),
            };
            let clock =
                (node.clock_apart_ms).map_or_else(|| "-".to_owned(), |apart| format!("{apart} ms"));
            let row = [
                node.address.clone(),
                state.into(),
                data,
                clock,
                node.host_id.clone(),
            ];
            table.row(row);
        }
        table.print()?;
    }
    let strangers = survey
        .nodes
        .iter()
        .filter(|node| node.lacks.is_some())
        .count();
    if strangers == 0 {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "{} ranges without having their data",
        output::count(strangers as u64, "node owns", "nodes own")
    ))
    .advise("decommission them one by one; do not run cleanup: docs/runbooks/cassandra.md"))
}

/// What matters of a `cassandra.yaml`.
fn new_node(file: &Path) -> Result<NewNode, Failure> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    let documents = Yaml::load_from_str(&text)
        .map_err(|error| Failure::usage(format!("{name} is no YAML: {error}")))?;
    let settings = documents.first().and_then(Yaml::as_mapping);
    let Some(settings) = settings else {
        return Err(Failure::usage(format!("{name} has no settings")));
    };
    let mut node = NewNode::default();
    for (key, value) in settings {
        let Some(key) = key.as_str() else { continue };
        if let Some(value) = scalar(value) {
            node.settings.insert(key.to_owned(), value);
        }
        if key == "seed_provider" {
            seeds(value, &mut node.seeds);
        }
    }
    Ok(node)
}

fn scalar(value: &Yaml<'_>) -> Option<String> {
    if let Some(text) = value.as_str() {
        return Some(text.to_owned());
    }
    if let Some(number) = value.as_integer() {
        return Some(number.to_string());
    }
    value.as_bool().map(|value| value.to_string())
}

/// `seeds: "a,b"`, wherever it stands below the provider.
fn seeds(value: &Yaml<'_>, found: &mut Vec<String>) {
    if let Some(list) = value.as_sequence() {
        for value in list {
            seeds(value, found);
        }
    }
    for (key, value) in value.as_mapping().into_iter().flatten() {
        match (key.as_str(), value.as_str()) {
            (Some("seeds"), Some(list)) => {
                let names = list
                    .split(',')
                    .map(str::trim)
                    .filter(|name| !name.is_empty());
                found.extend(names.map(str::to_owned));
            }
            _ => seeds(value, found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_cassandra_yaml_the_settings_and_seeds_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cassandra.yaml");
        let text = "cluster_name: 'the bank'\nauto_bootstrap: false\nnum_tokens: 16\n\
                    seed_provider:\n  - class_name: org.apache.cassandra.locator.SimpleSeedProvider\n    \
                    parameters:\n      - seeds: \"10.0.0.1:7000, 10.0.0.2\"\n";
        std::fs::write(&file, text).unwrap();
        let node = new_node(&file).unwrap();
        let setting = |name: &str| node.settings.get(name).map(String::as_str);
        assert_eq!(setting("cluster_name"), Some("the bank"));
        assert_eq!(setting("auto_bootstrap"), Some("false"));
        assert_eq!(setting("num_tokens"), Some("16"));
        assert_eq!(node.seeds, ["10.0.0.1:7000", "10.0.0.2"]);
        std::fs::write(&file, "just a word").unwrap();
        assert!(new_node(&file).is_err());
        std::fs::write(&file, "a: [").unwrap();
        assert!(new_node(&file).is_err());
    }
}
