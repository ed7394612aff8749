//! The tables, and how they come to be.
//!
//! **Tables of a service's keyspace**, `<prefix>_<service>`:
//!
//! ```text
//! rows           (partition, key) → value; per partition: version, position
//! event_index    (bucket, at, partition) → version, keys: commits with events, by time
//! event_buckets  (day, bucket): which buckets of the index there are
//! schema_migrations  (keyspace_name, id) → name, applied_at
//! moves          (keyspace_name, what) → value: only where it is moved (module `moving`)
//! ```
//!
//! **Options of `rows`, and why:**
//! - `read_repair = 'NONE'`. With `BLOCKING` a quorum read that finds replicas to differ
//!   writes the rows *that it asked for* to the replica that lacks them, the partition's
//!   static columns among them, but not the commit's other rows. A later read that meets
//!   that replica finds the new version with old rows: a state that never was. (Cassandra's
//!   documentation: of the two, only `NONE` keeps reads from returning partially applied
//!   writes, and only `BLOCKING` keeps quorum reads from going back.) Without
//!   repair by reads, a replica has each commit as a whole or not at all. What `BLOCKING`
//!   is for, that a read never goes back behind an earlier one, comes from serial reads.
//! - `UnifiedCompactionStrategy` with `T4`: four files of a size become one. Levels would keep
//!   a partition in fewer files, which a read has to look into; but they write each row again
//!   for every level, and with them compaction took a fifth of the nodes' processors under
//!   batches of entries (BENCHMARKS.md).
//! - `gc_grace_seconds` ten days: the time in which every repair must have run once, or
//!   deleted rows come back. With `paxos_state_purging: legacy` it is also the time for
//!   which the state of decisions is kept.
//! - `speculative_retry = 'MIN(99p,50ms)'` (of all tables): a quorum read asks the third
//!   replica if one of the two is slow. Until the others have noticed that a node is dead,
//!   that is all that helps; and a table that is rarely read has no percentile.
//! - LZ4 in chunks of 16 KiB: values are small messages, read one by one.
//!
//! **Migrations** are numbered, each is recorded when it is done, and each statement may run
//! twice (`IF NOT EXISTS`). Two nodes that create one table at the same time give it two
//! identities, so only one process changes a keyspace's schema at a time: it holds a row of
//! the table `lombardlocks.locks`, one for all keyspaces of the cluster, which goes away by
//! itself if the process dies. That table has its identity written in its definition, so two
//! nodes may well create it at once.

use std::time::Duration;

use lombard_store::StoreError;
use scylla::client::session::Session;
use scylla::errors::{DbError, ExecutionError, PrepareError, RequestAttemptError};
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::{Consistency, SerialConsistency, Statement};

use crate::cluster::Cluster;
use crate::fault;
use crate::options::Replication;

/// What changes the schema of a keyspace, in the order of its numbers.
pub(crate) const MIGRATIONS: &[Migration] = &[Migration {
    id: 1,
    name: "rows and events",
    statements: &[
        "CREATE TABLE IF NOT EXISTS {ks}.rows (
             partition blob, key blob, value blob, version bigint static, position bigint static,
             PRIMARY KEY (partition, key)
         ) WITH CLUSTERING ORDER BY (key ASC)
         AND read_repair = 'NONE'
         AND compaction = {'class': 'UnifiedCompactionStrategy', 'scaling_parameters': 'T4'}
         AND compression = {'class': 'LZ4Compressor', 'chunk_length_in_kb': 16}
         AND gc_grace_seconds = 864000
         AND speculative_retry = 'MIN(99p,50ms)'",
        "CREATE TABLE IF NOT EXISTS {ks}.event_index (
             bucket bigint, at bigint, partition blob, version bigint, keys blob,
             PRIMARY KEY (bucket, at, partition)
         ) WITH CLUSTERING ORDER BY (at ASC, partition ASC)
         AND speculative_retry = 'MIN(99p,50ms)'
         AND compression = {'class': 'LZ4Compressor', 'chunk_length_in_kb': 16}
         AND gc_grace_seconds = 864000",
        "CREATE TABLE IF NOT EXISTS {ks}.event_buckets (
             day bigint, bucket bigint,
             PRIMARY KEY (day, bucket)
         ) WITH CLUSTERING ORDER BY (bucket ASC)
         AND speculative_retry = 'MIN(99p,50ms)'
         AND gc_grace_seconds = 864000",
    ],
}];

/// The table that records them: one partition, for a read of several waits for a node that
/// is dead and not yet known to be.
const RECORD: &str = "CREATE TABLE IF NOT EXISTS {ks}.schema_migrations (
    keyspace_name text, id int, name text, applied_at bigint, PRIMARY KEY (keyspace_name, id))
    WITH speculative_retry = 'MIN(99p,50ms)'";

/// The columns that this version reads and writes: table, column, kind, type.
pub(crate) const COLUMNS: &[(&str, &str, &str, &str)] = &[
    ("rows", "partition", "partition_key", "blob"),
    ("rows", "key", "clustering", "blob"),
    ("rows", "value", "regular", "blob"),
    ("rows", "version", "static", "bigint"),
    ("rows", "position", "static", "bigint"),
    ("event_index", "bucket", "partition_key", "bigint"),
    ("event_index", "at", "clustering", "bigint"),
    ("event_index", "partition", "clustering", "blob"),
    ("event_index", "version", "regular", "bigint"),
    ("event_index", "keys", "regular", "blob"),
    ("event_buckets", "day", "partition_key", "bigint"),
    ("event_buckets", "bucket", "clustering", "bigint"),
    (
        "schema_migrations",
        "keyspace_name",
        "partition_key",
        "text",
    ),
    ("schema_migrations", "id", "clustering", "int"),
    ("schema_migrations", "name", "regular", "text"),
    ("schema_migrations", "applied_at", "regular", "bigint"),
];

/// The keyspace of the locks. No service's: those have an underscore in their name.
pub(crate) const LOCKS_KEYSPACE: &str = "lombardlocks";
/// The locks' table, with its identity: created by two nodes at once it is still one table.
const LOCKS: &str = "CREATE TABLE IF NOT EXISTS lombardlocks.locks
    (name text PRIMARY KEY, holder text) WITH id = 6c6f6d62-6172-4400-8000-6c6f636b7300";

/// After so long a lock goes away by itself.
const LOCK_SECONDS: i32 = 60;
/// How long to wait before looking again whether the lock is free.
const LOCK_PAUSE: Duration = Duration::from_millis(200);
/// How often to look.
const LOCK_TRIES_MAX: u32 = 450;
/// A schema change may take longer than other requests: every node takes part.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait before a node is asked again that does not know yet what was just made.
const CHANGE_PAUSE: Duration = Duration::from_millis(200);
/// How often it is asked: a schema is on all nodes within seconds.
const CHANGE_TRIES_MAX: u32 = 50;

/// A step of the schema.
pub(crate) struct Migration {
    pub id: i32,
    pub name: &'static str,
    /// `{ks}` stands for the keyspace's name.
    pub statements: &'static [&'static str],
}

/// Brings a keyspace to the schema of this version, making it where it does not exist.
///
/// # Errors
/// [`StoreError::Unavailable`]: nobody answers, or another process holds the lock for too
/// long; [`StoreError::Misconfigured`]: it is not allowed, or the nodes do not agree.
pub(crate) async fn migrate(
    cluster: &Cluster,
    keyspace: &str,
    now_us: &(dyn Fn() -> u64 + Send + Sync),
    holder: &str,
) -> Result<(), StoreError> {
    let replication = replication(&cluster.session, &cluster.options.replication);
    let migrate = migrate_locked(cluster, keyspace, &replication, now_us);
    locked(cluster, keyspace, holder, migrate).await
}

/// Does something that only one process of all may do at a time.
///
/// # Errors
/// Those of `work`; [`StoreError::Unavailable`] if another process does it for too long.
pub(crate) async fn locked<T>(
    cluster: &Cluster,
    name: &str,
    holder: &str,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let replication = replication(&cluster.session, &cluster.options.replication);
    make_locks(cluster, &replication).await?;
    let lock = Lock {
        cluster,
        name,
        holder,
    };
    lock.take().await?;
    let done = work.await;
    lock.release().await;
    done
}

/// Writes the comment of the locks' table.
///
/// # Errors
/// It is not allowed, or the nodes do not agree on it.
pub(crate) async fn comment_locks(cluster: &Cluster, comment: &str) -> Result<(), StoreError> {
    let comment = comment.replace('\'', "''");
    let text = format!("ALTER TABLE {LOCKS_KEYSPACE}.locks WITH comment = '{comment}'");
    change(&cluster.session, &text).await?;
    agree(&cluster.session).await
}

/// Makes the locks' table where it is not.
async fn make_locks(cluster: &Cluster, replication: &str) -> Result<(), StoreError> {
    let what = "looking for the table of locks";
    let select = "SELECT table_name FROM system_schema.tables \
                  WHERE keyspace_name = ? AND table_name = 'locks'";
    let select = cluster.prepare_read(select).await?;
    let found = cluster.execute(&select, (LOCKS_KEYSPACE,)).await;
    let found = found.map_err(|error| fault::of_read(what, &error))?;
    let found = found
        .into_rows_result()
        .map_err(|error| fault::of_answer(what, &error))?;
    if found.rows_num() == 0 {
        let session = &cluster.session;
        make_keyspace(cluster, LOCKS_KEYSPACE, replication).await?;
        change(session, LOCKS).await?;
        agree(session).await?;
    }
    Ok(())
}

/// Makes a table that only some keyspaces have.
///
/// # Errors
/// It is not allowed, or the nodes do not agree on it.
pub(crate) async fn make_table(cluster: &Cluster, create: &str) -> Result<(), StoreError> {
    change(&cluster.session, create).await?;
    agree(&cluster.session).await
}

async fn migrate_locked(
    cluster: &Cluster,
    keyspace: &str,
    replication: &str,
    now_us: &(dyn Fn() -> u64 + Send + Sync),
) -> Result<(), StoreError> {
    let session = &cluster.session;
    make_keyspace(cluster, keyspace, replication).await?;
    change(session, &RECORD.replace("{ks}", keyspace)).await?;
    agree(session).await?;
    let done = recorded(cluster, keyspace).await?.last.unwrap_or(0);
    for migration in MIGRATIONS.iter().filter(|migration| migration.id > done) {
        for statement in migration.statements {
            change(session, &statement.replace("{ks}", keyspace)).await?;
        }
        // Recorded only when every node has it.
        agree(session).await?;
        let insert = format!(
            "INSERT INTO {keyspace}.schema_migrations (keyspace_name, id, name, applied_at) \
             VALUES (?, ?, ?, ?)"
        );
        let insert = cluster.prepare(&insert).await?;
        let at = i64::try_from(now_us()).unwrap_or(i64::MAX);
        let values = (keyspace, migration.id, migration.name, at);
        let recorded = cluster.execute(&insert, values).await;
        recorded.map_err(|error| fault::of_read("recording a migration", &error))?;
        tracing::info!(
            keyspace,
            id = migration.id,
            name = migration.name,
            "schema migrated"
        );
    }
    Ok(())
}

/// What is recorded of a keyspace's migrations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// The number of the last one; none without any.
    pub last: Option<i32>,
    /// When the first one was done, in microseconds since 1970.
    pub first_us: u64,
}

/// Reads the record.
///
/// # Errors
/// Nobody answers, or the table is not as it should be.
pub(crate) async fn recorded(cluster: &Cluster, keyspace: &str) -> Result<Recorded, StoreError> {
    let what = format!("reading the migrations of {keyspace}");
    let select =
        format!("SELECT id, applied_at FROM {keyspace}.schema_migrations WHERE keyspace_name = ?");
    let select = cluster.prepare_read(&select).await?;
    let found = cluster.execute(&select, (keyspace,)).await;
    let found = found.map_err(|error| fault::of_read(&what, &error))?;
    let rows = found
        .into_rows_result()
        .map_err(|error| fault::of_answer(&what, &error))?;
    let rows = rows
        .rows::<(i32, Option<i64>)>()
        .map_err(|error| fault::of_answer(&what, &error))?;
    let mut recorded = Recorded::default();
    for row in rows {
        let (id, at) = row.map_err(|error| fault::of_answer(&what, &error))?;
        recorded.last = recorded.last.max(Some(id));
        if id == 1 {
            recorded.first_us = at.and_then(|at| u64::try_from(at).ok()).unwrap_or(0);
        }
    }
    Ok(recorded)
}

/// Makes a keyspace where it is not. One that somebody has made for us we need not be allowed
/// to make.
async fn make_keyspace(cluster: &Cluster, name: &str, replication: &str) -> Result<(), StoreError> {
    let what = "looking for a keyspace";
    let select = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let select = cluster.prepare_read(select).await?;
    let found = cluster.execute(&select, (name,)).await;
    let found = found.map_err(|error| fault::of_read(what, &error))?;
    let found = found
        .into_rows_result()
        .map_err(|error| fault::of_answer(what, &error))?;
    if found.rows_num() == 0 {
        change(&cluster.session, &create_keyspace(name, replication)).await?;
    }
    Ok(())
}

fn create_keyspace(name: &str, replication: &str) -> String {
    format!(
        "CREATE KEYSPACE IF NOT EXISTS {name} WITH replication = {replication} \
         AND durable_writes = true"
    )
}

/// As CQL writes it.
fn replication(session: &Session, options: &Replication) -> String {
    let state = session.get_cluster_state();
    let mut factors: Vec<(String, u32)> = if options.datacenters.is_empty() {
        let names = state.replica_locator().datacenter_names();
        names
            .iter()
            .map(|name| (name.clone(), options.factor))
            .collect()
    } else {
        let named = options.datacenters.iter();
        named
            .map(|(name, factor)| (name.clone(), *factor))
            .collect()
    };
    factors.sort();
    let factors: Vec<String> = factors
        .into_iter()
        .map(|(name, factor)| format!("'{}': {factor}", name.replace('\'', "''")))
        .collect();
    format!(
        "{{'class': 'NetworkTopologyStrategy', {}}}",
        factors.join(", ")
    )
}

/// Changes the schema. What it is made in may have been made a moment ago, by us or by
/// somebody else, by way of another node: one that does not know of it yet is asked again.
async fn change(session: &Session, text: &str) -> Result<(), StoreError> {
    let mut statement = Statement::new(text);
    statement.set_request_timeout(Some(CHANGE_TIMEOUT));
    let what = || format!("changing the schema: {text}");
    let mut failure = None;
    for _ in 0..CHANGE_TRIES_MAX {
        match session.query_unpaged(statement.clone(), ()).await {
            Ok(_) => return Ok(()),
            Err(error) if is_not_there(&error) => failure = Some(error),
            Err(error) => return Err(fault::of_read(&what(), &error)),
        }
        agree(session).await?;
        tokio::time::sleep(CHANGE_PAUSE).await;
    }
    let why = failure.map_or_else(String::new, |error| fault::in_words(&error));
    Err(StoreError::Unavailable(format!(
        "cassandra: {}: {why}",
        what()
    )))
}

/// Whether a node says that it does not know what the change is made in.
fn is_not_there(error: &ExecutionError) -> bool {
    matches!(error, ExecutionError::LastAttemptError(attempt) if is_unknown(attempt))
}

/// Prepares a statement over a table that is there. A node that does not know it yet, since
/// another process has only just made it, is asked again.
async fn prepare_made(cluster: &Cluster, text: &str) -> Result<PreparedStatement, StoreError> {
    for _ in 0..CHANGE_TRIES_MAX {
        match cluster.session.prepare(text).await {
            Ok(prepared) => return Ok(prepared),
            Err(PrepareError::AllAttemptsFailed { first_attempt })
                if is_unknown(&first_attempt) =>
            {
                tokio::time::sleep(CHANGE_PAUSE).await;
            }
            Err(error) => return Err(fault::of_prepare(&format!("preparing {text:?}"), &error)),
        }
    }
    cluster.prepare(text).await
}

/// Whether a node says that it does not know what a request names.
fn is_unknown(error: &RequestAttemptError) -> bool {
    match error {
        RequestAttemptError::DbError(DbError::Invalid, words) => {
            words.contains("doesn't exist") || words.contains("does not exist")
        }
        _ => false,
    }
}

async fn agree(session: &Session) -> Result<(), StoreError> {
    match session.await_schema_agreement().await {
        Ok(_) => Ok(()),
        Err(error) => Err(StoreError::Unavailable(format!(
            "cassandra: the nodes do not agree on the schema: {}",
            fault::in_words(&error)
        ))),
    }
}

/// The right to change one keyspace's schema.
struct Lock<'a> {
    cluster: &'a Cluster,
    name: &'a str,
    /// Whose it is, in words: for a person who wonders.
    holder: &'a str,
}

impl Lock<'_> {
    async fn take(&self) -> Result<(), StoreError> {
        let insert = format!(
            "INSERT INTO {LOCKS_KEYSPACE}.locks (name, holder) VALUES (?, ?) \
             IF NOT EXISTS USING TTL {LOCK_SECONDS}"
        );
        let mut failure = None;
        for _ in 0..LOCK_TRIES_MAX {
            match self.conditional(&insert, (self.name, self.holder)).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                // We may not, and shall not by waiting.
                Err(error @ StoreError::Misconfigured(_)) => return Err(error),
                // It may be ours, by an answer that was lost; then it goes away by itself.
                Err(error) => failure = Some(error),
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        }
        let why = failure.map_or_else(String::new, |error| format!("; last: {error}"));
        Err(StoreError::Unavailable(format!(
            "cassandra: another process has been changing the schema of {} for too long{why}",
            self.name
        )))
    }

    async fn release(&self) {
        let delete = format!("DELETE FROM {LOCKS_KEYSPACE}.locks WHERE name = ? IF holder = ?");
        let released = self.conditional(&delete, (self.name, self.holder)).await;
        if let Err(error) = released {
            tracing::warn!(
                keyspace = self.name,
                %error,
                "the schema's lock was not released; it goes away by itself"
            );
        }
    }

    async fn conditional(&self, text: &str, values: (&str, &str)) -> Result<bool, StoreError> {
        let what = "the schema's lock";
        let mut prepared = prepare_made(self.cluster, text).await?;
        // Whole clusters change their schema together.
        prepared.set_consistency(Consistency::Quorum);
        prepared.set_serial_consistency(Some(SerialConsistency::Serial));
        prepared.set_request_timeout(Some(CHANGE_TIMEOUT));
        let result: Result<_, ExecutionError> = self.cluster.execute(&prepared, values).await;
        let result = result.map_err(|error| match fault::of_read(what, &error) {
            // It is prepared by others: this node will know it in a moment.
            StoreError::Misconfigured(why) if is_not_there(&error) => StoreError::Unavailable(why),
            failed => failed,
        })?;
        crate::commit::applied(
            &result
                .into_rows_result()
                .map_err(|e| fault::of_answer(what, &e))?,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_does_not_know_yet_is_told_from_what_is_wrong() {
        let refused = |kind, words: &str| RequestAttemptError::DbError(kind, words.to_owned());
        for words in ["table locks does not exist", "Keyspace 'x' doesn't exist"] {
            let attempt = refused(DbError::Invalid, words);
            assert!(is_unknown(&attempt), "{words}");
            assert!(is_not_there(&ExecutionError::LastAttemptError(attempt)));
        }
        assert!(!is_unknown(&refused(
            DbError::Invalid,
            "Undefined column name"
        )));
        let denied = "User has no MODIFY permission on a table that does not exist";
        assert!(!is_unknown(&refused(DbError::Unauthorized, denied)));
    }
}
