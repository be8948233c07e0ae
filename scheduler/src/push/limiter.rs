//! How fast messages leave: a rate in messages per second that warms up after idling.
//!
//! All waiting here is monotonic time; nothing moves when the wall clock is set.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// FCM's quota is 600,000 messages a minute for a project and counts errors too: stay below it.
pub const DEFAULT_RATE: f64 = 9_000.0;
/// Google asks to go from nothing to the full rate over at least a minute.
const RAMP: Duration = Duration::from_mins(1);
/// The share of the full rate that a ramp starts with.
const RAMP_START: f64 = 0.1;
/// After this long without a message the next one starts a ramp.
const IDLE: Duration = Duration::from_mins(1);
/// Messages may leave this much earlier than evenly spaced, so that timer ticks cost no rate.
const SLACK: Duration = Duration::from_millis(10);

/// Hands out the moments at which messages may leave. Cheap to wait on from many tasks; they are
/// served in the order in which they asked.
#[derive(Debug)]
pub struct Limiter {
    rate: Option<f64>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next: Instant,
    ramp_began: Instant,
}

impl Limiter {
    /// `rate` messages per second at full speed; `None`, or a rate that is not above zero, is no
    /// limit.
    #[must_use]
    pub fn new(rate: Option<f64>) -> Self {
        let now = Instant::now();
        let rate = rate.filter(|rate| rate.is_finite() && *rate > 0.0);
        Self { rate, state: Mutex::new(State { next: now, ramp_began: now }) }
    }

    /// Waits for this message's turn.
    pub async fn turn(&self) {
        let turn = self.reserve(Instant::now());
        if let Some(at) = turn {
            sleep_until(at).await;
        }
    }

    /// The moment of the next free turn; `None` is now.
    fn reserve(&self, now: Instant) -> Option<Instant> {
        let full = self.rate?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(state.next) >= IDLE {
            state.ramp_began = now;
        }
        let turn = state.next.max(now);
        let warm = turn.saturating_duration_since(state.ramp_began).as_secs_f64();
        let share = (RAMP_START + (1.0 - RAMP_START) * warm / RAMP.as_secs_f64()).min(1.0);
        state.next = turn + Duration::from_secs_f64(1.0 / (full * share));
        (turn > now + SLACK).then(|| turn.checked_sub(SLACK).unwrap_or(turn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many messages leave in the second that begins `after` the first one.
    fn leaving(limiter: &Limiter, start: Instant, after: u64) -> usize {
        let end = start + Duration::from_secs(after + 1);
        let mut count = 0;
        while limiter.reserve(start + Duration::from_secs(after)).is_none_or(|at| at < end) {
            count += 1;
        }
        count
    }

    #[tokio::test]
    async fn warms_up_from_a_tenth_to_the_full_rate_in_a_minute() {
        let limiter = Limiter::new(Some(1_000.0));
        let start = Instant::now();
        let counts: Vec<usize> = (0..63).map(|second| leaving(&limiter, start, second)).collect();
        assert!((100..=130).contains(&counts[0]), "{}", counts[0]);
        assert!((540..=580).contains(&counts[30]), "{}", counts[30]);
        assert!((990..=1_010).contains(&counts[62]), "{}", counts[62]);
        assert!(counts[1..].iter().all(|count| *count <= 1_010), "{counts:?}");
    }

    #[tokio::test]
    async fn idling_starts_the_ramp_again() {
        let limiter = Limiter::new(Some(1_000.0));
        let start = Instant::now();
        for second in 0..62 {
            leaving(&limiter, start, second);
        }
        assert!(leaving(&limiter, start, 90) > 900, "half a minute is no idling");
        assert!(leaving(&limiter, start, 200) < 150);
    }

    #[tokio::test]
    async fn no_rate_is_no_limit() {
        for rate in [None, Some(0.0), Some(-1.0), Some(f64::NAN), Some(f64::INFINITY)] {
            let limiter = Limiter::new(rate);
            let now = Instant::now();
            assert!((0..100_000).all(|_| limiter.reserve(now).is_none()), "{rate:?}");
        }
    }
}
