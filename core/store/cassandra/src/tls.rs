//! Encrypted connections: what the driver is given to check nodes by.

use std::path::Path;
use std::sync::Arc;

use lombard_store::StoreError;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::options::TlsOptions;

/// The configuration of TLS 1.2 and 1.3 that these options ask for.
///
/// # Errors
/// [`StoreError::Misconfigured`] names the file that cannot be used, and why.
pub(crate) fn client_config(options: &TlsOptions) -> Result<Arc<ClientConfig>, StoreError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&options.ca_file)? {
        let added = roots.add(certificate);
        added.map_err(|error| unusable(&options.ca_file, &error))?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| unusable(&options.ca_file, &error))?;
    let verifier: Arc<dyn ServerCertVerifier> = if options.check_server_name {
        verifier
    } else {
        Arc::new(AnyName(verifier))
    };
    let config = builder(provider)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match (&options.certificate_file, &options.key_file) {
        (None, None) => config.with_no_client_auth(),
        (Some(chain), Some(key)) => {
            let private = PrivateKeyDer::from_pem_file(key).map_err(|e| unusable(key, &e))?;
            config
                .with_client_auth_cert(certificates(chain)?, private)
                .map_err(|error| unusable(chain, &error))?
        }
        _ => {
            return Err(StoreError::Misconfigured(
                "cassandra: tls: certificate_file and key_file go together".into(),
            ));
        }
    };
    Ok(Arc::new(config))
}

fn builder(
    provider: Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, StoreError> {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Misconfigured(format!("cassandra: tls: {error}")))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    match read {
        Err(error) => Err(unusable(file, &error)),
        Ok(found) => {
            let found: Vec<CertificateDer<'static>> = found;
            if found.is_empty() {
                return Err(unusable(file, &"there is no certificate in it"));
            }
            Ok(found)
        }
    }
}

fn unusable(file: &Path, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Misconfigured(format!("cassandra: tls: {}: {why}", file.display()))
}

/// Takes a certificate that goes back to the right authority, whatever name is in it.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self
            .0
            .verify_server_cert(certificate, intermediates, name, ocsp, now);
        match verified {
            // The name is checked last, when all else was found to be right.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
