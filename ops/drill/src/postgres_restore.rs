//! Somebody empties a table of the ledger's, and the ledger is put back to a moment before.
//!
//! PostgreSQL's own way: a base backup while the bank works, the archived log behind it, a
//! second server that replays it up to the moment, and from there the one schema of the
//! ledger into the bank's database. Other services' schemas stay as they are.

use std::sync::Arc;

use lombard_engines::postgres::{Options, Server};

use crate::conclusion::Stage;
use crate::report::Report;
use crate::restoring::{self, Moment};
use crate::timeline::Timeline;
use crate::{Clients, Context, DrillError, blocking, postgres};

/// What it is called.
pub const NAME: &str = "postgres-restore";
/// The ledger's schema, and where what is left of it is put aside.
const SCHEMA: &str = "lombard_ledger";
const ASIDE: &str = "lombard_ledger_lost";
/// What somebody does by mistake.
const DISASTER: &str = "TRUNCATE lombard_ledger.rows";

/// Runs the drill.
///
/// # Errors
/// It came to no answer: PostgreSQL or the bank did not do what it must for that.
pub async fn run(context: &Context<'_>, clients: Clients) -> Result<Report, DrillError> {
    let timeline = Timeline::new(context);
    let options = Options {
        archived: true,
        client_programs: true,
        ..Options::default()
    };
    let server = postgres::start(&timeline, options, clients.keep).await?;
    // The server's own folder belongs to another user where we are root.
    let folder = postgres::bank_folder(clients.keep)?;
    let config = postgres::configuration(&server);
    let bank = folder.path().join("bank");
    let mut stage = Stage::set(context, timeline, &config, &bank, clients).await?;

    let (backing, asked) = (Arc::clone(&server), Arc::clone(&server));
    let backup = blocking(move || backing.base_backup());
    let (backup, moment) = restoring::back_up(
        context,
        &mut stage,
        ("make a base backup", backup),
        |backup| format!("by {}", backup.by),
        blocking(move || now(&asked)),
    )
    .await?;
    let book = stage.clientele.book();
    let hit = Arc::clone(&server);
    let done = blocking(move || hit.query(DISASTER));
    let disaster = restoring::mistake(&stage, DISASTER, done).await?;
    let clientele = stage.close().await?;

    let archiving = Arc::clone(&server);
    clientele
        .timeline
        .step(
            "archive the end of the log",
            blocking(move || archiving.archive_all()),
            |segments| format!("{segments} files"),
        )
        .await?;
    let (from, until) = (Arc::clone(&server), moment.text.clone());
    let then = clientele
        .timeline
        .step(
            "start a second server from the base backup, and replay up to the moment",
            blocking(move || from.restored(&backup, &until).map(Arc::new)),
            |then| format!("it stands at the moment, on {}", then.address()),
        )
        .await?;
    let aside = Arc::clone(&server);
    clientele
        .timeline
        .step(
            "put what is left of the schema aside",
            blocking(move || aside.query(&format!("ALTER SCHEMA {SCHEMA} RENAME TO {ASIDE}"))),
            |_| format!("it is {ASIDE} now"),
        )
        .await?;
    let with_programs = server.has_client_programs();
    let clientele = if with_programs {
        clientele
    } else {
        // Without pg_dump the program makes the tables, which are then filled.
        let what = "start the bank, which makes the tables";
        let stage = clientele.go_to(what, &config, &bank).await?;
        stage.close().await?
    };
    let to = Arc::clone(&server);
    clientele
        .timeline
        .step(
            "take the schema from there into the bank's database",
            blocking(move || {
                if with_programs {
                    to.take_schema(&then, SCHEMA)
                } else {
                    to.copy_tables(&then, SCHEMA)
                }
            }),
            |()| {
                let by = if with_programs {
                    "pg_dump, pg_restore"
                } else {
                    "COPY"
                };
                format!("by {by}")
            },
        )
        .await?;

    let mut stage = clientele
        .go_to("start the bank again", &config, &bank)
        .await?;
    let proof = restoring::prove(context, &mut stage, &book, &moment).await?;
    let conclusion = stage.conclude().await?;
    let engine = format!("PostgreSQL {}, one server", server.version());
    let folders = vec![server.folder().to_owned(), folder.path().to_owned()];
    Ok(proof.report(disaster, conclusion, NAME, engine, folders))
}

/// The moment that is now, by the server's clock.
fn now(server: &Server) -> Result<Moment, lombard_engines::Error> {
    let rows = server.query(
        "SELECT now::text, (extract(epoch FROM now) * 1000000)::bigint FROM clock_timestamp() AS now",
    )?;
    let mut values = rows.into_iter().flatten().flatten();
    let text = values.next().unwrap_or_default();
    let at_us = values.next().and_then(|us| us.parse().ok()).unwrap_or(0);
    Ok(Moment { text, at_us })
}
