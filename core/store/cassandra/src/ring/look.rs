//! Asking a node whom it has heard of; those who ask together are answered together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lombard_store::StoreError;
use scylla::cluster::Node;
use scylla::errors::DbError;

use super::standing::{Heard, Standing};
use crate::cluster::Cluster;
use crate::fault;
use crate::nodes::ask;

/// A node that does not say in this time whom it has heard of is not waited for.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Whom one node has heard of, and how they stood when it was asked.
pub(crate) type View = Arc<Vec<Heard>>;

/// The questions to one node.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    /// How many have asked.
    asked: AtomicU64,
    last: tokio::sync::Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    /// How many had asked when the last question went out.
    asked: u64,
    view: Option<Result<View, StoreError>>,
}

impl Looks {
    /// What the node says to a question that goes out after this call.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it does not answer.
    pub async fn fresh(&self, cluster: &Cluster, node: &Arc<Node>) -> Result<View, StoreError> {
        let mine = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let mut last = self.last.lock().await;
        if last.asked >= mine
            && let Some(view) = &last.view
        {
            return view.clone();
        }
        // Whoever has asked by now has come before this question.
        let asked = self.asked.load(Ordering::Acquire);
        let view = question(cluster, node).await;
        *last = Last {
            asked,
            view: Some(view.clone()),
        };
        view
    }
}

async fn question(cluster: &Cluster, node: &Arc<Node>) -> Result<View, StoreError> {
    match tokio::time::timeout(ANSWER_MAX, heard(cluster, node)).await {
        Ok(view) => view.map(Arc::new),
        Err(_) => Err(StoreError::Unavailable(format!(
            "cassandra: node {} did not say in {} s which nodes own what",
            node.address,
            ANSWER_MAX.as_secs()
        ))),
    }
}

async fn heard(cluster: &Cluster, node: &Arc<Node>) -> Result<Vec<Heard>, StoreError> {
    let what = "asking a node for its gossip";
    let gossip = "SELECT host_id, hostname, address, status_with_port, status \
                  FROM system_views.gossip_info";
    let answer = ask(cluster, node, gossip).await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) if matches!(fault::database_error(&error), Some(DbError::Invalid)) => {
            // Before 4.1 gossip has no table. Peers follow it within a fraction of a second.
            let owner = |host_id| Heard {
                host_id,
                address: String::new(),
                standing: Standing::Owner,
            };
            return Ok(peers(cluster, node).await?.into_iter().map(owner).collect());
        }
        Err(error) => return Err(fault::of_read(what, &error)),
    };
    let rows = answer
        .into_rows_result()
        .map_err(|error| fault::of_answer(what, &error))?;
    type Columns = (
        Option<String>,
        Option<String>,
        std::net::IpAddr,
        Option<String>,
        Option<String>,
    );
    let rows: Vec<Columns> = rows
        .rows::<Columns>()
        .map_err(|error| fault::of_answer(what, &error))?
        .collect::<Result<_, _>>()
        .map_err(|error| fault::of_answer(what, &error))?;
    let told = |row: &Columns| Standing::is_told_by(row.3.as_deref().or(row.4.as_deref()));
    let peers = if rows.iter().all(told) {
        Vec::new()
    } else {
        peers(cluster, node).await?
    };
    let heard = rows.into_iter().filter_map(|row| {
        // Without an identity it has not said anything yet, and can own nothing.
        let host_id = row.0?.to_lowercase();
        let status = row.3.as_deref().or(row.4.as_deref());
        let listed = peers.contains(&host_id);
        Some(Heard {
            standing: Standing::of(status, listed),
            host_id,
            address: row.2.to_string(),
        })
    });
    Ok(heard.collect())
}

/// The identities of a node's peers and its own: of all that own something in its eyes.
async fn peers(cluster: &Cluster, node: &Arc<Node>) -> Result<Vec<String>, StoreError> {
    let what = "asking a node for its peers";
    let mut all = Vec::new();
    let questions = [
        // As text: a driver's type for it would be one more thing to agree on.
        "SELECT CAST(host_id AS text) FROM system.local",
        "SELECT CAST(host_id AS text) FROM system.peers_v2",
    ];
    for question in questions {
        let answer = ask(cluster, node, question).await;
        let answer = answer.map_err(|error| fault::of_read(what, &error))?;
        let rows = answer
            .into_rows_result()
            .map_err(|error| fault::of_answer(what, &error))?;
        let rows = rows
            .rows::<(Option<String>,)>()
            .map_err(|error| fault::of_answer(what, &error))?;
        for row in rows {
            let (host_id,) = row.map_err(|error| fault::of_answer(what, &error))?;
            all.extend(host_id.map(|host_id| host_id.to_lowercase()));
        }
    }
    Ok(all)
}
