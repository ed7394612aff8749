//! PostgreSQL for a person: on a well-known port, with data that is kept.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use rustix::process::Signal;

use super::NAME;
use super::install::{Binaries, Postgres};
use super::options::{DATABASE, Options, USER};
use super::server::Server;
use crate::cache::Cache;
use crate::engine::{Engine, Installed, Member};
use crate::error::Error;
use crate::guardian::Home;
use crate::launch::Lifetime;
use crate::progress::{Tell, Tells};

/// Not 5432, where the system's own may be.
const PORT: u16 = 15_432;

impl Engine for Postgres {
    fn name(&self) -> &'static str {
        NAME
    }

    fn installed(&self, cache: &Cache) -> Result<Option<Installed>, Error> {
        Ok(self.find(cache)?.map(installed))
    }

    fn install(&self, cache: &Cache, verify: bool, tell: Tell<'_>) -> Result<Installed, Error> {
        if verify {
            self.verify(cache, tell)?;
        }
        Ok(installed(self.ensure(cache, tell)?))
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        vec![SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))]
    }

    fn start(&self, cache: &Cache, folder: &Path, tell: Tell<'_>) -> Result<Vec<Member>, Error> {
        let binaries = self.ensure(cache, tell)?;
        tell.tell(NAME, "starting".to_owned());
        let options = Options {
            port: Some(PORT),
            shared_buffers_mib: 512,
            settings: settings(),
            ..Options::default()
        };
        let home = Home::Kept(folder.to_owned());
        let server = Server::start_in(&binaries, &options, home, Lifetime::Detached)?;
        let (address, log) = (server.address(), server.log());
        Ok(server
            .leave()
            .map(|process| Member {
                process,
                address,
                log,
            })
            .into_iter()
            .collect())
    }

    fn stop_signal(&self) -> Signal {
        // The fast shutdown: clients are disconnected, everything is written.
        Signal::INT
    }

    fn reach(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{PORT}/{DATABASE}, without a password")
    }
}

/// For a person's load, not a test's few rows: behind each checkpoint every page that is
/// changed goes into the log whole once, and how often one comes is a matter of these.
fn settings() -> Vec<(String, String)> {
    [
        ("max_wal_size", "4GB"),
        ("checkpoint_timeout", "15min"),
        ("wal_buffers", "32MB"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn installed(binaries: Binaries) -> Installed {
    Installed {
        version: binaries.version,
        folder: binaries.folder,
        note: binaries.of_system.then(|| "the system's own".to_owned()),
    }
}
