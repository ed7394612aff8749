//! Back to a moment: a snapshot of each node, the archived commit log behind it, and a
//! cluster of fresh nodes with the same tokens that replays it up to there.
//! Cassandra manual, "commitlog-archiving.properties file" and "Backups".
//!
//! What decides is the timestamp of a mutation: a node replays those up to the moment, one by
//! one, whatever their order in its log (`CommitLogReplayer.pointInTimeExceeded`). That of a
//! conditional batch is its ballot, one for all replicas. So a commit is on all of those that
//! had it, or on none, whatever their clocks say.

use std::path::{Path, PathBuf};

use super::NAME;
use super::cluster::Cluster;
use super::node::Node;
use super::options::Options;
use crate::error::{Doing, Error};

/// The folder of a node's archived commit log.
pub const ARCHIVE: &str = "archive";
/// The folder of a node that is on its class path, and the file in it.
const ON_CLASS_PATH: &str = "conf";
const PROPERTIES: &str = "commitlog_archiving.properties";
/// Where a restored node finds the log to be replayed.
const TO_REPLAY: &str = "replay";
/// In a snapshot's folder, beside what belongs to the table's.
const ABOUT_THE_SNAPSHOT: [&str; 2] = ["manifest.json", "schema.cql"];

/// A snapshot of a keyspace on all nodes. Each node's is of another moment: the archived log
/// makes them one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The keyspace.
    pub keyspace: String,
    /// The snapshot's name.
    pub tag: String,
    /// The statements that make the keyspace and its tables, with their identities: the log
    /// knows a table by nothing else.
    schema: Vec<String>,
}

/// A cluster that was put back, and what was done for it.
#[derive(Debug)]
pub struct Restored {
    /// The cluster, on addresses of its own.
    pub cluster: Cluster,
    /// Segments of the commit log that its nodes were given.
    pub segments: usize,
}

impl Cluster {
    /// Takes a snapshot of a keyspace on each node, while they work.
    ///
    /// # Errors
    /// A node does not answer.
    pub fn snapshot(&self, keyspace: &str, tag: &str) -> Result<Snapshot, Error> {
        let rows = self.query(1, &format!("DESCRIBE KEYSPACE {keyspace} WITH INTERNALS"))?;
        // keyspace_name, type, name, create_statement
        let statements = rows.into_iter().filter_map(|row| row.into_iter().nth(3)?);
        let schema: Vec<String> = statements
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .collect();
        self.on_each(|node| {
            let arguments = ["snapshot", "--tag", tag, keyspace];
            node.nodetool(&self.installation, &arguments).map(|_| ())
        })?;
        Ok(Snapshot {
            keyspace: keyspace.to_owned(),
            tag: tag.to_owned(),
            schema,
        })
    }

    /// Starts a cluster of as many fresh nodes with the same tokens, which has of this one
    /// what the snapshot's keyspace held at a moment (`yyyy:MM:dd HH:mm:ss.SSSSSS`, GMT), and
    /// nothing else. This one goes on. What its nodes have not archived yet is copied from
    /// their commit log as it is.
    ///
    /// # Errors
    /// Nodes do not start, or the log cannot be replayed, which theirs say.
    pub fn restored(&self, snapshot: &Snapshot, until: &str) -> Result<Restored, Error> {
        let own = Options {
            archived: false,
            broadcast: None,
            small_disk: None,
            ..self.options.clone()
        };
        let cluster = Self::start(&own)?;
        for statement in &snapshot.schema {
            cluster.query(1, statement)?;
        }
        cluster.agree()?;
        // The next start replays this keyspace alone: nothing of their own may be left in
        // their commit log.
        cluster.on_each(|node| {
            node.nodetool(&cluster.installation, &["drain"])?;
            node.stop(cluster.options.patience)
        })?;
        let mut segments = 0;
        for (from, to) in self.all().iter().zip(cluster.all()) {
            put_snapshot(from, &to, snapshot)?;
            segments += put_log(from, &to)?;
            let folder = to.folder().join(TO_REPLAY);
            configure(
                &to,
                &format!(
                    "restore_command=/bin/cp -f %from %to\nrestore_directories={}\n\
                     restore_point_in_time={until}\n",
                    folder.display()
                ),
            )?;
        }
        cluster.replay(&snapshot.keyspace)?;
        // Or the next start would replay it once more, and nothing behind the moment with it.
        cluster.on_each(|node| {
            let file = node.folder().join(ON_CLASS_PATH).join(PROPERTIES);
            std::fs::remove_file(&file).doing(|| format!("removing {}", file.display()))?;
            let keyspace = snapshot.keyspace.as_str();
            node.nodetool(&cluster.installation, &["flush", keyspace])
                .map(|_| ())
        })?;
        // What one replica alone had got of a commit at the moment, the others get.
        for node in cluster.all() {
            let arguments = [
                "repair",
                "--full",
                "--partitioner-range",
                &snapshot.keyspace,
            ];
            node.nodetool(&cluster.installation, &arguments)?;
        }
        Ok(Restored { cluster, segments })
    }

    /// Does something with each node, with all at once.
    fn on_each(&self, work: impl Fn(&Node) -> Result<(), Error> + Sync) -> Result<(), Error> {
        let nodes = self.all();
        std::thread::scope(|scope| {
            let working: Vec<_> = nodes
                .iter()
                .map(|node| scope.spawn(|| work(node)))
                .collect();
            let mut done = Ok(());
            for thread in working {
                let of_one = thread
                    .join()
                    .unwrap_or_else(|_| Err(self.error("a thread panicked".to_owned())));
                done = done.and(of_one);
            }
            done
        })
    }
}

/// What makes a node archive its commit log. `cp` may be torn by a crash: a node archives all
/// that it finds in its commit log again when it starts.
pub fn archiving(folder: &Path) -> String {
    format!("archive_command=/bin/cp %path {}/%name\n", folder.display())
}

/// Writes what the archiver of a node is told.
pub fn configure(node: &Node, properties: &str) -> Result<(), Error> {
    let folder = node.folder().join(ON_CLASS_PATH);
    let about = || format!("writing {} to {}", PROPERTIES, folder.display());
    std::fs::create_dir_all(&folder).doing(about)?;
    std::fs::write(folder.join(PROPERTIES), properties).doing(about)
}

/// What the class path of a node has behind the jars, if there is something.
pub fn on_class_path(node: &Node) -> Option<PathBuf> {
    let folder = node.folder().join(ON_CLASS_PATH);
    folder.join(PROPERTIES).is_file().then_some(folder)
}

/// Copies a node's snapshot to where another has the same tables.
fn put_snapshot(from: &Node, to: &Node, snapshot: &Snapshot) -> Result<(), Error> {
    let within = Path::new("data/data").join(&snapshot.keyspace);
    for table in files(&from.folder().join(&within))? {
        let name = table.file_name().unwrap_or_default();
        let place = to.folder().join(&within).join(name);
        let taken = table.join("snapshots").join(&snapshot.tag);
        // A table that was made later has none.
        if !taken.is_dir() {
            continue;
        }
        if !place.is_dir() {
            return Err(Error::State {
                engine: NAME.to_owned(),
                what: format!(
                    "there is no {} to take {}",
                    place.display(),
                    taken.display()
                ),
            });
        }
        for file in files(&taken)? {
            let name = file.file_name().unwrap_or_default();
            if !ABOUT_THE_SNAPSHOT.iter().any(|about| name == *about) {
                copy(&file, &place.join(name))?;
            }
        }
    }
    Ok(())
}

/// Copies a node's commit log to where another will replay it. How many segments.
fn put_log(from: &Node, to: &Node) -> Result<usize, Error> {
    let folder = to.folder().join(TO_REPLAY);
    std::fs::create_dir_all(&folder).doing(|| format!("making {}", folder.display()))?;
    // First what it still has, whole or as far as it is synced: what goes meanwhile is
    // archived before it does.
    for kept in [
        from.folder().join("data/commitlog"),
        from.folder().join(ARCHIVE),
    ] {
        for file in files(&kept)? {
            let place = folder.join(file.file_name().unwrap_or_default());
            if place.exists() {
                continue;
            }
            match std::fs::copy(&file, &place) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                copied => {
                    copied.doing(|| format!("copying {}", file.display()))?;
                }
            }
        }
    }
    files(&folder).map(|files| files.len())
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::copy(from, to)
        .map(|_| ())
        .doing(|| format!("copying {} to {}", from.display(), to.display()))
}

/// What is in a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let about = || format!("reading {}", folder.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).doing(about)? {
        found.push(entry.doing(about)?.path());
    }
    found.sort();
    Ok(found)
}
