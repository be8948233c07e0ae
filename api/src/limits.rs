//! How often one caller may ask.
//!
//! Four limits: requests of one credential, its tokens, bad bearers of one address, and failed tokens
//! and codes of one address. The last is asked before a secret is hashed, so that guessing costs the
//! guesser more than it costs the server. The limits measure monotonic time, not the `Clock`: a
//! demo that plays a month in seconds is not a flood.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::problem::Problem;

/// After so many counted requests a limiter forgets the keys that are at rest.
const SWEEP_EVERY: u32 = 4096;

/// Barred addresses kept before those that may try again are forgotten.
const BARRED_KEPT: usize = 4096;

/// A rate: so many in a period on average, and a burst above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many in one `per`, on average.
    pub count: NonZeroU32,
    /// The period, in elapsed time.
    pub per: Duration,
    /// How many at once, when nothing was asked for a while.
    pub burst: NonZeroU32,
}

impl Rate {
    /// `count` in each `per`, `burst` at once; a zero counts as one.
    #[must_use]
    pub const fn new(count: u32, per: Duration, burst: u32) -> Self {
        const fn at_least_one(n: u32) -> NonZeroU32 {
            match NonZeroU32::new(n) {
                Some(n) => n,
                None => NonZeroU32::MIN,
            }
        }
        Self { count: at_least_one(count), per, burst: at_least_one(burst) }
    }

    /// `100/s:400` is 100 a second on average and 400 at once; `20/min` is 20 at once too; also `/h`.
    fn parse(text: &str) -> Option<Self> {
        let (count, rest) = text.split_once('/')?;
        let (period, burst) = rest.split_once(':').unwrap_or((rest, count));
        let number = |digits: &str| digits.trim().parse::<NonZeroU32>().ok();
        let per = match period.trim() {
            "s" => Duration::from_secs(1),
            "min" => Duration::from_mins(1),
            "h" => Duration::from_hours(1),
            _ => return None,
        };
        Some(Self { count: number(count)?, per, burst: number(burst)? })
    }

    fn quota(self) -> Quota {
        let one = self.per / self.count.get();
        Quota::with_period(one)
            .unwrap_or_else(|| Quota::per_second(self.count))
            .allow_burst(self.burst)
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        Self::parse(text).ok_or(RateError)
    }
}

/// Text that names no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a rate; write 100/s:400 (100 a second, 400 at once), 20/min or 1000/h")]
pub struct RateError;

/// The limits of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests of one credential: a clinic, or one session of a patient's app.
    pub credential: Rate,
    /// Requests with a bearer that is not accepted, of one address.
    pub bad_bearer: Rate,
    /// Failed token requests and enrolment codes, of one address.
    pub failures: Rate,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            credential: Rate::new(100, Duration::from_secs(1), 400),
            bad_bearer: Rate::new(100, Duration::from_secs(1), 400),
            failures: Rate::new(20, Duration::from_mins(1), 20),
        }
    }
}

/// Counts requests against [`Limits`].
#[derive(Debug)]
pub(crate) struct Limiter {
    credentials: Keyed<uuid::Uuid>,
    tokens: Keyed<uuid::Uuid>,
    bad_bearers: Keyed<IpAddr>,
    failures: Keyed<IpAddr>,
    /// Addresses whose failures are spent, and until when.
    barred: Mutex<HashMap<IpAddr, Instant>>,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            credentials: Keyed::new(limits.credential),
            tokens: Keyed::new(limits.credential),
            bad_bearers: Keyed::new(limits.bad_bearer),
            failures: Keyed::new(limits.failures),
            barred: Mutex::default(),
        }
    }

    /// Counts one request of a credential.
    ///
    /// # Errors
    /// 429 when the credential has asked too often.
    pub(crate) fn credential(&self, id: uuid::Uuid) -> Result<(), Problem> {
        self.credentials.count(&id).map_err(wait)
    }

    /// Counts one token asked for with a right secret of a clinic, or with a refresh token of a session:
    /// at the rate of its other requests, but apart from them.
    ///
    /// # Errors
    /// 429 when the credential has asked too often.
    pub(crate) fn token(&self, id: uuid::Uuid) -> Result<(), Problem> {
        self.tokens.count(&id).map_err(wait)
    }

    /// Counts one bad bearer of an address.
    ///
    /// # Errors
    /// 429 when there were too many.
    pub(crate) fn bad_bearer(&self, address: IpAddr) -> Result<(), Problem> {
        self.bad_bearers.count(&subject(address)).map_err(wait)
    }

    /// Whether an address may try a secret or a code at all.
    ///
    /// # Errors
    /// 429 while its failures are spent.
    pub(crate) fn may_try(&self, address: IpAddr) -> Result<(), Problem> {
        let now = Instant::now();
        let barred = self.barred.lock().unwrap_or_else(PoisonError::into_inner);
        match barred.get(&subject(address)) {
            Some(until) if *until > now => Err(wait(*until - now)),
            _ => Ok(()),
        }
    }

    /// Counts one failed secret or code of an address.
    ///
    /// # Errors
    /// 429 once they are spent; until one more is due, [`Self::may_try`] refuses too.
    pub(crate) fn failed(&self, address: IpAddr) -> Result<(), Problem> {
        let address = subject(address);
        let Err(pause) = self.failures.count(&address) else { return Ok(()) };
        let now = Instant::now();
        let mut barred = self.barred.lock().unwrap_or_else(PoisonError::into_inner);
        if barred.len() >= BARRED_KEPT {
            barred.retain(|_, until| *until > now);
        }
        barred.insert(address, now + pause);
        Err(wait(pause))
    }
}

/// 429 with the whole seconds until the next request is taken, at least one.
fn wait(pause: Duration) -> Problem {
    Problem::rate_limited(pause.as_secs() + u64::from(pause.subsec_nanos() > 0))
}

/// What one caller can hold of addresses: an IPv4 address, or a /64 of IPv6.
pub(crate) fn subject(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// One limiter over many keys, which forgets keys at rest.
#[derive(Debug)]
struct Keyed<K: Hash + Eq + Clone> {
    limiter: DefaultKeyedRateLimiter<K>,
    clock: DefaultClock,
    counted: AtomicU32,
}

impl<K: Hash + Eq + Clone> Keyed<K> {
    fn new(rate: Rate) -> Self {
        Self {
            limiter: RateLimiter::keyed(rate.quota()),
            clock: DefaultClock::default(),
            counted: AtomicU32::new(0),
        }
    }

    /// Counts one; the error is how long to wait for the next.
    fn count(&self, key: &K) -> Result<(), Duration> {
        if self.counted.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(key).map_err(|until| until.wait_time_from(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Code;

    fn limiter(burst: u32) -> Limiter {
        let rate = Rate::new(1, Duration::from_hours(1), burst);
        Limiter::new(&Limits { credential: rate, bad_bearer: rate, failures: rate })
    }

    #[test]
    fn rates_are_written_as_they_are_said() {
        let rate = |text: &str| text.parse::<Rate>();
        let second = Duration::from_secs(1);
        assert_eq!(rate("100/s:400"), Ok(Rate::new(100, second, 400)));
        assert_eq!(rate("20/min"), Ok(Rate::new(20, 60 * second, 20)));
        assert_eq!(rate("7/h:1"), Ok(Rate::new(7, 3600 * second, 1)));
        for wrong in ["", "100", "100/", "0/s", "1/s:0", "-1/s", "1/day", "1/s:2:3", "s/1", "1.5/s"]
        {
            assert_eq!(rate(wrong), Err(RateError), "{wrong}");
        }
    }

    #[test]
    fn a_burst_is_taken_and_the_next_must_wait() {
        let limiter = limiter(3);
        let (one, other) = (uuid::Uuid::from_u128(1), uuid::Uuid::from_u128(2));
        for _ in 0..3 {
            limiter.credential(one).unwrap();
        }
        assert_eq!(limiter.credential(one).unwrap_err().code(), Code::RateLimited);
        limiter.credential(other).unwrap();
    }

    #[test]
    fn failures_bar_an_address_and_its_neighbours_in_ipv6() {
        let limiter = limiter(2);
        let address: IpAddr = "2001:db8::1".parse().unwrap();
        for _ in 0..2 {
            limiter.failed(address).unwrap();
            limiter.may_try(address).unwrap();
        }
        limiter.failed("2001:db8::2".parse().unwrap()).unwrap_err();
        limiter.may_try(address).unwrap_err();
        limiter.may_try("2001:db8:0:1::1".parse().unwrap()).unwrap();
    }
}
