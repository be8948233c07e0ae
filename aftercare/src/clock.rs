//! Time and randomness come from here, so that tests, the demo and the simulation own both.
//!
//! Nothing else in the workspace reads the wall clock: `clippy.toml` bans it. A clock hands out
//! instants truncated to the microsecond, the precision both databases keep, so that an instant
//! read back from a table equals the one that was written.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use jiff::{Timestamp, Unit};
use uuid::Uuid;

/// A source of the current instant, truncated to the microsecond.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The current instant.
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> Timestamp {
        to_micros(Timestamp::now())
    }
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    /// A clock that stands at `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self(Mutex::new(to_micros(start)))
    }

    /// Puts the clock at `to`; it may go backwards, as real clocks do.
    pub fn set(&self, to: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = to_micros(to);
    }

    /// Moves the clock forward by an elapsed time; an instant past the year 9999 stays at the end.
    pub fn advance(&self, by: jiff::SignedDuration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = to_micros(now.checked_add(by).unwrap_or(Timestamp::MAX));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Truncates to the microsecond (towards the past).
#[must_use]
pub fn to_micros(at: Timestamp) -> Timestamp {
    at.round(jiff::TimestampRound::new().smallest(Unit::Microsecond).mode(jiff::RoundMode::Floor))
        .unwrap_or(at)
}

/// A source of random bytes. Keys, codes, tokens, ids and retry jitter all come from it.
pub trait Rng: fmt::Debug + Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's random numbers.
#[derive(Debug, Default)]
pub struct SystemRng(SystemRandom);

impl Rng for SystemRng {
    fn fill(&self, bytes: &mut [u8]) {
        // AWS-LC aborts rather than hand out weak bytes; an error here has no other meaning.
        if self.0.fill(bytes).is_err() {
            std::process::abort();
        }
    }
}

/// The clock and the random numbers that everything is built on.
#[derive(Debug, Clone)]
pub struct Env {
    /// Where the current instant comes from.
    pub clock: Arc<dyn Clock>,
    /// Where random bytes come from.
    pub rng: Arc<dyn Rng>,
}

impl Env {
    /// The operating system's clock and random numbers.
    #[must_use]
    pub fn system() -> Self {
        Self { clock: Arc::new(SystemClock), rng: Arc::new(SystemRng::default()) }
    }

    /// A manual clock beside the operating system's random numbers.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { clock, rng: Arc::new(SystemRng::default()) }
    }

    /// The current instant.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// `N` random bytes.
    #[must_use]
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill(&mut bytes);
        bytes
    }

    /// A fresh UUIDv7: ordered by this clock's millisecond, random below it.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        let millis = u64::try_from(self.now().as_millisecond()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &self.random()).into_uuid()
    }

    /// A fresh id of any kind.
    #[must_use]
    pub fn id<T: From<Uuid>>(&self) -> T {
        T::from(self.uuid())
    }
}
