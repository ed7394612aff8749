//! The real binary on real PostgreSQL and real Cassandra, which are stopped, killed and
//! configured wrongly.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on says so by its panic"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "clients of a real process live on real time"
)]

mod consistency;
#[path = "../support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use lombard_engines::{cassandra, postgres, testing};
use serde_json::Value;
use support::{Up, json, lombard, refused, sums};

/// Three nodes at a time are enough for one machine.
static CLUSTER: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// A folder, and in it a configuration of this text.
fn configured(text: &str) -> (tempfile::TempDir, PathBuf, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lombard.toml");
    std::fs::write(&file, text).unwrap();
    let data = folder.path().join("data");
    let file = file.to_str().unwrap().to_owned();
    (folder, data, file)
}

fn on_postgres(address: SocketAddr, database: &str) -> String {
    format!(
        "[store]\nengine = \"postgres\"\n[postgres]\nurl = \"postgres://lombard@{address}/{database}\"\n"
    )
}

/// Load on the bank that runs on this folder; every answer is one that was asked for.
fn bench(data: &Path, arguments: &[&str]) -> Value {
    let load = [
        &["bench", "ledger", "--accounts", "40", "--floors"],
        arguments,
    ]
    .concat();
    let figures = json(data, &load);
    assert!(figures["acknowledged"].as_u64().unwrap() > 0, "{figures}");
    assert_eq!(figures["errors"], 0, "{figures}");
    figures
}

/// The auditor finds nothing, and what moved is still all there.
fn right(data: &Path, config: &str) {
    let checked = json(data, &["check", "--config", config]);
    assert_eq!(checked["ok"], true, "{checked}");
    let balances = json(data, &["report", "trial-balance", "--config", config]);
    assert!(balances.as_array().unwrap().len() > 40, "{balances}");
    assert!(sums(&balances).values().all(|sum| *sum == 0), "{balances}");
}

#[test]
fn the_bank_on_postgres_is_right_after_both_were_killed() {
    let test = "the_bank_on_postgres";
    let options = postgres::Options::default();
    let Some(server) = testing::started(test, postgres::Server::start(&options)) else {
        return;
    };
    let (_folder, data, config) = configured(&on_postgres(server.address(), "lombard"));
    let up = Up::start(&data, &["--config", &config]);
    bench(&data, &["--clients", "16", "--count", "1500"]);
    bench(
        &data,
        &["--clients", "2", "--batch", "512", "--count", "4096"],
    );
    up.kill();
    server.kill9().unwrap();
    server.restart().unwrap();
    right(&data, &config);
    let up = Up::start(&data, &["--config", &config]);
    bench(
        &data,
        &["--clients", "16", "--count", "1000", "--holds", "0.3"],
    );
    right(&data, &config);
    up.stop();
}

#[test]
fn a_store_that_does_not_answer_is_waited_for() {
    let test = "a_store_that_does_not_answer";
    let options = postgres::Options::default();
    let Some(server) = testing::started(test, postgres::Server::start(&options)) else {
        return;
    };
    server.stop().unwrap();
    let (_folder, data, config) = configured(&on_postgres(server.address(), "lombard"));
    let port = free_port();
    let mut bank = lombard(&data, &["run", "ledger", "--config", &config])
        .args(["--port-base", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let health = until(port, "/health", |answer| answer.starts_with("HTTP/1.1 200"));
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    let ready = until(port, "/ready", |answer| answer.contains("refused"));
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    assert!(
        ready.contains(&server.address().to_string()),
        "where? {ready}"
    );
    let status = "/bank.ledger.v1.LedgerService/GetStatus";
    let call = ask(port, &format!("POST {status}"), "{}").unwrap();
    assert!(call.starts_with("HTTP/1.1 503"), "{call}");
    assert!(call.contains("STARTING"), "{call}");

    server.restart().unwrap();
    until(port, "/ready", |answer| answer.starts_with("HTTP/1.1 200"));
    let call = ask(port, &format!("POST {status}"), "{}").unwrap();
    assert!(call.starts_with("HTTP/1.1 200"), "{call}");
    assert!(call.contains("synchronous_commit"), "{call}");
    stop(&bank);
    assert!(bank.wait().unwrap().success());
}

#[test]
fn a_bank_that_waits_for_its_store_stops_when_it_is_told() {
    let (_folder, data, config) = configured(&on_postgres(
        SocketAddr::from(([127, 0, 0, 1], free_port())),
        "lombard",
    ));
    let port = free_port();
    let mut bank = lombard(&data, &["run", "ledger", "--config", &config])
        .args(["--port-base", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until(port, "/ready", |answer| answer.starts_with("HTTP/1.1 503"));
    stop(&bank);
    assert!(!bank.wait().unwrap().success(), "it never was ready");
    // A person does not wait.
    let said = refused(&data, &["check", "--config", &config], 1);
    assert!(said.contains("refused"), "{said}");
}

#[test]
fn a_store_that_will_not_do_ends_the_start_with_the_reason() {
    let test = "a_store_that_will_not_do";
    let options = postgres::Options {
        durable: false,
        ..postgres::Options::default()
    };
    let Some(server) = testing::started(test, postgres::Server::start(&options)) else {
        return;
    };
    let wrong = [
        (on_postgres(server.address(), "elsewhere"), "elsewhere"),
        (on_postgres(server.address(), "lombard"), "fsync"),
        (
            on_postgres(server.address(), "lombard").replace("lombard@", "lombard:secret@"),
            "password",
        ),
        (
            format!(
                "{}conections = 3\n",
                on_postgres(server.address(), "lombard")
            ),
            "connections",
        ),
        ("[store]\nengine = \"postgre\"\n".to_owned(), "postgres"),
    ];
    for (text, expected) in wrong {
        let (_folder, data, config) = configured(&text);
        let said = refused(&data, &["up", "--port-base", "0", "--config", &config], 2);
        assert!(said.contains(expected), "{expected}: {said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

#[test]
fn the_bank_on_three_nodes_goes_on_with_two_and_is_right() {
    let test = "the_bank_on_three_nodes";
    let _one = CLUSTER
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let options = cassandra::Options::default();
    let Some(cluster) = testing::started(test, cassandra::Cluster::start(&options)) else {
        return;
    };
    let nodes: Vec<String> = cluster
        .contact_points()
        .iter()
        .map(ToString::to_string)
        .collect();
    let (_folder, data, config) = configured(&format!(
        "[store]\nengine = \"cassandra\"\n[cassandra.clusters.main]\ncontact_points = {nodes:?}\n"
    ));
    let up = Up::start(&data, &["--config", &config]);
    bench(&data, &["--clients", "8", "--count", "200"]);
    cluster.kill9(3).unwrap();
    bench(&data, &["--clients", "8", "--count", "200"]);
    bench(
        &data,
        &["--clients", "1", "--batch", "256", "--count", "512"],
    );
    up.kill();
    right(&data, &config);
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// The answer to a request, head and body.
fn ask(port: u16, request: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let length = body.len();
    write!(
        stream,
        "{request} HTTP/1.1\r\nhost: bank\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Asks until the answer will do.
fn until(port: u16, path: &str, will_do: impl Fn(&str) -> bool) -> String {
    let mut last = String::new();
    for _ in 0..600 {
        if let Ok(answer) = ask(port, &format!("GET {path}"), "") {
            if will_do(&answer) {
                return answer;
            }
            last = answer;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{path}: {last}");
}

fn stop(bank: &std::process::Child) {
    let sent = std::process::Command::new("kill")
        .args(["-TERM", &bank.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}
