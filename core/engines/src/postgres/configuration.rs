//! The files that a server reads: its settings, and who may connect.

use std::fmt::Write;
use std::path::Path;

use super::options::{Authentication, Options};

/// The role that starts, stops and promotes; over the Unix socket alone.
pub const SUPERUSER: &str = "postgres";

/// Our settings, which `postgresql.conf` includes at its end.
pub const SETTINGS_FILE: &str = "lombard.conf";

/// The folder of the archived log, beside the data.
pub const ARCHIVE: &str = "archive";

/// Copies a full segment of the log (`%p`) into a folder under its name (`%f`): whole and on
/// disk, or not under that name. One that is there already is right if it is the same (the
/// server died before it noted it), and is never replaced by another. PostgreSQL manual,
/// chapter "Continuous Archiving", section "Setting Up WAL Archiving".
pub fn archive_command(folder: &Path) -> String {
    let to = format!("{}/%f", folder.display());
    format!(
        "cmp -s %p {to} || {{ test ! -f {to} && cp %p {to}.part && sync {to}.part && mv {to}.part {to}; }}"
    )
}

/// What brings a segment back.
pub fn restore_command(folder: &Path) -> String {
    format!("cp {}/%f %p", folder.display())
}

/// What a replica needs to know.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Of the connection to the primary, in its keywords.
    pub connection: String,
}

/// The settings.
pub fn settings(
    options: &Options,
    port: u16,
    sockets: &Path,
    upstream: Option<&Upstream>,
) -> String {
    let on = |yes: bool| if yes { "on" } else { "off" };
    let mut lines = vec![
        ("listen_addresses", "127.0.0.1".to_owned()),
        ("port", port.to_string()),
        ("unix_socket_directories", sockets.display().to_string()),
        ("unix_socket_permissions", "0700".to_owned()),
        ("max_connections", options.max_connections.to_string()),
        (
            "shared_buffers",
            format!("{}MB", options.shared_buffers_mib),
        ),
        // In the data folder: /dev/shm is small in containers, and outlives a kill.
        ("dynamic_shared_memory_type", "mmap".to_owned()),
        ("fsync", on(options.durable).to_owned()),
        ("full_page_writes", on(options.durable).to_owned()),
        ("synchronous_commit", "on".to_owned()),
        ("wal_level", "replica".to_owned()),
        ("max_wal_senders", "5".to_owned()),
        // What a replica lacks after its base copy, or after having been away.
        ("wal_keep_size", "256MB".to_owned()),
        ("hot_standby", "on".to_owned()),
        ("logging_collector", "off".to_owned()),
        ("log_line_prefix", "%m [%p] ".to_owned()),
    ];
    if options.tls.is_some() {
        lines.extend([
            ("ssl", "on".to_owned()),
            ("ssl_cert_file", super::server::CERTIFICATE.to_owned()),
            ("ssl_key_file", super::server::KEY.to_owned()),
        ]);
    }
    if options.archived {
        lines.extend([
            ("archive_mode", "on".to_owned()),
            ("archive_command", archive_command(&sockets.join(ARCHIVE))),
        ]);
    }
    if let Some(upstream) = upstream {
        lines.push(("primary_conninfo", upstream.connection.clone()));
    }
    let extra = options
        .settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()));
    let mut text = String::new();
    for (name, value) in lines.into_iter().chain(extra) {
        // Writing to a String does not fail.
        let _written = writeln!(text, "{name} = {}", quoted(&value));
    }
    text
}

/// Who may connect (`pg_hba.conf`): the first line that fits decides.
pub fn access(options: &Options) -> String {
    let method = match options.authentication {
        Authentication::Trust => "trust",
        Authentication::Password(_) => "scram-sha-256",
    };
    let kind = match &options.tls {
        Some(tls) if tls.required => "hostssl",
        _ => "host",
    };
    format!(
        "local all all trust\n\
         host replication {SUPERUSER} 127.0.0.1/32 trust\n\
         {kind} all all 127.0.0.1/32 {method}\n"
    )
}

/// A text in single quotes, as settings and SQL have it.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::Password;
    use crate::postgres::Tls;

    #[test]
    fn a_durable_server_is_the_default_and_own_settings_come_last() {
        let options = Options {
            settings: vec![("work_mem".to_owned(), "it's".to_owned())],
            ..Options::default()
        };
        let text = settings(&options, 15_432, Path::new("/tmp/x"), None);
        for line in [
            "listen_addresses = '127.0.0.1'",
            "port = '15432'",
            "unix_socket_directories = '/tmp/x'",
            "fsync = 'on'",
            "synchronous_commit = 'on'",
            "shared_buffers = '64MB'",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert_eq!(text.lines().last(), Some("work_mem = 'it''s'"));
        assert!(!text.contains("ssl"), "{text}");
        assert!(!text.contains("primary_conninfo"), "{text}");
    }

    #[test]
    fn tls_that_is_required_leaves_no_line_for_connections_without() {
        let options = Options {
            authentication: Authentication::Password(Password::new("x")),
            tls: Some(Tls {
                certificate: "c".into(),
                key: "k".into(),
                required: true,
            }),
            ..Options::default()
        };
        let text = access(&options);
        assert!(
            text.contains("\nhostssl all all 127.0.0.1/32 scram-sha-256\n"),
            "{text}"
        );
        assert!(!text.contains("\nhost all"), "{text}");
        assert!(access(&Options::default()).contains("\nhost all all 127.0.0.1/32 trust\n"));
        let text = settings(&options, 1, Path::new("/tmp/x"), None);
        assert!(text.contains("ssl = 'on'"), "{text}");
    }
}
