//! On PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use lombard_consistency::nemesis::{FaultKind, NemesisError, NodeFaults, Nodes};
use lombard_engines::postgres::{Options, Server};
use lombard_engines::testing;
use tokio::runtime::Runtime;

use super::{bank, blocking, judge};
use crate::support::Up;
use crate::{configured, on_postgres};

struct OneServer(Arc<Server>);

#[async_trait]
impl Nodes for OneServer {
    fn count(&self) -> usize {
        1
    }

    fn name(&self, _: usize) -> String {
        "PostgreSQL".to_owned()
    }

    async fn kill(&self, _: usize) -> Result<(), NemesisError> {
        blocking(&self.0, Server::kill9).await
    }

    async fn start(&self, _: usize) -> Result<(), NemesisError> {
        blocking(&self.0, Server::restart).await
    }

    async fn pause(&self, _: usize) -> Result<(), NemesisError> {
        self.0.pause();
        Ok(())
    }

    async fn resume(&self, _: usize) -> Result<(), NemesisError> {
        self.0.resume();
        Ok(())
    }
}

#[test]
fn what_clients_saw_can_be_true_while_postgres_is_killed_and_stands_still() {
    let test = "what_clients_saw_on_postgres";
    let set_up = Options::default();
    let Some(server) = testing::started(test, Server::start(&set_up)) else {
        return;
    };
    let (_folder, data, config) = configured(&format!(
        "{}answer_timeout_ms = 2000\n",
        on_postgres(server.address(), "lombard")
    ));
    let up = Up::start(&data, &["--config", &config]);
    let kinds = [FaultKind::Kill, FaultKind::Pause];
    let nemesis = NodeFaults::new(OneServer(Arc::new(server)), &kinds);
    let runtime = Runtime::new().unwrap();
    judge(&runtime, &bank("PostgreSQL", &up, &data), &nemesis);
    up.stop();
}
