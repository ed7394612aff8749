//! A node that asks who comes, over connections that are encrypted; and what it lets them do.
//!
//! The certificates in `certificates/` were made for this test, for a hundred years: two
//! authorities, and by the first one a node's certificate with the name `node.example`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is wrong"
)]

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lombard_engines::cassandra::{Cluster, Credentials, Options, Tls};
use lombard_engines::{Password, testing};
use lombard_store::{Engine, Position, Store, StoreError, StoreOptions};
use lombard_store_cassandra::{Cassandra, CassandraOptions, ClusterOptions, TlsOptions};

use support::{connect, nodes_of, once, options};

const PASSWORD: &str = "correct horse battery staple";

fn certificate(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    folder.join("tests/certificates").join(name)
}

fn reason(connected: Result<Cassandra, StoreError>) -> String {
    match connected {
        Err(StoreError::Misconfigured(why)) => why,
        other => panic!("not refused as misconfigured: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_come_in_and_whom_we_trust() {
    let started = Cluster::start(&Options {
        nodes: 1,
        authentication: Some(Credentials {
            user: "lombard".into(),
            password: Password::new(PASSWORD),
        }),
        tls: Some(Tls {
            certificate: certificate("node.pem"),
            key: certificate("node.key.pem"),
            required: true,
        }),
        ..Options::default()
    });
    let Some(cluster) = testing::started("who_may_come_in_and_whom_we_trust", started) else {
        return;
    };
    let nodes = nodes_of(&cluster);
    let secrets = tempfile::tempdir().unwrap();
    let secret = |name: &str, password: &str| {
        let file = secrets.path().join(name);
        std::fs::write(&file, format!("{password}\n")).unwrap();
        file
    };
    let (right, wrong) = (secret("right", PASSWORD), secret("wrong", "hunter2"));
    let with = |change: &dyn Fn(&mut ClusterOptions, &mut TlsOptions)| {
        let mut tls = TlsOptions {
            ca_file: certificate("ca.pem"),
            // The nodes' addresses are not in the certificate.
            check_server_name: false,
            ..TlsOptions::default()
        };
        let mut options = CassandraOptions {
            allow_unsafe_replication: true,
            ..options(&nodes)
        };
        for cluster in options.clusters.values_mut() {
            cluster.replication.factor = 1;
            cluster.user = Some("lombard".into());
            cluster.password_file = Some(right.clone());
            change(cluster, &mut tls);
            cluster.tls = Some(tls.clone());
        }
        options
    };
    let good = with(&|_, _| {});
    let engine = connect(&good).await.unwrap();
    engine.keyspace("check").await.unwrap();

    let why = reason(
        connect(&with(&|cluster, _| {
            cluster.password_file = Some(wrong.clone())
        }))
        .await,
    );
    assert!(!why.contains("hunter2") && !why.contains(PASSWORD), "{why}");
    assert!(why.contains(&nodes[0]), "{why}");
    let missing = with(&|cluster, _| cluster.password_file = Some("/nowhere".into()));
    assert!(reason(connect(&missing).await).contains("/nowhere"));
    let nobody = with(&|cluster, _| {
        cluster.user = None;
        cluster.password_file = None;
    });
    let why = reason(connect(&nobody).await);
    assert!(why.to_lowercase().contains("authentication"), "{why}");

    let why = reason(connect(&with(&|_, tls| tls.ca_file = certificate("other-ca.pem"))).await);
    assert!(why.contains("certificate"), "{why}");
    let why = reason(connect(&with(&|_, tls| tls.check_server_name = true)).await);
    assert!(why.contains("certificate"), "{why}");
    let why = reason(connect(&with(&|_, tls| tls.ca_file = "/nowhere/ca.pem".into())).await);
    assert!(why.contains("/nowhere/ca.pem"), "{why}");
    let half = with(&|_, tls| tls.key_file = Some(certificate("node.key.pem")));
    assert!(reason(connect(&half).await).contains("go together"));

    let mut plain = good.clone();
    for cluster in plain.clusters.values_mut() {
        cluster.tls = None;
    }
    let refused = connect(&plain).await;
    assert!(refused.is_err(), "without encryption: {refused:?}");
}

/// How often a role tries to work: a node may be slow.
const TRIES_MAX: usize = 30;

/// What is granted in the course of a test.
struct Grants<'a> {
    cluster: &'a Cluster,
    role: &'a str,
    secrets: &'a std::path::Path,
    options: CassandraOptions,
}

impl<'a> Grants<'a> {
    fn new(
        cluster: &'a Cluster,
        role: &'a str,
        secrets: &'a std::path::Path,
        prefix: &str,
    ) -> Self {
        let mut options = CassandraOptions {
            allow_unsafe_replication: true,
            keyspace_prefix: prefix.to_owned(),
            ..options(&nodes_of(cluster))
        };
        for cluster in options.clusters.values_mut() {
            cluster.replication.factor = 1;
            cluster.user = Some(role.into());
            cluster.password_file = Some(secrets.join(role));
        }
        Self {
            cluster,
            role,
            secrets,
            options,
        }
    }

    fn make_role(&self) {
        std::fs::write(self.secrets.join(self.role), PASSWORD).unwrap();
        let role = self.role;
        self.superuser(&format!(
            "CREATE ROLE {role} WITH LOGIN = true AND PASSWORD = '{PASSWORD}'"
        ));
    }

    fn superuser(&self, statement: &str) {
        self.cluster.query(1, statement).unwrap();
    }

    /// As a service does it: connects, opens its keyspace, commits, reads and follows.
    async fn works(&self) -> Result<(), StoreError> {
        let engine = connect(&self.options).await?;
        let store = Store::new(Arc::new(engine), StoreOptions::new(1));
        let keyspace = store.keyspace("check").await?;
        // What was done before would not be done again.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let committed = once(&keyspace, b"p", NEXT.fetch_add(1, Ordering::Relaxed)).await;
        let followed = keyspace.events(Position(0), 10).await;
        match (committed, followed) {
            (Err(StoreError::Misconfigured(late)), _)
            | (_, Err(StoreError::Misconfigured(late))) => {
                panic!("a right was missed only after the start: {late}")
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
            (Ok(_), Ok(_)) => Ok(()),
        }
    }

    /// Grants what is asked for, and nothing else, until it works; what that was.
    async fn granted(&self) -> Vec<String> {
        let mut granted = Vec::new();
        for _ in 0..TRIES_MAX {
            let why = match self.works().await {
                Ok(()) => return granted,
                Err(StoreError::Misconfigured(why)) => why,
                Err(StoreError::Unavailable(_) | StoreError::Ambiguous(_)) => continue,
                Err(error) => panic!("{error}, after {granted:?}"),
            };
            let (_, grant) = why.split_once("GRANT ").unwrap_or_else(|| panic!("{why}"));
            self.superuser(&format!("GRANT {grant}"));
            let (grant, role) = grant.rsplit_once(" TO ").unwrap();
            assert_eq!(role, self.role);
            assert!(!granted.contains(&grant.to_owned()), "asked again: {why}");
            granted.push(grant.to_owned());
        }
        panic!("it still does not work, after {granted:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_may_do_no_more_than_it_needs_is_told_what_it_lacks() {
    let name = "a_role_that_may_do_no_more_than_it_needs";
    let started = Cluster::start(&Options {
        nodes: 1,
        authentication: Some(Credentials {
            user: "operator".into(),
            password: Password::new(PASSWORD),
        }),
        // What is granted counts at once.
        yaml: ["permissions_validity: 0ms", "roles_validity: 0ms"]
            .map(str::to_owned)
            .into(),
        ..Options::default()
    });
    let Some(cluster) = testing::started(name, started) else {
        return;
    };
    let secrets = tempfile::tempdir().unwrap();
    let role = |name, prefix| {
        let grants = Grants::new(&cluster, name, secrets.path(), prefix);
        grants.make_role();
        grants
    };
    let looks = [
        "SELECT ON KEYSPACE system_views",
        "SELECT ON system.available_ranges_v2",
    ];

    // Keyspaces that were made for it: it makes the tables, and may then do all with them.
    let bank = role("bank", "made");
    for keyspace in ["lombardlocks", "made_check"] {
        bank.superuser(&format!(
            "CREATE KEYSPACE {keyspace} WITH replication = \
             {{'class': 'NetworkTopologyStrategy', 'datacenter1': 1}}"
        ));
    }
    let made = [
        "CREATE ON KEYSPACE lombardlocks",
        "CREATE ON KEYSPACE made_check",
    ];
    assert_eq!(bank.granted().await, [looks, made].concat());

    // Tables that another role has made.
    let heir = role("heir", "made");
    let used = [
        "SELECT ON KEYSPACE made_check",
        "MODIFY ON KEYSPACE made_check",
    ];
    assert_eq!(heir.granted().await, [looks, used].concat());
    // Nothing is on record: it is put there.
    heir.superuser("ALTER TABLE lombardlocks.locks WITH comment = ''");
    let record = [
        "MODIFY ON KEYSPACE lombardlocks",
        "SELECT ON KEYSPACE lombardlocks",
        "ALTER ON KEYSPACE lombardlocks",
    ];
    assert_eq!(heir.granted().await, record);

    // It makes its keyspaces itself.
    bank.superuser("DROP KEYSPACE lombardlocks");
    let maker = role("maker", "own");
    let all = ["CREATE ON ALL KEYSPACES"];
    assert_eq!(maker.granted().await, [&looks[..], &all].concat());
}
