//! PostgreSQL over tokio-postgres and rustls: no libpq, no OpenSSL.

use std::cell::Cell;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use diesel_async::async_connection_wrapper::BlockOn;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error as TlsError, SignatureScheme};
use tokio::runtime::Runtime;
use tokio_postgres::NoTls;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::StoreError;
use super::conn::PgConnection;

/// How long a new connection may take, elapsed.
const CONNECT: Duration = Duration::from_secs(5);

/// No query of ours takes long; one that does is stuck, and a stuck one must not hold locks.
///
/// Every query has its index, and statements live as long as their connection: so each is planned once, and
/// never, because its tables were small then or looked small by old statistics, to read all of them.
const SESSION: &str = "SET lock_timeout = '10s';
    SET statement_timeout = '30s';
    SET idle_in_transaction_session_timeout = '60s';
    SET plan_cache_mode = force_generic_plan;
    SET enable_seqscan = off;
    SET jit = off;";

/// One database on one server.
pub(super) struct Server {
    config: tokio_postgres::Config,
    tls: Option<MakeRustlsConnect>,
}

impl Server {
    /// The database that a `postgres:` URL names. Connects to nothing yet.
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        let (plain, tls) = split_tls(url)?;
        let mut config = tokio_postgres::Config::from_str(&plain)
            .map_err(|error| StoreError::Settings(chain(&error)))?;
        config.ssl_mode(tls.mode.negotiation());
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_application_name().is_none() {
            config.application_name("aftercare");
        }
        let tls = tls.client_config()?.map(MakeRustlsConnect::new);
        Ok(Self { config, tls })
    }

    pub(super) fn connect(&self) -> Result<PgConnection, StoreError> {
        let driver = Driver::new()?;
        let conn = driver.block_on(async {
            tokio::time::timeout(2 * CONNECT, self.establish())
                .await
                .unwrap_or_else(|_| Err(StoreError::Unavailable("connecting took too long".into())))
        })?;
        Ok(driver.of(conn))
    }

    async fn establish(&self) -> Result<AsyncPgConnection, StoreError> {
        let failed = |error: tokio_postgres::Error| StoreError::Unavailable(chain(&error));
        let mut conn = if let Some(tls) = self.tls.clone() {
            let (client, connection) = self.config.connect(tls).await.map_err(failed)?;
            AsyncPgConnection::try_from_client_and_connection(client, connection).await?
        } else {
            let (client, connection) = self.config.connect(NoTls).await.map_err(failed)?;
            AsyncPgConnection::try_from_client_and_connection(client, connection).await?
        };
        conn.batch_execute(SESSION).await?;
        Ok(conn)
    }
}

/// What drives one connection: the thread that waits for an answer reads it, too. A thread of its own for all
/// of them would have to be woken for each statement, and wake whoever waits.
pub(super) struct Driver(Option<Runtime>);

thread_local! {
    /// The driver of the connection that this thread is making.
    static MADE: Cell<Option<Driver>> = const { Cell::new(None) };
}

impl Driver {
    fn new() -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime
            .map(|runtime| Self(Some(runtime)))
            .map_err(|error| StoreError::Internal(error.to_string()))
    }

    /// Makes it the driver of a connection that was established on it.
    fn of(self, conn: AsyncPgConnection) -> PgConnection {
        MADE.set(Some(self));
        conn.into()
    }
}

impl BlockOn for Driver {
    fn block_on<F: Future>(&self, work: F) -> F::Output {
        match &self.0 {
            Some(runtime) => runtime.block_on(work),
            None => unreachable!("connections are made by Server::connect"),
        }
    }

    /// Diesel asks for it without saying which connection it is for.
    fn get_runtime() -> Self {
        MADE.take().unwrap_or(Self(None))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Waiting for the runtime would panic when the last handle is dropped in an async task.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("database", &self.config.get_dbname())
            .finish_non_exhaustive()
    }
}

/// An error with its causes; tokio-postgres alone says no more than "error connecting to server".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// How far a server must prove who it is: libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TlsMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl TlsMode {
    fn negotiation(self) -> SslMode {
        match self {
            Self::Disable => SslMode::Disable,
            Self::Prefer => SslMode::Prefer,
            Self::Require | Self::VerifyCa | Self::VerifyFull => SslMode::Require,
        }
    }
}

/// The TLS parameters of a URL. tokio-postgres knows neither certificate checks nor their files.
#[derive(Debug, PartialEq, Eq)]
struct Tls {
    mode: TlsMode,
    /// A PEM file of roots; the system's roots when absent or `system`.
    roots: Option<String>,
}

/// Takes `sslmode` and `sslrootcert` out of the URL's query.
fn split_tls(url: &str) -> Result<(String, Tls), StoreError> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut tls = Tls { mode: TlsMode::Prefer, roots: None };
    let mut rest = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name {
            "sslmode" => tls.mode = mode(value)?,
            "sslrootcert" => tls.roots = Some(decode(value)?),
            _ => rest.push(parameter),
        }
    }
    // As libpq: naming the roots asks for them to be used.
    if tls.mode == TlsMode::Require && tls.roots.is_some() {
        tls.mode = TlsMode::VerifyCa;
    }
    let separator = if rest.is_empty() { "" } else { "?" };
    Ok((format!("{base}{separator}{}", rest.join("&")), tls))
}

fn mode(value: &str) -> Result<TlsMode, StoreError> {
    match value {
        "disable" => Ok(TlsMode::Disable),
        "prefer" | "allow" => Ok(TlsMode::Prefer),
        "require" => Ok(TlsMode::Require),
        "verify-ca" => Ok(TlsMode::VerifyCa),
        "verify-full" => Ok(TlsMode::VerifyFull),
        _ => Err(StoreError::Settings(
            "sslmode is one of disable, prefer, require, verify-ca and verify-full".to_owned(),
        )),
    }
}

/// Undoes percent-encoding.
fn decode(value: &str) -> Result<String, StoreError> {
    let bad = || StoreError::Settings("sslrootcert is not percent-encoded UTF-8".to_owned());
    let mut parts = value.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, text) = part.split_at_checked(2).ok_or_else(bad)?;
        bytes.extend(hex::decode(code).map_err(|_| bad())?);
        bytes.extend_from_slice(text.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

impl Tls {
    fn client_config(&self) -> Result<Option<ClientConfig>, StoreError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match self.mode {
            TlsMode::Disable => return Ok(None),
            TlsMode::Prefer | TlsMode::Require => {
                Arc::new(Lenient { provider: provider.clone(), chain: None })
            }
            TlsMode::VerifyCa => {
                let chain = Some(self.verifier(&provider)?);
                Arc::new(Lenient { provider: provider.clone(), chain })
            }
            TlsMode::VerifyFull => self.verifier(&provider)?,
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| StoreError::Settings(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(Some(config))
    }

    fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<WebPkiServerVerifier>, StoreError> {
        let mut roots = RootCertStore::empty();
        match self.roots.as_deref() {
            None | Some("system") => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            Some(file) => {
                let unusable = |why: &dyn fmt::Display| {
                    StoreError::Settings(format!("sslrootcert {file}: {why}"))
                };
                for root in CertificateDer::pem_file_iter(file).map_err(|error| unusable(&error))? {
                    let root = root.map_err(|error| unusable(&error))?;
                    roots.add(root).map_err(|error| unusable(&error))?;
                }
            }
        }
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|error| StoreError::Settings(format!("no usable root certificates: {error}")))
    }
}

/// `require` and `prefer` (no chain: encrypted, but to whom is not checked) and `verify-ca` (a chain to
/// our roots, under whatever name).
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    chain: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at only once the chain holds.
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_parameters_leave_the_url() {
        let (plain, tls) = split_tls(
            "postgres://u:p@db/aftercare?sslmode=verify-full&sslrootcert=%2Fetc%2Fdb%20ca.pem&options=-cx%3D1",
        )
        .unwrap();
        assert_eq!(plain, "postgres://u:p@db/aftercare?options=-cx%3D1");
        assert_eq!(tls.mode, TlsMode::VerifyFull);
        assert_eq!(tls.roots.as_deref(), Some("/etc/db ca.pem"));

        let (plain, tls) = split_tls("postgres://db/aftercare?sslmode=disable").unwrap();
        assert_eq!((plain.as_str(), tls.mode), ("postgres://db/aftercare", TlsMode::Disable));
        assert_eq!(split_tls("postgres://db/x").unwrap().1.mode, TlsMode::Prefer);
    }

    #[test]
    fn naming_the_roots_asks_for_them() {
        let (_, tls) = split_tls("postgres://db/x?sslmode=require&sslrootcert=ca.pem").unwrap();
        assert_eq!(tls.mode, TlsMode::VerifyCa);
        let missing = tls.client_config().unwrap_err().to_string();
        assert!(missing.contains("sslrootcert ca.pem"), "{missing}");
    }

    #[test]
    fn bad_settings_say_what_is_wrong() {
        for (url, says) in [
            ("postgres://db/x?sslmode=verify", "sslmode is one of"),
            ("postgres://db/x?sslrootcert=%zz", "percent-encoded"),
            ("postgres://db/x?colour=red", "colour"),
            ("postgres://db:port/x", "port"),
        ] {
            let error = Server::parse(url).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
