//! A real Cassandra of three nodes: killed, paused, stopped, started, grown.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use lombard_engines::cassandra::{AddOptions, Cluster, Credentials, Options, Row, Tls};
use lombard_engines::{Error, Password, testing};

fn up(cluster: &Cluster, from: u8) -> usize {
    let status = cluster.nodetool(from, &["status"]).unwrap();
    status
        .lines()
        .filter(|line| line.starts_with("UN "))
        .count()
}

/// Asks again while nodes do not answer each other in time: a busy machine, or one that
/// has just been killed.
fn query(cluster: &Cluster, node: u8, cql: &str) -> Vec<Row> {
    for _ in 0..60 {
        match cluster.query(node, cql) {
            Ok(rows) => return rows,
            Err(error) => eprintln!("again: {error}"),
        }
        #[expect(clippy::disallowed_methods, reason = "real nodes, real time")]
        std::thread::sleep(Duration::from_secs(1));
    }
    panic!("{cql} was not answered")
}

fn count(cluster: &Cluster, node: u8) -> u64 {
    let rows = query(cluster, node, "SELECT count(*) FROM k.t");
    let bytes = rows[0][0].clone().unwrap();
    u64::from_be_bytes(bytes.try_into().unwrap())
}

#[test]
fn nodes_are_killed_paused_started_again_and_added() {
    let test = "nodes_are_killed_paused_started_again_and_added";
    let options = Options {
        heap_mib: 384,
        ..Options::default()
    };
    let Some(cluster) = testing::started(test, Cluster::start(&options)) else {
        return;
    };
    assert_eq!(cluster.nodes(), [1, 2, 3]);
    assert_eq!(up(&cluster, 1), 3);
    for statement in [
        "CREATE KEYSPACE IF NOT EXISTS k WITH replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': 3}",
        "CREATE TABLE IF NOT EXISTS k.t (id int PRIMARY KEY)",
        "INSERT INTO k.t (id) VALUES (1)",
    ] {
        query(&cluster, 1, statement);
        // A node that has not heard of the table refuses to write to it.
        cluster.agree().unwrap();
    }

    let killed = cluster.process(2).unwrap().unwrap();
    cluster.kill9(2).unwrap();
    assert!(!killed.runs());
    query(&cluster, 3, "INSERT INTO k.t (id) VALUES (2)");
    assert_eq!(count(&cluster, 1), 2);
    cluster.start_node(2).unwrap();
    cluster.agree().unwrap();
    assert_eq!(up(&cluster, 3), 3);
    assert_eq!(count(&cluster, 2), 2);

    cluster.pause(3).unwrap();
    query(&cluster, 1, "INSERT INTO k.t (id) VALUES (3)");
    cluster.resume(3).unwrap();
    assert_eq!(count(&cluster, 3), 3);

    let added = cluster
        .add(AddOptions {
            auto_bootstrap: false,
        })
        .unwrap();
    cluster.agree().unwrap();
    assert_eq!(added, 4);
    assert_eq!(up(&cluster, 1), 4);
    cluster.stop(4).unwrap();
    cluster.wipe(4).unwrap();
    assert!(cluster.wipe(1).unwrap_err().to_string().contains("it runs"));
    assert!(cluster.address(5).is_err());

    let folder = cluster.folder().to_owned();
    let processes: Vec<_> = [1, 2, 3]
        .map(|node| cluster.process(node).unwrap().unwrap())
        .into();
    drop(cluster);
    assert!(processes.iter().all(|process| !process.runs()));
    assert!(!folder.exists());
}

#[test]
fn a_setting_that_cassandra_refuses_is_said() {
    let test = "a_setting_that_cassandra_refuses_is_said";
    let options = Options {
        nodes: 1,
        yaml: vec!["no_such_setting: 1".to_owned()],
        patience: Duration::from_secs(120),
        ..Options::default()
    };
    let error = match Cluster::start(&options) {
        Err(error @ lombard_engines::Error::Missing(_)) => {
            assert!(testing::started::<()>(test, Err(error)).is_none());
            return;
        }
        other => other.unwrap_err().to_string(),
    };
    assert!(error.contains("it ended (exit status:"), "{error}");
    assert!(error.contains("no_such_setting"), "{error}");
}

/// A ClientHello of TLS 1.2 (RFC 5246, 7.4.1.2): one cipher for a P-256 certificate.
fn client_hello() -> Vec<u8> {
    let extensions = [
        &[0, 10, 0, 4, 0, 2, 0, 23][..], // supported_groups: secp256r1
        &[0, 11, 0, 2, 1, 0],            // ec_point_formats: uncompressed
        &[0, 13, 0, 4, 0, 2, 4, 3],      // signature_algorithms: ecdsa_secp256r1_sha256
    ]
    .concat();
    let mut hello = vec![3, 3];
    hello.extend([7; 32]); // random
    hello.extend([0]); // no session
    hello.extend([0, 2, 0xC0, 0x2B]); // TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
    hello.extend([1, 0]); // no compression
    hello.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    hello.extend(extensions);
    let length = u16::try_from(hello.len()).unwrap().to_be_bytes();
    let record = u16::try_from(hello.len() + 4).unwrap().to_be_bytes();
    [&[22, 3, 1], &record[..], &[1, 0], &length, &hello].concat()
}

#[test]
fn roles_and_tls_are_set_up() {
    let test = "roles_and_tls_are_set_up";
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    std::fs::write(&certificate, include_str!("tls/server.pem")).unwrap();
    std::fs::write(&key, include_str!("tls/server.key")).unwrap();
    let tls = |required| Tls {
        certificate: certificate.clone(),
        key: key.clone(),
        required,
    };
    let options = Options {
        nodes: 1,
        heap_mib: 384,
        authentication: Some(Credentials {
            user: "teller".to_owned(),
            password: Password::new("it's secret"),
        }),
        tls: Some(tls(true)),
        ..Options::default()
    };
    let Some(cluster) = testing::started(test, Cluster::start(&options)) else {
        return;
    };
    let address = cluster.address(1).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    stream.write_all(&client_hello()).unwrap();
    // A handshake record whose first message is a ServerHello.
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!([answer[0], answer[5]], [22, 2], "{answer:?}");
    // Without TLS nobody is heard.
    let error = cluster
        .query(1, "SELECT key FROM system.local")
        .unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
}
