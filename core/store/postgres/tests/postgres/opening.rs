//! What is refused when the server is reached or a keyspace opened, and in which words.

use std::io::Write;
use std::net::TcpListener;

use lombard_engines::Password;
use lombard_engines::postgres::{Authentication, Options, Server};
use lombard_engines::testing;
use lombard_store::{Engine, StoreError};
use lombard_store_postgres::{PostgresOptions, SynchronousCommit, Tls};

use super::{connect, options, server, url};

/// Says why it is misconfigured.
fn misconfigured<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Misconfigured(why)) => why,
        other => panic!("not refused as misconfigured: {other:?}"),
    }
}

#[tokio::test]
async fn nobody_answers_there() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let options = PostgresOptions {
        url: format!("postgres://lombard@{address}/lombard"),
        ..PostgresOptions::default()
    };
    match connect(&options).await {
        Err(StoreError::Unavailable(why)) => {
            assert!(why.contains(&address.to_string()), "{why}");
            assert!(why.contains("refused"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn somebody_listens_and_says_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = PostgresOptions {
        url: format!(
            "postgres://lombard@{}/lombard",
            silent.local_addr().unwrap()
        ),
        connect_timeout_ms: 300,
        ..PostgresOptions::default()
    };
    let refused = connect(&options).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_password_stands_in_a_file_and_nowhere_else() {
    let secret = "correct horse battery";
    let set_up = Options {
        authentication: Authentication::Password(Password::new(secret)),
        ..Options::default()
    };
    let Some(server) = testing::started("a_password_stands_in_a_file", Server::start(&set_up))
    else {
        return;
    };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{secret}").unwrap();
    let with = |password_file: Option<&std::path::Path>, url: String| PostgresOptions {
        url,
        password_file: password_file.map(Into::into),
        password_variable: "LOMBARD_TEST_NO_SUCH_VARIABLE".into(),
        ..PostgresOptions::default()
    };
    let engine = connect(&with(Some(file.path()), url(&server)))
        .await
        .unwrap();
    assert!(!format!("{engine:?} {:?}", engine.info()).contains(secret));

    let mut wrong = tempfile::NamedTempFile::new().unwrap();
    write!(wrong, "something else").unwrap();
    let why = misconfigured(connect(&with(Some(wrong.path()), url(&server))).await);
    assert!(why.contains("password authentication failed"), "{why}");
    assert!(!why.contains("something else"), "{why}");
    misconfigured(connect(&with(None, url(&server))).await);
    let missing = std::path::Path::new("no/such/file");
    let why = misconfigured(connect(&with(Some(missing), url(&server))).await);
    assert!(why.contains("no/such/file"), "{why}");

    let inside = url(&server).replace(
        "lombard@",
        &format!("lombard:{}@", secret.replace(' ', "%20")),
    );
    let why = misconfigured(connect(&with(None, inside)).await);
    assert!(
        why.contains("password_file") && !why.contains("horse"),
        "{why}"
    );
}

#[tokio::test]
async fn wrong_names_are_refused() {
    let Some(server) = server("wrong_names_are_refused") else {
        return;
    };
    let at = |url: String| PostgresOptions {
        url,
        ..PostgresOptions::default()
    };
    let why = misconfigured(connect(&at(url(server).replace("/lombard", "/elsewhere"))).await);
    assert!(why.contains("elsewhere"), "{why}");
    misconfigured(connect(&at("postgres://:::".into())).await);
    misconfigured(connect(&at(url(server).replace("lombard@", "nobody@"))).await);
}

#[tokio::test]
async fn a_server_that_forgets_is_refused_unless_that_is_said() {
    let set_up = Options {
        durable: false,
        ..Options::default()
    };
    let Some(server) = testing::started("a_server_that_forgets", Server::start(&set_up)) else {
        return;
    };
    let mut options = options(&server);
    let why = misconfigured(connect(&options).await);
    assert!(why.contains("fsync = off"), "{why}");
    options.allow_unsafe_server = true;
    let engine = connect(&options).await.unwrap();
    assert!(
        engine.info().durability.contains("none"),
        "{:?}",
        engine.info()
    );
}

#[tokio::test]
async fn what_durable_means_is_said() {
    let Some(server) = server("what_durable_means_is_said") else {
        return;
    };
    let mut options = options(server);
    options.synchronous_commit = SynchronousCommit::Local;
    let engine = connect(&options).await.unwrap();
    let durability = engine.info().durability;
    assert!(
        durability.contains("synchronous_commit = local"),
        "{durability}"
    );
}

#[tokio::test]
async fn a_table_that_somebody_changed_is_refused_and_named() {
    let Some(server) = server("a_table_that_somebody_changed") else {
        return;
    };
    let changes = [
        ("ALTER TABLE {s}.rows DROP COLUMN event", "rows.event"),
        (
            "ALTER TABLE {s}.rows ALTER COLUMN value TYPE text USING 'x'",
            "rows.value",
        ),
        ("ALTER TABLE {s}.rows ADD COLUMN note text", "rows.note"),
        (
            "ALTER TABLE {s}.partitions DROP CONSTRAINT partitions_pkey",
            "partitions_pkey",
        ),
        (
            "CREATE RULE gone AS ON DELETE TO {s}.rows DO INSTEAD NOTHING",
            "gone",
        ),
        ("DROP TABLE {s}.positions", "positions"),
    ];
    for (change, named) in changes {
        let options = options(server);
        let schema = format!("{}_check", options.schema_prefix);
        let engine = connect(&options).await.unwrap();
        engine.keyspace("check").await.unwrap();
        drop(engine);
        server.query(&change.replace("{s}", &schema)).unwrap();
        let engine = connect(&options).await.unwrap();
        let why = misconfigured(engine.keyspace("check").await);
        assert!(
            why.contains(named) && why.contains(&schema),
            "{change}: {why}"
        );
    }
}

#[tokio::test]
async fn tables_of_a_newer_program_are_refused() {
    let Some(server) = server("tables_of_a_newer_program") else {
        return;
    };
    let options = options(server);
    let schema = format!("{}_check", options.schema_prefix);
    connect(&options)
        .await
        .unwrap()
        .keyspace("check")
        .await
        .unwrap();
    server
        .query(&format!(
            "INSERT INTO {schema}.migrations VALUES (1000, 'to come')"
        ))
        .unwrap();
    let engine = connect(&options).await.unwrap();
    let why = misconfigured(engine.keyspace("check").await);
    assert!(why.contains("1000"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_migrate_at_once_wait_for_each_other() {
    let Some(server) = server("processes_that_migrate_at_once") else {
        return;
    };
    let options = options(server);
    let opened = futures::future::join_all((0..8).map(|_| async {
        let engine = connect(&options).await.unwrap();
        engine.keyspace("check").await
    }));
    for opened in opened.await {
        opened.unwrap();
    }
    let schema = format!("{}_check", options.schema_prefix);
    let recorded = server.query(&format!("SELECT count(*) FROM {schema}.migrations"));
    assert_eq!(recorded.unwrap()[0][0].as_deref(), Some("1"));
}

#[tokio::test]
async fn positions_go_on_in_a_server_that_counts_from_the_beginning() {
    let Some(server) = server("positions_go_on") else {
        return;
    };
    let options = options(server);
    let schema = format!("{}_check", options.schema_prefix);
    connect(&options)
        .await
        .unwrap()
        .keyspace("check")
        .await
        .unwrap();
    // As if brought here from a server whose transactions were far ahead.
    let far = 1_i64 << 40;
    server
        .query(&format!(
            "INSERT INTO {schema}.partitions (key, version, position) VALUES ('p', 1, {far})"
        ))
        .unwrap();
    let engine = connect(&options).await.unwrap();
    let keyspace = engine.keyspace("check").await.unwrap();
    let partition = lombard_store::PartitionId {
        keyspace,
        key: "q".into(),
    };
    let mut changes = lombard_store::Changes::default();
    let event = lombard_store::Change::Event("e".into());
    changes.rows.insert("e".into(), event);
    let position = engine
        .commit(&partition, lombard_store::Version(0), changes)
        .await
        .unwrap()
        .unwrap();
    assert!(position.0 > far.unsigned_abs(), "{position:?}");
    let page = engine
        .events(keyspace, lombard_store::Position(far.unsigned_abs()), 10)
        .await
        .unwrap();
    assert_eq!(page.events.len(), 1);
}

#[tokio::test]
async fn connections_are_encrypted_and_the_server_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, certificate, key) = certificates(folder.path());
    let set_up = Options {
        tls: Some(lombard_engines::postgres::Tls {
            certificate,
            key,
            required: true,
        }),
        ..Options::default()
    };
    let Some(server) = testing::started("connections_are_encrypted", Server::start(&set_up)) else {
        return;
    };
    let plain = options(&server);
    misconfigured(connect(&plain).await);
    let mut verified = PostgresOptions {
        tls: Tls::Verify,
        ..options(&server)
    };
    let why = misconfigured(connect(&verified).await);
    assert!(why.contains("tls_ca_file"), "{why}");
    verified.tls_ca_file = Some(ca);
    let engine = connect(&verified).await.unwrap();
    engine.keyspace("check").await.unwrap();
    let encrypted = server
        .query("SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'lombard'")
        .unwrap();
    assert_eq!(encrypted[0][0].as_deref(), Some("t"));

    // Signed by somebody else.
    let stranger = tempfile::tempdir().unwrap();
    verified.tls_ca_file = Some(certificates(stranger.path()).0);
    let refused = connect(&verified).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
}

/// An authority of its own, and a certificate for 127.0.0.1 that it signed, with its key.
fn certificates(
    folder: &std::path::Path,
) -> (std::path::PathBuf, std::path::PathBuf, std::path::PathBuf) {
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let server_key = rcgen::KeyPair::generate().unwrap();
    let server = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let server = server.signed_by(&server_key, &issuer).unwrap();
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    (
        write("ca.pem", authority_certificate.pem()),
        write("server.pem", server.pem()),
        write("server.key", server_key.serialize_pem()),
    )
}
