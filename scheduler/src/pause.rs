//! A pause that cannot outlast either clock.

use std::time::Duration;

use aftercare::clock::Env;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Holds something back for a while after a failure.
///
/// It ends when the monotonic clock says so, or when the injected wall clock has moved on by as
/// much, or has been set back: a stepped clock may end a pause early, never prolong it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pause {
    began: Timestamp,
    until: Timestamp,
    monotonic: Instant,
}

impl Pause {
    pub(crate) fn new(env: &Env, length: Duration) -> Self {
        let began = env.now();
        let elapsed = SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX);
        let until = began.checked_add(elapsed).unwrap_or(Timestamp::MAX);
        Self { began, until, monotonic: Instant::now() + length }
    }

    pub(crate) fn is_over(&self, env: &Env) -> bool {
        let now = env.now();
        now >= self.until || now < self.began || Instant::now() >= self.monotonic
    }
}

/// `min`, doubled for each earlier failure, up to `max`.
pub(crate) fn doubled(min: Duration, max: Duration, failures: u32) -> Duration {
    min.saturating_mul(1 << failures.min(16)).min(max)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aftercare::clock::ManualClock;

    use super::*;

    fn clock() -> (Arc<ManualClock>, Env) {
        let clock = Arc::new(ManualClock::new("2026-11-22T15:40:00Z".parse().unwrap()));
        (Arc::clone(&clock), Env::with_clock(clock))
    }

    #[test]
    fn ends_by_either_clock() {
        let (clock, env) = clock();
        let pause = Pause::new(&env, Duration::from_secs(10));
        clock.advance(SignedDuration::from_secs(9));
        assert!(!pause.is_over(&env));
        clock.advance(SignedDuration::from_secs(1));
        assert!(pause.is_over(&env));
        let pause =
            Pause { monotonic: Instant::now(), ..Pause::new(&env, Duration::from_secs(10)) };
        assert!(pause.is_over(&env));
    }

    #[test]
    fn a_clock_set_back_ends_it() {
        let (clock, env) = clock();
        let pause = Pause::new(&env, Duration::from_secs(10));
        clock.advance(SignedDuration::from_hours(-1));
        assert!(pause.is_over(&env));
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let wait = |failures| doubled(Duration::from_secs(1), Duration::from_mins(1), failures);
        assert_eq!([0, 1, 5, 6, 99].map(|n| wait(n).as_secs()), [1, 2, 32, 60, 60]);
    }
}
