//! Whether a node has fetched the data of what it owns.

use std::sync::Arc;

use lombard_store::StoreError;
use scylla::cluster::Node;

use crate::cluster::Cluster;
use crate::fault;
use crate::nodes::ask;

/// What a node that owns something has to show for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// It has fetched every keyspace of ours.
    Fetched,
    /// It was seen to fetch, and cannot be asked yet: gossip tells of an owner a little before
    /// that takes requests.
    Awaited,
    /// It has not, in words.
    Lacks(String),
}

/// Asks the node itself: while it bootstraps, it notes for each keyspace which ranges have
/// come (`system.available_ranges_v2`). A node that skipped that has noted nothing.
///
/// # Errors
/// It does not answer, or we may not read it.
pub(crate) async fn of(
    cluster: &Cluster,
    prefix: &str,
    node: &Arc<Node>,
) -> Result<Evidence, StoreError> {
    let what = "asking a node what it has fetched";
    let names = async |question: &str| -> Result<Vec<String>, StoreError> {
        let answer = ask(cluster, node, question).await;
        let answer = answer.map_err(|error| fault::of_read(what, &error))?;
        let rows = answer
            .into_rows_result()
            .map_err(|error| fault::of_answer(what, &error))?;
        let rows = rows
            .rows::<(String,)>()
            .map_err(|error| fault::of_answer(what, &error))?;
        rows.map(|row| row.map(|(name,)| name))
            .collect::<Result<_, _>>()
            .map_err(|error| fault::of_answer(what, &error))
    };
    let all = names("SELECT keyspace_name FROM system_schema.keyspaces").await?;
    let fetched = names("SELECT keyspace_name FROM system.available_ranges_v2").await?;
    let setting = names("SELECT value FROM system_views.settings WHERE name = 'auto_bootstrap'");
    let setting = setting.await.unwrap_or_default();
    Ok(weighed(
        prefix,
        &all,
        &fetched,
        setting.first().map(String::as_str),
    ))
}

fn weighed(
    prefix: &str,
    all: &[String],
    fetched: &[String],
    auto_bootstrap: Option<&str>,
) -> Evidence {
    let of_ours = |name: &&String| {
        let rest = name.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.starts_with('_'))
    };
    let lacking: Vec<&str> = (all.iter().filter(of_ours))
        .filter(|name| !fetched.contains(name))
        .map(String::as_str)
        .collect();
    // What was begun with the setting on, and went on with it off, has fetched a part.
    let skipped = auto_bootstrap.is_some_and(|value| value.eq_ignore_ascii_case("false"));
    // A node that knows none of our keyspaces has not even the schema.
    if !skipped && lacking.is_empty() && all.iter().any(|name| of_ours(&name)) {
        return Evidence::Fetched;
    }
    let lacking = if lacking.is_empty() {
        "all that it owns".to_owned()
    } else {
        lacking.join(", ")
    };
    let setting = match auto_bootstrap {
        Some(value) => format!(" (its auto_bootstrap is {value})"),
        None => String::new(),
    };
    Evidence::Lacks(format!("it never fetched {lacking}{setting}"))
}

#[cfg(test)]
mod tests {
    use super::{Evidence, weighed};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_node_has_its_data_if_it_fetched_every_keyspace_of_ours() {
        let all = names(&["system", "lombard_a", "lombard_b", "lombardlocks", "other"]);
        let weigh = |fetched: &[&str]| weighed("lombard", &all, &names(fetched), Some("true"));
        assert_eq!(
            weigh(&["lombard_b", "lombard_a", "system_auth"]),
            Evidence::Fetched
        );
        let lacks =
            Evidence::Lacks("it never fetched lombard_b (its auto_bootstrap is true)".into());
        assert_eq!(weigh(&["lombard_a"]), lacks);
        assert!(matches!(weigh(&[]), Evidence::Lacks(_)));
        let bare = weighed(
            "lombard",
            &names(&["system"]),
            &names(&["system_auth"]),
            None,
        );
        assert!(matches!(bare, Evidence::Lacks(_)));
        // It began to fetch, and was started again with the setting off.
        let fetched = names(&["lombard_a", "lombard_b"]);
        let off = weighed("lombard", &all, &fetched, Some("false"));
        assert!(matches!(off, Evidence::Lacks(_)), "{off:?}");
    }
}
