//! Followers miss nothing and show nothing that may go away, whatever becomes of writers.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use futures::future::join_all;
use lombard_store::{
    Change, Changes, Engine, EventRow, KeyspaceId, PartitionId, Position, Store, StoreOptions,
    Version, Wanted,
};
use lombard_store_cassandra::{Cassandra, CassandraOptions};
use scylla::client::session::Session;

use crate::support::{clock, connect, do_all, marker, options, session};

fn partition(keyspace: KeyspaceId, key: &'static [u8]) -> PartitionId {
    PartitionId {
        keyspace,
        key: Bytes::from_static(key),
    }
}

fn event(key: &'static [u8]) -> Changes {
    let event = Change::Event(Bytes::from_static(b"happened"));
    Changes {
        rows: [(Bytes::from_static(key), event)].into(),
    }
}

/// Everything that there is, page by page.
async fn follow(engine: &Cassandra, keyspace: KeyspaceId, limit: usize) -> Vec<EventRow> {
    let (mut after, mut events) = (Position(0), Vec::new());
    loop {
        let page = engine.events(keyspace, after, limit).await.unwrap();
        events.extend(page.events);
        if !page.more {
            return events;
        }
        assert!(page.next > after);
        after = page.next;
    }
}

fn keys(events: &[EventRow]) -> Vec<&[u8]> {
    events.iter().map(|event| event.key.as_ref()).collect()
}

/// A row's value as the engine stores it.
fn sealed(partition: &[u8], key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut stored = vec![1];
    stored.extend_from_slice(value);
    let mut covered = Vec::new();
    for part in [partition, key] {
        covered.put_u32(u32::try_from(part.len()).unwrap());
        covered.put_slice(part);
    }
    covered.put_slice(&stored);
    stored.put_u32(crc32c::crc32c(&covered));
    stored
}

/// A commit of the row `late` as another process would send it, in its two steps.
struct Late<'a> {
    session: &'a Session,
    keyspace: String,
    partition: &'a [u8],
    expected: Option<i64>,
    at: i64,
}

impl Late<'_> {
    fn mark(&self) -> Vec<u8> {
        [b"\xff\xffe", &self.at.to_be_bytes()[..]].concat()
    }

    async fn announce(&self) {
        let bucket = self.at / 10_000_000;
        let text = format!(
            "INSERT INTO {}.event_buckets (day, bucket) VALUES (?, ?)",
            self.keyspace
        );
        let values = (bucket / 8_640, bucket);
        self.session.query_unpaged(text, values).await.unwrap();
        let keys = [&[0, 4][..], b"late"].concat();
        let keys = sealed(self.partition, &self.mark(), &keys);
        let version = self.expected.unwrap_or(0) + 1;
        let text = format!(
            "INSERT INTO {}.event_index (bucket, at, partition, version, keys) \
             VALUES (?, ?, ?, ?, ?)",
            self.keyspace
        );
        let values = (bucket, self.at, self.partition, version, keys);
        self.session.query_unpaged(text, values).await.unwrap();
    }

    /// Whether it was applied.
    async fn commit(&self) -> bool {
        let ks = &self.keyspace;
        let condition = if self.expected.is_none() {
            "IF version = null AND position = null".to_owned()
        } else {
            format!("IF version = ? AND position < {}", self.at)
        };
        let advance = format!(
            "UPDATE {ks}.rows SET version = ?, position = ? WHERE partition = ? {condition}"
        );
        let put = format!("INSERT INTO {ks}.rows (partition, key, value) VALUES (?, ?, ?)");
        let mut batch = scylla::statement::batch::Batch::default();
        let mut values: Vec<Vec<scylla::value::CqlValue>> = Vec::new();
        let blob = |bytes: &[u8]| scylla::value::CqlValue::Blob(bytes.to_vec());
        let number = scylla::value::CqlValue::BigInt;
        batch.append_statement(advance.as_str());
        let mut head = vec![
            number(self.expected.unwrap_or(0) + 1),
            number(self.at),
            blob(self.partition),
        ];
        head.extend(self.expected.map(number));
        values.push(head);
        for (key, value) in [(&b"late"[..], &b"happened"[..]), (&self.mark(), b"")] {
            batch.append_statement(put.as_str());
            let value = sealed(self.partition, key, value);
            values.push(vec![blob(self.partition), blob(key), blob(&value)]);
        }
        let answer = self.session.batch(&batch, values).await.unwrap();
        let rows = answer.into_rows_result().unwrap();
        let row: scylla::value::Row = rows.first_row().unwrap();
        row.columns[0] == Some(scylla::value::CqlValue::Boolean(true))
    }
}

fn now() -> i64 {
    i64::try_from(clock()()).unwrap()
}

/// Fences after a second and a half.
fn impatient(nodes: &[String]) -> CassandraOptions {
    CassandraOptions {
        request_timeout_ms: 1_200,
        fence_after_ms: 1_500,
        ..options(nodes)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_was_announced_and_never_came_is_fenced() {
    let Some(nodes) = crate::nodes("a_commit_that_never_came_is_fenced") else {
        return;
    };
    let options = impatient(&nodes);
    let engine = connect(&options).await.unwrap();
    let keyspace = engine.keyspace("check").await.unwrap();
    let session = session(&nodes).await;
    let p = partition(keyspace, b"p");
    let first = engine.commit(&p, Version(0), event(b"first")).await;
    first.unwrap().unwrap();
    let late = |partition, expected| Late {
        session: &session,
        keyspace: format!("{}_check", options.keyspace_prefix),
        partition,
        expected,
        at: now(),
    };
    // Of one partition that has commits, and of one that has none.
    let (to_old, to_new) = (late(b"p", Some(1)), late(b"new", None));
    to_old.announce().await;
    to_new.announce().await;
    let other = partition(keyspace, b"other");
    let after = engine.commit(&other, Version(0), event(b"after")).await;
    after.unwrap().unwrap();

    let events = follow(&engine, keyspace, 100).await;
    assert_eq!(keys(&events), [&b"first"[..], b"after"]);
    assert!(!to_old.commit().await, "it is fenced");
    assert!(!to_new.commit().await, "it is fenced");

    // A fence changes nothing else: not the version, and it makes no partition.
    let seen = engine.read(&p, &[]).await.unwrap();
    assert_eq!(seen.version, Version(1));
    let new = partition(keyspace, b"new");
    let wanted = [Wanted::Row(Bytes::from_static(b"late"))];
    let seen = engine.read(&new, &wanted).await.unwrap();
    assert_eq!(seen.version, Version(0));
    let listed = engine.partitions(keyspace, None, 10).await.unwrap();
    assert_eq!(listed.len(), 2, "{listed:?}");
    // And commits go on, by whoever knows nothing of it.
    let other_engine = connect(&options).await.unwrap();
    let id = other_engine.keyspace("check").await.unwrap();
    for (key, expected) in [(&b"new"[..], 0), (b"p", 1)] {
        let p = partition(id, key);
        let next = other_engine.commit(&p, Version(expected), event(b"next"));
        next.await.unwrap().unwrap();
    }
    let events = follow(&engine, keyspace, 2).await;
    assert_eq!(keys(&events)[..2], [&b"first"[..], b"after"]);
    let listed = engine.partitions(keyspace, None, 10).await.unwrap();
    assert_eq!(listed.len(), 3, "{listed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_late_is_waited_for_and_nothing_passes_it() {
    let Some(nodes) = crate::nodes("a_commit_that_is_late_is_waited_for") else {
        return;
    };
    let options = options(&nodes);
    let engine = Arc::new(connect(&options).await.unwrap());
    let keyspace = engine.keyspace("check").await.unwrap();
    let session = session(&nodes).await;
    let p = partition(keyspace, b"p");
    let first = engine.commit(&p, Version(0), event(b"first")).await;
    first.unwrap().unwrap();
    let late = Late {
        session: &session,
        keyspace: format!("{}_check", options.keyspace_prefix),
        partition: b"p",
        expected: Some(1),
        at: now(),
    };
    late.announce().await;
    let other = partition(keyspace, b"other");
    let after = engine.commit(&other, Version(0), event(b"after")).await;
    after.unwrap().unwrap();
    // It comes while the follower waits for it.
    let come = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        late.commit().await
    };
    let (events, come) = futures::join!(follow(&engine, keyspace, 100), come);
    assert!(come, "it was not fenced");
    assert_eq!(keys(&events), [&b"first"[..], b"late", b"after"]);
    let position = u64::try_from(late.at).unwrap();
    assert_eq!(events[1].position, Position(position));
    assert_eq!(engine.read(&p, &[]).await.unwrap().version, Version(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_rivals_one_is_told_of() {
    let Some(nodes) = crate::nodes("of_two_rivals_one_is_told_of") else {
        return;
    };
    let options = options(&nodes);
    let engines = [
        connect(&options).await.unwrap(),
        connect(&options).await.unwrap(),
    ];
    let mut ids = Vec::new();
    for engine in &engines {
        ids.push(engine.keyspace("check").await.unwrap());
    }
    let mut won = 0;
    for version in 0..15 {
        let commits = engines.iter().zip(&ids).zip([&b"one"[..], b"two"]);
        let commits = commits.map(|((engine, id), who)| async move {
            let key = [who, &[version]].concat();
            let put = Change::Event(Bytes::from_static(b"happened"));
            let changes = Changes {
                rows: [(Bytes::from(key), put)].into(),
            };
            let p = partition(*id, b"p");
            let expected = Version(u64::from(version));
            // A rival's ballot can make an outcome unknown; then it is looked for.
            let committed = engine.commit(&p, expected, changes).await;
            committed.map(|position| position.is_some())
        });
        let outcomes = join_all(commits).await;
        let seen = engines[0]
            .read(&partition(ids[0], b"p"), &[])
            .await
            .unwrap();
        assert_eq!(
            seen.version,
            Version(u64::from(version) + 1),
            "{outcomes:?}"
        );
        won += outcomes
            .iter()
            .filter(|won| matches!(won, Ok(true)))
            .count();
    }
    assert!(
        won <= 15,
        "{won} commits were said to be the 15 that there are"
    );
    for (engine, id) in engines.iter().zip(ids) {
        let mut events = follow(engine, id, 4).await;
        // Commits of others, and of unknown outcome, show when the horizon has passed them.
        for _ in 0..100 {
            if events.len() >= 15 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            events = follow(engine, id, 4).await;
        }
        assert_eq!(events.len(), 15, "one of each pair of rivals");
        let sorted = events.iter().map(|event| event.position).is_sorted();
        assert!(sorted, "in the order of commits");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_beside_two_writers_sees_each_event_once_and_in_order() {
    const PARTITIONS: u8 = 4;
    const EACH: u64 = 30;
    let Some(nodes) = crate::nodes("a_follower_beside_two_writers") else {
        return;
    };
    let options = options(&nodes);
    let follower = connect(&options).await.unwrap();
    let id = follower.keyspace("check").await.unwrap();
    let mut writers = Vec::new();
    for instance in 0..2 {
        let engine = Arc::new(connect(&options).await.unwrap());
        let store = Store::new(engine, StoreOptions::new(instance));
        writers.push((instance, store.keyspace("check").await.unwrap()));
    }
    let writing = writers.iter().flat_map(|(writer, keyspace)| {
        // Each writer has its own partitions, and both share one.
        (0..PARTITIONS).map(move |number| async move {
            let number = if number == 0 {
                0
            } else {
                number * 2 + *writer as u8
            };
            let first = writer * EACH;
            do_all(keyspace, &[number], first..first + EACH, 2).await;
        })
    });
    let total = usize::from(PARTITIONS) * EACH as usize * 2;
    let following = async {
        let (mut after, mut seen) = (Position(0), Vec::<EventRow>::new());
        // Whoever is only followed shows its events when the horizon has passed them.
        for _ in 0..2_000 {
            let page = follower.events(id, after, 7).await.unwrap();
            for event in &page.events {
                assert!(event.position > after && event.position <= page.next);
            }
            after = page.next;
            seen.extend(page.events);
            if seen.len() >= total {
                break;
            }
            if !page.more {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        seen
    };
    let (_, seen) = futures::join!(join_all(writing), following);
    assert_eq!(seen.len(), total);
    assert!(seen.iter().map(|event| event.position).is_sorted());
    for number in 0..PARTITIONS {
        for writer in 0..2 {
            let own = number * 2 + writer;
            let key = if number == 0 { 0 } else { own };
            for operation in 0..EACH {
                let marker = marker(u64::from(writer) * EACH + operation);
                let of = |event: &&EventRow| {
                    event.partition.key.as_ref() == [key] && event.key == marker
                };
                assert_eq!(seen.iter().filter(of).count(), 1, "{key} {operation}");
            }
        }
    }
}
