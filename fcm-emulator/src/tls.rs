//! A throw-away certificate authority and the server's certificate under it.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use crate::StartError;

/// Names the certificate always holds: the loopback ones, and the hosts that Google's SDKs have
/// hard-coded, so that they can be redirected here by a patched resolver.
const HOSTS: [&str; 8] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "fcm.googleapis.com",
    "oauth2.googleapis.com",
    "accounts.google.com",
    "www.googleapis.com",
    "iid.googleapis.com",
];

/// What a TLS listener needs, and the authority its clients have to trust.
pub(crate) struct Tls {
    /// Accepts connections, offering HTTP/2 and HTTP/1.1.
    pub(crate) acceptor: TlsAcceptor,
    /// The authority's certificate. Its key is gone by the time this exists.
    pub(crate) ca_pem: String,
}

/// Makes an authority and a certificate for the usual names and `more`.
pub(crate) fn generate(more: &[String]) -> Result<Tls, StartError> {
    let authority = CertifiedIssuer::self_signed(authority(), KeyPair::generate()?)?;
    let mut hosts: Vec<String> = HOSTS.iter().map(ToString::to_string).collect();
    hosts.extend(more.iter().filter(|host| !HOSTS.contains(&host.as_str())).cloned());
    let mut leaf = CertificateParams::new(hosts)?;
    leaf.distinguished_name.push(DnType::CommonName, "Aftercare FCM emulator");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&key, &authority)?;

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), ca_pem: authority.pem() })
}

fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Aftercare FCM emulator, throw-away CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
