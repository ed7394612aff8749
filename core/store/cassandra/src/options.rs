//! What the engine is told: which clusters there are, which service is kept in which, and limits.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lombard_store::StoreError;
use serde::Deserialize;

use crate::secret::Secret;

/// The longest prefix that leaves room for every service's name: Cassandra allows 48
/// characters in a keyspace's name, a service's name may have 32, and one joins them.
const KEYSPACE_PREFIX_BYTES_MAX: usize = 15;

/// Which clusters, which service on which of them, and every limit of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CassandraOptions {
    /// The clusters by name.
    pub clusters: BTreeMap<String, ClusterOptions>,
    /// The cluster of every service that `services` does not name.
    pub default_cluster: String,
    /// Services (keyspaces of the store) that live on another cluster than the default one.
    pub services: BTreeMap<String, String>,
    /// Services whose keyspace moves from its cluster to another while they serve.
    pub moves: BTreeMap<String, MoveOptions>,
    /// A service's keyspace in Cassandra is this, an underscore, and the service's name.
    pub keyspace_prefix: String,
    /// Most reads and commits that are on their way to one cluster at once; others wait for
    /// their turn. How many are allowed below this follows the cluster's answers.
    pub operations_in_flight_max: usize,
    /// An answer that takes longer than this is late: fewer are then sent at once.
    pub late_after_ms: u64,
    /// Connections to each node.
    pub connections_per_node: usize,
    /// How long it may take to connect to a node.
    pub connect_timeout_ms: u64,
    /// How long the driver waits for a server's answer, all its tries together. A commit
    /// that takes longer is ambiguous; a read that takes longer has failed.
    pub request_timeout_ms: u64,
    /// A read that has had no answer after this time is sent to a second node as well.
    pub read_again_after_ms: u64,
    /// A connection that was silent for this long is asked whether it still lives.
    pub keepalive_interval_ms: u64,
    /// A connection that does not answer that within this time is closed, so that a node
    /// which hangs without closing anything is left alone.
    pub keepalive_timeout_ms: u64,
    /// How many bytes of keys and values a combined commit should carry. The server holds
    /// a commit whole in memory several times (proposal, commit, hint), and so do all that
    /// wait behind it: a few hundred rows at a time keep both short.
    pub batch_bytes_max: usize,
    /// D: an event's entry in the index counts only if the cluster has acknowledged it this
    /// soon after the time that it carries. Followers stay at least so far behind.
    pub event_index_deadline_ms: u64,
    /// How far this process's clock may be from that of any node. Two processes can then be
    /// twice as far apart, which followers allow for.
    pub clock_skew_max_ms: u64,
    /// Followers wait this long for a commit whose index entry is there and whose outcome is
    /// not; then they make sure that it cannot come any more.
    pub fence_after_ms: u64,
    /// How often a read is made again because commits came in between, before it gives up.
    pub read_attempts_max: u32,
    /// How long it may take until all nodes have agreed on a changed schema.
    pub schema_agreement_timeout_ms: u64,
    /// For a laptop only: takes clusters and keyspaces with fewer than three replicas, where
    /// the loss of one machine can stop everything or lose what was acknowledged.
    pub allow_unsafe_replication: bool,
}

impl Default for CassandraOptions {
    fn default() -> Self {
        Self {
            clusters: BTreeMap::from([("main".to_owned(), ClusterOptions::default())]),
            default_cluster: "main".to_owned(),
            services: BTreeMap::new(),
            moves: BTreeMap::new(),
            keyspace_prefix: "lombard".to_owned(),
            operations_in_flight_max: 1_024,
            late_after_ms: 250,
            connections_per_node: 2,
            connect_timeout_ms: 2_000,
            request_timeout_ms: 3_000,
            read_again_after_ms: 250,
            keepalive_interval_ms: 1_000,
            keepalive_timeout_ms: 2_000,
            batch_bytes_max: 64 << 10,
            event_index_deadline_ms: 500,
            clock_skew_max_ms: 250,
            fence_after_ms: 5_000,
            read_attempts_max: 32,
            schema_agreement_timeout_ms: 30_000,
            allow_unsafe_replication: false,
        }
    }
}

/// A keyspace that moves. All processes that use it must have the same.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveOptions {
    /// The cluster that it moves to. New partitions begin at the one that the service is
    /// configured for, until the two are exchanged.
    pub to: String,
}

/// One cluster: where it is, and how one gets in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterOptions {
    /// Some of its nodes, as `host:port`; the others are found through them.
    pub contact_points: Vec<String>,
    /// The one datacenter that this process works with, where the cluster has several:
    /// reads and commits are then decided by that datacenter alone (`LOCAL_QUORUM`,
    /// `LOCAL_SERIAL`). Two processes that commit to one partition through two
    /// datacenters would not see each other: give all of a service the same one. Where it
    /// is not given, all datacenters decide together (`QUORUM`, `SERIAL`).
    pub datacenter: Option<String>,
    /// How many replicas new keyspaces get.
    pub replication: Replication,
    /// Whom to log in as. Without a name there is no log-in.
    pub user: Option<String>,
    /// The file that holds the password, alone on its first line.
    pub password_file: Option<PathBuf>,
    /// Or the name of the environment variable that holds it.
    pub password_variable: Option<String>,
    /// Encryption. Without this section there is none.
    pub tls: Option<TlsOptions>,
}

/// How many replicas a keyspace has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Replication {
    /// In every datacenter of the cluster, unless `datacenters` says otherwise.
    pub factor: u32,
    /// By datacenter. If any is named, a keyspace has replicas in the named ones only.
    pub datacenters: BTreeMap<String, u32>,
}

impl Default for Replication {
    fn default() -> Self {
        Self {
            factor: 3,
            datacenters: BTreeMap::new(),
        }
    }
}

/// Encryption of the connections to a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsOptions {
    /// The certificates that a node's certificate must go back to (PEM).
    pub ca_file: PathBuf,
    /// This process's own certificates (PEM), where nodes ask for them.
    pub certificate_file: Option<PathBuf>,
    /// The private key of the first of those certificates (PEM).
    pub key_file: Option<PathBuf>,
    /// Whether a node's certificate must name the address that was connected to. Only
    /// without a name in the certificates is there a reason to say no.
    pub check_server_name: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            ca_file: PathBuf::new(),
            certificate_file: None,
            key_file: None,
            check_server_name: true,
        }
    }
}

impl CassandraOptions {
    /// Options for one cluster with these contact points, as `host:port`.
    pub fn of_nodes(contact_points: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let cluster = ClusterOptions {
            contact_points: contact_points.into_iter().map(Into::into).collect(),
            ..ClusterOptions::default()
        };
        Self {
            clusters: BTreeMap::from([("main".to_owned(), cluster)]),
            ..Self::default()
        }
    }

    /// Checks what can be checked without a cluster.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] names the option and what is wrong with it.
    pub fn check(&self) -> Result<(), StoreError> {
        let prefix = self.keyspace_prefix.as_bytes();
        let right = (1..=KEYSPACE_PREFIX_BYTES_MAX).contains(&prefix.len())
            && prefix.first().is_some_and(u8::is_ascii_lowercase)
            && prefix
                .iter()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_');
        if !right {
            return misconfigured(format!(
                "keyspace_prefix {:?}: give a letter and up to {} more of a-z 0-9 _",
                self.keyspace_prefix,
                KEYSPACE_PREFIX_BYTES_MAX - 1
            ));
        }
        let users = self.services.iter().map(|(service, cluster)| {
            let what = format!("services.{service}");
            (what, cluster)
        });
        let targets = self.moves.iter().map(|(service, moving)| {
            let what = format!("moves.{service}.to");
            (what, &moving.to)
        });
        let default = ("default_cluster".to_owned(), &self.default_cluster);
        for (what, cluster) in std::iter::once(default).chain(users).chain(targets) {
            if !self.clusters.contains_key(cluster) {
                let known: Vec<&str> = self.clusters.keys().map(String::as_str).collect();
                return misconfigured(format!(
                    "{what} names the cluster {cluster:?}, which is none of [{}]",
                    known.join(", ")
                ));
            }
        }
        for (service, moving) in &self.moves {
            if moving.to == self.cluster_of(service) {
                return misconfigured(format!(
                    "moves.{service}.to names the cluster {:?}, where {service} is already: name \
                     the other one",
                    moving.to
                ));
            }
        }
        let positive = [
            (
                "operations_in_flight_max",
                self.operations_in_flight_max as u64,
            ),
            ("late_after_ms", self.late_after_ms),
            ("connections_per_node", self.connections_per_node as u64),
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("request_timeout_ms", self.request_timeout_ms),
            ("read_again_after_ms", self.read_again_after_ms),
            ("keepalive_interval_ms", self.keepalive_interval_ms),
            ("keepalive_timeout_ms", self.keepalive_timeout_ms),
            ("batch_bytes_max", self.batch_bytes_max as u64),
            ("event_index_deadline_ms", self.event_index_deadline_ms),
            ("clock_skew_max_ms", self.clock_skew_max_ms),
            ("read_attempts_max", u64::from(self.read_attempts_max)),
        ];
        for (what, is) in positive {
            if is == 0 {
                return misconfigured(format!("{what} must be greater than 0"));
            }
        }
        if self.fence_after_ms <= self.request_timeout_ms {
            return misconfigured(format!(
                "fence_after_ms {}: must be greater than request_timeout_ms {}, or commits \
                 that are merely slow are made to fail",
                self.fence_after_ms, self.request_timeout_ms
            ));
        }
        for (name, cluster) in &self.clusters {
            cluster.check(name, self.allow_unsafe_replication)?;
        }
        Ok(())
    }

    /// The name of the cluster that serves this service.
    pub fn cluster_of(&self, service: &str) -> &str {
        self.services.get(service).unwrap_or(&self.default_cluster)
    }
}

impl ClusterOptions {
    fn check(&self, name: &str, allow_unsafe_replication: bool) -> Result<(), StoreError> {
        if self.contact_points.is_empty() {
            return misconfigured(format!(
                "clusters.{name}.contact_points: name at least one node, as host:port"
            ));
        }
        if self.user.is_none() && (self.password_file.is_some() || self.password_variable.is_some())
        {
            return misconfigured(format!("clusters.{name}: a password, but no user"));
        }
        let factors = self.replication.datacenters.values();
        let least = factors.min().copied().unwrap_or(self.replication.factor);
        if least < 3 && !allow_unsafe_replication {
            return misconfigured(format!(
                "clusters.{name}.replication: {least} replicas; a quorum that survives the loss \
                 of a machine needs 3 (on a laptop: allow_unsafe_replication = true)"
            ));
        }
        Ok(())
    }

    /// User and password, if there is a log-in.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`]: the password cannot be found where it should be.
    pub(crate) fn credentials(&self, name: &str) -> Result<Option<(String, Secret)>, StoreError> {
        let Some(user) = &self.user else {
            return Ok(None);
        };
        let password = match (&self.password_file, &self.password_variable) {
            (Some(file), None) => Secret::from_file(file),
            (None, Some(variable)) => Secret::from_variable(variable),
            _ => Err("give password_file or password_variable, one of them".to_owned()),
        };
        match password {
            Ok(password) => Ok(Some((user.clone(), password))),
            Err(why) => misconfigured(format!("clusters.{name}: the password of {user:?}: {why}")),
        }
    }
}

fn misconfigured<T>(why: String) -> Result<T, StoreError> {
    Err(StoreError::Misconfigured(format!("cassandra: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(options: &CassandraOptions) -> String {
        options.check().unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_work_is_refused_by_the_options_name() {
        let good = CassandraOptions::of_nodes(["127.0.0.1:9042"]);
        good.check().unwrap();
        assert!(refused(&CassandraOptions::default()).contains("contact_points"));
        let change = |change: fn(&mut CassandraOptions)| {
            let mut options = good.clone();
            change(&mut options);
            refused(&options)
        };
        assert!(change(|o| o.keyspace_prefix = "Bank".into()).contains("keyspace_prefix"));
        assert!(change(|o| o.default_cluster = "other".into()).contains("default_cluster"));
        assert!(change(|o| o.batch_bytes_max = 0).contains("batch_bytes_max"));
        assert!(change(|o| o.fence_after_ms = 10).contains("fence_after_ms"));
        let service = change(|o| {
            o.services.insert("card".into(), "nowhere".into());
        });
        assert!(service.contains("services.card") && service.contains("nowhere"));
        let still = change(|o| {
            let to = "main".into();
            o.moves.insert("card".into(), MoveOptions { to });
        });
        assert!(still.contains("moves.card.to"), "{still}");
        let replicas = change(|o| {
            for cluster in o.clusters.values_mut() {
                cluster.replication.factor = 2;
            }
        });
        assert!(replicas.contains("2 replicas"), "{replicas}");
    }

    #[test]
    fn a_service_is_on_its_cluster_or_on_the_default_one() {
        let mut options = CassandraOptions::of_nodes(["127.0.0.1:9042"]);
        options.services.insert("card".into(), "cards".into());
        assert_eq!(options.cluster_of("card"), "cards");
        assert_eq!(options.cluster_of("ledger"), "main");
    }
}
