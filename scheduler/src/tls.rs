//! The one TLS stack of everything that goes out.

use std::sync::Arc;

/// A client's side of TLS that speaks one protocol. Roots come from the system, or from `SSL_CERT_FILE` /
/// `SSL_CERT_DIR` when set.
///
/// # Errors
/// When there is no root certificate.
pub(crate) fn config(alpn: &[u8]) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "root certificates cannot be read; look at SSL_CERT_FILE");
    }
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(
            "no root certificates found; install ca-certificates or set SSL_CERT_FILE".to_owned()
        );
    }
    with_roots(roots, alpn)
}

/// The same with these roots.
pub(crate) fn with_roots(
    roots: rustls::RootCertStore,
    alpn: &[u8],
) -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(config)
}
