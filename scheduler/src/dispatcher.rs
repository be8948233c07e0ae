//! The dispatcher: claims what is due, sends it, and writes down what came of it.
//!
//! A claim is one short transaction that takes a lease; no transaction is open while FCM is spoken
//! to. Everything is looked at again after the claim (consent, use-by, what still holds), and each
//! message once more in the moment it leaves. Outcomes are written in batches, guarded by the
//! lease: whoever comes too late writes nothing. A crash between FCM's answer and our commit sends
//! again under the same tag, which the phone shows once.
//!
//! One loop does it all. It knows when the next reminder is due and wakes itself; a wake-up from
//! the API or from the heartbeat makes it look at the tables again.

use std::sync::Arc;
use std::time::Duration;

use aftercare::care::dispatch::{
    self, Claim, Decision, Item, Job, Outgoing, Settled, Tally, Verdict,
};
use aftercare::clock::Env;
use aftercare::ids::LeaseId;
use aftercare::store::{Store, StoreError};
use jiff::SignedDuration;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use crate::delivery::{Courier, Delivered, LeaseEnd};
use crate::metrics;
use crate::push::{Client, TokenError};
use crate::status::StatusCell;

/// Outcomes wait this long for company before they are written.
const SETTLE_AFTER: Duration = Duration::from_millis(50);
/// How often outcomes are offered at once to a database that is busy or away, and how long between.
const SETTLE_TRIES: u32 = 3;
const SETTLE_WAIT: Duration = Duration::from_millis(100);
/// When they are offered again after that.
const SETTLE_AGAIN: Duration = Duration::from_secs(1);
/// Leases that ran out are looked for at most this often.
const RECLAIM_EVERY: Duration = Duration::from_secs(1);
/// The loop sets no alarm further ahead than this: the heartbeat is there long before.
const ALARM_MAX: Duration = Duration::from_mins(1);

/// How much at once, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Rows in one claim.
    pub(crate) batch: usize,
    /// Reminders under way at once.
    pub(crate) concurrency: usize,
    /// How long a claim lasts, wall clock.
    pub(crate) lease: Duration,
}

/// What one run did. A reminder counts once for each time it was claimed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunSummary {
    /// Reminders, single-device retries and test pushes claimed.
    pub claimed: usize,
    /// Claims whose lease had run out and that were put back.
    pub reclaimed: usize,
    /// What became of the claims.
    pub tally: Tally,
    /// Whether due work was left where it is because sending is paused.
    pub paused: bool,
}

/// See the module's words.
pub(crate) struct Dispatcher {
    pub(crate) store: Store,
    pub(crate) client: Arc<Client>,
    pub(crate) limits: Limits,
    pub(crate) status: Arc<StatusCell>,
    pub(crate) wake: Arc<Notify>,
    pub(crate) stop: watch::Receiver<bool>,
}

/// When a loop ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// When nothing is due and nothing is under way.
    Idle,
    /// When told to stop, and nothing is under way.
    Stopped,
}

/// One loop's state.
struct Run {
    summary: RunSummary,
    sending: JoinSet<Delivered>,
    outcomes: Vec<Settled>,
    settle_at: Option<Instant>,
    /// Whether the tables are to be looked at.
    look: bool,
    /// When the next attempt is due.
    alarm: Option<Instant>,
    reclaim_at: Instant,
}

impl Run {
    fn new() -> Self {
        Self {
            summary: RunSummary::default(),
            sending: JoinSet::new(),
            outcomes: Vec::new(),
            settle_at: None,
            look: true,
            alarm: None,
            reclaim_at: Instant::now(),
        }
    }

    fn ring(&mut self) {
        (self.look, self.alarm) = (true, None);
    }

    /// A re-plan may have made something due at once.
    fn wrote(&mut self, tally: Tally) {
        tally.for_each(metrics::ended);
        metrics::tested(tally.tests);
        metrics::lost(tally.lost);
        self.look |= tally.replanned > 0;
        self.summary.tally += tally;
    }

    fn keep(&mut self, settled: Settled) {
        self.outcomes.push(settled);
        self.settle_at.get_or_insert_with(|| Instant::now() + SETTLE_AFTER);
    }
}

impl Dispatcher {
    /// Sends everything that is due now, until nothing is.
    ///
    /// # Errors
    /// The database's. What was claimed then returns when its lease ends.
    pub(crate) async fn run_once(&self) -> Result<RunSummary, StoreError> {
        let mut run = Run::new();
        let result = self.turn(&mut run, Until::Idle).await;
        result.inspect_err(|error| self.failed(error)).map(|()| run.summary)
    }

    /// Sends whatever comes due, until told to stop; then waits for what is under way.
    pub(crate) async fn serve(&self) {
        let mut run = Run::new();
        while let Err(error) = self.turn(&mut run, Until::Stopped).await {
            self.failed(&error);
            if self.is_stopping() && run.sending.is_empty() {
                return;
            }
            run.look = false;
        }
    }

    fn failed(&self, error: &StoreError) {
        self.status.failed(error.to_string(), self.env().now());
    }

    fn env(&self) -> &Env {
        self.store.env()
    }

    fn is_stopping(&self) -> bool {
        *self.stop.borrow() || self.stop.has_changed().is_err()
    }

    async fn turn(&self, run: &mut Run, until: Until) -> Result<(), StoreError> {
        let mut stop = self.stop.clone();
        loop {
            if run.look && run.sending.len() + self.spare() <= self.limits.concurrency {
                self.look(run).await?;
                continue;
            }
            let stopping = self.is_stopping();
            let quiet = run.sending.is_empty() && (stopping || !run.look);
            if quiet && (stopping || until == Until::Idle) {
                self.settle(run).await?;
                if stopping || !run.look {
                    return Ok(());
                }
                continue;
            }
            let serving = until == Until::Stopped && !stopping;
            let settle_at = run.settle_at.unwrap_or_else(Instant::now);
            let alarm = run.alarm.unwrap_or_else(Instant::now);
            tokio::select! {
                // In this order, so that the same moments lead to the same work; each of the first four
                // is over once it came, so none of them keeps the others waiting.
                biased;
                _ = stop.changed(), if serving => {}
                () = self.wake.notified(), if serving => run.look = true,
                () = sleep_until(alarm), if run.alarm.is_some() => run.ring(),
                () = sleep_until(settle_at), if run.settle_at.is_some() => self.settle(run).await?,
                Some(done) = run.sending.join_next() => self.delivered(run, done),
                else => {}
            }
            if run.outcomes.len() >= self.limits.batch || run.sending.is_empty() {
                self.settle(run).await?;
            }
        }
    }

    /// Room that is worth a claim: small claims cost the database as much as large ones.
    fn spare(&self) -> usize {
        self.limits.batch.min(self.limits.concurrency / 2).max(1)
    }

    /// Looks at the tables: claims what is due, or sets the alarm for what comes next.
    async fn look(&self, run: &mut Run) -> Result<(), StoreError> {
        run.look = false;
        if self.is_stopping() {
            return Ok(());
        }
        self.reclaim(run).await?;
        let may_send = self.may_send().await;
        let next = self.store.read(dispatch::next_attempt).await?;
        let now = self.env().now();
        let wait = next.first().map(|at| at.duration_since(now));
        self.status.lag(next.reminder.map_or(0.0, |at| now.duration_since(at).as_secs_f64()));
        let probing = self.status.is_probing();
        match wait {
            None => {}
            Some(wait) if wait.is_positive() => {
                let wait = Duration::try_from(wait).unwrap_or(ALARM_MAX);
                run.alarm = (wait <= ALARM_MAX).then(|| Instant::now() + wait);
            }
            Some(_) if !may_send => run.summary.paused = true,
            Some(_) if probing && !run.sending.is_empty() => {}
            Some(_) => {
                let room = self.limits.concurrency.saturating_sub(run.sending.len());
                let limit = if probing { 1 } else { self.limits.batch.min(room) };
                let claimed = self.claim(run, limit).await?;
                // Due, and yet nothing to claim: another worker holds it. The heartbeat returns.
                run.look = claimed > 0 && !probing;
            }
        }
        self.status.ran(now);
        Ok(())
    }

    async fn reclaim(&self, run: &mut Run) -> Result<(), StoreError> {
        let now = Instant::now();
        if now < run.reclaim_at {
            return Ok(());
        }
        run.reclaim_at = now + RECLAIM_EVERY;
        let rows = self.store.write(dispatch::reclaim).await?;
        if rows > 0 {
            tracing::warn!(rows, "took back claims whose lease ran out");
            metrics::reclaimed(rows);
            run.summary.reclaimed += rows;
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

    async fn claim(&self, run: &mut Run, limit: usize) -> Result<usize, StoreError> {
        let began = Instant::now();
        let lease: LeaseId = self.env().id();
        let length = SignedDuration::try_from(self.limits.lease).unwrap_or_default();
        let claim = self.store.write(move |tx| dispatch::claim(tx, lease, length, limit)).await?;
        let rows = claim.len();
        if rows == 0 {
            return Ok(0);
        }
        metrics::claimed(rows);
        run.summary.claimed += rows;
        let lease_end = LeaseEnd::new(began, self.limits.lease, claim.until);
        let claim = Arc::new(claim);
        let jobs = match self.prepare(&claim).await {
            Ok(jobs) => jobs,
            Err(error) => {
                for (item, _) in claim.singles() {
                    run.keep(Settled { item, verdict: Verdict::Released, said: None });
                }
                return Err(error);
            }
        };
        for Job { item, decision } in jobs {
            match decision {
                Decision::Send(outgoing) => self.start(run, item, *outgoing, lease_end),
                Decision::Not(verdict) => {
                    run.keep(Settled { item, verdict, said: None });
                }
            }
        }
        Ok(rows)
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

    fn start(&self, run: &mut Run, item: Item, outgoing: Outgoing, lease_end: LeaseEnd) {
        let (client, store) = (Arc::clone(&self.client), self.store.clone());
        let stop = self.stop.clone();
        run.sending.spawn(async move {
            Courier { client: &client, store: &store, lease_end, stop }
                .deliver(item, &outgoing)
                .await
        });
    }

    fn delivered(&self, run: &mut Run, done: Result<Delivered, JoinError>) {
        let Ok(Delivered { settled, credentials_refused }) = done else {
            tracing::error!("a delivery broke off; its lease will bring it back");
            return;
        };
        if let Some(message) = credentials_refused {
            self.status.refused(message, true, self.env());
        } else if let Some(trouble) = settled.trouble() {
            self.status.troubled(trouble, self.env());
        } else if settled.is_accepted() {
            run.look |= self.status.is_probing();
            self.status.accepted();
        }
        run.keep(settled);
    }

    /// Writes what came of the claims. What the database does not take now is kept and offered
    /// again, until its lease makes it pointless.
    async fn settle(&self, run: &mut Run) -> Result<(), StoreError> {
        run.settle_at = None;
        metrics::connections(self.client.connections());
        if run.outcomes.is_empty() {
            return Ok(());
        }
        let (alone, together) = std::mem::take(&mut run.outcomes)
            .into_iter()
            .partition::<Vec<_>, _>(Settled::stands_alone);
        let mut batches = if together.is_empty() { Vec::new() } else { vec![together] };
        batches.extend(alone.into_iter().map(|settled| vec![settled]));
        let mut batches = batches.into_iter();
        while let Some(batch) = batches.next() {
            match self.write(&batch).await {
                Ok(tally) => run.wrote(tally),
                Err(error) => {
                    run.outcomes.extend(batch);
                    run.outcomes.extend(batches.flatten());
                    run.settle_at = Some(Instant::now() + SETTLE_AGAIN);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn write(&self, batch: &[Settled]) -> Result<Tally, StoreError> {
        let mut tries = 1;
        loop {
            let outcomes = batch.to_vec();
            match self.store.write(move |tx| dispatch::settle(tx, &outcomes)).await {
                Err(error) if error.is_transient() && tries < SETTLE_TRIES => tries += 1,
                result => return result,
            }
            sleep(SETTLE_WAIT).await;
        }
    }
}
