//! A real server, started once for all of these tests; those that break theirs start
//! another.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on says so by its panic"
)]

mod faults;
mod opening;
mod restore;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use lombard_engines::postgres::{Options, Server};
use lombard_engines::testing;
use lombard_store::conformance::Subject;
use lombard_store::{Engine, StoreError, TokioSpawner};
use lombard_store_postgres::{Postgres, PostgresOptions};

/// The server, or `None` if this machine lacks what it takes.
fn server(test: &str) -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        // Its guardian ends it with this process.
        let options = Options {
            max_connections: 400,
            ..Options::default()
        };
        testing::started(test, Server::start(&options))
    });
    server.as_ref()
}

/// Options for schemas that nobody else uses.
fn options(server: &Server) -> PostgresOptions {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    PostgresOptions {
        url: url(server),
        schema_prefix: format!("t{number}"),
        connections: 6,
        ..PostgresOptions::default()
    }
}

fn url(server: &Server) -> String {
    format!("postgres://lombard@{}/lombard", server.address())
}

async fn connect(options: &PostgresOptions) -> Result<Postgres, StoreError> {
    Postgres::connect(options.clone(), Arc::new(TokioSpawner)).await
}

struct InDatabase {
    options: PostgresOptions,
}

#[async_trait]
impl Subject for InDatabase {
    async fn open(&self) -> Arc<dyn Engine> {
        Arc::new(connect(&self.options).await.unwrap())
    }
}

mod conformance {
    use super::*;

    lombard_store::conformance!(match server("conformance") {
        Some(server) => InDatabase {
            options: options(server),
        },
        None => return,
    });
}
