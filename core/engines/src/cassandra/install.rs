//! Getting Cassandra.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::java::{self, Java};
use super::{NAME, archive};
use crate::cache::{Cache, Found, Package};
use crate::error::{Doing, Error, Missing};
use crate::programs;
use crate::progress::{Tell, Tells};

/// The version of `org.apache.cassandra:cassandra-all`.
pub(super) const VERSION: &str = "5.0.9";

/// The plugin of Maven that brings an artifact and all that it needs.
const PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";

const PACKAGE: Package = Package {
    engine: NAME,
    version: VERSION,
    sha256: "1a9f2968d1b7c3e85249cb365983ec626aff3d07186da41cd211174ffe3a6328",
};

/// Cassandra as an engine.
#[derive(Debug, Clone, Copy)]
pub struct Cassandra;

/// Where it is, and the Java that runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    pub(super) java: Java,
    pub(super) jars: PathBuf,
    /// Its classes as Java keeps them in memory, so that a start need not load them
    /// one by one. It does without, slower.
    pub(super) archive: Option<PathBuf>,
}

impl Installation {
    /// Its version.
    pub fn version(&self) -> &'static str {
        VERSION
    }

    /// The folder of its jars.
    pub fn folder(&self) -> &Path {
        &self.jars
    }

    /// The version of the Java that runs it.
    pub fn java_version(&self) -> &str {
        &self.java.version
    }

    /// All jars, in one order: an archive of classes is for one class path.
    pub(super) fn class_path(&self) -> Result<String, Error> {
        let about = || format!("reading {}", self.jars.display());
        let mut jars = Vec::new();
        for entry in std::fs::read_dir(&self.jars).doing(about)? {
            jars.push(entry.doing(about)?.path().display().to_string());
        }
        jars.sort();
        Ok(jars.join(":"))
    }
}

impl Cassandra {
    /// Looks for what is installed.
    ///
    /// # Errors
    /// It is installed and there is no Java 17 to run it; or the cache is damaged.
    pub fn find(self, cache: &Cache) -> Result<Option<Installation>, Error> {
        match PACKAGE.look(cache, false)? {
            Found::Nothing => Ok(None),
            Found::Damaged(what) => Err(Error::Damaged {
                engine: NAME,
                folder: cache.folder().to_owned(),
                what,
            }),
            Found::Whole(jars) => {
                let java = java::find()?;
                let archive = archive::find(cache, &java);
                Ok(Some(Installation {
                    java,
                    jars,
                    archive,
                }))
            }
        }
    }

    /// Makes sure that it is there.
    ///
    /// # Errors
    /// This machine has no Java 17 or no Maven, or Maven cannot bring it.
    pub fn ensure(self, cache: &Cache, tell: Tell<'_>) -> Result<Installation, Error> {
        let java = java::find()?;
        let jars = PACKAGE.ensure(cache, tell, |content| {
            let maven = programs::find("mvn").ok_or_else(missing)?;
            tell.tell(
                NAME,
                format!("Maven brings cassandra-all {VERSION} and what it needs, 67 MB"),
            );
            fetch(&maven, content)
        })?;
        let mut installation = Installation {
            java,
            jars,
            archive: None,
        };
        installation.archive = archive::ensure(cache, &installation, tell);
        Ok(installation)
    }

    /// Compares the contents of what is cached with its digest, and removes it if they
    /// differ.
    ///
    /// # Errors
    /// It cannot be read or removed.
    pub fn verify(self, cache: &Cache, tell: Tell<'_>) -> Result<(), Error> {
        PACKAGE.remove_if_changed(cache, tell)
    }

    /// Keeps others from installing it meanwhile.
    pub(super) fn lock(self, cache: &Cache, tell: Tell<'_>) -> Result<std::fs::File, Error> {
        PACKAGE.lock(cache, tell)
    }
}

fn missing() -> Missing {
    Missing {
        engine: NAME,
        needs: "Maven to be installed by",
        found: "there is no mvn on PATH".to_owned(),
        debian: "maven",
        elsewhere: "elsewhere: maven too",
    }
}

fn fetch(maven: &Path, content: &Path) -> Result<(), Error> {
    // Beside the content, which is to hold the jars alone.
    let project = content.with_file_name("maven");
    let about = || format!("writing {}", project.display());
    std::fs::create_dir_all(&project).doing(about)?;
    std::fs::write(project.join("pom.xml"), pom()).doing(about)?;
    let mut command = Command::new(maven);
    command
        .args(["-B", "-q", "-ntp", "-U", PLUGIN, "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", content.display()))
        .current_dir(&project);
    let output = programs::run(&mut command)?;
    if !output.status.success() {
        return Err(Error::Fetch {
            engine: NAME,
            command: programs::shown(&command),
            status: output.status.to_string(),
            output: programs::printed(&output, 20),
        });
    }
    std::fs::remove_dir_all(&project).doing(about)
}

fn pom() -> String {
    format!(
        "<project><modelVersion>4.0.0</modelVersion>
  <groupId>lombard</groupId><artifactId>engines</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies><dependency>
    <groupId>org.apache.cassandra</groupId><artifactId>cassandra-all</artifactId><version>{VERSION}</version>
  </dependency></dependencies>
</project>
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_its_package() {
        let message = missing().to_string();
        assert!(message.contains("apt-get install maven"), "{message}");
    }

    #[test]
    fn maven_that_fails_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let maven = folder.path().join("mvn");
        std::fs::write(&maven, "#!/bin/sh\necho no network; exit 1\n").unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&maven, open).unwrap();
        let error = fetch(&maven, &folder.path().join("content")).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("exit status: 1"), "{message}");
        assert!(message.ends_with("no network"), "{message}");
    }
}
