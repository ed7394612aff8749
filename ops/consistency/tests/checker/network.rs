//! The fault proxy over real connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lombard_consistency::proxy::{CHUNK_BYTES, CHUNKS_MAX, Direction, FaultProxy, Link};
use lombard_service::Host;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Long enough for what should come; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// What should not come is waited for this long.
const SILENCE: Duration = Duration::from_millis(150);

/// A server that sends back whatever comes, and a proxy before it.
async fn echo() -> (Host, FaultProxy) {
    let host = Host::system();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let tasks = host.tasks().clone();
    host.tasks().spawn("echo", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tasks.spawn("echo connection", async move {
                let (mut from, mut to) = stream.split();
                let _ended = tokio::io::copy(&mut from, &mut to).await;
                let _ended = to.shutdown().await;
            });
        }
    });
    let proxy = FaultProxy::start(&host, local(), target.to_string())
        .await
        .unwrap();
    (host, proxy)
}

fn local() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap()
}

async fn says_back(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).await.unwrap();
    let mut back = vec![0; text.len()];
    within(stream.read_exact(&mut back)).await.unwrap();
    assert_eq!(back, text);
}

/// The connection is reset, not ended in an orderly way.
async fn is_reset(stream: &mut TcpStream) {
    let mut byte = [0];
    let read = within(stream.read(&mut byte)).await;
    let error = read.expect_err("an orderly end");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn everything_goes_through_both_ways_and_ends_are_passed_on() {
    let (_host, proxy) = echo().await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let much: Vec<u8> = (0..3_000_000_u32).map(|number| number as u8).collect();
    let (mut from, mut to) = stream.split();
    let writing = async {
        to.write_all(&much).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let mut back = Vec::new();
    let (_, read) = within(async { tokio::join!(writing, from.read_to_end(&mut back)) }).await;
    read.unwrap();
    assert!(back == much, "{} bytes came back", back.len());
    let carried = proxy.carried();
    assert_eq!((carried.connections, carried.reset), (1, 0));
    assert_eq!(carried.up_bytes, much.len() as u64);
    assert_eq!(carried.down_bytes, much.len() as u64);
}

#[tokio::test]
async fn a_cut_resets_what_is_open_and_what_comes_until_it_is_healed() {
    let (_host, proxy) = echo().await;
    let mut open = TcpStream::connect(proxy.address()).await.unwrap();
    says_back(&mut open, b"before").await;
    proxy.cut();
    is_reset(&mut open).await;
    let mut comes = TcpStream::connect(proxy.address()).await.unwrap();
    is_reset(&mut comes).await;
    proxy.heal();
    let mut after = TcpStream::connect(proxy.address()).await.unwrap();
    says_back(&mut after, b"after").await;
    assert_eq!(proxy.carried().reset, 2);
}

#[tokio::test]
async fn a_black_hole_keeps_connections_and_lets_go_what_it_held() {
    let (_host, proxy) = echo().await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    says_back(&mut stream, b"before").await;
    for direction in [Direction::Up, Direction::Down] {
        let hole = Link {
            blackhole: true,
            ..Link::default()
        };
        proxy.set(direction, hole);
        stream.write_all(b"held").await.unwrap();
        let mut back = [0; 4];
        let silence = tokio::time::timeout(SILENCE, stream.read_exact(&mut back)).await;
        assert!(silence.is_err(), "{direction}: it went through");
        proxy.heal();
        within(stream.read_exact(&mut back)).await.unwrap();
        assert_eq!(&back, b"held");
    }
}

#[tokio::test]
async fn what_a_black_hole_holds_is_bounded() {
    let (_host, proxy) = echo().await;
    let hole = Link {
        blackhole: true,
        ..Link::default()
    };
    proxy.set(Direction::Up, hole);
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let chunk = vec![7; CHUNK_BYTES];
    let mut sent = 0_usize;
    // The proxy's own bound, and whatever the system's sockets take.
    let most = CHUNKS_MAX * CHUNK_BYTES + (64 << 20);
    loop {
        match tokio::time::timeout(SILENCE, stream.write(&chunk)).await {
            Ok(written) => sent += written.unwrap(),
            Err(_) => break,
        }
        assert!(sent < most, "{sent} bytes were taken by a hole");
    }
    assert!(sent >= CHUNKS_MAX * CHUNK_BYTES / 2, "{sent}");
    proxy.heal();
    let mut back = vec![0; CHUNK_BYTES];
    within(stream.read_exact(&mut back)).await.unwrap();
    assert_eq!(back, chunk);
}

#[tokio::test]
async fn a_slow_link_delays_and_can_be_hurried() {
    let (host, proxy) = echo().await;
    let delay = Duration::from_millis(60);
    let late = Link {
        delay,
        ..Link::default()
    };
    proxy.set(Direction::Up, late);
    proxy.set(Direction::Down, late);
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let before_us = host.monotonic_us();
    says_back(&mut stream, b"late").await;
    let took_us = host.monotonic_us() - before_us;
    assert!(took_us >= 2 * 60_000, "{took_us} µs: both ways are late");
    // What is on its way when the link is healed need not wait any more.
    let hours = Link {
        delay: Duration::from_secs(3_600),
        ..Link::default()
    };
    proxy.set(Direction::Up, hours);
    stream.write_all(b"soon").await.unwrap();
    let mut back = [0; 4];
    let silence = tokio::time::timeout(SILENCE, stream.read_exact(&mut back)).await;
    assert!(silence.is_err());
    proxy.heal();
    within(stream.read_exact(&mut back)).await.unwrap();
}

#[tokio::test]
async fn a_narrow_link_takes_its_time() {
    let (host, proxy) = echo().await;
    let narrow = Link {
        bytes_per_s: Some(100_000),
        ..Link::default()
    };
    proxy.set(Direction::Up, narrow);
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let before_us = host.monotonic_us();
    says_back(&mut stream, &vec![1; 20_000]).await;
    // All but the last part has to be paused for.
    let took_us = host.monotonic_us() - before_us;
    assert!(
        took_us >= 100_000,
        "{took_us} µs for 20,000 bytes at 100,000 a second"
    );
}

#[tokio::test]
async fn a_connection_breaks_in_the_midst_of_an_answer_once() {
    let (_host, proxy) = echo().await;
    proxy.break_after(Direction::Down, 5);
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(b"0123456789").await.unwrap();
    let mut back = Vec::new();
    let mut byte = [0];
    let error = loop {
        match within(stream.read(&mut byte)).await {
            Ok(0) => panic!("an orderly end"),
            Ok(_) => back.extend(byte),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    // A reset may overtake what was sent before it; never is there more.
    assert!(b"01234".starts_with(&back[..]), "{back:?}");
    assert_eq!(proxy.carried().down_bytes, 5);
    let mut next = TcpStream::connect(proxy.address()).await.unwrap();
    says_back(&mut next, b"0123456789").await;
}

#[tokio::test]
async fn a_target_that_is_not_there_is_a_reset_and_may_come_later() {
    let host = Host::system();
    // A port that was free a moment ago, and that nobody else is given as long as it is held.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind(local()).unwrap();
    let nobody = held.local_addr().unwrap();
    let proxy = FaultProxy::start(&host, local(), nobody.to_string())
        .await
        .unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    is_reset(&mut stream).await;
    let (_echo_host, there) = echo().await;
    proxy.set_target(there.target());
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    says_back(&mut stream, b"there").await;
}

#[tokio::test]
async fn a_proxy_that_is_dropped_leaves_nothing_behind() {
    let (host, proxy) = echo().await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    says_back(&mut stream, b"before").await;
    let address = proxy.address();
    let proxy = Arc::new(proxy);
    drop(proxy);
    let mut byte = [0];
    let ended = within(stream.read(&mut byte)).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    // The listener's task ends on its own turn.
    within(async {
        while TcpStream::connect(address).await.is_ok() {
            host.sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
