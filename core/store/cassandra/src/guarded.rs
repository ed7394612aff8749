//! A read or a commit on one cluster, believed only where its ring is (module `ring`).

use lombard_store::{Changes, PartitionId, StoreError, Version, Wanted};

use crate::clock::Clock;
use crate::commit::{self, Done};
use crate::coordinators::Coordinators;
use crate::keyspace::Keyspace;
use crate::read::{self, Looked, Manner};

/// How often a read is made anew because its coordinator could not be asked after it.
const READS_MAX: u32 = 3;

/// One consistent read.
///
/// # Errors
/// As [`read::snapshot`] and [`Keyspace::vouch`].
pub(crate) async fn read(
    keyspace: &Keyspace,
    clock: &Clock,
    attempts_max: u32,
    partition: &PartitionId,
    wanted: (&[Wanted], Manner),
) -> Result<Looked, StoreError> {
    let mut doubt = None;
    for _ in 0..READS_MAX {
        keyspace.permit(&partition.key)?;
        let asked = Coordinators::default();
        let looked = read::snapshot(keyspace, partition, wanted, attempts_max, &asked).await?;
        let is_new = matches!(&looked, Looked::State(seen) if seen.version == Version(0));
        let now = clock.now_us();
        match keyspace.vouch(&partition.key, &asked, is_new, now).await {
            Ok(()) => {
                if let Looked::State(seen) = &looked {
                    clock.saw(seen.position);
                }
                return Ok(looked);
            }
            // Another coordinator may be one that can be asked.
            Err(error) => doubt = Some(error),
        }
    }
    Err(doubt.unwrap_or_else(|| StoreError::Unavailable("cassandra: nothing was read".into())))
}

/// A commit, if the partition's version is still `expected`.
///
/// # Errors
/// As [`commit::commit`]; [`StoreError::Ambiguous`] if it is in, among nodes that may not be
/// believed.
pub(crate) async fn commit(
    keyspace: &Keyspace,
    clock: &Clock,
    event_deadline_us: u64,
    partition: &PartitionId,
    expected: Version,
    changes: &Changes,
) -> Result<Done, StoreError> {
    keyspace.permit(&partition.key)?;
    let asked = Coordinators::default();
    let done = commit::commit(
        keyspace,
        clock,
        event_deadline_us,
        partition,
        expected,
        changes,
        &asked,
    );
    let done = done.await?;
    if matches!(done, Done::In(_)) {
        let begun = expected == Version(0);
        if begun {
            keyspace.count_begun(&partition.key);
        }
        let now = clock.now_us();
        let vouched = keyspace.vouch(&partition.key, &asked, begun, now).await;
        // It is in, among nodes that may not be believed: nobody knows what it is in.
        vouched.map_err(|error| StoreError::Ambiguous(error.to_string()))?;
    }
    Ok(done)
}
