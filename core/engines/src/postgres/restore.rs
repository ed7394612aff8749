//! Back to a moment: a base backup, the archived log behind it, a second server that replays
//! it up to there, and one schema taken from that.
//! PostgreSQL manual, chapter "Continuous Archiving and Point-in-Time Recovery (PITR)".
//!
//! By the client programs where they are installed, as operators do it. The npm package has
//! none: there by the low-level API for base backups and by `COPY`, which any client can.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::base_backup;
use super::configuration::{ARCHIVE, SUPERUSER, quoted, restore_command};
use super::options::DATABASE;
use super::server::Server;
use crate::error::{Doing, Error};
use crate::guardian::Home;
use crate::launch::{Lifetime, command};
use crate::programs;

/// A base backup: a copy of the data, from which the archived log leads to any later moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseBackup {
    /// Its folder.
    pub folder: PathBuf,
    /// By what it was made.
    pub by: &'static str,
}

impl Server {
    /// Where the segments of its log are archived, if they are
    /// ([`Options::archived`](super::Options::archived)).
    pub fn archive(&self) -> PathBuf {
        self.folder().join(ARCHIVE)
    }

    /// Whether the programs by which operators back up and restore are installed with it.
    pub fn has_client_programs(&self) -> bool {
        self.binaries.has_client_programs()
    }

    /// Makes a base backup in its folder, while it works.
    ///
    /// # Errors
    /// There is one already, or it cannot be made or is not whole.
    pub fn base_backup(&self) -> Result<BaseBackup, Error> {
        let folder = self.folder().join("backup");
        let by = if self.has_client_programs() {
            let to = folder.as_os_str();
            let port = self.port.to_string();
            let words = ["--host=127.0.0.1", "--checkpoint=fast", "--pgdata"];
            let mut words: Vec<OsString> = words.map(OsString::from).into();
            words.extend([to.to_owned(), "--username".into(), SUPERUSER.into()]);
            words.extend(["--port".into(), port.into()]);
            self.program("pg_basebackup", words)?;
            self.program("pg_verifybackup", vec![to.to_owned()])?;
            "pg_basebackup, and pg_verifybackup"
        } else {
            let label = base_backup::copy(self, &folder)?;
            base_backup::write(&folder, "backup_label", &label)?;
            self.identity.give(&folder)?;
            "pg_backup_start and pg_backup_stop"
        };
        Ok(BaseBackup { folder, by })
    }

    /// Ends the segment of the log that is being written, and waits until all are archived.
    /// How many that are.
    ///
    /// # Errors
    /// It does not answer, or archiving fails or takes too long.
    pub fn archive_all(&self) -> Result<usize, Error> {
        // What was written last is in this one.
        let last = self.single("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")?;
        // Without a write behind the last switch there is nothing to be switched.
        self.query("SELECT pg_logical_emit_message(false, 'lombard', 'the end')")?;
        self.query("SELECT pg_switch_wal()")?;
        let segment = self.archive().join(last);
        self.wait_for("archiving the last of its log", || Ok(segment.exists()))?;
        let about = || format!("reading {}", self.archive().display());
        Ok(std::fs::read_dir(self.archive()).doing(about)?.count())
    }

    /// A second server that stands where this one stood at a moment (as `timestamptz` reads
    /// it): the last commit that it has is the last one up to then. It takes writes, archives
    /// nothing, and this one is left as it is.
    ///
    /// The moment must lie behind the end of the base backup: PostgreSQL stops at the first
    /// commit behind the moment that it replays, and where there was none until that end, it
    /// stands there, later than it was told.
    ///
    /// # Errors
    /// The moment lies behind what is archived, which its log says; or it does not come up.
    pub fn restored(&self, backup: &BaseBackup, until: &str) -> Result<Self, Error> {
        let mut own = self.options.clone();
        own.port = None;
        own.archived = false;
        for (name, value) in [
            ("restore_command", restore_command(&self.archive())),
            ("recovery_target_time", until.to_owned()),
            ("recovery_target_action", "promote".to_owned()),
        ] {
            own.settings.push((name.to_owned(), value));
        }
        let home = Home::temporary()?;
        let server = Self::prepare(&self.binaries, &own, home, Lifetime::Guarded)?;
        let data = server.data();
        let from = backup.folder.clone().into_os_string();
        server.run(
            "cp".into(),
            vec!["-a".into(), from, data.clone().into_os_string()],
        )?;
        // Its presence is what makes it replay the archive.
        base_backup::write(&data, "recovery.signal", "")?;
        server.identity.give(&data)?;
        let server = server.first_start()?;
        server.wait_for("replaying the archived log", || {
            match server.single("SELECT pg_is_in_recovery()") {
                Ok(replaying) => Ok(replaying == "f"),
                // It says in its log why it does not go on.
                Err(_) if server.process().is_none() => {
                    Err(server.start_error("it ended while it replayed".to_owned()))
                }
                Err(_) => Ok(false),
            }
        })?;
        Ok(server)
    }

    /// Takes a schema with its tables from another server, where this one has none of that
    /// name, by `pg_dump` and `pg_restore`.
    ///
    /// # Errors
    /// The programs are not installed or fail. Nothing was changed then.
    pub fn take_schema(&self, from: &Self, schema: &str) -> Result<(), Error> {
        let file = from.folder().join(format!("{schema}.dump"));
        let (port, from_port) = (self.port.to_string(), from.port.to_string());
        let at = |port: &str| {
            let words = [
                "--host",
                "127.0.0.1",
                "--username",
                SUPERUSER,
                "--port",
                port,
            ];
            words.map(OsString::from)
        };
        let mut dump: Vec<OsString> = at(&from_port).into();
        dump.extend(["--format=custom", "--schema", schema, "--file"].map(OsString::from));
        dump.extend([file.clone().into_os_string(), DATABASE.into()]);
        from.program("pg_dump", dump)?;
        let mut restore: Vec<OsString> = at(&port).into();
        let words = [
            "--single-transaction",
            "--exit-on-error",
            "--dbname",
            DATABASE,
        ];
        restore.extend(words.map(OsString::from));
        restore.push(file.into());
        self.program("pg_restore", restore)
    }

    /// Replaces what is in the tables of a schema by what another server has in them, by
    /// `COPY` through files: where `pg_dump` is not installed. The tables must be there, as
    /// the same program made them.
    ///
    /// # Errors
    /// One of the two refuses. What is in the tables is then what it was.
    pub fn copy_tables(&self, from: &Self, schema: &str) -> Result<(), Error> {
        let rows = from.query(&format!(
            "SELECT tablename FROM pg_tables WHERE schemaname = {} ORDER BY 1",
            quoted(schema)
        ))?;
        let tables: Vec<String> = rows.into_iter().flatten().flatten().collect();
        // One string of statements is one transaction.
        let mut copy = String::new();
        for table in &tables {
            let file = from.folder().join(format!("{schema}.{table}.copy"));
            let file = quoted(&file.to_string_lossy());
            from.query(&format!("COPY {schema}.{table} TO {file} (FORMAT binary)"))?;
            copy.push_str(&format!(
                "TRUNCATE {schema}.{table}; COPY {schema}.{table} FROM {file} (FORMAT binary); "
            ));
        }
        let rows = from.query(&format!(
            "SELECT sequencename, last_value FROM pg_sequences
             WHERE schemaname = {} AND last_value IS NOT NULL",
            quoted(schema)
        ))?;
        for row in rows {
            if let [Some(sequence), Some(last)] = row.as_slice() {
                let sequence = quoted(&format!("{schema}.{sequence}"));
                copy.push_str(&format!("SELECT setval({sequence}, {last}); "));
            }
        }
        self.query(&copy).map(|_| ())
    }

    /// The single value that a statement gives.
    fn single(&self, sql: &str) -> Result<String, Error> {
        let rows = self.query(sql)?;
        Ok(rows
            .into_iter()
            .flatten()
            .flatten()
            .next()
            .unwrap_or_default())
    }

    /// Runs a client program to its end, as who runs the server.
    fn program(&self, name: &str, arguments: Vec<OsString>) -> Result<(), Error> {
        self.run(self.binaries.folder.join(name).into(), arguments)
    }

    fn run(&self, program: OsString, arguments: Vec<OsString>) -> Result<(), Error> {
        let mut words = self.identity.prefix();
        words.push(program);
        words.extend(arguments);
        let mut program: Command = command(&words, self.folder())?;
        let output = programs::run(&mut program)?;
        if output.status.success() {
            return Ok(());
        }
        Err(self.state(format!(
            "{} failed ({}):\n{}",
            programs::shown(&program),
            output.status,
            programs::printed(&output, 20)
        )))
    }
}

/// Makes the folder of the archive, where it is not there.
pub(super) fn make_archive(server: &Server) -> Result<(), Error> {
    let folder = server.archive();
    if server.options.archived && !Path::new(&folder).exists() {
        std::fs::create_dir(&folder).doing(|| format!("making {}", folder.display()))?;
        server.identity.give(&folder)?;
    }
    Ok(())
}
