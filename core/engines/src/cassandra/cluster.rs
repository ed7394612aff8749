//! A cluster: nodes on loopback addresses of one network.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::configuration::even_tokens;
use super::cql::{CqlError, Row, Session};
use super::install::{Cassandra, Installation};
use super::node::{Node, Start};
use super::options::{AddOptions, Credentials, Options};
use super::{CQL_PORT, NAME, STORAGE_PORT};
use crate::address::{self, Network};
use crate::cache::Cache;
use crate::disk::Disk;
use crate::error::Error;
use crate::guardian::{Guardian, Home};
use crate::identity::Identity;
use crate::launch::Lifetime;
use crate::processes::Process;
use crate::progress::Progress;

/// How long nodes that start together, without data, wait for each other.
const FIRST_RING_DELAY_MS: u32 = 1_000;
/// How long a node that joins later does: the others must hear of it.
const RING_DELAY_MS: u32 = 5_000;

/// A cluster in a folder of its own. Its nodes end, and the folder is removed, when this
/// is dropped, and also when this process is killed.
///
/// Nodes are numbered from 1; node `n` has the address 127.x.y.n. All methods take
/// `&self`: one thread may kill a node while others start one.
#[derive(Debug)]
pub struct Cluster {
    pub(super) installation: Installation,
    pub(super) options: Options,
    network: Network,
    lifetime: Lifetime,
    nodes: Mutex<Vec<Arc<Node>>>,
    guardian: Mutex<Option<Guardian>>,
    // Last: it is removed when nothing works in it any more.
    home: Home,
}

impl Cluster {
    /// Starts one in a temporary folder, and waits until each node sees all and their
    /// schema is one; installs Cassandra first if it is not there.
    ///
    /// # Errors
    /// It is not installed and cannot be ([`Error::Missing`] says what this machine
    /// lacks), or does not answer in time.
    pub fn start(options: &Options) -> Result<Self, Error> {
        let installation = Cassandra.ensure(&Cache::of_user()?, &Progress::to_stderr)?;
        let network = match &options.broadcast {
            Some(broadcast) => broadcast.network,
            None => address::free_network(options.nodes, &[CQL_PORT, STORAGE_PORT])?,
        };
        let home = Home::temporary()?;
        Self::start_in(&installation, options, network, home, Lifetime::Guarded)
    }

    /// One node that writes Java's archive of classes when it stops.
    pub(super) fn start_archiving(
        installation: &Installation,
        options: &Options,
        archive: &Path,
    ) -> Result<Self, Error> {
        let network = address::free_network(options.nodes, &[CQL_PORT, STORAGE_PORT])?;
        let home = Home::temporary()?;
        let cluster = Self::prepare(installation, options, network, home, Lifetime::Guarded)?;
        cluster.configure(true)?;
        cluster.launch_all(Some(archive))?;
        Ok(cluster)
    }

    /// Starts one in this folder, with the data that is there.
    pub(crate) fn start_in(
        installation: &Installation,
        options: &Options,
        network: Network,
        home: Home,
        lifetime: Lifetime,
    ) -> Result<Self, Error> {
        let cluster = Self::prepare(installation, options, network, home, lifetime)?;
        let new = !cluster.node(1)?.folder().exists();
        // Roles are made by us, who do not speak TLS.
        let make_role = options.authentication.as_ref().filter(|_| new);
        cluster.configure(make_role.is_none())?;
        cluster.launch_all(None)?;
        cluster.agree()?;
        if let Some(credentials) = make_role {
            cluster.make_role(credentials)?;
            if options.tls.as_ref().is_some_and(|tls| tls.required) {
                cluster.configure(true)?;
                for number in cluster.nodes() {
                    cluster.stop(number)?;
                    cluster.start_node(number)?;
                }
                cluster.agree()?;
            }
        }
        Ok(cluster)
    }

    fn prepare(
        installation: &Installation,
        options: &Options,
        network: Network,
        home: Home,
        lifetime: Lifetime,
    ) -> Result<Self, Error> {
        let nodes = (1..=options.nodes)
            .map(|number| {
                let (ip, announced) = (network.host(number), announced(options, network, number));
                Arc::new(Node::new(number, ip, announced, home.path()))
            })
            .collect();
        let guardian = match lifetime {
            Lifetime::Guarded => Some(Guardian::start(&Identity::Ours, "KILL", home.path())?),
            Lifetime::Detached => None,
        };
        Ok(Self {
            installation: installation.clone(),
            options: options.clone(),
            network,
            lifetime,
            nodes: Mutex::new(nodes),
            guardian: Mutex::new(guardian),
            home,
        })
    }

    /// Writes the files of the first nodes. `strict`: whether clients without TLS are
    /// refused, if they are to be.
    fn configure(&self, strict: bool) -> Result<(), Error> {
        for (place, node) in (0..).zip(&self.all()) {
            let tokens = even_tokens(place, self.options.nodes);
            node.configure(&self.options, &self.seeds(), false, Some(tokens), strict)?;
        }
        Ok(())
    }

    /// Starts the first nodes, all at once: with tokens of their own and each its own
    /// seed, none waits for another.
    fn launch_all(&self, archive_to: Option<&Path>) -> Result<(), Error> {
        let nodes = self.all();
        for node in &nodes {
            self.launch(node, FIRST_RING_DELAY_MS, archive_to)?;
        }
        for node in &nodes {
            node.answers(self.options.patience)?;
        }
        Ok(())
    }

    fn launch(
        &self,
        node: &Node,
        ring_delay_ms: u32,
        archive_to: Option<&Path>,
    ) -> Result<(), Error> {
        if let Some(guardian) = lock(&self.guardian).as_mut() {
            guardian.guard(node.folder())?;
        }
        node.launch(&Start {
            archive_to,
            ..self.starting(ring_delay_ms)
        })
    }

    /// Starts the nodes, none of which runs, and lets them replay of their commit log what is
    /// of one keyspace.
    pub(super) fn replay(&self, keyspace: &str) -> Result<(), Error> {
        let nodes = self.all();
        for node in &nodes {
            node.launch(&Start {
                replay: Some(keyspace),
                ..self.starting(FIRST_RING_DELAY_MS)
            })?;
        }
        for node in &nodes {
            node.answers(self.options.patience)?;
        }
        self.agree()
    }

    fn starting(&self, ring_delay_ms: u32) -> Start<'_> {
        Start {
            installation: &self.installation,
            options: &self.options,
            ring_delay_ms,
            lifetime: self.lifetime,
            archive_to: None,
            replay: None,
        }
    }

    /// Where clients speak CQL: the addresses that the nodes give for themselves, also those
    /// that do not run.
    pub fn contact_points(&self) -> Vec<SocketAddr> {
        let at = |node: &Arc<Node>| SocketAddr::from((node.announced, CQL_PORT));
        self.all().iter().map(at).collect()
    }

    /// The numbers of all nodes.
    pub fn nodes(&self) -> Vec<u8> {
        self.all().iter().map(|node| node.number).collect()
    }

    /// Where one node itself listens for clients.
    ///
    /// # Errors
    /// There is no such node.
    pub fn address(&self, number: u8) -> Result<SocketAddr, Error> {
        Ok(self.node(number)?.address())
    }

    /// The version of Cassandra.
    pub fn version(&self) -> &'static str {
        self.installation.version()
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.home.path()
    }

    /// Lets the folder stay when this is dropped, for whoever wants to look into it. Not
    /// where this process is killed.
    pub fn keep_folder(&mut self) {
        self.home.keep();
    }

    /// What a node has to say. It is there only if such a node was started.
    pub fn log(&self, number: u8) -> PathBuf {
        self.folder().join(format!("n{number}")).join("log")
    }

    /// A node's process, if it runs.
    ///
    /// # Errors
    /// There is no such node.
    pub fn process(&self, number: u8) -> Result<Option<Process>, Error> {
        Ok(self.node(number)?.process())
    }

    /// Kills a node (SIGKILL): nothing is flushed, no client gets a word. Its data stays
    /// for [`start_node`](Self::start_node).
    ///
    /// # Errors
    /// There is no such node, or it does not end.
    pub fn kill9(&self, number: u8) -> Result<(), Error> {
        self.node(number)?.kill9(self.options.patience)
    }

    /// Stops a node where it stands: connections stay open, and nothing answers.
    ///
    /// # Errors
    /// There is no such node.
    pub fn pause(&self, number: u8) -> Result<(), Error> {
        self.node(number)?.pause();
        Ok(())
    }

    /// Lets a node go on.
    ///
    /// # Errors
    /// There is no such node.
    pub fn resume(&self, number: u8) -> Result<(), Error> {
        self.node(number)?.resume();
        Ok(())
    }

    /// Stops a node cleanly (SIGTERM).
    ///
    /// # Errors
    /// There is no such node, or it does not end in time.
    pub fn stop(&self, number: u8) -> Result<(), Error> {
        self.node(number)?.stop(self.options.patience)
    }

    /// Starts a node that was stopped or killed, with its data, and waits until it
    /// serves clients. The others may take seconds more to see it:
    /// [`agree`](Self::agree).
    ///
    /// # Errors
    /// There is no such node, it runs, or it does not answer in time.
    pub fn start_node(&self, number: u8) -> Result<(), Error> {
        let node = self.node(number)?;
        if node.process().is_some() {
            return Err(node.error("it runs already".to_owned()));
        }
        self.launch(&node, FIRST_RING_DELAY_MS, None)?;
        node.answers(self.options.patience)
    }

    /// Adds a node with the next number, and waits until it serves clients: after it
    /// has fetched its data, if it is to.
    ///
    /// # Errors
    /// It does not answer in time. It is then one of the nodes nevertheless, so that
    /// its log can be read.
    pub fn add(&self, options: AddOptions) -> Result<u8, Error> {
        let node = self.next_node()?;
        let bootstrap = options.auto_bootstrap;
        node.configure(&self.options, &self.seeds(), bootstrap, None, true)?;
        self.launch(&node, RING_DELAY_MS, None)?;
        node.answers(self.options.patience)?;
        Ok(node.number)
    }

    /// Adds nodes that all start at once, one for each list of tokens: those that pick
    /// their own at the same time would pick the same. Waits until all serve clients.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_at_once(&self, options: AddOptions, tokens: &[Vec<i64>]) -> Result<Vec<u8>, Error> {
        let mut added = Vec::new();
        for tokens in tokens {
            let node = self.next_node()?;
            let list: Vec<String> = tokens.iter().map(i64::to_string).collect();
            let (bootstrap, list) = (options.auto_bootstrap, Some(list.join(",")));
            node.configure(&self.options, &self.seeds(), bootstrap, list, true)?;
            self.launch(&node, RING_DELAY_MS, None)?;
            added.push(node);
        }
        for node in &added {
            node.answers(self.options.patience)?;
        }
        Ok(added.iter().map(|node| node.number).collect())
    }

    /// A node with the next number, which does not run yet.
    fn next_node(&self) -> Result<Arc<Node>, Error> {
        let mut nodes = lock(&self.nodes);
        let number = nodes
            .last()
            .map_or(0, |node| node.number)
            .checked_add(1)
            .ok_or_else(|| self.error("it has 255 nodes".to_owned()))?;
        let ip = self.network.host(number);
        let announced = announced(&self.options, self.network, number);
        let node = Arc::new(Node::new(number, ip, announced, self.folder()));
        nodes.push(Arc::clone(&node));
        Ok(node)
    }

    /// Leaves no space on the small disk of a node.
    ///
    /// # Errors
    /// There is no such node, or it has none.
    pub fn fill_disk(&self, number: u8) -> Result<(), Error> {
        self.node(number)?.on_disk(Disk::fill)
    }

    /// Gives the space back. A node that has stopped for want of it is to be started again.
    ///
    /// # Errors
    /// There is no such node, or it has no small disk.
    pub fn empty_disk(&self, number: u8) -> Result<(), Error> {
        self.node(number)?.on_disk(Disk::empty)
    }

    /// Removes the data of a node that does not run, so that it joins as a new one.
    ///
    /// # Errors
    /// There is no such node, or it runs.
    pub fn wipe(&self, number: u8) -> Result<(), Error> {
        self.node(number)?.wipe()
    }

    /// Runs Cassandra's own tool against a node. Returns what that prints.
    ///
    /// # Errors
    /// There is no such node, or the tool fails.
    pub fn nodetool(&self, number: u8, arguments: &[&str]) -> Result<String, Error> {
        self.node(number)?.nodetool(&self.installation, arguments)
    }

    /// Runs one statement on a node at consistency QUORUM. Not over TLS, so not where
    /// that is required.
    ///
    /// # Errors
    /// There is no such node, it does not answer, or it refuses.
    pub fn query(&self, number: u8, cql: &str) -> Result<Vec<Row>, Error> {
        let credentials = self.options.authentication.as_ref();
        self.query_as(number, credentials, cql)
            .map_err(|error| refused(cql, &error))
    }

    /// Lets the nodes run after this process ends. The folder is kept.
    pub(crate) fn leave(self) -> Vec<(u8, Process)> {
        self.all()
            .iter()
            .filter_map(|node| Some((node.number, node.leave()?)))
            .collect()
    }

    pub(super) fn query_as(
        &self,
        number: u8,
        credentials: Option<&Credentials>,
        cql: &str,
    ) -> Result<Vec<Row>, CqlError> {
        let address = SocketAddr::from((self.network.host(number), CQL_PORT));
        Session::open(address, credentials, self.options.patience)?.query(cql)
    }

    /// The first nodes: one that joins must not be its own seed, or it fetches nothing.
    fn seeds(&self) -> Vec<Ipv4Addr> {
        (1..=self.options.nodes)
            .map(|number| announced(&self.options, self.network, number))
            .collect()
    }

    pub(super) fn all(&self) -> Vec<Arc<Node>> {
        lock(&self.nodes).clone()
    }

    fn node(&self, number: u8) -> Result<Arc<Node>, Error> {
        self.all()
            .into_iter()
            .find(|node| node.number == number)
            .ok_or_else(|| self.error(format!("it has no node {number}")))
    }

    pub(super) fn error(&self, what: String) -> Error {
        Error::State {
            engine: format!("{NAME} on {}", self.network.host(1)),
            what,
        }
    }
}

/// The address that a node gives for itself.
fn announced(options: &Options, network: Network, number: u8) -> Ipv4Addr {
    match &options.broadcast {
        Some(broadcast) => broadcast.host(number),
        None => network.host(number),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn refused(statement: &str, error: &CqlError) -> Error {
    Error::Refused {
        engine: NAME,
        statement: statement.to_owned(),
        why: error.to_string(),
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Its data goes with it: there is nothing to be flushed. Nobody is there to be
        // told of an error.
        for node in self.all() {
            let _killed = node.kill9(Duration::from_secs(30));
        }
        if let Some(guardian) = lock(&self.guardian).take() {
            guardian.dismiss();
        }
    }
}
