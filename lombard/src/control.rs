//! `DATA/control.sock`: what an operator asks of the bank that runs on a folder.
//!
//! A socket of the file system and not of the network: who may use it is who may
//! open the folder. One request and one answer a connection, each a line of JSON; before
//! an answer that takes long come lines that say how far it is.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lombard_service::Host;
use lombard_store::embedded::{ArchiveError, ArchiveProgress, Embedded};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Take};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};

use crate::backup::{Copied, Passed};
use crate::failure::Failure;

const FILE: &str = "control.sock";
const REQUEST_BYTES_MAX: u64 = 64 << 10;
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// Who connects and says nothing is let go after this time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// What can be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Copy the store into a folder that does not exist yet.
    Backup {
        /// An absolute path.
        to: PathBuf,
    },
    /// Copy into an archive what the log has beyond it.
    Archive {
        /// An absolute path.
        to: PathBuf,
        /// Begin with a new base.
        new_base: bool,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Done(Copied),
    Failed(String),
    /// How far an archive's pass is: bytes, of bytes. More answers follow.
    Progress(u64, u64),
    Archived(Passed),
    NotArchived(NotArchived),
}

/// Why a pass of the archiver did not get to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotArchived {
    /// In `SCREAMING_SNAKE`.
    pub reason: String,
    /// For a person.
    pub what: String,
    /// The same can work later, without anyone changing anything.
    pub may_pass: bool,
}

impl NotArchived {
    /// As the store says.
    pub fn of(error: &ArchiveError) -> Self {
        Self {
            reason: error.reason().to_owned(),
            what: error.to_string(),
            may_pass: error.may_pass(),
        }
    }

    /// The bank cannot be asked just now.
    pub fn for_now(what: String) -> Self {
        Self {
            reason: "BANK_UNAVAILABLE".to_owned(),
            what,
            may_pass: true,
        }
    }

    /// For a person who archives into this folder.
    pub fn failure(self, folder: &Path) -> Failure {
        let failure = Failure::failed(format!("{} ({})", self.what, self.reason));
        match self.reason.as_str() {
            "ARCHIVE_OF_OTHER_STORE" | "STORE_PUT_BACK" => failure.advise(format!(
                "begin an archive in another folder; {} stays as it is",
                folder.display()
            )),
            "NOT_AN_ARCHIVE" => {
                failure.advise("name an archive, or a folder that is empty or not there yet")
            }
            "DAMAGED" => failure.advise("`lombard backup verify` says what is damaged in the archive, `lombard log inspect` what in the bank's log"),
            _ => failure,
        }
    }
}

impl From<Failure> for NotArchived {
    fn from(failure: Failure) -> Self {
        Self {
            reason: "FAILED".to_owned(),
            what: failure.to_string(),
            may_pass: false,
        }
    }
}

/// Answers requests in a task of the host until it stops.
///
/// # Errors
/// The socket cannot be made in the folder.
pub fn serve(host: &Host, data: &Path, engine: Arc<Embedded>) -> io::Result<()> {
    let path = data.join(FILE);
    match std::fs::remove_file(&path) {
        // Left over from a bank that died: whoever is here holds the folder's lock.
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let mut stop = host.shutdown().subscribe();
    let stopping = stop.clone();
    host.tasks().spawn("control socket", async move {
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    // One at a time: these are people's requests.
                    Ok((stream, _)) => {
                        if let Err(error) = answer(stream, &engine, &stopping).await {
                            tracing::warn!(%error, "a control request was not answered");
                        }
                    }
                    Err(error) => tracing::warn!(%error, "the control socket does not accept"),
                },
                () = async { drop(stop.wait_for(|requested| *requested).await) } => break,
            }
        }
        drop(listener);
        // Left over it does no harm.
        let _gone = std::fs::remove_file(&path);
    });
    Ok(())
}

async fn answer(
    stream: UnixStream,
    engine: &Arc<Embedded>,
    stop: &watch::Receiver<bool>,
) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(REQUEST_BYTES_MAX));
    tokio::time::timeout(REQUEST_TIMEOUT, reader.read_line(&mut line)).await??;
    let answer = match serde_json::from_str(&line) {
        Ok(Request::Backup { to }) => match copy(engine.clone(), to).await {
            Ok(copied) => Answer::Done(copied),
            Err(reason) => Answer::Failed(reason),
        },
        Ok(Request::Archive { to, new_base }) => {
            pass(engine.clone(), to, new_base, stop, &mut write).await
        }
        Err(error) => Answer::Failed(format!("the request cannot be read: {error}")),
    };
    send(&mut write, &answer).await
}

async fn send(write: &mut OwnedWriteHalf, answer: &Answer) -> io::Result<()> {
    let mut text = serde_json::to_vec(answer)?;
    text.push(b'\n');
    write.write_all(&text).await
}

/// A pass of the archiver. It ends early when the bank stops, or nobody listens any more.
async fn pass(
    engine: Arc<Embedded>,
    to: PathBuf,
    new_base: bool,
    stop: &watch::Receiver<bool>,
    write: &mut OwnedWriteHalf,
) -> Answer {
    let (progress, mut heard) = mpsc::channel::<ArchiveProgress>(1);
    let stop = stop.clone();
    let pass = tokio::task::spawn_blocking(move || {
        let mut watch = |now| {
            // Who reads slowly misses some.
            let _full = progress.try_send(now);
            !progress.is_closed() && !*stop.borrow()
        };
        engine.archive(&to, new_base, &mut watch)
    });
    while let Some(now) = heard.recv().await {
        let told = send(write, &Answer::Progress(now.bytes, now.bytes_total)).await;
        if told.is_err() {
            break;
        }
    }
    // Now the pass sees that nobody listens; the next one must not find it at work.
    drop(heard);
    match pass.await {
        Ok(Ok(passed)) => Answer::Archived(Passed::of(&passed)),
        Ok(Err(error)) => Answer::NotArchived(NotArchived::of(&error)),
        Err(error) => Answer::Failed(format!("the pass did not end: {error}")),
    }
}

/// Copying takes a while and blocks: beside the threads that answer calls.
async fn copy(engine: Arc<Embedded>, to: PathBuf) -> Result<Copied, String> {
    let copied = tokio::task::spawn_blocking(move || {
        futures::executor::block_on(engine.backup(&to)).map(|report| Copied::of(&report))
    });
    match copied.await {
        Ok(copied) => copied.map_err(|error| error.to_string()),
        Err(error) => Err(format!("the backup did not end: {error}")),
    }
}

/// Asks the bank that runs on this folder.
///
/// # Errors
/// It does not answer, or what was asked failed.
pub async fn ask(data: &Path, request: &Request) -> Result<Copied, Failure> {
    let mut answers = Answers::to(data, request).await?;
    match answers.next().await? {
        Answer::Done(copied) => Ok(copied),
        Answer::Failed(reason) => Err(Failure::failed(reason)),
        _ => Err(not_understood("it is about something else")),
    }
}

/// Has the bank that runs on this folder make its archive longer.
///
/// # Errors
/// It does not answer, or what was asked failed.
pub async fn archive(
    data: &Path,
    request: &Request,
    watch: &mut dyn FnMut(ArchiveProgress),
) -> Result<Passed, NotArchived> {
    // A bank that is stopping, or was killed, may be there again in a moment.
    let for_now = |failure: Failure| NotArchived::for_now(failure.to_string());
    let mut answers = Answers::to(data, request).await.map_err(for_now)?;
    loop {
        match answers.next().await.map_err(for_now)? {
            Answer::Progress(bytes, bytes_total) => watch(ArchiveProgress { bytes, bytes_total }),
            Answer::Archived(passed) => return Ok(passed),
            Answer::NotArchived(why) => return Err(why),
            Answer::Failed(reason) => return Err(NotArchived::from(Failure::failed(reason))),
            Answer::Done(_) => {
                return Err(for_now(not_understood("it is about something else")));
            }
        }
    }
}

/// What the bank says to a request, line by line.
struct Answers {
    path: PathBuf,
    reader: BufReader<Take<UnixStream>>,
}

impl Answers {
    async fn to(data: &Path, request: &Request) -> Result<Self, Failure> {
        let path = data.join(FILE);
        let stream = UnixStream::connect(&path).await;
        let mut stream = stream.map_err(|error| unreachable(&path, &error))?;
        let mut line = serde_json::to_vec(request)
            .map_err(|error| Failure::usage(format!("the path cannot be sent: {error}")))?;
        line.push(b'\n');
        let sent = stream.write_all(&line).await;
        sent.map_err(|error| unreachable(&path, &error))?;
        let reader = BufReader::new(stream.take(ANSWER_BYTES_MAX));
        Ok(Self { path, reader })
    }

    async fn next(&mut self) -> Result<Answer, Failure> {
        // Each line has its own limit.
        self.reader.get_mut().set_limit(ANSWER_BYTES_MAX);
        let mut text = String::new();
        let read = self.reader.read_line(&mut text).await;
        read.map_err(|error| unreachable(&self.path, &error))?;
        if text.is_empty() {
            return Err(unreachable(
                &self.path,
                &io::ErrorKind::UnexpectedEof.into(),
            ));
        }
        serde_json::from_str(&text).map_err(not_understood)
    }
}

fn unreachable(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!(
        "the bank does not answer at {}: {error}",
        path.display()
    ))
    .advise("it may be stopping, or belong to another user")
}

fn not_understood(why: impl std::fmt::Display) -> Failure {
    Failure::failed(format!("the bank's answer cannot be read: {why}"))
}
