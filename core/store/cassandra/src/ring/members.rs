//! The record of the nodes that have their data.
//!
//! It is the comment of the locks' table: part of the schema, which each node has whole and a
//! new node fetches before it takes requests. A table's rows could be on the very nodes that
//! have nothing.

use std::collections::BTreeSet;

use lombard_store::StoreError;

use crate::cluster::Cluster;
use crate::fault;
use crate::nodes::ask;
use crate::schema;

/// What the comment begins with.
const HEADING: &str = "nodes that have their data:";

/// The identities of nodes.
pub(crate) type Members = BTreeSet<String>;

/// The comment that says it.
fn written(members: &Members) -> String {
    let mut text = HEADING.to_owned();
    for host_id in members {
        text.push(' ');
        text.push_str(host_id);
    }
    text
}

/// What a comment says; none if it is not ours.
fn read(comment: &str) -> Option<Members> {
    let listed = comment.strip_prefix(HEADING)?;
    Some(listed.split_whitespace().map(str::to_owned).collect())
}

/// What is on record, as all nodes together know it; none if nothing is.
///
/// # Errors
/// No node answers.
pub(crate) async fn recorded(cluster: &Cluster) -> Result<Option<Members>, StoreError> {
    let what = "looking for the record of the nodes";
    let select = format!(
        "SELECT comment FROM system_schema.tables WHERE keyspace_name = '{}' AND table_name = \
         'locks'",
        schema::LOCKS_KEYSPACE
    );
    let state = cluster.session.get_cluster_state();
    let mut all: Option<Members> = None;
    let mut failure = None;
    let mut answered = false;
    // All of them: one that has just come may not have the schema yet.
    for node in state
        .get_nodes_info()
        .iter()
        .filter(|node| node.is_connected())
    {
        let answer = match ask(cluster, node, &select).await {
            Ok(answer) => answer,
            Err(error) => {
                failure = Some(fault::of_read(what, &error));
                continue;
            }
        };
        answered = true;
        let rows = answer
            .into_rows_result()
            .map_err(|error| fault::of_answer(what, &error))?;
        let row = rows
            .maybe_first_row::<(Option<String>,)>()
            .map_err(|error| fault::of_answer(what, &error))?;
        if let Some(members) = row.and_then(|(comment,)| read(&comment.unwrap_or_default())) {
            all.get_or_insert_default().extend(members);
        }
    }
    match (answered, failure) {
        (true, _) => Ok(all),
        (false, Some(error)) => Err(error),
        (false, None) => Err(StoreError::Unavailable(format!(
            "cassandra: cluster {}: no node answers",
            cluster.name
        ))),
    }
}

/// Puts nodes on record, and takes off those that have left. Gives what is on record then.
///
/// # Errors
/// [`StoreError::Unavailable`]; [`StoreError::Misconfigured`] where it is not allowed.
pub(crate) async fn record(
    cluster: &Cluster,
    more: &Members,
    gone: &Members,
    holder: &str,
) -> Result<Members, StoreError> {
    schema::locked(cluster, "members", holder, async {
        let before = recorded(cluster).await?.unwrap_or_default();
        let now: Members = before
            .union(more)
            .filter(|is| !gone.contains(*is))
            .cloned()
            .collect();
        if now != before {
            schema::comment_locks(cluster, &written(&now)).await?;
        }
        Ok(now)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let members: Members = ["b", "a"].map(str::to_owned).into();
        let text = written(&members);
        assert_eq!(text, "nodes that have their data: a b");
        assert_eq!(read(&text), Some(members));
        assert_eq!(read(&written(&Members::new())), Some(Members::new()));
        assert_eq!(read(""), None);
        assert_eq!(read("somebody's own words"), None);
    }
}
