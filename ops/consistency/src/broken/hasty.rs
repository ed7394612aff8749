//! Acknowledgements before durability.

use async_trait::async_trait;
use lombard_store::{Engine, Position, StoreError};

use super::{Defect, Dice};

/// Often says that something is durable without waiting until it is: a crash then takes away
/// what was acknowledged. So does a database whose log is synced now and then.
///
/// It shows with engines whose commits are sequenced first and durable later, after a crash.
pub struct Hasty {
    dice: Dice,
}

impl Hasty {
    /// This share of waits is left out, 0 to 1.
    pub fn new(share: f64, seed: u64) -> Self {
        Self {
            dice: Dice::new(share, seed),
        }
    }
}

#[async_trait]
impl Defect for Hasty {
    fn name(&self) -> &'static str {
        "acknowledged before durable"
    }

    async fn durable(&self, engine: &dyn Engine, position: Position) -> Result<(), StoreError> {
        if self.dice.now() {
            return Ok(());
        }
        engine.durable(position).await
    }
}
