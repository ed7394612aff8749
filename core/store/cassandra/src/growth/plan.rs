//! Which step is safe.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::survey::{NodeState, Survey, SurveyedNode};

/// Clocks further apart than this are refused, in milliseconds.
const CLOCK_APART_MS_MAX: u64 = 250;
/// The smallest `commitlog_segment_size` that takes the largest commit, in MiB.
const SEGMENT_MIB_MIN: u64 = 32;

/// What an operator wants to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// How many nodes are to be added.
    pub add: u32,
    /// How many of them at the same time.
    pub at_once: u32,
    /// What their `cassandra.yaml` says, if it was shown.
    pub new_node: Option<NewNode>,
}

/// Of a new node's `cassandra.yaml`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewNode {
    /// Settings by name, those at the top with one value.
    pub settings: BTreeMap<String, String>,
    /// The addresses of `seed_provider`.
    pub seeds: Vec<String>,
}

/// Why a step is not safe. Each has a name for programs and a sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// In SCREAMING_SNAKE.
    pub reason: &'static str,
    /// What was found, why it matters, what to do.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

/// What to do, or why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// If there is any, nothing may be done.
    pub refusals: Vec<Refusal>,
    /// What should be looked at, and forbids nothing.
    pub warnings: Vec<String>,
    /// In this order; none where it is refused.
    pub steps: Vec<String>,
}

/// Whether, and how, the cluster can grow as it is wished.
///
/// The rules are those of Cassandra's own guide to adding nodes (one at a time, each
/// bootstrapped, none its own seed, the settings of the cluster), and of what happens where
/// they are not kept (see the runbook).
pub fn plan(survey: &Survey, wish: &Wish) -> Plan {
    let mut refusals = of_the_cluster(survey);
    let mut warnings = Vec::new();
    if wish.at_once > 1 {
        refusals.push(refusal(
            "MORE_THAN_ONE_AT_ONCE",
            format!(
                "{} nodes at once: while several join, ranges go over to nodes whose data comes \
                 from nodes that are themselves only joining. Add one, wait until it has its \
                 data, then the next",
                wish.at_once
            ),
        ));
    }
    match &wish.new_node {
        Some(new_node) => of_the_new_node(survey, new_node, &mut refusals, &mut warnings),
        None => not_shown(survey, &mut refusals, &mut warnings),
    }
    let steps = if refusals.is_empty() {
        steps(survey, wish.add)
    } else {
        Vec::new()
    };
    Plan {
        refusals,
        warnings,
        steps,
    }
}

/// Why `nodetool cleanup` must not be run now; none if it may.
///
/// It deletes from each node what the node does not own any more. Where the new owners never
/// fetched it, that is the only copy.
pub fn refuse_cleanup(survey: &Survey) -> Vec<Refusal> {
    let mut refusals = of_the_cluster(survey);
    if !survey.recorded {
        refusals.push(refusal(
            "NOTHING_ON_RECORD",
            "it is not on record which nodes have their data: start the bank once on this \
             cluster, so that it looks"
                .to_owned(),
        ));
    }
    refusals
}

fn refusal(reason: &'static str, message: String) -> Refusal {
    Refusal { reason, message }
}

fn of_the_cluster(survey: &Survey) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let nodes = || {
        survey
            .nodes
            .iter()
            .filter(|node| node.state != NodeState::Gone)
    };
    for node in nodes().filter(|node| node.lacks.is_some()) {
        refusals.push(refusal(
            "NODE_WITHOUT_ITS_DATA",
            format!(
                "node {} owns ranges and {}: decommission it first. Neither rebuild nor repair \
                 brings back what only former owners have, and cleanup destroys it",
                node.address,
                node.lacks.as_deref().unwrap_or_default()
            ),
        ));
    }
    for node in nodes() {
        let doing = match node.state {
            NodeState::Announced => "has been announced and owns nothing yet",
            NodeState::Joining => "is joining",
            NodeState::Leaving => "is leaving or moving",
            NodeState::Normal | NodeState::Gone => continue,
        };
        refusals.push(refusal(
            "RING_IS_CHANGING",
            format!("node {} {doing}: wait until that is over", node.address),
        ));
    }
    for node in nodes().filter(|node| node.state == NodeState::Normal && !node.answers) {
        refusals.push(refusal(
            "NODE_DOWN",
            format!(
                "node {} does not answer: a new node fetches each range from the node that gives \
                 it up, and must be able to",
                node.address
            ),
        ));
    }
    let schemas: BTreeSet<&str> = nodes().filter_map(|node| node.schema.as_deref()).collect();
    if schemas.len() > 1 {
        refusals.push(refusal(
            "SCHEMA_DISAGREES",
            format!(
                "the nodes have {} versions of the schema: a node that joins could miss a table. \
                 `nodetool describecluster` shows which",
                schemas.len()
            ),
        ));
    }
    for node in nodes() {
        if let Some(apart) = node
            .clock_apart_ms
            .filter(|apart| *apart > CLOCK_APART_MS_MAX)
        {
            refusals.push(refusal(
                "CLOCKS_APART",
                format!(
                    "the clock of node {} is {apart} ms from ours: have all follow one time server",
                    node.address
                ),
            ));
        }
    }
    refusals
}

fn not_shown(survey: &Survey, refusals: &mut Vec<Refusal>, warnings: &mut Vec<String>) {
    let without: Vec<&str> = (survey.nodes.iter())
        .filter(|node| {
            node.settings
                .get("auto_bootstrap")
                .is_some_and(|is| is == "false")
        })
        .map(|node| node.address.as_str())
        .collect();
    if without.is_empty() {
        warnings.push(
            "the new node's cassandra.yaml was not shown (--yaml FILE): it must not set \
             auto_bootstrap to false, nor be among its own seeds"
                .to_owned(),
        );
        return;
    }
    refusals.push(refusal(
        "AUTO_BOOTSTRAP_OFF",
        format!(
            "{} run with auto_bootstrap: false. A new node with that setting owns ranges without \
             their data, and answers \"not found\". Show the new node's cassandra.yaml \
             (--yaml FILE)",
            without.join(", ")
        ),
    ));
}

fn of_the_new_node(
    survey: &Survey,
    new_node: &NewNode,
    refusals: &mut Vec<Refusal>,
    warnings: &mut Vec<String>,
) {
    let setting = |name: &str| new_node.settings.get(name).map(String::as_str);
    if setting("auto_bootstrap").is_some_and(|value| value.eq_ignore_ascii_case("false")) {
        refusals.push(refusal(
            "AUTO_BOOTSTRAP_OFF",
            "the new node's cassandra.yaml sets auto_bootstrap to false: it would own ranges \
             without their data, and answer \"not found\". Take the line out (true is what is \
             taken without it)"
                .to_owned(),
        ));
    }
    let own = [
        "listen_address",
        "broadcast_address",
        "rpc_address",
        "broadcast_rpc_address",
    ];
    for address in own.iter().filter_map(|name| setting(name)) {
        let is_own = |seed: &&String| seed.split(':').next() == Some(address);
        if let Some(seed) = new_node.seeds.iter().find(is_own) {
            refusals.push(refusal(
                "ITS_OWN_SEED",
                format!(
                    "the new node is among its own seeds ({seed}): a seed never fetches data, \
                     whatever auto_bootstrap says. Name nodes that are in the cluster"
                ),
            ));
            break;
        }
    }
    let known: Vec<&str> = survey
        .nodes
        .iter()
        .map(|node| node.address.as_str())
        .collect();
    let is_known = |seed: &String| known.iter().any(|is| seed.split(':').next() == Some(is));
    if !new_node.seeds.iter().any(is_known) {
        refusals.push(refusal(
            "NO_SEED_OF_THE_CLUSTER",
            format!(
                "none of the new node's seeds is a node of this cluster ({}): it would begin a \
                 cluster of its own",
                known.join(", ")
            ),
        ));
    }
    // (name, what Cassandra takes without it)
    let shared = [
        ("cluster_name", Some("Test Cluster")),
        ("partitioner", None),
        ("endpoint_snitch", None),
        ("paxos_variant", Some("v1")),
    ];
    for (name, default) in shared {
        let (Some(theirs), Some(ours)) = (value_of_all(survey, name), setting(name).or(default))
        else {
            continue;
        };
        if short(&theirs) != short(ours) {
            refusals.push(refusal(
                "SETTING_DIFFERS",
                format!("{name} is {theirs} in the cluster and {ours} on the new node"),
            ));
        }
    }
    let segment = setting("commitlog_segment_size").map(mebibytes);
    if let Some(Some(mib)) = segment
        && mib < SEGMENT_MIB_MIN
    {
        refusals.push(refusal(
            "SETTING_DIFFERS",
            format!(
                "commitlog_segment_size is {mib} MiB on the new node: the largest commit needs \
                 {SEGMENT_MIB_MIN}"
            ),
        ));
    }
    for (name, default) in [("commitlog_sync", "periodic"), ("num_tokens", "16")] {
        let ours = setting(name).unwrap_or(default);
        if let Some(theirs) = value_of_all(survey, name)
            && theirs != ours
        {
            warnings.push(format!(
                "{name} is {theirs} in the cluster and {ours} on the new node"
            ));
        }
    }
}

/// A setting that all nodes that could be asked have alike.
fn value_of_all(survey: &Survey, name: &str) -> Option<String> {
    let values = survey
        .nodes
        .iter()
        .filter_map(|node: &SurveyedNode| node.settings.get(name));
    let values: BTreeSet<&String> = values.collect();
    match values.len() {
        1 => values.first().map(|value| (*value).clone()),
        _ => None,
    }
}

/// A class by its own name: `org.apache.cassandra.locator.SimpleSnitch` is `SimpleSnitch`.
fn short(value: &str) -> &str {
    value.rsplit('.').next().unwrap_or(value)
}

fn mebibytes(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit.trim() {
        "MiB" => Some(number),
        "GiB" => number.checked_mul(1_024),
        "KiB" => Some(number / 1_024),
        _ => None,
    }
}

fn steps(survey: &Survey, add: u32) -> Vec<String> {
    let mut steps = Vec::new();
    for number in 1..=add {
        let which = if add == 1 {
            "the new node".to_owned()
        } else {
            format!("new node {number} of {add}")
        };
        steps.push(format!(
            "start {which}, alone; `nodetool status` shows it as UJ while it fetches its data, \
             then as UN"
        ));
        steps.push(
            "`lombard cassandra nodes` must show it as having its data before anything else is \
             done"
                .to_owned(),
        );
    }
    let old: Vec<&str> = survey
        .nodes
        .iter()
        .map(|node| node.address.as_str())
        .collect();
    steps.push(
        "`lombard cassandra plan-cleanup` says whether what the old nodes have given up may be \
         deleted"
            .to_owned(),
    );
    steps.push(format!(
        "then, one after the other: `nodetool cleanup` on {}",
        old.join(", ")
    ));
    steps
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
