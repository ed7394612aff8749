//! A node that asks who comes, over connections that are encrypted.
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

use lombard_engines::cassandra::{Cluster, Credentials, Options, Tls};
use lombard_engines::{Password, testing};
use lombard_store::{Engine, StoreError};
use lombard_store_cassandra::{Cassandra, CassandraOptions, ClusterOptions, TlsOptions};

use support::{connect, nodes_of, options};

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
