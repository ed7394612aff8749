//! What a load looks like.

use std::fmt;
use std::time::Duration;

/// At most so many entries in one call, as the ledger's contract says.
pub const ENTRIES_PER_BATCH_MAX: u32 = 8_192;
/// More accounts than this are not opened for a load.
pub const ACCOUNTS_MAX: u32 = 10_000_000;
/// More clients than this are a test of the operating system.
pub const CLIENTS_MAX: u32 = 10_000;

/// What the clients speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1: a connection for each client.
    #[default]
    Http1,
    /// HTTP/2: a few connections, shared.
    Http2,
}

impl fmt::Display for HttpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "1.1",
            Self::Http2 => "2",
        })
    }
}

/// How long a load runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Until so many entries were answered.
    Count(u64),
    /// For so long.
    Time(Duration),
}

/// What a load looks like.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Requests in flight at any time.
    pub clients: u32,
    /// What they speak.
    pub http: HttpVersion,
    /// HTTP/2 connections that the clients share; 0: one for each 16 clients, at most 8.
    pub connections: u32,
    /// Entries in a request; 1 uses the call for single entries.
    pub batch: u32,
    /// How long it runs.
    pub extent: Extent,
    /// Runs before the measurement, and is not counted.
    pub warmup: Duration,
    /// Accounts that the load is spread over, at least 2.
    pub accounts: u32,
    /// The share of entries, 0 to 1, that touch one and the same account.
    pub hot: f64,
    /// The share of operations, 0 to 1, that place a hold, and then capture or release it.
    pub holds: f64,
    /// Whether every account has a floor of zero (and is given money first).
    pub floors: bool,
    /// Entries a second, asked for at fixed times whatever the answers do (open loop).
    /// None: each client asks again when it was answered (closed loop).
    pub rate: Option<f64>,
    /// The same seed makes the same accounts and amounts.
    pub seed: u64,
}

/// What is wrong with a shape.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{option}: {problem}")]
pub struct ShapeError {
    /// The option's name.
    pub option: &'static str,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl Shape {
    /// Whether it makes sense.
    ///
    /// # Errors
    /// Names the first option that does not, and what it may be.
    pub fn check(&self) -> Result<(), ShapeError> {
        let wrong = |option, problem: String| Err(ShapeError { option, problem });
        if self.clients == 0 || self.clients > CLIENTS_MAX {
            return wrong(
                "--clients",
                format!("{} is not 1 to {CLIENTS_MAX}", self.clients),
            );
        }
        if self.batch == 0 || self.batch > ENTRIES_PER_BATCH_MAX {
            return wrong(
                "--batch",
                format!("{} is not 1 to {ENTRIES_PER_BATCH_MAX}", self.batch),
            );
        }
        if self.accounts < 2 || self.accounts > ACCOUNTS_MAX {
            return wrong(
                "--accounts",
                format!("{} is not 2 to {ACCOUNTS_MAX}", self.accounts),
            );
        }
        for (option, share) in [("--hot", self.hot), ("--holds", self.holds)] {
            if !(0.0..=1.0).contains(&share) {
                return wrong(option, format!("{share} is not a share from 0 to 1"));
            }
        }
        if self.holds > 0.0 && self.batch > 1 {
            return wrong(
                "--holds",
                "a hold is a call of its own: use it with --batch 1".to_owned(),
            );
        }
        if let Some(rate) = self.rate
            && !(rate.is_finite() && rate > 0.0)
        {
            return wrong("--rate", format!("{rate} is not a rate above 0 a second"));
        }
        match self.extent {
            Extent::Count(0) => wrong("--count", "0 entries are no load".to_owned()),
            Extent::Time(Duration::ZERO) => wrong("--seconds", "0 seconds are no load".to_owned()),
            Extent::Count(_) | Extent::Time(_) => Ok(()),
        }
    }

    /// How many connections the clients have.
    pub fn connections(&self) -> u32 {
        match self.connections {
            _ if self.http == HttpVersion::Http1 => self.clients,
            0 => self.clients.div_ceil(16).clamp(1, 8),
            asked => asked.min(self.clients),
        }
    }
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            clients: 64,
            http: HttpVersion::Http1,
            connections: 0,
            batch: 1,
            extent: Extent::Time(Duration::from_secs(10)),
            warmup: Duration::ZERO,
            accounts: 10_000,
            hot: 0.0,
            holds: 0.0,
            floors: false,
            rate: None,
            seed: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_named() {
        assert_eq!(Shape::default().check(), Ok(()));
        let table = [
            (
                Shape {
                    clients: 0,
                    ..Shape::default()
                },
                "--clients",
            ),
            (
                Shape {
                    batch: 8_193,
                    ..Shape::default()
                },
                "--batch",
            ),
            (
                Shape {
                    accounts: 1,
                    ..Shape::default()
                },
                "--accounts",
            ),
            (
                Shape {
                    hot: 1.5,
                    ..Shape::default()
                },
                "--hot",
            ),
            (
                Shape {
                    hot: f64::NAN,
                    ..Shape::default()
                },
                "--hot",
            ),
            (
                Shape {
                    holds: 0.1,
                    batch: 2,
                    ..Shape::default()
                },
                "--holds",
            ),
            (
                Shape {
                    rate: Some(0.0),
                    ..Shape::default()
                },
                "--rate",
            ),
            (
                Shape {
                    extent: Extent::Count(0),
                    ..Shape::default()
                },
                "--count",
            ),
        ];
        for (shape, option) in table {
            assert_eq!(shape.check().unwrap_err().option, option);
        }
    }

    #[test]
    fn connections_follow_the_clients() {
        let connections = |clients, connections| {
            Shape {
                http: HttpVersion::Http2,
                clients,
                connections,
                ..Shape::default()
            }
            .connections()
        };
        assert_eq!(Shape::default().connections(), 64);
        assert_eq!(connections(1, 0), 1);
        assert_eq!(connections(64, 0), 4);
        assert_eq!(connections(1_000, 0), 8);
        assert_eq!(connections(64, 64), 64);
        assert_eq!(connections(2, 64), 2);
    }
}
