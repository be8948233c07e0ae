//! Starting and stopping an emulator, and looking into it from the same process.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use aftercare::clock::{Clock, Env, Rng, SystemClock, SystemRng};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use crate::delivery::Platform;
use crate::faults::{Fault, Faults, SetFault};
use crate::history::{AcceptedPush, History, Stats};
use crate::inbox::Phones;
use crate::oauth::Oauth;
use crate::phone::{PhoneSettings, PhoneView, ShownNotification};
use crate::{server, tls};

/// How an emulator is to run.
///
/// ```
/// use fcm_emulator::EmulatorConfig;
///
/// let config = EmulatorConfig { tls: true, ..EmulatorConfig::default() };
/// assert!(config.listen.ip().is_loopback());
/// ```
#[derive(Debug, Clone)]
pub struct EmulatorConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Allows [`listen`](Self::listen) to be other than loopback. Whoever reaches the emulator can
    /// read its inboxes and its service account.
    pub allow_remote: bool,
    /// TLS (by a throw-away authority) instead of clear text.
    pub tls: bool,
    /// Host names and addresses to certify besides localhost and Google's.
    pub tls_hosts: Vec<String>,
    /// The one Firebase project it plays.
    pub project_id: String,
    /// The system a phone runs unless it is told otherwise.
    pub default_platform: Platform,
    /// How many accepted messages are remembered.
    pub history: usize,
    /// The clock of tokens, times to live and message times. Delays are real time.
    pub clock: Arc<dyn Clock>,
    /// Keys, tokens, ids and random faults come from it (but for the RSA and TLS keys).
    pub rng: Arc<dyn Rng>,
}

impl Default for EmulatorConfig {
    /// Clear text on a free loopback port, for the project `aftercare-emulator`, on the system's
    /// clock.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            allow_remote: false,
            tls: false,
            tls_hosts: Vec::new(),
            project_id: "aftercare-emulator".to_owned(),
            default_platform: Platform::Android,
            history: 10_000,
            clock: Arc::new(SystemClock),
            rng: Arc::new(SystemRng::default()),
        }
    }
}

/// Why an emulator did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The address is not loopback, and that was not allowed.
    #[error("{0} is not a loopback address: the emulator is open to all who reach it")]
    NotLoopback(SocketAddr),
    /// No RSA key could be made.
    #[error("cannot generate an RSA key")]
    Key,
    /// No certificate could be made, for a host name that is none, say.
    #[error("cannot make the TLS certificate")]
    Certificate(#[from] rcgen::Error),
    /// The certificate is not usable.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
}

/// What requests work on.
pub(crate) struct Shared {
    pub(crate) project_id: String,
    pub(crate) base_url: String,
    pub(crate) ca_pem: Option<String>,
    pub(crate) env: Env,
    pub(crate) oauth: Oauth,
    pub(crate) faults: Faults,
    pub(crate) phones: Phones,
    pub(crate) history: History,
}

impl Shared {
    /// Back to the state after the start, but for the service account and its tokens.
    pub(crate) fn reset(&self) {
        self.faults.clear();
        self.phones.forget_all();
        self.history.clear();
    }
}

/// The emulator.
#[derive(Debug)]
pub struct Emulator;

impl Emulator {
    /// Starts an emulator on the current tokio runtime. Making its RSA key takes some tenths of a
    /// second, on a blocking thread.
    ///
    /// # Errors
    /// When the address is not loopback without leave, or cannot be listened on, or a key or
    /// certificate cannot be made.
    pub async fn start(config: EmulatorConfig) -> Result<EmulatorHandle, StartError> {
        let address = config.listen;
        if !address.ip().is_loopback() && !config.allow_remote {
            return Err(StartError::NotLoopback(address));
        }
        let listen = |source| StartError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let bound = listener.local_addr().map_err(listen)?;
        let tls = config.tls.then(|| tls::generate(&config.tls_hosts)).transpose()?;
        let base_url = base_url(bound, config.tls);
        let env = Env { clock: Arc::clone(&config.clock), rng: config.rng };
        let oauth = {
            let (project, env) = (config.project_id.clone(), env.clone());
            let token_uri = format!("{base_url}/token");
            tokio::task::spawn_blocking(move || Oauth::generate(&project, token_uri, env))
                .await
                .map_err(|_| StartError::Key)??
        };
        let shared = Arc::new(Shared {
            project_id: config.project_id,
            base_url,
            ca_pem: tls.as_ref().map(|tls| tls.ca_pem.clone()),
            env,
            oauth,
            faults: Faults::default(),
            phones: Phones::new(config.default_platform, config.clock),
            history: History::new(config.history),
        });
        let (stop, stopped) = watch::channel(false);
        let acceptor = tls.map(|tls| tls.acceptor);
        let task = tokio::spawn(server::run(listener, acceptor, Arc::clone(&shared), stopped));
        Ok(EmulatorHandle { address: bound, shared, stop, task })
    }
}

/// The URL clients on this machine reach `bound` by.
fn base_url(bound: SocketAddr, tls: bool) -> String {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{}", SocketAddr::new(ip, bound.port()))
}

/// A running emulator. Dropping the handle stops it, as [`stop`](Self::stop) does, without waiting.
pub struct EmulatorHandle {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl std::fmt::Debug for EmulatorHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmulatorHandle").field("address", &self.address).finish_non_exhaustive()
    }
}

impl EmulatorHandle {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Its URL without a slash at the end: `http://127.0.0.1:41234`.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.shared.base_url
    }

    /// The project it plays.
    #[must_use]
    pub fn project_id(&self) -> &str {
        &self.shared.project_id
    }

    /// The service-account file that it accepts, as Google's console would hand it out; its
    /// `token_uri` points here. It holds a private key, worth nothing once the emulator stops.
    #[must_use]
    pub fn credentials_json(&self) -> String {
        format!("{:#}", self.shared.oauth.credentials())
    }

    /// The certificate (PEM) of the authority to trust; `None` without TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.shared.ca_pem.as_deref()
    }

    /// What the phone at `address` shows, oldest first.
    #[must_use]
    pub fn inbox(&self, address: &str) -> Vec<ShownNotification> {
        self.shared.phones.inbox(address)
    }

    /// What all phones show, oldest first.
    #[must_use]
    pub fn inboxes(&self) -> Vec<ShownNotification> {
        self.shared.phones.inboxes()
    }

    /// What phones show from now on, as it happens. A receiver that lags too far behind is told
    /// how many entries it missed.
    #[must_use]
    pub fn shown(&self) -> broadcast::Receiver<Arc<ShownNotification>> {
        self.shared.phones.subscribe()
    }

    /// The messages that were accepted, oldest first, as far back as
    /// [`EmulatorConfig::history`] says.
    #[must_use]
    pub fn accepted(&self) -> Vec<AcceptedPush> {
        self.shared.history.accepted()
    }

    /// Counts of everything that was asked.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.history.stats()
    }

    /// Adds a fault behind those already set.
    pub fn set_fault(&self, fault: Fault) {
        self.shared.faults.set(fault);
    }

    /// The faults that can still strike.
    #[must_use]
    pub fn faults(&self) -> Vec<SetFault> {
        self.shared.faults.list()
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// Changes a phone, which is made if unknown.
    pub fn set_phone(&self, address: &str, settings: PhoneSettings) {
        self.shared.phones.set(address, settings);
    }

    /// A phone as it stands; `None` when nothing ever named it.
    #[must_use]
    pub fn phone(&self, address: &str) -> Option<PhoneView> {
        self.shared.phones.view(address)
    }

    /// Ends the life of every access token: the next sends with one are answered 401.
    pub fn expire_tokens(&self) {
        self.shared.oauth.revoke_all();
    }

    /// Forgets phones, inboxes, faults, accepted messages and counts. The service account and its
    /// tokens stay.
    pub fn clear(&self) {
        self.shared.reset();
    }

    /// Stops: cuts every connection and frees the port before it returns.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "the emulator did not stop cleanly");
        }
    }
}
