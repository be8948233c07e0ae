//! One HTTP/2 connection: clear text with prior knowledge, or TLS with ALPN `h2`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Request, StatusCode};
use rustls::pki_types::ServerName;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use super::dial::{Dial, Link};
use super::endpoint::Endpoint;
use crate::tls;

/// Reaching a server (TCP, TLS and the HTTP/2 preface together) may take this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// One request and its whole answer may take this long: Google asks for at least ten seconds.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The most that is read of one answer; FCM's are below one kilobyte.
const BODY_MAX: usize = 64 * 1024;

/// Why no connection could be made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    /// DNS, TCP or TLS failed.
    #[error("cannot reach {endpoint}: {cause}")]
    Unreachable {
        /// The server.
        endpoint: Endpoint,
        /// What the system said.
        cause: Arc<io::Error>,
    },
    /// The server did not answer in time.
    #[error("{0} did not answer within 10 s")]
    TimedOut(Endpoint),
    /// The server speaks something else than HTTP/2.
    #[error("{0} does not speak HTTP/2")]
    NotHttp2(Endpoint),
    /// No usable root certificate, or a host name that cannot be in a certificate.
    #[error("TLS is not usable: {0}")]
    Tls(String),
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// The server certainly did not process it: it can go out on another connection at once.
    #[error("the connection closed before the request was processed")]
    NotProcessed,
    /// Whether the server processed it is not known.
    #[error("the connection broke: {0}")]
    Broken(#[from] h2::Error),
    /// No answer, or not all of it, in time.
    #[error("no answer within 10 s")]
    TimedOut,
}

/// A whole answer; the body is cut at 64 KiB.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// From the request's first byte to the answer's headers.
    pub(crate) took: Duration,
}

/// Makes connections to one server.
#[derive(Clone)]
pub(crate) struct Connector {
    endpoint: Endpoint,
    dial: Arc<dyn Dial>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Connector {
    /// Roots come from the system, or from `SSL_CERT_FILE` / `SSL_CERT_DIR` when set.
    pub(crate) fn new(endpoint: Endpoint, dial: Arc<dyn Dial>) -> Result<Self, ConnectError> {
        let tls = if endpoint.is_tls() { Some(tls_for(&endpoint)?) } else { None };
        Ok(Self { endpoint, dial, tls })
    }

    /// Opens a connection. `on_close` is told when it ends.
    pub(crate) async fn connect(&self, on_close: Arc<Notify>) -> Result<Connection, ConnectError> {
        timeout(CONNECT_TIMEOUT, self.open(on_close))
            .await
            .unwrap_or_else(|_| Err(ConnectError::TimedOut(self.endpoint.clone())))
    }

    async fn open(&self, on_close: Arc<Notify>) -> Result<Connection, ConnectError> {
        let unreachable = |cause: io::Error| ConnectError::Unreachable {
            endpoint: self.endpoint.clone(),
            cause: Arc::new(cause),
        };
        let (host, port) = (self.endpoint.host(), self.endpoint.port());
        let link = self.dial.dial(host, port).await.map_err(unreachable)?;
        let Some((tls, name)) = &self.tls else {
            return self.handshake(link, on_close).await;
        };
        let stream = tls.connect(name.clone(), link).await.map_err(unreachable)?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(ConnectError::NotHttp2(self.endpoint.clone()));
        }
        self.handshake(stream, on_close).await
    }

    async fn handshake(
        &self,
        stream: impl Link + 'static,
        on_close: Arc<Notify>,
    ) -> Result<Connection, ConnectError> {
        let (sender, driver) = h2::client::Builder::new()
            .enable_push(false)
            .handshake::<_, Bytes>(stream)
            .await
            .map_err(|_| ConnectError::NotHttp2(self.endpoint.clone()))?;
        let closed = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&closed);
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "an HTTP/2 connection ended");
            }
            ends.store(true, Ordering::Release);
            on_close.notify_waiters();
        });
        Ok(Connection {
            sender,
            closed,
            in_flight: AtomicUsize::new(0),
            opened: Instant::now(),
            last_answer_ms: AtomicU64::new(0),
        })
    }
}

fn tls_for(endpoint: &Endpoint) -> Result<(TlsConnector, ServerName<'static>), ConnectError> {
    let config = tls::config(b"h2").map_err(ConnectError::Tls)?;
    let name = ServerName::try_from(endpoint.host().to_owned())
        .map_err(|_| ConnectError::Tls(format!("{endpoint} has no valid host name")))?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}

/// An open connection. Streams are counted by its owner through [`Connection::begin`].
pub(crate) struct Connection {
    sender: SendRequest<Bytes>,
    closed: Arc<AtomicBool>,
    in_flight: AtomicUsize,
    opened: Instant,
    last_answer_ms: AtomicU64,
}

impl Connection {
    /// Whether new requests may go out on it.
    pub(crate) fn is_open(&self) -> bool {
        !self.closed.load(Ordering::Acquire)
    }

    /// No new requests; those in flight finish.
    pub(crate) fn retire(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Requests in flight.
    pub(crate) fn load(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// The peer's limit on concurrent streams.
    pub(crate) fn peer_limit(&self) -> usize {
        self.sender.current_max_send_streams()
    }

    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }

    /// How long ago the server last answered here, or the connection was opened.
    pub(crate) fn silent_for(&self, now: Instant) -> Duration {
        let heard = Duration::from_millis(self.last_answer_ms.load(Ordering::Acquire));
        now.saturating_duration_since(self.opened + heard)
    }

    /// Sends one request with its whole body and reads the whole answer, in 10 s.
    ///
    /// A connection on which the server has said nothing at all while we waited is retired, so
    /// that the next request opens a fresh one.
    pub(crate) async fn request(
        &self,
        request: Request<()>,
        body: Bytes,
    ) -> Result<Response, RequestError> {
        let began = Instant::now();
        let result = timeout_at(began + REQUEST_TIMEOUT, self.exchange(request, body, began)).await;
        let result = result.unwrap_or(Err(RequestError::TimedOut));
        match &result {
            Ok(_) => {}
            Err(RequestError::TimedOut) if self.silent_for(Instant::now()) < REQUEST_TIMEOUT => {}
            Err(RequestError::Broken(error)) if error.is_reset() => {}
            Err(_) => self.retire(),
        }
        result
    }

    async fn exchange(
        &self,
        request: Request<()>,
        body: Bytes,
        began: Instant,
    ) -> Result<Response, RequestError> {
        let not_sent = |_| RequestError::NotProcessed;
        let mut sender = self.sender.clone().ready().await.map_err(not_sent)?;
        let (response, mut stream) = sender.send_request(request, false).map_err(not_sent)?;
        stream.send_data(body, true).map_err(answer_error)?;
        let response = response.await.map_err(answer_error)?;
        let took = began.elapsed();
        let heard = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_answer_ms.fetch_max(heard, Ordering::AcqRel);
        let (parts, incoming) = response.into_parts();
        let body = read_body(incoming).await?;
        Ok(Response { status: parts.status, headers: parts.headers, body, took })
    }
}

/// GOAWAY without an error and `REFUSED_STREAM` say that nothing was done (RFC 9113 §8.7).
fn answer_error(error: h2::Error) -> RequestError {
    let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    let leaving = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
    if error.is_remote() && (refused || leaving) {
        RequestError::NotProcessed
    } else {
        RequestError::Broken(error)
    }
}

async fn read_body(mut incoming: h2::RecvStream) -> Result<Bytes, RequestError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = incoming.data().await {
        let chunk = chunk?;
        // Releasing what was never reserved is the only error; there is nothing to undo.
        let _ = incoming.flow_control().release_capacity(chunk.len());
        let room = BODY_MAX - body.len();
        body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if body.len() >= BODY_MAX {
            break;
        }
    }
    Ok(body.freeze())
}
