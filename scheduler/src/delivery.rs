//! One claimed reminder on its way to the patient's devices.

use std::time::Duration;

use aftercare::care::dispatch::{Attempt, Item, Outgoing, Settled, Target, Trial, Verdict, Work};
use aftercare::store::Store;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::metrics;
use crate::push::{Answer, Client, Kind, Outcome, Push, next_attempt};

/// A message may leave until this long before its lease ends: 10 s for the request, and as much
/// for writing the outcome.
const LEASE_MARGIN: Duration = Duration::from_secs(20);

/// Until when messages may leave under a lease, by both clocks: a stepped wall clock cannot
/// stretch it, and one that others see as over is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeaseEnd {
    wall: Timestamp,
    monotonic: Instant,
}

impl LeaseEnd {
    /// `claimed` is when the claim was begun, `length` how long it was to last, `until` the end
    /// that was written with it.
    pub(crate) fn new(claimed: Instant, length: Duration, until: Timestamp) -> Self {
        let margin = SignedDuration::try_from(LEASE_MARGIN).unwrap_or_default();
        let wall = until.checked_sub(margin).unwrap_or(until);
        Self { wall, monotonic: claimed + length.saturating_sub(LEASE_MARGIN) }
    }

    pub(crate) fn allows_sending(self, now: Timestamp) -> bool {
        now < self.wall && Instant::now() < self.monotonic
    }
}

/// What a message needs while it travels.
pub(crate) struct Courier<'a> {
    pub(crate) client: &'a Client,
    pub(crate) store: &'a Store,
    pub(crate) lease_end: LeaseEnd,
    pub(crate) stop: watch::Receiver<bool>,
}

/// What came of one claimed reminder.
pub(crate) struct Delivered {
    pub(crate) settled: Settled,
    /// FCM's words, when it did not accept our credential.
    pub(crate) credentials_refused: Option<String>,
}

impl Courier<'_> {
    /// Sends to all devices at once and waits for every answer.
    pub(crate) async fn deliver(&self, item: Item, outgoing: Outgoing) -> Delivered {
        let trials = outgoing.targets.iter().map(|target| self.send(item, &outgoing, target));
        let trials = join_all(trials).await;
        let credentials_refused = trials.iter().find_map(|trial| trial.1.clone());
        let attempts: Vec<Attempt> = trials.into_iter().map(|trial| trial.0).collect();
        let accepted = attempts.iter().filter(|attempt| attempt.trial == Trial::Accepted);
        if (item.work, item.attempt) == (Work::Reminder, 1)
            && let Some(first) = accepted.map(|attempt| attempt.at).min()
        {
            metrics::late(first.duration_since(outgoing.due_at).as_secs_f64());
        }
        let settled = Settled { item, verdict: Verdict::Tried(attempts), said: outgoing.said };
        Delivered { settled, credentials_refused }
    }

    async fn send(
        &self,
        item: Item,
        outgoing: &Outgoing,
        target: &Target,
    ) -> (Attempt, Option<String>) {
        let kind = match item.work {
            Work::Reminder | Work::Retry(_) => Kind::Reminder,
            Work::Test => Kind::Test,
        };
        let push = Push {
            kind,
            reminder: item.reminder,
            address: target.address.expose_secret(),
            platform: target.platform,
            mode: target.mode,
            content: outgoing.content,
            title: &outgoing.title,
            body: &outgoing.body,
            due_at: outgoing.due_at,
            use_by: outgoing.use_by,
        };
        let began = Instant::now();
        let env = self.store.env();
        let wanted = || {
            !*self.stop.borrow()
                && self.lease_end.allows_sending(env.now())
                && !self.store.was_erased(item.patient)
        };
        let answer = self.client.send(&push, wanted).await;
        let at = env.now();
        let (trial, label) = match &answer {
            None => (Trial::Unsent, "unsent"),
            Some(answer) => self.judge(item, outgoing, answer, at),
        };
        metrics::pushed(label, began.elapsed());
        let refused = answer.as_ref().filter(|a| a.outcome == Outcome::CredentialsRefused);
        let refused = refused.map(|answer| {
            let code = answer.code.as_deref().unwrap_or("no code");
            format!("FCM refused our credential ({code})")
        });
        let (status, code, detail) =
            answer.map_or((None, None, None), |answer| (answer.status, answer.code, answer.detail));
        (Attempt { target: target.clone(), at, trial, status, code, detail }, refused)
    }

    fn judge(
        &self,
        item: Item,
        outgoing: &Outgoing,
        answer: &Answer,
        at: Timestamp,
    ) -> (Trial, &'static str) {
        match &answer.outcome {
            Outcome::Sent { .. } => (Trial::Accepted, "sent"),
            Outcome::AddressGone => {
                tracing::info!(reminder = %item.reminder, "the app is gone from a device: dropped");
                (Trial::Gone, "address-gone")
            }
            Outcome::AddressRefused => {
                tracing::warn!(
                    reminder = %item.reminder,
                    code = answer.code,
                    "FCM refuses a device's address, so the device is disabled; if this happens to \
                     many, FCM_CREDENTIALS may be another project's than the app's"
                );
                (Trial::Refused, "address-refused")
            }
            Outcome::RetryAfter { delay, cause } => {
                let (use_by, failures) = (outgoing.use_by, item.attempt);
                let next = next_attempt(self.store.env(), at, use_by, failures, *cause, *delay);
                (Trial::Again(next), "retry")
            }
            Outcome::Rejected => {
                tracing::error!(
                    reminder = %item.reminder,
                    status = answer.status,
                    code = answer.code,
                    detail = answer.detail,
                    "FCM rejects this message; it will not be tried again"
                );
                (Trial::Rejected, "rejected")
            }
            // Sending pauses as a whole; this reminder is due again as soon as it goes on.
            Outcome::CredentialsRefused => (Trial::Again(Some(at)), "credentials-refused"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_leaves_in_the_last_twenty_seconds_of_a_lease() {
        let until: Timestamp = "2026-11-22T15:56:00Z".parse().unwrap();
        let before = |seconds| until.checked_sub(SignedDuration::from_secs(seconds)).unwrap();
        let now = Instant::now();
        let minute = Duration::from_mins(1);
        let end = LeaseEnd::new(now, minute, until);
        assert!(end.allows_sending(before(21)));
        assert!(!end.allows_sending(before(20)), "by the wall clock");
        let old = now.checked_sub(Duration::from_secs(41)).unwrap();
        let end = LeaseEnd::new(old, minute, until);
        assert!(!end.allows_sending(before(60)), "by the monotonic clock");
    }
}
