//! Rows that are written and not kept.

use async_trait::async_trait;
use lombard_store::{Change, Changes, Engine, PartitionId, Position, StoreError, Version};

use super::{Defect, Dice};

/// Some rows that are new are not kept, though the commit is: markers among them, by which
/// an entry that is sent again would be known. It is then applied twice. So does a cluster
/// whose new nodes own ranges without their data.
pub struct Forgetful {
    dice: Dice,
}

impl Forgetful {
    /// This share of new rows, 0 to 1.
    pub fn new(share: f64, seed: u64) -> Self {
        Self {
            dice: Dice::new(share, seed),
        }
    }
}

#[async_trait]
impl Defect for Forgetful {
    fn name(&self) -> &'static str {
        "new rows get lost"
    }

    async fn commit(
        &self,
        engine: &dyn Engine,
        partition: &PartitionId,
        expected: Version,
        mut changes: Changes,
    ) -> Result<Option<Position>, StoreError> {
        changes
            .rows
            .retain(|_, change| !matches!(change, Change::New(_)) || !self.dice.now());
        engine.commit(partition, expected, changes).await
    }
}
