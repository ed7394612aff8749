//! Reads from a replica that lags behind.

use std::collections::{HashMap, VecDeque};

use async_trait::async_trait;
use lombard_store::{Engine, PartitionId, Snapshot, StoreError, Wanted};
use parking_lot::Mutex;

use super::{Defect, Dice};

/// Answers that are remembered of each read.
const ANSWERS_MAX: usize = 4;
/// Reads whose answers are remembered; then all are forgotten.
const READS_MAX: usize = 4_096;

/// A read: of which partition, and what.
type Asked = (PartitionId, Vec<Wanted>);

/// Some reads answer as an earlier one was answered: whole, of one version, and old. So
/// does a database whose reads ask one replica of three.
pub struct Stale {
    dice: Dice,
    answers: Mutex<HashMap<Asked, VecDeque<Snapshot>>>,
}

impl Stale {
    /// This share of reads, 0 to 1.
    pub fn new(share: f64, seed: u64) -> Self {
        Self {
            dice: Dice::new(share, seed),
            answers: Mutex::default(),
        }
    }
}

#[async_trait]
impl Defect for Stale {
    fn name(&self) -> &'static str {
        "stale reads"
    }

    async fn read(
        &self,
        engine: &dyn Engine,
        partition: &PartitionId,
        wanted: &[Wanted],
    ) -> Result<Snapshot, StoreError> {
        let snapshot = engine.read(partition, wanted).await?;
        let stale = self.dice.now();
        let mut answers = self.answers.lock();
        if answers.len() >= READS_MAX {
            answers.clear();
        }
        let known = answers
            .entry((partition.clone(), wanted.to_vec()))
            .or_default();
        if stale && let Some(old) = known.get(self.dice.below(known.len())) {
            return Ok(old.clone());
        }
        let newer = known
            .back()
            .is_none_or(|last| last.version < snapshot.version);
        if newer {
            if known.len() >= ANSWERS_MAX {
                known.pop_front();
            }
            known.push_back(snapshot.clone());
        }
        Ok(snapshot)
    }
}
