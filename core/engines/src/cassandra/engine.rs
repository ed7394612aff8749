//! Cassandra for a person: on well-known addresses, with data that is kept.

use std::net::SocketAddr;
use std::path::Path;

use rustix::process::Signal;

use super::cluster::Cluster;
use super::install::{Cassandra, Installation};
use super::options::{Compiler, Options};
use super::{CQL_PORT, NAME, STORAGE_PORT};
use crate::address::Network;
use crate::cache::Cache;
use crate::engine::{Engine, Installed, Member};
use crate::error::Error;
use crate::guardian::Home;
use crate::launch::Lifetime;
use crate::progress::{Tell, Tells};

const NODES: u8 = 3;
/// Java's heap of a node.
const HEAP_MIB: u32 = 1_024;
/// Room for what is written and read again soon: tables in memory, blocks of tables on disk,
/// and the state of decisions. With a test's little of it, a node under load flushes all the
/// time, and reads what it has just flushed.
const ROOM: [&str; 9] = [
    "commitlog_compression:",
    "  - class_name: LZ4Compressor",
    "memtable_heap_space: 256MiB",
    "memtable_offheap_space: 256MiB",
    "memtable_allocation_type: offheap_objects",
    "commitlog_total_space: 1024MiB",
    "file_cache_enabled: true",
    "file_cache_size: 64MiB",
    "paxos_cache_size: 64MiB",
];

impl Engine for Cassandra {
    fn name(&self) -> &'static str {
        NAME
    }

    fn installed(&self, cache: &Cache) -> Result<Option<Installed>, Error> {
        Ok(self.find(cache)?.as_ref().map(installed))
    }

    fn install(&self, cache: &Cache, verify: bool, tell: Tell<'_>) -> Result<Installed, Error> {
        if verify {
            self.verify(cache, tell)?;
        }
        Ok(installed(&self.ensure(cache, tell)?))
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        [CQL_PORT, STORAGE_PORT]
            .into_iter()
            .flat_map(|port| {
                (1..=NODES)
                    .map(move |node| SocketAddr::from((Network::WELL_KNOWN.host(node), port)))
            })
            .collect()
    }

    fn start(&self, cache: &Cache, folder: &Path, tell: Tell<'_>) -> Result<Vec<Member>, Error> {
        let installation = self.ensure(cache, tell)?;
        tell.tell(
            NAME,
            format!("starting {NODES} nodes, which takes 10 to 60 s"),
        );
        let options = Options {
            nodes: NODES,
            // A person tries how quick it is.
            compiler: Compiler::Full,
            heap_mib: HEAP_MIB,
            yaml: ROOM.map(str::to_owned).into(),
            ..Options::default()
        };
        let cluster = Cluster::start_in(
            &installation,
            &options,
            Network::WELL_KNOWN,
            Home::Kept(folder.to_owned()),
            Lifetime::Detached,
        )?;
        let logs: Vec<_> = cluster
            .nodes()
            .into_iter()
            .map(|n| (n, cluster.log(n)))
            .collect();
        let members = cluster.leave().into_iter().map(|(number, process)| Member {
            process,
            address: SocketAddr::from((Network::WELL_KNOWN.host(number), CQL_PORT)),
            log: logs
                .iter()
                .find(|(node, _)| *node == number)
                .map(|(_, log)| log.clone())
                .unwrap_or_default(),
        });
        Ok(members.collect())
    }

    fn stop_signal(&self) -> Signal {
        Signal::TERM
    }

    fn reach(&self) -> String {
        format!("CQL on 127.0.0.1 to 127.0.0.{NODES}, port {CQL_PORT}, without a password")
    }
}

fn installed(installation: &Installation) -> Installed {
    Installed {
        version: installation.version().to_owned(),
        folder: installation.folder().to_owned(),
        note: Some(format!("Java {}", installation.java_version())),
    }
}
