//! A clock that runs faster: what waits for seconds waits for tenths of them.

use std::time::Duration;

use futures::future::BoxFuture;
use lombard_service::{Clock, SystemClock};

/// How much faster.
const FACTOR: u32 = 10;

pub struct Fast {
    system: SystemClock,
    began_us: i64,
}

impl Fast {
    pub fn new() -> Self {
        let system = SystemClock::new();
        Self {
            began_us: system.now_us(),
            system,
        }
    }
}

impl Clock for Fast {
    fn now_us(&self) -> i64 {
        // Wall time goes with the other, so that it never jumps in a test.
        self.began_us + i64::try_from(self.monotonic_us()).unwrap()
    }

    fn monotonic_us(&self) -> u64 {
        self.system.monotonic_us() * u64::from(FACTOR)
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.system.sleep(time / FACTOR)
    }
}
