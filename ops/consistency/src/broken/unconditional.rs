//! Commits without their condition.

use async_trait::async_trait;
use lombard_store::{Changes, Engine, PartitionId, Position, StoreError, Version};

use super::{Defect, Dice};

/// A commit is tried so often against a partition that changes all the time.
const ATTEMPTS_MAX: u32 = 8;

/// Some commits go in although the partition has changed since it was read: they overwrite
/// what others have done. So does a database that is asked to write without "if".
///
/// It shows where two writers meet: two ledgers over one engine.
pub struct Unconditional {
    dice: Dice,
}

impl Unconditional {
    /// This share of the commits that should have been refused, 0 to 1.
    pub fn new(share: f64, seed: u64) -> Self {
        Self {
            dice: Dice::new(share, seed),
        }
    }
}

#[async_trait]
impl Defect for Unconditional {
    fn name(&self) -> &'static str {
        "commits without their condition"
    }

    async fn commit(
        &self,
        engine: &dyn Engine,
        partition: &PartitionId,
        expected: Version,
        changes: Changes,
    ) -> Result<Option<Position>, StoreError> {
        let first = engine.commit(partition, expected, changes.clone()).await?;
        if first.is_some() || !self.dice.now() {
            return Ok(first);
        }
        for _ in 0..ATTEMPTS_MAX {
            let now = engine.read(partition, &[]).await?.version;
            let committed = engine.commit(partition, now, changes.clone()).await?;
            if committed.is_some() {
                return Ok(committed);
            }
        }
        Ok(None)
    }
}
