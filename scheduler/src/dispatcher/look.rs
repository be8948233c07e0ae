//! A look at the tables: claims what is due and looks at it once more, or finds out what comes next.

use std::sync::Arc;
use std::time::Duration;

use aftercare::care::dispatch::{
    self, Claim, Decision, Job, Queues, Reclaimed, Settled, Start, Verdict,
};
use aftercare::ids::LeaseId;
use aftercare::store::{NextDue, Place, StoreError, Tx};
use futures_util::FutureExt as _;
use jiff::SignedDuration;
use tokio::time::Instant;

use super::{Dispatcher, Run};
use crate::delivery::LeaseEnd;
use crate::metrics;
use crate::push::TokenError;

/// Leases that ran out are looked for at most this often.
const RECLAIM_EVERY: Duration = Duration::from_secs(1);
/// After a claim that was not full, the next look waits until this long after the last one began: a small claim
/// costs the database what a large one does, and of what comes due evenly each would be one.
const PACE: Duration = Duration::from_millis(10);
/// The loop sets no alarm further ahead than this: the heartbeat is there long before.
const ALARM_MAX: Duration = Duration::from_mins(1);

/// What there was when a look began.
#[derive(Debug, Clone, Copy)]
struct Scene {
    /// How many more messages may be under way.
    room: usize,
    /// Whether none was.
    idle: bool,
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

/// What was claimed, and until when it may leave.
struct Claimed {
    jobs: Vec<Job>,
    lease_end: LeaseEnd,
    /// Whether there is probably more.
    full: bool,
}

impl Claimed {
    /// Whether a message of it goes to FCM.
    fn any_leaves(&self) -> bool {
        self.jobs.iter().any(|job| matches!(job.decision, Decision::Send(_)))
    }
}

impl Dispatcher {
    /// Begins a look, if one is wanted and what it finds can be taken on.
    pub(super) fn begin_look<'d>(&'d self, run: &mut Run<'d>, stopping: bool) {
        let most = self.limits.concurrency;
        let crowded = run.sending.len() + self.spare() > most || run.outcomes.len() > most;
        let now = Instant::now();
        let ready = run.look && run.looking.is_none() && !stopping && !crowded;
        run.paced = Some(run.look_from).filter(|from| ready && now < *from);
        if !ready || run.paced.is_some() {
            return;
        }
        (run.look, run.look_from) = (false, now + PACE);
        let in_turn = now >= run.reclaim_at;
        if in_turn {
            run.reclaim_at = now + RECLAIM_EVERY;
        }
        let reclaim = in_turn || std::mem::take(&mut run.unfinished);
        let room = most.saturating_sub(run.sending.len());
        // What came due further ahead meanwhile waits no longer than a lease that ran out.
        let behind = run.onward.take().filter(|_| !in_turn);
        let scene = Scene { room, idle: run.sending.is_empty(), reclaim, behind };
        run.looking = Some(self.look(scene).boxed());
    }

    /// Room that is worth a claim: small claims cost the database as much as large ones.
    fn spare(&self) -> usize {
        self.limits.batch.min(self.limits.concurrency / 2).max(1)
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
                let found = looked.claimed.is_some() || scene.behind.is_some();
                let probed = probing && looked.claimed.as_ref().is_some_and(Claimed::any_leaves);
                looked.more = found && !probed;
            }
        }
        self.status.ran(now);
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
        if claim.is_empty() {
            return Ok(());
        }
        let lease_end = LeaseEnd::new(began, self.limits.lease, claim.until);
        let claim = Arc::new(claim);
        let prepared = self.prepare(&claim).await;
        let released = |item| Job { item, decision: Decision::Not(Verdict::Released) };
        let (jobs, failure) = match prepared {
            Ok(jobs) => (jobs, None),
            Err(error) => (claim.singles().map(|(item, _)| released(item)).collect(), Some(error)),
        };
        looked.claimed = Some(Claimed { jobs, lease_end, full: claim.full });
        failure.map_or(Ok(()), Err)
    }

    /// Looks at what was claimed once more. A row that cannot be read must not hold up the others:
    /// when the batch fails on one, each is looked at by itself.
    async fn prepare(&self, claim: &Arc<Claim>) -> Result<Vec<Job>, StoreError> {
        let all = Arc::clone(claim);
        match self.store.read(move |tx| dispatch::prepare(tx, &all)).await {
            Err(error) if error.is_unreadable() => {
                tracing::error!(%error, "a claimed batch cannot be read; looking at each by itself");
            }
            other => return other,
        }
        let mut jobs = Vec::with_capacity(claim.len());
        for (item, single) in claim.singles() {
            match self.store.read(move |tx| dispatch::prepare(tx, &single)).await {
                Ok(job) => jobs.extend(job),
                Err(error) if error.is_unreadable() => {
                    tracing::error!(%error, reminder = %item.reminder, "cannot be read; set aside");
                    jobs.push(Job { item, decision: Decision::Not(Verdict::Unreadable) });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(jobs)
    }

    /// Takes on what a look brought.
    ///
    /// # Errors
    /// What kept it from looking further.
    pub(super) fn looked(&self, run: &mut Run<'_>, looked: Looked) -> Result<(), StoreError> {
        let Reclaimed { leases, unfinished } = looked.reclaimed;
        if leases > 0 {
            tracing::warn!(rows = leases, "took back claims whose lease ran out");
            metrics::reclaimed(leases);
        }
        run.summary.reclaimed += leases;
        run.summary.paused |= looked.paused;
        run.alarm = looked.alarm.or(run.alarm);
        run.onward = looked.onward;
        if looked.claimed.as_ref().is_none_or(|claimed| claimed.full) {
            run.look_from = Instant::now();
        }
        run.unfinished |= unfinished;
        run.look |= unfinished;
        run.look |= looked.more || (looked.probing && run.sending.is_empty());
        if let Some(claimed) = looked.claimed {
            metrics::claimed(claimed.jobs.len());
            run.summary.claimed += claimed.jobs.len();
            self.take_on(run, claimed);
        }
        let Some(failure) = looked.failure else { return Ok(()) };
        // The heartbeat looks again.
        run.look = false;
        Err(failure)
    }

    fn take_on(&self, run: &mut Run<'_>, Claimed { jobs, lease_end, .. }: Claimed) {
        for Job { item, decision } in jobs {
            match decision {
                Decision::Send(outgoing) => self.start(run, item, *outgoing, lease_end),
                Decision::Not(verdict) => run.keep(Settled { item, verdict, said: None }),
            }
        }
    }
}
