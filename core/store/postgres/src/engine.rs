//! The engine: keyspaces, and what each call of the port becomes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::channel::oneshot;
use lombard_store::{
    Admitted, Changes, Engine, EngineInfo, EventPage, KeyspaceId, PartitionId, Position, Snapshot,
    Spawner, StoreError, Version, Wanted, limits,
};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;

use crate::commit::{self, Committer};
use crate::connect::{self, Maker, Pool};
use crate::events::Lister;
use crate::failure;
use crate::gather::{Gather, Limits};
use crate::options::PostgresOptions;
use crate::read::{self, Reader};
use crate::schema;

/// The oldest server that is taken.
const SERVER_VERSION_MIN: i32 = 150_000;

/// The first pause of a follower for transactions that hold back what this process has
/// seen already; it doubles each time, up to the other. All of them make a second.
const SETTLING_PAUSE: Duration = Duration::from_millis(1);
const SETTLING_PAUSE_MAX: Duration = Duration::from_millis(512);

/// The engine.
pub struct Postgres {
    options: PostgresOptions,
    spawner: Arc<dyn Spawner>,
    pool: Pool,
    server: Server,
    keyspaces: RwLock<Vec<Arc<Keyspace>>>,
    /// One opening at a time.
    opening: tokio::sync::Mutex<()>,
    seen: AtomicU64,
    figures: Mutex<Figures>,
}

/// What the server said of itself.
#[derive(Debug, Clone)]
struct Server {
    version: String,
    durability: String,
}

#[derive(Debug, Default)]
struct Figures {
    commits: u64,
    conflicts: u64,
    reads: u64,
}

struct Keyspace {
    name: String,
    commits: Gather<commit::Asked>,
    reads: Gather<read::Asked>,
    /// One for each read or commit that is on its way, or waits for a statement.
    admission: Arc<Semaphore>,
    lister: Lister,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("place", &self.pool.manager().place())
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Postgres {
    /// Reaches the server, once, and looks whether it will do.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: nobody answers there, or does not take writes now;
    /// [`StoreError::Misconfigured`]: what was answered needs a person.
    pub async fn connect(
        options: PostgresOptions,
        spawner: Arc<dyn Spawner>,
    ) -> Result<Self, StoreError> {
        let maker = Maker::new(&options, spawner.clone())?;
        let pool = Pool::builder(maker)
            .max_size(options.connections.max(2))
            .build()
            .map_err(|error| StoreError::Misconfigured(format!("[postgres] {error}")))?;
        let server = look(&pool, &options).await?;
        Ok(Self {
            options,
            spawner,
            pool,
            server,
            keyspaces: RwLock::default(),
            opening: tokio::sync::Mutex::default(),
            seen: AtomicU64::new(0),
            figures: Mutex::default(),
        })
    }

    async fn open(&self, name: &str, id: KeyspaceId) -> Result<Arc<Keyspace>, StoreError> {
        let schema = format!("{}_{name}", self.options.schema_prefix);
        let ahead = {
            let mut connection = connect::lend(&self.pool).await?;
            let place = self.pool.manager().place();
            schema::prepare(&mut connection.client, place, &schema).await?
        };
        let schema = schema::quote(&schema);
        let timeout = Duration::from_millis(self.options.answer_timeout_ms);
        let committer = Arc::new(Committer::new(self.pool.clone(), timeout, ahead, &schema));
        let reader = Arc::new(Reader::new(self.pool.clone(), timeout, &schema));
        let limits = |at_once: usize| Limits {
            at_once: at_once.max(1),
            items: self.options.commits_per_statement.max(1),
            weight: self.options.bytes_per_statement,
        };
        let lister = Lister::new(self.pool.clone(), timeout, id, ahead, &schema);
        // Nothing that this process does from now on lies below.
        self.saw(lister.settled().await?);
        Ok(Arc::new(Keyspace {
            name: name.to_owned(),
            commits: Gather::new(
                limits(self.options.commits_at_once),
                self.spawner.clone(),
                Arc::new(move |all| {
                    let committer = committer.clone();
                    Box::pin(async move { committer.run(all).await })
                }),
            ),
            reads: Gather::new(
                limits(self.options.reads_at_once),
                self.spawner.clone(),
                Arc::new(move |all| {
                    let reader = reader.clone();
                    Box::pin(async move { reader.run(all).await })
                }),
            ),
            lister,
            admission: Arc::new(Semaphore::new(self.options.admitted_max())),
        }))
    }

    fn opened(&self, id: KeyspaceId) -> Result<Arc<Keyspace>, StoreError> {
        let keyspaces = self.keyspaces.read();
        keyspaces
            .get(usize::from(id.0))
            .cloned()
            .ok_or_else(|| StoreError::Closed(format!("keyspace {} was not opened", id.0)))
    }

    fn saw(&self, position: Position) -> Position {
        self.seen.fetch_max(position.0, Ordering::AcqRel);
        position
    }
}

/// Asks the server what it is.
async fn look(pool: &Pool, options: &PostgresOptions) -> Result<Server, StoreError> {
    let connection = connect::lend(pool).await?;
    let place = pool.manager().place();
    let row = connection
        .client
        .query_one(
            "SELECT current_setting('server_version_num')::int, current_setting('server_version'),
                    current_setting('fsync'), current_setting('full_page_writes'),
                    pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',
                    current_setting('synchronous_standby_names')",
            &[],
        )
        .await
        .map_err(|error| failure::unavailable(place, &error))?;
    let version: String = row.get(1);
    if row.get::<_, i32>(0) < SERVER_VERSION_MIN {
        return Err(StoreError::Misconfigured(format!(
            "PostgreSQL at {place} is of version {version}; 15 or later is needed"
        )));
    }
    if row.get(4) || row.get(5) {
        return Err(StoreError::Unavailable(format!(
            "PostgreSQL at {place} takes no writes now: it is a standby, or read only"
        )));
    }
    for (setting, value) in [
        ("fsync", row.get::<_, String>(2)),
        ("full_page_writes", row.get(3)),
    ] {
        if value != "on" && !options.allow_unsafe_server {
            return Err(StoreError::Misconfigured(format!(
                "PostgreSQL at {place} runs with {setting} = {value}: what it acknowledges may be lost; \
                 set it on (or, where nothing must be kept, [postgres] allow_unsafe_server = true)"
            )));
        }
    }
    let standbys: String = row.get(6);
    let level = options.synchronous_commit;
    let durability = if row.get::<_, String>(2) != "on" {
        "none: the server runs with fsync off".to_owned()
    } else if standbys.is_empty() {
        format!(
            "synchronous_commit = {level}: flushed to the server's disk; no synchronous standby"
        )
    } else {
        format!(
            "synchronous_commit = {level}: flushed to the server's disk; synchronous standbys: {standbys}"
        )
    };
    Ok(Server {
        version,
        durability,
    })
}

#[async_trait]
impl Engine for Postgres {
    fn info(&self) -> EngineInfo {
        let status = self.pool.status();
        let figures = self.figures.lock();
        let keyspaces = self.keyspaces.read();
        let names: Vec<&str> = keyspaces
            .iter()
            .map(|keyspace| keyspace.name.as_str())
            .collect();
        let figures = [
            (
                "server",
                format!(
                    "PostgreSQL {} at {}",
                    self.server.version,
                    self.pool.manager().place()
                ),
            ),
            ("keyspaces", names.join(", ")),
            ("connections", status.size.to_string()),
            ("connections at most", status.max_size.to_string()),
            ("commits", figures.commits.to_string()),
            (
                "commits that met another version",
                figures.conflicts.to_string(),
            ),
            ("reads", figures.reads.to_string()),
        ];
        EngineInfo {
            name: "postgres".into(),
            durability: self.server.durability.clone(),
            figures: figures
                .into_iter()
                .map(|(name, figure)| (name.to_owned(), figure))
                .collect(),
        }
    }

    async fn keyspace(&self, name: &str) -> Result<KeyspaceId, StoreError> {
        limits::check_keyspace(name)?;
        let _one = self.opening.lock().await;
        let known = {
            let keyspaces = self.keyspaces.read();
            let known = keyspaces.iter().position(|keyspace| keyspace.name == name);
            known.ok_or(keyspaces.len())
        };
        let number = |index: usize| {
            u16::try_from(index)
                .map(KeyspaceId)
                .map_err(|_| StoreError::LimitExceeded("65,536 keyspaces at most".into()))
        };
        match known {
            Ok(index) => number(index),
            Err(next) => {
                let id = number(next)?;
                let keyspace = self.open(name, id).await?;
                self.keyspaces.write().push(keyspace);
                Ok(id)
            }
        }
    }

    async fn admit(&self, keyspace: KeyspaceId) -> Admitted {
        let Ok(keyspace) = self.opened(keyspace) else {
            // Whatever is asked for then is refused.
            return Admitted::free();
        };
        match keyspace.admission.clone().acquire_owned().await {
            Ok(permit) => Admitted::holding(permit),
            // It is never closed.
            Err(_) => Admitted::free(),
        }
    }

    async fn read(
        &self,
        partition: &PartitionId,
        wanted: &[Wanted],
    ) -> Result<Snapshot, StoreError> {
        let keyspace = self.opened(partition.keyspace)?;
        let (tell, told) = oneshot::channel();
        keyspace.reads.add(read::Asked {
            partition: partition.key.clone(),
            wanted: wanted.to_vec(),
            tell,
        });
        let snapshot = told
            .await
            .map_err(|_| StoreError::Closed("the task that read has ended".into()))??;
        self.figures.lock().reads += 1;
        self.saw(snapshot.position);
        Ok(snapshot)
    }

    async fn commit(
        &self,
        partition: &PartitionId,
        expected: Version,
        changes: Changes,
    ) -> Result<Option<Position>, StoreError> {
        let keyspace = self.opened(partition.keyspace)?;
        let (tell, told) = oneshot::channel();
        keyspace.commits.add(commit::Asked {
            partition: partition.key.clone(),
            expected,
            changes,
            tell,
        });
        let committed = told
            .await
            .map_err(|_| StoreError::Ambiguous("the task that commits has ended".into()))??;
        let mut figures = self.figures.lock();
        match committed {
            Some(_) => figures.commits += 1,
            None => figures.conflicts += 1,
        }
        Ok(committed.map(|position| self.saw(position)))
    }

    async fn durable(&self, _: Position) -> Result<(), StoreError> {
        // Commits are when they are told; reads show nothing else.
        Ok(())
    }

    async fn partitions(
        &self,
        keyspace: KeyspaceId,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        self.opened(keyspace)?.lister.partitions(after, limit).await
    }

    async fn events(
        &self,
        keyspace: KeyspaceId,
        after: Position,
        limit: usize,
    ) -> Result<EventPage, StoreError> {
        let keyspace = self.opened(keyspace)?;
        let seen = self.position();
        let mut pause = SETTLING_PAUSE;
        loop {
            let page = keyspace.lister.events(after, limit).await?;
            // A transaction that began before what was seen here is about to end, as a rule.
            if page.more || page.next >= seen || pause > SETTLING_PAUSE_MAX {
                return Ok(page);
            }
            self.spawner.pause(pause).await;
            pause *= 2;
        }
    }

    fn position(&self) -> Position {
        Position(self.seen.load(Ordering::Acquire))
    }

    fn combined_bytes_max(&self) -> usize {
        self.options.bytes_per_statement
    }
}
