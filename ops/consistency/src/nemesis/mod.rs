//! What breaks things: faults, who injects them, and when.

mod nodes;
mod peers;
mod proxies;
mod schedule;

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use nodes::{NodeFaults, Nodes};
pub use peers::Peers;
pub use proxies::Proxies;
pub use schedule::{FaultDone, Timing};

pub(crate) use schedule::misfortune;

/// Kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A process ends at once (SIGKILL), and is started again when it is healed.
    Kill,
    /// All processes end at once: what is not durable is gone.
    PowerCut,
    /// A process stands still (SIGSTOP), and goes on when it is healed.
    Pause,
    /// Processes end and start again, one behind the other.
    RestartInTurn,
    /// A node cannot be reached: connections to it break, or nothing goes through.
    CutOff,
    /// A node does not hear the others, who hear it; clients reach it.
    Partition,
    /// A node answers late.
    Slow,
    /// A network loses connections in the midst of what they carry.
    LostAnswers,
    /// A node's disk has no space left.
    FullDisk,
    /// Another replica takes over.
    Promote,
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "kill",
            Self::PowerCut => "power cut",
            Self::Pause => "pause",
            Self::RestartInTurn => "restart in turn",
            Self::CutOff => "cut off",
            Self::Partition => "partition",
            Self::Slow => "slow",
            Self::LostAnswers => "lost answers",
            Self::FullDisk => "full disk",
            Self::Promote => "promote",
        })
    }
}

/// A fault could not be injected, or not be healed: the run says nothing then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NemesisError(pub String);

/// Who breaks things.
#[async_trait]
pub trait Nemesis: Send + Sync {
    /// What it can do. Empty: nothing is broken.
    fn can(&self) -> Vec<FaultKind>;

    /// Does it, to whatever `chance` chooses, and says in words what was done. Returns when
    /// it is done, which for a restart in turn is when all are back.
    ///
    /// # Errors
    /// It could not be done.
    async fn inject(&self, kind: FaultKind, chance: u64) -> Result<String, NemesisError>;

    /// Undoes all that was injected, and returns when everything is whole again. Called also
    /// when nothing was injected.
    ///
    /// # Errors
    /// Something stays broken.
    async fn heal(&self) -> Result<(), NemesisError>;
}

/// Breaks nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Calm;

#[async_trait]
impl Nemesis for Calm {
    fn can(&self) -> Vec<FaultKind> {
        Vec::new()
    }

    async fn inject(&self, kind: FaultKind, _chance: u64) -> Result<String, NemesisError> {
        Err(NemesisError(format!("nothing here can do this: {kind}")))
    }

    async fn heal(&self) -> Result<(), NemesisError> {
        Ok(())
    }
}

/// Two that break things together: each kind is done by the first that can.
#[derive(Debug, Clone)]
pub struct Both<A, B>(pub A, pub B);

#[async_trait]
impl<A: Nemesis, B: Nemesis> Nemesis for Both<A, B> {
    fn can(&self) -> Vec<FaultKind> {
        let mut all = self.0.can();
        all.extend(self.1.can());
        all
    }

    async fn inject(&self, kind: FaultKind, chance: u64) -> Result<String, NemesisError> {
        if self.0.can().contains(&kind) {
            self.0.inject(kind, chance).await
        } else {
            self.1.inject(kind, chance).await
        }
    }

    async fn heal(&self) -> Result<(), NemesisError> {
        let first = self.0.heal().await;
        // Both are healed, whatever became of the first.
        self.1.heal().await.and(first)
    }
}
