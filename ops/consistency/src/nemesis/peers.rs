//! Partitions between nodes, by proxies that stand before what nodes say to each other.

use std::sync::Arc;

use async_trait::async_trait;

use super::{FaultKind, Nemesis, NemesisError};
use crate::proxy::{Direction, FaultProxy, Link};

/// Makes one node deaf to the others, who still hear it. For nodes of which each says what it
/// has to say, also in answer, over connections that it has opened itself.
#[derive(Debug)]
pub struct Peers {
    proxies: Vec<Arc<FaultProxy>>,
}

impl Peers {
    /// Over these, each before one node.
    pub fn new(proxies: Vec<Arc<FaultProxy>>) -> Self {
        Self { proxies }
    }
}

#[async_trait]
impl Nemesis for Peers {
    fn can(&self) -> Vec<FaultKind> {
        if self.proxies.is_empty() {
            return Vec::new();
        }
        vec![FaultKind::Partition]
    }

    async fn inject(&self, kind: FaultKind, chance: u64) -> Result<String, NemesisError> {
        if kind != FaultKind::Partition {
            let why = format!("proxies between nodes cannot do this: {kind}");
            return Err(NemesisError(why));
        }
        let chosen = chance
            .checked_rem(self.proxies.len() as u64)
            .and_then(|index| self.proxies.get(usize::try_from(index).ok()?));
        let Some(proxy) = chosen else {
            return Err(NemesisError("there is no proxy".to_owned()));
        };
        let target = proxy.target();
        // What is left of the chance decides how.
        if (chance / self.proxies.len() as u64).is_multiple_of(2) {
            proxy.cut();
            return Ok(format!(
                "{target} does not hear the others: their connections are reset"
            ));
        }
        let hole = Link {
            blackhole: true,
            ..Link::default()
        };
        proxy.set(Direction::Up, hole);
        Ok(format!(
            "{target} does not hear the others until this is healed, and then all that they said"
        ))
    }

    async fn heal(&self) -> Result<(), NemesisError> {
        for proxy in &self.proxies {
            proxy.heal();
        }
        Ok(())
    }
}
