//! The server itself: bound, started, and stopped without losing what is in flight.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::{DefaultHeaders, NormalizePath, TrailingSlash, from_fn};
use actix_web::{App, HttpServer, web};
use aftercare::store::{Store, StoreError};
use aftercare::webhook::Reach;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::task::JoinHandle;
use tracing_actix_web::TracingLogger;
use utoipa_actix_web::AppExt as _;

use crate::address::Network;
use crate::apps::Apps;
use crate::auth::{HashError, Hasher, KeyRing};
use crate::cors::{self, Origin};
use crate::desk;
use crate::heavy::Lines;
use crate::limits::{Limiter, Limits};
use crate::routes;
use crate::state::{Api, Readiness, Waker};
use crate::telemetry::{RequestSpan, observe};

/// How long a client may take to close a connection that we are done with.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections at the same time unless it is set: each holds a file descriptor and up to some 100 KiB.
const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(8192).unwrap();
/// Seconds that a graceful stop may take at the very most, whatever grace is asked for.
const LONGEST_GRACE_SECONDS: u64 = 3600;

/// How long a slow client is waited for, in elapsed time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For the head of a request.
    pub head: Duration,
    /// For the whole of its body, from then on.
    pub body: Duration,
    /// Between two requests on one connection.
    pub idle: Duration,
    /// For the client to take any of the answer that it has been sent.
    pub unread: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(20),
            idle: Duration::from_mins(1),
            unread: Duration::from_secs(30),
        }
    }
}

/// The settings of an API server.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Where to listen; port 0 takes a free one, which [`ApiHandle::addr`] tells.
    pub listen: SocketAddr,
    /// The URL that callers reach the server under, without a slash at its end: the issuer of tokens and
    /// the start of every link. `None` = `http://` and the address that was bound.
    pub public_url: Option<String>,
    /// How often callers may ask.
    pub limits: Limits,
    /// Proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<Network>,
    /// The largest request body, in bytes.
    pub body_limit: usize,
    /// How long slow clients are waited for.
    pub patience: Patience,
    /// Connections served at the same time; more wait until one ends.
    pub connections: NonZeroUsize,
    /// Origins whose web apps may call; none by default.
    pub cors: Vec<Origin>,
    /// The apps that invitations open in.
    pub apps: Apps,
    /// How far clinics' webhooks may reach; the scheduler has the same setting.
    pub webhooks: Reach,
    /// Worker threads; `None` = one for each core.
    pub workers: Option<NonZeroUsize>,
    /// What `/metrics` renders; `None` answers it with an empty page.
    pub metrics: Option<PrometheusHandle>,
}

impl ApiConfig {
    /// The defaults: 64 KiB bodies, the contract's limits, no trusted proxies.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            public_url: None,
            limits: Limits::default(),
            trusted_proxies: Vec::new(),
            body_limit: 64 * 1024,
            patience: Patience::default(),
            connections: CONNECTIONS,
            cors: Vec::new(),
            apps: Apps::default(),
            webhooks: Reach::default(),
            workers: None,
            metrics: None,
        }
    }
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The signing keys cannot be read or made.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Client secrets cannot be checked.
    #[error(transparent)]
    Hash(#[from] HashError),
}

/// A running server. Dropping it does not stop it: call [`ApiHandle::stop`].
pub struct ApiHandle {
    address: SocketAddr,
    public_url: String,
    server: ServerHandle,
    running: JoinHandle<std::io::Result<()>>,
}

impl ApiHandle {
    /// The address that was bound.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The URL that callers reach the server under, without a slash at its end.
    #[must_use]
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    /// Takes no new connections, lets what is in flight finish for up to `grace` (elapsed time), closes
    /// idle connections at once, and returns when all workers are gone.
    pub async fn stop(self, grace: Duration) {
        if tokio::time::timeout(grace, self.server.stop(true)).await.is_err() {
            tracing::warn!("requests were still in flight when the grace period ended");
        }
        // A no-op after a stop that ended in time. Its end is that of the acceptor, not of the workers.
        self.running.abort();
        if let Ok(Err(error)) = self.running.await {
            tracing::error!(%error, "the server ended with an error");
        }
    }
}

impl fmt::Debug for ApiHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiHandle").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Binds and starts a server, on threads of its own; call it inside a tokio runtime.
///
/// actix runs its workers on threads that each have a single-threaded runtime, so the server and a
/// multi-threaded tokio runtime share a process without sharing threads. Signals stay the caller's.
///
/// # Errors
/// When the address cannot be bound, or the store gives no signing key.
pub async fn start(
    store: Store,
    config: ApiConfig,
    readiness: Arc<dyn Readiness>,
    waker: Waker,
) -> Result<ApiHandle, StartError> {
    let listen = |cause| StartError::Listen { address: config.listen, cause };
    let listener = std::net::TcpListener::bind(config.listen).map_err(listen)?;
    give_up_on_who_reads_nothing(&listener, config.patience.unread).map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let public_url = config.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
    let public_url = public_url.trim_end_matches('/').to_owned();
    let hasher = Hasher::new(store.env())?;
    let keys = KeyRing::open(store.clone()).await?;
    let api = web::Data::new(Api {
        keys,
        hasher,
        limiter: Limiter::new(&config.limits),
        lines: Lines::default(),
        public_url: public_url.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        body_limit: config.body_limit,
        body_timeout: config.patience.body,
        cors: config.cors.clone(),
        apps: config.apps.clone(),
        webhooks: config.webhooks,
        readiness,
        metrics: config.metrics.clone(),
        waker,
        wrote: tokio::sync::Mutex::default(),
        store,
    });
    let server = build(&api, listener, &config).map_err(listen)?;
    let handle = server.handle();
    let running = tokio::spawn(server);
    tracing::info!(%address, public_url, "the API listens");
    Ok(ApiHandle { address, public_url, server: handle, running })
}

fn build(
    api: &web::Data<Api>,
    listener: std::net::TcpListener,
    config: &ApiConfig,
) -> std::io::Result<actix_web::dev::Server> {
    let secure = api.public_url.starts_with("https://");
    let api = api.clone();
    let documents = web::Data::new(routes::Documents::new(&api.public_url));
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let workers = config.workers.unwrap_or(cores);
    let server = HttpServer::new(move || {
        let (app, _) = App::new()
            .app_data(api.clone())
            .app_data(documents.clone())
            .into_utoipa_app()
            .configure(routes::configure)
            .split_for_parts();
        app.configure(desk::routes)
            .default_service(web::to(routes::fallback))
            .wrap(from_fn(routes::refuse_unknown_query))
            .wrap(from_fn(routes::refuse_nul))
            .wrap(from_fn(routes::head_as_get))
            .wrap(from_fn(cors::share))
            .wrap(headers(secure))
            .wrap(from_fn(observe))
            .wrap(TracingLogger::<RequestSpan>::new())
            .wrap(NormalizePath::new(TrailingSlash::MergeOnly))
    })
    .disable_signals()
    .shutdown_timeout(LONGEST_GRACE_SECONDS)
    .workers(workers.get())
    .max_connections(config.connections.get().div_ceil(workers.get()))
    .client_request_timeout(config.patience.head)
    .client_disconnect_timeout(CLOSE_TIMEOUT)
    .keep_alive(config.patience.idle)
    .listen(listener)?;
    Ok(server.run())
}

/// Lets the kernel close a connection whose peer takes nothing of what it was sent: actix waits for
/// ever. Accepted connections inherit it.
fn give_up_on_who_reads_nothing(
    listener: &std::net::TcpListener,
    after: Duration,
) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(listener).set_tcp_user_timeout(Some(after))?;
    #[cfg(not(target_os = "linux"))]
    let _ = (listener, after);
    Ok(())
}

/// What every answer carries, unless a handler says otherwise.
fn headers(secure: bool) -> DefaultHeaders {
    let headers = DefaultHeaders::new()
        .add(("x-content-type-options", "nosniff"))
        .add(("x-frame-options", "DENY"))
        .add(("referrer-policy", "no-referrer"))
        .add(("content-security-policy", "default-src 'none'; frame-ancestors 'none'"))
        .add(("cache-control", "no-store"));
    if secure { headers.add(("strict-transport-security", "max-age=31536000")) } else { headers }
}
