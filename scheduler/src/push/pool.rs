//! A pool of HTTP/2 connections to one server.
//!
//! By Little's law the streams in use are rate × round trip; a server allows about 100 a
//! connection. So the pool grows to `rate × RTT ÷ 100` connections, opened only when those that
//! exist are full. Waiting for a free stream happens here, before a message is built, so that
//! what leaves is always checked against the clock at the last moment.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aftercare::clock::Env;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::connection::{ConnectError, Connection, Connector};
use crate::pause::{Pause, doubled};

/// Streams used of one connection at most, whatever the peer would allow.
const STREAMS: usize = 100;
/// A connection that has been quiet for this long is not trusted any more: middle-boxes forget.
const IDLE: Duration = Duration::from_mins(1);
/// The wait after the first failure to connect; it doubles up to `BACKOFF_MAX`.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// How long a message may wait for a free stream.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// The weight of the newest round trip in the moving average.
const RTT_WEIGHT: f64 = 0.1;

/// Why there is no stream to send on.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum PoolError {
    /// The server cannot be reached now; asked again too early, this is the last failure.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Every stream stayed in use.
    #[error("no free stream within 10 s")]
    Full,
}

/// See the module's words. Clones share the connections.
#[derive(Clone)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    env: Env,
    connector: Connector,
    rate: Option<f64>,
    max: usize,
    freed: Arc<Notify>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connections: Vec<Arc<Connection>>,
    opening: usize,
    failures: u32,
    failed: Option<(ConnectError, Pause)>,
    rtt_seconds: Option<f64>,
}

/// The right to one stream of one connection; given back on drop.
pub(crate) struct Stream {
    connection: Arc<Connection>,
    freed: Arc<Notify>,
}

impl Stream {
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.end();
        self.freed.notify_one();
    }
}

enum Pick {
    Stream(Arc<Connection>),
    Wait,
    Fail(ConnectError),
}

impl Pool {
    /// `rate` is the highest rate in messages per second (`None`: no limit), `max` the most
    /// connections.
    pub(crate) fn new(env: Env, connector: Connector, rate: Option<f64>, max: usize) -> Self {
        let freed = Arc::new(Notify::new());
        let state = Mutex::default();
        let shared = Shared { env, connector, rate, max: max.max(1), freed, state };
        Self { shared: Arc::new(shared) }
    }

    /// A free stream, on a connection opened for it when that is needed.
    ///
    /// # Errors
    /// When the server cannot be reached, or no stream came free in 10 s.
    pub(crate) async fn stream(&self) -> Result<Stream, PoolError> {
        timeout(WAIT_MAX, self.next_stream()).await.unwrap_or(Err(PoolError::Full))
    }

    async fn next_stream(&self) -> Result<Stream, PoolError> {
        loop {
            let freed = self.shared.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            let (pick, grow) = self.shared.lock().pick(&self.shared, Instant::now());
            if grow {
                self.open();
            }
            match pick {
                Pick::Stream(connection) => {
                    return Ok(Stream { connection, freed: Arc::clone(&self.shared.freed) });
                }
                Pick::Fail(error) => return Err(error.into()),
                Pick::Wait => {}
            }
            freed.await;
        }
    }

    /// Connects in a task of its own, so that a caller who gives up leaves nothing half done.
    fn open(&self) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let opened = shared.connector.connect(Arc::clone(&shared.freed)).await;
            let mut state = shared.lock();
            state.opening -= 1;
            match opened {
                Ok(connection) => {
                    state.connections.push(Arc::new(connection));
                    (state.failures, state.failed) = (0, None);
                }
                Err(error) => state.failed(error, &shared.env),
            }
            drop(state);
            shared.freed.notify_waiters();
        });
    }

    /// Learns from a round trip that was measured.
    pub(crate) fn measured(&self, took: Duration) {
        let took = took.as_secs_f64();
        let mut state = self.shared.lock();
        let before = state.rtt_seconds.unwrap_or(took);
        state.rtt_seconds = Some(before + RTT_WEIGHT * (took - before));
    }

    /// How long an answer takes, lately, in seconds; nothing before the first.
    pub(crate) fn rtt_seconds(&self) -> Option<f64> {
        self.shared.lock().rtt_seconds
    }

    /// Open connections, for metrics.
    pub(crate) fn connections(&self) -> usize {
        self.shared.lock().connections.iter().filter(|connection| connection.is_open()).count()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A stream if there is one, and whether another connection is to be opened: that is when the
    /// last stream is taken, so that who comes next need not wait for it.
    fn pick(&mut self, shared: &Shared, now: Instant) -> (Pick, bool) {
        self.connections.retain(|connection| {
            connection.is_open() && (connection.load() > 0 || connection.silent_for(now) < IDLE)
        });
        let least = self.connections.iter().min_by_key(|connection| connection.load());
        let pick = match least.filter(|connection| !is_full(connection)) {
            Some(connection) => {
                connection.begin();
                Pick::Stream(Arc::clone(connection))
            }
            None => Pick::Wait,
        };
        let backing_off = self.failed.as_ref().filter(|(_, pause)| !pause.is_over(&shared.env));
        if let Some((error, _)) = backing_off {
            let hopeless = self.connections.is_empty() && self.opening == 0;
            return (if hopeless { Pick::Fail(error.clone()) } else { pick }, false);
        }
        let wanted = wanted(shared.rate, self.rtt_seconds, shared.max);
        let full = self.connections.iter().all(|connection| is_full(connection));
        let grow = full && self.connections.len() + self.opening < wanted;
        self.opening += usize::from(grow);
        (pick, grow)
    }

    fn failed(&mut self, error: ConnectError, env: &Env) {
        let pause = Pause::new(env, doubled(BACKOFF_MIN, BACKOFF_MAX, self.failures));
        self.failures = self.failures.saturating_add(1);
        self.failed = Some((error, pause));
    }
}

fn is_full(connection: &Connection) -> bool {
    connection.load() >= connection.peer_limit().clamp(1, STREAMS)
}

/// Connections for `rate` messages per second at this round trip.
fn wanted(rate: Option<f64>, rtt_seconds: Option<f64>, max: usize) -> usize {
    match (rate, rtt_seconds) {
        (_, None) => 1,
        (None, Some(_)) => max,
        (Some(rate), Some(rtt)) => {
            let streams = (rate * rtt).clamp(1.0, 1e9);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped to 1..=1e9 above"
            )]
            let streams = streams.ceil() as usize;
            streams.div_ceil(STREAMS).clamp(1, max)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_follow_rate_and_round_trip() {
        assert_eq!(wanted(Some(9_000.0), None, 16), 1);
        assert_eq!(wanted(Some(9_000.0), Some(0.001), 16), 1);
        assert_eq!(wanted(Some(9_000.0), Some(0.050), 16), 5);
        assert_eq!(wanted(Some(9_000.0), Some(0.100), 16), 9);
        assert_eq!(wanted(Some(9_000.0), Some(30.0), 16), 16);
        assert_eq!(wanted(None, Some(0.001), 8), 8);
        assert_eq!(wanted(Some(1.0), Some(0.0), 8), 1);
    }
}
