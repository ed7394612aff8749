//! A real PostgreSQL: killed, paused, restarted, replicated, promoted.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use lombard_engines::postgres::{Authentication, Options, ReplicaOptions, Server, Tls};
use lombard_engines::{Error, Password, Process, testing};

fn count(server: &Server) -> String {
    let rows = server.query("SELECT count(*) FROM t").unwrap();
    rows[0][0].clone().unwrap()
}

#[test]
fn what_was_committed_outlives_a_kill_and_a_promotion() {
    let test = "what_was_committed_outlives_a_kill_and_a_promotion";
    let Some(primary) = testing::started(test, Server::start(&Options::default())) else {
        return;
    };
    primary.query("CREATE TABLE t (id int)").unwrap();
    primary
        .query("INSERT INTO t SELECT generate_series(1, 1000)")
        .unwrap();
    let before = primary.process().unwrap().tree();
    assert!(before.len() > 3, "{before:?}");
    primary.kill9().unwrap();
    assert_eq!(primary.process(), None);
    assert!(before.iter().all(|process| !process.runs()));
    let error = primary.query("SELECT 1").unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");

    primary.restart().unwrap();
    assert_eq!(count(&primary), "1000");

    let replica = primary
        .replica(&ReplicaOptions {
            synchronous: true,
            ..ReplicaOptions::default()
        })
        .unwrap();
    primary.query("INSERT INTO t VALUES (0)").unwrap();
    replica.catch_up(&primary).unwrap();
    assert_eq!(count(&replica), "1001");
    let error = replica
        .query("INSERT INTO t VALUES (0)")
        .unwrap_err()
        .to_string();
    assert!(error.contains("read-only transaction"), "{error}");

    primary.kill9().unwrap();
    replica.promote().unwrap();
    replica.query("INSERT INTO t VALUES (0)").unwrap();
    assert_eq!(count(&replica), "1002");

    let folders = [primary.folder().to_owned(), replica.folder().to_owned()];
    let after = replica.process().unwrap().tree();
    drop((primary, replica));
    assert!(after.iter().all(|process| !process.runs()));
    assert!(folders.iter().all(|folder| !folder.exists()));
}

#[test]
fn who_is_killed_leaves_no_server() {
    const TEST: &str = "who_is_killed_leaves_no_server";
    const CHILD: &str = "LOMBARD_ENGINES_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let server = Server::start(&Options::default()).unwrap();
        server.pause();
        let pids = server.process().unwrap().tree();
        let pids = serde_json::to_string(&pids).unwrap();
        println!("\nstarted {}\t{pids}", server.folder().display());
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        return;
    }
    // The child does not tell that it was skipped.
    if testing::started(TEST, Server::start(&Options::default())).is_none() {
        return;
    }
    let mut killed = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(killed.stdout.take().unwrap()).lines();
    let line = lines
        .map(Result::unwrap)
        .find(|line| line.starts_with("started "))
        .unwrap();
    let (folder, pids) = line
        .strip_prefix("started ")
        .unwrap()
        .split_once('\t')
        .unwrap();
    let left: Vec<Process> = serde_json::from_str(pids).unwrap();
    // A child that was just ending may be gone.
    let running = left.iter().filter(|process| process.runs()).count();
    assert!(running > 3, "{line}");
    killed.kill().unwrap();
    killed.wait().unwrap();
    for _ in 0..600 {
        if !left.iter().any(|process| process.runs()) && !Path::new(folder).exists() {
            return;
        }
        #[expect(clippy::disallowed_methods, reason = "real processes, real time")]
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("left after a minute: {line}");
}

#[test]
fn the_locks_of_a_dead_server_that_nobody_collected_are_no_obstacle() {
    let test = "the_locks_of_a_dead_server_that_nobody_collected_are_no_obstacle";
    let Some(server) = testing::started(test, Server::start(&Options::default())) else {
        return;
    };
    server.stop().unwrap();
    // Ended, and not waited for: its number is still taken.
    let mut dead = Command::new("true").spawn().unwrap();
    while Process::now(dead.id()).unwrap().runs() {
        std::thread::yield_now();
    }
    let number = format!("{}\n", dead.id());
    let socket = format!(".s.PGSQL.{}.lock", server.address().port());
    std::fs::write(server.data().join("postmaster.pid"), &number).unwrap();
    std::fs::write(server.folder().join(socket), &number).unwrap();
    server.restart().unwrap();
    server.query("SELECT 1").unwrap();
    dead.wait().unwrap();
}

#[test]
fn a_paused_server_takes_connections_and_answers_when_it_goes_on() {
    let test = "a_paused_server_takes_connections_and_answers_when_it_goes_on";
    let Some(server) = testing::started(test, Server::start(&Options::default())) else {
        return;
    };
    server.pause();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    // SSLRequest: answered by one byte, N, as there is no TLS.
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    let mut answer = [0];
    assert!(stream.read_exact(&mut answer).is_err(), "{answer:?}");
    server.resume();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"N");
    // A paused one is stopped all the same.
    server.pause();
    server.stop().unwrap();
    assert_eq!(server.process(), None);
}

#[test]
fn passwords_and_tls_are_set_up_and_a_wrong_setting_is_said() {
    let test = "passwords_and_tls_are_set_up_and_a_wrong_setting_is_said";
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    std::fs::write(&certificate, include_str!("tls/server.pem")).unwrap();
    std::fs::write(&key, include_str!("tls/server.key")).unwrap();
    let options = Options {
        authentication: Authentication::Password(Password::new("it's \\ secret")),
        tls: Some(Tls {
            certificate,
            key,
            required: true,
        }),
        ..Options::default()
    };
    let Some(server) = testing::started(test, Server::start(&options)) else {
        return;
    };
    assert!(
        server
            .connection_string()
            .ends_with(r"password='it\'s \\ secret'"),
        "{}",
        server.connection_string()
    );
    let rows = server
        .query("SELECT rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolname = 'lombard'")
        .unwrap();
    assert_eq!(rows, [[Some("t".to_owned())]]);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"S");
    drop(stream);

    let wrong = Options {
        settings: vec![("work_mem".to_owned(), "a lot".to_owned())],
        ..Options::default()
    };
    let error = Server::start(&wrong).unwrap_err().to_string();
    assert!(
        error.contains("invalid value for parameter \"work_mem\""),
        "{error}"
    );
    let left = error.split(" the end of ").nth(1).unwrap();
    let log = Path::new(left.split(':').next().unwrap());
    assert!(!log.parent().unwrap().exists(), "{}", log.display());
}

#[test]
fn a_server_is_put_back_to_a_moment_that_it_has() {
    let test = "a_server_is_put_back_to_a_moment_that_it_has";
    let options = Options {
        archived: true,
        client_programs: true,
        ..Options::default()
    };
    let Some(server) = testing::started(test, Server::start(&options)) else {
        return;
    };
    let now = || {
        let rows = server.query("SELECT clock_timestamp()::text").unwrap();
        rows[0][0].clone().unwrap()
    };
    server.query("CREATE TABLE t (id int)").unwrap();
    server.query("INSERT INTO t VALUES (1)").unwrap();
    let backup = server.base_backup().unwrap();
    server.query("INSERT INTO t VALUES (2)").unwrap();
    let moment = now();
    server.query("DELETE FROM t").unwrap();
    assert!(server.archive_all().unwrap() > 1);
    assert_eq!(count(&server), "0");
    let then = server.restored(&backup, &moment).unwrap();
    assert_eq!(count(&then), "2");
    then.query("INSERT INTO t VALUES (3)").unwrap();
    // What is not archived is not to be had, and not taken for the end.
    let error = server.restored(&backup, &now()).unwrap_err().to_string();
    let says = "before configured recovery target was reached";
    assert!(error.contains(says), "{error}");
}
