//! The dispatcher: claims what is due, sends it, and writes down what came of it.
//!
//! A claim is one short transaction that takes a lease; no transaction is open while FCM is spoken
//! to. Everything is looked at again after the claim (consent, use-by, what still holds), and each
//! message once more in the moment it leaves. Outcomes are written in batches, guarded by the
//! lease: whoever comes too late writes nothing. A crash between FCM's answer and our commit sends
//! again under the same tag, which the phone shows once.
//!
//! One loop does it all, so that looking at the tables, looking at what was claimed, sending and writing down go on
//! side by side: one of each at a time, and many messages. It knows when the next reminder is due and wakes itself; a
//! wake-up from the API or from the heartbeat makes it look at the tables again.

mod look;
mod prepare;
mod write;

use std::sync::Arc;
use std::time::Duration;

use aftercare::care::dispatch::{Item, Outgoing, Settled, Tally};
use aftercare::clock::Env;
use aftercare::store::{Place, Store, StoreError};
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use self::look::Looked;
use self::prepare::{Claimed, Prepared};
use self::write::Written;
use crate::delivery::{Courier, Delivered, LeaseEnd};
use crate::metrics;
use crate::push::Client;
use crate::status::StatusCell;

/// Outcomes wait this long for company before they are written.
const SETTLE_AFTER: Duration = Duration::from_millis(50);

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
struct Run<'d> {
    summary: RunSummary,
    /// The look at the tables that is under way.
    looking: Option<BoxFuture<'d, Looked>>,
    /// What was claimed and waits to be looked at once more.
    claimed: Option<Claimed>,
    /// What is looked at once more.
    preparing: Option<BoxFuture<'d, Prepared>>,
    /// How many are in either.
    held: usize,
    sending: JoinSet<Delivered>,
    outcomes: Vec<Settled>,
    /// The outcomes that are being written.
    writing: Option<BoxFuture<'d, Written>>,
    /// When outcomes have waited long enough for company.
    settle_at: Option<Instant>,
    /// Whether the database did not take the last ones: then only time brings them back.
    refused: bool,
    /// Whether the tables are to be looked at.
    look: bool,
    /// From when on they may be.
    look_from: Instant,
    /// That moment, while it is all that a look waits for.
    paced: Option<Instant>,
    /// Behind which place in the queue the next look may go on.
    onward: Option<Place>,
    /// When the next attempt is due.
    alarm: Option<Instant>,
    reclaim_at: Instant,
    /// Whether putting the queues in order is to go on at once.
    unfinished: bool,
}

impl Run<'_> {
    fn new() -> Self {
        Self {
            summary: RunSummary::default(),
            looking: None,
            claimed: None,
            preparing: None,
            held: 0,
            sending: JoinSet::new(),
            outcomes: Vec::new(),
            writing: None,
            settle_at: None,
            refused: false,
            look: true,
            look_from: Instant::now(),
            paced: None,
            onward: None,
            alarm: None,
            reclaim_at: Instant::now(),
            unfinished: false,
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

    /// Whether nothing is under way, at FCM or at the database.
    fn is_still(&self) -> bool {
        self.is_idle() && self.outcomes.is_empty()
    }

    /// Whether all that is left is what the database does not take: waiting for it might never end.
    fn is_lost(&self) -> bool {
        self.is_idle() && (self.outcomes.is_empty() || self.refused)
    }

    fn is_idle(&self) -> bool {
        self.under_way() == 0 && self.looking.is_none() && self.writing.is_none()
    }

    /// How many are claimed and have not come to an end.
    fn under_way(&self) -> usize {
        self.held + self.sending.len()
    }
}

/// Waits until then; without a moment, for good.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Waits for what is under way there; without anything, for good.
async fn end_of<T>(lane: &mut Option<BoxFuture<'_, T>>) -> T {
    let Some(under_way) = lane else { return std::future::pending().await };
    let done = under_way.await;
    *lane = None;
    done
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
            if self.is_stopping() && run.is_lost() {
                return;
            }
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

    async fn turn<'d>(&'d self, run: &mut Run<'d>, until: Until) -> Result<(), StoreError> {
        let mut stop = self.stop.clone();
        loop {
            let stopping = self.is_stopping();
            self.begin_prepare(run);
            self.begin_look(run, stopping);
            self.begin_write(run);
            if run.is_still() && (stopping || (until == Until::Idle && !run.look)) {
                return Ok(());
            }
            let serving = until == Until::Stopped && !stopping;
            let settle_at = run.settle_at.filter(|_| run.writing.is_none());
            tokio::select! {
                // In this order, so that the same moments lead to the same work; each of the first five
                // is over once it came, so none of them keeps the others waiting.
                biased;
                _ = stop.changed(), if serving => {}
                () = self.wake.notified(), if serving => run.look = true,
                () = at(run.alarm) => run.ring(),
                () = at(run.paced) => {}
                () = at(settle_at) => {}
                prepared = end_of(&mut run.preparing) => self.prepared(run, prepared)?,
                looked = end_of(&mut run.looking) => run.looked(looked)?,
                written = end_of(&mut run.writing) => self.written(run, written)?,
                Some(done) = run.sending.join_next() => self.delivered(run, done),
            }
            while let Some(done) = run.sending.try_join_next() {
                self.delivered(run, done);
            }
        }
    }

    fn start(&self, run: &mut Run<'_>, item: Item, outgoing: Outgoing, lease_end: LeaseEnd) {
        let (client, store) = (Arc::clone(&self.client), self.store.clone());
        let stop = self.stop.clone();
        run.sending.spawn(async move {
            Courier { client: &client, store: &store, lease_end, stop }
                .deliver(item, outgoing)
                .await
        });
    }

    fn delivered(&self, run: &mut Run<'_>, done: Result<Delivered, JoinError>) {
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
}
