//! Free loopback addresses, picked so that many engines run side by side.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use crate::error::Error;

/// Below the range from which systems give out ports by themselves (Linux: from
/// 32,768): a port that an engine left for a moment is then not taken by somebody
/// else's connection.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// How many are tried before it is given up.
const TRIES: usize = 200;

/// Whether somebody could listen there now.
pub fn is_free(address: SocketAddr) -> bool {
    TcpListener::bind(address).is_ok()
}

/// A port of this address where nobody listens.
///
/// # Errors
/// Of many that were tried none is free.
pub fn free_port(ip: Ipv4Addr) -> Result<u16, Error> {
    let width = u64::from(PORTS.end - PORTS.start);
    (0..TRIES)
        .filter_map(|_| u16::try_from(random() % width).ok())
        .map(|offset| PORTS.start + offset)
        .find(|port| is_free(SocketAddr::new(IpAddr::V4(ip), *port)))
        .ok_or_else(|| none_free(format!("no free port of {ip} was found")))
}

/// A network of 256 loopback addresses, of which the given ports of the first
/// `hosts` are free: `127.x.y.1` to `127.x.y.hosts`.
///
/// # Errors
/// Of many that were tried none is free, or the system has only 127.0.0.1.
pub fn free_network(hosts: u8, ports: &[u16]) -> Result<Network, Error> {
    (0..TRIES)
        .map(|_| {
            let [x, y, ..] = random().to_le_bytes();
            // 127.0 is where people put things by hand.
            Network([x.max(1), y])
        })
        .find(|network| network.is_free(hosts, ports))
        .ok_or_else(|| {
            none_free(format!(
                "no network 127.x.y with {hosts} addresses free on ports {ports:?} was found"
            ))
        })
}

/// The loopback addresses 127.x.y.1 to 127.x.y.254.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network([u8; 2]);

impl Network {
    /// 127.0.0: the addresses for what a person starts.
    pub const WELL_KNOWN: Self = Self([0, 0]);

    /// Its address with this number, from 1.
    pub fn host(self, number: u8) -> Ipv4Addr {
        let [x, y] = self.0;
        Ipv4Addr::new(127, x, y, number)
    }

    /// Whether these ports of its first addresses are free.
    pub fn is_free(self, hosts: u8, ports: &[u16]) -> bool {
        (1..=hosts).all(|host| {
            ports
                .iter()
                .all(|port| is_free(SocketAddr::new(IpAddr::V4(self.host(host)), *port)))
        })
    }
}

fn none_free(what: String) -> Error {
    Error::State {
        engine: "loopback".to_owned(),
        what,
    }
}

/// The system's randomness: each `RandomState` has its own keys.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_somebody_has_is_not_free() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(!is_free(taken.local_addr().unwrap()));
        let port = free_port(Ipv4Addr::LOCALHOST).unwrap();
        assert!(PORTS.contains(&port), "{port}");
        let _listens = TcpListener::bind(("127.0.0.1", port)).unwrap();
    }

    #[test]
    fn a_network_is_free_only_if_all_its_addresses_are() {
        let port = free_port(Ipv4Addr::LOCALHOST).unwrap();
        let network = free_network(3, &[port]).unwrap();
        assert!(network.is_free(3, &[port]));
        let third = TcpListener::bind((network.host(3), port)).unwrap();
        assert!(!network.is_free(3, &[port]));
        assert!(network.is_free(2, &[port]));
        drop(third);
        assert_eq!(Network::WELL_KNOWN.host(2).to_string(), "127.0.0.2");
    }

    #[test]
    fn two_picks_differ() {
        // 65,280 networks: that ten picks are one and the same does not happen.
        let first = free_network(1, &[]).unwrap();
        assert!((0..10).any(|_| free_network(1, &[]).unwrap() != first));
    }
}
