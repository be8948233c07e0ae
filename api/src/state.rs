//! What every handler may reach.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use aftercare::clock::Env;
use aftercare::store::Store;
use aftercare::webhook::Reach;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::address::{Network, client_address};
use crate::apps::Apps;
use crate::auth::{Hasher, KeyRing};
use crate::cors::Origin;
use crate::heavy::Lines;
use crate::limits::Limiter;

/// Called after a commit that may have made something due, so that the scheduler looks at once
/// instead of at its next tick.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// One thing that `/readyz` looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at, in snake case: `push_credential`, `dispatch_lag`.
    pub name: &'static str,
    /// Whether this server should get traffic, as far as this is concerned.
    pub ok: bool,
    /// One sentence for the operator; no secrets, no personal data.
    pub detail: String,
}

/// What `/readyz` asks of the parts that the API does not own: the push credential, how late the
/// dispatcher runs.
pub trait Readiness: Send + Sync {
    /// The state of each part now. Must answer from memory: it is asked every few seconds.
    fn checks(&self) -> Vec<Check>;
}

/// A server without any other parts.
#[derive(Debug, Clone, Copy, Default)]
pub struct NothingElse;

impl Readiness for NothingElse {
    fn checks(&self) -> Vec<Check> {
        Vec::new()
    }
}

/// The state of one API server, shared by its workers.
pub(crate) struct Api {
    pub(crate) store: Store,
    pub(crate) keys: KeyRing,
    pub(crate) hasher: Hasher,
    pub(crate) limiter: Limiter,
    pub(crate) lines: Lines,
    pub(crate) public_url: String,
    pub(crate) trusted_proxies: Vec<Network>,
    pub(crate) body_limit: usize,
    pub(crate) body_timeout: Duration,
    pub(crate) cors: Vec<Origin>,
    pub(crate) apps: Apps,
    pub(crate) webhooks: Reach,
    pub(crate) readiness: Arc<dyn Readiness>,
    pub(crate) metrics: Option<PrometheusHandle>,
    pub(crate) waker: Waker,
    /// When `/readyz` last saw the database take a write.
    pub(crate) wrote: tokio::sync::Mutex<Option<Instant>>,
}

impl Api {
    /// The clock and the random numbers, which are the store's.
    pub(crate) fn env(&self) -> &Env {
        self.store.env()
    }

    /// Tells the scheduler to look now.
    pub(crate) fn wake(&self) {
        (self.waker)();
    }

    /// Whose address the request came from.
    pub(crate) fn client(&self, request: &HttpRequest) -> IpAddr {
        client_address(request, &self.trusted_proxies)
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("public_url", &self.public_url).finish_non_exhaustive()
    }
}
