//! When the nodes of a cluster see all of each other, and have one schema; and its roles,
//! which need that.

use std::time::Duration;

use super::NAME;
use super::cluster::{Cluster, refused};
use super::options::Credentials;
use crate::error::Error;
use crate::password::Password;
use crate::patience::Deadline;

impl Cluster {
    /// Waits until every node that runs sees all that run, and they have one version of
    /// the schema.
    ///
    /// # Errors
    /// It takes too long.
    pub fn agree(&self) -> Result<(), Error> {
        let deadline = Deadline::after(self.options.patience);
        let mut last = String::new();
        deadline
            .until(Duration::from_millis(200), || {
                last = self.disagreement()?;
                last.is_empty().then_some(())
            })
            .ok_or_else(|| {
                let seconds = self.options.patience.as_secs();
                self.error(format!(
                    "its nodes did not agree within {seconds} s: {last}"
                ))
            })
    }

    /// What one of the running nodes sees otherwise; empty if there is nothing.
    fn disagreement(&self) -> Option<String> {
        let nodes = self.all();
        let running: Vec<_> = nodes
            .iter()
            .filter(|node| node.process().is_some())
            .collect();
        std::thread::scope(|scope| {
            let asked: Vec<_> = running
                .iter()
                .map(|node| {
                    scope.spawn(|| {
                        let described = node.nodetool(&self.installation, &["describecluster"]);
                        match described {
                            Ok(text) => difference(&text, running.len()),
                            Err(error) => Some(error.to_string()),
                        }
                        .map(|what| format!("node {}: {what}", node.number))
                    })
                })
                .collect();
            let found: Vec<String> = asked
                .into_iter()
                .filter_map(|thread| thread.join().ok().flatten())
                .collect();
            Some(found.join("; "))
        })
    }

    /// A role of the options' name in place of the one that every new cluster has.
    /// Roles are then on every node, so that one that dies locks nobody out.
    pub(super) fn make_role(&self, credentials: &Credentials) -> Result<(), Error> {
        if credentials.user == NAME {
            return Err(self.error(format!("{NAME} is the role that is to be replaced")));
        }
        let first = Credentials {
            user: NAME.to_owned(),
            password: Password::new(NAME),
        };
        let spread = format!(
            "ALTER KEYSPACE system_auth WITH replication = {{'class': 'NetworkTopologyStrategy', 'datacenter1': {}}}",
            self.options.nodes
        );
        // The first role is made in the background.
        let deadline = Deadline::after(self.options.patience);
        let mut last = None;
        deadline
            .until(Duration::from_millis(200), || {
                match self.query_as(1, Some(&first), &spread) {
                    Ok(_) => Some(()),
                    Err(error) => {
                        last = Some(error);
                        None
                    }
                }
            })
            .ok_or_else(|| match &last {
                Some(error) => refused(&spread, error),
                None => self.error("nobody asked it".to_owned()),
            })?;
        self.agree()?;
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let make = format!("CREATE ROLE \"{}\"", credentials.user.replace('"', "\"\""));
        self.query_as(
            1,
            Some(&first),
            &format!(
                "{make} WITH SUPERUSER = true AND LOGIN = true AND PASSWORD = {}",
                quoted(credentials.password.reveal())
            ),
        )
        .map_err(|error| refused(&make, &error))?;
        self.query(1, "DROP ROLE cassandra").map(|_| ())
    }
}

/// What `nodetool describecluster` says otherwise than that so many nodes live and
/// have one schema.
fn difference(described: &str, nodes: usize) -> Option<String> {
    let value = |key: &str| {
        described
            .lines()
            .find_map(|line| line.trim().strip_prefix(key))
            .map(|value| value.trim().to_owned())
    };
    let live = value("Live:").unwrap_or_default();
    if live != nodes.to_string() {
        return Some(format!("it sees {live:?} nodes live, not {nodes}"));
    }
    for key in ["Joining:", "Leaving:", "Moving:"] {
        if value(key).is_some_and(|count| count != "0") {
            return Some(format!("it sees a node {}", key.to_lowercase()));
        }
    }
    // One line for each version, and one for those that cannot be asked.
    let versions = described
        .lines()
        .skip_while(|line| line.trim() != "Schema versions:")
        .skip(1)
        .take_while(|line| !line.trim().is_empty())
        .filter(|line| !line.trim().starts_with("UNREACHABLE:"))
        .count();
    (versions != 1).then(|| format!("it sees {versions} versions of the schema"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As 5.0.9 printed it, shortened at its end.
    const DESCRIBED: &str = "Cluster Information:
\tName: lab
\tSchema versions:
\t\td03783d7-b468-3c1a-82f1-8e30b2edde8b: [127.9.9.1, 127.9.9.3, 127.9.9.2]

Stats for all nodes:
\tLive: 3
\tJoining: 0
\tMoving: 0
\tLeaving: 0
\tUnreachable: 0
";

    #[test]
    fn nodes_agree_when_all_live_and_have_one_schema() {
        assert_eq!(difference(DESCRIBED, 3), None);
        let fewer = difference(DESCRIBED, 4).unwrap();
        assert_eq!(fewer, "it sees \"3\" nodes live, not 4");
        let joining = DESCRIBED.replace("Joining: 0", "Joining: 1");
        assert!(difference(&joining, 3).unwrap().contains("joining"));
        let line = "\t\td03783d7-b468-3c1a-82f1-8e30b2edde8b:";
        let two = DESCRIBED.replace(line, &format!("\t\tx: [127.9.9.4]\n{line}"));
        assert!(difference(&two, 3).unwrap().contains("2 versions"));
        let unreachable = DESCRIBED.replace(line, &format!("\t\tUNREACHABLE: [x]\n{line}"));
        assert_eq!(difference(&unreachable, 3), None);
        assert!(difference("", 3).is_some());
    }
}
