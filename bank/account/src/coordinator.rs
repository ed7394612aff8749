//! Finishes openings that a dead process, or a client that gave up, left behind.

use std::sync::Arc;
use std::time::Duration;

use lombard_service::Host;
use lombard_telemetry::Event;

use crate::events::{Metrics, OpeningFinished, OpeningUnfinished, OpeningsUnread};
use crate::service::Service;

/// The shortest pause between two passes.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// Takes up openings that are unfinished for longer than the timeout, until the host stops.
pub async fn run(service: Arc<Service>, host: Host, opening_timeout_ms: u64, metrics: Metrics) {
    let pause = Duration::from_millis(opening_timeout_ms).max(PAUSE_MIN);
    let mut stop = host.shutdown().subscribe();
    loop {
        match service.finish_openings(opening_timeout_ms).await {
            Ok(outcomes) => {
                for (account, outcome) in outcomes {
                    match outcome {
                        Ok(()) => OpeningFinished { account: &account }.emit(&metrics),
                        Err(error) => {
                            OpeningUnfinished {
                                account: &account,
                                error: &error,
                            }
                            .emit(&metrics);
                        }
                    }
                }
            }
            Err(error) => OpeningsUnread { error: &error }.emit(&metrics),
        }
        tokio::select! {
            () = host.sleep(pause) => {}
            // An error means that the host is gone.
            _ = stop.wait_for(|requested| *requested) => return,
        }
    }
}
