//! Looking once more at what was claimed, while the next claim is under way.

use std::sync::Arc;

use aftercare::care::dispatch::{self, Claim, Decision, Job, Settled, Verdict};
use aftercare::store::StoreError;
use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::{Dispatcher, Run};
use crate::delivery::LeaseEnd;

/// What was claimed, and until when it may leave.
pub(super) struct Claimed {
    pub(super) claim: Arc<Claim>,
    pub(super) lease_end: LeaseEnd,
    /// When that was begun.
    pub(super) began: Instant,
}

/// What is to become of it.
pub(super) struct Prepared {
    jobs: Vec<Job>,
    lease_end: LeaseEnd,
    failure: Option<StoreError>,
}

impl Dispatcher {
    /// Begins to look at what was claimed, if there is anything and it is its turn.
    pub(super) fn begin_prepare<'d>(&'d self, run: &mut Run<'d>) {
        if run.preparing.is_none()
            && let Some(claimed) = run.claimed.take()
        {
            run.preparing = Some(self.prepare(claimed).boxed());
        }
    }

    async fn prepare(&self, Claimed { claim, lease_end, .. }: Claimed) -> Prepared {
        let released = |item| Job { item, decision: Decision::Not(Verdict::Released) };
        let (jobs, failure) = match self.look_again(&claim).await {
            Ok(jobs) => (jobs, None),
            Err(error) => (claim.singles().map(|(item, _)| released(item)).collect(), Some(error)),
        };
        Prepared { jobs, lease_end, failure }
    }

    /// Looks at what was claimed once more. A row that cannot be read must not hold up the others:
    /// when the batch fails on one, each is looked at by itself.
    async fn look_again(&self, claim: &Arc<Claim>) -> Result<Vec<Job>, StoreError> {
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

    /// Takes on what was prepared.
    ///
    /// # Errors
    /// What kept it from being looked at; then it goes back.
    pub(super) fn prepared(&self, run: &mut Run<'_>, prepared: Prepared) -> Result<(), StoreError> {
        let Prepared { jobs, lease_end, failure } = prepared;
        run.held = run.held.saturating_sub(jobs.len());
        // FCM may have refused our credential since it was claimed.
        let paused = self.status.is_paused(self.env());
        let mut leaves = false;
        for Job { item, decision } in jobs {
            match decision {
                Decision::Send(_) if paused => {
                    run.keep(Settled { item, verdict: Verdict::Released, said: None });
                }
                Decision::Send(outgoing) => {
                    leaves = true;
                    self.start(run, item, *outgoing, lease_end);
                }
                Decision::Not(verdict) => run.keep(Settled { item, verdict, said: None }),
            }
        }
        let Some(failure) = failure else {
            // Nothing comes back that would say whether FCM takes messages again.
            run.look |= !leaves && self.status.is_probing();
            self.status.ran(self.env().now());
            return Ok(());
        };
        run.wait_for_the_heartbeat();
        Err(failure)
    }
}
