//! Faults of processes: whatever can be killed, paused and started again.

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{FaultKind, Nemesis, NemesisError};

/// Processes that a test has started: the nodes of an engine, or the bank itself.
#[async_trait]
pub trait Nodes: Send + Sync {
    /// How many there are.
    fn count(&self) -> usize;

    /// What a node is called.
    fn name(&self, node: usize) -> String;

    /// Ends it at once, as SIGKILL does.
    ///
    /// # Errors
    /// In words.
    async fn kill(&self, node: usize) -> Result<(), NemesisError>;

    /// Starts it again over its own data. Returns when it answers.
    ///
    /// # Errors
    /// In words.
    async fn start(&self, node: usize) -> Result<(), NemesisError>;

    /// Makes it stand still, as SIGSTOP does.
    ///
    /// # Errors
    /// In words.
    async fn pause(&self, node: usize) -> Result<(), NemesisError>;

    /// Lets it go on.
    ///
    /// # Errors
    /// In words.
    async fn resume(&self, node: usize) -> Result<(), NemesisError>;
}

/// Kills, pauses and restarts nodes. At most one is broken by a kill or a pause.
#[derive(Debug)]
pub struct NodeFaults<N> {
    nodes: N,
    kinds: Vec<FaultKind>,
    broken: Mutex<Vec<Broken>>,
}

#[derive(Debug, Clone, Copy)]
enum Broken {
    Killed(usize),
    Paused(usize),
}

impl<N: Nodes> NodeFaults<N> {
    /// Of these kinds: [`FaultKind::Kill`], [`FaultKind::PowerCut`], [`FaultKind::Pause`] and
    /// [`FaultKind::RestartInTurn`]; others are left out.
    pub fn new(nodes: N, kinds: &[FaultKind]) -> Self {
        let known = [
            FaultKind::Kill,
            FaultKind::PowerCut,
            FaultKind::Pause,
            FaultKind::RestartInTurn,
        ];
        Self {
            nodes,
            kinds: kinds
                .iter()
                .copied()
                .filter(|kind| known.contains(kind))
                .collect(),
            broken: Mutex::default(),
        }
    }

    /// The nodes.
    pub fn nodes(&self) -> &N {
        &self.nodes
    }

    fn choose(&self, chance: u64) -> Result<usize, NemesisError> {
        let count = self.nodes.count() as u64;
        let chosen = chance.checked_rem(count);
        chosen
            .and_then(|node| usize::try_from(node).ok())
            .ok_or_else(|| NemesisError("there is no node to break".to_owned()))
    }
}

#[async_trait]
impl<N: Nodes> Nemesis for NodeFaults<N> {
    fn can(&self) -> Vec<FaultKind> {
        self.kinds.clone()
    }

    async fn inject(&self, kind: FaultKind, chance: u64) -> Result<String, NemesisError> {
        let node = self.choose(chance)?;
        let name = self.nodes.name(node);
        match kind {
            FaultKind::Kill => {
                self.nodes.kill(node).await?;
                self.broken.lock().push(Broken::Killed(node));
                Ok(format!("killed {name}"))
            }
            FaultKind::Pause => {
                self.nodes.pause(node).await?;
                self.broken.lock().push(Broken::Paused(node));
                Ok(format!("paused {name}"))
            }
            FaultKind::PowerCut => {
                for node in 0..self.nodes.count() {
                    self.nodes.kill(node).await?;
                    self.broken.lock().push(Broken::Killed(node));
                }
                Ok("killed all nodes".to_owned())
            }
            FaultKind::RestartInTurn => {
                for node in 0..self.nodes.count() {
                    self.nodes.kill(node).await?;
                    self.broken.lock().push(Broken::Killed(node));
                    self.nodes.start(node).await?;
                    self.broken.lock().clear();
                }
                Ok("restarted every node, one behind the other".to_owned())
            }
            other => Err(NemesisError(format!("nodes cannot do this: {other}"))),
        }
    }

    async fn heal(&self) -> Result<(), NemesisError> {
        loop {
            let next = self.broken.lock().last().copied();
            match next {
                None => return Ok(()),
                Some(Broken::Killed(node)) => self.nodes.start(node).await?,
                Some(Broken::Paused(node)) => self.nodes.resume(node).await?,
            }
            self.broken.lock().pop();
        }
    }
}
