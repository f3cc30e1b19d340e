//! TLS as the clients have it that do not call AWS.

use std::sync::{Arc, LazyLock};

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, Error};
use rustls_platform_verifier::BuilderVerifierExt as _;

/// Trusts what the machine trusts, and speaks HTTP/1.1 over TLS 1.2 or 1.3.
///
/// Made once for the process: a client that is left to itself reads the machine's certificates anew, which takes
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
