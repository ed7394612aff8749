//! `DATA/control.sock`: what an operator asks of the bank that runs on a folder.
//!
//! A socket of the file system and not of the network: who may use it is who may
//! open the folder. One request and one answer a connection, each a line of JSON.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lombard_service::Host;
use lombard_store::embedded::Embedded;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::backup::Copied;
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
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Done(Copied),
    Failed(String),
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
    host.tasks().spawn("control socket", async move {
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    // One at a time: these are people's requests.
                    Ok((stream, _)) => {
                        if let Err(error) = answer(stream, &engine).await {
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

async fn answer(stream: UnixStream, engine: &Arc<Embedded>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(REQUEST_BYTES_MAX));
    tokio::time::timeout(REQUEST_TIMEOUT, reader.read_line(&mut line)).await??;
    let answer = match serde_json::from_str(&line) {
        Ok(Request::Backup { to }) => match copy(engine.clone(), to).await {
            Ok(copied) => Answer::Done(copied),
            Err(reason) => Answer::Failed(reason),
        },
        Err(error) => Answer::Failed(format!("the request cannot be read: {error}")),
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    write.write_all(&text).await
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
    let path = data.join(FILE);
    let unreachable = |error: io::Error| {
        Failure::failed(format!(
            "the bank does not answer at {}: {error}",
            path.display()
        ))
        .advise("it may be stopping, or belong to another user")
    };
    let mut stream = UnixStream::connect(&path).await.map_err(unreachable)?;
    let mut line = serde_json::to_vec(request)
        .map_err(|error| Failure::usage(format!("the path cannot be sent: {error}")))?;
    line.push(b'\n');
    stream.write_all(&line).await.map_err(unreachable)?;
    let mut text = String::new();
    let mut reader = BufReader::new(stream.take(ANSWER_BYTES_MAX));
    reader.read_line(&mut text).await.map_err(unreachable)?;
    match serde_json::from_str(&text) {
        Ok(Answer::Done(copied)) => Ok(copied),
        Ok(Answer::Failed(reason)) => Err(Failure::failed(reason)),
        Err(error) => Err(Failure::failed(format!(
            "the bank's answer cannot be read: {error}"
        ))),
    }
}
