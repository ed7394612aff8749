//! Writes down what happens, in the order in which it happens.

use lombard_service::Host;
use parking_lot::Mutex;

use crate::history::{Call, FaultMark, Header, History, Outcome, Record};

/// A history that is being written. Shared by all clients and the nemesis.
pub struct Recorder {
    host: Host,
    header: Header,
    zero_us: u64,
    records: Mutex<Vec<Record>>,
}

impl Recorder {
    /// An empty history that begins now. The header's `began_us` is set here.
    pub fn new(host: &Host, header: Header) -> Self {
        Self {
            host: host.clone(),
            header: Header {
                began_us: host.now_us(),
                ..header
            },
            zero_us: host.monotonic_us(),
            records: Mutex::default(),
        }
    }

    /// A request is about to leave.
    pub fn invoked(&self, process: u32, operation: u64, attempt: u32, call: &Call) {
        let call = call.clone();
        self.add(|at_us| Record::Invoked {
            at_us,
            process,
            operation,
            attempt,
            call,
        });
    }

    /// Its answer is in, or will not come.
    pub fn completed(&self, process: u32, operation: u64, attempt: u32, outcome: &Outcome) {
        let outcome = outcome.clone();
        self.add(|at_us| Record::Completed {
            at_us,
            process,
            operation,
            attempt,
            outcome,
        });
    }

    /// A fault begins, or all is whole again. When.
    pub fn fault(&self, mark: FaultMark, what: &str) -> u64 {
        let what = what.to_owned();
        self.add(|at_us| Record::Fault { at_us, mark, what })
    }

    /// The time is taken under the lock: records stand in the order of their times.
    fn add(&self, record: impl FnOnce(u64) -> Record) -> u64 {
        let mut records = self.records.lock();
        let at_us = self.host.monotonic_us().saturating_sub(self.zero_us);
        records.push(record(at_us));
        at_us
    }

    /// The history, and nothing is written any more.
    pub fn finish(self) -> History {
        History {
            header: self.header,
            records: self.records.into_inner(),
        }
    }
}
