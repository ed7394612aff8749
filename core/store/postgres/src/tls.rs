//! Encryption of connections, and who is at the other end.

use std::path::Path;
use std::sync::Arc;

use lombard_store::StoreError;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::options::{PostgresOptions, Tls};

/// Decides about encryption, says so in `config`, and makes what does it.
///
/// # Errors
/// [`StoreError::Misconfigured`]: a file is missing, or is not what it should be.
pub fn set_up(
    options: &PostgresOptions,
    config: &mut tokio_postgres::Config,
) -> Result<MakeRustlsConnect, StoreError> {
    let verify = match options.tls {
        Tls::Off => false,
        Tls::Verify => true,
        Tls::Auto => config.get_hosts().iter().any(leaves_the_machine),
    };
    config.ssl_mode(if verify {
        SslMode::Require
    } else {
        SslMode::Disable
    });
    let mut roots = RootCertStore::empty();
    if verify {
        let Some(file) = &options.tls_ca_file else {
            return Err(StoreError::Misconfigured(
                "[postgres] tls_ca_file: to check the server's certificate, name the file of those who \
                 signed it; on a network that nobody else is on, `tls = \"off\"` does without"
                    .into(),
            ));
        };
        for certificate in certificates(file)? {
            roots
                .add(certificate)
                .map_err(|error| unreadable(file, &error.to_string()))?;
        }
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Misconfigured(error.to_string()))?
        .with_root_certificates(roots);
    let config = match (&options.tls_certificate_file, &options.tls_key_file) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate)?;
            let secret = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| unreadable(key, &error.to_string()))?;
            config
                .with_client_auth_cert(chain, secret)
                .map_err(|error| unreadable(certificate, &error.to_string()))?
        }
        (None, None) => config.with_no_client_auth(),
        _ => {
            return Err(StoreError::Misconfigured(
                "[postgres] tls_certificate_file and tls_key_file: give both, or none".into(),
            ));
        }
    };
    Ok(MakeRustlsConnect::new(config))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let all = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(file, &error.to_string()))?;
    if all.is_empty() {
        return Err(unreadable(file, "no certificate is in it"));
    }
    Ok(all)
}

fn unreadable(file: &Path, why: &str) -> StoreError {
    StoreError::Misconfigured(format!("[postgres] {}: {why}", file.display()))
}

fn leaves_the_machine(host: &Host) -> bool {
    match host {
        Host::Unix(_) => false,
        Host::Tcp(name) => {
            let address: Result<std::net::IpAddr, _> = name.parse();
            !address.map_or(name == "localhost", |address| address.is_loopback())
        }
    }
}
