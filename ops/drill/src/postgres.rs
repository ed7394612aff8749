//! Servers as drills start them.

use std::sync::Arc;

use lombard_engines::postgres::{Options, Server};

use crate::timeline::Timeline;
use crate::{DrillError, blocking};

/// Starts a server.
///
/// # Errors
/// PostgreSQL is not installed and cannot be, or does not start.
pub async fn start(
    timeline: &Timeline<'_>,
    options: Options,
    keep: bool,
) -> Result<Arc<Server>, DrillError> {
    let starting = blocking(move || {
        let mut server = Server::start(&options)?;
        if keep {
            server.keep_folder();
        }
        Ok(Arc::new(server))
    });
    timeline
        .step("start a PostgreSQL server", starting, |server| {
            format!("version {} on {}", server.version(), server.address())
        })
        .await
}

/// The configuration of a bank on this server.
pub fn configuration(server: &Server) -> String {
    format!(
        "[store]\nengine = \"postgres\"\n\n[postgres]\nurl = \"postgres://lombard@{}/lombard\"\n",
        server.address()
    )
}

/// A folder for the bank, which is removed at the end unless it is to be kept.
///
/// # Errors
/// The system refuses.
pub fn bank_folder(keep: bool) -> Result<tempfile::TempDir, DrillError> {
    let folder = tempfile::Builder::new().prefix("lombard-drill-").tempdir();
    let mut folder = folder.map_err(|error| DrillError::System {
        doing: "making a temporary folder".to_owned(),
        why: error.to_string(),
    })?;
    folder.disable_cleanup(keep);
    Ok(folder)
}
