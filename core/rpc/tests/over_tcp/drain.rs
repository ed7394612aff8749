//! Stopping under load drops no call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::stand::{channel, client, exchange, get, start};
use lombard_rpc::client::{ChannelOptions, HttpVersion};
use lombard_rpc::server::{Drained, ServerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_callers_lose_nothing() {
    let server = start(ServerOptions::default()).await;
    let options = ChannelOptions {
        http_version: HttpVersion::Http2,
        attempts_max: 1,
        ..ChannelOptions::default()
    };
    let channel = channel(&[server.address], options);
    let stopping = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..32)
        .map(|_| {
            let client = client(&channel);
            let stopping = Arc::clone(&stopping);
            tokio::spawn(async move {
                let mut answered = 0u32;
                loop {
                    let was_stopping = stopping.load(Ordering::SeqCst);
                    match get(&client, "slow").await {
                        Ok(_) => answered += 1,
                        // A call made after the end of accepting may be refused, never lost.
                        Err(error) if was_stopping => {
                            assert_eq!(error.reason, "UNREACHABLE", "{error}");
                            return answered;
                        }
                        Err(error) => {
                            // Sent before: only one that never left may fail.
                            assert!(stopping.load(Ordering::SeqCst), "{error}");
                            assert_eq!(error.reason, "UNREACHABLE", "{error}");
                            return answered;
                        }
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    stopping.store(true, Ordering::SeqCst);
    let stand = Arc::clone(&server.stand);
    assert_eq!(server.serving.drain().await, Drained { cut_off: 0 });
    let mut answered = 0;
    for caller in callers {
        answered += caller.await.unwrap();
    }
    // What reached a handler was answered.
    assert_eq!(answered, stand.calls.load(Ordering::SeqCst));
    assert!(answered >= 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http1_callers_on_open_connections_lose_nothing() {
    let server = start(ServerOptions::default()).await;
    let address = server.address;
    let lost = Arc::new(AtomicU32::new(0));
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let lost = Arc::clone(&lost);
            tokio::spawn(async move { keep_calling(address, &lost).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(150)).await;
    let stand = Arc::clone(&server.stand);
    assert_eq!(server.serving.drain().await, Drained { cut_off: 0 });
    let mut answered = 0;
    for caller in callers {
        answered += caller.await.unwrap();
    }
    assert_eq!(lost.load(Ordering::SeqCst), 0);
    assert_eq!(answered, stand.calls.load(Ordering::SeqCst));
    assert!(answered > 100, "{answered}");
}

/// Calls on one connection until the server asks for its end. A request without an
/// answer is a lost one.
async fn keep_calling(address: SocketAddr, lost: &AtomicU32) -> u32 {
    let mut answered = 0;
    let mut stream = TcpStream::connect(address).await.unwrap();
    loop {
        let request = format!(
            "POST {} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{{\"id\":\"a\"}}",
            crate::stand::GET_CUSTOMER
        );
        if stream.write_all(request.as_bytes()).await.is_err() {
            lost.fetch_add(1, Ordering::SeqCst);
            return answered;
        }
        let mut buffer = [0u8; 4096];
        let read = stream.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            lost.fetch_add(1, Ordering::SeqCst);
            return answered;
        }
        let answer = String::from_utf8_lossy(&buffer[..read]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answered += 1;
        if answer.contains("connection: close") {
            return answered;
        }
    }
}

#[tokio::test]
async fn the_drain_is_bounded_and_says_what_it_cut_off() {
    let server = start(ServerOptions {
        drain_linger_ms: 0,
        drain_timeout_ms: 50,
        ..ServerOptions::default()
    })
    .await;
    let client = client(&channel(
        &[server.address],
        ChannelOptions {
            attempts_max: 1,
            ..ChannelOptions::default()
        },
    ));
    let hanging = tokio::spawn(async move { get(&client, "hang").await });
    while server.serving.calls_in_progress() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let started = Instant::now();
    assert_eq!(server.serving.drain().await, Drained { cut_off: 1 });
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(hanging.await.unwrap().is_err());
}

#[tokio::test]
async fn while_draining_ready_says_no() {
    let server = start(ServerOptions {
        drain_linger_ms: 500,
        ..ServerOptions::default()
    })
    .await;
    let address = server.address;
    // Opened before, so that it is there when nothing is accepted any more.
    let mut open = TcpStream::connect(address).await.unwrap();
    assert_eq!(
        exchange(address, "GET", "/ready", &[], b"").await.status,
        200
    );
    let draining = tokio::spawn(server.serving.drain());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(TcpStream::connect(address).await.is_err());
    open.write_all(b"GET /ready HTTP/1.1\r\nhost: test\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.ends_with("draining\n"), "{answer}");
    assert_eq!(draining.await.unwrap(), Drained { cut_off: 0 });
}
