//! Metrics of the process and of its store.

use std::fmt;
use std::sync::Arc;

use lombard_store::{Reading, Store};
use lombard_telemetry::Registry;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
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
        encode_readings(&self.store.engine().readings(), &mut encoder)
    }
}

/// The engine's figures, each name once with all that it is of.
fn encode_readings(
    readings: &[Reading],
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), fmt::Error> {
    for readings in readings.chunk_by(|one, next| one.name == next.name) {
        let Some(first) = readings.first() else {
            continue;
        };
        let kind = if first.is_counter {
            MetricType::Counter
        } else {
            MetricType::Gauge
        };
        let name = format!("store_{}", first.name);
        let mut metric = encoder.encode_descriptor(&name, first.help, None, kind)?;
        for reading in readings {
            let labels = reading.labels.as_slice();
            let metric = metric.encode_family(&labels)?;
            if first.is_counter {
                ConstCounter::new(reading.value).encode(metric)?;
            } else {
                let value = i64::try_from(reading.value).unwrap_or(i64::MAX);
                ConstGauge::new(value).encode(metric)?;
            }
        }
    }
    Ok(())
}

/// The metrics of a process, in a set of their own: the store holds its host, so that
/// the host's own set must not hold the store.
pub(crate) fn process_registry(clock: Arc<dyn Clock>, store: Store) -> Registry {
    let registry = Registry::new(&[]);
    registry.register_collector(Process { clock });
    registry.register_collector(StoreFigures { store });
    registry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fixed(Vec<Reading>);

    impl Collector for Fixed {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
            encode_readings(&self.0, &mut encoder)
        }
    }

    #[test]
    fn an_engines_readings_stand_under_their_name_with_their_labels() {
        let reading = |name, is_counter, node: &str, value| Reading {
            name,
            help: "For a test",
            is_counter,
            labels: vec![("node", node.to_owned())],
            value,
        };
        let registry = Registry::new(&[]);
        registry.register_collector(Fixed(vec![
            reading("reads", true, "a", 3),
            reading("reads", true, "b", 4),
            reading("alert", false, "a", 1),
        ]));
        let page = registry.encode();
        let lines: Vec<&str> = page.lines().filter(|line| *line != "# EOF").collect();
        let expected = [
            "# HELP lombard_store_reads For a test",
            "# TYPE lombard_store_reads counter",
            r#"lombard_store_reads_total{node="a"} 3"#,
            r#"lombard_store_reads_total{node="b"} 4"#,
            "# HELP lombard_store_alert For a test",
            "# TYPE lombard_store_alert gauge",
            r#"lombard_store_alert{node="a"} 1"#,
        ];
        assert_eq!(lines, expected);
    }
}
