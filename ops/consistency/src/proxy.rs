//! A TCP proxy that breaks what goes through it, on demand.
//!
//! It stands between a caller and what is called: listens on a loopback port, connects
//! to its target for each connection, and carries bytes both ways. Each direction is a
//! [`Link`] of its own that can be changed while bytes are on their way. What waits in
//! it is bounded: [`CHUNKS_MAX`] chunks of at most [`CHUNK_BYTES`] for each direction of
//! a connection; then the sender has to wait, as with a full socket.

mod pump;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lombard_service::Host;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use self::pump::{Ended, pump};

/// Bytes that are read at once.
pub const CHUNK_BYTES: usize = 16 << 10;
/// Chunks that wait in one direction of a connection.
pub const CHUNKS_MAX: usize = 64;
/// Connections at one time; more wait to be accepted.
pub const CONNECTIONS_MAX: usize = 1_024;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the caller to the target: requests.
    Up,
    /// From the target to the caller: answers.
    Down,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

/// What one direction is like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    /// Nothing goes through, and nobody is told: connections stay open.
    pub blackhole: bool,
    /// Everything arrives so much later.
    pub delay: Duration,
    /// So many bytes a second go through on each connection; none: as many as come.
    pub bytes_per_s: Option<u64>,
}

/// What went through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    /// Connections that were accepted.
    pub connections: u64,
    /// Connections that were reset by the proxy.
    pub reset: u64,
    /// Bytes that reached the target.
    pub up_bytes: u64,
    /// Bytes that reached callers.
    pub down_bytes: u64,
}

/// The proxy. It ends, with all its connections, when it is dropped.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Its tasks end when this is dropped.
    _alive: watch::Sender<()>,
}

struct Shared {
    target: Mutex<String>,
    up: watch::Sender<Link>,
    down: watch::Sender<Link>,
    /// While true, connections are reset.
    cut: watch::Sender<bool>,
    breaks: Breaks,
    counts: Counts,
}

/// How many bytes may still go until a connection breaks, by direction.
#[derive(Default)]
struct Breaks {
    up: Mutex<Option<u64>>,
    down: Mutex<Option<u64>>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicU64,
    reset: AtomicU64,
    up_bytes: AtomicU64,
    down_bytes: AtomicU64,
}

impl fmt::Debug for FaultProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultProxy({} → {})", self.address, self.target())
    }
}

impl FaultProxy {
    /// Listens on this address (port 0: a free one) for a target `HOST:PORT`. The target
    /// is connected to when somebody comes, and may start later.
    ///
    /// # Errors
    /// The address is taken.
    pub async fn start(
        host: &Host,
        listen: SocketAddr,
        target: impl Into<String>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target: Mutex::new(target.into()),
            up: watch::Sender::new(Link::default()),
            down: watch::Sender::new(Link::default()),
            cut: watch::Sender::new(false),
            breaks: Breaks::default(),
            counts: Counts::default(),
        });
        let (alive, ends) = watch::channel(());
        let accepting = accept(host.clone(), listener, shared.clone(), ends);
        host.tasks().spawn("fault proxy", accepting);
        Ok(Self {
            address,
            shared,
            _alive: alive,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it connects to.
    pub fn target(&self) -> String {
        self.shared.target.lock().clone()
    }

    /// Connects to another target from now on: what stood there has been started again
    /// on another port. Connections that are open stay as they are.
    pub fn set_target(&self, target: impl Into<String>) {
        *self.shared.target.lock() = target.into();
    }

    /// Changes a direction, for all connections, also for what is on its way.
    pub fn set(&self, direction: Direction, link: Link) {
        self.shared.link(direction).send_replace(link);
    }

    /// Resets all connections, and each that comes, until [`FaultProxy::heal`].
    pub fn cut(&self) {
        self.shared.cut.send_replace(true);
    }

    /// Once so many more bytes have gone this way, over all connections, the one that
    /// carried the last of them is reset in the midst of what it carries. Once.
    pub fn break_after(&self, direction: Direction, bytes: u64) {
        *self.shared.breaks.of(direction).lock() = Some(bytes);
    }

    /// Everything goes through again.
    pub fn heal(&self) {
        for direction in [Direction::Up, Direction::Down] {
            self.set(direction, Link::default());
            *self.shared.breaks.of(direction).lock() = None;
        }
        self.shared.cut.send_replace(false);
    }

    /// What went through so far.
    pub fn carried(&self) -> Carried {
        let counts = &self.shared.counts;
        Carried {
            connections: counts.connections.load(Ordering::Relaxed),
            reset: counts.reset.load(Ordering::Relaxed),
            up_bytes: counts.up_bytes.load(Ordering::Relaxed),
            down_bytes: counts.down_bytes.load(Ordering::Relaxed),
        }
    }
}

impl Breaks {
    fn of(&self, direction: Direction) -> &Mutex<Option<u64>> {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    /// How many of these bytes go through; fewer than all: then the connection breaks.
    fn take(&self, direction: Direction, bytes: usize) -> usize {
        let mut left = self.of(direction).lock();
        let Some(may_go) = *left else { return bytes };
        let asked = bytes as u64;
        if asked <= may_go {
            *left = Some(may_go - asked);
            return bytes;
        }
        *left = None;
        usize::try_from(may_go).unwrap_or(bytes)
    }
}

impl Shared {
    fn link(&self, direction: Direction) -> &watch::Sender<Link> {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    fn count(&self, direction: Direction, bytes: usize) {
        let counter = match direction {
            Direction::Up => &self.counts.up_bytes,
            Direction::Down => &self.counts.down_bytes,
        };
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

async fn accept(
    host: Host,
    listener: TcpListener,
    shared: Arc<Shared>,
    mut ends: watch::Receiver<()>,
) {
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    let mut stop = host.shutdown().subscribe();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ends.changed() => return,
            _ = stop.wait_for(|requested| *requested) => return,
        };
        let Ok((caller, _)) = accepted else {
            // Too many open files, mostly: not for ever.
            host.sleep(Duration::from_millis(10)).await;
            continue;
        };
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        shared.counts.connections.fetch_add(1, Ordering::Relaxed);
        let (carrying, shared, ends) = (host.clone(), shared.clone(), ends.clone());
        let stop = stop.clone();
        host.tasks().spawn("fault proxy connection", async move {
            connection(&carrying, caller, &shared, ends, stop).await;
            drop(place);
        });
    }
}

/// Carries one connection until one side ends, or it is reset.
async fn connection(
    host: &Host,
    mut caller: TcpStream,
    shared: &Shared,
    mut ends: watch::Receiver<()>,
    mut stop: watch::Receiver<bool>,
) {
    let mut cut = shared.cut.subscribe();
    let address = shared.target.lock().clone();
    let connected = tokio::select! {
        connected = TcpStream::connect(address) => connected,
        _ = cut.wait_for(|cut| *cut) => {
            reset(shared, caller);
            return;
        }
        _ = ends.changed() => return,
        _ = stop.wait_for(|requested| *requested) => return,
    };
    let Ok(mut target) = connected else {
        reset(shared, caller);
        return;
    };
    // Small requests must not wait for each other; the proxy adds only what it was told to.
    let _ = caller.set_nodelay(true);
    let _ = target.set_nodelay(true);
    let broken = {
        let (from_caller, to_caller) = caller.split();
        let (from_target, to_target) = target.split();
        let both = async {
            let up = pump(host, shared, Direction::Up, from_caller, to_target);
            let down = pump(host, shared, Direction::Down, from_target, to_caller);
            tokio::pin!(up, down);
            // One side may end what it says and still listen.
            let first = tokio::select! {
                ended = &mut up => (ended, Direction::Up),
                ended = &mut down => (ended, Direction::Down),
            };
            match first {
                (Ended::Broken, _) => Ended::Broken,
                (Ended::Whole, Direction::Up) => down.await,
                (Ended::Whole, Direction::Down) => up.await,
            }
        };
        tokio::select! {
            ended = both => matches!(ended, Ended::Broken),
            _ = cut.wait_for(|cut| *cut) => true,
            _ = ends.changed() => false,
            _ = stop.wait_for(|requested| *requested) => false,
        }
    };
    if broken {
        reset(shared, caller);
        let _ = target.set_zero_linger();
    }
}

/// Ends a connection as a crashed peer does: by RST, whatever was on its way.
fn reset(shared: &Shared, stream: TcpStream) {
    shared.counts.reset.fetch_add(1, Ordering::Relaxed);
    // It is dropped in any case; then it ends in an orderly way.
    let _ = stream.set_zero_linger();
}
