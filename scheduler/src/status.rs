//! What `/readyz` and `status` say about the scheduler.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aftercare::clock::Env;
use jiff::Timestamp;

use crate::metrics;
use crate::pause::{Pause, doubled};

/// How long sending pauses after FCM refused our credential; doubles up to `REFUSED_MAX`.
const REFUSED_MIN: Duration = Duration::from_secs(30);
const REFUSED_MAX: Duration = Duration::from_mins(5);
/// How long nothing is claimed after the token endpoint could not be reached; doubles up to
/// `AWAY_MAX`.
const AWAY_MIN: Duration = Duration::from_secs(1);
const AWAY_MAX: Duration = Duration::from_secs(10);

/// Whether FCM accepts our credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// Nothing was sent yet.
    Untried,
    /// The last answer that said anything about it accepted it.
    Accepted,
    /// It was refused; sending is paused and tried again now and then with a single reminder.
    Refused(String),
    /// The token endpoint cannot be reached.
    Unreachable(String),
}

/// A failure, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What failed. Carries no personal data.
    pub message: String,
    /// When, wall clock.
    pub at: Timestamp,
}

/// How the scheduler is doing.
#[derive(Debug, Clone, PartialEq)]
pub struct SchedulerStatus {
    /// Whether FCM accepts our credential.
    pub credential: Credential,
    /// Whether sending is paused because of it.
    pub paused: bool,
    /// The last failure of the database, until a run succeeds.
    pub last_error: Option<Failure>,
    /// Why FCM could not take the last message, and since when none was accepted; `None` once one
    /// is.
    pub trouble: Option<Failure>,
    /// When a run last succeeded, wall clock.
    pub last_run_at: Option<Timestamp>,
    /// How long the oldest due reminder had waited when last looked, in seconds; 0 when none was
    /// due.
    pub lag_seconds: f64,
}

/// The shared, changing status.
#[derive(Debug)]
pub(crate) struct StatusCell(Mutex<State>);

#[derive(Debug)]
struct State {
    public: SchedulerStatus,
    pause: Option<Pause>,
    failures: u32,
    /// It was FCM that refused, so only FCM can say that all is well again.
    by_fcm: bool,
}

impl Default for StatusCell {
    fn default() -> Self {
        let public = SchedulerStatus {
            credential: Credential::Untried,
            paused: false,
            last_error: None,
            trouble: None,
            last_run_at: None,
            lag_seconds: 0.0,
        };
        Self(Mutex::new(State { public, pause: None, failures: 0, by_fcm: false }))
    }
}

impl StatusCell {
    pub(crate) fn get(&self) -> SchedulerStatus {
        self.lock().public.clone()
    }

    /// Whether sending must wait. A pause that is over lets one probe through.
    pub(crate) fn is_paused(&self, env: &Env) -> bool {
        self.lock().pause.is_some_and(|pause| !pause.is_over(env))
    }

    /// Whether the next message is the one that finds out.
    pub(crate) fn is_probing(&self) -> bool {
        self.lock().by_fcm
    }

    /// FCM accepted a message.
    pub(crate) fn accepted(&self) {
        let mut state = self.lock();
        if let Some(trouble) = state.public.trouble.take() {
            tracing::info!(since = %trouble.at, "FCM takes messages again");
        }
        state.well(Credential::Accepted);
    }

    /// A message is to be tried again. Said once, until one is accepted.
    pub(crate) fn troubled(&self, message: String, env: &Env) {
        let mut state = self.lock();
        if let Some(trouble) = &mut state.public.trouble {
            trouble.message = message;
            return;
        }
        tracing::warn!(
            cause = message,
            "FCM could not take a message; it is tried again until its use-by"
        );
        state.public.trouble = Some(Failure { message, at: env.now() });
    }

    /// The token endpoint gave us a token.
    pub(crate) fn authenticated(&self) {
        let mut state = self.lock();
        let troubled =
            matches!(state.public.credential, Credential::Refused(_) | Credential::Unreachable(_));
        if troubled && !state.by_fcm {
            state.well(Credential::Untried);
        }
    }

    /// Pauses all sending, loudly. `by_fcm`: FCM refused our token; else we were refused a token.
    pub(crate) fn refused(&self, message: String, by_fcm: bool, env: &Env) {
        let mut state = self.lock();
        if state.by_fcm == by_fcm && state.pause.is_some_and(|pause| !pause.is_over(env)) {
            // One of many that were under way when it was noticed.
            return;
        }
        state.by_fcm |= by_fcm;
        let length = doubled(REFUSED_MIN, REFUSED_MAX, state.failures);
        tracing::error!(
            cause = message,
            pause_seconds = length.as_secs(),
            "sending is paused: Google does not accept our credential; check FCM_CREDENTIALS"
        );
        metrics::credential(false);
        state.hold(Credential::Refused(message), length, env);
        state.public.paused = true;
    }

    /// Holds claims back: nothing could be sent.
    pub(crate) fn unreachable(&self, message: String, env: &Env) {
        let mut state = self.lock();
        let length = doubled(AWAY_MIN, AWAY_MAX, state.failures);
        tracing::warn!(cause = message, "no access token; nothing is claimed until there is one");
        state.hold(Credential::Unreachable(message), length, env);
    }

    pub(crate) fn failed(&self, message: String, at: Timestamp) {
        metrics::run_failed();
        let mut state = self.lock();
        // While it lasts it is said once, not every second.
        if state.public.last_error.as_ref().is_none_or(|last| last.message != message) {
            tracing::error!(cause = message, "the dispatcher cannot work; it goes on trying");
        }
        state.public.last_error = Some(Failure { message, at });
    }

    pub(crate) fn ran(&self, at: Timestamp) {
        let mut state = self.lock();
        state.public.last_error = None;
        state.public.last_run_at = Some(at);
    }

    pub(crate) fn lag(&self, seconds: f64) {
        metrics::lag(seconds);
        self.lock().public.lag_seconds = seconds;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn well(&mut self, credential: Credential) {
        if self.public.credential != credential {
            metrics::credential(true);
        }
        if self.public.paused {
            tracing::info!("our credential is accepted again; sending goes on");
        }
        (self.public.credential, self.public.paused) = (credential, false);
        (self.pause, self.failures, self.by_fcm) = (None, 0, false);
    }

    fn hold(&mut self, credential: Credential, length: Duration, env: &Env) {
        self.public.credential = credential;
        self.pause = Some(Pause::new(env, length));
        self.failures = self.failures.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aftercare::clock::ManualClock;
    use jiff::SignedDuration;

    use super::*;

    fn is_well(status: &StatusCell) -> bool {
        let status = status.get();
        matches!(status.credential, Credential::Untried | Credential::Accepted)
            && status.last_error.is_none()
    }

    #[test]
    fn a_refused_credential_pauses_and_probes_until_it_is_accepted() {
        let clock = Arc::new(ManualClock::new("2026-11-22T15:40:00Z".parse().unwrap()));
        let env = Env::with_clock(Arc::<ManualClock>::clone(&clock));
        let status = StatusCell::default();
        assert!(is_well(&status) && !status.is_paused(&env) && !status.is_probing());
        status.refused("no".into(), true, &env);
        assert!(!is_well(&status) && status.get().paused && status.is_paused(&env));
        clock.advance(SignedDuration::from_secs(30));
        assert!(!status.is_paused(&env) && status.is_probing() && status.get().paused);
        status.refused("no".into(), true, &env);
        clock.advance(SignedDuration::from_secs(30));
        assert!(status.is_paused(&env), "the second pause is longer");
        status.authenticated();
        assert!(!is_well(&status), "a token proves nothing once FCM refused one");
        status.accepted();
        assert!(is_well(&status) && !status.is_paused(&env) && !status.is_probing());
    }

    #[test]
    fn a_token_heals_what_the_token_endpoint_broke() {
        let env = Env::system();
        let status = StatusCell::default();
        status.refused("invalid_grant".into(), false, &env);
        assert!(status.get().paused && !status.is_probing());
        status.authenticated();
        assert!(is_well(&status) && !status.get().paused && !status.is_paused(&env));
        status.unreachable("no route".into(), &env);
        assert!(!is_well(&status) && !status.get().paused && status.is_paused(&env));
        status.authenticated();
        assert_eq!(status.get().credential, Credential::Untried);
    }

    #[test]
    fn a_database_failure_is_forgotten_after_a_run() {
        let status = StatusCell::default();
        let at = "2026-11-22T15:40:00Z".parse().unwrap();
        status.failed("the disk is full".into(), at);
        assert!(!is_well(&status));
        status.ran(at);
        assert!(is_well(&status));
        assert_eq!(status.get().last_run_at, Some(at));
    }
}
