//! What is counted about calls, by method.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use connectrpc::{Dispatcher, ErrorCode, MethodDescriptor, Router};
use lombard_telemetry::{Counter, Event, Family, Gauge, Latency, RateLimit, Registry};
use prometheus_client::encoding::EncodeLabelSet;

use crate::edge;

/// Between two lines about what may repeat with every call or connection.
const REPEATED_LOG_PERIOD: Duration = Duration::from_secs(10);

/// `method` is `LedgerService/CreateEntry`, `code` is `ok` or a Connect code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    method: &'static str,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    method: &'static str,
}

/// The counters of one server.
pub(super) struct ServerMetrics {
    methods: HashMap<Box<str>, Arc<MethodMetrics>>,
    /// For what names no method of ours.
    unknown: Arc<MethodMetrics>,
    pub(super) in_flight: Arc<AtomicI64>,
    in_flight_gauge: Gauge,
    shed: Counter,
    panics: Counter,
    accept_failures: Counter,
    shed_log: RateLimit,
    accept_log: RateLimit,
}

/// The counters of one method, found once, so that a call takes no lock.
pub(super) struct MethodMetrics {
    pub(super) name: &'static str,
    /// What the router says about it, so that a call looks it up once.
    pub(super) descriptor: Option<MethodDescriptor>,
    calls: Family<CallLabels, Counter>,
    by_code: [OnceLock<Counter>; 17],
    latency: Latency,
}

impl MethodMetrics {
    fn new(
        name: &'static str,
        descriptor: Option<MethodDescriptor>,
        calls: &Family<CallLabels, Counter>,
        latency: Latency,
    ) -> Self {
        Self {
            name,
            descriptor,
            calls: calls.clone(),
            by_code: Default::default(),
            latency,
        }
    }

    /// Counts an answer; `None` is success.
    pub(super) fn answered(&self, code: Option<ErrorCode>) {
        let index = code.map_or(0, |code| code.grpc_code() as usize);
        let counter = self.by_code[index.min(16)].get_or_init(|| {
            let labels = CallLabels {
                method: self.name,
                code: code.map_or("ok", |code| code.as_str()),
            };
            self.calls.get_or_create(&labels).clone()
        });
        counter.inc();
    }

    pub(super) fn took(&self, took: Duration) {
        self.latency.observe(took);
    }
}

impl ServerMetrics {
    pub(super) fn new(registry: &Registry, router: &Router) -> Self {
        let calls = Family::<CallLabels, Counter>::default();
        let latencies = Family::<MethodLabels, Latency>::default();
        registry.register(
            "rpc_calls",
            "Calls answered, by method and code",
            calls.clone(),
        );
        registry.register(
            "rpc_call_duration_seconds",
            "Time in the handler, with decoding and encoding",
            latencies.clone(),
        );
        let method = |name: &'static str, descriptor| {
            let latency = latencies
                .get_or_create(&MethodLabels { method: name })
                .clone();
            Arc::new(MethodMetrics::new(name, descriptor, &calls, latency))
        };
        Self {
            methods: router
                .methods()
                .map(|path| (path.into(), method(label(path), router.lookup(path))))
                .collect(),
            unknown: method("unknown", None),
            in_flight: Arc::default(),
            in_flight_gauge: registry.gauge("rpc_calls_in_flight", "Calls in progress"),
            shed: registry.counter(
                "rpc_calls_shed",
                "Calls refused because the server was full",
            ),
            panics: registry.counter("rpc_panics", "Handlers that panicked"),
            accept_failures: registry.counter(
                "rpc_accept_failures",
                "Connections that the system could not hand over",
            ),
            shed_log: RateLimit::new(REPEATED_LOG_PERIOD),
            accept_log: RateLimit::new(REPEATED_LOG_PERIOD),
        }
    }

    /// `path` without its leading slash.
    pub(super) fn method(&self, path: &str) -> &Arc<MethodMetrics> {
        self.methods.get(path).unwrap_or(&self.unknown)
    }

    /// Brings gauges that are kept elsewhere up to date, before they are read.
    pub(super) fn refresh(&self) {
        self.in_flight_gauge
            .set(self.in_flight.load(Ordering::Relaxed));
    }
}

/// Method names live as long as the process: there are as many as the contracts have.
fn label(path: &str) -> &'static str {
    let (service, method) = path.split_once('/').unwrap_or(("", path));
    let service = service.rsplit('.').next().unwrap_or(service);
    let mut label = String::new();
    let _ = write!(label, "{service}/{method}");
    interned(label)
}

/// One copy of each name, whatever number of servers a process starts (tests start many).
fn interned(name: String) -> &'static str {
    use parking_lot::Mutex;
    use std::collections::BTreeSet;
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock();
    if let Some(known) = names.get(name.as_str()) {
        return known;
    }
    let leaked: &'static str = Box::leak(name.into_boxed_str());
    names.insert(leaked);
    leaked
}

/// The server had as many calls in progress as it takes.
pub(super) struct CallShed {
    pub limit: usize,
}

impl Event for CallShed {
    type Metrics = ServerMetrics;

    fn count(&self, metrics: &ServerMetrics) {
        metrics.shed.inc();
    }

    fn log(&self, metrics: &ServerMetrics) {
        if let Some(held_back) = metrics.shed_log.admit(edge::monotonic_us()) {
            tracing::warn!(
                limit = self.limit,
                held_back,
                "calls are refused: the server is full"
            );
        }
    }
}

/// The system has no connection for us: out of file descriptors, mostly.
pub(super) struct AcceptFailed<'a> {
    pub error: &'a std::io::Error,
}

impl Event for AcceptFailed<'_> {
    type Metrics = ServerMetrics;

    fn count(&self, metrics: &ServerMetrics) {
        metrics.accept_failures.inc();
    }

    fn log(&self, metrics: &ServerMetrics) {
        if let Some(held_back) = metrics.accept_log.admit(edge::monotonic_us()) {
            tracing::warn!(error = %self.error, held_back, "no connection could be accepted");
        }
    }
}

/// A handler panicked; its caller got the same id.
pub(super) struct HandlerPanicked<'a> {
    pub id: &'a str,
    pub method: &'a str,
    pub message: &'a str,
}

impl Event for HandlerPanicked<'_> {
    type Metrics = ServerMetrics;

    fn count(&self, metrics: &ServerMetrics) {
        metrics.panics.inc();
    }

    fn log(&self, _metrics: &ServerMetrics) {
        tracing::error!(
            id = self.id,
            method = self.method,
            panic = self.message,
            "a handler panicked"
        );
    }
}

/// A handler answered that the defect is ours; its caller got the same id.
pub(super) struct HandlerFailed<'a> {
    pub id: &'a str,
    pub method: &'a str,
    pub error: &'a str,
}

impl Event for HandlerFailed<'_> {
    type Metrics = ServerMetrics;

    fn count(&self, _metrics: &ServerMetrics) {}

    fn log(&self, _metrics: &ServerMetrics) {
        tracing::error!(
            id = self.id,
            method = self.method,
            error = self.error,
            "a call failed"
        );
    }
}
