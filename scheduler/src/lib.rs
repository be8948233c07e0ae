//! Aftercare's heart: heartbeat, dispatcher, retry policy and push over FCM HTTP v1.
//!
//! [`Scheduler::start`] gives a [`SchedulerHandle`]. A server lets the heartbeat run; tests and
//! simulations switch it off and step the dispatcher with [`SchedulerHandle::run_once`], which
//! sends everything that is due by the store's clock and returns when nothing is.

mod delivery;
mod dispatcher;
mod heartbeat;
mod intake;
mod keeper;
mod metrics;
mod pause;
pub mod push;
mod sealing;
mod status;
mod tls;
mod webhooks;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aftercare::care::Retention;
use aftercare::store::{Store, StoreError};
use aftercare::webhook::Reach;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use dispatcher::{Dispatcher, Limits};
use keeper::Keeper;
use push::{
    Client, ClientError, DEFAULT_RATE, Dial, Endpoint, EndpointError, Limiter, ServiceAccount, Tcp,
};
use webhooks::Deliverer;

pub use dispatcher::RunSummary;
pub use status::{Credential, Failure, SchedulerStatus};
pub use webhooks::WebhookSummary;

/// Google's own server.
const FCM: &str = "https://fcm.googleapis.com";
/// Below this a lease could not outlive its requests: 10 s for one, 10 s to write the outcome, and
/// as much to wait for a connection.
const LEASE_MIN: Duration = Duration::from_secs(30);

/// How the scheduler works. [`SchedulerConfig::new`] has defaults for everything but the
/// credentials.
#[derive(Debug, Clone)]
pub struct SchedulerConfig {
    /// The Firebase project's service account.
    pub credentials: ServiceAccount,
    /// Another base URL than Google's, for an emulator.
    pub base_url: Option<Endpoint>,
    /// How servers are reached.
    pub dial: Arc<dyn Dial>,
    /// Messages per second at most, reached in a minute, of all schedulers on this database that send for this
    /// Firebase project, together; `None` is no limit.
    pub rate: Option<f64>,
    /// HTTP/2 connections at most; as many are opened as rate and round trip need.
    pub connections: usize,
    /// Reminders under way at once; fewer when the rate lets fewer leave within a second.
    pub concurrency: usize,
    /// Reminders in one claim.
    pub batch: usize,
    /// How long a claim lasts, wall clock; at least 30 s. After a crash, what was under way is
    /// sent again once this has passed.
    pub lease: Duration,
    /// Whether the heartbeat and the dispatcher's own loop run. Without it nothing happens but by
    /// [`SchedulerHandle::run_once`].
    pub heartbeat: bool,
    /// How long patients are kept; looked at once an hour.
    pub retention: Retention,
    /// How far clinics' webhooks reach.
    pub webhooks: Reach,
}

impl SchedulerConfig {
    /// The defaults: Google's server over TCP, 9,000 messages a second, 16 connections, 2,000 reminders
    /// under way, claims of 500 for 60 s, a heartbeat, and patients kept for 13 months.
    #[must_use]
    pub fn new(credentials: ServiceAccount) -> Self {
        Self {
            credentials,
            base_url: None,
            dial: Arc::new(Tcp),
            rate: Some(DEFAULT_RATE),
            connections: 16,
            concurrency: 2_000,
            batch: 500,
            lease: Duration::from_mins(1),
            heartbeat: true,
            retention: Retention::default(),
            webhooks: Reach::default(),
        }
    }
}

/// Why the scheduler cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// FCM cannot be spoken to as configured.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The base URL cannot be used.
    #[error("the FCM base URL: {0}")]
    BaseUrl(#[from] EndpointError),
}

/// Starts schedulers.
#[derive(Debug)]
pub struct Scheduler;

impl Scheduler {
    /// Starts a scheduler on the current tokio runtime. Opens no connection before something is
    /// due; time and randomness are the store's.
    ///
    /// # Errors
    /// When the configuration cannot work at all. A server that cannot be reached is no such
    /// error: see [`SchedulerHandle::status`].
    pub fn start(store: Store, config: SchedulerConfig) -> Result<SchedulerHandle, StartError> {
        metrics::begin();
        let base = match config.base_url {
            Some(base) => base,
            None => FCM.parse()?,
        };
        let env = store.env().clone();
        let (account, connections) = (config.credentials, config.connections);
        let limiter = config.rate.map_or_else(Limiter::none, |rate| {
            Limiter::new(store.clone(), account.project_id(), rate)
        });
        let client = Client::new(account, base, env, limiter, connections, config.dial)?;
        let (stop, stopped) = watch::channel(false);
        let wake = Arc::new(Notify::new());
        let dispatcher = Arc::new(Dispatcher {
            store,
            client: Arc::new(client),
            limits: Limits {
                batch: config.batch.max(1),
                concurrency: config.concurrency.max(1),
                lease: config.lease.max(LEASE_MIN),
            },
            status: Arc::default(),
            wake: Arc::clone(&wake),
            stop: stopped.clone(),
        });
        let keeper = Keeper { store: dispatcher.store.clone(), retention: config.retention };
        let deliverer = Deliverer::new(keeper.store.clone(), config.webhooks, stopped.clone());
        let deliverer = Arc::new(deliverer);
        let mut tasks = Vec::new();
        if config.heartbeat {
            let serving = Arc::clone(&dispatcher);
            tasks.push(tokio::spawn(async move { serving.serve().await }));
            tasks.push(tokio::spawn(Arc::clone(&deliverer).serve()));
            tasks.push(tokio::spawn(heartbeat::run(wake, keeper.clone(), stopped)));
        }
        let inner = Inner { dispatcher, deliverer, keeper, stop, tasks: Mutex::new(tasks) };
        Ok(SchedulerHandle(Arc::new(inner)))
    }
}

/// A running scheduler. Clones are the same scheduler; it winds down when the last one is gone.
#[derive(Clone)]
pub struct SchedulerHandle(Arc<Inner>);

struct Inner {
    dispatcher: Arc<Dispatcher>,
    deliverer: Arc<Deliverer>,
    keeper: Keeper,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl SchedulerHandle {
    /// Says that there may be new work: the dispatcher looks at once instead of within a second.
    /// Call it after the commit; losing the call loses nothing.
    pub fn wake(&self) {
        self.0.dispatcher.wake.notify_one();
    }

    /// Sends everything that is due now by the store's clock, until nothing is.
    ///
    /// # Errors
    /// The database's. What was claimed then returns when its lease ends.
    pub async fn run_once(&self) -> Result<RunSummary, StoreError> {
        self.0.dispatcher.run_once().await
    }

    /// Sends whatever comes due by the store's clock, as the dispatcher of a heartbeat does, until
    /// [`SchedulerHandle::shutdown`]; looks at the tables when [`SchedulerHandle::wake`] says so, and when
    /// something comes due within the minute. For whoever beats the heart himself.
    pub async fn serve(&self) {
        self.0.dispatcher.serve().await;
    }

    /// Tells clinics' webhooks everything that is due now by the store's clock, until nothing is.
    ///
    /// # Errors
    /// The database's. What was claimed then returns when its lease ends.
    pub async fn tell_webhooks(&self) -> Result<WebhookSummary, StoreError> {
        self.0.deliverer.run_once().await
    }

    /// Forgets what nobody needs any more, as the heartbeat has it done once an hour.
    pub async fn tidy(&self) {
        self.0.keeper.tidy().await;
    }

    /// How the scheduler is doing.
    #[must_use]
    pub fn status(&self) -> SchedulerStatus {
        self.0.dispatcher.status.get()
    }

    /// Claims nothing more, waits for the messages under way and writes what came of them. Those
    /// that have not left yet go back to the queue. Gives up after `deadline`; what is then still
    /// claimed returns when its lease ends.
    ///
    /// Returns whether everything was drained.
    pub async fn shutdown(&self, deadline: Duration) -> bool {
        self.0.stop.send_replace(true);
        let tasks =
            std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let aborts: Vec<_> = tasks.iter().map(JoinHandle::abort_handle).collect();
        let drained = timeout(deadline, futures_util::future::join_all(tasks)).await.is_ok();
        if !drained {
            tracing::warn!("the scheduler did not drain in time; leases will bring the rest back");
            aborts.iter().for_each(tokio::task::AbortHandle::abort);
        }
        drained
    }
}

impl fmt::Debug for SchedulerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchedulerHandle").field("status", &self.status()).finish_non_exhaustive()
    }
}
