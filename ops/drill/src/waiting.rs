//! Waiting while clients work: for a while, and until nobody is refused.

use std::time::Duration;

use lombard_service::Host;

use crate::DrillError;
use crate::observed::{Now, Observed};

/// How long it may take until nobody is refused any more.
pub const WELL_PATIENCE: Duration = Duration::from_secs(60);
/// Nobody was refused for so long: it is well.
pub const WELL_FOR: Duration = Duration::from_secs(3);
/// Between two looks.
pub const PAUSE: Duration = Duration::from_millis(100);

/// Lets clients work for so long.
///
/// # Errors
/// None; it is a step of a drill.
pub async fn rest(host: &Host, time: Duration) -> Result<(), DrillError> {
    host.sleep(time).await;
    Ok(())
}

/// Waits until nobody is refused any more; whether it came to that in time.
///
/// # Errors
/// None; it is a step of a drill.
pub async fn served(host: &Host, observed: &Observed) -> Result<bool, DrillError> {
    let until_us = later(host, WELL_PATIENCE);
    let well_us = u64::try_from(WELL_FOR.as_micros()).unwrap_or(u64::MAX);
    let (mut failed, mut since_us) = (0, host.monotonic_us());
    while host.monotonic_us() < until_us {
        let Now {
            refused,
            unanswered,
            ..
        } = observed.now();
        if refused + unanswered != failed {
            failed = refused + unanswered;
            since_us = host.monotonic_us();
        }
        if host.monotonic_us().saturating_sub(since_us) >= well_us {
            return Ok(true);
        }
        host.sleep(PAUSE).await;
    }
    Ok(false)
}

/// What was seen of that.
pub fn was_served(well: bool) -> String {
    if well {
        format!("nobody was for {} s", WELL_FOR.as_secs())
    } else {
        format!("somebody still is after {} s", WELL_PATIENCE.as_secs())
    }
}

/// How it stands in the phase that is now, in words.
pub fn standing(observed: &Observed) -> String {
    let Now {
        right,
        refused,
        unanswered,
        wrong,
    } = observed.now();
    format!(
        "{right} right, {refused} refused, {unanswered} without an answer; wrong so far: {wrong}"
    )
}

/// The moment when this time will be over.
pub fn later(host: &Host, time: Duration) -> u64 {
    let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    host.monotonic_us().saturating_add(us)
}
