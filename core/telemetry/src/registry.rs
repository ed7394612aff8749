//! The metrics of a service, and their text form for Prometheus.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use prometheus_client::registry::{Metric, Registry as Inner};

use crate::Latency;

/// The content type of [`encode`]: OpenMetrics 1.0.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A set of metrics. Cheap to clone; clones are the same set.
///
/// Names are `snake_case` with a unit as the last word (`_seconds`, `_bytes`);
/// everything is prefixed `lombard_`, and counters end in `_total` by themselves.
/// A name is registered once in a set: ask for a metric at start and keep it.
#[derive(Clone)]
pub struct Registry(Arc<Mutex<Inner>>);

impl Registry {
    /// An empty set whose metrics all carry these labels.
    pub fn new(labels: &[(&'static str, &str)]) -> Self {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).to_owned().into()));
        Self(Arc::new(Mutex::new(Inner::with_prefix_and_labels(
            "lombard", labels,
        ))))
    }

    /// Adds a metric of any kind, also a family.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) {
        self.0.lock().register(name, help, metric);
    }

    /// Adds figures that are kept elsewhere and read when the set is encoded.
    pub fn register_collector(&self, collector: impl Collector) {
        self.0.lock().register_collector(Box::new(collector));
    }

    /// Adds a counter.
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        let counter = Counter::default();
        self.register(name, help, counter.clone());
        counter
    }

    /// Adds a gauge.
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        let gauge = Gauge::default();
        self.register(name, help, gauge.clone());
        gauge
    }

    /// Adds a latency histogram; the name should end in `_seconds`.
    pub fn latency(&self, name: &str, help: &str) -> Latency {
        let latency = Latency::default();
        self.register(name, help, latency.clone());
        latency
    }

    /// This set as OpenMetrics text.
    pub fn encode(&self) -> String {
        encode(&[self])
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registry")
    }
}

/// Several sets as one page of OpenMetrics text. A name must not stand in two of them.
pub fn encode(registries: &[&Registry]) -> String {
    let mut page = String::new();
    for registry in registries {
        // Writing to a String does not fail, and a metric of ours has no other error.
        let _ = text::encode_registry(&mut page, &registry.0.lock());
    }
    let _ = text::encode_eof(&mut page);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_make_one_page() {
        let service = Registry::new(&[("service", "ledger")]);
        let process = Registry::new(&[]);
        service.counter("entries", "Entries booked").inc_by(2);
        process.gauge("tasks", "Running tasks").set(3);
        let page = encode(&[&service, &process]);
        assert!(
            page.contains("lombard_entries_total{service=\"ledger\"} 2"),
            "{page}"
        );
        assert!(page.contains("lombard_tasks 3"), "{page}");
        assert!(page.ends_with("# EOF\n"), "{page}");
        assert_eq!(page.matches("# EOF").count(), 1);
    }
}
