//! Faults of the network, by proxies that stand before what is called.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{FaultKind, Nemesis, NemesisError};
use crate::proxy::{Direction, FaultProxy, Link};

/// How late a slow node answers, each way.
const SLOW_DELAY: Duration = Duration::from_millis(60);
/// How many bytes a second a slow node takes and gives, on each connection.
const SLOW_BYTES_PER_S: u64 = 256 << 10;
/// A connection breaks at the latest behind so many bytes.
const LOST_BEHIND_BYTES: u64 = 4_096;

/// Cuts off, slows, and breaks connections of, what stands behind its proxies.
#[derive(Debug)]
pub struct Proxies {
    proxies: Vec<Arc<FaultProxy>>,
}

impl Proxies {
    /// Over these.
    pub fn new(proxies: Vec<Arc<FaultProxy>>) -> Self {
        Self { proxies }
    }

    /// The proxies.
    pub fn proxies(&self) -> &[Arc<FaultProxy>] {
        &self.proxies
    }
}

#[async_trait]
impl Nemesis for Proxies {
    fn can(&self) -> Vec<FaultKind> {
        if self.proxies.is_empty() {
            return Vec::new();
        }
        vec![FaultKind::CutOff, FaultKind::Slow, FaultKind::LostAnswers]
    }

    async fn inject(&self, kind: FaultKind, chance: u64) -> Result<String, NemesisError> {
        let chosen = chance
            .checked_rem(self.proxies.len() as u64)
            .and_then(|index| self.proxies.get(usize::try_from(index).ok()?));
        let Some(proxy) = chosen else {
            return Err(NemesisError("there is no proxy".to_owned()));
        };
        let target = proxy.target();
        // What is left of the chance decides how.
        let how = chance / self.proxies.len() as u64;
        match kind {
            FaultKind::CutOff if how.is_multiple_of(3) => {
                proxy.cut();
                Ok(format!("cut off {target}: connections are reset"))
            }
            FaultKind::CutOff => {
                let direction = if how % 3 == 1 {
                    Direction::Up
                } else {
                    Direction::Down
                };
                let hole = Link {
                    blackhole: true,
                    ..Link::default()
                };
                proxy.set(direction, hole);
                Ok(format!("cut off {target}: nothing goes {direction}"))
            }
            FaultKind::Slow => {
                let slow = Link {
                    delay: SLOW_DELAY,
                    bytes_per_s: Some(SLOW_BYTES_PER_S),
                    ..Link::default()
                };
                proxy.set(Direction::Up, slow);
                proxy.set(Direction::Down, slow);
                Ok(format!(
                    "slowed {target}: {} ms each way",
                    SLOW_DELAY.as_millis()
                ))
            }
            FaultKind::LostAnswers => {
                let bytes = how % LOST_BEHIND_BYTES;
                proxy.break_after(Direction::Down, bytes);
                Ok(format!(
                    "a connection to {target} breaks behind {bytes} bytes of answers"
                ))
            }
            other => Err(NemesisError(format!("proxies cannot do this: {other}"))),
        }
    }

    async fn heal(&self) -> Result<(), NemesisError> {
        for proxy in &self.proxies {
            proxy.heal();
        }
        Ok(())
    }
}
