//! The checker against a ledger that runs already, through a network that breaks:
//!
//! ```text
//! lombard up --port-base 7000
//! cargo run --release -p lombard-consistency --example against -- 127.0.0.1:7000 SEED OPERATIONS
//! ```
//!
//! Whoever runs it may break more by hand: `kill -9` the bank and start it again on the
//! same ports, or stop it and let it go on (SIGSTOP, SIGCONT).

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lombard_consistency::nemesis::Proxies;
use lombard_consistency::proxy::FaultProxy;
use lombard_consistency::timeline::Styles;
use lombard_consistency::{Options, System, run};
use lombard_service::Host;

struct Ledger {
    target: String,
    proxy: Arc<FaultProxy>,
}

#[async_trait]
impl System for Ledger {
    fn name(&self) -> String {
        format!("the ledger at {}", self.target)
    }

    fn addresses(&self) -> Vec<String> {
        vec![self.proxy.address().to_string()]
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let target = arguments.next().unwrap_or("127.0.0.1:7000".to_owned());
    let mut number = |default: u64| -> Result<u64, std::num::ParseIntError> {
        arguments.next().map_or(Ok(default), |text| text.parse())
    };
    let (seed, operations) = (number(1)?, number(2_000)?);
    let options = Options {
        operations,
        pause_max: Duration::from_millis(5),
        ..Options::new(seed)
    };
    let host = Host::system();
    let proxy = FaultProxy::start(&host, "127.0.0.1:0".parse()?, target.clone()).await?;
    let proxy = Arc::new(proxy);
    let nemesis = Proxies::new(vec![proxy.clone()]);
    let system = Ledger { target, proxy };
    let mut told = 0;
    let outcome = run(&system, &nemesis, &host, &options, |progress| {
        if progress.operations >= told {
            eprintln!(
                "{:?}: {} of {} operations, {} faults",
                progress.phase, progress.operations, progress.operations_wanted, progress.faults
            );
            told = progress.operations + 1_000;
        }
    })
    .await?;
    println!("{}", outcome.report.text(&Styles::plain()));
    Ok(if outcome.report.consistent {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
