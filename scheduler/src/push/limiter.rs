//! How fast messages leave: in turns that all schedulers of a Firebase project take from one line.
//!
//! Those that wait take turns together, in one short unit of work, and as many as they are: a few times a
//! second where there is much to send, and once for a reminder that is alone. [`turns`] says how the line is
//! shared. All waiting here is monotonic time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aftercare::care::turns::{self, Rate, Slice};
use aftercare::store::Store;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until};

/// FCM's quota is 600,000 messages a minute for a project and counts errors too: stay below it.
pub const DEFAULT_RATE: f64 = 9_000.0;
/// Messages may leave this much earlier than evenly spaced, so that timer ticks cost no rate.
const SLACK: Duration = Duration::from_millis(10);
/// More turns are taken this long before the last ones are over, so that taking them costs no rate.
const AHEAD: Duration = Duration::from_millis(25);
/// Turns that nobody has used are gone this long after the last of them.
const LAPSE: Duration = Duration::from_millis(250);
/// When the database is asked again that gave no turns.
const AGAIN: Duration = Duration::from_secs(1);

/// Hands out the moments at which messages may leave. Cheap to wait on from many tasks; they are
/// served in the order in which they asked.
#[derive(Debug)]
pub struct Limiter(Option<Shared>);

#[derive(Debug)]
struct Shared {
    store: Store,
    project: Arc<str>,
    rate: Rate,
    /// How many messages have no turn yet.
    waiting: AtomicU32,
    turns: Mutex<Option<Turns>>,
    pace: std::sync::Mutex<Option<Pace>>,
}

/// How fast messages left lately.
#[derive(Debug, Clone, Copy)]
struct Pace {
    per_second: f64,
    until: Instant,
}

impl Limiter {
    /// Lets everything pass at once, and asks nobody.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// Takes turns at this project's line in the store, `rate` messages per second at full speed. A rate that
    /// is not above zero is no limit.
    #[must_use]
    pub fn new(store: Store, project: &str, rate: f64) -> Self {
        let shared = Rate::new(rate).map(|rate| Shared {
            store,
            project: project.into(),
            rate,
            waiting: AtomicU32::new(0),
            turns: Mutex::default(),
            pace: std::sync::Mutex::default(),
        });
        Self(shared)
    }

    /// Messages per second at full speed; `None` is no limit.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        self.0.as_ref().map(|shared| shared.rate.per_second())
    }

    /// Messages that leave in a second, as things stand; `None` is no limit. More than that are not to wait for their
    /// turn: what was decided of them would be old when it comes.
    #[must_use]
    pub fn pace(&self) -> Option<f64> {
        let shared = self.0.as_ref()?;
        let pace = shared.pace().filter(|pace| Instant::now() < pace.until);
        Some(pace.map_or(shared.rate.per_second_at_first(), |pace| pace.per_second))
    }

    /// Waits for this message's turn, for as long as it is wanted; gives whether it is.
    ///
    /// While the database gives no turns, nothing leaves.
    pub async fn turn(&self, is_wanted: impl Fn() -> bool) -> bool {
        let Some(shared) = &self.0 else { return true };
        let Some(at) = shared.turn(is_wanted).await else { return false };
        if at > Instant::now() + SLACK {
            sleep_until(at.checked_sub(SLACK).unwrap_or(at)).await;
        }
        true
    }
}

impl Shared {
    async fn turn(&self, is_wanted: impl Fn() -> bool) -> Option<Instant> {
        let _waiting = Waiting::among(&self.waiting);
        // Who holds it takes turns for all that wait behind.
        let mut turns = self.turns.lock().await;
        while is_wanted() {
            let now = Instant::now();
            if let Some(turn) = turns.as_mut().and_then(|turns| turns.next(now)) {
                return Some(turn);
            }
            if let Some(soon) = turns.take().and_then(|turns| turns.end.checked_sub(AHEAD)) {
                sleep_until(soon).await;
            }
            // Those that came together are to be counted.
            yield_now().await;
            *turns = self.take().await;
            if turns.is_none() {
                sleep(AGAIN).await;
            }
        }
        None
    }

    async fn take(&self) -> Option<Turns> {
        let (project, rate) = (Arc::clone(&self.project), self.rate);
        let wanted = self.waiting.load(Ordering::Relaxed);
        let taken = self
            .store
            .write(move |tx| turns::take_turns(tx, &project, rate, wanted))
            .await
            .inspect_err(|error| tracing::warn!(%error, "nothing is sent: there are no turns"));
        let (slice, now) = (taken.ok()?, Instant::now());
        let turns = Turns::new(slice, self.store.env().now(), now);
        let until = turns.end + turns::IDLE.unsigned_abs();
        *self.pace() = Some(Pace { per_second: slice.per_second(), until });
        Some(turns)
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, Option<Pace>> {
        self.pace.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// One of those that wait, as long as it is there.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn among(all: &'a AtomicU32) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(all)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Turns that were taken.
#[derive(Debug)]
struct Turns {
    next: Instant,
    left: u32,
    gap: Duration,
    /// When the last one is over.
    end: Instant,
    /// When those that are left are gone.
    lapse: Instant,
}

impl Turns {
    /// `clock` and `now` are what the clocks say as the answer arrives: how long that took is no part of the
    /// wait. A clock that was set back meanwhile makes it no longer.
    fn new(slice: Slice, clock: Timestamp, now: Instant) -> Self {
        let wait = SignedDuration::try_from(slice.wait).unwrap_or_default();
        let wait = slice.first.duration_since(clock).min(wait);
        let next = match Duration::try_from(wait) {
            Ok(wait) => now + wait,
            Err(_) => now.checked_sub(wait.unsigned_abs()).unwrap_or(now),
        };
        let end = next + slice.gap * slice.count;
        Self { next, left: slice.count, gap: slice.gap, end, lapse: end.max(now) + LAPSE }
    }

    fn next(&mut self, now: Instant) -> Option<Instant> {
        if self.left == 0 || self.lapse < now {
            return None;
        }
        let turn = self.next;
        (self.next, self.left) = (turn + self.gap, self.left - 1);
        Some(turn)
    }
}
