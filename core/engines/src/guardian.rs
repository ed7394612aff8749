//! Whoever starts an engine may be killed before he can stop it. A guardian, a shell
//! in a process group of its own, holds the other end of a pipe: when that ends
//! without a word, it kills every process that works in the engine's folders, and
//! removes them.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::error::{Doing, Error};
use crate::identity::Identity;

/// `sh` script; its arguments: the signal to begin with, and the folder to remove.
///
/// It reads lines, each a folder in which an engine works, and `done` when there is
/// nothing more to guard. A process is told by its working directory, which is a
/// folder that no other has: a number may by then be somebody else's. At least ten
/// rounds: a process that is just being started is not in its folder yet.
const SCRIPT: &str = r#"
trap '' HUP INT TERM QUIT
first=$1 root=$2
shift 2
while IFS= read -r line; do
  if [ "$line" = done ]; then exit 0; fi
  set -- "$@" "$line"
done
signal() {
  found=
  for cwd in /proc/[0-9]*/cwd; do
    for folder; do
      if [ "$cwd" -ef "$folder" ]; then
        pid=${cwd%/cwd} pid=${pid#/proc/}
        if [ "$pid" != $$ ]; then kill -s "$signal" "$pid"; found=1; fi
      fi
    done
  done
}
signal=$first
signal "$@"
signal=KILL
round=0
while [ "$round" -lt 10 ] || { [ -n "$found" ] && [ "$round" -lt 100 ]; }; do
  sleep 0.1
  signal "$@"
  round=$((round + 1))
done
rm -rf -- "$root"
"#;

/// Ends what works in some folders when this process ends, however it ends.
#[derive(Debug)]
pub struct Guardian {
    shell: Child,
    pipe: ChildStdin,
}

impl Guardian {
    /// Starts one, as the identity that the guarded processes will have: another's
    /// working directories cannot be seen. `root` will be removed, and must belong to it.
    ///
    /// # Errors
    /// There is no `sh`.
    pub fn start(identity: &Identity, first: &str, root: &Path) -> Result<Self, Error> {
        let mut words = identity.prefix();
        words.extend(["sh", "-c", SCRIPT, "lombard-engines-guardian", first].map(Into::into));
        words.push(root.into());
        let [program, arguments @ ..] = words.as_slice() else {
            unreachable!("the words begin with sh")
        };
        let mut shell = Command::new(program)
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C is meant for us, who then end; it must outlive that.
            .process_group(0)
            .spawn()
            .doing(|| "starting sh, which ends engines when this process is killed".to_owned())?;
        #[expect(clippy::expect_used, reason = "it was asked for above")]
        let pipe = shell.stdin.take().expect("a pipe");
        Ok(Self { shell, pipe })
    }

    /// From now on, processes that work in this folder end with us.
    ///
    /// # Errors
    /// The guardian was killed.
    pub fn guard(&mut self, folder: &Path) -> Result<(), Error> {
        self.say(&folder.to_string_lossy())
            .doing(|| "the process that ends engines when this one is killed is gone".to_owned())
    }

    /// What works in the folder was ended: there is nothing more to guard.
    pub fn dismiss(mut self) {
        // If it is gone already, there is nobody to be told.
        let _told = self.say("done");
        let Self { mut shell, pipe } = self;
        drop(pipe);
        let _ended = shell.wait();
    }

    fn say(&mut self, line: &str) -> std::io::Result<()> {
        self.pipe.write_all(format!("{line}\n").as_bytes())?;
        self.pipe.flush()
    }
}

/// The folder in which an engine keeps everything.
#[derive(Debug)]
pub enum Home {
    /// Removed at the end.
    Temporary(tempfile::TempDir),
    /// Kept.
    Kept(PathBuf),
}

impl Home {
    /// A new one, with a short name: paths of Unix sockets end at 107 bytes.
    ///
    /// # Errors
    /// The system refuses.
    pub fn temporary() -> Result<Self, Error> {
        let folder = tempfile::Builder::new()
            .prefix("lombard-")
            // Its sockets believe whoever reaches them.
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir()
            .doing(|| {
                format!(
                    "making a temporary folder in {}",
                    std::env::temp_dir().display()
                )
            })?;
        Ok(Self::Temporary(folder))
    }

    /// A temporary one is kept from now on.
    pub fn keep(&mut self) {
        let path = self.path().to_owned();
        if let Self::Temporary(folder) = std::mem::replace(self, Self::Kept(path)) {
            // Its path is known already.
            let _path = folder.keep();
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Kept(folder) => folder,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};
    use std::time::Duration;

    use rustix::process::Signal;

    use super::*;
    use crate::processes::{Process, gone};

    const NAME: &str = "guardian::tests::who_is_killed_leaves_nothing";
    const CHILD: &str = "LOMBARD_ENGINES_TEST_CHILD";

    /// Starts what an engine would be, says where, and waits to be killed.
    #[expect(clippy::zombie_processes, reason = "it is killed before it could wait")]
    fn child() {
        let home = Home::temporary().unwrap();
        let mut guardian = Guardian::start(&Identity::Ours, "QUIT", home.path()).unwrap();
        guardian.guard(home.path()).unwrap();
        let sleep = |command: &str| {
            Command::new("sh")
                .args(["-c", command])
                .current_dir(home.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(0)
                .spawn()
                .unwrap()
        };
        // One that obeys, one that does not, and one that cannot.
        let obedient = sleep("exec sleep 600");
        let deaf = sleep("trap '' QUIT TERM; exec sleep 600");
        let paused = sleep("exec sleep 600");
        Process::now(paused.id()).unwrap().signal(Signal::STOP);
        println!(
            "\nstarted {} {} {} {}",
            obedient.id(),
            deaf.id(),
            paused.id(),
            home.path().display()
        );
        let mut nothing = Vec::new();
        std::io::stdin().read_to_end(&mut nothing).unwrap();
    }

    #[test]
    fn who_is_killed_leaves_nothing() {
        if std::env::var_os(CHILD).is_some() {
            return child();
        }
        let mut killed = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(killed.stdout.take().unwrap()).lines();
        let words: Vec<String> = lines
            .map(Result::unwrap)
            .find_map(|line| Some(line.strip_prefix("started ")?.to_owned()))
            .unwrap()
            .split(' ')
            .map(str::to_owned)
            .collect();
        let [pids @ .., folder] = words.as_slice() else {
            panic!("{words:?}")
        };
        let left: Vec<Process> = pids
            .iter()
            .map(|pid| Process::now(pid.parse().unwrap()).unwrap())
            .collect();
        assert_eq!(left.len(), 3);
        assert!(left.iter().all(|process| process.runs()));

        killed.kill().unwrap();
        killed.wait().unwrap();
        assert_eq!(gone(&left, Duration::from_secs(60)), []);
        let removed = crate::patience::Deadline::after(Duration::from_secs(60))
            .until(Duration::from_millis(20), || {
                (!Path::new(folder).exists()).then_some(())
            });
        assert!(removed.is_some(), "{folder} is still there");
    }

    #[test]
    fn a_folder_that_is_to_be_kept_stays() {
        let mut home = Home::temporary().unwrap();
        let path = home.path().to_owned();
        home.keep();
        home.keep();
        assert_eq!(home.path(), path);
        drop(home);
        assert!(path.is_dir());
        std::fs::remove_dir(path).unwrap();
    }

    #[test]
    fn who_is_dismissed_kills_nobody() {
        let home = Home::temporary().unwrap();
        let mut guardian = Guardian::start(&Identity::Ours, "KILL", home.path()).unwrap();
        guardian.guard(home.path()).unwrap();
        let mut sleep = Command::new("sleep")
            .arg("60")
            .current_dir(home.path())
            .spawn()
            .unwrap();
        // Returns when the guardian has ended.
        guardian.dismiss();
        assert!(Process::now(sleep.id()).unwrap().runs());
        assert!(home.path().exists());
        sleep.kill().unwrap();
        sleep.wait().unwrap();
    }
}
