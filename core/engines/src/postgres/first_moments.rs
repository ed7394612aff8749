//! The first moments of a server: its data, its settings, its process, its database.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use super::NAME;
use super::configuration::{self, SUPERUSER, quoted};
use super::options::{Authentication, DATABASE, USER};
use super::server::{CERTIFICATE, KEY, PAUSE, Server, refused};
use super::wire::WireError;
use crate::error::{Doing, Error};
use crate::launch::{Launch, command};
use crate::patience::Deadline;
use crate::processes::{Process, gone, working_in};
use crate::programs;

impl Server {
    /// Makes its data, aside and then moved: half of it is never taken for all.
    pub(super) fn initialise(&self) -> Result<(), Error> {
        let aside = self.folder().join("initdb");
        let about = || format!("writing {}", aside.display());
        if aside.exists() {
            std::fs::remove_dir_all(&aside).doing(about)?;
        }
        let mut words = self.identity.prefix();
        words.push(self.binaries.folder.join("initdb").into());
        for word in ["--username", SUPERUSER, "--auth=trust", "--encoding=UTF8"] {
            words.push(word.into());
        }
        for word in ["--locale=C", "--data-checksums", "--no-sync", "--pgdata"] {
            words.push(word.into());
        }
        words.push(aside.clone().into());
        let mut initdb = command(&words, self.folder())?;
        let output = programs::run(&mut initdb)?;
        if output.status.success() {
            return std::fs::rename(&aside, self.data()).doing(about);
        }
        Err(Error::State {
            engine: NAME.to_owned(),
            what: format!(
                "initdb failed ({}):\n{}",
                output.status,
                programs::printed(&output, 20)
            ),
        })
    }

    pub(super) fn configure(&self) -> Result<(), Error> {
        let data = self.data();
        let about = || format!("writing the settings to {}", data.display());
        let settings = configuration::settings(
            &self.options,
            self.port,
            self.folder(),
            self.upstream.as_ref(),
        );
        let include = format!("include = '{}'\n", configuration::SETTINGS_FILE);
        let main = data.join("postgresql.conf");
        let text = std::fs::read_to_string(&main).doing(about)?;
        if !text.ends_with(&include) {
            std::fs::write(&main, format!("{text}\n{include}")).doing(about)?;
        }
        let mut files = vec![main];
        let mut write = |name: &str, content: &[u8]| {
            let path = data.join(name);
            std::fs::write(&path, content).doing(about)?;
            let private = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(&path, private).doing(about)?;
            files.push(path);
            Ok::<_, Error>(())
        };
        write(configuration::SETTINGS_FILE, settings.as_bytes())?;
        write(
            "pg_hba.conf",
            configuration::access(&self.options).as_bytes(),
        )?;
        if let Some(tls) = &self.options.tls {
            for (name, source) in [(CERTIFICATE, &tls.certificate), (KEY, &tls.key)] {
                let content =
                    std::fs::read(source).doing(|| format!("reading {}", source.display()))?;
                write(name, &content)?;
            }
        }
        for file in files {
            self.identity.give(&file)?;
        }
        Ok(())
    }

    /// Starts the process and waits until it answers.
    pub(super) fn launch(&self) -> Result<(), Error> {
        let mut running = self.running();
        let data = self.data();
        self.clear_locks_of_dead()?;
        let mut started = Launch {
            identity: &self.identity,
            words: [
                OsString::from(self.binaries.folder.join("postgres")),
                OsString::from("-D"),
                data.into_os_string(),
            ]
            .into(),
            folder: self.folder(),
            log: &self.log(),
            lifetime: self.lifetime,
        }
        .start()?;
        let deadline = Deadline::after(self.options.patience);
        let answered = deadline.until(PAUSE, || {
            if let Some(status) = started.ended() {
                return Some(Err(format!("it ended ({status})")));
            }
            let asked = self
                .session("postgres")
                .and_then(|mut session| session.query("SELECT 1"));
            match asked {
                Ok(_) => Some(Ok(())),
                // Not listening yet, or (57P03) listening and not ready.
                Err(WireError::Io(_)) => None,
                Err(WireError::Server { code, .. }) if code == "57P03" => None,
                Err(error) => Some(Err(format!("it answered: {error}"))),
            }
        });
        let patience = self.options.patience.as_secs();
        let why = match answered {
            Some(Ok(())) => {
                *running = Some(started);
                return Ok(());
            }
            Some(Err(why)) => why,
            None => format!("it did not answer within {patience} s"),
        };
        let error = self.start_error(why);
        let killed = started.process().kill_tree();
        self.ended(&mut started, &killed)?;
        Err(error)
    }

    /// The lock files of a server that was killed, and that nobody has collected (a
    /// container whose first process does not), would keep this one from starting: they
    /// name a process that seems to be there. What that one left running is ended first.
    fn clear_locks_of_dead(&self) -> Result<(), Error> {
        let socket = format!(".s.PGSQL.{}.lock", self.port);
        for lock in [
            self.data().join("postmaster.pid"),
            self.folder().join(socket),
        ] {
            let text = std::fs::read_to_string(&lock).unwrap_or_default();
            let pid = text.lines().next().and_then(|line| line.parse().ok());
            let dead = pid
                .and_then(Process::now)
                .is_some_and(|process| !process.runs());
            if !dead {
                // Nobody has that number, which PostgreSQL sees by itself; or it runs.
                continue;
            }
            let about = || format!("removing {}", lock.display());
            let data = self.data().canonicalize().doing(about)?;
            let left = working_in(&data);
            for process in &left {
                process.signal(Signal::KILL);
            }
            gone(&left, self.options.patience);
            std::fs::remove_file(&lock).doing(about)?;
        }
        Ok(())
    }

    /// Makes the role and its database, if they are not there.
    pub(super) fn create_database(&self) -> Result<(), Error> {
        let password = match &self.options.authentication {
            Authentication::Trust => String::new(),
            Authentication::Password(password) => {
                format!(" PASSWORD {}", quoted(password.reveal()))
            }
        };
        let mut session = self
            .session("postgres")
            .map_err(|error| refused("connecting", &error))?;
        // What is shown of a refused statement must not have the password.
        for (there, shown, more) in [
            (
                format!("SELECT 1 FROM pg_roles WHERE rolname = '{USER}'"),
                format!("CREATE ROLE {USER} LOGIN"),
                password,
            ),
            (
                format!("SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"),
                format!("CREATE DATABASE {DATABASE} OWNER {USER}"),
                String::new(),
            ),
        ] {
            let found = session
                .query(&there)
                .map_err(|error| refused(&there, &error))?;
            if found.is_empty() {
                session
                    .query(&format!("{shown}{more}"))
                    .map_err(|error| refused(&shown, &error))?;
            }
        }
        Ok(())
    }
}
