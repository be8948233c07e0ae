//! When to try again: a pure policy.

use std::time::Duration;

use aftercare::clock::Env;
use jiff::{SignedDuration, Timestamp};

use super::outcome::RetryCause;

/// Google asks to wait a minute after a 429 that does not say how long.
const THROTTLED_BASE: Duration = Duration::from_mins(1);
/// Google asks for at least ten seconds before the first retry after a 500 or 503.
const UNAVAILABLE_BASE: Duration = Duration::from_secs(10);
/// Waits double up to four times the base: after a long outage everything that is still useful
/// has been tried again within a minute.
const DOUBLINGS: u32 = 2;
/// Jitter adds up to a quarter, so that a crowd that failed together does not return together …
const JITTER_SHARE: u32 = 4;
/// … and never more than this.
const JITTER_MAX: Duration = Duration::from_secs(15);

/// The instant of the next attempt, in wall-clock time: `now` plus an elapsed wait.
///
/// `failures` counts the attempts that have failed, this one included (1 = the first failed).
/// A server's `delay` is a lower bound and is honoured whatever the count; one of zero says nothing. `None` when the next
/// attempt would not come before `use_by`: the reminder has lost its point.
#[must_use]
pub fn next_attempt(
    env: &Env,
    now: Timestamp,
    use_by: Timestamp,
    failures: u32,
    cause: RetryCause,
    delay: Option<Duration>,
) -> Option<Timestamp> {
    let asked = delay.filter(|delay| !delay.is_zero());
    let wait = asked.unwrap_or_else(|| backoff(cause, failures));
    let wait = SignedDuration::try_from(wait.saturating_add(jitter(env, wait))).ok()?;
    now.checked_add(wait).ok().filter(|at| *at < use_by)
}

fn backoff(cause: RetryCause, failures: u32) -> Duration {
    let base = match cause {
        RetryCause::Throttled => THROTTLED_BASE,
        RetryCause::Unavailable => UNAVAILABLE_BASE,
    };
    base.saturating_mul(1 << failures.saturating_sub(1).min(DOUBLINGS))
}

fn jitter(env: &Env, wait: Duration) -> Duration {
    let most = (wait / JITTER_SHARE).min(JITTER_MAX).as_micros();
    let drawn = u128::from(u64::from_be_bytes(env.random()));
    Duration::from_micros(u64::try_from(drawn % (most + 1)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aftercare::clock::{ManualClock, Rng};

    use super::*;

    #[derive(Debug)]
    struct Always(u8);

    impl Rng for Always {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn env(byte: u8) -> Env {
        let clock = Arc::new(ManualClock::new(at("2026-11-22T15:40:00Z")));
        Env { clock, rng: Arc::new(Always(byte)) }
    }

    fn wait(byte: u8, failures: u32, cause: RetryCause, delay: Option<u64>) -> i128 {
        let (env, use_by) = (env(byte), at("2026-11-22T18:40:00Z"));
        let delay = delay.map(Duration::from_secs);
        let next = next_attempt(&env, env.now(), use_by, failures, cause, delay).unwrap();
        next.duration_since(env.now()).as_millis()
    }

    #[test]
    fn waits_double_to_four_times_the_base() {
        let waits = |cause| [1, 2, 3, 4, 40, u32::MAX].map(|n| wait(0, n, cause, None));
        assert_eq!(waits(RetryCause::Unavailable), [10, 20, 40, 40, 40, 40].map(|s| s * 1_000));
        assert_eq!(waits(RetryCause::Throttled), [60, 120, 240, 240, 240, 240].map(|s| s * 1_000));
    }

    #[test]
    fn jitter_only_adds() {
        for byte in [0, 1, 77, 128, 255] {
            let waited = wait(byte, 1, RetryCause::Unavailable, None);
            assert!((10_000..=12_500).contains(&waited), "{waited}");
            let waited = wait(byte, 9, RetryCause::Throttled, None);
            assert!((240_000..=255_000).contains(&waited), "{waited}");
        }
    }

    #[test]
    fn the_server_s_delay_is_honoured_whatever_the_count() {
        assert_eq!(wait(0, 1, RetryCause::Throttled, Some(17)), 17_000);
        assert_eq!(wait(0, 9, RetryCause::Unavailable, Some(600)), 600_000);
    }

    #[test]
    fn a_server_that_names_no_wait_is_given_the_usual_one() {
        assert_eq!(wait(0, 1, RetryCause::Unavailable, Some(0)), 10_000);
        assert_eq!(wait(0, 2, RetryCause::Throttled, Some(0)), 120_000);
    }

    #[test]
    fn nothing_is_tried_at_or_after_its_use_by() {
        let env = env(0);
        let next = |use_by, delay: Option<u64>| {
            let delay = delay.map(Duration::from_secs);
            next_attempt(&env, env.now(), at(use_by), 1, RetryCause::Unavailable, delay)
        };
        assert_eq!(next("2026-11-22T15:40:10Z", None), None);
        assert_eq!(next("2026-11-22T15:40:11Z", None), Some(at("2026-11-22T15:40:10Z")));
        assert_eq!(next("2026-11-22T18:40:00Z", Some(u64::MAX)), None);
        assert_eq!(next("2020-01-01T00:00:00Z", None), None);
    }
}
