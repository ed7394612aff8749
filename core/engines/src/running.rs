//! Engines that a person has started: they go on until they are stopped, and keep
//! their data.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::address;
use crate::cache::Cache;
use crate::engine::{Engine, Member};
use crate::error::{Doing, Error};
use crate::processes::gone;
use crate::progress::{Tell, Tells};

/// How long it may take to stop, before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// What was started, as it is written down beside the data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its servers.
    pub members: Vec<Member>,
}

/// An engine's place in the cache for what a person starts.
#[derive(Debug)]
pub struct Place<'a> {
    engine: &'a dyn Engine,
    cache: &'a Cache,
}

impl<'a> Place<'a> {
    /// Of this engine.
    pub fn of(engine: &'a dyn Engine, cache: &'a Cache) -> Self {
        Self { engine, cache }
    }

    /// The folder of its data.
    pub fn folder(&self) -> PathBuf {
        self.cache.running(self.engine.name())
    }

    /// What was started; `None` if nothing of it runs.
    ///
    /// # Errors
    /// What was written down cannot be read.
    pub fn started(&self) -> Result<Option<Started>, Error> {
        let path = self.file();
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).doing(|| format!("reading {}", path.display())),
        };
        let started: Started =
            serde_json::from_slice(&text).doing(|| format!("reading {}", path.display()))?;
        let runs = started.members.iter().any(|member| member.process.runs());
        Ok(runs.then_some(started))
    }

    /// Starts it, if it does not run wholly. With `fresh`, without the data of before.
    /// Returns what runs, and whether it did before.
    ///
    /// # Errors
    /// Its addresses are taken, it cannot be installed, or it does not answer in time.
    pub fn start(&self, fresh: bool, tell: Tell<'_>) -> Result<(Started, bool), Error> {
        let _lock = self.lock()?;
        if let Some(started) = self.started()? {
            let whole = started.members.iter().all(|member| member.process.runs());
            if whole && !fresh {
                return Ok((started, true));
            }
            let why = if whole {
                "to begin afresh"
            } else {
                "part of it ended"
            };
            tell.tell(self.engine.name(), format!("stopping it first: {why}"));
            self.end(&started)?;
        }
        for taken in self.engine.addresses() {
            if !address::is_free(taken) {
                return Err(self.error(format!(
                    "{taken} is taken by another process: stop that one first (`ss -ltnp` names it)"
                )));
            }
        }
        let folder = self.folder();
        if fresh && folder.exists() {
            std::fs::remove_dir_all(&folder).doing(|| format!("removing {}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder).doing(|| format!("making {}", folder.display()))?;
        let members = self.engine.start(self.cache, &folder, tell)?;
        let started = Started { members };
        let file = self.file();
        let about = || format!("writing {}", file.display());
        let text = serde_json::to_vec_pretty(&started).doing(about)?;
        std::fs::write(&file, text).doing(about)?;
        Ok((started, false))
    }

    /// Stops it; its data is kept. Returns whether anything ran.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(&self) -> Result<bool, Error> {
        let _lock = self.lock()?;
        match self.started()? {
            Some(started) => self.end(&started).map(|()| true),
            None => Ok(false),
        }
    }

    fn end(&self, started: &Started) -> Result<(), Error> {
        let mut all = Vec::new();
        for member in &started.members {
            all.extend(member.process.tree());
            member.process.resume_tree();
            member.process.signal(self.engine.stop_signal());
        }
        for late in gone(&all, STOP_PATIENCE) {
            late.kill_tree();
        }
        let left = gone(&all, STOP_PATIENCE);
        if !left.is_empty() {
            return Err(self.error(format!("these of its processes did not end: {left:?}")));
        }
        let file = self.file();
        std::fs::remove_file(&file).doing(|| format!("removing {}", file.display()))
    }

    /// Beside the data, which may belong to another user.
    fn file(&self) -> PathBuf {
        self.folder().with_extension("json")
    }

    fn lock(&self) -> Result<File, Error> {
        let path = self.folder().with_extension("lock");
        let about = || format!("locking {}", path.display());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).doing(about)?;
        }
        let file = File::create(&path).doing(about)?;
        flock(&file, FlockOperation::LockExclusive).doing(about)?;
        Ok(file)
    }

    fn error(&self, what: String) -> Error {
        Error::State {
            engine: self.engine.name().to_owned(),
            what,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};
    use std::path::Path;
    use std::process::Command;

    use rustix::process::Signal;

    use super::*;
    use crate::engine::Installed;
    use crate::processes::Process;
    use crate::progress::Progress;

    /// An engine that is two `sleep`s.
    #[derive(Debug)]
    struct Sleep(u16);

    impl Engine for Sleep {
        fn name(&self) -> &'static str {
            "sleep"
        }

        fn installed(&self, _cache: &Cache) -> Result<Option<Installed>, Error> {
            Ok(None)
        }

        fn install(
            &self,
            _cache: &Cache,
            _verify: bool,
            _tell: Tell<'_>,
        ) -> Result<Installed, Error> {
            Err(Error::State {
                engine: "sleep".to_owned(),
                what: "it is always there".to_owned(),
            })
        }

        fn addresses(&self) -> Vec<SocketAddr> {
            vec![SocketAddr::from((Ipv4Addr::LOCALHOST, self.0))]
        }

        fn start(
            &self,
            _cache: &Cache,
            folder: &Path,
            _tell: Tell<'_>,
        ) -> Result<Vec<Member>, Error> {
            std::fs::write(folder.join("data"), "kept").doing(String::new)?;
            let member = || {
                let child = Command::new("sleep").arg("60").spawn().doing(String::new)?;
                Ok::<_, Error>(Member {
                    process: Process::now(child.id()).unwrap(),
                    address: self.addresses()[0],
                    log: folder.join("log"),
                })
            };
            Ok(vec![member()?, member()?])
        }

        fn stop_signal(&self) -> Signal {
            Signal::TERM
        }

        fn reach(&self) -> String {
            String::new()
        }
    }

    #[test]
    fn what_was_started_is_found_again_and_stopped_and_its_data_kept() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        let engine = Sleep(address::free_port(Ipv4Addr::LOCALHOST).unwrap());
        let place = Place::of(&engine, &cache);
        assert_eq!(place.started().unwrap(), None);
        assert!(!place.stop().unwrap());

        let (started, before) = place.start(false, &Progress::ignore).unwrap();
        assert!(!before);
        assert_eq!(place.started().unwrap().as_ref(), Some(&started));
        let (again, before) = place.start(false, &Progress::ignore).unwrap();
        assert_eq!((again, before), (started.clone(), true));

        // One of two ended: the other is stopped and both are started.
        started.members[0].process.kill_tree();
        gone(&[started.members[0].process], STOP_PATIENCE);
        let (anew, before) = place.start(false, &Progress::ignore).unwrap();
        assert!(!before);
        assert!(!started.members[1].process.runs());

        assert!(place.stop().unwrap());
        assert!(anew.members.iter().all(|member| !member.process.runs()));
        assert_eq!(place.started().unwrap(), None);
        let data = place.folder().join("data");
        assert_eq!(std::fs::read_to_string(&data).unwrap(), "kept");

        std::fs::write(place.folder().join("more"), "").unwrap();
        place.start(true, &Progress::ignore).unwrap();
        assert!(!place.folder().join("more").exists());
        place.stop().unwrap();
    }

    #[test]
    fn an_address_that_is_taken_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let engine = Sleep(address.port());
        let error = Place::of(&engine, &cache)
            .start(false, &Progress::ignore)
            .unwrap_err()
            .to_string();
        assert!(error.contains(&format!("{address} is taken")), "{error}");
    }
}
