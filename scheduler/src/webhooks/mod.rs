//! Telling clinics what happened: the outbox of webhooks, emptied with at-least-once delivery.
//!
//! Each webhook has a lane of its own, so that a slow receiver holds up nobody else. A lane claims a few due
//! events under a lease, commits, sends them and writes what came of it, guarded by the lease. A crash between
//! the receiver's answer and our commit sends the event again under the same id. What is not taken is tried
//! again with growing waits, and given up a day after it happened.

mod client;
mod signature;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use aftercare::care::{self, Message, Outbound, Told};
use aftercare::clock::Env;
use aftercare::ids::{LeaseId, WebhookId};
use aftercare::store::{Store, StoreError, Webhook, WebhookOutcome};
use aftercare::webhook::{Reach, WebhookUrl};
use futures_util::future::join_all;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;
use tokio::sync::{Semaphore, watch};
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::delivery::LeaseEnd;
use crate::metrics;
use client::{Client, Envelope};

/// How long a claim lasts, wall clock: 10 s for the request, as much to write the outcome, and room.
const LEASE: Duration = Duration::from_mins(1);
/// Events in one claim, and so requests to one receiver at a time.
const BATCH: i64 = 16;
/// Requests under way at once, to all receivers: each holds a connection for up to 10 s.
const CONCURRENCY: usize = 256;
/// How often the outbox is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often its depth is counted.
const COUNT_EVERY: u32 = 15;
/// The first wait after a failure; it doubles …
const WAIT_MIN: SignedDuration = SignedDuration::from_secs(5);
/// … up to this.
const WAIT_MAX: SignedDuration = SignedDuration::from_hours(1);

/// What one run did. An event counts once for each attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WebhookSummary {
    /// Events that a receiver took.
    pub delivered: usize,
    /// Events that are tried again later.
    pub retrying: usize,
    /// Events that were given up.
    pub failed: usize,
}

/// See the module's words.
pub(crate) struct Deliverer {
    store: Store,
    client: Client,
    requests: Semaphore,
    reach: Reach,
    stop: watch::Receiver<bool>,
}

impl Deliverer {
    pub(crate) fn new(store: Store, reach: Reach, stop: watch::Receiver<bool>) -> Self {
        let requests = Semaphore::new(CONCURRENCY);
        Self { store, client: Client::new(reach), requests, reach, stop }
    }

    /// Tells everything that is due now, until nothing is.
    ///
    /// # Errors
    /// The database's. What was claimed then returns when its lease ends.
    pub(crate) async fn run_once(&self) -> Result<WebhookSummary, StoreError> {
        let due = self.store.read(|tx| tx.due_webhooks()).await?;
        let lanes = join_all(due.into_iter().map(|webhook| self.lane(webhook))).await;
        let mut all = WebhookSummary::default();
        for lane in lanes {
            let lane = lane?;
            all.delivered += lane.delivered;
            all.retrying += lane.retrying;
            all.failed += lane.failed;
        }
        Ok(all)
    }

    /// Tells whatever comes due, until told to stop; then waits for what is on its way.
    pub(crate) async fn serve(self: Arc<Self>) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop = self.stop.clone();
        let mut lanes = JoinSet::new();
        let mut open: HashMap<Id, WebhookId> = HashMap::new();
        let mut looks = 0_u32;
        while !self.is_stopping() {
            tokio::select! {
                _ = look.tick() => {
                    self.open_lanes(&mut lanes, &mut open).await;
                    if looks.is_multiple_of(COUNT_EVERY) {
                        self.count().await;
                    }
                    looks = looks.wrapping_add(1);
                }
                Some(done) = lanes.join_next_with_id() => {
                    let id = done.as_ref().map_or_else(tokio::task::JoinError::id, |(id, ())| *id);
                    open.remove(&id);
                }
                _ = stop.changed() => {}
            }
        }
        while lanes.join_next().await.is_some() {}
    }

    async fn open_lanes(
        self: &Arc<Self>,
        lanes: &mut JoinSet<()>,
        open: &mut HashMap<Id, WebhookId>,
    ) {
        let due = match self.store.read(|tx| tx.due_webhooks()).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "could not look for what webhooks are to be told");
                return;
            }
        };
        let busy: HashSet<WebhookId> = open.values().copied().collect();
        for webhook in due.into_iter().filter(|webhook| !busy.contains(webhook)) {
            let deliverer = Arc::clone(self);
            let lane = lanes.spawn(async move {
                if let Err(error) = deliverer.lane(webhook).await {
                    tracing::warn!(%webhook, %error, "could not tell a webhook; its lease brings it back");
                }
            });
            open.insert(lane.id(), webhook);
        }
    }

    async fn count(&self) {
        match self.store.read(|tx| tx.count_webhook_events()).await {
            Ok((pending, failed)) => metrics::outbox(pending, failed),
            Err(error) => tracing::warn!(%error, "could not count what webhooks are to be told"),
        }
    }

    fn env(&self) -> &Env {
        self.store.env()
    }

    fn is_stopping(&self) -> bool {
        *self.stop.borrow() || self.stop.has_changed().is_err()
    }

    /// Tells one webhook what is due, a few events at a time.
    async fn lane(&self, webhook: WebhookId) -> Result<WebhookSummary, StoreError> {
        let mut summary = WebhookSummary::default();
        while !self.is_stopping() {
            let (began, lease) = (Instant::now(), self.env().id::<LeaseId>());
            let length = SignedDuration::try_from(LEASE).unwrap_or_default();
            let claim = move |tx: &mut aftercare::store::Tx<'_>| {
                care::claim_webhook(tx, webhook, lease, length, BATCH)
            };
            let Some(outbound) = self.store.write(claim).await? else { break };
            let lease_end = LeaseEnd::new(began, LEASE, outbound.until);
            let told = self.tell(&outbound, lease_end).await;
            for told in &told {
                summary.count(&told.outcome);
            }
            let of = (outbound.webhook.clinic_id, outbound.webhook.id);
            self.store.write(move |tx| care::settle_webhook(tx, of, lease, &told)).await?;
        }
        Ok(summary)
    }

    async fn tell(&self, outbound: &Outbound, lease_end: LeaseEnd) -> Vec<Told> {
        let Outbound { webhook, messages, .. } = outbound;
        let url = WebhookUrl::parse(webhook.url.expose_secret(), self.reach);
        let telling = messages.iter().map(|message| async {
            let seq = message.event.seq;
            let url = match &url {
                Ok(url) => url,
                Err(error) => return self.refused(message, format!("the URL {error}"), false),
            };
            let Some(body) = message.body.clone() else {
                let trouble = "the patient's rows cannot be read".to_owned();
                return self.refused(message, trouble, false);
            };
            let _permit = self.requests.acquire().await;
            if !self.may_leave(message, lease_end) {
                let trouble = "it was not tried".to_owned();
                let outcome = WebhookOutcome::Retry { at: self.env().now(), trouble };
                return Told { seq, outcome, gone: false };
            }
            self.send(webhook, url, message, body).await
        });
        join_all(telling).await
    }

    /// Whether the lease is still ours for long enough, and the patient still there as far as is known here.
    fn may_leave(&self, message: &Message, lease_end: LeaseEnd) -> bool {
        let erased = message.event.patient_id.is_some_and(|patient| self.store.was_erased(patient));
        !erased && !self.is_stopping() && lease_end.allows_sending(self.env().now())
    }

    async fn send(
        &self,
        webhook: &Webhook,
        url: &WebhookUrl,
        message: &Message,
        body: String,
    ) -> Told {
        let (id, timestamp) = (message.event.id.to_string(), self.env().now().as_second());
        let Some(signature) = signature::sign(&webhook.secret, &id, timestamp, &body) else {
            return self.refused(message, "the secret cannot be used".to_owned(), false);
        };
        let envelope = Envelope { id, timestamp, signature };
        match self.client.send(url, &envelope, body).await {
            Ok(status) if status.is_success() => {
                metrics::told("delivered");
                let seq = message.event.seq;
                Told { seq, outcome: WebhookOutcome::Delivered, gone: false }
            }
            Ok(status) => {
                let gone = status == StatusCode::GONE;
                self.refused(message, format!("the receiver answered {}", status.as_u16()), gone)
            }
            Err(error) => self.refused(message, error.to_string(), false),
        }
    }

    /// Again after a while, unless the day is over by then.
    fn refused(&self, message: &Message, trouble: String, gone: bool) -> Told {
        let event = &message.event;
        let at = next_attempt(self.env(), event.attempts).filter(|at| *at < event.give_up_at);
        let outcome = match at {
            Some(at) if !gone => WebhookOutcome::Retry { at, trouble },
            _ => WebhookOutcome::Failed { trouble },
        };
        let failed = matches!(outcome, WebhookOutcome::Failed { .. });
        metrics::told(if failed { "failed" } else { "retry" });
        tracing::debug!(event = %event.id, webhook = %event.webhook_id, attempts = event.attempts,
            failed, "a webhook did not take an event");
        Told { seq: event.seq, outcome, gone }
    }
}

impl WebhookSummary {
    fn count(&mut self, outcome: &WebhookOutcome) {
        match outcome {
            WebhookOutcome::Delivered => self.delivered += 1,
            WebhookOutcome::Retry { .. } => self.retrying += 1,
            WebhookOutcome::Failed { .. } => self.failed += 1,
        }
    }
}

/// When an event is tried again whose attempt of this number (1 = the first) failed: the wait doubles, and a
/// random half of it is left out, so that what failed together does not return together.
fn next_attempt(env: &Env, attempt: u32) -> Option<Timestamp> {
    let doubled = WAIT_MIN.checked_mul(1 << attempt.saturating_sub(1).min(16)).unwrap_or(WAIT_MAX);
    let wait = doubled.min(WAIT_MAX).as_millis();
    let drawn = i128::from(u32::from_be_bytes(env.random()));
    let wait = wait / 2 + drawn % (wait / 2 + 1);
    let wait = SignedDuration::from_millis(i64::try_from(wait).unwrap_or(i64::MAX));
    env.now().checked_add(wait).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_an_hour_with_jitter() {
        let clock = aftercare::clock::ManualClock::new("2026-11-22T15:40:00Z".parse().unwrap());
        let env = Env::with_clock(Arc::new(clock));
        for (attempt, longest) in [(1, 5), (2, 10), (5, 80), (10, 2_560), (11, 3_600), (99, 3_600)]
        {
            for _ in 0..50 {
                let at = next_attempt(&env, attempt).unwrap();
                let waited = at.duration_since(env.now());
                let longest = SignedDuration::from_secs(longest);
                assert!(waited >= longest / 2 && waited <= longest, "{attempt}: {waited}");
            }
        }
    }
}
