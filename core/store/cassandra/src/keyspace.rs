//! One service's keyspace: found as it should be, its statements, and what was not found in it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lombard_store::{KeyspaceId, Position, StoreError};
use scylla::statement::prepared::PreparedStatement;

use crate::cluster::Cluster;
use crate::coordinators::Coordinators;
use crate::counts::{AbsentCounts, Slices, slice_of};
use crate::events::Announcements;
use crate::fault;
use crate::moving;
use crate::options::CassandraOptions;
use crate::ring::Guard;
use crate::schema;

/// A service's keyspace on its cluster.
#[derive(Debug)]
pub(crate) struct Keyspace {
    pub id: KeyspaceId,
    /// The service's name for it.
    pub service: String,
    /// In Cassandra.
    pub name: String,
    pub cluster: Arc<Cluster>,
    guard: Arc<Guard>,
    pub statements: Statements,
    /// When its first migration was done, in microseconds: no event is older.
    pub created_us: u64,
    /// The last commit with events that this process made here.
    last_event: AtomicU64,
    /// The buckets of the event index that this process has put on record.
    pub buckets: parking_lot::Mutex<BTreeSet<u64>>,
    /// The entries of the event index that wait to be written.
    pub announcements: Announcements,
    absent_rows: Slices,
    absent_partitions: Slices,
    begun: Slices,
    reads: Slices,
}

/// What is sent, prepared.
#[derive(Debug)]
pub(crate) struct Statements {
    /// Rows by key, serially: `(partition, keys)`.
    pub points_serially: PreparedStatement,
    /// The same, as a quorum has them.
    pub points: PreparedStatement,
    /// A range, ascending: `(partition, from, to, limit)`, `from` in it, `to` behind it.
    pub ascending: PreparedStatement,
    /// The same, descending.
    pub descending: PreparedStatement,
    /// The first version: `(version, position, partition)`.
    pub begin: PreparedStatement,
    /// The next version: `(version, position, partition, expected, position)`.
    pub advance: PreparedStatement,
    /// `(partition, key, value)`.
    pub put: PreparedStatement,
    /// `(partition, key)`.
    pub delete: PreparedStatement,
    /// Makes sure that no commit up to a position can come: `(position, partition, position)`.
    pub fence: PreparedStatement,
    /// The same, where there is no position yet: `(position, partition)`.
    pub fence_first: PreparedStatement,
    /// `(bucket, at, partition, version, keys)`.
    pub announce: PreparedStatement,
    /// `(day, bucket)`.
    pub open_bucket: PreparedStatement,
    /// `(bucket, after, up to, limit)`.
    pub announced: PreparedStatement,
    /// `(day, from)`.
    pub buckets: PreparedStatement,
    /// Partitions from a token on: `(partition)`.
    pub partitions_from: PreparedStatement,
    /// All partitions.
    pub partitions: PreparedStatement,
}

impl Statements {
    async fn prepare(cluster: &Cluster, ks: &str) -> Result<Self, StoreError> {
        let columns = "key, value, version, position";
        let of = format!("FROM {ks}.rows WHERE partition = ?");
        let points = format!("SELECT {columns} {of} AND key IN ?");
        let points = cluster.prepare_read(&points).await?;
        let range = format!("SELECT {columns} {of} AND key >= ? AND key < ?");
        let update = format!("UPDATE {ks}.rows SET version = ?, position = ? WHERE partition = ?");
        let fence = format!("UPDATE {ks}.rows SET position = ? WHERE partition = ?");
        let serial = Some(cluster.serial());
        let conditional = async |text: &str| -> Result<PreparedStatement, StoreError> {
            let mut prepared = cluster.prepare(text).await?;
            prepared.set_serial_consistency(serial);
            Ok(prepared)
        };
        let listed = format!("SELECT DISTINCT partition, version FROM {ks}.rows");
        Ok(Self {
            points_serially: cluster.serially(&points),
            points,
            ascending: cluster
                .prepare_read(&format!("{range} ORDER BY key ASC LIMIT ?"))
                .await?,
            descending: cluster
                .prepare_read(&format!("{range} ORDER BY key DESC LIMIT ?"))
                .await?,
            begin: conditional(&format!("{update} IF version = null AND position = null")).await?,
            advance: conditional(&format!("{update} IF version = ? AND position < ?")).await?,
            put: cluster
                .prepare(&format!(
                    "INSERT INTO {ks}.rows (partition, key, value) VALUES (?, ?, ?)"
                ))
                .await?,
            delete: cluster.prepare(&format!("DELETE {of} AND key = ?")).await?,
            fence: conditional(&format!("{fence} IF position < ?")).await?,
            fence_first: conditional(&format!("{fence} IF position = null")).await?,
            announce: {
                let text = format!(
                    "INSERT INTO {ks}.event_index (bucket, at, partition, version, keys) \
                     VALUES (?, ?, ?, ?, ?)"
                );
                // The same entry twice is one entry.
                cluster.prepare_read(&text).await?
            },
            open_bucket: {
                let text = format!("INSERT INTO {ks}.event_buckets (day, bucket) VALUES (?, ?)");
                cluster.prepare_read(&text).await?
            },
            announced: {
                let text = format!(
                    "SELECT at, partition, version, keys FROM {ks}.event_index \
                     WHERE bucket = ? AND at > ? AND at <= ? LIMIT ?"
                );
                cluster.prepare_read(&text).await?
            },
            buckets: {
                let text =
                    format!("SELECT bucket FROM {ks}.event_buckets WHERE day = ? AND bucket >= ?");
                cluster.prepare_read(&text).await?
            },
            partitions_from: cluster
                .prepare_read(&format!("{listed} WHERE token(partition) >= token(?)"))
                .await?,
            partitions: cluster.prepare_read(&listed).await?,
        })
    }
}

/// Finds out whether we may write, by a change that never applies: no position is below the
/// smallest, and this partition has none.
///
/// # Errors
/// [`StoreError::Misconfigured`]: which right is missing.
async fn may_write(cluster: &Cluster, statements: &Statements) -> Result<(), StoreError> {
    let nobodys: &[u8] = b"\0may write";
    let values = (i64::MIN, nobodys, i64::MIN);
    let asked = cluster.execute(&statements.fence, values).await;
    match asked.map_err(|error| fault::of_commit("looking whether rows may be written", &error)) {
        Err(error @ StoreError::Misconfigured(_)) => Err(error),
        // What else may be wrong shows where it matters.
        Ok(_) | Err(_) => Ok(()),
    }
}

impl Keyspace {
    /// Opens a service's keyspace: makes it where it is not, and refuses it where it is not
    /// as this version expects.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] says what was found and what was expected;
    /// [`StoreError::Unavailable`] if nobody answers.
    pub async fn open(
        id: KeyspaceId,
        service: &str,
        (cluster, guard): (Arc<Cluster>, Arc<Guard>),
        options: &CassandraOptions,
        now_us: &(dyn Fn() -> u64 + Send + Sync),
        holder: &str,
    ) -> Result<Self, StoreError> {
        let name = format!("{}_{service}", options.keyspace_prefix);
        let newest = schema::MIGRATIONS.last().map_or(0, |last| last.id);
        let mut found = Found::of(&cluster, &name).await?;
        if found.recorded.last < Some(newest) {
            if found.exists {
                found.check_replication(&cluster, options, &name)?;
            }
            schema::migrate(&cluster, &name, now_us, holder).await?;
            found = Found::of(&cluster, &name).await?;
        }
        found.check_replication(&cluster, options, &name)?;
        found.check_schema(&name, newest)?;
        if found.moves && !options.moves.contains_key(service) {
            moving::refuse_alone(&cluster, &name, service).await?;
        }
        let statements = Statements::prepare(&cluster, &name).await?;
        may_write(&cluster, &statements).await?;
        Ok(Self {
            id,
            service: service.to_owned(),
            statements,
            name,
            cluster,
            guard,
            created_us: found.recorded.first_us,
            last_event: AtomicU64::new(0),
            buckets: parking_lot::Mutex::default(),
            announcements: Announcements::default(),
            absent_rows: Slices::default(),
            absent_partitions: Slices::default(),
            begun: Slices::default(),
            reads: Slices::default(),
        })
    }

    /// The token of a partition.
    pub fn token(&self, partition: &[u8]) -> i64 {
        let token = self
            .statements
            .delete
            .calculate_token(&(partition, partition));
        // A blob always has one; without it nothing worse happens than a wrong count.
        token.ok().flatten().map_or(0, |token| token.value())
    }

    /// Counts a read: how many of its rows were not there, and whether the partition was.
    pub fn count_read(&self, partition: &[u8], absent_rows: u64, is_absent: bool) {
        let slice = slice_of(self.token(partition));
        self.reads.add(slice, 1);
        self.absent_rows.add(slice, absent_rows);
        self.absent_partitions.add(slice, u64::from(is_absent));
    }

    /// A partition was begun.
    pub fn count_begun(&self, partition: &[u8]) {
        self.begun.add(slice_of(self.token(partition)), 1);
    }

    /// Whether a partition may be worked with, as far as is known now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: see [`crate::ring`].
    pub fn permit(&self, partition: &[u8]) -> Result<(), StoreError> {
        if self.guard.is_whole() {
            return Ok(());
        }
        let token = self.token(partition);
        self.guard.permit(&self.cluster, &self.name, token)
    }

    /// Whether what was just done with a partition can be believed. `is_new` says that it
    /// was not found, or was begun.
    ///
    /// # Errors
    /// As [`Self::permit`].
    pub async fn vouch(
        &self,
        partition: &[u8],
        coordinators: &Coordinators,
        is_new: bool,
        now_us: u64,
    ) -> Result<(), StoreError> {
        let (guard, cluster) = (&self.guard, &self.cluster);
        let nodes = coordinators.nodes();
        guard.vouch(cluster, &nodes, is_new, now_us).await?;
        self.permit(partition)
    }

    /// Whether the whole keyspace may be worked with, as far as is known now.
    ///
    /// # Errors
    /// As [`Self::permit`].
    pub fn permit_all(&self) -> Result<(), StoreError> {
        self.guard.permit_all(&self.cluster)
    }

    /// Whether what was just read of the whole keyspace can be believed.
    ///
    /// # Errors
    /// As [`Self::permit`].
    pub async fn vouch_for_all(&self, now_us: u64) -> Result<(), StoreError> {
        self.guard.ask_all(&self.cluster, now_us).await?;
        self.guard.permit_all(&self.cluster)
    }

    /// What was not found so far.
    pub fn absent(&self) -> AbsentCounts {
        AbsentCounts {
            rows: self.absent_rows.get(),
            partitions: self.absent_partitions.get(),
            begun: self.begun.get(),
            reads: self.reads.get(),
        }
    }

    /// A commit with events of this process is in.
    pub fn saw_event(&self, position: Position) {
        self.last_event.fetch_max(position.0, Ordering::AcqRel);
    }

    /// The last commit with events that this process made here; zero without one.
    pub fn last_event(&self) -> Position {
        Position(self.last_event.load(Ordering::Acquire))
    }
}

/// What there is of a keyspace.
#[derive(Debug, Default)]
struct Found {
    exists: bool,
    /// Its class and factors, as the cluster keeps them.
    replication: Vec<(String, String)>,
    /// Table, column, kind, type.
    columns: BTreeSet<(String, String, String, String)>,
    /// How its tables repair on reading.
    read_repair: Vec<(String, String)>,
    recorded: schema::Recorded,
    /// Whether there is a record of a move.
    moves: bool,
}

impl Found {
    async fn of(cluster: &Cluster, name: &str) -> Result<Self, StoreError> {
        let what = format!("looking at keyspace {name}");
        let failed = |error| fault::of_read(&what, &error);
        let mut found = Self::default();
        let select = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?";
        let select = cluster.prepare_read(select).await?;
        let answer = cluster.execute(&select, (name,)).await.map_err(failed)?;
        let rows = answer
            .into_rows_result()
            .map_err(|error| fault::of_answer(&what, &error))?;
        let row = rows
            .maybe_first_row::<(std::collections::BTreeMap<String, String>,)>()
            .map_err(|error| fault::of_answer(&what, &error))?;
        let Some((replication,)) = row else {
            return Ok(found);
        };
        found.exists = true;
        found.replication = replication.into_iter().collect();

        let select = "SELECT table_name, column_name, kind, type FROM system_schema.columns \
                      WHERE keyspace_name = ?";
        let select = cluster.prepare_read(select).await?;
        let answer = cluster.execute(&select, (name,)).await.map_err(failed)?;
        let rows = answer
            .into_rows_result()
            .map_err(|error| fault::of_answer(&what, &error))?;
        let rows = rows
            .rows::<(String, String, String, String)>()
            .map_err(|error| fault::of_answer(&what, &error))?;
        for row in rows {
            let row = row.map_err(|error| fault::of_answer(&what, &error))?;
            // Only keyspaces that move have it.
            if row.0 == moving::TABLE {
                found.moves = true;
            } else {
                found.columns.insert(row);
            }
        }
        let select =
            "SELECT table_name, read_repair FROM system_schema.tables WHERE keyspace_name = ?";
        let select = cluster.prepare_read(select).await?;
        let answer = cluster.execute(&select, (name,)).await.map_err(failed)?;
        let rows = answer
            .into_rows_result()
            .map_err(|error| fault::of_answer(&what, &error))?;
        let rows = rows
            .rows::<(String, Option<String>)>()
            .map_err(|error| fault::of_answer(&what, &error))?;
        for row in rows {
            let (table, repair) = row.map_err(|error| fault::of_answer(&what, &error))?;
            found.read_repair.push((table, repair.unwrap_or_default()));
        }
        let has_record = (found.columns.iter()).any(|(table, ..)| table == "schema_migrations");
        if has_record {
            found.recorded = schema::recorded(cluster, name).await?;
        }
        Ok(found)
    }

    fn check_replication(
        &self,
        cluster: &Cluster,
        options: &CassandraOptions,
        name: &str,
    ) -> Result<(), StoreError> {
        if options.allow_unsafe_replication {
            return Ok(());
        }
        let written: Vec<String> = (self.replication.iter())
            .map(|(key, value)| format!("{key} {value}"))
            .collect();
        let written = written.join(", ");
        let class = self.replication.iter().find(|(key, _)| key == "class");
        if !class.is_some_and(|(_, class)| class.ends_with("NetworkTopologyStrategy")) {
            return misconfigured(format!(
                "keyspace {name} has the replication ({written}), expected is \
                 NetworkTopologyStrategy"
            ));
        }
        let local = cluster.options.datacenter.as_ref();
        let mut counted = 0;
        for (datacenter, factor) in self.replication.iter().filter(|(key, _)| key != "class") {
            if local.is_some_and(|local| local != datacenter) {
                continue;
            }
            counted += 1;
            let replicas: u32 = factor.parse().unwrap_or(0);
            if replicas < 3 {
                return misconfigured(format!(
                    "keyspace {name} has the replication ({written}): {replicas} replicas in \
                     {datacenter}; a quorum that survives the loss of a machine needs 3"
                ));
            }
        }
        if counted == 0 {
            return misconfigured(format!(
                "keyspace {name} has the replication ({written}): no replica in {}",
                local.map_or("any datacenter", String::as_str)
            ));
        }
        Ok(())
    }

    fn check_schema(&self, name: &str, newest: i32) -> Result<(), StoreError> {
        match self.recorded.last {
            Some(version) if version == newest => {}
            Some(version) if version > newest => {
                return misconfigured(format!(
                    "keyspace {name} has schema version {version}, this program knows up to \
                     {newest}: a newer program has been here"
                ));
            }
            version => {
                return misconfigured(format!(
                    "keyspace {name} has schema version {version:?}, expected is {newest}"
                ));
            }
        }
        let expected = schema::COLUMNS.iter().map(|(table, column, kind, of)| {
            let own = |text: &&str| (*text).to_owned();
            (own(table), own(column), own(kind), own(of))
        });
        let expected: BTreeSet<_> = expected.collect();
        let differences: Vec<String> = expected
            .symmetric_difference(&self.columns)
            .map(|column| {
                let (table, name, kind, of) = column;
                let where_ = if expected.contains(column) {
                    "expected and not found"
                } else {
                    "found and not expected"
                };
                format!("{where_}: {table}.{name} {kind} {of}")
            })
            .collect();
        if !differences.is_empty() {
            return misconfigured(format!(
                "keyspace {name} was changed by somebody: {}",
                differences.join("; ")
            ));
        }
        let repair = self.read_repair.iter().find(|(table, _)| table == "rows");
        match repair {
            Some((_, how)) if how == "NONE" => Ok(()),
            other => misconfigured(format!(
                "table {name}.rows has read_repair {:?}, expected is 'NONE': a repair by reads \
                 copies parts of commits",
                other.map(|(_, how)| how)
            )),
        }
    }
}

fn misconfigured<T>(why: String) -> Result<T, StoreError> {
    Err(StoreError::Misconfigured(format!("cassandra: {why}")))
}
