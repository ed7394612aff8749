//! Handing one partition over.

use lombard_store::StoreError;

use super::batch::Step;
use super::decide::Which;
use super::fill;
use super::pair::{Pair, Place, Sight, Tools};

/// How often it is tried while others commit.
const TRIES_MAX: u32 = 50;
/// So often the copy is brought to the owner's version before the partition is released as it
/// is, and taken as soon as what it lacks is there.
const PATIENT_TRIES: u32 = 8;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handed {
    /// It is there now.
    Over,
    /// It was there already, or nowhere.
    Nothing,
}

impl Pair {
    /// The first half: nobody can commit any more where the partition is. Gives whether it was
    /// still as it was seen.
    pub(super) async fn release(
        &self,
        tools: Tools<'_>,
        which: Which,
        partition: &[u8],
        seen: Sight,
    ) -> Result<bool, StoreError> {
        let step = Step {
            expected: seen.stored,
            version: -(seen.stored.saturating_add(1)),
            // What was seen is behind it, and a fence that has come since fences commits that
            // the release stops as well.
            position: Some(tools.clock.next()),
        };
        self.step(tools, which, partition, step, &[]).await
    }

    /// Hands a partition over to a side, where it is not there yet.
    ///
    /// # Errors
    /// One of the clusters does not answer. Whoever comes next goes on from there.
    pub(super) async fn hand_over(
        &self,
        tools: Tools<'_>,
        partition: &[u8],
        to: Which,
    ) -> Result<Handed, StoreError> {
        let mut moved = false;
        for attempt in 0..TRIES_MAX {
            let Place::At(which, _) = self.settle(tools, partition).await? else {
                return Ok(Handed::Nothing);
            };
            if which == to {
                return Ok(if moved { Handed::Over } else { Handed::Nothing });
            }
            moved = true;
            // The owner first: the copy may have followed it since, and is then no older.
            let owner = self.look(tools, which, partition).await?;
            let copy = self.look(tools, to, partition).await?;
            if owner.stored <= 0 {
                continue;
            }
            // Released while its copy is as it is, it can be taken at once.
            if copy.stored != -owner.stored && attempt < PATIENT_TRIES {
                fill::fill(tools, self, partition, which, true).await?;
                continue;
            }
            self.release(tools, which, partition, owner).await?;
        }
        Err(StoreError::Contended {
            attempts: TRIES_MAX,
            partition: partition.escape_ascii().to_string(),
        })
    }
}
