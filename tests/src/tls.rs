//! TLS for what the tests serve.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Accepts connections with the certificate and the key of two PEM files.
pub fn acceptor(certificate: &Path, key: &Path) -> TlsAcceptor {
    let certificates = CertificateDer::pem_file_iter(certificate).unwrap();
    accepting(
        certificates.collect::<Result<_, _>>().unwrap(),
        PrivateKeyDer::from_pem_file(key).unwrap(),
    )
}

/// Accepts connections for these names with a certificate that nobody vouches for.
pub fn self_signed(names: &[&str]) -> TlsAcceptor {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    accepting(vec![made.cert.der().clone()], made.signing_key.into())
}

fn accepting(
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> TlsAcceptor {
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
