//! Checks of big values and of what is too big.

use bytes::Bytes;

use super::{Subject, contents, keyspace, partition};
use crate::error::{Stop, StoreError};
use crate::limits::{
    COMMIT_BYTES_MAX, COMMIT_ROWS_MAX, PARTITION_KEY_BYTES_MAX, RESERVED_KEYS, ROW_KEY_BYTES_MAX,
    VALUE_BYTES_MAX,
};
use crate::rows::Rows;

/// Values up to the limit, several in one commit, come back as they were.
pub async fn big_values(subject: &dyn Subject) {
    let engine = subject.open().await;
    let keyspace = keyspace(&engine).await;
    let value = |length: usize| -> Bytes {
        // Not compressible to nothing, and different everywhere.
        let mut state = length as u64 | 1;
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..length).map(next).collect::<Vec<u8>>().into()
    };
    let lengths = [0, 1, 100, 4_095, 4_096, 65_537, 1 << 20, VALUE_BYTES_MAX];
    for (index, length) in lengths.into_iter().enumerate() {
        let key = format!("row {index}");
        let write = |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
            rows.put(key.as_bytes().to_vec(), value(length));
            Ok(())
        };
        let written = keyspace.update(b"p", write).await.unwrap();
        written.durable(&keyspace).await.unwrap().unwrap();
    }
    for (index, length) in lengths.into_iter().enumerate() {
        let key = format!("row {index}");
        let look = |rows: &Rows<'_>| -> Result<_, Stop<()>> { Ok(rows.get(key.as_bytes())?) };
        let found = keyspace
            .read(b"p", look)
            .await
            .unwrap()
            .value
            .unwrap()
            .unwrap();
        assert!(found == value(length), "{length} bytes came back different");
    }
    // As much as one commit may carry, in two rows.
    let half = COMMIT_BYTES_MAX / 2 - 1;
    let write = |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
        rows.put(&b"x"[..], value(half));
        rows.put(&b"y"[..], value(half));
        Ok(())
    };
    let written = keyspace.update(b"q", write).await.unwrap();
    written.durable(&keyspace).await.unwrap().unwrap();
    let look = |rows: &Rows<'_>| -> Result<_, Stop<()>> { Ok((rows.get(b"x")?, rows.get(b"y")?)) };
    let (x, y) = keyspace.read(b"q", look).await.unwrap().value.unwrap();
    assert!(x == Some(value(half)) && y == Some(value(half)));
}

/// What exceeds a limit is refused by name, and changes nothing.
pub async fn limits_are_refused(subject: &dyn Subject) {
    let engine = subject.open().await;
    let keyspace = keyspace(&engine).await;
    let refused = |what: &str, result: Result<_, StoreError>| {
        let result: Result<(), StoreError> = result;
        assert!(
            matches!(result, Err(StoreError::LimitExceeded(_))),
            "{what}: {result:?}"
        );
    };
    type Write = Box<dyn FnMut(&mut Rows<'_>) + Send>;
    let writes: [(&str, Write); 6] = [
        (
            "a value that is too long",
            Box::new(|rows| rows.put(&b"a"[..], vec![0; VALUE_BYTES_MAX + 1])),
        ),
        (
            "an event that is too long",
            Box::new(|rows| rows.append(&b"a"[..], vec![0; VALUE_BYTES_MAX + 1])),
        ),
        (
            "a row key that is too long",
            Box::new(|rows| rows.put(vec![b'a'; ROW_KEY_BYTES_MAX + 1], &b"1"[..])),
        ),
        (
            "a row key that is empty",
            Box::new(|rows| rows.put(Bytes::new(), &b"1"[..])),
        ),
        (
            "too many bytes in a commit",
            Box::new(|rows| {
                for key in [b"a", b"b", b"c"] {
                    rows.put(&key[..], vec![0; COMMIT_BYTES_MAX / 3]);
                }
            }),
        ),
        (
            "too many rows in a commit",
            Box::new(|rows| {
                for index in 0..=COMMIT_ROWS_MAX {
                    rows.delete(index.to_be_bytes().to_vec());
                }
            }),
        ),
    ];
    for (what, mut write) in writes {
        let update = |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
            rows.put(&b"before"[..], &b"1"[..]);
            write(rows);
            Ok(())
        };
        let updated = keyspace.update(b"p", update).await;
        refused(what, updated.map(|_| ()));
    }
    let reserve = |rows: &mut Rows<'_>| -> Result<(), Stop<()>> {
        rows.put([RESERVED_KEYS, b"mine"].concat(), &b"1"[..]);
        Ok(())
    };
    let updated = keyspace.update(b"p", reserve).await;
    refused("a key of the store's own", updated.map(|_| ()));
    for key in [vec![], vec![b'p'; PARTITION_KEY_BYTES_MAX + 1]] {
        let look = |_: &Rows<'_>| -> Result<(), Stop<()>> { Ok(()) };
        let read = keyspace.read(&key, look).await;
        refused("a partition's key", read.map(|_| ()));
    }
    let id = engine.keyspace("check").await.unwrap();
    let p = partition(id, b"p");
    assert_eq!(contents(&engine, &p).await, (0, vec![]));
}
