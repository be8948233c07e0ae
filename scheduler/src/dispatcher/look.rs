//! A look at the tables: claims what is due, or finds out what comes next.

use std::sync::Arc;
use std::time::Duration;

use aftercare::care::dispatch::{self, Queues, Reclaimed, Start};
use aftercare::ids::LeaseId;
use aftercare::store::{NextDue, Place, StoreError, Tx};
use futures_util::FutureExt as _;
use jiff::SignedDuration;
use tokio::time::Instant;

use super::prepare::Claimed;
use super::{Dispatcher, Run};
use crate::delivery::LeaseEnd;
use crate::metrics;
use crate::push::TokenError;

/// Leases that ran out are looked for at most this often.
const RECLAIM_EVERY: Duration = Duration::from_secs(1);
/// After a claim that was not full, the next look waits until this long after that claim began: a small claim
/// costs the database what a large one does, and of what comes due evenly each would be one.
const PACE: Duration = Duration::from_millis(10);
/// After a failure the tables are left alone for this long.
const RECOVER: Duration = Duration::from_secs(1);
/// The loop sets no alarm further ahead than this: the heartbeat is there long before.
const ALARM_MAX: Duration = Duration::from_mins(1);

/// What there was when a look began.
#[derive(Debug, Clone, Copy)]
struct Scene {
    /// How many more messages may be under way.
    room: usize,
    /// Whether none was, and none was claimed.
    idle: bool,
    /// Whether something was claimed and not looked at once more: how that goes, it says itself.
    held: bool,
    /// Whether the queues are to be put in order.
    reclaim: bool,
    /// Where the last claim ended, if there was probably more behind it.
    behind: Option<Place>,
}

/// What a look at the tables brought.
#[derive(Default)]
pub(super) struct Looked {
    reclaimed: Reclaimed,
    claimed: Option<Claimed>,
    /// When something is due next.
    alarm: Option<Instant>,
    /// Whether there is probably more.
    more: bool,
    /// Behind what that is, as far as is known.
    onward: Option<Place>,
    /// Whether due work was left where it is because sending is paused.
    paused: bool,
    /// Whether due work was left where it is until the message that is under way has come back.
    probing: bool,
    failure: Option<StoreError>,
}

impl Dispatcher {
    /// Begins a look, if one is wanted and what it finds can be taken on.
    pub(super) fn begin_look<'d>(&'d self, run: &mut Run<'d>, stopping: bool) {
        let most = self.limits.concurrency.min(self.client.most_under_way());
        let under_way = run.under_way();
        let crowded =
            under_way + self.spare(most) > most || run.outcomes.len() > self.limits.concurrency;
        let now = Instant::now();
        let free = run.looking.is_none() && run.claimed.is_none();
        let ready = run.look && free && !stopping && !crowded;
        run.paced = Some(run.look_from).filter(|from| ready && now < *from);
        if !ready || run.paced.is_some() {
            return;
        }
        run.look = false;
        let in_turn = now >= run.reclaim_at;
        if in_turn {
            run.reclaim_at = now + RECLAIM_EVERY;
        }
        let reclaim = in_turn || std::mem::take(&mut run.unfinished);
        let room = most.saturating_sub(under_way);
        // What came due further ahead meanwhile waits no longer than a lease that ran out.
        let behind = run.onward.take().filter(|_| !in_turn);
        let (idle, held) = (under_way == 0, run.held > 0);
        let scene = Scene { room, idle, held, reclaim, behind };
        run.looking = Some(self.look(scene).boxed());
    }

    /// Room that is worth a claim: small claims cost the database as much as large ones.
    fn spare(&self, most: usize) -> usize {
        self.limits.batch.min(most / 2).max(1)
    }

    async fn look(&self, scene: Scene) -> Looked {
        let mut looked = Looked::default();
        looked.failure = self.look_into(&mut looked, scene).await.err();
        looked
    }

    async fn look_into(&self, looked: &mut Looked, scene: Scene) -> Result<(), StoreError> {
        if scene.reclaim {
            looked.reclaimed = self.store.write(dispatch::reclaim).await?;
        }
        let may_send = self.may_send().await;
        let next = match scene.behind {
            Some(place) => NextDue { reminder: Some(place.at()), ..NextDue::default() },
            None => self.store.look(|tx| tx.next_due()).await?,
        };
        let now = self.env().now();
        let start = scene.behind.map_or(Start::Head(Queues::due(&next, now)), Start::Behind);
        let wait = next.first().map(|at| at.duration_since(now));
        self.status.lag(next.reminders().map_or(0.0, |at| now.duration_since(at).as_secs_f64()));
        let probing = self.status.is_probing();
        match wait {
            None => {}
            Some(wait) if wait.is_positive() => {
                let wait = Duration::try_from(wait).unwrap_or(ALARM_MAX);
                looked.alarm = (wait <= ALARM_MAX).then(|| Instant::now() + wait);
            }
            Some(_) if !may_send => looked.paused = true,
            Some(_) if probing && !scene.idle => looked.probing = true,
            Some(_) => {
                let limit = if probing { 1 } else { self.limits.batch.min(scene.room) };
                self.claim(looked, limit, start).await?;
                // Due, and yet nothing to claim: another worker holds it. The heartbeat returns.
                let claimed = looked.claimed.is_some();
                looked.more = (claimed && !probing) || (!claimed && scene.behind.is_some());
            }
        }
        // What is claimed is not done yet.
        if looked.claimed.is_none() && !scene.held {
            self.status.ran(now);
        }
        Ok(())
    }

    /// Whether there is an access token, so that a claim can lead to anything.
    async fn may_send(&self) -> bool {
        if self.status.is_paused(self.env()) {
            return false;
        }
        match self.client.authenticate().await {
            Ok(()) => {
                self.status.authenticated();
                return true;
            }
            Err(error @ TokenError::Unavailable(_)) => {
                self.status.unreachable(error.to_string(), self.env());
            }
            Err(error @ (TokenError::Refused { .. } | TokenError::Signing)) => {
                self.status.refused(error.to_string(), false, self.env());
            }
        }
        false
    }

    async fn claim(
        &self,
        looked: &mut Looked,
        limit: usize,
        start: Start,
    ) -> Result<(), StoreError> {
        let began = Instant::now();
        let lease: LeaseId = self.env().id();
        let length = SignedDuration::try_from(self.limits.lease).unwrap_or_default();
        let claim = move |tx: &mut Tx<'_>| dispatch::claim_from(tx, lease, length, limit, start);
        let claim = self.store.write(claim).await?;
        looked.onward = claim.onward;
        if !claim.is_empty() {
            let lease_end = LeaseEnd::new(began, self.limits.lease, claim.until);
            looked.claimed = Some(Claimed { claim: Arc::new(claim), lease_end, began });
        }
        Ok(())
    }
}

impl Run<'_> {
    /// Takes on what a look brought.
    ///
    /// # Errors
    /// What kept it from looking further.
    pub(super) fn looked(&mut self, looked: Looked) -> Result<(), StoreError> {
        let Reclaimed { leases, unfinished } = looked.reclaimed;
        if leases > 0 {
            tracing::warn!(rows = leases, "took back claims whose lease ran out");
            metrics::reclaimed(leases);
        }
        self.summary.reclaimed += leases;
        self.summary.paused |= looked.paused;
        self.alarm = looked.alarm.or(self.alarm);
        self.onward = looked.onward;
        if let Some(claimed) = looked.claimed.as_ref().filter(|claimed| !claimed.claim.full) {
            self.not_before(claimed.began + PACE);
        }
        self.unfinished |= unfinished;
        self.look |= unfinished;
        self.look |= looked.more || (looked.probing && self.under_way() == 0);
        if let Some(claimed) = looked.claimed {
            let count = claimed.claim.len();
            metrics::claimed(count);
            self.summary.claimed += count;
            self.held += count;
            self.claimed = Some(claimed);
        }
        let Some(failure) = looked.failure else { return Ok(()) };
        self.wait_for_the_heartbeat();
        Err(failure)
    }

    /// The database does not do what it is asked: it is left alone for a while, whatever a look finds that is under
    /// way.
    pub(super) fn wait_for_the_heartbeat(&mut self) {
        self.look = false;
        self.not_before(Instant::now() + RECOVER);
    }

    fn not_before(&mut self, moment: Instant) {
        self.look_from = self.look_from.max(moment);
    }
}
