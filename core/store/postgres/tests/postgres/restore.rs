//! A keyspace that is put back to a moment, with followers of its events that had seen more.

use lombard_engines::postgres::{Options, Server};
use lombard_engines::testing;
use lombard_store::{Change, Changes, Engine, KeyspaceId, PartitionId, Position, Version};
use lombard_store_postgres::{Postgres, PostgresOptions};

use super::{connect, url};

const SCHEMA: &str = "lombard_check";
/// What docs/runbooks/postgres.md says of a whole server that was put back.
const LEAP: &str = "UPDATE lombard_check.positions SET ahead = greatest(ahead,
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - pg_current_xact_id()::text::bigint)";

async fn opened(server: &Server) -> (Postgres, KeyspaceId) {
    let options = PostgresOptions {
        url: url(server),
        ..PostgresOptions::default()
    };
    let engine = connect(&options).await.unwrap();
    let keyspace = engine.keyspace("check").await.unwrap();
    (engine, keyspace)
}

/// Commits one event in a partition of its own.
async fn commit(engine: &Postgres, keyspace: KeyspaceId, name: &'static str) {
    let partition = PartitionId {
        keyspace,
        key: name.into(),
    };
    let mut changes = Changes::default();
    changes.rows.insert(name.into(), Change::Event(name.into()));
    let committed = engine.commit(&partition, Version(0), changes).await;
    committed.unwrap().unwrap();
}

/// The names of the events behind a position, and where a follower of them is then.
async fn follow(
    engine: &Postgres,
    keyspace: KeyspaceId,
    after: Position,
) -> (Vec<String>, Position) {
    let page = engine.events(keyspace, after, 100).await.unwrap();
    assert!(!page.more);
    let names = page
        .events
        .iter()
        .map(|event| event.key.escape_ascii().to_string());
    (names.collect(), page.next)
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_miss_nothing_and_repeat_nothing_behind_a_restore() {
    let test = "followers_miss_nothing_and_repeat_nothing_behind_a_restore";
    let options = Options {
        archived: true,
        ..Options::default()
    };
    let Some(server) = testing::started(test, Server::start(&options)) else {
        return;
    };
    let (engine, keyspace) = opened(&server).await;
    commit(&engine, keyspace, "before the backup").await;
    let backup = server.base_backup().unwrap();
    commit(&engine, keyspace, "behind the backup").await;
    let moment = server.query("SELECT clock_timestamp()::text").unwrap();
    let moment = moment[0][0].clone().unwrap();
    for name in ["later 1", "later 2", "later 3", "later 4", "later 5"] {
        commit(&engine, keyspace, name).await;
    }
    let (seen, place) = follow(&engine, keyspace, Position(0)).await;
    assert_eq!(seen.len(), 7);
    drop(engine);
    server.query(&format!("TRUNCATE {SCHEMA}.rows")).unwrap();
    server.archive_all().unwrap();
    let then = server.restored(&backup, &moment).unwrap();

    // The one schema, into the database where others go on.
    let aside = format!("ALTER SCHEMA {SCHEMA} RENAME TO {SCHEMA}_lost");
    server.query(&aside).unwrap();
    if server.has_client_programs() {
        server.take_schema(&then, SCHEMA).unwrap();
    } else {
        // The program makes the tables.
        drop(opened(&server).await);
        server.copy_tables(&then, SCHEMA).unwrap();
    }
    let (engine, keyspace) = opened(&server).await;
    let (names, _) = follow(&engine, keyspace, Position(0)).await;
    assert_eq!(names, ["before the backup", "behind the backup"]);
    commit(&engine, keyspace, "new").await;
    // One who had seen what is gone goes on from his place; one who had not, too.
    let (names, _) = follow(&engine, keyspace, place).await;
    assert_eq!(names, ["new"]);
    let (names, _) = follow(&engine, keyspace, Position(0)).await;
    assert_eq!(names, ["before the backup", "behind the backup", "new"]);

    // The whole server, in place of the other: it gives transactions the ids of those that
    // are gone, so its positions must leap.
    let (engine, keyspace) = opened(&then).await;
    let settled = engine
        .events(keyspace, Position(0), 100)
        .await
        .unwrap()
        .next;
    assert!(settled < place, "{settled:?} {place:?}");
    drop(engine);
    then.query(LEAP).unwrap();
    let (engine, keyspace) = opened(&then).await;
    commit(&engine, keyspace, "new").await;
    let (names, next) = follow(&engine, keyspace, place).await;
    assert_eq!(names, ["new"]);
    // Said twice, it leaps no further back.
    then.query(LEAP).unwrap();
    drop(engine);
    let (engine, keyspace) = opened(&then).await;
    commit(&engine, keyspace, "newer").await;
    let (names, _) = follow(&engine, keyspace, next).await;
    assert_eq!(names, ["newer"]);
}
