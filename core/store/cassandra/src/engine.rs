//! The engine: clusters, keyspaces, and the port of the store over them.

mod figures;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use lombard_store::{
    Admitted, Changes, Engine, EngineInfo, EventPage, KeyspaceId, PartitionId, Position, Reading,
    Snapshot, StoreError, Version, Wanted, limits,
};
use parking_lot::RwLock;

use crate::clock::{Clock, PhysicalClock};
use crate::cluster::Cluster;
use crate::commit::Done;
use crate::counts::AbsentCounts;
use crate::events::{self, Following};
use crate::keyspace::Keyspace;
use crate::lanes::Lanes;
use crate::moving::{Pair, Tools};
use crate::nodes::{self, NodeFacts, NodeSettings};
use crate::options::CassandraOptions;
use crate::read::{Looked, Manner, is_a_copy};
use crate::ring::{Guard, Stranger};
use crate::watch::Watched;
use crate::{guarded, partitions};

/// How often the clock is compared with the nodes' while events are written.
const CLOCK_CHECK_US: u64 = 30_000_000;

/// Partitions on Cassandra. See the crate's documentation.
pub struct Cassandra {
    options: CassandraOptions,
    clock: Clock,
    clusters: BTreeMap<String, Connected>,
    keyspaces: RwLock<Vec<Opened>>,
    lanes: Lanes,
    watched: Watched,
    /// Held while a keyspace is opened: each is opened once.
    opening: tokio::sync::Mutex<()>,
}

/// Who we are, in words, for a person who looks into the cluster.
fn holder() -> String {
    format!("process {}", std::process::id())
}

/// A keyspace that was opened.
#[derive(Debug, Clone)]
enum Opened {
    Alone(Arc<Keyspace>),
    /// It moves from one cluster to another.
    Moving(Arc<Pair>),
}

impl Opened {
    /// The keyspaces in Cassandra that it is.
    fn keyspaces(&self) -> Vec<&Arc<Keyspace>> {
        match self {
            Self::Alone(keyspace) => vec![keyspace],
            Self::Moving(pair) => pair.keyspaces().to_vec(),
        }
    }

    /// The cluster that a partition is on, as far as is known.
    fn cluster_of(&self, partition: &[u8]) -> &str {
        match self {
            Self::Alone(keyspace) => &keyspace.cluster.name,
            Self::Moving(pair) => pair.cluster_of(partition),
        }
    }

    fn service(&self) -> &str {
        match self {
            Self::Alone(keyspace) => &keyspace.service,
            Self::Moving(pair) => &pair.keyspaces()[0].service,
        }
    }
}

/// A cluster, and what its nodes said.
struct Connected {
    cluster: Arc<Cluster>,
    guard: Arc<Guard>,
    nodes: Vec<NodeSettings>,
    /// When clocks were compared last.
    clock_checked_us: AtomicU64,
}

impl fmt::Debug for Cassandra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cassandra")
            .field("clusters", &self.clusters.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Cassandra {
    /// Connects to every cluster of the options, once, and examines its nodes. `clock` is the
    /// time of day in microseconds since 1970.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: a cluster does not answer; trying again may help.
    /// [`StoreError::Misconfigured`]: it does, and something is wrong with the log-in, the
    /// certificates, its settings or the clocks, which only a person can mend.
    pub async fn connect(
        options: CassandraOptions,
        clock: PhysicalClock,
    ) -> Result<Self, StoreError> {
        options.check()?;
        let mut clusters = BTreeMap::new();
        for name in options.clusters.keys() {
            let cluster = Arc::new(Cluster::connect(name, &options).await?);
            let nodes = nodes::examine(&cluster, &options, clock.as_ref()).await?;
            let holder = holder();
            let guard = Guard::new(&cluster, &options.keyspace_prefix, &holder, clock());
            let guard = Arc::new(guard.await?);
            let connected = Connected {
                cluster,
                guard,
                nodes,
                clock_checked_us: AtomicU64::new(clock()),
            };
            clusters.insert(name.clone(), connected);
        }
        Ok(Self {
            options,
            clock: Clock::new(clock),
            clusters,
            keyspaces: RwLock::default(),
            lanes: Lanes::default(),
            watched: Watched::default(),
            opening: tokio::sync::Mutex::default(),
        })
    }

    /// What was not found, by service's keyspace and slice of the ring, since the start.
    pub fn absent(&self) -> Vec<(String, AbsentCounts)> {
        let counts = self.absent_by_cluster().into_iter();
        counts
            .map(|(_, service, absent)| (service, absent))
            .collect()
    }

    /// The same, with the cluster of each.
    pub(crate) fn absent_by_cluster(&self) -> Vec<(String, String, AbsentCounts)> {
        let keyspaces = self.keyspaces.read();
        let keyspaces = keyspaces.iter().flat_map(Opened::keyspaces);
        let counts = keyspaces.map(|keyspace| {
            let cluster = keyspace.cluster.name.clone();
            (cluster, keyspace.service.clone(), keyspace.absent())
        });
        counts.collect()
    }

    /// Nodes that own ranges and of which nothing says that they have their data, by cluster.
    pub fn strangers(&self) -> Vec<(String, Vec<Stranger>)> {
        let clusters = self.clusters.iter();
        clusters
            .map(|(name, connected)| (name.clone(), connected.guard.strangers().to_vec()))
            .collect()
    }

    pub(crate) fn watched(&self) -> &Watched {
        &self.watched
    }

    /// Asks all nodes of all clusters whom they have heard of.
    pub(crate) async fn look_at_rings(&self) {
        for connected in self.clusters.values() {
            let looked = connected
                .guard
                .ask_all(&connected.cluster, self.clock.now_us());
            if let Err(error) = looked.await {
                // Whoever reads or commits is told so.
                tracing::debug!(cluster = connected.cluster.name, %error, "no node answers");
            }
        }
    }

    /// The nodes of each cluster, as this process sees them.
    pub fn nodes(&self) -> Vec<(String, Vec<NodeFacts>)> {
        let clusters = self.clusters.iter();
        clusters
            .map(|(name, connected)| (name.clone(), nodes::facts(&connected.cluster)))
            .collect()
    }

    fn keyspace_of(&self, id: KeyspaceId) -> Result<Opened, StoreError> {
        let keyspaces = self.keyspaces.read();
        let keyspace = keyspaces.get(usize::from(id.0)).cloned();
        keyspace.ok_or_else(|| StoreError::Closed(format!("keyspace {} was never opened", id.0)))
    }

    fn opened(&self, name: &str) -> Option<KeyspaceId> {
        let keyspaces = self.keyspaces.read();
        let place = keyspaces
            .iter()
            .position(|opened| opened.service() == name)?;
        u16::try_from(place).ok().map(KeyspaceId)
    }

    /// Opens a service's keyspace on one cluster.
    async fn open_on(
        &self,
        cluster: &str,
        id: KeyspaceId,
        name: &str,
    ) -> Result<Keyspace, StoreError> {
        let Some(connected) = self.clusters.get(cluster) else {
            return Err(StoreError::Misconfigured(format!(
                "cassandra: there is no cluster {cluster:?} for {name}"
            )));
        };
        let now_us = || self.clock.now_us();
        let parts = (connected.cluster.clone(), connected.guard.clone());
        Keyspace::open(id, name, parts, &self.options, &now_us, &holder()).await
    }

    pub(crate) fn tools(&self) -> Tools<'_> {
        Tools {
            clock: &self.clock,
            options: &self.options,
        }
    }

    pub(crate) fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// The two keyspaces of a service that moves.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`]: no move of it is configured; what opening it may fail with.
    pub(crate) async fn pair_of(
        &self,
        service: &str,
    ) -> Result<(KeyspaceId, Arc<Pair>), StoreError> {
        let id = self.keyspace(service).await?;
        match self.keyspace_of(id)? {
            Opened::Moving(pair) => Ok((id, pair)),
            Opened::Alone(keyspace) => Err(StoreError::Misconfigured(format!(
                "cassandra: {service} is on cluster {:?} and does not move: configure \
                 cassandra.moves.{service}.to",
                keyspace.cluster.name
            ))),
        }
    }

    pub(crate) fn following(&self) -> Following {
        let options = &self.options;
        let deadline = options.event_index_deadline_ms;
        let apart = options.clock_skew_max_ms.saturating_mul(2);
        Following {
            lag_us: deadline.saturating_add(apart).saturating_mul(1_000),
            fence_after_us: options.fence_after_ms.saturating_mul(1_000),
        }
    }

    /// Compares clocks again from time to time, since followers rely on them.
    async fn check_clock(&self, cluster: &str) -> Result<(), StoreError> {
        let Some(connected) = self.clusters.get(cluster) else {
            return Ok(());
        };
        let now = self.clock.now_us();
        let last = connected.clock_checked_us.load(Ordering::Acquire);
        if now.saturating_sub(last) < CLOCK_CHECK_US {
            return Ok(());
        }
        let won = connected.clock_checked_us.compare_exchange(
            last,
            now,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if won.is_err() {
            return Ok(());
        }
        let now_us = || self.clock.now_us();
        let examined = nodes::examine(&connected.cluster, &self.options, &now_us).await;
        if let Err(StoreError::Misconfigured(why)) = examined {
            // The next one checks again, and nothing is written until it is mended.
            connected.clock_checked_us.store(last, Ordering::Release);
            return Err(StoreError::Unavailable(why));
        }
        Ok(())
    }
}

impl Cassandra {
    /// None where a glance cannot tell.
    async fn snapshot(
        &self,
        partition: &PartitionId,
        wanted: (&[Wanted], Manner),
    ) -> Result<Option<Snapshot>, StoreError> {
        let opened = self.keyspace_of(partition.keyspace)?;
        let turn = match wanted.1 {
            Manner::Glance => self.lanes.glance(partition).await,
            Manner::Serial => self.lanes.read(partition).await,
        };
        let snapshot = match &opened {
            // Who holds the partition is found out serially.
            Opened::Moving(pair) => pair.read(self.tools(), partition, wanted.0).await?,
            Opened::Alone(keyspace) => {
                let attempts = self.options.read_attempts_max;
                let read = guarded::read(keyspace, &self.clock, attempts, partition, wanted);
                match read.await? {
                    Looked::State(snapshot) => snapshot,
                    Looked::Torn => return Ok(None),
                    Looked::Copy => return Err(is_a_copy(keyspace, &partition.key)),
                }
            }
        };
        turn.has_read();
        Ok(Some(snapshot))
    }
}

#[async_trait]
impl Engine for Cassandra {
    fn info(&self) -> EngineInfo {
        EngineInfo {
            name: "cassandra".into(),
            durability: self.durability(),
            figures: self.figures(),
        }
    }

    fn readings(&self) -> Vec<Reading> {
        self.metrics()
    }

    async fn keyspace(&self, name: &str) -> Result<KeyspaceId, StoreError> {
        limits::check_keyspace(name)?;
        if let Some(id) = self.opened(name) {
            return Ok(id);
        }
        let _opening = self.opening.lock().await;
        if let Some(id) = self.opened(name) {
            return Ok(id);
        }
        let number = self.keyspaces.read().len();
        let id = u16::try_from(number)
            .map_err(|_| StoreError::LimitExceeded(format!("{number} keyspaces are open")))?;
        let id = KeyspaceId(id);
        let home = self
            .open_on(self.options.cluster_of(name), id, name)
            .await?;
        let opened = match self.options.moves.get(name) {
            None => Opened::Alone(Arc::new(home)),
            Some(moving) => {
                let other = self.open_on(&moving.to, id, name).await?;
                Opened::Moving(Arc::new(Pair::open(home, other, &holder()).await?))
            }
        };
        self.keyspaces.write().push(opened);
        Ok(id)
    }

    async fn admit(&self, keyspace: KeyspaceId) -> Admitted {
        match self.keyspace_of(keyspace) {
            Ok(Opened::Alone(keyspace)) => Admitted::holding(keyspace.cluster.admit().await),
            // Always in the order of their names, so that nobody waits for one who waits.
            Ok(Opened::Moving(pair)) => Admitted::holding(pair.admit().await),
            // The read or commit says what is wrong.
            Err(_) => Admitted::free(),
        }
    }

    async fn read(
        &self,
        partition: &PartitionId,
        wanted: &[Wanted],
    ) -> Result<Snapshot, StoreError> {
        let read = self.snapshot(partition, (wanted, Manner::Serial)).await?;
        read.ok_or_else(|| StoreError::Unavailable("cassandra: a read could not tell".into()))
    }

    async fn glance(
        &self,
        partition: &PartitionId,
        wanted: &[Wanted],
    ) -> Result<Snapshot, StoreError> {
        match self.snapshot(partition, (wanted, Manner::Glance)).await? {
            Some(seen) => Ok(seen),
            None => self.read(partition, wanted).await,
        }
    }

    async fn commit(
        &self,
        partition: &PartitionId,
        expected: Version,
        changes: Changes,
    ) -> Result<Option<Position>, StoreError> {
        let opened = self.keyspace_of(partition.keyspace)?;
        let is_event = |change| matches!(change, &lombard_store::Change::Event(_));
        if changes.rows.values().any(is_event) {
            self.check_clock(opened.cluster_of(&partition.key)).await?;
        }
        let turn = self.lanes.commit(partition).await;
        let committed = match &opened {
            Opened::Moving(pair) => {
                let committed = pair.commit(self.tools(), partition, expected, &changes);
                committed.await?
            }
            Opened::Alone(keyspace) => {
                let deadline_us = self.options.event_index_deadline_ms.saturating_mul(1_000);
                let done = guarded::commit(
                    keyspace,
                    &self.clock,
                    deadline_us,
                    partition,
                    expected,
                    &changes,
                );
                match done.await? {
                    Done::In(position) => Some(position),
                    Done::Conflict => None,
                    Done::Copy => return Err(is_a_copy(keyspace, &partition.key)),
                }
            }
        };
        turn.has_committed(committed.is_none());
        Ok(committed)
    }

    async fn durable(&self, _: Position) -> Result<(), StoreError> {
        // Nothing is acknowledged, and nothing read serially, that a quorum does not have.
        Ok(())
    }

    async fn partitions(
        &self,
        keyspace: KeyspaceId,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        let opened = self.keyspace_of(keyspace)?;
        for keyspace in opened.keyspaces() {
            keyspace.permit_all()?;
        }
        let listed = match &opened {
            Opened::Alone(keyspace) => partitions::list(keyspace, after, limit).await?,
            Opened::Moving(pair) => pair.partitions(after, limit).await?,
        };
        for keyspace in opened.keyspaces() {
            keyspace.vouch_for_all(self.clock.now_us()).await?;
        }
        Ok(listed)
    }

    async fn events(
        &self,
        keyspace: KeyspaceId,
        after: Position,
        limit: usize,
    ) -> Result<EventPage, StoreError> {
        let opened = self.keyspace_of(keyspace)?;
        for keyspace in opened.keyspaces() {
            keyspace.permit_all()?;
        }
        let following = self.following();
        let page = match &opened {
            Opened::Alone(keyspace) => {
                events::follow(keyspace, &self.clock, following, after, limit).await?
            }
            Opened::Moving(pair) => pair.events(self.tools(), following, after, limit).await?,
        };
        // An entry of the index that was not found is never looked for again.
        for keyspace in opened.keyspaces() {
            keyspace.vouch_for_all(self.clock.now_us()).await?;
        }
        Ok(page)
    }

    fn position(&self) -> Position {
        self.clock.committed()
    }

    fn combined_bytes_max(&self) -> usize {
        self.options.batch_bytes_max
    }
}
