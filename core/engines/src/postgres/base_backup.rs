//! A replica, made from a running primary by the low-level base backup interface: the
//! npm package has no `pg_basebackup`.
//! <https://www.postgresql.org/docs/current/continuous-archiving.html>, "Making a Base
//! Backup Using the Low Level API".

use std::io;
use std::path::Path;

use super::configuration::{SUPERUSER, Upstream, quoted};
use super::options::ReplicaOptions;
use super::server::Server;
use super::wire::Session;
use super::{DATABASE, NAME};
use crate::error::{Doing, Error};
use crate::guardian::Home;
use crate::launch::Lifetime;

/// Left out of the copy: what belongs to the running process.
const NOT_COPIED: [&str; 3] = ["postmaster.pid", "postmaster.opts", "pg_internal.init"];

/// Folders whose contents are left out: what they held is made again, or streamed.
const EMPTIED: [&str; 8] = [
    "pg_wal",
    "pg_replslot",
    "pg_dynshmem",
    "pg_notify",
    "pg_serial",
    "pg_snapshots",
    "pg_stat_tmp",
    "pg_subtrans",
];

/// Makes a replica of a running primary, and waits until it follows.
pub fn replica(primary: &Server, options: &ReplicaOptions) -> Result<Server, Error> {
    let mut own = primary.options.clone();
    own.port = None;
    let home = Home::temporary()?;
    let mut replica = Server::prepare(&primary.binaries, &own, home, Lifetime::Guarded)?;
    let name = name(&replica);
    let label = copy(primary, &replica.data())?;
    write(&replica.data(), "backup_label", &label)?;
    // Its presence is what makes it a replica.
    write(&replica.data(), "standby.signal", "")?;
    replica.identity.give(&replica.data())?;

    let through = options.through.unwrap_or_else(|| primary.address());
    let (host, port) = (through.ip(), through.port());
    replica.follow(Upstream {
        connection: format!("host={host} port={port} user={SUPERUSER} application_name={name}"),
    });
    let replica = replica.first_start()?;
    let following = |column: &str, wanted: &str| {
        let sql = format!(
            "SELECT {column} FROM pg_stat_replication WHERE application_name = {}",
            quoted(&name)
        );
        Ok(primary.query(&sql)? == [[Some(wanted.to_owned())]])
    };
    replica.wait_for("following its primary", || following("state", "streaming"))?;
    if options.synchronous {
        primary.set("synchronous_standby_names", &name)?;
        replica.wait_for("becoming synchronous", || following("sync_state", "sync"))?;
    }
    Ok(replica)
}

/// A name that no other has, of letters and digits alone.
fn name(replica: &Server) -> String {
    let folder = replica.folder().file_name().unwrap_or_default();
    let letters = folder.to_string_lossy();
    let letters = letters.chars().filter(char::is_ascii_alphanumeric);
    letters.flat_map(char::to_lowercase).collect()
}

/// Copies the primary's data while it runs. Returns the contents of `backup_label`,
/// by which the copy knows from where to replay.
pub(super) fn copy(primary: &Server, to: &Path) -> Result<String, Error> {
    let refused = |error: super::wire::WireError| Error::Refused {
        engine: NAME,
        statement: "a base backup".to_owned(),
        why: error.to_string(),
    };
    // The backup is over when its session ends.
    let mut session: Session = primary.session(DATABASE).map_err(refused)?;
    session
        .query("SELECT pg_backup_start('replica', fast => true)")
        .map_err(refused)?;
    let data = primary.data();
    copy_folder(&data, to, true)
        .doing(|| format!("copying {} to {}", data.display(), to.display()))?;
    let rows = session
        .query("SELECT labelfile FROM pg_backup_stop(wait_for_archive => false)")
        .map_err(refused)?;
    let label = rows.into_iter().flatten().flatten().next();
    Ok(label.unwrap_or_default())
}

fn copy_folder(from: &Path, to: &Path, whole: bool) -> io::Result<()> {
    std::fs::create_dir(to)?;
    std::fs::set_permissions(to, from.metadata()?.permissions())?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if NOT_COPIED.iter().any(|left_out| name == *left_out) {
            continue;
        }
        let target = to.join(&name);
        let copied = if entry.file_type()?.is_dir() {
            // pg_wal's folders are kept, empty.
            let emptied = EMPTIED.iter().any(|emptied| name == *emptied);
            copy_folder(&entry.path(), &target, whole && !emptied)
        } else if whole {
            std::fs::copy(entry.path(), &target).map(|_| ())
        } else {
            continue;
        };
        match copied {
            // A server that runs removes files: what it still needs is in its log.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

/// Writes a file into the data.
pub(super) fn write(data: &Path, name: &str, content: &str) -> Result<(), Error> {
    let path = data.join(name);
    std::fs::write(&path, content).doing(|| format!("writing {}", path.display()))
}
