//! The files that a node reads, and the options of its Java.

use std::net::Ipv4Addr;
use std::path::Path;

use super::options::{CommitlogSync, Options};
use super::{CQL_PORT, STORAGE_PORT};

/// Tokens of each node.
const TOKENS: u32 = 16;

/// The certificate and the key, in a node's folder.
pub const CERTIFICATE: &str = "server.pem";

/// One node's place in the cluster.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    /// Its address.
    pub ip: Ipv4Addr,
    /// The address that it gives for itself.
    pub announced: Ipv4Addr,
    /// Its folder.
    pub folder: &'a Path,
    /// Whom it asks for the others.
    pub seeds: &'a [Ipv4Addr],
    /// Whether it first fetches the data that it will own.
    pub auto_bootstrap: bool,
    /// Whether clients without TLS are refused, if they are to be.
    pub strict: bool,
    /// Its tokens, if they are not to be picked when it joins.
    pub tokens: Option<String>,
}

/// The tokens of one of `nodes` that start together, from 0: spread evenly and in
/// turn, so that each owns as much as the others and none need wait to pick its own.
pub fn even_tokens(node: u8, nodes: u8) -> String {
    let count = u64::from(TOKENS) * u64::from(nodes);
    // Of all 2^64, from the lowest; the last one is lost by the division.
    let step = u64::MAX / count;
    let tokens: Vec<String> = (0..u64::from(TOKENS))
        .map(|turn| turn * u64::from(nodes) + u64::from(node))
        .map(|place| i64::MIN.wrapping_add_unsigned(place * step).to_string())
        .collect();
    tokens.join(",")
}

/// `cassandra.yaml`. Small; and where a file this short would leave a default that the
/// shipped one does not have, it says so: what fails to write must stop.
pub fn yaml(options: &Options, place: &Place<'_>) -> String {
    let data = place.folder.join("data");
    let data = data.display();
    let ip = place.ip;
    let seeds: Vec<String> = place.seeds.iter().map(Ipv4Addr::to_string).collect();
    let mut lines = vec![
        "cluster_name: lombard".to_owned(),
        format!("num_tokens: {TOKENS}"),
        "partitioner: org.apache.cassandra.dht.Murmur3Partitioner".to_owned(),
        "endpoint_snitch: SimpleSnitch".to_owned(),
        format!("auto_bootstrap: {}", place.auto_bootstrap),
        format!("listen_address: {ip}"),
        format!("rpc_address: {ip}"),
        format!("storage_port: {STORAGE_PORT}"),
        format!("native_transport_port: {CQL_PORT}"),
        "start_native_transport: true".to_owned(),
        "seed_provider:".to_owned(),
        "  - class_name: org.apache.cassandra.locator.SimpleSeedProvider".to_owned(),
        format!("    parameters: [{{seeds: \"{}\"}}]", seeds.join(",")),
        format!("data_file_directories: [\"{data}/data\"]"),
        format!("commitlog_directory: \"{data}/commitlog\""),
        format!("hints_directory: \"{data}/hints\""),
        format!("saved_caches_directory: \"{data}/saved_caches\""),
        format!("cdc_raw_directory: \"{data}/cdc_raw\""),
        "paxos_variant: v2".to_owned(),
        "disk_failure_policy: stop".to_owned(),
        "commit_failure_policy: stop".to_owned(),
        // Direct input and output is not to be had in every temporary folder.
        "commitlog_disk_access_mode: legacy".to_owned(),
        "commitlog_segment_size: 32MiB".to_owned(),
        "commitlog_total_space: 256MiB".to_owned(),
        "memtable_heap_space: 64MiB".to_owned(),
        "memtable_offheap_space: 64MiB".to_owned(),
        "key_cache_size: 8MiB".to_owned(),
        "counter_cache_size: 0MiB".to_owned(),
        "file_cache_size: 32MiB".to_owned(),
        "networking_cache_size: 32MiB".to_owned(),
        "column_index_cache_size: 2KiB".to_owned(),
        "concurrent_reads: 16".to_owned(),
        "concurrent_writes: 16".to_owned(),
        "concurrent_compactors: 1".to_owned(),
        "compaction_throughput: 16MiB/s".to_owned(),
        "hinted_handoff_enabled: true".to_owned(),
    ];
    lines.push(match &place.tokens {
        Some(tokens) => format!("initial_token: \"{tokens}\""),
        None => "allocate_tokens_for_local_replication_factor: 3".to_owned(),
    });
    lines.extend(match options.commitlog_sync {
        CommitlogSync::Group { window_ms } => vec![
            "commitlog_sync: group".to_owned(),
            format!("commitlog_sync_group_window: {window_ms}ms"),
        ],
        CommitlogSync::Batch => vec!["commitlog_sync: batch".to_owned()],
        CommitlogSync::Periodic { period_ms } => vec![
            "commitlog_sync: periodic".to_owned(),
            format!("commitlog_sync_period: {period_ms}ms"),
        ],
    });
    let (authenticator, authorizer) = match options.authentication {
        Some(_) => ("PasswordAuthenticator", "CassandraAuthorizer"),
        None => ("AllowAllAuthenticator", "AllowAllAuthorizer"),
    };
    lines.push(format!("authenticator: {authenticator}"));
    lines.push(format!("authorizer: {authorizer}"));
    if options.authentication.is_some() {
        lines.push("role_manager: CassandraRoleManager".to_owned());
    }
    if let Some(tls) = &options.tls {
        let pem = place.folder.join(CERTIFICATE);
        lines.extend([
            "client_encryption_options:".to_owned(),
            "  enabled: true".to_owned(),
            format!("  optional: {}", !(tls.required && place.strict)),
            "  require_client_auth: false".to_owned(),
            format!("  keystore: \"{}\"", pem.display()),
            "  ssl_context_factory:".to_owned(),
            "    class_name: org.apache.cassandra.security.PEMBasedSslContextFactory".to_owned(),
        ]);
    }
    if place.announced != ip {
        lines.extend([
            format!("broadcast_address: {}", place.announced),
            format!("broadcast_rpc_address: {}", place.announced),
        ]);
    }
    for line in &options.yaml {
        replace(&mut lines, line);
    }
    lines.join("\n") + "\n"
}

/// Adds a line; what had the same key before is gone, with what was indented under it.
fn replace(lines: &mut Vec<String>, line: &str) {
    let key = |line: &str| line.split_once(':').map(|(key, _)| key.to_owned());
    let replaced = key(line);
    // A line that goes on with what is before it.
    if !line.starts_with([' ', '-', '#'])
        && let Some(at) = lines
            .iter()
            .position(|found| !found.starts_with([' ', '-']) && key(found) == replaced)
    {
        let under = lines[at + 1..]
            .iter()
            .take_while(|found| found.starts_with([' ', '-']))
            .count();
        lines.drain(at..=at + under);
    }
    lines.push(line.to_owned());
}

/// `logback.xml`: all to the console, which is a file.
pub const LOGBACK: &str = r#"<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%-5level [%thread] %date{ISO8601} %F:%L - %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="OUT"/></root>
</configuration>
"#;

/// The packages of Java that Cassandra looks into, from its `jvm17-server.options`.
const OPENED: [(&str, &str); 21] = [
    ("exports", "java.base/jdk.internal.misc"),
    ("exports", "java.base/java.lang.ref"),
    (
        "exports",
        "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    ),
    ("exports", "java.rmi/sun.rmi.registry"),
    ("exports", "java.rmi/sun.rmi.server"),
    ("exports", "java.sql/java.sql"),
    ("exports", "jdk.unsupported/sun.misc"),
    ("exports", "jdk.attach/sun.tools.attach"),
    ("opens", "java.base/java.lang.module"),
    ("opens", "java.base/jdk.internal.loader"),
    ("opens", "java.base/jdk.internal.ref"),
    ("opens", "java.base/jdk.internal.reflect"),
    ("opens", "java.base/jdk.internal.math"),
    ("opens", "java.base/jdk.internal.module"),
    ("opens", "java.base/jdk.internal.util.jar"),
    ("opens", "java.base/sun.nio.ch"),
    ("opens", "java.base/java.io"),
    ("opens", "java.base/java.lang"),
    ("opens", "java.base/java.lang.reflect"),
    ("opens", "java.base/java.util"),
    ("opens", "jdk.management/com.sun.management.internal"),
];

/// The options that let Cassandra and its tools look into Java.
pub fn opened() -> impl Iterator<Item = String> {
    OPENED
        .iter()
        .map(|(how, package)| format!("--add-{how}={package}=ALL-UNNAMED"))
}

/// The options of a node's Java. `tmp` may not be the system's: native libraries are
/// unpacked there and must be allowed to run.
pub fn java_options(
    options: &Options,
    folder: &Path,
    jmx_port: u16,
    ring_delay_ms: u32,
) -> Vec<String> {
    let heap = options.heap_mib;
    let folder = folder.display();
    let mut words: Vec<String> = [
        "-Xss512k",
        "-XX:+UseG1GC",
        "-XX:+ParallelRefProcEnabled",
        "-XX:MaxGCPauseMillis=300",
        "-XX:+PerfDisableSharedMem",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.net.preferIPv4Stack=true",
        "-Djdk.attach.allowAttachSelf=true",
        "-Dio.netty.tryReflectionSetAccessible=true",
        "-Dio.netty.allocator.useCacheForAllThreads=true",
        "-Dio.netty.allocator.maxOrder=11",
        "-Dcassandra-foreground=yes",
        "-Dcassandra.skip_wait_for_gossip_to_settle=0",
        "-Dcassandra.superuser_setup_delay_ms=0",
        // What a node measures at each start by filling a table: 180, it said.
        "-Dcassandra.memtable.row_overhead_size=180",
    ]
    .map(str::to_owned)
    .into();
    words.extend(opened());
    if options.compiler == super::Compiler::Quick {
        words.push("-XX:TieredStopAtLevel=1".to_owned());
    }
    words.extend([
        format!("-Xms{}m", heap.min(128)),
        format!("-Xmx{heap}m"),
        // Blocks of tables and messages lie beside the heap.
        format!("-XX:MaxDirectMemorySize={}m", heap.max(256)),
        format!("-Djava.io.tmpdir={folder}/data"),
        format!("-Dcassandra.config=file://{folder}/cassandra.yaml"),
        format!("-Dcassandra.storagedir={folder}/data"),
        format!("-Dcassandra.logdir={folder}"),
        format!("-Dlogback.configurationFile={folder}/logback.xml"),
        format!("-Dcassandra.jmx.local.port={jmx_port}"),
        format!("-Dcassandra.ring_delay_ms={ring_delay_ms}"),
    ]);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cassandra::{Credentials, Tls};
    use crate::password::Password;

    fn written(options: &Options) -> String {
        let seeds = [Ipv4Addr::new(127, 1, 2, 1), Ipv4Addr::new(127, 1, 2, 2)];
        let place = Place {
            ip: seeds[1],
            announced: seeds[1],
            folder: Path::new("/tmp/x/n2"),
            seeds: &seeds,
            auto_bootstrap: false,
            strict: true,
            tokens: Some("1,2".to_owned()),
        };
        yaml(options, &place)
    }

    #[test]
    fn a_node_is_durable_and_stops_when_its_disk_fails() {
        let text = written(&Options::default());
        for line in [
            "listen_address: 127.1.2.2",
            "    parameters: [{seeds: \"127.1.2.1,127.1.2.2\"}]",
            "auto_bootstrap: false",
            "initial_token: \"1,2\"",
            "commitlog_sync: group",
            "commitlog_sync_group_window: 5ms",
            "disk_failure_policy: stop",
            "commit_failure_policy: stop",
            "paxos_variant: v2",
            "authenticator: AllowAllAuthenticator",
            "data_file_directories: [\"/tmp/x/n2/data/data\"]",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("client_encryption"), "{text}");
        assert!(!text.contains("allocate_tokens"), "{text}");
        assert!(!text.contains("broadcast"), "{text}");
    }

    #[test]
    fn own_lines_replace_ours_with_what_was_under_them() {
        let options = Options {
            commitlog_sync: CommitlogSync::Periodic { period_ms: 1000 },
            authentication: Some(Credentials {
                user: "x".to_owned(),
                password: Password::new("secret"),
            }),
            yaml: vec![
                "seed_provider: none".to_owned(),
                "memtable_heap_space: 32MiB".to_owned(),
                "a:".to_owned(),
                "  b: 1".to_owned(),
            ],
            ..Options::default()
        };
        let text = written(&options);
        assert!(!text.contains("SimpleSeedProvider"), "{text}");
        assert!(!text.contains("parameters"), "{text}");
        assert_eq!(text.matches("memtable_heap_space").count(), 1, "{text}");
        assert!(text.ends_with("seed_provider: none\nmemtable_heap_space: 32MiB\na:\n  b: 1\n"));
        assert!(text.contains("commitlog_sync_period: 1000ms"), "{text}");
        assert!(text.contains("PasswordAuthenticator"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn clients_without_tls_are_refused_if_they_are_to_be() {
        for required in [true, false] {
            let options = Options {
                tls: Some(Tls {
                    certificate: "c".into(),
                    key: "k".into(),
                    required,
                }),
                ..Options::default()
            };
            let text = written(&options);
            let line = format!("\n  optional: {}\n", !required);
            assert!(text.contains(&line), "{text}");
            assert!(
                text.contains("  keystore: \"/tmp/x/n2/server.pem\""),
                "{text}"
            );
        }
    }

    #[test]
    fn tokens_are_spread_evenly_over_the_nodes() {
        let mut all: Vec<(i64, u8)> = (0..3)
            .flat_map(|node| {
                even_tokens(node, 3)
                    .split(',')
                    .map(|token| (token.parse().unwrap(), node))
                    .collect::<Vec<_>>()
            })
            .collect();
        all.sort_unstable();
        assert_eq!(all.len(), 48);
        assert_eq!(all[0], (i64::MIN, 0));
        let gap = i128::from(all[1].0) - i128::from(all[0].0);
        for (place, pair) in all.windows(2).enumerate() {
            assert_eq!(i128::from(pair[1].0) - i128::from(pair[0].0), gap);
            assert_eq!(usize::from(pair[0].1), place % 3);
        }
    }

    #[test]
    fn the_quick_compiler_alone_is_for_tests() {
        let words = |compiler| {
            let options = Options {
                compiler,
                ..Options::default()
            };
            java_options(&options, Path::new("/tmp/x"), 7199, 1000).join(" ")
        };
        let quick = words(super::super::Compiler::Quick);
        assert!(
            quick.contains("-XX:TieredStopAtLevel=1 -Xms128m -Xmx512m"),
            "{quick}"
        );
        assert!(!words(super::super::Compiler::Full).contains("TieredStop"));
    }
}
