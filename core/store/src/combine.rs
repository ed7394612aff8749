//! Combining.

use std::sync::Arc;

use crate::counters::Counters;
use crate::error::{Stop, StoreError};
use crate::fetch::VERSION_GUESSED;
use crate::loaded::{Loaded, LoadedSource};
use crate::options::StoreOptions;
use crate::port::{Engine, PartitionId, Wanted};
use crate::rows::Rows;
use crate::store::{Sequenced, judge};

pub(crate) struct Combiner {
    engine: Arc<dyn Engine>,
    counters: Arc<Counters>,
    options: StoreOptions,
}

impl Combiner {
    pub fn new(engine: Arc<dyn Engine>, counters: Arc<Counters>, options: StoreOptions) -> Self {
        Self {
            engine,
            counters,
            options,
        }
    }

    pub async fn update<T, E, F>(
        &self,
        partition: PartitionId,
        mut rule: F,
    ) -> Result<Sequenced<Result<T, E>>, StoreError>
    where
        F: FnMut(&mut Rows<'_>) -> Result<T, Stop<E>> + Send,
        T: Send,
        E: Send,
    {
        let mut wanted: Vec<Wanted> = Vec::new();
        let mut attempts = 0;
        for _ in 0..self.options.loads_per_operation_max {
            let snapshot = self.engine.read(&partition, &wanted).await?;
            let mut loaded = Loaded::new(snapshot.version);
            for (wanted, found) in wanted.iter().zip(snapshot.found) {
                loaded.absorb(wanted, found);
            }
            let (missing, ran, changes) = {
                let source = LoadedSource::new(&loaded);
                let mut rows = Rows::new(&source);
                let result = rule(&mut rows);
                Counters::add(&self.counters.rows_absent, rows.absent());
                let (ran, changes) = judge(result, &mut rows);
                (source.missing(), ran, changes.unwrap_or_default())
            };
            if let Some(missing) = missing {
                wanted.push(missing);
                continue;
            }
            let value = ran?;
            if changes.is_empty() {
                let position = snapshot.position;
                return Ok(Sequenced { value, position });
            }
            let expected = snapshot.version;
            if let Some(position) = self.engine.commit(&partition, expected, changes).await? {
                return Ok(Sequenced { value, position });
            }
            Counters::add(&self.counters.conflicts, 1);
            attempts += 1;
            if attempts >= self.options.conflicts_per_operation_max {
                break;
            }
        }
        let _ = VERSION_GUESSED;
        Err(StoreError::Contended {
            attempts,
            partition: partition.key.escape_ascii().to_string(),
        })
    }
}
