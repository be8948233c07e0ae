//! Writing down what came of the claims.

use std::sync::Arc;
use std::time::Duration;

use aftercare::care::dispatch::{self, Settled, Tally};
use aftercare::store::{StoreError, Tx};
use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep};

use super::{Dispatcher, Run};
use crate::metrics;

/// When outcomes are offered again that the database did not take.
const AGAIN: Duration = Duration::from_secs(1);
/// How often outcomes are offered at once to a database that is busy or away, and how long between.
const TRIES: u32 = 3;
const WAIT: Duration = Duration::from_millis(100);

/// What came of writing outcomes down.
#[derive(Default)]
pub(super) struct Written {
    tally: Tally,
    /// What the database did not take.
    left: Vec<Settled>,
    failure: Option<StoreError>,
}

impl Dispatcher {
    /// Begins to write outcomes down, if there are enough of them, if they have waited long enough, or if
    /// nothing is at FCM that could become one.
    pub(super) fn begin_write<'d>(&'d self, run: &mut Run<'d>) {
        if run.writing.is_some() || run.outcomes.is_empty() {
            return;
        }
        let full = run.outcomes.len() >= self.limits.batch || run.sending.is_empty();
        let due = run.settle_at.is_none_or(|at| at <= Instant::now());
        if due || (full && !run.refused) {
            run.settle_at = None;
            let outcomes = std::mem::take(&mut run.outcomes);
            run.writing = Some(self.write_down(outcomes).boxed());
        }
    }

    async fn write_down(&self, outcomes: Vec<Settled>) -> Written {
        let (alone, together) = outcomes.into_iter().partition::<Vec<_>, _>(Settled::stands_alone);
        let mut batches = if together.is_empty() { Vec::new() } else { vec![together] };
        batches.extend(alone.into_iter().map(|settled| vec![settled]));
        let mut batches = batches.into_iter();
        let mut written = Written::default();
        while let Some(batch) = batches.next().map(Arc::new) {
            match self.write(&batch).await {
                Ok(tally) => {
                    written.tally += tally;
                    if tally.lost > 0 {
                        self.write_overtaken(&batch, &mut written.tally).await;
                    }
                }
                Err(error) => {
                    written.failure = Some(error);
                    written.left.extend(Arc::unwrap_or_clone(batch));
                    written.left.extend(batches.by_ref().flatten());
                }
            }
        }
        written
    }

    async fn write(&self, batch: &Arc<Vec<Settled>>) -> Result<Tally, StoreError> {
        let outcomes = Arc::clone(batch);
        self.insist(move |tx| dispatch::settle(tx, &outcomes)).await
    }

    /// What was taken back while it was on its way, and was accepted. What cannot be written holds up nothing else.
    async fn write_overtaken(&self, batch: &Arc<Vec<Settled>>, tally: &mut Tally) {
        let outcomes = Arc::clone(batch);
        let late = self.store.read(move |tx| dispatch::overtaken(tx, &outcomes)).await;
        let late = late.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot tell what was sent as it was taken back");
            Vec::new()
        });
        for one in late {
            let reminder = one.item.reminder;
            match self.insist(move |tx| dispatch::settle_overtaken(tx, &one)).await {
                Ok(false) => {}
                Ok(true) => {
                    tracing::warn!(%reminder, "sent as it was taken back; the patient is planned anew");
                    tally.replanned += 1;
                }
                Err(error) => {
                    tracing::error!(%error, %reminder, "sent as it was taken back, and not written down");
                }
            }
        }
    }

    /// Offers a unit of work again at once where the database is busy or away, but not for long.
    async fn insist<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Clone + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut tries = 1;
        loop {
            match self.store.write(work.clone()).await {
                Err(error) if error.is_transient() && tries < TRIES => tries += 1,
                result => return result,
            }
            sleep(WAIT).await;
        }
    }

    /// What the database did not take is kept and offered again, until its lease makes it pointless.
    ///
    /// # Errors
    /// The database's.
    pub(super) fn written(&self, run: &mut Run<'_>, written: Written) -> Result<(), StoreError> {
        metrics::connections(self.client.connections());
        run.wrote(written.tally);
        run.refused = written.failure.is_some();
        if run.refused {
            run.outcomes.splice(..0, written.left);
            run.settle_at = Some(Instant::now() + AGAIN);
        }
        written.failure.map_or(Ok(()), Err)
    }
}
