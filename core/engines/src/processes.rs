//! Processes and those that they started: signals to all of them, and waiting for
//! their end. Read from `/proc`.

use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::patience::Deadline;

/// A process, told apart from a later one with the same number by when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Clock ticks from the start of the system to its own.
    pub started_ticks: u64,
}

/// One line of `/proc/PID/stat`.
struct Stat {
    pid: u32,
    parent: u32,
    state: char,
    started_ticks: u64,
}

impl Process {
    /// The process that has this number now.
    pub fn now(pid: u32) -> Option<Self> {
        stat(pid).map(|stat| stat.process())
    }

    /// Whether it still runs. One that has ended and was not yet collected by its
    /// parent does not.
    pub fn runs(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.runs() && stat.process() == self)
    }

    /// The memory in RAM of it and all that it started, in bytes: what each has to
    /// itself, and once what they share.
    pub fn memory_bytes(self) -> u64 {
        let mut own = 0;
        let mut shared = 0;
        for process in self.tree() {
            let path = format!("/proc/{}/status", process.pid);
            let status = std::fs::read_to_string(path).unwrap_or_default();
            own += field_bytes(&status, "RssAnon:");
            let seen = field_bytes(&status, "RssFile:") + field_bytes(&status, "RssShmem:");
            shared = shared.max(seen);
        }
        own + shared
    }

    /// Itself and all that it started, those that started others first.
    pub fn tree(self) -> Vec<Self> {
        let all = all();
        let mut tree = vec![self];
        let mut next = 0;
        while let Some(parent) = tree.get(next).copied() {
            tree.extend(
                all.iter()
                    .filter(|stat| stat.parent == parent.pid && stat.runs())
                    .map(Stat::process),
            );
            next += 1;
        }
        tree
    }

    /// Sends a signal, if it still runs.
    pub fn signal(self, signal: Signal) {
        if self.runs()
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            // It may have ended in between: then there is nothing left to do.
            let _sent = kill_process(pid, signal);
        }
    }

    /// Stops it and all that it started where they stand, as if the machine hung.
    pub fn pause_tree(self) -> Vec<Self> {
        // A process that starts others must not do so while they are listed.
        self.signal(Signal::STOP);
        let tree = self.tree();
        for process in &tree {
            process.signal(Signal::STOP);
        }
        tree
    }

    /// Lets it and all that it started go on.
    pub fn resume_tree(self) {
        for process in self.tree() {
            process.signal(Signal::CONT);
        }
    }

    /// Kills it and all that it started at once, as if the machine lost its power.
    /// Returns whom it killed, which may take a moment to end.
    pub fn kill_tree(self) -> Vec<Self> {
        let tree = self.pause_tree();
        for process in &tree {
            process.signal(Signal::KILL);
        }
        tree
    }
}

/// Those whose working directory is this folder, as far as we may see that.
pub fn working_in(folder: &Path) -> Vec<Process> {
    let works = |pid: u32| {
        std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|place| place == folder)
    };
    all()
        .iter()
        .filter(|stat| stat.runs() && works(stat.pid))
        .map(Stat::process)
        .collect()
}

/// Waits until none of them runs. Returns those that still do.
pub fn gone(processes: &[Process], patience: Duration) -> Vec<Process> {
    let deadline = Deadline::after(patience);
    let running = || -> Vec<Process> {
        processes
            .iter()
            .copied()
            .filter(|process| process.runs())
            .collect()
    };
    deadline
        .until(Duration::from_millis(2), || {
            running().is_empty().then(Vec::new)
        })
        .unwrap_or_else(running)
}

impl Stat {
    fn process(&self) -> Process {
        Process {
            pid: self.pid,
            started_ticks: self.started_ticks,
        }
    }

    fn runs(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }

    /// `1 (name) S 0 …`: the name may contain spaces and parentheses. The fields are
    /// those of proc_pid_stat(5): 3 state, 4 parent, 22 start time.
    fn parse(line: &str) -> Option<Self> {
        let pid = line.split_once(' ')?.0.parse().ok()?;
        let (_, after_name) = line.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            pid,
            state: field(3)?.chars().next()?,
            parent: field(4)?.parse().ok()?,
            started_ticks: field(22)?.parse().ok()?,
        })
    }
}

/// `RssAnon:     8240 kB`
fn field_bytes(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kibibytes.and_then(|text| text.parse().ok()).unwrap_or(0) * 1024
}

fn stat(pid: u32) -> Option<Stat> {
    Stat::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn all() -> Vec<Stat> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_line_is_read_whatever_the_name_is() {
        let line = "42 (a) b (c) S 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 2 18446744073709551615";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.pid, stat.parent, stat.state), (42, 7, 'S'));
        assert_eq!(stat.started_ticks, 987_654);
        assert!(Stat::parse("42 (a) S").is_none());
        assert!(Stat::parse("").is_none());
    }

    #[test]
    fn who_works_in_a_folder_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        assert_eq!(working_in(&folder), []);
        let mut sleep = Command::new("sleep")
            .arg("60")
            .current_dir(&folder)
            .spawn()
            .unwrap();
        let process = Process::now(sleep.id()).unwrap();
        assert_eq!(working_in(&folder), [process]);
        sleep.kill().unwrap();
        sleep.wait().unwrap();
        assert_eq!(working_in(&folder), []);
    }

    #[test]
    fn a_tree_is_paused_resumed_and_killed() {
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 600 & sleep 600 & echo started; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = shell.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).unwrap();
        let process = Process::now(shell.id()).unwrap();
        let tree = process.tree();
        assert_eq!(tree.len(), 3);
        assert!(process.memory_bytes() > 0);
        assert_eq!(
            field_bytes("A: 1\nRssAnon:     8240 kB\n", "RssAnon:"),
            8_437_760
        );

        let states = || -> Vec<char> {
            tree.iter()
                .map(|process| stat(process.pid).unwrap().state)
                .collect()
        };
        process.pause_tree();
        let deadline = Deadline::after(Duration::from_secs(10));
        deadline
            .until(Duration::from_millis(1), || {
                (states() == ['T', 'T', 'T']).then_some(())
            })
            .unwrap();
        process.resume_tree();
        deadline
            .until(Duration::from_millis(1), || {
                (!states().contains(&'T')).then_some(())
            })
            .unwrap();

        assert_eq!(process.kill_tree().len(), 3);
        assert!(gone(&tree, Duration::from_secs(10)).is_empty());
        // Not collected yet, and nevertheless gone.
        assert!(!process.runs());
        shell.wait().unwrap();
        let later = Process {
            started_ticks: process.started_ticks + 1,
            ..Process::now(std::process::id()).unwrap()
        };
        assert!(!later.runs(), "another process with the same number");
    }
}
