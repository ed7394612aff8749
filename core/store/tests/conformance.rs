//! Every engine does what every engine must.

use std::sync::Arc;

use async_trait::async_trait;
use lombard_store::Engine;
use lombard_store::conformance::Subject;
use lombard_store::simulated::{Kind, Simulated, SimulatedOptions};
use parking_lot::Mutex;

/// The simulated engine; closing it is pulling the plug.
struct InMemory {
    engine: Mutex<Arc<Simulated>>,
}

impl InMemory {
    fn new(kind: Kind) -> Self {
        let mut options = SimulatedOptions::new(kind, 42);
        // Time passes, but nothing goes wrong.
        options.faults.delay_turns_max = 2;
        options.faults.torn_tail = 1.0;
        Self {
            engine: Mutex::new(Arc::new(Simulated::new(options))),
        }
    }
}

#[async_trait]
impl Subject for InMemory {
    async fn open(&self) -> Arc<dyn Engine> {
        self.engine.lock().clone()
    }

    async fn close(&self, engine: Arc<dyn Engine>) {
        drop(engine);
        let mut engine = self.engine.lock();
        let found = engine.crash();
        *engine = Arc::new(found);
    }
}

mod simulated_one_log {
    use super::*;
    lombard_store::conformance!(InMemory::new(Kind::OneLog));
}

mod simulated_one_log_shared {
    use super::*;
    lombard_store::conformance!(InMemory::new(Kind::OneLogShared));
}

mod simulated_replicated {
    use super::*;
    lombard_store::conformance!(InMemory::new(Kind::Replicated));
}
