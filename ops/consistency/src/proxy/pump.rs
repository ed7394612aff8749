//! One direction of one connection.

use std::time::Duration;

use bytes::Bytes;
use lombard_service::Host;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};

use super::{CHUNK_BYTES, CHUNKS_MAX, Direction, Link, Shared};

/// How a direction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The sender has said all, and it has arrived.
    Whole,
    /// A side is gone, or the connection was to break here.
    Broken,
}

struct Chunk {
    arrived_us: u64,
    bytes: Bytes,
}

/// Carries bytes until the sender ends or the connection breaks.
pub async fn pump(
    host: &Host,
    shared: &Shared,
    direction: Direction,
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
) -> Ended {
    let (send, receive) = mpsc::channel(CHUNKS_MAX);
    let reading = read(host, from, send);
    let writing = write(host, shared, direction, receive, to);
    tokio::pin!(reading, writing);
    tokio::select! {
        ended = &mut writing => ended,
        // What was read before the end is still to be written.
        ended = &mut reading => match ended {
            Ended::Whole => writing.await,
            Ended::Broken => Ended::Broken,
        },
    }
}

async fn read(host: &Host, mut from: ReadHalf<'_>, send: mpsc::Sender<Chunk>) -> Ended {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) => return Ended::Whole,
            Ok(read) => {
                let chunk = Chunk {
                    arrived_us: host.monotonic_us(),
                    bytes: Bytes::copy_from_slice(buffer.get(..read).unwrap_or_default()),
                };
                if send.send(chunk).await.is_err() {
                    return Ended::Broken;
                }
            }
            Err(_) => return Ended::Broken,
        }
    }
}

async fn write(
    host: &Host,
    shared: &Shared,
    direction: Direction,
    mut receive: mpsc::Receiver<Chunk>,
    mut to: WriteHalf<'_>,
) -> Ended {
    let mut link = shared.link(direction).subscribe();
    while let Some(chunk) = receive.recv().await {
        due(host, &mut link, chunk.arrived_us).await;
        let may_go = shared.breaks.take(direction, chunk.bytes.len());
        let (now, rest) = chunk.bytes.split_at(may_go);
        let rate = link.borrow().bytes_per_s;
        for part in parts(now, rate) {
            let written = to.write_all(part).await;
            if written.is_err() {
                return Ended::Broken;
            }
            shared.count(direction, part.len());
            let rate = link.borrow().bytes_per_s;
            if let Some(pause) = pause(part.len(), rate) {
                host.sleep(pause).await;
                due(host, &mut link, chunk.arrived_us).await;
            }
        }
        if !rest.is_empty() {
            return Ended::Broken;
        }
    }
    // An end is no bytes, but goes no faster through a hole.
    due(host, &mut link, 0).await;
    match to.shutdown().await {
        Ok(()) => Ended::Whole,
        Err(_) => Ended::Broken,
    }
}

/// Waits until what arrived then may go on, however the link changes meanwhile.
async fn due(host: &Host, link: &mut watch::Receiver<Link>, arrived_us: u64) {
    loop {
        let now = *link.borrow_and_update();
        let delay_us = u64::try_from(now.delay.as_micros()).unwrap_or(u64::MAX);
        let wait_us = arrived_us
            .saturating_add(delay_us)
            .saturating_sub(host.monotonic_us());
        if !now.blackhole && wait_us == 0 {
            return;
        }
        let changed = link.changed();
        if now.blackhole {
            if changed.await.is_err() {
                return;
            }
        } else {
            tokio::select! {
                () = host.sleep(Duration::from_micros(wait_us)) => {}
                changed = changed => if changed.is_err() { return },
            }
        }
    }
}

/// With a limit, tenths of a second of it; without, all at once.
fn parts(bytes: &[u8], bytes_per_s: Option<u64>) -> std::slice::Chunks<'_, u8> {
    let part = bytes_per_s.map_or(CHUNK_BYTES, |rate| {
        usize::try_from(rate / 10).unwrap_or(CHUNK_BYTES)
    });
    bytes.chunks(part.clamp(1, CHUNK_BYTES))
}

fn pause(bytes: usize, bytes_per_s: Option<u64>) -> Option<Duration> {
    let us = (bytes as u64)
        .saturating_mul(1_000_000)
        .checked_div(bytes_per_s?)?;
    Some(Duration::from_micros(us))
}
