//! Metrics of the process and of its store.

use std::fmt;
use std::sync::Arc;

use lombard_store::Store;
use lombard_telemetry::Registry;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::Clock;

/// Memory, threads and uptime, read when they are asked for.
struct Process {
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Process")
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let uptime_s = i64::try_from(self.clock.monotonic_us() / 1_000_000).unwrap_or(i64::MAX);
        let figures = [
            (
                "process_uptime_seconds",
                "Since the process began",
                Some(uptime_s),
            ),
            (
                "process_resident_memory_bytes",
                "Memory that is in use",
                resident_bytes(),
            ),
        ];
        for (name, help, figure) in figures {
            let Some(figure) = figure else { continue };
            let gauge = ConstGauge::new(figure);
            let metric =
                encoder.encode_descriptor(name, help, None, EncodeMetric::metric_type(&gauge))?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}

/// From `/proc/self/status`; `None` where there is none.
fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1_024)
}

/// The store's own counters.
struct StoreFigures {
    store: Store,
}

impl fmt::Debug for StoreFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreFigures")
    }
}

impl Collector for StoreFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counters = self.store.counters();
        let figures = [
            (
                "store_updates",
                "Functions run to change a partition",
                counters.updates,
            ),
            (
                "store_reads",
                "Functions run to read a partition",
                counters.reads,
            ),
            (
                "store_rows_absent",
                "Look-ups of a row that found none; a jump is an alert",
                counters.rows_absent,
            ),
            (
                "store_conflicts",
                "Commits that met another version than they had read",
                counters.conflicts,
            ),
            (
                "store_commits",
                "Combined commits that are in",
                counters.commits,
            ),
            (
                "store_combined_operations",
                "Operations that those commits carried",
                counters.combined_operations,
            ),
            (
                "store_ambiguous",
                "Commits of which the engine could not say whether they are in",
                counters.ambiguous,
            ),
            (
                "store_ambiguous_resolved",
                "Those of them that the store found out about",
                counters.ambiguous_resolved,
            ),
        ];
        for (name, help, figure) in figures {
            let counter = ConstCounter::new(figure);
            let metric =
                encoder.encode_descriptor(name, help, None, EncodeMetric::metric_type(&counter))?;
            counter.encode(metric)?;
        }
        Ok(())
    }
}

/// The metrics of a process, in a set of their own: the store holds its host, so that
/// the host's own set must not hold the store.
pub(crate) fn process_registry(clock: Arc<dyn Clock>, store: Store) -> Registry {
    let registry = Registry::new(&[]);
    registry.register_collector(Process { clock });
    registry.register_collector(StoreFigures { store });
    registry
}
