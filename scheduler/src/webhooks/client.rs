//! One request to an address that somebody else chose.
//!
//! The name is resolved here, every address that it has is looked at, and the connection goes to one of those
//! that were looked at: nothing is resolved a second time. No redirect is followed, and of the answer only the
//! status counts.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aftercare::webhook::{Reach, WebhookUrl};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::tls;

/// From the look-up of the name to the status of the answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How many names are looked up at once. A look-up cannot be called off, and the threads that it holds are
/// those that the database works on.
const LOOK_UPS: usize = 16;
/// The most that is read of an answer: its head.
const HEAD_MAX: usize = 16 * 1024;

/// What a message goes out with, beside its body.
pub(super) struct Envelope {
    pub(super) id: String,
    pub(super) timestamp: i64,
    pub(super) signature: String,
}

/// Why there is no answer. Told to the clinic, so nothing of the server's inside is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SendError {
    #[error("the host name cannot be resolved")]
    Unresolved,
    #[error("the host name leads to an address that is not public")]
    NotPublic,
    #[error("no connection could be made")]
    Unreachable,
    #[error("TLS failed: the certificate is not valid for this host")]
    Tls,
    #[error("no answer within 10 s")]
    TimedOut,
    #[error("the answer is not HTTP/1.1")]
    NotHttp,
}

/// From a host's name and a port to its addresses.
type Resolve = dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync;

/// Sends messages.
pub(super) struct Client {
    reach: Reach,
    resolve: Box<Resolve>,
    tls: OnceLock<TlsConnector>,
}

impl Client {
    pub(super) fn new(reach: Reach) -> Self {
        let turns = Arc::new(Semaphore::new(LOOK_UPS));
        let resolve: Box<Resolve> = Box::new(move |host, port| {
            let turns = Arc::clone(&turns);
            Box::pin(async move {
                let turn = turns.acquire_owned().await.map_err(io::Error::other)?;
                let looked_up = spawn_blocking(move || {
                    let _turn = turn;
                    Ok((host.as_str(), port).to_socket_addrs()?.collect())
                });
                looked_up.await?
            })
        });
        Self { reach, resolve, tls: OnceLock::new() }
    }

    pub(super) async fn send(
        &self,
        url: &WebhookUrl,
        envelope: &Envelope,
        body: String,
    ) -> Result<StatusCode, SendError> {
        let sending = self.exchange(url, envelope, body);
        timeout(PATIENCE, sending).await.unwrap_or(Err(SendError::TimedOut))
    }

    async fn exchange(
        &self,
        url: &WebhookUrl,
        envelope: &Envelope,
        body: String,
    ) -> Result<StatusCode, SendError> {
        let found = (self.resolve)(url.host().to_owned(), url.port()).await;
        let addresses = allowed(self.reach, found.map_err(|_| SendError::Unresolved)?)?;
        let tcp = TcpStream::connect(addresses.as_slice()).await;
        let tcp = tcp.map_err(|_| SendError::Unreachable)?;
        let request = request(url, envelope, body).ok_or(SendError::NotHttp)?;
        if !url.is_tls() {
            return post(tcp, request).await;
        }
        let name = ServerName::try_from(url.host().to_owned()).map_err(|_| SendError::Tls)?;
        let stream = self.connector()?.connect(name, tcp).await.map_err(|_| SendError::Tls)?;
        post(stream, request).await
    }

    fn connector(&self) -> Result<TlsConnector, SendError> {
        if let Some(connector) = self.tls.get() {
            return Ok(connector.clone());
        }
        let config = tls::config(b"http/1.1").map_err(|error| {
            tracing::error!(error, "webhooks cannot be sent");
            SendError::Tls
        })?;
        Ok(self.tls.get_or_init(|| TlsConnector::from(Arc::new(config))).clone())
    }
}

/// All of the addresses, or none: a name with one address inside is not to be trusted with the others.
fn allowed(reach: Reach, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, SendError> {
    if found.is_empty() {
        return Err(SendError::Unresolved);
    }
    let all = found.iter().all(|address| reach.allows(address.ip()));
    if all { Ok(found) } else { Err(SendError::NotPublic) }
}

fn request(url: &WebhookUrl, envelope: &Envelope, body: String) -> Option<Request<Full<Bytes>>> {
    let host =
        if url.host().contains(':') { format!("[{}]", url.host()) } else { url.host().into() };
    let usual = if url.is_tls() { 443 } else { 80 };
    let authority = if url.port() == usual { host } else { format!("{host}:{}", url.port()) };
    Request::builder()
        .method(Method::POST)
        .uri(url.target())
        .header(HOST, authority)
        .header(USER_AGENT, "aftercare")
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-id", &envelope.id)
        .header("webhook-timestamp", envelope.timestamp)
        .header("webhook-signature", &envelope.signature)
        .body(Full::new(Bytes::from(body)))
        .ok()
}

async fn post<S>(stream: S, request: Request<Full<Bytes>>) -> Result<StatusCode, SendError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let shaken = http1::Builder::new().max_buf_size(HEAD_MAX).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|_| SendError::NotHttp)?;
    // Whoever gives up drops both, and with them the connection.
    let mut connection = Box::pin(connection);
    let mut answer = std::pin::pin!(sender.send_request(request));
    let answer = tokio::select! {
        answer = &mut answer => answer,
        // A connection that ends may have brought the answer.
        _ = &mut connection => {
            drop(connection);
            answer.await
        }
    };
    answer.map(|answer| answer.status()).map_err(|_| SendError::NotHttp)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;

    use fcm_emulator::{Emulator, EmulatorConfig};
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    fn addresses(of: &[&str]) -> Vec<SocketAddr> {
        of.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn one_address_inside_spoils_a_name() {
        let public = addresses(&["93.184.215.14:443", "[2606:4700::1111]:443"]);
        assert_eq!(allowed(Reach::Internet, public.clone()), Ok(public));
        for inside in ["10.0.0.1:443", "127.0.0.1:443", "[::ffff:10.0.0.1]:443", "[fd00::1]:443"] {
            let mixed = addresses(&["93.184.215.14:443", inside]);
            assert_eq!(allowed(Reach::Internet, mixed), Err(SendError::NotPublic), "{inside}");
        }
        assert_eq!(allowed(Reach::Internet, Vec::new()), Err(SendError::Unresolved));
    }

    fn envelope() -> Envelope {
        Envelope { id: "1".into(), timestamp: 1, signature: "v1,".into() }
    }

    /// A client that trusts this authority alone.
    fn trusting(ca_pem: &str) -> Client {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
        let config = tls::with_roots(roots, b"http/1.1").unwrap();
        let tls = OnceLock::from(TlsConnector::from(Arc::new(config)));
        Client { tls, ..Client::new(Reach::LoopbackToo) }
    }

    #[tokio::test]
    async fn certificates_are_verified() {
        let tls = || EmulatorConfig { tls: true, ..EmulatorConfig::default() };
        let server = Emulator::start(tls()).await.unwrap();
        let stranger = Emulator::start(tls()).await.unwrap();
        let url = format!("{}/hook", server.base_url());
        let url = WebhookUrl::parse(&url, Reach::LoopbackToo).unwrap();
        let send = async |client: Client| client.send(&url, &envelope(), "{}".to_owned()).await;
        let trusted = send(trusting(server.ca_pem().unwrap())).await;
        assert_eq!(trusted, Ok(StatusCode::NOT_FOUND), "the emulator knows no such path");
        let distrusted = send(trusting(stranger.ca_pem().unwrap())).await;
        assert_eq!(distrusted, Err(SendError::Tls));
    }

    /// A client to whom every name leads there at first, and elsewhere from then on; and how often it asks.
    fn misled(reach: Reach, at_first: &[&str], later: &[&str]) -> (Client, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let answers = [addresses(at_first), addresses(later)];
        let resolve: Box<Resolve> = Box::new(move |_, _| {
            let answer = answers[usize::from(counted.fetch_add(1, Relaxed) > 0)].clone();
            Box::pin(async move { Ok(answer) })
        });
        (Client { resolve, ..Client::new(reach) }, asked)
    }

    #[tokio::test]
    async fn the_connection_goes_to_the_address_that_was_looked_at() {
        let server = Emulator::start(EmulatorConfig::default()).await.unwrap();
        let here = server.base_url().strip_prefix("http://").unwrap();
        let (client, asked) = misled(Reach::LoopbackToo, &[here], &["10.0.0.1:80"]);
        // Whoever resolves the name anew comes to this port, where nobody listens.
        let url = WebhookUrl::parse("http://localhost:1/hook", Reach::LoopbackToo).unwrap();
        let sent = client.send(&url, &envelope(), String::new()).await;
        assert_eq!(sent, Ok(StatusCode::NOT_FOUND), "the server knows no such path");
        assert_eq!(asked.load(Relaxed), 1, "resolved once");
    }

    #[tokio::test]
    async fn a_name_is_refused_for_where_it_leads() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let url = WebhookUrl::parse("https://hooks.example/", Reach::Internet).unwrap();
        for inside in [
            here.to_string().as_str(),
            "10.1.2.3:443",
            "169.254.169.254:443",
            "172.16.0.1:443",
            "192.168.0.1:443",
            "[::1]:443",
            "[fc00::1]:443",
            "[fe80::1]:443",
            "[::ffff:127.0.0.1]:443",
            "[::ffff:10.0.0.1]:443",
            "[64:ff9b::a00:1]:443",
        ] {
            let (client, asked) = misled(Reach::Internet, &[inside], &["93.184.215.14:443"]);
            let sent = client.send(&url, &envelope(), String::new()).await;
            assert_eq!(sent, Err(SendError::NotPublic), "{inside}");
            assert_eq!(asked.load(Relaxed), 1, "{inside}");
        }
        let accepted = timeout(Duration::ZERO, listener.accept()).await;
        assert!(accepted.is_err(), "somebody connected");
    }

    #[tokio::test]
    async fn names_that_lead_inside_are_not_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = Client::new(Reach::Internet);
        // What was fine when it was registered may lead elsewhere by now: the URL is parsed as in development.
        for host in ["localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001"] {
            let url = format!("https://{host}:{port}/");
            let url = WebhookUrl::parse(&url, Reach::LoopbackToo).unwrap();
            let sent = client.send(&url, &envelope(), String::new()).await;
            assert!(
                matches!(sent, Err(SendError::NotPublic | SendError::Unresolved)),
                "{host}: {sent:?}"
            );
        }
        let accepted = timeout(Duration::ZERO, listener.accept()).await;
        assert!(accepted.is_err(), "somebody connected");
    }
}
