//! Reading from engines that must fetch: run, fetch what was missing, run again.

use crate::counters::Counters;
use crate::error::{Stop, StoreError};
use crate::loaded::{Loaded, LoadedSource};
use crate::port::{Engine, PartitionId, Version, Wanted};
use crate::rows::Rows;
use crate::store::{Sequenced, looked};

/// How often a function that only reads is run again because rows had to be fetched.
pub const FETCHES_PER_READ_MAX: u32 = 1_024;

/// While a version is not known, functions run as if the partition existed,
/// only to learn which rows they want; what they say then is thrown away.
pub(crate) const VERSION_GUESSED: Version = Version(1);

/// Runs `look` over one consistent state, which is fetched as it asks.
///
/// # Errors
/// The engine's failure; [`StoreError::Contended`] if the partition changed
/// whenever a further row was fetched.
pub(crate) async fn read<T, E, F>(
    engine: &dyn Engine,
    counters: &Counters,
    partition: &PartitionId,
    mut look: F,
) -> Result<Sequenced<Result<T, E>>, StoreError>
where
    F: FnMut(&Rows<'_>) -> Result<T, Stop<E>> + Send,
{
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut known: Option<(Loaded, crate::port::Position)> = None;
    for _ in 0..FETCHES_PER_READ_MAX {
        let missing: Vec<Wanted> = {
            let guess = Loaded::new(VERSION_GUESSED);
            let loaded = known.as_ref().map_or(&guess, |(loaded, _)| loaded);
            let source = LoadedSource::new(loaded);
            let rows = Rows::new(&source);
            let ran = looked(look(&rows));
            let absent = rows.absent();
            let missing = source.missing();
            if let Some((_, position)) = &known
                && missing.is_empty()
            {
                counters.rows_absent.add(absent);
                let (value, position) = (ran?, *position);
                return Ok(Sequenced { value, position });
            }
            missing
        };
        // One read of all that was ever asked for, so that all is of one
        // version; only where the version still stands is the new part enough.
        let part = missing;
        let _admitted = engine.admit(partition.keyspace).await;
        let snapshot = engine.read(partition, &part).await?;
        wanted.extend(part.iter().cloned());
        let (snapshot, part) = match &known {
            Some((loaded, _)) if loaded.version != snapshot.version => {
                known = None;
                (engine.read(partition, &wanted).await?, wanted.clone())
            }
            _ => (snapshot, part),
        };
        let (loaded, position) =
            known.get_or_insert_with(|| (Loaded::new(snapshot.version), snapshot.position));
        *position = snapshot.position.max(*position);
        for (wanted, found) in part.iter().zip(snapshot.found) {
            loaded.absorb(wanted, found);
        }
    }
    Err(StoreError::Contended {
        attempts: FETCHES_PER_READ_MAX,
        partition: partition.key.escape_ascii().to_string(),
    })
}
