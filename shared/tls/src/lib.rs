//! The TLS configuration of the clients that do not call AWS.

use std::sync::{Arc, LazyLock};

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, Error};
use rustls_platform_verifier::BuilderVerifierExt as _;

/// A configuration that trusts the machine's certificates, and speaks HTTP/1.1 over TLS 1.2 or 1.3.
///
/// It is made once for the process. By itself, each client would read the machine's certificates again, which takes
/// milliseconds.
pub fn client_config() -> Result<ClientConfig, Error> {
    static CONFIG: LazyLock<Result<ClientConfig, Error>> = LazyLock::new(|| {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_platform_verifier()?
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    });
    CONFIG.clone()
}
