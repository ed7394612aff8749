//! Addresses at which something else stands before each node.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{CQL_PORT, STORAGE_PORT};
use crate::address::{self, Network};
use crate::error::Error;

/// From a node's own address to the one that it gives for itself.
const OFFSET: u8 = 100;

/// The addresses that the nodes of a cluster give for themselves, to clients and to each
/// other, while they listen on their own (`broadcast_rpc_address`, `broadcast_address`).
/// Nothing reaches a node unless somebody listens there and passes it on, a proxy that cuts
/// or slows: the cluster does not start before that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broadcast {
    pub(super) network: Network,
}

/// A place that is passed through on the way to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passage {
    /// Where others believe the node to be.
    pub announced: SocketAddr,
    /// Where it listens.
    pub own: SocketAddr,
}

impl Broadcast {
    /// Picks addresses that are free, for a cluster of so many nodes.
    ///
    /// # Errors
    /// None are.
    pub fn pick(nodes: u8) -> Result<Self, Error> {
        let hosts = OFFSET.saturating_add(nodes);
        let network = address::free_network(hosts, &[CQL_PORT, STORAGE_PORT])?;
        Ok(Self { network })
    }

    /// The way of clients to a node.
    pub fn clients(&self, number: u8) -> Passage {
        self.passage(number, CQL_PORT)
    }

    /// The way of the other nodes to a node: what they ask of it, and what they answer it.
    /// What it says itself, also in answer, goes the ways to them.
    pub fn peers(&self, number: u8) -> Passage {
        self.passage(number, STORAGE_PORT)
    }

    /// The address that a node gives for itself.
    pub(super) fn host(&self, number: u8) -> Ipv4Addr {
        self.network.host(number.saturating_add(OFFSET))
    }

    fn passage(&self, number: u8, port: u16) -> Passage {
        let at = |ip| SocketAddr::new(IpAddr::V4(ip), port);
        Passage {
            announced: at(self.host(number)),
            own: at(self.network.host(number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_is_another_address_of_the_same_port() {
        let broadcast = Broadcast::pick(3).unwrap();
        for passage in [broadcast.clients(3), broadcast.peers(3)] {
            assert_eq!(passage.announced.port(), passage.own.port());
            assert_ne!(passage.announced.ip(), passage.own.ip());
        }
        assert_eq!(broadcast.clients(3).own.port(), CQL_PORT);
        assert_eq!(broadcast.peers(3).own.port(), STORAGE_PORT);
    }
}
